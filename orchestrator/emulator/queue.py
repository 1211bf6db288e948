"""The import queue: first in, first out, a few importers, a few slots.

Nothing here runs by itself.  `due` moves the queue to a given time and yields what happened on the way, one step
after the other in the order of time, so that whoever applies the rows sees each batch start before it ends and
ends in their true order.  It makes no difference how often it is asked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from orchestrator.emulator.config import EmulatorConfig
from orchestrator.emulator.rows import Staged
from orchestrator.model import BatchStatus, Format, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The end of a batch that is to fail as a whole."""

    message: str
    applied: float = 0.0  # the share of its rows that are imported all the same, from the first on


@dataclass(slots=True, kw_only=True, eq=False)
class Batch:
    """One import, from its upload to its end; ``staged`` is None for those of strangers, which leave no records."""

    id: int
    target: Target
    rows: int
    queued_ms: int
    eligible_ms: int  # it starts at this time at the earliest
    duration_ms: int
    staged: Staged | None = None
    format: Format = Format.CSV
    filename: str = ""
    body_bytes: int = 0  # of the whole upload
    user: str = ""
    failure: Failure | None = None
    status: BatchStatus = BatchStatus.QUEUED
    started_ms: int | None = None
    ended_ms: int | None = None  # set at its start, when its end is certain
    processed: int = 0  # once it has ended

    @property
    def unfinished(self) -> bool:
        """Whether the batch holds a slot."""
        return self.status in (BatchStatus.QUEUED, BatchStatus.IMPORTING)

    def rows_done(self, now_ms: int) -> int:
        """Return how many rows the importer has gone through."""
        if self.started_ms is None or self.ended_ms is None:
            return 0
        if now_ms >= self.ended_ms:
            return self.rows
        return self.rows * (now_ms - self.started_ms) // (self.ended_ms - self.started_ms)


Step = tuple[Literal["started", "ended"], Batch]


class ImportQueue:
    """Batches that wait and batches that are being imported."""

    def __init__(self, config: EmulatorConfig) -> None:
        self.slots = config.slots
        self.importers = config.importers
        self.unfinished_max = 0  # as seen so far
        self._waiting: deque[Batch] = deque()
        self._running: list[Batch] = []
        self._reached_ms = 0  # the time of the last step

    @property
    def unfinished(self) -> int:
        """How many slots are taken."""
        return len(self._waiting) + len(self._running)

    @property
    def batches(self) -> tuple[Batch, ...]:
        """The batches that hold a slot, oldest first."""
        return (*self._running, *self._waiting)

    def add(self, batch: Batch) -> None:
        """Put a batch at the end of the queue."""
        self._waiting.append(batch)
        self.unfinished_max = max(self.unfinished_max, self.unfinished)

    def due(self, now_ms: int) -> Iterator[Step]:
        """Move to this time; yield each batch as it starts and as it ends."""
        while True:
            ending = min(self._running, key=_end, default=None)
            start_ms: int | None = None
            if self._waiting and len(self._running) < self.importers:
                start_ms = max(self._waiting[0].eligible_ms, self._reached_ms)
            if ending is not None and _end(ending)[0] <= min(now_ms, start_ms if start_ms is not None else now_ms):
                self._reached_ms = _end(ending)[0]
                self._running.remove(ending)
                ending.status = BatchStatus.FAILED if ending.failure else BatchStatus.COMPLETE
                yield "ended", ending
            elif start_ms is not None and start_ms <= now_ms:
                self._reached_ms = start_ms
                batch = self._waiting.popleft()
                batch.status = BatchStatus.IMPORTING
                batch.started_ms = start_ms
                batch.ended_ms = start_ms + batch.duration_ms
                self._running.append(batch)
                yield "started", batch
            else:
                self._reached_ms = max(self._reached_ms, now_ms)
                return

    def next_step_ms(self) -> int | None:
        """Return when something happens next by itself, or None."""
        times = [batch.ended_ms for batch in self._running if batch.ended_ms is not None]
        if self._waiting and len(self._running) < self.importers:
            times.append(max(self._waiting[0].eligible_ms, self._reached_ms))
        return min(times, default=None)


def _end(batch: Batch) -> tuple[int, int]:
    """Return what running batches are ordered by: their end, then their age."""
    if batch.ended_ms is None:
        raise AssertionError("a running batch knows its end")
    return batch.ended_ms, batch.id
