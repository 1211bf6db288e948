"""The words of this project, each with one meaning.

Everything here is frozen data without behaviour that could fail, wait or look at a clock, so all others may import it.
Times are integers of milliseconds since the Unix epoch and end in ``_ms``; byte offsets count from the first byte of the
file that is sent; rows count data records from 1, without header and blank lines; lines count from 1, the header's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import NewType

JobId = NewType("JobId", str)
ChunkId = NewType("ChunkId", int)  # the journal's row id; unique in one journal
BatchId = NewType("BatchId", int)  # Marketo's number; unique in one subscription

BATCH_LIFE_MS = 7 * 86_400_000  # Marketo tells for seven days what became of a batch


class Format(StrEnum):
    """How the cells of a source are separated; the value is Marketo's ``format`` parameter."""

    CSV = "csv"
    TSV = "tsv"
    SSV = "ssv"

    @property
    def delimiter(self) -> str:
        """The separating character; Marketo's import reads ``ssv`` as semicolon-separated."""
        return {Format.CSV: ",", Format.TSV: "\t", Format.SSV: ";"}[self]


# --- targets: what rows become -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Leads:
    """Rows become people, found again by ``lookup_field``."""

    lookup_field: str = "email"
    list_id: int | None = None
    partition: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomObjects:
    """Rows become records of one custom object type; its dedupe fields come from describe."""

    api_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramMembers:
    """Rows become members of one program, all with the same status; people are found by email."""

    program_id: int
    member_status: str


Target = Leads | CustomObjects | ProgramMembers


