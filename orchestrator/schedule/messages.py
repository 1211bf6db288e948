"""What goes into the heart and what comes out of it: facts in the past tense, commands in the imperative."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from orchestrator.model import BatchId, BatchStatus, ChunkId, JobId, OnUnknown, Phase, Priority, Share


class Cause(StrEnum):
    """Why a call has to be made again later."""

    QUEUE_FULL = "queue_full"  # 1016
    LIST_BUSY = "list_busy"  # 1019
    RATE_LIMITED = "rate_limited"  # 606
    CONCURRENCY_LIMITED = "concurrency_limited"  # 615
    QUOTA_EXHAUSTED = "quota_exhausted"  # 607
    TRANSIENT = "transient"  # certain not to have happened, and a passing fault


class Stop(StrEnum):
    """Why no more of a job is sent, in the words of ``summary.exit_reasons``."""

    GAVE_UP = "gave_up"  # a temporary cause lasted too long
    DENIED = "denied"  # credentials or permission
    BATCHES_FAILED = "batches_failed"  # Marketo fails whole batches and completes none
    JOB_REFUSED = "job_refused"  # Marketo refuses every upload of the job
    SOURCE_REFUSED = "source_refused"  # Marketo refuses every upload of one source
    SOURCE_CHANGED = "source_changed"  # a source is no longer the file that was planned
    THRESHOLD = "threshold"  # more rows failed than the user allows
    HELD = "held"  # the answer to an upload is lost, and the user wants to decide
    CANARY = "canary"  # the first rows are through, and a person wants to look at them
    PAUSED = "paused"  # somebody asked for it
    CANCELLED = "cancelled"  # somebody asked for it, for good
    QUOTA_EXHAUSTED = "quota_exhausted"  # the day's calls are used up, and the user does not want to wait


# --- what the heart is told ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """What the claims of a job's chunks are compared with, and what they exclude altogether.

    Claims are comparable within one ``(entity, key_field)``.  Two spaces of one entity with different key
    fields exclude each other wholly, because nothing tells whether their keys mean the same record; so do
    two with the same ``exclusive`` label, whatever their entity.
    """

    entity: str  # "person", or "custom:<apiName>"
    key_field: str
    exclusive: str | None = None  # e.g. "list:1001"
    compared: bool = True  # False: the user promises that no key stands twice

    @property
    def stands_alone(self) -> bool:
        """Tell whether no other batch can stand in the way of one of this space."""
        return not self.compared and self.exclusive is None

    def excludes(self, other: Space) -> bool:
        """Tell whether no batch of this space may be under way together with one of the other."""
        if self.exclusive is not None and self.exclusive == other.exclusive:
            return True
        return self.meets(other) and self.key_field != other.key_field

    def meets(self, other: Space) -> bool:
        """Tell whether batches of the two spaces may hold the same record, for all that is promised."""
        return self.compared and other.compared and self.entity == other.entity


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkSeen:
    """A chunk as the heart needs to know it."""

    id: ChunkId
    source: int
    first_row: int
    rows: int
    body_bytes: int  # the whole upload
    phase: Phase = Phase.READY
    depth: int = 0
    failures: int = 0  # how often Marketo failed it as a whole
    batch_id: BatchId | None = None
    submitted_ms: int | None = None
    hold_until_ms: int | None = None
    canary: bool = False  # one of those that are sent before all others
    too_large: bool = False  # refused for its size: never sent again as it is


@dataclass(frozen=True, slots=True, kw_only=True)
class JobArrived:
    """A job is to be driven; with ``sends`` off only what is under way already is seen to its end.

    One that ``occupies`` has ended, or is driven elsewhere.  Only what it takes at Marketo counts: its slots and its
    claims, until its batches are found finished, or can be at work no more.
    """

    job: JobId
    space: Space
    chunks: tuple[ChunkSeen, ...]
    sends: bool = True
    occupies: bool = False  # never with ``sends``
    failed_max: Share | None = None  # of the rows whose outcome is known; more stop the job
    stops_behind_canary: bool = False
    waits_for_quota: bool = True
    on_unknown: OnUnknown = OnUnknown.PROBE
    priority: Priority = Priority.NORMAL
    trusted: bool = True  # the like of it went well before, or nobody minds: its batches need not wait for the first


@dataclass(frozen=True, slots=True, kw_only=True)
class JobUnwanted:
    """Nobody waits for the job any more: what is under way is seen to its end, nothing more is sent."""

    job: JobId


@dataclass(frozen=True, slots=True, kw_only=True)
class CallsCounted:
    """So many API calls were made on this day of the quota."""

    own: int
    others: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchesTook:
    """The longest batch that earlier runs saw took so long, from its upload to its end."""

    longest_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StopAsked:
    """Somebody wants no more of the job to be sent: what is under way is seen to its end, then the job stops."""

    job: JobId
    reason: Stop


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimsComputed:
    """The keys of a chunk were compared with those of every chunk whose claims are held."""

    chunk: ChunkId
    conflicts: frozenset[ChunkId]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkAccepted:
    """Marketo took the chunk."""

    chunk: ChunkId
    batch_id: BatchId


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkDeferred:
    """The chunk was certainly not taken, and may be later."""

    chunk: ChunkId
    cause: Cause
    retry_at_ms: int | None = None  # known for the daily quota alone


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkDeliveryLost:
    """The chunk was sent whole and nobody knows whether Marketo took it."""

    chunk: ChunkId


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSought:
    """The batches of chunks in doubt were looked for, all between two known batches together."""

    chunk: ChunkId  # the one for which it was done
    chunks: tuple[ChunkId, ...]  # all that it is about, this one among them
    adopted: tuple[tuple[ChunkId, BatchId], ...] = ()  # stand in the journal as submitted
    again_ms: int | None = None  # look again for the others then; None: nothing more can be found out
    cause: Cause | None = None  # why a call about them failed, if one did: it is not made again at once
    retry_at_ms: int | None = None  # as in `ChunkDeferred`


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkTooLarge:
    """Marketo refuses uploads of this size."""

    chunk: ChunkId
    body_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStopped:
    """Nothing more of the chunk's source can be sent; other sources of the job go on."""

    chunk: ChunkId
    reason: Stop


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRefused:
    """Marketo refuses the upload for a reason that all of its job share; nothing more of it is sent."""

    chunk: ChunkId


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessLost:
    """Marketo denies this client what it asked for; every job stops, or those into the same kind of record."""

    chunk: ChunkId  # the one that was being sent, or asked about
    of_one_target: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkParted:
    """A chunk was cut; its parts stand in the journal in its place."""

    chunk: ChunkId
    parts: tuple[ChunkSeen, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkGivenUp:
    """A chunk stands in the journal as refused: its rows have failed."""

    chunk: ChunkId


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPolled:
    """Marketo told how a batch is doing; ``status`` is None if it told nothing usable."""

    chunk: ChunkId
    status: BatchStatus | None
    failed: int = 0  # rows, once it is complete


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchGone:
    """Marketo no longer knows the batch; its rows stand in the journal as unknown."""

    chunk: ChunkId


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFailed:
    """A poll, the fetching of result files or a refusal has to be repeated."""

    chunk: ChunkId
    cause: Cause
    retry_at_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchCollected:
    """The outcome of every row of the batch stands in the journal."""

    chunk: ChunkId


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnded:
    """The job's end stands in the journal; or it does not, because somebody wants it otherwise, and it arrives anew."""

    job: JobId


ChunkFact = (
    ClaimsComputed
    | ChunkAccepted
    | ChunkDeferred
    | ChunkDeliveryLost
    | ChunkTooLarge
    | ChunkParted
    | ChunkGivenUp
    | BatchPolled
    | BatchGone
    | CallFailed
    | BatchCollected
    | SourceStopped
    | JobRefused
    | AccessLost
)
Fact = JobArrived | JobUnwanted | StopAsked | BatchSought | JobEnded | ChunkFact


# --- what the heart asks for ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeClaims:
    """Find out with which other chunks a chunk shares keys."""

    chunk: ChunkId


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseClaims:
    """Forget the claims of a chunk; its batch is finished."""

    chunk: ChunkId


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitChunk:
    """Send a chunk; the wait that came before it is told for the record."""

    chunk: ChunkId
    waited_for: Cause | None = None
    waited_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SeekBatch:
    """Find out which batch a chunk became whose answer was lost, and all others that were lost with it."""

    chunk: ChunkId


@dataclass(frozen=True, slots=True, kw_only=True)
class PollBatch:
    """Ask how a batch is doing."""

    chunk: ChunkId
    batch_id: BatchId


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectBatch:
    """Fetch the result files of a finished batch and attribute their rows."""

    chunk: ChunkId
    batch_id: BatchId


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitChunk:
    """Cut a chunk into parts that fit, or into halves."""

    chunk: ChunkId
    body_bytes_max: int | None = None
    rows_max: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefuseChunk:
    """Give a chunk up for good: its rows have failed."""

    chunk: ChunkId


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishJob:
    """Write the job's end; nothing more can happen to it in this run."""

    job: JobId
    stops: tuple[Stop, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitUntil:
    """Nothing else to do before this time unless a fact comes first; always the last command."""

    at_ms: int


Command = (
    ComputeClaims
    | ReleaseClaims
    | SubmitChunk
    | SeekBatch
    | PollBatch
    | CollectBatch
    | SplitChunk
    | RefuseChunk
    | FinishJob
    | WaitUntil
)
