"""A job's batches in a table, and the names that its chunks have for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from orchestrator.cli.fitting import fitted
from orchestrator.cli.words import duration, number, short_moment, zone
from orchestrator.model import Chunk, ChunkId

BATCHES_SHOWN_MAX = 20  # the latest ones; --json has all
NEAR_MS = 24 * 3_600_000  # a deadline that is farther away is told once, below

_RIGHT = ("BATCH", "ROWS", "ACCEPTED", "FAILED", "WARNED", "TOOK")
_SPARE = ("WARNED", "CHUNK", "FAILED")


def chunk_names(chunks: Sequence[Chunk]) -> Mapping[ChunkId, str]:
    """Return a name for each chunk of one job: 1, 2 ... in order of the first row, 2.1, 2.2 ... for parts of the second."""
    names: dict[ChunkId, str] = {}
    counts: Counter[str] = Counter()
    for chunk in sorted(chunks, key=lambda each: (each.depth, *_place(each))):  # what was split before its parts
        before = "" if chunk.parent is None or chunk.parent not in names else f"{names[chunk.parent]}."
        counts[before] += 1
        names[chunk.id] = f"{before}{counts[before]}"
    return names


def _place(chunk: Chunk) -> tuple[int, int, int]:
    return chunk.span.source, chunk.span.first_row, chunk.depth


def batch_lines(chunks: Sequence[Chunk], *, now_ms: int, width: int | None) -> list[str]:
    """Show the latest batches in order of their rows; nothing if there are none."""
    batches = [chunk for chunk in chunks if chunk.batch_id is not None]
    if not batches:
        return []
    names = chunk_names(chunks)
    latest = sorted(batches, key=lambda chunk: chunk.batch_id or 0)[-BATCHES_SHOWN_MAX:]
    shown = sorted(latest, key=_place)
    submitted = f"SUBMITTED ({zone(now_ms)})"
    header = ("BATCH", "CHUNK", "ROWS", "STATUS", "ACCEPTED", "FAILED", "WARNED", submitted, "TOOK")
    lines = [header, *(_batch_line(chunk, names[chunk.id]) for chunk in shown)]
    if any(chunk.deadline_ms is not None and chunk.deadline_ms - now_ms < NEAR_MS for chunk in shown):
        left = ["-" if chunk.deadline_ms is None else _left_words(chunk.deadline_ms - now_ms) for chunk in shown]
        lines = [(*line, end) for line, end in zip(lines, ("DEADLINE", *left), strict=True)]
    title = f"the latest {len(shown)} of {len(batches)} batches:" if len(shown) < len(batches) else "batches:"
    return ["", title, *fitted(lines, width, right=_RIGHT, spare=(*_SPARE, submitted))]


def _left_words(left_ms: int) -> str:
    return f"in {duration(left_ms / 1000)}" if left_ms > 0 else "over"


def _batch_line(chunk: Chunk, name: str) -> tuple[str, ...]:
    took = "-"
    if chunk.submitted_ms is not None and chunk.completed_ms is not None:
        took = duration((chunk.completed_ms - chunk.submitted_ms) / 1000)
    return (
        str(chunk.batch_id),
        name,
        number(chunk.span.rows),
        str(chunk.status or "-"),
        number(chunk.accepted),
        number(chunk.failed),
        number(chunk.warned),
        short_moment(chunk.submitted_ms),
        took,
    )
