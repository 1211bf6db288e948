"""When a job is expected to end, from the batches of it that ended."""

from __future__ import annotations

from random import Random

import pytest

from orchestrator.report.eta import ENDS_MIN, FIRST_LOOK_MS, PAUSE_MS, expect, in_one_drive, without_idleness

MINUTE_MS = 60_000


def steady(count: int, *, rows: int = 100) -> list[tuple[int, int]]:
    return [(number * MINUTE_MS, rows) for number in range(count)]


@pytest.mark.parametrize("ends", [[], steady(ENDS_MIN - 1), [(5, 100)] * 10, [(5, 0), (6, 0), (7, 0), (8, 0)]])
def test_nothing_is_said_where_nothing_is_known(ends):
    assert expect(ends, 1_000, 10 * MINUTE_MS) is None


def test_of_steady_batches_only_those_under_way_are_in_doubt():
    eta = expect(steady(5), 1_000, 4 * MINUTE_MS)
    assert eta is not None
    assert eta.p50_ms == 14 * MINUTE_MS
    assert MINUTE_MS < eta.p90_ms - eta.p50_ms < 3 * MINUTE_MS
    assert eta.basis == "the last 5 batches, 2 rows/s"
    assert expect(steady(5), 0, 4 * MINUTE_MS) is None


def test_time_without_an_end_puts_the_end_off_once_a_batch_is_overdue():
    assert [expect(steady(5), 1_000, now * MINUTE_MS).p50_ms // MINUTE_MS for now in (4, 5, 8)] == [14, 14, 17]


def test_batches_that_end_in_pairs_count_as_two_in_that_time_whichever_of_them_came_last():
    pairs = [(number // 2 * MINUTE_MS, 100) for number in range(40)]
    for count in range(4, 40):
        eta = expect(pairs[:count], 1_000, pairs[count - 1][0])
        assert eta is not None
        assert eta.p50_ms - pairs[count - 1][0] == pytest.approx(5 * MINUTE_MS, rel=0.15 if count < 10 else 0.05)


def test_who_looks_far_ahead_looks_far_back():
    quick = [(number * MINUTE_MS // 10, 100) for number in range(200)]
    slow = [(quick[-1][0] + number * MINUTE_MS, 100) for number in range(1, 41)]
    now_ms = slow[-1][0]
    near, far = (expect([*quick, *slow], rows, now_ms) for rows in (1_000, 20_000))
    assert near is not None
    assert far is not None
    assert (near.p50_ms - now_ms) / 1_000 == MINUTE_MS / 100
    assert (far.p50_ms - now_ms) / 20_000 < MINUTE_MS / 200


def test_what_changes_for_a_while_now_and_then_makes_it_less_sure():
    ends = [(0, 100)]
    for number in range(400):
        ends.append((ends[-1][0] + (1 if number // 30 % 2 else 3) * MINUTE_MS, 100))
    late = 0
    for count in range(100, 300):
        eta = expect(ends[:count], 100 * 80, ends[count - 1][0])
        assert eta is not None
        late += ends[count + 79][0] > eta.p90_ms
    assert late / 200 <= 0.1


def test_a_job_that_stood_still_begins_anew():
    later = [(PAUSE_MS * 10 + at, rows) for at, rows in steady(4, rows=200)]
    now_ms = later[-1][0]
    assert expect([*steady(9), *later[:3]], 100, now_ms) is None
    assert expect([*steady(9), *later], 200, now_ms) == expect(later, 200, now_ms)
    assert expect(later, 200, now_ms + PAUSE_MS + 1) is None


def test_what_ended_before_there_was_nothing_to_do_does_not_count():
    assert without_idleness([]) == []
    small, large = [(1_000, 5, 0), (2_000, 5, 0)], [(9_000, 100, 5_000), (8_000, 100, 5_000)]
    assert without_idleness([*small, *large]) == [(8_000, 100), (9_000, 100)]
    waited = (9_500, 100, 2_000)  # of a job that began before the small one had ended
    assert len(without_idleness([*small, *large, waited])) == 5
    chained = [(3_000, 1, 2_500), (2_600, 1, 1_500), (1_600, 1, 0), (1_400, 1, 0)]
    assert [at_ms for at_ms, _ in without_idleness(chained)] == [1_400, 1_600, 2_600, 3_000]


def test_what_a_driver_finds_ended_when_it_begins_says_nothing_of_the_pace():
    before, begun_ms = steady(6), 60 * MINUTE_MS
    found = [(begun_ms + 500 * number, 100) for number in range(1, 9)]  # they ended while nobody looked
    assert in_one_drive([*before, *found], begun_ms) == (before, True)
    since = [(begun_ms + FIRST_LOOK_MS + at_ms, rows) for at_ms, rows in steady(4)]
    assert in_one_drive([*before, *found, *since[1:]], begun_ms) == (before, True)
    assert in_one_drive([*before, *found, *since], begun_ms) == (since, False)
    assert in_one_drive(found, begun_ms) == (found, False)  # nobody drove before, so nothing was there to be found


def test_nine_of_ten_jobs_end_before_the_second_moment_and_about_half_before_the_first():
    chance = Random(5)
    early = late = 0
    for _ in range(400):
        at_ms, ends = 0, []
        for _ in range(70):
            at_ms += round(chance.uniform(0.2, 1.8) * MINUTE_MS)
            ends.append((at_ms, 100))
        eta = expect(ends[:30], 4_000, ends[29][0])
        early += at_ms <= eta.p50_ms
        late += at_ms > eta.p90_ms
    assert 0.4 <= early / 400 <= 0.6
    assert late / 400 <= 0.15
