"""What a job came to, put together from the journal and the parts of its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from shutil import rmtree

from orchestrator.journal.journal import Journal
from orchestrator.journal.values import Counters
from orchestrator.model import Chunk, ChunkId, Finding, Job, JobId, Phase, RepeatedKeys, Source
from orchestrator.offload import Offload
from orchestrator.report.doubt import still_true
from orchestrator.report.merge import ordered_parts, write_reports
from orchestrator.report.part import read_reasons
from orchestrator.report.summary import Summary, summarise
from orchestrator.source.spool import LISTING_FILE

DISTRIBUTION = "marketo-bulk-orchestrator"


def job_directory(state_dir: Path, job: Job) -> Path:
    """Return where everything is kept that belongs to a job and is not in the journal."""
    return directory_of(state_dir, job.id)


def directory_of(state_dir: Path, job_id: JobId) -> Path:
    """Return the same of a job of which only the id is known."""
    return state_dir / "jobs" / job_id


def plans_directory(directory: Path) -> Path:
    """Return where each process that plans a job has a directory of its own; ``directory`` is the job's."""
    return directory / "plans"


def copies_directory(plan: Path) -> Path:
    """Return where copies of sources are kept; ``plan`` is the directory of the process that planned them."""
    return plan / "spool"


def remove_copies(directory: Path) -> None:
    """Remove all copies of a job's sources; ``directory`` is the job's."""
    for plan in plans_directory(directory).glob("*"):
        rmtree(copies_directory(plan), ignore_errors=True)


def parts_of(directory: Path, chunks: Sequence[Chunk]) -> dict[ChunkId, Path]:
    """Return the files with the failed and warned rows of a job's chunks, those that exist."""
    paths = {chunk.id: part_path(directory, chunk.id) for chunk in chunks if chunk.phase in (Phase.DONE, Phase.REFUSED)}
    return {chunk: path for chunk, path in paths.items() if path.exists()}


def part_path(directory: Path, chunk: ChunkId) -> Path:
    """Return where the failed and warned rows of a chunk are kept."""
    return directory / "parts" / f"{chunk}.jsonl"


def claims_path(directory: Path, chunk: Chunk) -> Path:
    """Return where the claims of a chunk are kept; ``directory`` is the job's."""
    return directory / "claims" / f"{chunk.id}-{chunk.span.crc32:08x}.claims"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """Everything that is known of a job at one moment."""

    job: Job
    sources: tuple[Source, ...]
    chunks: tuple[Chunk, ...]
    findings: tuple[Finding, ...]
    counters: Counters
    parts: Mapping[ChunkId, Path]
    superseded: Path | None  # lists the rows that were left out for later ones, if that was asked for


async def gather(offload: Offload, journal: Journal, job: Job, directory: Path) -> Gathered:
    """Read everything about a job once, so that its summary and its report say the same."""
    chunks = await journal.chunks(job.id)
    sources = await journal.sources(job.id)
    return Gathered(
        job=job,
        sources=sources,
        chunks=await offload.run(by_original, sources, chunks),
        findings=still_true(await journal.findings(job.id), job, chunks),
        counters=await journal.counters(job.id),
        parts=parts_of(directory, chunks),
        superseded=_listing(directory, sources) if job.options.on_repeated_key is RepeatedKeys.LAST else None,
    )


def _listing(directory: Path, sources: Sequence[Source]) -> Path | None:
    """Return the list of a job's rows that were left out, None before it is planned.

    It lies beside the places of the sources that such rows were in.  If there were none, one list of those that
    processes wrote who planned the job is as good as another, and the smallest is without rows.
    """
    for source in sources:
        if source.superseded and source.original is not None:
            return Path(source.original.places).parent.parent / LISTING_FILE
    lists = plans_directory(directory).glob(f"*/{LISTING_FILE}")
    return min(lists, key=lambda path: path.stat().st_size, default=None)


def by_original(sources: Sequence[Source], chunks: Sequence[Chunk]) -> tuple[Chunk, ...]:
    """Return chunks with the rows and lines of the users' files, where others are sent in their place.

    Raises:
        SourceError: nobody can tell any more which rows those are.

    """
    if all(source.original is None for source in sources):
        return tuple(chunks)
    from orchestrator.source.places import original_place

    found = []
    for chunk in chunks:
        place = original_place(sources[chunk.span.source], chunk.span.first_row)
        if place is not None:
            chunk = replace(chunk, span=replace(chunk.span, first_row=place[0], first_line=place[1]))
        found.append(chunk)
    return tuple(found)


async def summarise_job(offload: Offload, known: Gathered, causes: Sequence[str] | None = None) -> Summary:
    """Return what became of a job so far.

    ``causes`` say why it stopped; None means those that the journal has.

    Raises:
        JournalError: its rows do not add up, or a part of its report is gone.

    """
    return summarise(
        job=known.job,
        sources=known.sources,
        chunks=known.chunks,
        findings=known.findings,
        reasons=await offload.run(read_reasons, ordered_parts(known.chunks, known.parts)),
        api_calls=known.counters.api_calls,
        waits={cause: (wait.count, wait.ms) for cause, wait in known.counters.waits.items()},
        version=version(DISTRIBUTION),
        causes=causes,
    )


async def report_job(offload: Offload, known: Gathered, summary: Summary, out_dir: Path) -> None:
    """Write the report of a job.

    Raises:
        OrchestratorError: a file cannot be written; the message names it.

    """
    await offload.run(
        write_reports,
        out_dir,
        sources=known.sources,
        chunks=known.chunks,
        parts=known.parts,
        summary=summary,
        superseded=known.superseded,
    )
