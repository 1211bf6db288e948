from __future__ import annotations

from datetime import UTC, datetime

from orchestrator.emulator.limits import Limits, central_day
from tests.unit.emulator.kit import config


def codes(limits: Limits, times: list[int]) -> list[str | None]:
    refused = [limits.admit("u", now_ms) for now_ms in times]
    return [one.code if one is not None else None for one in refused]


def test_the_window_slides_and_refused_calls_count():
    limits = Limits(config(calls_per_window=3, window_ms=20_000))
    assert codes(limits, [0, 1, 2, 3]) == [None, None, None, "606"]
    assert codes(limits, [20_000]) == ["606"]  # 1, 2, 3 are still in it
    assert codes(limits, [20_003]) == [None]  # 20_000 and this one
    assert limits.in_window_max == 4


def test_the_words_of_a_rate_limit():
    limits = Limits(config(calls_per_window=1))
    limits.admit("u", 0)
    assert str(limits.admit("u", 0)) == "Max rate limit '1' exceeded with in '20' secs"


def test_calls_in_progress():
    limits = Limits(config(concurrent_calls=2))
    for _ in range(3):
        limits.arrive()
    refused = limits.admit("u", 0)
    assert refused is not None
    assert (refused.code, str(refused)) == ("615", "Concurrent access limit '2' reached")
    limits.leave()
    assert limits.admit("u", 0) is None
    assert limits.in_flight_max == 3


def test_the_day_ends_at_midnight_in_chicago_summer_and_winter():
    limits = Limits(config(calls_per_day=1))

    def at(*when: int) -> int:
        return int(datetime(*when, tzinfo=UTC).timestamp() * 1000)

    assert codes(limits, [at(2026, 7, 1, 4, 59), at(2026, 7, 1, 4, 59), at(2026, 7, 1, 5, 0)]) == [None, "607", None]
    assert (central_day(at(2026, 12, 1, 5, 59)), central_day(at(2026, 12, 1, 6, 0))) == ("2026-11-30", "2026-12-01")


def test_usage_and_errors_by_day_keep_a_week():
    limits = Limits(config())
    day_ms = 86_400_000
    for day in range(20):
        limits.admit("ann", day * day_ms)
        limits.count_error("606", day * day_ms)
    assert len(limits.usage(20 * day_ms)) == 8
    assert len(limits.errors(20 * day_ms)) <= 9
    assert list(limits.usage(20 * day_ms).values())[-1] == {}
    assert list(limits.usage(20 * day_ms).values())[-2] == {"ann": 1}
