"""What is told about a job while it runs: typed, frozen, and read back from the journal.

An event is written in the transaction that makes it true, so a process that follows a job from outside
sees exactly what the driving process sees, and a restart forgets nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from orchestrator.model import JobId

_BY_NAME: dict[str, type[Event]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """The base of all events; ``name`` is ``noun.past_participle``."""

    name: ClassVar[str]
    job_id: JobId
    ts_ms: int
    seq: int = 0  # its place in the journal, rising; 0 as long as it is not written

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super(Event, cls).__init_subclass__(**kwargs)
        _BY_NAME[cls.name] = cls

    def data(self) -> dict[str, Any]:
        """Return the fields that only this kind of event has, fit for JSON."""
        fields = asdict(self)
        for common in ("job_id", "ts_ms", "seq"):
            del fields[common]
        return fields


def revive(name: str, job_id: JobId, ts_ms: int, seq: int, data: Mapping[str, Any]) -> Event:
    """Build the event that was written as these parts."""
    return _BY_NAME[name](job_id=job_id, ts_ms=ts_ms, seq=seq, **data)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobAccepted(Event):
    """The job stands in the journal."""

    name = "job.accepted"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPlanned(Event):
    """Every source is read, and cut into chunks."""

    name = "job.planned"
    sources: int
    chunks: int
    rows: int
    source_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkSubmitted(Event):
    """Marketo took a chunk and made a batch of it."""

    name = "chunk.submitted"
    chunk: int
    batch_id: int
    rows: int
    body_bytes: int
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkDeferred(Event):
    """A chunk was not taken this time; it is sent again."""

    name = "chunk.deferred"
    chunk: int
    cause: str  # queue_full, list_busy, rate_limited, concurrency_limited, quota_exhausted, transient
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkDeliveryUnknown(Event):
    """A chunk was sent and the answer is lost; it is held before it is sent again, if it has to be."""

    name = "chunk.delivery_unknown"
    chunk: int
    hold_until_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkAdopted(Event):
    """The batch of a chunk whose answer was lost was found."""

    name = "chunk.adopted"
    chunk: int
    batch_id: int
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkReserved(Event):
    """Others went before a chunk for so long that it reserves its keys: nothing that shares them is sent before it."""

    name = "chunk.reserved"
    chunk: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkUnreserved(Event):
    """A chunk that is still unsent reserves its keys no more."""

    name = "chunk.unreserved"
    chunk: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkSplit(Event):
    """A chunk was cut into parts."""

    name = "chunk.split"
    chunk: int
    parts: int
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkRefused(Event):
    """Marketo refuses a chunk for good."""

    name = "chunk.refused"
    chunk: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStarted(Event):
    """Marketo imports a batch."""

    name = "batch.started"
    chunk: int
    batch_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFailed(Event):
    """Marketo failed a batch as a whole; its rows are sent again."""

    name = "batch.failed"
    chunk: int
    batch_id: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchCompleted(Event):
    """A batch is finished and its result files are collected."""

    name = "batch.completed"
    chunk: int
    batch_id: int
    status: str
    rows: int
    accepted: int
    failed: int
    warned: int
    unknown: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingAdded(Event):
    """Something came up that a person should know."""

    name = "finding.added"
    kind: str
    message: str
    batch_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStopAsked(Event):
    """Somebody wants no more of the job to be sent."""

    name = "job.stop_asked"
    wish: str  # pause, cancel
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStopHeeded(Event):
    """The process that drives the job sends nothing more of it; what it was sending is written as such."""

    name = "job.stop_heeded"
    wish: str  # pause, cancel


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaReached(Event):
    """The day's API calls are used up, but for those that others, and what is under way, need."""

    name = "quota.reached"
    until_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EtaForetold(Event):
    """A forecast that stands from now on: the job ends by ``p50_ms`` as likely as not."""

    name = "eta.foretold"
    p50_ms: int
    rows_of_others: int  # that are imported until then


@dataclass(frozen=True, slots=True, kw_only=True)
class EtaSlipped(Event):
    """The job is likely to end much later than was told: as likely as not by ``p50_after_ms``."""

    name = "eta.slipped"
    p50_before_ms: int
    p50_after_ms: int
    reason: str  # a cause of `chunk.deferred`, answer_lost, batch_failed, other_jobs, slower_batches


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFinished(Event):
    """The job came to its end, or to a stop from which it can be resumed."""

    name = "job.finished"
    state: str
    exit_code: int
