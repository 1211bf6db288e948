"""Histories of batches that Marketo forgets after seven days: what is fetched first, and with whose calls."""

from __future__ import annotations

from orchestrator.marketo.day import UNSURE_HOURS
from orchestrator.model import BATCH_LIFE_MS, BatchId, BatchStatus, ChunkId, Phase
from orchestrator.schedule import messages as m
from orchestrator.schedule.core import FROM_RESERVE_EVERY_MS, LAST_DAY_MS
from tests.unit.schedule.story import Story, chunk

HOUR_MS = 3_600_000
NOW_MS = 10 * BATCH_LIFE_MS
LAST_DAY = BATCH_LIFE_MS - LAST_DAY_MS  # how old a batch is when its last day begins
LIMITS = {"calls_per_day": 100, "calls_reserved": 20}


def old(number: int, phase: Phase, *, age_ms: int) -> m.ChunkSeen:
    return chunk(number, phase=phase, batch_id=BatchId(1000 + number), submitted_ms=NOW_MS - age_ms)


def story(*chunks: m.ChunkSeen, own: int) -> Story:
    """Return a day on which so many of the 80 calls for imports were made when it takes up chunks of days ago."""
    told = Story(**LIMITS)
    told.now_ms = NOW_MS
    told.heart.apply(m.CallsCounted(own=own, others=0), NOW_MS)
    told.job(*chunks)
    return told


def test_what_marketo_forgets_first_is_fetched_first():
    told = story(
        old(1, Phase.COLLECTING, age_ms=1 * HOUR_MS),
        old(2, Phase.COLLECTING, age_ms=160 * HOUR_MS),
        old(3, Phase.COLLECTING, age_ms=50 * HOUR_MS),
        own=0,
    )
    assert told.decide() == ["collect 2", "collect 3", "collect 1"]


def test_a_fetch_that_fails_is_tried_again_many_times_before_the_deadline():
    told = story(old(1, Phase.COLLECTING, age_ms=BATCH_LIFE_MS - HOUR_MS), own=0)
    tries = 0
    while told.now_ms < NOW_MS + HOUR_MS:
        (tried, *_) = told.decide()
        assert tried == "collect 1"
        tries += 1
        told.tell(m.CallFailed(chunk=ChunkId(1), cause=m.Cause.TRANSIENT))
        (wait,) = told.decide()
        told.now_ms = int(wait.removeprefix("wait "))
    assert tries >= 12


def test_on_its_last_day_a_batch_is_fetched_with_calls_that_are_left_to_others():
    told = story(
        old(1, Phase.COLLECTING, age_ms=LAST_DAY),
        old(2, Phase.COLLECTING, age_ms=LAST_DAY - HOUR_MS),
        own=80,
    )
    assert told.decide() == ["collect 1", f"wait {NOW_MS + HOUR_MS}"]
    told.collected(1)
    assert told.decide(at_ms=NOW_MS + HOUR_MS) == ["collect 2"]


def test_on_its_last_day_a_batch_is_asked_after_now_and_then_with_calls_that_are_left_to_others():
    told = story(old(1, Phase.SUBMITTED, age_ms=LAST_DAY), old(2, Phase.SUBMITTED, age_ms=HOUR_MS), own=80)
    for hour in range(3):
        assert told.decide(at_ms=NOW_MS + hour * FROM_RESERVE_EVERY_MS)[0] == "poll 1"
        told.polled(1, BatchStatus.IMPORTING)
    assert told.decide() == [f"wait {NOW_MS + 3 * FROM_RESERVE_EVERY_MS}"]
    told.heart.apply(m.CallsCounted(own=0, others=0), told.now_ms)  # a new day
    assert "poll 2" in told.decide()


def test_the_last_day_is_longer_than_any_day_of_the_quota():
    assert LAST_DAY_MS > (25 + UNSURE_HOURS) * HOUR_MS  # when clocks are put back


def test_nothing_is_asked_after_that_is_told_of_tomorrow_still():
    told = story(old(1, Phase.SUBMITTED, age_ms=LAST_DAY - 1), own=80)
    assert told.decide() == [f"wait {NOW_MS + 1}"]


def test_marketo_s_own_refusal_holds_for_what_is_on_its_last_day_too():
    told = story(old(1, Phase.COLLECTING, age_ms=LAST_DAY), own=80)
    assert told.decide() == ["collect 1"]
    again_ms = NOW_MS + 5 * HOUR_MS
    told.tell(m.CallFailed(chunk=ChunkId(1), cause=m.Cause.QUOTA_EXHAUSTED, retry_at_ms=again_ms))
    assert told.decide() == [f"wait {again_ms}"]


def test_nothing_is_sent_with_calls_that_finished_batches_need():
    collecting = [old(number, Phase.COLLECTING, age_ms=HOUR_MS) for number in (1, 2, 3)]
    told = story(*collecting, chunk(4), own=61)  # 19 are left, five for each of four batches are 20
    assert [c for c in told.decide() if c.startswith("submit")] == []
    told.collected(1)
    assert "submit 4" in told.decide()
