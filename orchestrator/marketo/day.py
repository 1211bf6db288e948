"""The day that Marketo's daily quota counts: midnight to midnight in US Central Time.

Adobe writes "CST" in one place and Central Time in another, so for two hours behind midnight nobody knows
whether the new day has begun.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

CENTRAL = ZoneInfo("America/Chicago")
UNSURE_HOURS = 2  # behind midnight: asked for anew every hour
HOUR_MS = 3_600_000


def quota_day(wall_ms: int) -> str:
    """Return the day that a call at this time counts for, as ISO 8601."""
    return _central(wall_ms).date().isoformat()


def next_try_ms(wall_ms: int) -> int:
    """Return when a call may succeed again that was refused now because the day's calls are used up."""
    now = _central(wall_ms)
    if now.hour < UNSURE_HOURS:
        return wall_ms + HOUR_MS
    midnight = datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), tzinfo=CENTRAL)
    return int(midnight.timestamp() * 1000)


def _central(wall_ms: int) -> datetime:
    return datetime.fromtimestamp(wall_ms / 1000, tz=UTC).astimezone(CENTRAL)
