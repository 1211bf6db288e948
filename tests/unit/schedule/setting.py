"""What the simulation is made of: faults, jobs, the journal's entries, and the plan that a seed draws."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from orchestrator.model import BatchId, JobId, OnUnknown, Phase
from orchestrator.schedule import messages as m
from orchestrator.schedule.messages import Stop
from orchestrator.schedule.state import Limits

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
START_MS = 1_700_000_000_000
UPLOAD_OVERHEAD_BYTES = 1_000
TIME_MAX_MS = 40 * DAY_MS
DECISIONS_MAX = 60_000
LEAVES = (Phase.READY, Phase.SUBMITTING, Phase.SUBMITTED, Phase.COLLECTING, Phase.DONE, Phase.UNKNOWN, Phase.REFUSED)
HELD = (Phase.SUBMITTING, Phase.SUBMITTED, Phase.UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """How likely each thing is to go wrong, per call."""

    not_delivered: float = 0.0
    lost_before: float = 0.0  # the answer is lost, and Marketo did not take the chunk
    lost_after: float = 0.0  # the answer is lost, and Marketo took it
    limited: float = 0.0  # 606, 615 or 607
    list_busy: float = 0.0
    call_failed: float = 0.0  # polls and collections
    vague_status: float = 0.0
    gone: float = 0.0  # a finished batch that Marketo no longer knows
    source_changed: float = 0.0
    access_lost: float = 0.0
    crash: float = 0.0  # per decision
    foreign: float = 0.0  # somebody else's import arrives, per decision


@dataclass(slots=True, kw_only=True)
class SimJob:
    id: JobId
    space: m.Space
    sources: list[list[int | None]]  # the key of each row
    row_bytes: list[list[int]]
    arrives_ms: int
    watched_until_ms: int | None = None
    trusted: bool = True
    on_unknown: OnUnknown = OnUnknown.PROBE
    ended: bool = False
    stops: tuple[Stop, ...] = ()

    def arrived(self, chunks: Iterable[m.ChunkSeen], *, sends: bool) -> m.JobArrived:
        return m.JobArrived(
            job=self.id,
            space=self.space,
            chunks=tuple(chunks),
            sends=sends,
            trusted=self.trusted,
            on_unknown=self.on_unknown,
        )


@dataclass(slots=True, kw_only=True)
class Entry:
    """A chunk as the journal keeps it."""

    seen: m.ChunkSeen
    job: SimJob
    depth: int = 0
    last_batch: BatchId | None = None  # what its last upload that arrived became
    on_its_way: bool = False  # an upload, perhaps of a process that died, is not at Marketo yet
    lost: int = 0  # how often its answer was lost
    gone: bool = False

    @property
    def rows(self) -> range:
        return range(self.seen.first_row, self.seen.first_row + self.seen.rows)

    @property
    def keys(self) -> set[int]:
        cells = self.job.sources[self.seen.source]
        return {key for row in self.rows if (key := cells[row]) is not None}


@dataclass(slots=True, kw_only=True)
class Plan:
    """What a seed draws."""

    limits: Limits
    faults: Faults
    healed_ms: int  # no faults from then on
    jobs: list[SimJob]
    chunk_rows: int
    body_bytes_max: int
    upload_bytes_max: int  # the remote's: 413 above it
    poison: set[tuple[JobId, int, int]] = field(default_factory=set)
    import_ms: tuple[int, int] = (1_000, 5 * MINUTE_MS)
    upload_ms: tuple[int, int] = (100, MINUTE_MS)
