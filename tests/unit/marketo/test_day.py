"""The day of the quota, and when its calls end at the pace of the day so far."""

from __future__ import annotations

from datetime import datetime

import pytest

from orchestrator.marketo.day import CENTRAL, HOUR_MS, day_end, next_try_ms, quota_day


def at(text: str) -> int:
    """Return a time in US Central Time."""
    return round(datetime.fromisoformat(text).replace(tzinfo=CENTRAL).timestamp() * 1000)


def end(
    text: str, own: int, others: int = 0, *, per_day: int = 50_000, reserved: int = 5_000
) -> tuple[int | None, int]:
    found = day_end(at(text), own=own, others=others, per_day=per_day, reserved=reserved)
    assert found is not None
    return found.exhausted_ms, found.reset_ms


@pytest.mark.parametrize(
    ("now", "own", "others", "exhausted"),
    [
        ("2026-06-10T06:00", 15_000, 0, "2026-06-10T18:00"),  # what is reserved is not there for imports
        ("2026-06-10T06:00", 15_000, 1_000, "2026-06-10T18:00"),  # others use less than is reserved
        ("2026-06-10T06:00", 15_000, 10_000, "2026-06-10T12:00"),  # others use more
        ("2026-06-10T06:00", 0, 25_000, "2026-06-10T12:00"),
        ("2026-06-10T06:00", 1_000, 1_000, None),
        ("2026-06-10T12:00", 22_500, 0, None),  # they end as the next day begins
        ("2026-06-10T06:00", 45_000, 5_000, "2026-06-10T06:00"),
        ("2026-06-10T06:00", 45_000, 9_000, "2026-06-10T06:00"),  # beyond the end: not in the past
        ("2026-03-08T06:00", 15_000, 0, "2026-03-08T16:00"),  # 5 hours after a midnight, for a clock goes forward
        ("2026-11-01T06:00", 15_000, 0, "2026-11-01T20:00"),  # 7 hours after one
    ],
)
def test_the_end_of_the_calls_at_the_pace_of_the_day(now, own, others, exhausted):
    assert end(now, own, others)[0] == (exhausted and at(exhausted))


@pytest.mark.parametrize(
    ("now", "next_day", "hours"),
    [
        ("2026-06-10T06:00", "2026-06-11T00:00", 18),
        ("2026-03-08T01:00", "2026-03-09T00:00", 22),
        ("2026-11-01T00:45", "2026-11-02T00:00", 24.25),
    ],
)
def test_calls_are_counted_anew_at_midnight_in_central_time(now, next_day, hours):
    _, reset_ms = end(now, 100)
    assert reset_ms == at(next_day) == at(now) + hours * HOUR_MS
    assert quota_day(reset_ms - 1) < quota_day(reset_ms)


@pytest.mark.parametrize(
    ("now", "calls", "told"),
    [
        ("2026-06-10T00:29:59", 40_000, False),
        ("2026-06-10T00:30", 40_000, True),
        ("2026-06-10T23:00", 99, False),
        ("2026-06-10T23:00", 100, True),
    ],
)
def test_nothing_is_predicted_of_a_day_that_has_hardly_begun(now, calls, told):
    found = [day_end(at(now), own=own, others=calls - own, per_day=50_000, reserved=0) for own in (0, 50, calls)]
    assert [each is not None for each in found] == [told] * 3


def test_refused_calls_are_tried_again_at_midnight_or_hourly_behind_it():
    assert next_try_ms(at("2026-03-08T12:00")) == at("2026-03-09T00:00")
    assert next_try_ms(at("2026-06-10T01:59")) == at("2026-06-10T02:59")
