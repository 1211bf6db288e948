"""What an import would take, before anything is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.claims import Fingerprints
from orchestrator.model import Job, Source, Span
from orchestrator.offload import Offload
from orchestrator.source.inventory import Inventory
from orchestrator.source.keys import overlap
from orchestrator.source.split import Plan
from orchestrator.uploads import claims_of

EXAMINED_CHUNKS_MAX = 200  # for repeated keys: about 2 GB of source, read in a minute
# Without experience: what users report of Marketo lies between these; Adobe states no figure.
ROWS_PER_SECOND_ASSUMED = (50.0, 500.0)
POLLS_PER_BATCH = (2, 12)  # status calls: at the least, and for a batch of several minutes


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """How fast a whole import goes, from slow to fast, and how that is known."""

    slow_rows_per_second: float
    fast_rows_per_second: float
    basis: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Seconds:
    """How long it takes."""

    planning: float  # measured
    least: float
    most: float
    basis: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflicts:
    """How many chunks share keys with one of the chunks sent shortly before them."""

    chunks: int  # each waits until the other is finished
    examined: int  # of the first chunks; 0 if repeated keys are ignored


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What an import would take."""

    sources: tuple[Source, ...]
    chunks: int
    rows: int
    source_bytes: int
    largest_chunk_rows: int
    conflicts: Conflicts
    calls_least: int
    calls_most: int
    calls_per_day: int
    rows_beyond_recall: int  # at Marketo at any moment, where nothing can be cancelled
    seconds: Seconds
    inventory: Inventory
    warnings: tuple[str, ...]


def learned_speed(finished: Sequence[tuple[Job, int]], importers: int) -> Speed:
    """Return the speed of earlier jobs, given with their rows, or an assumption if there are none."""
    rates = [
        rows * 1000 / (job.finished_ms - job.started_ms)
        for job, rows in finished
        if rows and job.started_ms is not None and job.finished_ms is not None and job.finished_ms > job.started_ms
    ]
    if rates:
        slow, fast = min(rates), max(rates)
        return Speed(
            slow_rows_per_second=slow * 0.8,
            fast_rows_per_second=fast * 1.25,
            basis=f"{len(rates)} finished jobs into this subscription went at {slow:,.0f} to {fast:,.0f} rows/s",
        )
    slow, fast = ROWS_PER_SECOND_ASSUMED
    return Speed(
        slow_rows_per_second=slow * importers,
        fast_rows_per_second=fast * importers,
        basis=(
            f"no finished job into this subscription to learn from; assumed are {slow:.0f} to {fast:.0f} rows/s "
            f"for each of {importers} importers"
        ),
    )


async def count_conflicts(
    plans: Sequence[Plan], *, key_columns: Sequence[str], lookahead_chunks: int, offload: Offload
) -> Conflicts:
    """Count the chunks that share a key with one of the ``lookahead_chunks`` before them.

    Raises:
        SourceChanged: a file is not the one that was planned.

    """
    pairs = [(plan.source, span) for plan in plans for span in plan.spans][:EXAMINED_CHUNKS_MAX]
    recent: list[Fingerprints] = []
    conflicting = 0
    for source, span in pairs:
        claims = await offload.run(claims_of, source, span, key_columns, b"forecast")
        conflicting += any(overlap(claims, earlier) for earlier in recent)
        recent = [*recent, claims][-lookahead_chunks:]
    return Conflicts(chunks=conflicting, examined=len(pairs))


def forecast(
    plans: Sequence[Plan],
    *,
    conflicts: Conflicts,
    speed: Speed,
    depth: int,
    calls_per_day: int,
    planning_ms: int,
    inventory: Inventory,
    notes: Sequence[str] = (),
) -> Forecast:
    """Put together what an import would take; ``notes`` are what else is to be known."""
    spans: list[Span] = [span for plan in plans for span in plan.spans]
    rows = sum(span.rows for span in spans)
    largest = max((span.rows for span in spans), default=0)
    serial = 1 + conflicts.chunks / max(1, conflicts.examined)  # at worst, chunks that wait import alone
    few, many = POLLS_PER_BATCH
    return Forecast(
        sources=tuple(plan.source for plan in plans),
        chunks=len(spans),
        rows=rows,
        source_bytes=sum(plan.source.identity.size_bytes for plan in plans),
        largest_chunk_rows=largest,
        conflicts=conflicts,
        calls_least=len(spans) * (1 + few),
        calls_most=len(spans) * (1 + many + 2),
        calls_per_day=calls_per_day,
        rows_beyond_recall=min(rows, depth * largest),
        seconds=Seconds(
            planning=planning_ms / 1000,
            least=round(rows / speed.fast_rows_per_second, 1),
            most=round(rows / speed.slow_rows_per_second * serial, 1),
            basis=speed.basis,
        ),
        inventory=inventory,
        warnings=(
            *notes,
            *(warning for plan in plans for warning in plan.warnings),
            *inventory.warnings,
        ),
    )
