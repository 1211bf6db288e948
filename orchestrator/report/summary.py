"""What became of a job, in numbers that are proven to add up; the content of ``summary.json``.

The law, checked on every call: every row of the sources was read or knowingly skipped, and every row that was
read is in exactly one bucket: accepted, failed, unsent or unknown.  A batch under way counts as unknown until
its outcome is collected; that alone is no reason for the exit code of unknown rows, because time resolves it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from orchestrator.errors import JournalError
from orchestrator.model import (
    Chunk,
    ChunkId,
    CustomObjects,
    Finding,
    Job,
    Leads,
    Phase,
    ProgramMembers,
    Share,
    Source,
    Target,
)
from orchestrator.report.doubt import LostAnswersSummary, lost_answers, repeated
from orchestrator.report.ending import exit_code, next_command
from orchestrator.report.part import Reason

SCHEMA = "orchestrator.summary/1"
API_CALLS = ("token", "submit", "status", "failures", "warnings", "describe")  # always told; others if there were any
WAITS = ("queue_full", "rate_limited")  # likewise

_UNDER_WAY = (Phase.SUBMITTING, Phase.SUBMITTED, Phase.COLLECTING, Phase.UNKNOWN)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


# --- the summary, field by field as it is written ----------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionSummary:
    """Where the rows went."""

    name: str
    host: str
    api_user: str | None
    emulator: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSummary:
    """One input file, as it was planned."""

    path: str
    bytes: int
    sha256: str | None
    rows: int
    blank_lines: int
    encoding: str
    delimiter: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """Rows that were not sent on purpose, by the purpose."""

    superseded: int  # a later row of the same key was sent instead


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsSummary:
    """Every row of the sources, once."""

    in_source: int
    skipped: Skipped
    read: int
    accepted: int
    failed: int
    warned: int  # within accepted
    unsent: int
    unknown: int
    unmatched: int  # within failed


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunksSummary:
    """Every chunk that was not split, once; ``unknown`` includes those under way."""

    total: int
    done: int
    unsent: int
    unknown: int
    refused: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSummary:
    """What Marketo made of one chunk; times are ISO 8601 in UTC."""

    batch_id: int
    chunk: int
    source: int
    first_row: int
    rows: int
    status: str | None  # None: Marketo has not told yet
    accepted: int
    failed: int
    warned: int
    attempts: int
    adopted: bool  # found by evidence, for the answer that named it was lost
    resent: int  # of the attempts, made although an earlier one may have arrived
    repeated: bool  # its rows may have been imported before: by an attempt, or by an upload that it was split off from
    submitted_at: str | None
    completed_at: str | None
    polls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingSummary:
    """Something a person should know."""

    kind: str
    message: str
    batch_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonSummary:
    """One reason that Marketo gave, the most frequent is R1."""

    id: str
    kind: str
    reason: str
    rows: int
    example_row: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitSummary:
    """How often, and how long, one cause kept the job waiting."""

    count: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What became of a job."""

    schema: str
    job_id: str
    name: str | None
    labels: Mapping[str, str]
    parent: str | None
    state: str
    exit_code: int
    exit_reasons: tuple[str, ...]  # words of ending.REASONS, the deciding one first
    target: Mapping[str, str | int]
    subscription: SubscriptionSummary
    version: str
    sources: tuple[SourceSummary, ...]
    rows: RowsSummary
    chunks: ChunksSummary
    batches: tuple[BatchSummary, ...]
    lost_answers: LostAnswersSummary
    findings: tuple[FindingSummary, ...]
    reasons: tuple[ReasonSummary, ...]
    api_calls: Mapping[str, int]
    waits: Mapping[str, WaitSummary]
    started_at: str | None
    finished_at: str | None
    next: str  # the command to run next, with the flags of the import or of the last `resume`, without secrets

    def to_json(self) -> str:
        """Return the content of ``summary.json``, fields in the order above."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=2) + "\n"


# --- making it -----------------------------------------------------------------------------------------------


def summarise(
    *,
    job: Job,
    sources: Sequence[Source],
    chunks: Sequence[Chunk],
    findings: Sequence[Finding],
    reasons: Sequence[Reason],
    api_calls: Mapping[str, int],
    waits: Mapping[str, tuple[int, int]],
    version: str,
    causes: Iterable[str] | None = None,
) -> Summary:
    """Say what became of a job, and prove that its rows add up.

    ``chunks`` are all chunks of the job, split ones too; ``waits`` has, per cause, how often and how many
    milliseconds; ``causes`` say why the job stopped, in words of ``ending.REASONS``; None means those that the job
    already carries.  JournalError if a row is missing or counted twice: the journal is damaged then, or this program
    is wrong.
    """
    leaves = sorted(
        (chunk for chunk in chunks if chunk.phase is not Phase.SPLIT),
        key=lambda chunk: (chunk.span.source, chunk.span.first_row),
    )
    rows = _count_rows(job, sources, leaves)
    accepted = job.options.failed_accepted
    code, names = exit_code(
        state=job.state,
        failed=rows.failed,
        unknown=sum(chunk.unknown for chunk in leaves),
        unfinished=rows.unsent + sum(chunk.span.rows for chunk in leaves if chunk.phase in _UNDER_WAY),
        causes=job.exit_reasons if causes is None else causes,
        failed_allowed=0 if accepted is None else Share.parse(accepted).of(rows.read),
    )
    return Summary(
        schema=SCHEMA,
        job_id=job.id,
        name=job.name,
        labels=dict(job.labels),
        parent=job.parent,
        state=job.state,
        exit_code=int(code),
        exit_reasons=names,
        target=_target(job.target),
        subscription=SubscriptionSummary(
            name=job.subscription, host=job.host, api_user=job.api_user, emulator=job.emulator
        ),
        version=version,
        sources=tuple(_source(source) for source in sorted(sources, key=lambda source: source.index)),
        rows=rows,
        chunks=_count_chunks(leaves),
        batches=_batches(leaves, repeated(chunks)),
        lost_answers=lost_answers(chunks),
        findings=tuple(map(_finding, findings)),
        reasons=tuple(_reason(number, reason) for number, reason in enumerate(reasons, 1)),
        api_calls={kind: api_calls.get(kind, 0) for kind in _always(API_CALLS, api_calls)},
        waits={cause: _wait(*waits.get(cause, (0, 0))) for cause in _always(WAITS, waits)},
        started_at=iso(job.started_ms),
        finished_at=iso(job.finished_ms),
        next=next_command(job, code),
    )


def iso(ms: int | None) -> str | None:
    """Write a time as ISO 8601 in UTC with milliseconds."""
    if ms is None:
        return None
    return (_EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment_in_words(ms: int) -> str:
    """Write a time for people who may be in any zone: 2026-03-01 14:05:09 UTC."""
    return (_EPOCH + timedelta(milliseconds=ms)).strftime("%Y-%m-%d %H:%M:%S UTC")


# --- its parts -------------------------------------------------------------------------------------------------


def _count_rows(job: Job, sources: Sequence[Source], leaves: Sequence[Chunk]) -> RowsSummary:
    superseded = sum(source.superseded for source in sources)
    accepted = failed = warned = unsent = unknown = unmatched = 0
    for chunk in leaves:
        _check_chunk(job, chunk)
        if chunk.phase in _UNDER_WAY:  # also if its counts are known: its rows are not in the report yet
            unknown += chunk.span.rows
            continue
        accepted += chunk.accepted
        failed += chunk.failed
        warned += chunk.warned
        unmatched += chunk.unmatched
        unknown += chunk.unknown
        unsent += chunk.span.rows - chunk.accepted - chunk.failed - chunk.unknown
    rows = RowsSummary(
        in_source=sum(source.rows for source in sources),
        skipped=Skipped(superseded=superseded),
        read=sum(chunk.span.rows for chunk in leaves),
        accepted=accepted,
        failed=failed,
        warned=warned,
        unsent=unsent,
        unknown=unknown,
        unmatched=unmatched,
    )
    if rows.in_source != rows.read + superseded:
        raise _broken(
            job, f"its sources have {rows.in_source} rows, its chunks {rows.read}, and {superseded} are skipped"
        )
    if rows.read != accepted + failed + unsent + unknown:
        raise _broken(job, f"of {rows.read} rows, {accepted + failed + unsent + unknown} have an outcome")
    return rows


def _check_chunk(job: Job, chunk: Chunk) -> None:
    """Refuse a chunk whose numbers contradict each other or its phase."""
    known = chunk.accepted + chunk.failed + chunk.unknown
    rows = chunk.span.rows
    negative = min(chunk.accepted, chunk.failed, chunk.warned, chunk.unknown, chunk.unmatched) < 0
    uncounted = known != rows if chunk.phase is Phase.DONE else known > rows
    if negative or uncounted or chunk.warned > chunk.accepted or chunk.unmatched > chunk.failed:
        raise _broken(
            job,
            f"chunk {chunk.id} ({chunk.phase}) of {rows} rows has {chunk.accepted} accepted ({chunk.warned} with a "
            f"warning), {chunk.failed} failed ({chunk.unmatched} without a row) and {chunk.unknown} unknown",
        )


def _broken(job: Job, what: str) -> JournalError:
    return JournalError(
        f"The rows of job {job.id} do not add up: {what}. Nothing was sent again and nothing deleted; "
        f"keep the state directory and report this as an error of this program."
    )


def _count_chunks(leaves: Sequence[Chunk]) -> ChunksSummary:
    return ChunksSummary(
        total=len(leaves),
        done=sum(chunk.phase is Phase.DONE for chunk in leaves),
        unsent=sum(chunk.phase in (Phase.READY, Phase.CANCELLED) for chunk in leaves),
        unknown=sum(chunk.phase in _UNDER_WAY for chunk in leaves),
        refused=sum(chunk.phase is Phase.REFUSED for chunk in leaves),
    )


def _batches(leaves: Sequence[Chunk], repeated: Set[ChunkId]) -> tuple[BatchSummary, ...]:
    return tuple(_batch(chunk, chunk.batch_id, chunk.id in repeated) for chunk in leaves if chunk.batch_id is not None)


def _batch(chunk: Chunk, batch_id: int, repeated: bool) -> BatchSummary:
    return BatchSummary(
        batch_id=batch_id,
        chunk=chunk.id,
        source=chunk.span.source,
        first_row=chunk.span.first_row,
        rows=chunk.span.rows,
        status=chunk.status,
        accepted=chunk.accepted,
        failed=chunk.failed,
        warned=chunk.warned,
        attempts=chunk.attempts,
        adopted=chunk.adopted,
        resent=chunk.resent,
        repeated=repeated,
        submitted_at=iso(chunk.submitted_ms),
        completed_at=iso(chunk.completed_ms),
        polls=chunk.polls,
    )


def _finding(finding: Finding) -> FindingSummary:
    return FindingSummary(kind=finding.kind, message=finding.message, batch_id=finding.batch_id)


def _reason(number: int, reason: Reason) -> ReasonSummary:
    return ReasonSummary(
        id=f"R{number}", kind=reason.kind.value, reason=reason.text, rows=reason.rows, example_row=reason.example_row
    )


def _source(source: Source) -> SourceSummary:
    return SourceSummary(
        path=source.path,
        bytes=(source.original or source).identity.size_bytes,
        sha256=source.sha256,
        rows=source.rows,
        blank_lines=source.blank_lines,
        encoding=source.encoding,
        delimiter=source.format.delimiter,
    )


def _target(target: Target) -> dict[str, str | int]:
    match target:
        case Leads():
            shown: dict[str, str | int] = {"object": "leads", "lookup_field": target.lookup_field}
            if target.list_id is not None:
                shown["list_id"] = target.list_id
            if target.partition is not None:
                shown["partition"] = target.partition
            return shown
        case CustomObjects():
            return {"object": f"custom:{target.api_name}"}
        case ProgramMembers():
            return {
                "object": "program-members",
                "program_id": target.program_id,
                "member_status": target.member_status,
            }


def _wait(count: int, ms: int) -> WaitSummary:
    return WaitSummary(count=count, seconds=round(ms / 1000, 3))


def _always(first: Sequence[str], found: Iterable[str]) -> list[str]:
    return [*first, *sorted(name for name in found if name not in first)]
