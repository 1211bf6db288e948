"""What can be written: each change is a fact that becomes durable whole or not at all.

Several changes written together become true together.  Writing a change again is harmless: sources, chunks,
parts, findings and events are not doubled.  The two counters are the exception, their counts add up each time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypedDict

from orchestrator.events import Event
from orchestrator.model import (
    BatchId,
    BatchStatus,
    ChunkId,
    FileIdentity,
    Finding,
    JobId,
    JobOptions,
    JobState,
    Phase,
    Source,
    Span,
    Wish,
)


class JobValues(TypedDict, total=False):
    """The fields of a job that change while it lives."""

    api_user: str | None
    emulator: bool
    key_columns: tuple[str, ...]
    options: JobOptions
    state: JobState
    started_ms: int | None
    finished_ms: int | None
    exit_code: int | None
    exit_reasons: tuple[str, ...]
    wish: Wish | None
    wish_reason: str | None
    wish_ms: int | None


class ChunkValues(TypedDict, total=False):
    """The fields of a chunk that change while it is under way; what it is made of never does."""

    phase: Phase
    attempts: int
    batch_failures: int
    batch_id: BatchId | None
    status: BatchStatus | None
    message: str
    submitted_ms: int | None
    completed_ms: int | None
    took_ms: int | None
    last_batch_id: BatchId | None
    marketo_ms: int | None
    hold_until_ms: int | None
    polls: int
    accepted: int
    failed: int
    warned: int
    unknown: int
    unmatched: int
    adopted: bool
    resent: int
    too_large: bool


JOB_VALUES: Final = frozenset(JobValues.__annotations__)
CHUNK_VALUES: Final = frozenset(ChunkValues.__annotations__)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPlanned:
    """The sources are read and cut; the job starts to run, and the event says so."""

    job_id: JobId
    sources: tuple[Source, ...]
    spans: tuple[Span, ...]
    key_columns: tuple[str, ...]
    canaries: tuple[int, ...] = ()  # which of the spans are sent before all others
    fingerprint: str | None = None  # of target and content


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceHashed:
    """The SHA-256 of a source is known, which took a reading of its own."""

    job_id: JobId
    index: int  # `Source.index`
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceMoved:
    """A source is in another place, with the same content; nothing but where it lies changes."""

    job_id: JobId
    index: int  # `Source.index`
    absolute: str
    identity: FileIdentity


@dataclass(frozen=True, slots=True, kw_only=True)
class JobWithdrawn:
    """A job that is not planned is none: what it asks for is done by another one."""

    job_id: JobId


@dataclass(frozen=True, slots=True, kw_only=True)
class JobChanged:
    """Some fields of a job have new values."""

    job_id: JobId
    values: JobValues


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkChanged:
    """Some fields of a chunk have new values."""

    chunk_id: ChunkId
    values: ChunkValues


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkParted:
    """A chunk is in phase `split`, and its parts are ready chunks one level deeper.

    The parts are in order and without overlap, each is smaller than the chunk, and they have every row of it.
    """

    chunk_id: ChunkId
    parts: tuple[Span, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsentCancelled:
    """Every chunk of a job that is ready is cancelled: nobody will send it."""

    job_id: JobId


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingAdded:
    """Something came up that a person should know; the event says so."""

    job_id: JobId
    finding: Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class CallsCounted:
    """So many more API calls of one kind were made on a day of the quota, for a job or for none."""

    job_id: JobId | None
    host: str
    day: str  # ISO 8601: "2024-01-31"
    kind: str  # token, submit, status, failures, warnings, describe, records, usage
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CapLearned:
    """Marketo refused an upload for its size, so a subscription's uploads are smaller from then on, for a while."""

    bytes_max: int  # of the whole body
    learned_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageTold:
    """Marketo told how many calls the whole subscription made on a day; what is not ours is others'."""

    host: str
    day: str
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitCounted:
    """A job waited once more, for so long."""

    job_id: JobId
    cause: str
    ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An event to append; the journal gives it its `seq`."""

    event: Event


Change = (
    JobPlanned
    | JobWithdrawn
    | SourceMoved
    | SourceHashed
    | JobChanged
    | ChunkChanged
    | ChunkParted
    | UnsentCancelled
    | FindingAdded
    | CallsCounted
    | CapLearned
    | UsageTold
    | WaitCounted
    | Told
)
