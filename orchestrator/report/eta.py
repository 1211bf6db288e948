"""When a job is likely to end, judged by the batches of it that ended last, and by nothing else.

What stands in a job's way shows in how its batches end one after another: how long Marketo takes for a row, how many
importers work for it, chunks that wait for each other's keys, imports of others.  So the time from end to end, per row,
is all that is needed; how much it varies tells how far to trust it.  Before a few batches have ended, nothing is known,
and nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

ENDS_MIN = 4  # fewer tell nothing of how times vary
ENDS_MAX = 30  # the latest ones: what was long ago says little
PAUSE_MS = 3_600_000  # after a longer time without any end the job begins anew: it stood still, or nobody drove it
NINE_OF_TEN = 1.2816  # standard deviations above the average


@dataclass(frozen=True, slots=True, kw_only=True)
class Eta:
    """Two moments: as likely as not the job ends before the first, and nine times of ten before the second."""

    p50_ms: int
    p90_ms: int
    basis: str


def expect(ends: Iterable[tuple[int, int]], rows_left: int, now_ms: int) -> Eta | None:
    """Return when the rows left are through, None if nobody can tell; ``ends`` are when batches ended, and their rows."""
    latest = _in_one_go(sorted(ends)[-ENDS_MAX:], now_ms)
    took = [(later - earlier, rows) for (earlier, _), (later, rows) in pairwise(latest)]
    rows = sum(rows for _, rows in took)
    if len(latest) < ENDS_MIN or not rows or rows_left <= 0 or latest[-1][0] == latest[0][0]:
        return None
    ms_per_row = (latest[-1][0] - latest[0][0]) / rows
    squares = sum((ms - ms_per_row * its) ** 2 for ms, its in took)
    batches_left = rows_left * len(took) / rows
    variance = squares / (len(took) - 1) * batches_left + squares * (rows_left / rows) ** 2
    # What the batches under way have done already is not known; it is no more than one of them.
    begun_ms = max(latest[-1][0], now_ms - round(ms_per_row * min(rows_left, rows / len(took))))
    p50_ms = begun_ms + round(ms_per_row * rows_left)
    return Eta(
        p50_ms=p50_ms,
        p90_ms=p50_ms + round(NINE_OF_TEN * sqrt(variance)),
        basis=f"the last {len(latest)} batches, {_speed(1000 / ms_per_row)}",
    )


def _in_one_go(ends: list[tuple[int, int]], now_ms: int) -> list[tuple[int, int]]:
    """Return the ends since the job last stood still."""
    if not ends or now_ms - ends[-1][0] > PAUSE_MS:
        return []
    pauses = [place for place, (one, other) in enumerate(pairwise(ends), 1) if other[0] - one[0] > PAUSE_MS]
    return ends[pauses[-1] if pauses else 0 :]


def _speed(rows_per_second: float) -> str:
    return f"{rows_per_second:,.0f} rows/s" if rows_per_second >= 1 else f"{60 * rows_per_second:,.0f} rows/min"
