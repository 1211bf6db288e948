"""Slow start: the first batch of a job that is like none before it goes alone, until one of it is complete."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.model import BatchStatus, JobId, OnUnknown, Phase
from orchestrator.schedule import messages as m
from tests.unit.schedule.story import EMAIL, Story, chunk

DAY_MS = 86_400_000


def sent(commands: list[str]) -> list[str]:
    return [command for command in commands if command.startswith("submit")]


def begun(**options: Any) -> Story:
    """Return a story in which a job of six chunks that is like none before it has its first batch at Marketo."""
    story = Story()
    story.job(*map(chunk, range(1, 7)), trusted=False, **options)
    story.send(1)
    return story


def test_the_second_batch_waits_until_the_first_is_complete():
    story = begun()
    assert story.decide() == ["wait 5000"]
    assert story.decide(at_ms=5_000) == ["poll 1"]
    story.polled(1, BatchStatus.IMPORTING)
    assert sent(story.decide()) == []
    assert sent(story.finish(1, at_ms=10_000)) == ["submit 2"]
    story.accepted(2)
    story.send(3)


@pytest.mark.parametrize("why", ["trusted", "switched off", "it was complete before"])
def test_nothing_waits_where_the_like_went_well_or_nobody_minds(why):
    story = Story(slow_start=why != "switched off")
    done = [chunk(1, phase=Phase.DONE)] if why == "it was complete before" else []
    story.job(*done, *map(chunk, range(2, 7)), trusted=why == "trusted")
    story.send(2)
    story.send(3)


def test_a_batch_that_failed_as_a_whole_proves_nothing():
    story = begun()
    assert "poll 1" in story.decide(at_ms=5_000)
    story.polled(1, BatchStatus.FAILED)
    story.send(1)
    assert sent(story.decide()) == []
    assert sent(story.finish(1, at_ms=10_000)) == ["submit 2"]


def test_nor_does_one_whose_outcome_is_gone():
    story = begun()
    assert "poll 1" in story.decide(at_ms=5_000)
    story.tell(m.BatchGone(chunk=m.ChunkId(1)))
    story.send(2)
    assert sent(story.decide()) == []


def test_a_first_upload_that_did_not_happen_is_tried_again():
    story = Story()
    story.job(chunk(1), chunk(2), trusted=False)
    assert sent(story.decide()) == ["submit 1"]
    story.deferred(1, m.Cause.TRANSIENT)
    assert sent(story.decide(at_ms=5_000)) == ["submit 1 after 5000 of transient"]
    assert sent(story.decide()) == []


def test_while_the_first_answer_is_lost_nothing_more_is_sent_until_its_batch_is_complete():
    story = Story()
    story.job(chunk(1), chunk(2), trusted=False, on_unknown=OnUnknown.PROBE)
    assert sent(story.decide()) == ["submit 1"]
    story.lost(1)
    assert story.decide(at_ms=30_000)[0] == "seek 1"
    story.tell(m.BatchSought(chunk=m.ChunkId(1), chunks=(m.ChunkId(1),), adopted=((m.ChunkId(1), m.BatchId(1001)),)))
    assert story.decide() == ["poll 1"]
    story.polled(1, BatchStatus.COMPLETE)
    assert sent(story.decide()) == ["submit 2 after 5000 of transient"]


def test_a_first_answer_that_is_lost_and_not_found_is_sent_again_before_anything_else():
    story = Story()
    story.job(chunk(1), chunk(2), trusted=False)
    assert sent(story.decide()) == ["submit 1"]
    story.lost(1)
    while not (commands := sent(story.decide())):
        (wait,) = [text for text in story.decide() if text.startswith("wait")]
        story.now_ms = int(wait.split()[1])
        assert story.now_ms < DAY_MS
    assert [command.split(" after")[0] for command in commands] == ["submit 1"]


def test_a_job_that_is_to_be_held_ends_when_its_first_answer_is_lost():
    story = Story()
    story.job(chunk(1), chunk(2), trusted=False, on_unknown=OnUnknown.HOLD)
    assert sent(story.decide()) == ["submit 1"]
    story.lost(1)
    assert "finish a held" in story.decide()


def test_other_jobs_go_on_meanwhile_and_each_is_proven_by_itself():
    story = begun()
    story.job(*map(chunk, range(11, 14)), name="b")
    story.job(*map(chunk, range(21, 24)), name="c", trusted=False)
    going = []
    while commands := sent(story.decide()):
        going += [int(command.split()[1]) for command in commands]
        story.accepted(going[-1])
    assert sorted(going) == [11, 12, 21]  # and four batches are enough


def test_while_it_waits_it_reserves_no_keys():
    story = Story(queue_depth=10)
    story.job(*map(chunk, range(1, 5)), trusted=False, space=EMAIL)
    story.decide()
    story.claims(1)
    assert "submit 1" in story.decide()
    story.accepted(1)
    story.claims(2)
    story.job(*map(chunk, range(101, 105)), name="b", space=EMAIL)
    first = story.heart.known.chunk(m.ChunkId(2))
    first.blocked_ms, first.passed_over = 0, 100  # others were in its way for long
    assert not story.heart.turns.reserved(story.now_ms)
    story.heart.known.jobs[JobId("a")].completed = 1
    assert story.heart.turns.reserved(story.now_ms) == [first]


def test_the_first_of_several_canaries_goes_alone():
    story = Story()
    story.job(chunk(1, canary=True), chunk(2, canary=True), chunk(3), trusted=False)
    story.send(1)
    assert sent(story.decide()) == []
    assert sent(story.finish(1, at_ms=10_000)) == ["submit 2"]


def all_failing(story: Story) -> list[int]:
    """Let every batch fail as a whole as soon as it is asked after; return what was sent until the job ends."""
    uploads: list[int] = []
    while "finish a batches_failed" not in (commands := story.decide()):
        for word, number in (command.split()[:2] for command in commands):
            if word == "submit":
                uploads.append(int(number))
                story.accepted(int(number))
            elif word == "poll":
                story.polled(int(number), BatchStatus.FAILED)
        if all(command.startswith("wait") for command in commands):
            story.now_ms += 5_000
    return uploads


def test_a_trusted_job_of_which_a_batch_failed_sends_nothing_while_others_are_not_answered():
    story = Story()
    story.job(*map(chunk, range(1, 20)))
    for number in (1, 2, 3, 4):
        story.send(number)
    assert {"poll 1", "poll 2"} <= {*story.decide(at_ms=5_000)}
    story.polled(1, BatchStatus.FAILED)
    story.polled(2, BatchStatus.IMPORTING)
    assert sent(story.decide()) == sent(story.decide(at_ms=9_000)) == []
    story.decide(at_ms=10_000)
    story.polled(2, BatchStatus.COMPLETE)
    assert sent(story.decide()) == ["submit 1"]


@pytest.mark.parametrize("slow_start", [True, False])
def test_nor_does_it_send_many_after_it_was_resumed(slow_start):
    story = Story(slow_start=slow_start)
    failed = [chunk(number, failures=1) for number in (1, 2, 3)]
    story.job(*failed, *map(chunk, range(4, 20)))
    assert len(all_failing(story)) == 2
