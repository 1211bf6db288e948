"""What is done before a job's end besides its own rows: other jobs' turns, and days that begin with new calls."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.model import RANKS, Priority
from orchestrator.report.eta import Eta

DAY_MS = 86_400_000
DAYS_MAX = 366  # what takes longer is not foretold


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What of a job has not been imported."""

    rows: int
    size_bytes: int
    priority: Priority
    first: bool = False  # the job that is looked at begins only behind it


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """What imports may call, and what they need."""

    left: int  # today
    per_day: int  # on days to come
    per_row: float
    reset_ms: int  # when the next day begins


def rows_ahead(own: Left, others: Iterable[Left]) -> int:
    """Return how many rows are imported until the end of a job, those of others among them.

    Those of higher priority go first.  Those of the same priority take turns, each sending as many bytes as the others.
    """
    total = float(own.rows)
    for other in others:
        if other.first or RANKS.index(other.priority) < RANKS.index(own.priority):
            total += other.rows
        elif other.priority is own.priority and other.size_bytes:
            total += other.rows * min(1.0, own.size_bytes / other.size_bytes)
    return round(total)


def with_calls(eta: Eta, rows: int, now_ms: int, calls: Calls) -> Eta | None:
    """Return the forecast for so many rows, put off by the waits for days to come; None if nobody can tell."""
    if rows <= 0:
        return eta
    left_ms = [max(1, end_ms - now_ms) for end_ms in (eta.p50_ms, eta.p90_ms)]  # what is late may end at any moment
    waits = [_waits_ms(ms / rows, rows, now_ms, calls) for ms in left_ms]
    p50_waits_ms, p90_waits_ms = waits
    if p50_waits_ms is None or p90_waits_ms is None:
        return None
    if not p50_waits_ms and not p90_waits_ms:
        return eta
    p50_ms, p90_ms = eta.p50_ms + p50_waits_ms, eta.p90_ms + p90_waits_ms
    basis = f"{eta.basis}, and waits for the calls of the next day"
    return Eta(p50_ms=p50_ms, p90_ms=max(p50_ms, p90_ms), basis=basis)


def _waits_ms(ms_per_row: float, rows: float, at_ms: float, calls: Calls) -> int | None:
    """Return for how long nothing is imported because the calls of a day are spent; None if for too long."""
    waits_ms, reset_ms, may = 0.0, calls.reset_ms, calls.left
    for _ in range(DAYS_MAX):
        by_calls = max(0, may) / calls.per_row
        by_time = max(0.0, reset_ms - at_ms) / ms_per_row
        if rows <= min(by_calls, by_time):
            return round(waits_ms)
        waits_ms += max(0.0, by_time - by_calls) * ms_per_row
        rows -= min(by_calls, by_time)
        at_ms, reset_ms, may = reset_ms, reset_ms + DAY_MS, calls.per_day
    return None