# --- sources and chunks ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class FileIdentity:
    """What must not change between planning and upload."""

    device: int
    inode: int
    size_bytes: int
    mtime_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedColumns:
    """The columns that are sent in place of a source's own."""

    names: tuple[str, ...]
    origins: tuple[int | None, ...]  # of each its place among the source's columns; None: a constant


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """The records behind the content of a source, if it was made by changing them or leaving some out."""

    path: str  # absolute, of UTF-8 text
    identity: FileIdentity
    places: str  # absolute path of the file that says where each row of the content stood there


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One input file of a job, as the planner saw it."""

    index: int  # position in the job, from 0
    path: str  # as the user gave it; what reports show
    absolute: str  # where it was found
    content: str  # absolute path of the file whose bytes are sent: the source itself, or a copy made for it
    identity: FileIdentity  # of ``content``, as are header, rows, byte ranges and checksums
    sha256: str | None  # hex, of the whole file; None until it is computed, after planning
    encoding: str  # of the source; what is sent is UTF-8
    format: Format
    header: bytes  # the header record as it is sent: no BOM, with its line end
    columns: tuple[str, ...]  # of the source itself; what reports show
    rows: int  # of the source itself
    superseded: int = 0  # of them are not in ``content``, because a later row has the same key
    blank_lines: int
    mapped: MappedColumns | None = None  # None: columns are sent as they are
    original: Original | None = None  # None: ``content`` has the source's own records

    @property
    def sent_columns(self) -> tuple[str, ...]:
        """The names of the columns in ``header``."""
        return self.columns if self.mapped is None else self.mapped.names

    @property
    def origins(self) -> tuple[int | None, ...]:
        """Of each column that is sent, its place in ``columns``; None for a constant."""
        return tuple(range(len(self.columns))) if self.mapped is None else self.mapped.origins

    def unsent(self, cells: Sequence[str]) -> tuple[str, ...]:
        """Put cells that were sent under the source's own columns; constants have no place there."""
        if self.mapped is None:
            return tuple(cells)
        placed = dict(zip(self.mapped.origins, cells, strict=False))
        return tuple(placed.get(place, "") for place in range(len(self.columns)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A run of whole records of one source that fits one upload: what the planner yields."""

    source: int  # Source.index
    start: int  # byte offset of the first record
    end: int  # byte offset behind the last record
    first_row: int
    rows: int
    first_line: int
    crc32: int  # of the bytes [start, end)


class Phase(StrEnum):
    """Where a chunk is on its way; ``schedule.state.STEPS`` has every step, ``docs/reference/phases.md`` a drawing.

    The usual way is ``ready``, ``submitting``, ``submitted``, ``collecting``, ``done``.  ``unknown`` is one that was
    sent and whose answer is lost; ``split`` has parts that are chunks of their own.
    """

    READY = "ready"
    SUBMITTING = "submitting"
    SUBMITTED = "submitted"
    COLLECTING = "collecting"
    DONE = "done"
    UNKNOWN = "unknown"
    SPLIT = "split"
    REFUSED = "refused"
    CANCELLED = "cancelled"


class BatchStatus(StrEnum):
    """The four states Marketo gives a batch."""

    QUEUED = "Queued"
    IMPORTING = "Importing"
    COMPLETE = "Complete"
    FAILED = "Failed"


class JobState(StrEnum):
    """Where a job is; the values are those of ``summary.json``."""

    PLANNING = "planning"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETE = "complete"  # every row's outcome is known
    INCOMPLETE = "incomplete"  # stopped, with rows unsent or unknown
    CANCELLED = "cancelled"
    FAILED = "failed"  # refused before anything was sent


class Wish(StrEnum):
    """What somebody asked of a job while it ran; its driver looks for it once a second."""

    PAUSE = "pause"
    CANCEL = "cancel"


class RepeatedKeys(StrEnum):
    """What to do with a dedupe key that stands in more than one row."""

    ORDER = "order"  # never two unfinished batches with one key; the last row wins
    LAST = "last"  # only the last row of each key is sent
    FAIL = "fail"  # a key that stands twice is an error
    IGNORE = "ignore"  # the user promises that keys are unique


class Priority(StrEnum):
    """Which jobs of a subscription go before which others."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


RANKS = (Priority.HIGH, Priority.NORMAL, Priority.LOW)  # the order in which jobs go


class OnUnknown(StrEnum):
    """What to do with a chunk that was sent and whose answer is lost."""

    PROBE = "probe"  # look for its batch; if none is certain to be it, send it again
    RESUBMIT = "resubmit"  # send it again when it can no longer be at work
    HOLD = "hold"  # wait for the user to decide


# --- jobs and chunks as the journal keeps them ---------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """So many rows, or so many of a hundred; exactly one of the two."""

    rows: int | None = None
    percent: float | None = None

    @classmethod
    def parse(cls, text: str) -> Share:
        """Read ``12`` or ``2.5%``; ValueError says what is allowed."""
        number = text.strip()
        try:
            share = cls(percent=float(number[:-1])) if number.endswith("%") else cls(rows=int(number))
        except ValueError:
            raise ValueError(f"{text!r} is neither a number of rows, like 100, nor a percentage, like 5%") from None
        if not 0 <= (share.percent if share.percent is not None else 0) <= 100 or (share.rows or 0) < 0:
            raise ValueError(f"{text!r} is below 0 or above 100%")
        return share

    def of(self, rows: int) -> int:
        """Return how many of ``rows`` this allows."""
        return self.rows if self.rows is not None else int(rows * (self.percent or 0) / 100)

    def __str__(self) -> str:
        return str(self.rows) if self.rows is not None else f"{self.percent:g}%"


class IfKnown(StrEnum):
    """What to do with content that was already given for the same target."""

    RESUME = "resume"  # go on with a job that is not finished; refuse what is
    SKIP = "skip"  # leave the earlier job as it is, and send nothing
    REFUSE = "refuse"
    AGAIN = "again"  # make another job of it


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingFile:
    """What is done to columns before they are sent, as its author wrote it."""

    name: str  # of the file it was read from; what messages show
    text: str  # TOML


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """What the user asked of one job besides its sources and its target."""

    format: Format | None = None  # None: detect it
    encoding: str | None = None  # Python's name of it; None: detect it
    mapping: MappingFile | None = None
    on_repeated_key: RepeatedKeys = RepeatedKeys.ORDER
    on_unknown: OnUnknown = OnUnknown.PROBE
    check: bool = True  # compare the header with describe before anything is sent
    strict: bool = False  # a warning about a source is an error
    allow_empty: bool = False  # a source without records is no error
    rows_min: int = 0  # fewer rows in all sources together are an error
    failed_accepted: str | None = None  # a `Share`: that many failed rows are a success
    failed_max: str | None = None  # a `Share`: more failed rows pause the job
    canary_rows: int = 0  # that many are sent first, and decide whether the others are
    canary_asks: bool = False  # the job pauses behind them, whatever became of them
    if_known: IfKnown = IfKnown.AGAIN
    waits_for_quota: bool = True  # else it stops when the day's API calls are used up
    detached: bool = False  # it is sent although no process waits for it
    priority: Priority = Priority.NORMAL
    after: JobId | None = None  # nothing is sent before that job has ended
    flags: str = ""  # behind a next command, so that it finds the same journal and subscription
    helps: str | None = None  # the next command, known when the job was refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """The state directory in which everything of a job lies that is not in the journal."""

    id: str  # the directory's own number; alone it is compared
    host: str  # name of the machine when the job was made, for people
    directory: str  # absolute, for people

    def __str__(self) -> str:
        return f"{self.directory} on {self.host}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One request to import one or more source files into one target."""

    id: JobId
    host: str  # normalised REST host: the identity of the subscription
    subscription: str  # its name in the settings
    api_user: str | None = None
    emulator: bool = False
    name: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    parent: JobId | None = None
    target: Target
    paths: tuple[str, ...]  # as given
    absolute_paths: tuple[str, ...]
    options: JobOptions
    out_dir: str  # absolute
    home: Home | None = None  # None: of a journal that did not know it yet, so made where the journal lies
    fingerprint: str | None = None  # of target and content; None before it is planned
    key: str | None = None  # the user's: the same key is the same job
    wish: Wish | None = None
    wish_reason: str | None = None  # the user's words
    wish_ms: int | None = None
    key_columns: tuple[str, ...] = ()  # the dedupe fields, known once the job is planned
    state: JobState
    created_ms: int
    started_ms: int | None = None
    finished_ms: int | None = None
    exit_code: int | None = None
    exit_reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A span on its way to Marketo, with everything known about its batch."""

    id: ChunkId
    job: JobId
    span: Span
    phase: Phase = Phase.READY
    parent: ChunkId | None = None  # the chunk it was split from
    depth: int = 0  # how many splits it is away from the planner's chunk
    canary: bool = False  # sent before all others, which wait for its outcome
    attempts: int = 0
    batch_failures: int = 0  # how often Marketo failed it as a whole
    batch_id: BatchId | None = None
    status: BatchStatus | None = None
    message: str = ""  # Marketo's words on the batch, or why the chunk was refused
    submitted_ms: int | None = None
    completed_ms: int | None = None
    took_ms: int | None = None  # its last batch, from its upload to its end; None: that was not seen when it came
    last_batch_id: BatchId | None = None  # the highest of the subscription that was known when it was sent
    marketo_ms: int | None = None  # what Marketo's clock showed then
    hold_until_ms: int | None = None  # `unknown`: not sent again before this
    polls: int = 0
    accepted: int = 0
    failed: int = 0
    warned: int = 0  # within accepted
    unknown: int = 0  # rows whose outcome Marketo leaves unexplained
    unmatched: int = 0  # within failed: failure rows that fit no source row
    adopted: bool = False  # its batch was found by evidence, for the answer that named it was lost
    resent: int = 0  # how often it was sent again although an earlier upload may have arrived
    too_large: bool = False  # Marketo refused it for its size: it is cut before it is sent again

    @property
    def deadline_ms(self) -> int | None:
        """Until when Marketo tells what became of its batch; None if there is none, or its outcome is fetched."""
        told = self.phase in (Phase.SUBMITTED, Phase.COLLECTING) and self.submitted_ms is not None
        return (self.submitted_ms or 0) + BATCH_LIFE_MS if told else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something a person should know about a job; never an outcome of a row by itself."""

    kind: str
    message: str
    batch_id: BatchId | None = None


class ExitCode(IntEnum):
    """What the end of a command means to a shell; the README explains each."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    ROWS_FAILED = 3
    INPUT_REFUSED = 4
    INTERRUPTED = 5
    DENIED = 6
    ROWS_UNKNOWN = 7
    THRESHOLD = 8
    REFUSED = 9
    SIGINT = 130
    SIGTERM = 143
