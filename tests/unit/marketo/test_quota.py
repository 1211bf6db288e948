from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.marketo.quota import BUSY, Quota


def test_a_call_counts_until_one_window_after_its_end():
    quota = Quota(calls_per_window=2, window_ms=1000, concurrent_calls=9)
    assert [quota.admit(0), quota.admit(400), quota.admit(400)] == [0, 0, BUSY]
    quota.release(500)
    assert quota.admit(600) == 901
    quota.release(700)
    assert [quota.admit(1500), quota.admit(1501), quota.admit(1501)] == [1, 0, 200]
    assert quota.in_progress == 1


def test_a_call_in_progress_holds_its_place_until_it_is_released():
    quota = Quota(calls_per_window=9, window_ms=1000, concurrent_calls=2)
    assert [quota.admit(0), quota.admit(0), quota.admit(99_999)] == [0, 0, BUSY]
    quota.release(99_999)
    assert quota.in_progress == 1
    assert [quota.admit(99_999), quota.admit(99_999)] == [0, BUSY]


def at_a_time(quota: Quota, now_ms: int) -> int:
    """Return how many calls may be in progress at this time."""
    admitted = 0
    while quota.admit(now_ms) == 0:
        admitted += 1
    for _ in range(admitted):
        quota.release(now_ms)
    return admitted


def test_after_a_call_too_many_half_as_many_are_made_at_a_time_and_one_more_after_each_window():
    quota = Quota(calls_per_window=10_000, window_ms=1000, concurrent_calls=9)
    assert at_a_time(quota, 0) == 9
    quota.crowd(0)
    assert [at_a_time(quota, now_ms) for now_ms in (0, 999, 1000, 2500)] == [4, 4, 5, 6]
    quota.crowd(2500)
    quota.crowd(2600)
    assert [at_a_time(quota, now_ms) for now_ms in (2600, 3599, 3600)] == [2, 2, 3]  # beside an upload there is room
    quota.crowd(3600)
    assert [at_a_time(quota, now_ms) for now_ms in (3600, 10_000, 99_000)] == [2, 8, 9]


def test_a_lowered_limit_rises_again_though_the_clock_was_set_back():
    quota = Quota(calls_per_window=10_000, window_ms=1000, concurrent_calls=9)
    quota.crowd(10**9)
    assert [at_a_time(quota, now_ms) for now_ms in (0, 1000, 2000)] == [4, 5, 6]


def test_of_one_call_at_a_time_none_is_taken():
    quota = Quota(calls_per_window=10_000, window_ms=1000, concurrent_calls=1)
    quota.crowd(0)
    assert at_a_time(quota, 0) == 1


def test_a_clock_that_was_set_back_locks_nobody_out_for_longer_than_a_window():
    quota = Quota(calls_per_window=1, window_ms=1000, concurrent_calls=9)
    quota.admit(10**9)
    quota.release(10**9)
    assert quota.admit(0) == 1001


def test_nothing_is_released_that_was_not_admitted():
    with pytest.raises(ValueError, match="in progress"):
        Quota(calls_per_window=1, window_ms=1, concurrent_calls=1).release(0)


@pytest.mark.parametrize("limits", [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_limits_are_at_least_one(limits):
    calls, window, concurrent = limits
    with pytest.raises(ValueError, match="at least 1"):
        Quota(calls_per_window=calls, window_ms=window, concurrent_calls=concurrent)


@settings(deadline=None)
@given(
    st.integers(1, 5),
    st.integers(1, 50),
    st.integers(1, 3),
    st.lists(st.tuples(st.integers(0, 30), st.booleans(), st.floats(0, 1)), max_size=60),
)
def test_whenever_calls_arrive_no_window_holds_more_than_allowed_and_no_wait_is_in_vain(
    calls, window, concurrent, steps
):
    quota = Quota(calls_per_window=calls, window_ms=window, concurrent_calls=concurrent)
    now = 0
    running: list[tuple[int, float]] = []  # start, and how far between start and end it arrives
    ends: list[int] = []
    arrivals: list[int] = []
    for pause, another, share in steps:
        now += pause
        if running and not another:
            start, part = running.pop(0)
            quota.release(now)
            ends.append(now)
            arrivals.append(round(start + part * (now - start)))
        wait = quota.admit(now)
        assert (wait == BUSY) == (len(running) == min(concurrent, calls))
        counted = len(running) + sum(end >= now - window for end in ends)
        assert (wait == 0) == (wait != BUSY and counted < calls)
        if wait > 0:  # the first moment at which there is room, and not one later
            assert len(running) + sum(end >= now + wait - window for end in ends) < calls
            assert len(running) + sum(end >= now + wait - 1 - window for end in ends) >= calls
        elif wait == 0:
            running.append((now, share))
    for arrival in arrivals:
        assert sum(arrival <= other <= arrival + window for other in arrivals) <= calls
