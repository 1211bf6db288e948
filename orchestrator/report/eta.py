"""When a job is likely to end, judged by the batches that ended last, and by nothing else.

What stands in a job's way shows in how its batches end one after another: how long Marketo takes for a row, how many
importers work for it, chunks that wait for each other's keys, imports of others.  So the time from end to end, per row,
is all that is needed; how much it varies tells how far to trust it.  Before a few batches have ended, nothing is known,
and nothing is said.

Who looks far ahead looks far back: as many rows are looked back on as are left, for what others do for an hour now and
then is not seen in ten minutes.  As two importers may end together, the time between two ends tells less than that
between every other one; and as what changes now and then shows in longer times alone, those are looked at too, and the
forecast is as unsure as the worse of both.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import sqrt

ENDS_MIN = 4  # fewer tell nothing of how times vary
ENDS_ENOUGH = 30  # so many are looked back on, even if fewer rows are left
ENDS_MAX = 500
PAUSE_MS = 3_600_000  # after a longer time without any end the job begins anew: it stood still, or nobody drove it
FIRST_LOOK_MS = (
    30_000  # by then whoever begins to drive has asked after all batches: the longest time between two polls
)
TOGETHER = 2  # batches may end at the same time: Marketo's importers
LONG = 6  # parts of the time looked back on; what varies from one to the next is seen, too
NINE_OF_TEN = 1.2816  # standard deviations above the average


@dataclass(frozen=True, slots=True, kw_only=True)
class Eta:
    """Two moments: as likely as not the job ends before the first, and nine times of ten before the second."""

    p50_ms: int
    p90_ms: int
    basis: str


def expect(ends: Iterable[tuple[int, int]], rows_left: int, now_ms: int) -> Eta | None:
    """Return when the rows left are through, None if nobody can tell; ``ends`` are when batches ended, and their rows."""
    latest = _enough(_in_one_go(sorted(ends)[-ENDS_MAX:], now_ms), rows_left)
    if len(latest) < ENDS_MIN or rows_left <= 0:
        return None
    times, done = [at_ms for at_ms, _ in latest], list(accumulate(rows for _, rows in latest))
    took_ms, rows = _between(times), _between(done)
    if took_ms <= 0 or rows <= 0:
        return None
    ms_per_row = took_ms / rows
    batch_rows = done[-1] / len(latest)
    uneven = max(_uneven(times, done, ms_per_row, lag) for lag in (TOGETHER, max(TOGETHER, len(latest) // LONG)))
    # What the batches under way have done already is not known; it is no more than one of them.
    variance = uneven * rows_left * (1 + rows_left / rows) + (ms_per_row * batch_rows) ** 2
    begun_ms = max(times[-1], now_ms - round(ms_per_row * min(rows_left, batch_rows)))
    p50_ms = begun_ms + round(ms_per_row * rows_left)
    independent = max(1.0, (len(latest) - 1) / TOGETHER - 1)  # times looked at; of few, the variance is little known
    return Eta(
        p50_ms=p50_ms,
        p90_ms=p50_ms + round(NINE_OF_TEN * (1 + 1 / independent) * sqrt(variance)),
        basis=f"the last {len(latest)} batches, {_speed(1000 / ms_per_row)}",
    )


def without_idleness(ends: Iterable[tuple[int, int, int]]) -> list[tuple[int, int]]:
    """Return the ends since there was work without a break: when each was, and its rows.

    ``ends`` are when batches ended, their rows, and when their jobs began.  While no job was there, nothing ended, and
    that says nothing of how fast rows go.
    """
    found: list[tuple[int, int]] = []
    begun_ms = 0
    for at_ms, rows, job_begun_ms in sorted(ends, reverse=True):
        if found and at_ms < begun_ms:
            break
        begun_ms = min(begun_ms, job_begun_ms) if found else job_begun_ms
        found.append((at_ms, rows))
    return found[::-1]


def in_one_drive(ends: Sequence[tuple[int, int]], begun_ms: int) -> tuple[Sequence[tuple[int, int]], bool]:
    """Return the ends since a process began to drive; while they are too few to tell, True and those before it.

    Between the two nobody drove, for seconds or for an hour, and that says nothing of how fast rows go.  What is found
    ended at the beginning did so in that time, nobody knows when, so it tells nothing either.
    """
    place = bisect_left(ends, begun_ms, key=lambda end: end[0])
    looked = bisect_left(ends, begun_ms + FIRST_LOOK_MS, key=lambda end: end[0]) if place else 0
    before, since = ends[:place], ends[looked:]
    return (since, False) if len(since) >= ENDS_MIN or not before else (before, True)


def _in_one_go(ends: list[tuple[int, int]], now_ms: int) -> list[tuple[int, int]]:
    """Return the ends since the job last stood still."""
    if not ends or now_ms - ends[-1][0] > PAUSE_MS:
        return []
    pauses = [place for place, (one, other) in enumerate(pairwise(ends), 1) if other[0] - one[0] > PAUSE_MS]
    return ends[pauses[-1] if pauses else 0 :]


def _enough(ends: list[tuple[int, int]], rows_left: int) -> list[tuple[int, int]]:
    """Return the latest ends, with as many rows as are left."""
    back = list(accumulate(rows for _, rows in reversed(ends)))
    many = next((count for count, rows in enumerate(back, 1) if rows >= rows_left), len(ends))
    return ends[-max(many, ENDS_ENOUGH) :]


def _between(values: Sequence[int]) -> float:
    """Return how far the last values are from the first, both on average of as many as come together."""
    return (sum(values[-TOGETHER:]) - sum(values[:TOGETHER])) / TOGETHER


def _uneven(times: Sequence[int], done: Sequence[int], ms_per_row: float, lag: int) -> float:
    """Return the variance of the time that a row takes, seen in the times from each end to one some ends later."""
    spans = [(times[at] - times[at - lag], done[at] - done[at - lag]) for at in range(lag, len(times))]
    return sum((ms - ms_per_row * rows) ** 2 for ms, rows in spans) / sum(rows for _, rows in spans)


def _speed(rows_per_second: float) -> str:
    return f"{rows_per_second:,.0f} rows/s" if rows_per_second >= 1 else f"{60 * rows_per_second:,.0f} rows/min"
