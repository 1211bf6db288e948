"""Histories of what users forbid: too many failed rows, more than a canary, rows of a job nobody waits for."""

from __future__ import annotations

import pytest

from orchestrator.model import BatchStatus, ChunkId, JobId, Share
from orchestrator.schedule import messages as m
from orchestrator.schedule.messages import Stop
from orchestrator.schedule.tally import Tally
from tests.unit.schedule.story import Story, chunk

HALF = Share(percent=50)


@pytest.mark.parametrize(
    ("most", "counts", "exceeded", "exceeded_as_canary"),
    [
        (None, [(5_000, 5_000)], False, False),
        (Share(rows=10), [(10, 10)], False, False),
        (Share(rows=10), [(6, 6), (5, 5)], True, True),
        (Share(rows=0), [(5_000, 1)], True, True),
        (HALF, [(999, 999)], False, True),  # of few rows a percentage says little
        (HALF, [(1_000, 500)], False, False),
        (HALF, [(1_000, 501)], True, True),
        (HALF, [(500, 500), (500, 0)], False, False),
    ],
)
def test_failed_rows_are_weighed_against_what_is_allowed(most, counts, exceeded, exceeded_as_canary):
    tally = Tally(most)
    for rows, failed in counts:
        tally.count(rows, failed)
    assert (tally.exceeded(), tally.exceeded(canary=True)) == (exceeded, exceeded_as_canary)
    tally.restart()
    assert not tally.exceeded(canary=True)


def through(story: Story, failed: dict[int, int], *, at_ms: int) -> list[str]:
    """Let batches complete at one time, with so many failed rows each; return what is done then."""
    assert {f"poll {number}" for number in failed} <= set(story.decide(at_ms=at_ms))
    for number, rows in failed.items():
        story.polled(number, BatchStatus.COMPLETE, failed=rows)
    commands = story.decide()
    for number in failed:
        commands.remove(f"collect {number}")
        story.collected(number)
    return [*commands, *story.decide()]


def test_too_many_failed_rows_stop_a_job_when_what_is_under_way_is_through():
    story = Story(queue_depth=2)
    story.job(chunk(1), chunk(2), chunk(3), chunk(4), failed_max=Share(rows=150))
    story.send(1)
    story.send(2)
    assert through(story, {1: 100}, at_ms=5_000) == ["submit 3"]
    story.accepted(3)
    story.polled(2, BatchStatus.COMPLETE, failed=51)
    assert story.decide() == ["collect 2", "wait 10000"]
    story.collected(2)
    assert through(story, {3: 0}, at_ms=10_000) == ["finish a threshold"]


def test_a_job_that_goes_on_is_measured_anew():
    story = Story(queue_depth=1)
    story.job(chunk(1), chunk(2), failed_max=Share(rows=50))
    story.send(1)
    assert through(story, {1: 60}, at_ms=5_000) == ["finish a threshold"]
    story.tell(m.JobEnded(job=JobId("a")))
    story.job(chunk(2), failed_max=Share(rows=50))
    assert "submit 2" in story.decide()


def test_rows_of_a_refused_chunk_count_as_failed():
    story = Story()
    story.job(chunk(1, rows=1, body_bytes=9_600_000), chunk(2), failed_max=Share(rows=0))
    assert "refuse 1" in story.decide()
    story.accepted(2)
    story.tell(m.ChunkGivenUp(chunk=ChunkId(1)))
    assert story.heart.known.jobs[JobId("a")].stops == [Stop.THRESHOLD]


def canary_story(**options):
    story = Story()
    story.job(
        chunk(1, row=1, rows=5, canary=True),
        chunk(2, row=6),
        chunk(3, row=106),
        chunk(4, row=1, rows=5, source=1, canary=True),
        chunk(5, row=6, source=1),
        **options,
    )
    story.send(1)
    story.send(4)
    assert [c for c in story.decide(at_ms=1_000) if c.startswith("submit")] == []
    return story


def test_nothing_is_sent_before_every_canary_is_through():
    story = canary_story(failed_max=HALF)
    story.decide(at_ms=5_000)
    story.polled(1, BatchStatus.COMPLETE)
    assert story.decide() == ["collect 1"]
    story.collected(1)
    assert story.decide() == []
    story.polled(4, BatchStatus.COMPLETE)
    assert story.decide() == ["collect 4"]
    story.collected(4)
    assert story.decide() == ["submit 2"]


def test_a_canary_that_fails_too_much_stops_the_job_however_few_its_rows():
    story = canary_story(failed_max=HALF)
    assert through(story, {1: 5, 4: 1}, at_ms=5_000) == ["finish a threshold"]


def test_a_canary_that_a_person_looks_at_stops_the_job_however_well_it_fared():
    story = canary_story(failed_max=HALF, stops_behind_canary=True)
    assert through(story, {1: 0, 4: 0}, at_ms=5_000) == ["finish a canary"]
    story.tell(m.JobEnded(job=JobId("a")))
    story.job(chunk(2, row=6), chunk(3, row=106), chunk(5, row=6, source=1), stops_behind_canary=True)
    assert story.decide() == ["submit 2"]


