"""What is imported before a job's end besides its own rows, and days that have to be waited for."""

from __future__ import annotations

import pytest

from orchestrator.model import Priority
from orchestrator.report.ahead import DAY_MS, DAYS_MAX, Calls, Left, rows_ahead, with_calls
from orchestrator.report.eta import Eta

HOUR_MS = 3_600_000
NOW_MS = 100 * DAY_MS
RESET_MS = NOW_MS + 10 * HOUR_MS


def left(rows: int, priority: Priority = Priority.NORMAL, *, megabytes: int = 1, first: bool = False) -> Left:
    return Left(rows=rows, size_bytes=megabytes * 1_000_000, priority=priority, first=first)


@pytest.mark.parametrize(
    ("others", "ahead"),
    [
        ([], 1_000),
        ([left(300, Priority.HIGH, megabytes=90)], 1_300),  # all of it goes first
        ([left(300, Priority.LOW)], 1_000),
        ([left(300, Priority.LOW, first=True)], 1_300),  # the job begins only behind it
        ([left(300, megabytes=5)], 1_300),  # it has less to send, and is through before
        ([left(300, megabytes=20)], 1_150),  # half of it is sent while the job sends all
        ([left(300, megabytes=20), left(100, Priority.HIGH)], 1_250),
        ([left(0, megabytes=0)], 1_000),
    ],
)
def test_rows_of_others_count_as_far_as_they_are_sent_before_the_end(others, ahead):
    assert rows_ahead(left(1_000, megabytes=10), others) == ahead


def foretold(hours: float = 4, *, surely: float = 6) -> Eta:
    return Eta(p50_ms=NOW_MS + round(hours * HOUR_MS), p90_ms=NOW_MS + round(surely * HOUR_MS), basis="batches")


def calls(now: int, *, per_day: int = 10_000) -> Calls:
    """A row takes a call; a thousand rows are to be imported."""
    return Calls(left=now, per_day=per_day, per_row=1, reset_ms=RESET_MS)


def hours(eta: Eta | None) -> tuple[float, float, str]:
    assert eta is not None
    return (eta.p50_ms - NOW_MS) / HOUR_MS, (eta.p90_ms - NOW_MS) / HOUR_MS, eta.basis


def test_calls_that_suffice_change_nothing():
    assert with_calls(foretold(), 1_000, NOW_MS, calls(1_000)) == foretold()


def test_a_day_that_goes_by_without_its_calls_being_spent_is_no_wait():
    far = foretold(40, surely=60)
    assert with_calls(far, 1_000, NOW_MS, calls(900)) == far


def test_spent_calls_put_the_end_off_to_the_next_day():
    basis = "batches, and waits for the calls of the next day"
    assert hours(with_calls(foretold(), 1_000, NOW_MS, calls(0))) == (14, 16, basis)
    assert hours(with_calls(foretold(), 1_000, NOW_MS, calls(-50))) == (14, 16, basis)
    # half of the rows today, in 2 to 3 hours, the others tomorrow
    assert hours(with_calls(foretold(), 1_000, NOW_MS, calls(500))) == (12, 13, basis)


def test_several_days_may_be_waited_for():
    assert hours(with_calls(foretold(), 1_000, NOW_MS, calls(0, per_day=400)))[:2] == (10 + 48 + 0.8, 10 + 48 + 1.2)


def test_nobody_tells_what_never_ends():
    for per_day in (0, -5, 1_000 // (2 * DAYS_MAX)):
        assert with_calls(foretold(), 1_000, NOW_MS, calls(0, per_day=per_day)) is None


@pytest.mark.parametrize("late", [foretold(0, surely=0), foretold(-1, surely=2), foretold(-2, surely=-1)])
def test_what_is_late_may_end_at_any_moment(late):
    assert with_calls(late, 1_000, NOW_MS, calls(1_000)) == late
    assert hours(with_calls(late, 1_000, RESET_MS + 1, calls(1_000)))  # the clocks of the two are not the same


def test_nothing_left_waits_for_nothing():
    assert with_calls(foretold(), 0, NOW_MS, calls(0)) == foretold()
