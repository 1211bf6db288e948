"""One set of uploads whose answers were lost together: what Marketo answered about them, and what that proves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.desk import DrivenJob, span_data
from orchestrator.marketo import wire
from orchestrator.marketo.wire import BatchReport
from orchestrator.model import BatchId, Chunk, ChunkId, JobId, Target
from orchestrator.report import evidence
from orchestrator.report.evidence import Content, Reading
from orchestrator.report.part import RowKind
from orchestrator.schedule.adoption import Found
from orchestrator.source.places import rows_in_words


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """The chunks in doubt between two batches that are known, in the order in which they were sent.

    Their jobs are kept, for one of them may end, and be forgotten, while Marketo is asked.
    """

    after: BatchId
    before: BatchId | None  # None: nothing was accepted after them
    chunks: tuple[Chunk, ...]
    jobs: Mapping[JobId, DrivenJob] = field(compare=False)

    def job_of(self, chunk: Chunk) -> DrivenJob:
        """Return the job of one of the chunks as it was driven when the search began."""
        return self.jobs[chunk.job]

    def target_of(self, chunk: Chunk) -> Target:
        """Return what its rows become."""
        return self.jobs[chunk.job].job.target


@dataclass(slots=True)
class Inquiry:
    """What Marketo answered about one set of uploads, as far as it will not change."""

    calls: int = 0
    reports: dict[tuple[str, int], BatchReport | None] = field(default_factory=dict)
    files: dict[tuple[str, int], dict[RowKind, Path]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """How the rows that a batch lists compare with a chunk."""

    fits: bool
    ours: bool = False
    certain: bool = True
    listed: tuple[Content, ...] = ()


def name_of(chunks: Sequence[Chunk]) -> tuple[tuple[ChunkId, int], ...]:
    """Return what tells a set of uploads from all others."""
    return tuple((chunk.id, chunk.attempts) for chunk in chunks)


def kind_of(target: Target) -> str:
    """Return what batches of a target are asked for by."""
    return wire.status_path(target, BatchId(0))


def landed(reading: Reading | None) -> bool:
    """Tell whether records that were read back prove that an upload arrived."""
    return reading is not None and reading.landed


def candidate(number: BatchId, chunks: Sequence[Chunk], matches: Mapping[tuple[ChunkId, BatchId], Match]) -> Found:
    """Say of a batch which of the chunks it may be."""
    own = {chunk.id: matches[chunk.id, number] for chunk in chunks if (chunk.id, number) in matches}
    return Found(
        batch_id=number,
        fits=frozenset(own),
        ours=any(match.ours for match in own.values()),
        certain=all(match.certain for match in own.values()),
    )


def compare(driven: DrivenJob, chunk: Chunk, report: BatchReport, files: Mapping[RowKind, Path]) -> Match:
    """Compare the rows that a batch lists with those of a chunk."""
    source = driven.sources[chunk.span.source]
    expected = {RowKind.FAILURE: report.failed, RowKind.WARNING: report.warned}
    rows = evidence.read_rows(files, expected=expected, source=source, key_columns=driven.job.key_columns).rows
    data = span_data(source, chunk.span)
    if rows is None or data is None:
        return Match(fits=True, certain=False)
    if not evidence.stand_in(rows, data, source, chunk.span):
        return Match(fits=False)
    return Match(fits=True, ours=evidence.telling(rows, source, driven.job.key_columns), listed=rows)


def question(
    data: bytes, driven: DrivenJob, chunk: Chunk, key_column: str, without: tuple[Content, ...]
) -> evidence.Question:
    """Draw the records of a chunk that are worth reading back."""
    return evidence.question(data, driven.sources[chunk.span.source], chunk.span, key_column, without=without)


def upload(driven: DrivenJob, chunk: Chunk) -> str:
    """Name an upload by its rows."""
    return f"the upload of {rows_in_words(driven.sources[chunk.span.source], chunk.span)}"


def between(interval: Interval) -> str:
    """Name where a batch was looked for."""
    return (
        f"between batches {interval.after} and {interval.before}"
        if interval.before
        else f"since batch {interval.after}"
    )


def proof_of(interval: Interval, imports: int, listed: int, reading: Reading | None) -> str:
    """Say what the decision rests on."""
    words = [f"of {imports} imports {between(interval)} it alone can be it"]
    if listed:
        words.append(f"the {listed} rows it lists all stand in the upload")
    if reading is not None and reading.landed:
        words.append(
            f"{reading.shown} of {reading.asked} records read back were made after the upload, with its values"
        )
    return "; ".join(words)
