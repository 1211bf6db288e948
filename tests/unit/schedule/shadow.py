"""What the journal of a driver would hold beside the heart, kept by the rules of the driver alone.

The heart is told facts; here the same facts are written as a driver writes them.  The two must agree at every step,
and a new heart must be able to go on from what stands here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from orchestrator.model import ChunkId, JobId, OnUnknown, Phase, Priority
from orchestrator.schedule import messages as m
from orchestrator.schedule.core import Scheduler

HELD = (Phase.SUBMITTING, Phase.SUBMITTED, Phase.UNKNOWN)


@dataclass(slots=True, kw_only=True)
class ShadowJob:
    """A job, and what its rows are."""

    id: JobId
    space: m.Space
    keys: list[list[int]]  # of the rows of each source
    row_bytes: int
    trusted: bool
    on_unknown: OnUnknown
    priority: Priority
    waits_for_quota: bool
    over: bool = False  # complete or cancelled: it never comes back


@dataclass(slots=True)
class Shadow:
    """The journal, the commands that were handed out, and the claims that are held."""

    jobs: dict[JobId, ShadowJob] = field(default_factory=dict)
    chunks: dict[ChunkId, m.ChunkSeen] = field(default_factory=dict)
    owner: dict[ChunkId, JobId] = field(default_factory=dict)
    claims: dict[ChunkId, tuple[str, str, frozenset[int]]] = field(default_factory=dict)

    def of(self, job: JobId) -> list[m.ChunkSeen]:
        return [seen for seen in self.chunks.values() if self.owner[seen.id] == job]

    def add(self, job: ShadowJob, source: int, first: int, rows: int, **values: object) -> m.ChunkSeen:
        number = ChunkId(len(self.chunks) + 1)
        size = 1_000 + rows * job.row_bytes
        seen = m.ChunkSeen(id=number, source=source, first_row=first, rows=rows, body_bytes=size, **values)  # type: ignore[arg-type]
        self.chunks[number], self.owner[number] = seen, job.id
        return seen

    def part(self, number: ChunkId) -> tuple[m.ChunkSeen, ...]:
        """Put the halves of a chunk in its place."""
        whole, job = self.chunks[number], self.jobs[self.owner[number]]
        half = -(-whole.rows // 2)
        both = ((whole.first_row, half), (whole.first_row + half, whole.rows - half))
        parts = [
            self.add(job, whole.source, first, rows, depth=whole.depth + 1, canary=whole.canary) for first, rows in both
        ]
        self.write(number, phase=Phase.SPLIT)
        return tuple(parts)

    def write(self, number: ChunkId, **values: object) -> None:
        self.chunks[number] = replace(self.chunks[number], **values)  # type: ignore[arg-type]

    def keys(self, seen: m.ChunkSeen) -> frozenset[int]:
        cells = self.jobs[self.owner[seen.id]].keys[seen.source]
        return frozenset(cells[seen.first_row : seen.first_row + seen.rows])

    def share(self, one: m.ChunkSeen, other: m.ChunkSeen) -> bool:
        """Tell whether Marketo may make two records of one if both are under way."""
        space, its = self.jobs[self.owner[one.id]].space, self.jobs[self.owner[other.id]].space
        return space.excludes(its) or (space.meets(its) and bool(self.keys(one) & self.keys(other)))

    def compute(self, number: ChunkId) -> frozenset[ChunkId]:
        """Hold the claims of a chunk; return with whose they meet."""
        space, keys = self.jobs[self.owner[number]].space, self.keys(self.chunks[number])
        where = (space.entity, space.key_field)
        met = {other for other, (*there, theirs) in self.claims.items() if tuple(there) == where and keys & theirs}
        self.claims[number] = (*where, keys)
        return frozenset(met - {number})

    def arrived(self, job: ShadowJob, *, sends: bool) -> m.JobArrived:
        return m.JobArrived(
            job=job.id,
            space=job.space,
            chunks=tuple(self.of(job.id)),
            sends=sends,
            trusted=job.trusted,
            on_unknown=job.on_unknown,
            priority=job.priority,
            waits_for_quota=job.waits_for_quota,
        )

    def take_in(self, job: ShadowJob, heart: Scheduler) -> None:
        """Note what a heart made of an upload that died with a process."""
        for seen in self.of(job.id):
            if seen.phase is Phase.SUBMITTING:
                hold_until_ms = heart.known.chunk(seen.id).hold_until_ms
                self.write(seen.id, phase=Phase.UNKNOWN, hold_until_ms=hold_until_ms)

    def held(self, heart: Scheduler) -> Iterator[m.ChunkSeen]:
        """Yield what takes a slot: in doubt only as long as its batch may be at work."""
        driven = [s for s in self.chunks.values() if s.phase in HELD and self.owner[s.id] in heart.known.jobs]
        yield from (seen for seen in driven if not heart.known.chunk(seen.id).let_go)