def test_parts_of_a_canary_are_canaries():
    story = Story()
    story.job(chunk(1, row=1, rows=4, body_bytes=9_600_000, canary=True), chunk(2, row=5))
    assert story.decide() == ["split 1 to 9500000 bytes"]
    story.parted(1, chunk(3, row=1, rows=2, depth=1), chunk(4, row=3, rows=2, depth=1))
    story.send(3)
    story.send(4)
    assert [c for c in story.decide(at_ms=1_000) if c.startswith("submit")] == []


def test_a_job_that_nobody_waits_for_sends_nothing_more_but_is_seen_to_its_end():
    story = Story(queue_depth=1)
    story.job(chunk(1), chunk(2))
    story.send(1)
    story.tell(m.JobUnwanted(job=JobId("a")))
    assert story.finish(1, at_ms=5_000) == []
    assert [c for c in story.decide(at_ms=60_000) if not c.startswith("wait")] == []
    story.job(chunk(2))
    assert "submit 2" in story.decide()


def test_a_job_may_be_unwanted_after_its_end():
    story = Story()
    story.job()
    assert story.decide() == ["finish a"]
    story.tell(m.JobEnded(job=JobId("a")), m.JobUnwanted(job=JobId("a")))
    assert story.decide() == []


# --- what somebody asks for while a job runs ----------------------------------------------------------------


def test_a_job_that_is_to_stop_sees_what_is_under_way_to_its_end_and_sends_nothing_more():
    story = Story(queue_depth=2)
    story.job(chunk(1), chunk(2), chunk(3))
    story.send(1)
    assert "submit 2" in story.decide()
    story.tell(m.StopAsked(job=JobId("a"), reason=Stop.PAUSED))
    story.accepted(2)
    assert through(story, {1: 0, 2: 0}, at_ms=5_000) == ["finish a paused"]


def test_a_pause_that_is_taken_back_in_time_lets_the_job_go_on():
    story = Story(queue_depth=1)
    story.job(chunk(1), chunk(2))
    story.send(1)
    story.tell(m.StopAsked(job=JobId("a"), reason=Stop.PAUSED))
    story.job(chunk(1), chunk(2))
    assert through(story, {1: 0}, at_ms=5_000) == ["submit 2"]


def test_a_stop_of_a_job_that_is_not_known_here_changes_nothing():
    story = Story()
    story.tell(m.StopAsked(job=JobId("gone"), reason=Stop.CANCELLED))
    assert story.decide() == []


# --- the calls of a day -------------------------------------------------------------------------------------


def counted(story: Story, own: int, others: int = 0) -> None:
    story.heart.apply(m.CallsCounted(own=own, others=others), story.now_ms)


def test_the_last_calls_of_a_day_are_kept_for_what_is_under_way():
    story = Story(queue_depth=4, calls_per_day=100, calls_reserved=20)
    story.job(chunk(1), chunk(2), chunk(3))
    story.send(1)
    counted(story, 70)  # 10 are left, just enough for one more batch
    assert "submit 2" in story.decide()
    story.accepted(2)
    counted(story, 71)
    assert through(story, {1: 0, 2: 0}, at_ms=5_000) == ["submit 3"]  # nothing is under way any more


def test_a_day_without_calls_is_waited_for_and_others_may_use_what_is_reserved():
    story = Story(queue_depth=4, calls_per_day=100, calls_reserved=20)
    story.job(chunk(1), chunk(2))
    story.send(1)
    counted(story, 50, others=50)
    assert [c for c in story.decide(at_ms=5_000) if not c.startswith("wait")] == []
    counted(story, 0)
    assert {"poll 1", "submit 2"} <= set(story.decide())


@pytest.mark.parametrize("unsent", [True, False])
def test_a_job_that_is_not_to_wait_stops_when_marketo_refuses_a_poll_for_its_quota(unsent):
    story = Story(queue_depth=1)
    story.job(chunk(1), *([chunk(2)] if unsent else []), waits_for_quota=False)
    story.send(1)
    story.job(chunk(11), name="patient")
    assert "poll 1" in story.decide(at_ms=5_000)
    story.tell(m.CallFailed(chunk=ChunkId(1), cause=m.Cause.QUOTA_EXHAUSTED, retry_at_ms=7_000_000))
    assert story.decide() == ["finish a quota_exhausted", "wait 7000000"]


def test_a_job_that_is_through_with_the_last_call_of_the_day_is_complete():
    story = Story(calls_per_day=100, calls_reserved=20)
    story.job(chunk(1), waits_for_quota=False)
    story.send(1)
    story.finish(1, at_ms=5_000)
    counted(story, 80)
    assert "finish a" in story.decide()


@pytest.mark.parametrize("own", [75, 80])
def test_a_job_that_is_not_to_wait_stops_when_the_day_is_used_up(own):
    story = Story(queue_depth=1, calls_per_day=100, calls_reserved=20)
    story.job(chunk(1), chunk(2), waits_for_quota=False)
    story.send(1)
    counted(story, own)
    if own == 80:  # not a call is left to learn what became of the batch
        assert "finish a quota_exhausted" in story.decide()
    else:
        story.decide()
        assert through(story, {1: 0}, at_ms=5_000)[-1] == "finish a quota_exhausted"
