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
