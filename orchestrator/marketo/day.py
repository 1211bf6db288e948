"""The day that Marketo's daily quota counts: midnight to midnight in US Central Time.

Adobe writes "CST" in one place and Central Time in another, so for two hours behind midnight nobody knows
whether the new day has begun.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

CENTRAL = ZoneInfo("America/Chicago")
UNSURE_HOURS = 2  # behind midnight: asked for anew every hour
HOUR_MS = 3_600_000
# Before both have passed, the pace so far tells nothing about the day.
PACE_AFTER_MS = HOUR_MS // 2
PACE_AFTER_CALLS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class DayEnd:
    """When a day's calls end if they go on at the pace of the day so far, and when they are counted anew."""

    exhausted_ms: int | None  # not before now; None: they suffice
    reset_ms: int


def day_end(wall_ms: int, *, own: int, others: int, per_day: int, reserved: int) -> DayEnd | None:
    """Predict the end of the calls that imports may make today; None if it is too early to tell.

    Others have what they used, and what is reserved for them at least.
    """
    midnight_ms, reset_ms = _midnight_ms(_central(wall_ms).date()), day_reset_ms(wall_ms)
    passed_ms = wall_ms - midnight_ms
    if passed_ms < PACE_AFTER_MS or own + others < PACE_AFTER_CALLS:
        return None
    after_ms = passed_ms * per_day // (own + others)
    if own:
        after_ms = min(after_ms, passed_ms * (per_day - reserved) // own)
    exhausted_ms = max(wall_ms, midnight_ms + after_ms)
    return DayEnd(exhausted_ms=exhausted_ms if exhausted_ms < reset_ms else None, reset_ms=reset_ms)


def day_reset_ms(wall_ms: int) -> int:
    """Return when calls are counted anew."""
    return _midnight_ms(_central(wall_ms).date() + timedelta(days=1))


def quota_day(wall_ms: int) -> str:
    """Return the day that a call at this time counts for, as ISO 8601."""
    return _central(wall_ms).date().isoformat()


def next_try_ms(wall_ms: int) -> int:
    """Return when a call may succeed again that was refused now because the day's calls are used up."""
    if _central(wall_ms).hour < UNSURE_HOURS:
        return wall_ms + HOUR_MS
    return day_reset_ms(wall_ms)


def _midnight_ms(day: date) -> int:
    """Return when a day begins."""
    return int(datetime.combine(day, datetime.min.time(), tzinfo=CENTRAL).timestamp() * 1000)


def _central(wall_ms: int) -> datetime:
    return datetime.fromtimestamp(wall_ms / 1000, tz=UTC).astimezone(CENTRAL)
