"""What the journal hands out besides jobs, sources, chunks and events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from orchestrator.events import EtaForetold
from orchestrator.model import Job, JobState, Phase

SILENT_MS: Final = 20_000  # a driver gives a sign of life every second; a lease without one for so long is stale
ENDED: Final = (JobState.COMPLETE, JobState.CANCELLED, JobState.FAILED)  # nothing of these will be sent any more
ALIVE: Final = (JobState.RUNNING, JobState.INCOMPLETE, JobState.PAUSED)  # something of these may be under way
OVER: Final = (JobState.COMPLETE, JobState.CANCELLED)  # these have an outcome to be told
GIVEN: Final = (*ALIVE, JobState.COMPLETE)  # what these import is not imported once more unless that is asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to write for one subscription, until the next owner raises the epoch."""

    host: str
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The live process that drives a subscription."""

    pid: int  # 0 in the instant in which a new owner has not yet written its number
    since_ms: int
    machine: str | None = None  # the name of another machine, or container; None: this one
    home: str | None = None  # the number of its state directory; None: it did not say
    silent_ms: int = field(default=0, compare=False)  # since it last gave a sign of life

    @property
    def name(self) -> str:
        """What people know it by."""
        return f"process {self.pid}{f' on {self.machine}' if self.machine else ''}"

    @property
    def hangs(self) -> bool:
        """Whether it has done nothing for so long that it hangs, or was stopped."""
        return self.silent_ms >= SILENT_MS

    def sends(self, job: Job) -> bool:
        """Tell whether it sends a job if somebody wants it: only one of its own state directory."""
        return self.home is None or job.home is None or self.home == job.home.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Away:
    """The server of the journal does not answer."""

    left_ms: int | None  # for so long it is still waited for; None: as long as the process is to run


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """How often and how long a job waited for one cause."""

    count: int
    ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DayCalls:
    """The API calls of one subscription on one day of its quota, as far as they are known."""

    own: int  # of every process that shares this journal; tokens are free
    others: int  # of everybody else, as Marketo told last


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What a job cost: API calls by kind and waits by cause, both in alphabetical order."""

    api_calls: Mapping[str, int]
    waits: Mapping[str, Wait]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How much of a job is in one phase; `span_bytes` counts records without headers."""

    chunks: int = 0
    rows: int = 0
    span_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a job is: its leaves by phase, and the outcomes of the rows collected so far.

    A chunk that was split counts nowhere, its parts stand for it; so the rows of all phases are the rows of
    the job's sources.
    """

    phases: Mapping[Phase, Tally]  # every phase but `split`
    queued: int = 0  # batches that wait at Marketo
    importing: int = 0  # batches that Marketo imports
    polls: int = 0
    accepted: int = 0
    failed: int = 0
    warned: int = 0  # within accepted
    unknown: int = 0
    unmatched: int = 0  # within failed

    @property
    def total(self) -> Tally:
        """All phases together."""
        tallies = self.phases.values()
        return Tally(
            chunks=sum(tally.chunks for tally in tallies),
            rows=sum(tally.rows for tally in tallies),
            span_bytes=sum(tally.span_bytes for tally in tallies),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What a subscription has to do, and how fast it went of late."""

    jobs: tuple[tuple[Job, Tally], ...]  # those that run, each with what of it has not been imported
    ends: tuple[
        tuple[int, int, int], ...
    ]  # when the latest batches ended, of any job, their rows, and their job's begin


@dataclass(frozen=True, slots=True, kw_only=True)
class Foretold:
    """The forecast of a job that stands."""

    event: EtaForetold
    begun_ms: int  # when the job was made
    slipped_ms: int | None  # when it was told last that the job ends later
    stands_since_ms: int  # since when nothing has happened to the job, or nothing at all if nobody ended it
