"""A Marketo of a hundred lines for the schedule's simulation: a queue, two importers, and no memory of keys.

It checks by itself what a real Marketo would punish: two unfinished batches that share a key make two records
of it, and an older row that arrives after a newer one overwrites it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestrator.model import BatchId, BatchStatus, ChunkId
from orchestrator.schedule.messages import Space

RowRef = tuple[str, int, int]  # job, source, row
SLOTS = 10
IMPORTERS = 2


class Violation(AssertionError):
    """An invariant does not hold; the message begins with its name."""


def check(holds: bool, invariant: str, detail: object = "") -> None:
    if not holds:
        raise Violation(f"{invariant}: {detail}")


@dataclass(slots=True, kw_only=True)
class Batch:
    id: BatchId
    chunk: ChunkId | None  # None: somebody else's
    space: Space | None
    rows: tuple[tuple[int | None, RowRef], ...]
    poisoned: bool
    duration_ms: int
    ends_ms: int | None = None
    status: BatchStatus = BatchStatus.QUEUED

    @property
    def unfinished(self) -> bool:
        return self.status in (BatchStatus.QUEUED, BatchStatus.IMPORTING)


@dataclass(slots=True)
class Remote:
    batches: dict[BatchId, Batch] = field(default_factory=dict)
    open: list[Batch] = field(default_factory=list)  # unfinished, in order of arrival
    records: dict[tuple[str, int], RowRef] = field(default_factory=dict)
    imported: dict[ChunkId, int] = field(default_factory=dict)  # how often a chunk was imported whole
    accepted: dict[ChunkId, int] = field(default_factory=dict)
    next_id: int = 1000

    def advance(self, to_ms: int) -> None:
        """Let time pass: finish what ends until then, and start what comes next."""
        while True:
            running = [b for b in self.open if b.ends_ms is not None and b.ends_ms <= to_ms]
            if not running:
                return
            first = min(running, key=lambda b: (b.ends_ms, b.id))
            self.open.remove(first)
            self._finish(first)
            assert first.ends_ms is not None
            self._start(first.ends_ms)

    def is_full(self) -> bool:
        return len(self.open) >= SLOTS

    def list_is_busy(self, label: str | None) -> bool:
        return label is not None and any(b.space is not None and b.space.exclusive == label for b in self.open)

    def accept(
        self,
        now_ms: int,
        *,
        rows: tuple[tuple[int | None, RowRef], ...],
        duration_ms: int,
        chunk: ChunkId | None = None,
        space: Space | None = None,
        poisoned: bool = False,
    ) -> BatchId:
        """Take a batch into the queue."""
        self.next_id += 1
        batch = Batch(
            id=BatchId(self.next_id), chunk=chunk, space=space, rows=rows, poisoned=poisoned, duration_ms=duration_ms
        )
        self._check_claims(batch)
        if chunk is not None:
            self.accepted[chunk] = self.accepted.get(chunk, 0) + 1
        self.batches[batch.id] = batch
        self.open.append(batch)
        self._start(now_ms)
        return batch.id

    def _start(self, now_ms: int) -> None:
        importing = sum(b.ends_ms is not None for b in self.open)
        for batch in self.open:
            if batch.ends_ms is None and importing < IMPORTERS:
                batch.ends_ms = now_ms + batch.duration_ms
                batch.status = BatchStatus.IMPORTING
                importing += 1

    def _check_claims(self, batch: Batch) -> None:
        if batch.space is None:
            return
        keys = {key for key, _ in batch.rows if key is not None}
        for other in self.open:
            if other.space is None:
                continue
            both = batch.space.compared and other.space.compared and batch.space.entity == other.space.entity
            if both:
                check(batch.space.key_field == other.space.key_field, "claims", "two key fields at once")
                shared = keys & {key for key, _ in other.rows if key is not None}
                check(not shared, "claims", f"{shared} in batches of chunks {other.chunk} and {batch.chunk}")
            label = batch.space.exclusive
            check(label is None or label != other.space.exclusive, "claims", f"{label} twice")

    def _finish(self, batch: Batch) -> None:
        batch.status = BatchStatus.FAILED if batch.poisoned else BatchStatus.COMPLETE
        if batch.poisoned or batch.space is None or batch.chunk is None:
            return
        self.imported[batch.chunk] = self.imported.get(batch.chunk, 0) + 1
        for key, row in dict(batch.rows).items():  # within a batch the last row of a key stands
            if key is None or not batch.space.compared:
                continue
            before = self.records.get((batch.space.entity, key))
            if before is not None and before[0] == row[0]:
                check(before <= row, "order", f"{row} of key {key} arrived after {before}")
            self.records[batch.space.entity, key] = row
