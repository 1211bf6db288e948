"""What an import would take, before anything is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from orchestrator.claims import Fingerprints
from orchestrator.model import JobId, Source, Span
from orchestrator.offload import Offload
from orchestrator.prospect import Speed
from orchestrator.source.inventory import Inventory
from orchestrator.source.keys import overlaps
from orchestrator.source.split import Plan
from orchestrator.uploads import claims_of

EXAMINED_CHUNKS_MAX = 1_000  # for repeated keys: up to 9.5 GB of source, read and compared in about a minute
POLLS_PER_BATCH = (2, 12)  # status calls: at the least, and for a batch of several minutes


@dataclass(frozen=True, slots=True, kw_only=True)
class Seconds:
    """How long it takes."""

    planning: float  # measured
    least: float
    p50: float  # as likely as not it takes no longer
    most: float  # nine times of ten it takes no longer
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
    rows_beyond_recall: int  # at Marketo as long as nothing special happens; nothing can be cancelled there
    rows_beyond_recall_max: int
    seconds: Seconds
    inventory: Inventory
    refused_for: JobId | None  # the job that imported the same before, so that an import of it would be refused
    warnings: tuple[str, ...]


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
        claims, conflicts = await offload.run(_compare, source, span, key_columns, recent)
        conflicting += conflicts
        recent = [*recent, claims][-lookahead_chunks:]
    return Conflicts(chunks=conflicting, examined=len(pairs))


def _compare(
    source: Source, span: Span, key_columns: Sequence[str], others: Sequence[Fingerprints]
) -> tuple[Fingerprints, bool]:
    """Return the claims of a span, and whether one of them is among others."""
    claims = claims_of(source, span, key_columns, b"forecast")
    return claims, any(overlaps(claims, others))


def forecast(
    plans: Sequence[Plan],
    *,
    conflicts: Conflicts,
    speed: Speed,
    depth: int,
    depth_max: int,
    calls_per_day: int,
    planning_ms: int,
    inventory: Inventory,
    refused_for: JobId | None = None,
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
        rows_beyond_recall_max=min(rows, depth_max * largest),
        seconds=Seconds(
            planning=planning_ms / 1000,
            least=round(rows / speed.fast_rows_per_second, 1),
            p50=round(rows / speed.likely_rows_per_second * sqrt(serial), 1),
            most=round(rows / speed.slow_rows_per_second * serial, 1),
            basis=speed.basis,
        ),
        inventory=inventory,
        refused_for=refused_for,
        warnings=(
            *notes,
            *(warning for plan in plans for warning in plan.warnings),
            *inventory.warnings,
        ),
    )
