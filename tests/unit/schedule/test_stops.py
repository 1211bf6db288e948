"""Histories of failed batches and of jobs that stop: sources, access, patience, drain."""

from __future__ import annotations

import pytest

from orchestrator.model import BatchId, BatchStatus, ChunkId, JobId, OnUnknown, Phase, Priority
from orchestrator.schedule import messages as m
from orchestrator.schedule.knowledge import FAILURES_IN_VAIN_MAX
from orchestrator.schedule.messages import Cause, Stop
from orchestrator.schedule.state import ImpossibleFact
from tests.unit.schedule.story import EMAIL, Story, chunk, play

DAY_MS = 86_400_000


def fail(story: Story, number: int) -> None:
    """Let a batch that is under way be found failed at its next poll."""
    while f"poll {number}" not in story.decide(at_ms=story.now_ms + 1_000):
        pass
    story.polled(number, BatchStatus.FAILED)


# --- whole batches that fail -------------------------------------------------------------------------------


def test_a_failed_batch_is_sent_once_more_then_halved_down_to_the_record_to_blame():
    story = Story()
    story.job(chunk(1, rows=3), chunk(2))
    story.send(1)
    story.send(2)
    fail(story, 1)
    story.polled(2, BatchStatus.COMPLETE)
    assert story.state()["a"] == {"ready": [1], "collecting": [2], "failures": {1: 1}, "completed": 1}
    assert story.decide() == ["collect 2", "submit 1"]
    story.collected(2)
    story.accepted(1)
    fail(story, 1)
    assert story.state()["a"] == {"ready": [1], "failures": {1: 2}, "completed": 1}
    assert story.decide() == ["split 1 to 2 rows"]  # no other is left to try
    story.parted(1, chunk(3, row=100, rows=2, depth=1), chunk(4, row=102, rows=1, depth=1))
    assert story.state()["a"] == {"ready": [3, 4], "completed": 1}
    story.send(3)
    story.send(4)
    fail(story, 4)
    story.polled(3, BatchStatus.COMPLETE)
    story.decide()
    story.collected(3)
    story.accepted(4)
    fail(story, 4)
    assert story.decide() == ["refuse 4"]
    story.tell(m.ChunkGivenUp(chunk=ChunkId(4)))
    assert story.decide() == ["finish a"]


def test_a_chunk_is_halved_only_after_another_one_was_completed():
    story = Story()
    story.job(chunk(1), chunk(2), chunk(3), chunk(4))
    story.send(1)
    story.send(2)
    story.decide(at_ms=5_000)  # 1, 2 polled, 3 submitted
    story.polled(2, BatchStatus.COMPLETE)
    story.polled(1, BatchStatus.FAILED)
    story.accepted(3)
    assert story.decide() == ["collect 2", "submit 1", "wait 10000"]
    story.collected(2)
    story.accepted(1)
    fail(story, 1)
    assert story.state()["a"]["failures"] == {1: 2}
    assert not any(command.startswith("split") for command in story.decide())
    story.polled(3, BatchStatus.COMPLETE)
    assert "split 1 to 50 rows" in story.decide()


def test_the_last_depth_is_refused_whole():
    story = Story(isolate_depth_max=3)
    story.job(chunk(1, depth=3, failures=1), chunk(2, phase=Phase.DONE))
    story.send(1)
    fail(story, 1)
    assert story.decide() == ["refuse 1"]


def test_two_failures_in_a_row_and_no_success_stop_the_job_but_no_other():
    story = Story()
    story.job(*map(chunk, range(1, 4)), priority=Priority.HIGH)
    story.job(chunk(4), name="b")
    story.send(1)
    story.send(2)
    story.decide(at_ms=5_000)
    story.accepted(3)
    story.polled(1, BatchStatus.FAILED)
    assert "stops" not in story.state()["a"]
    story.polled(2, BatchStatus.FAILED)
    assert story.state()["a"] == {
        "ready": [1, 2],
        "submitted": [3],
        "failures": {1: 1, 2: 1},
        "stops": ["batches_failed"],
    }
    assert story.decide()[:1] == ["submit 4"]
    story.accepted(4)
    fail(story, 3)  # what is under way is still seen to its end
    assert "finish a batches_failed" in story.decide()


def test_one_batch_that_fails_twice_stops_a_job_without_success():
    story = Story()
    story.job(chunk(1))
    story.send(1)
    fail(story, 1)
    story.send(1)
    fail(story, 1)
    assert story.decide() == ["finish a batches_failed"]


def test_a_success_between_two_failures_lets_the_job_go_on():
    story = Story()
    story.job(chunk(1), chunk(2), chunk(3))
    for number in (1, 2, 3):
        story.send(number)
    story.decide(at_ms=5_000)
    story.polled(1, BatchStatus.COMPLETE)
    story.polled(2, BatchStatus.FAILED)
    story.decide()
    story.polled(3, BatchStatus.FAILED)
    assert "stops" not in story.state()["a"]


def test_a_job_stopped_by_failures_is_tried_once_more_after_a_restart():
    story = Story()
    story.job(chunk(1, failures=2), chunk(2, failures=2))
    assert story.decide() == ["submit 1"]
    story.accepted(1)
    fail(story, 1)
    assert story.state()["a"]["failures"] == {1: 2, 2: 1}


@pytest.mark.parametrize("rows", [1, 2, 5, 256, 250_000])
@pytest.mark.parametrize("count", [2, 3, 7])
def test_while_everything_fails_no_row_is_blamed(rows, count):
    story = Story()
    unsent = [chunk(number, rows=rows, row=number * rows) for number in range(1, count + 1)]
    story.job(chunk(0, rows=rows, phase=Phase.DONE), *unsent)
    failed, given_up, reasons = play(story, lambda _: True, chunk(0), *unsent)
    assert (given_up, reasons) == ([], ["batches_failed"])
    assert failed <= 2 * count + FAILURES_IN_VAIN_MAX


def test_the_last_chunk_of_all_is_isolated_for_nothing_else_can_be_tried():
    story = Story()
    story.job(chunk(0, phase=Phase.DONE), chunk(1, rows=1))
    assert play(story, lambda _: True, chunk(0), chunk(1, rows=1)) == (2, [chunk(1, rows=1)], [])


def test_nothing_is_blamed_before_it_is_known_whether_another_can_be_tried():
    story = Story()
    story.job(chunk(1, failures=2), chunk(2), chunk(3, phase=Phase.DONE), space=EMAIL)
    assert story.decide() == ["claims 1"]
    story.claims(1)
    assert story.decide() == ["claims 2"]
    story.claims(2)
    assert story.decide() == ["submit 2"]  # not split: another is left to try
    story.accepted(2)
    assert story.finish(2, at_ms=5_000) == ["release 2", "split 1 to 50 rows"]


def test_claims_of_a_cut_chunk_go_with_it():
    story = Story()
    story.job(chunk(1, failures=2), chunk(2, phase=Phase.DONE), space=EMAIL)
    story.decide()
    story.claims(1)
    assert story.decide() == ["split 1 to 50 rows"]
    story.parted(1, chunk(3, row=100), chunk(4, row=150))
    assert story.decide() == ["release 1", "claims 3"]


def test_nothing_overtakes_the_parts_of_a_cut_chunk_before_their_claims_are_known():
    story = Story()
    story.job(chunk(1, failures=2), chunk(2), chunk(3, phase=Phase.DONE), space=EMAIL)
    story.decide()
    story.claims(1)
    story.decide()
    story.claims(2, 1)
    assert story.decide() == ["split 1 to 50 rows"]
    story.parted(1, chunk(4, row=100), chunk(5, row=150))
    assert story.decide() == ["release 1", "claims 4"]
    story.claims(4, 2)
    assert story.decide() == ["submit 4", "claims 5"]
    story.accepted(4)
    assert story.decide() == ["wait 5000"]


def test_a_batch_that_marketo_forgot_frees_its_slot():
    story = Story()
    story.job(chunk(1), space=EMAIL)
    story.decide()
    story.claims(1)
    story.send(1)
    story.decide(at_ms=5_000)
    story.tell(m.BatchGone(chunk=ChunkId(1)))
    assert story.state() == {"a": {"ready": []}}
    assert story.decide() == ["release 1", "finish a"]


# --- sources -----------------------------------------------------------------------------------------------


def test_a_source_that_is_refused_stops_and_the_others_go_on():
    story = Story()
    story.job(chunk(1), chunk(2), chunk(3, source=1, row=0))
    assert story.decide() == ["submit 1"]
    story.stopped(1, Stop.SOURCE_REFUSED)
    assert story.state() == {"a": {"ready": [3], "stops": ["source_refused"], "stopped_sources": [0]}}
    story.send(3)
    assert story.finish(3, at_ms=5_000) == []
    assert story.decide() == ["finish a source_refused"]


def test_a_job_that_is_refused_sends_nothing_more_and_what_is_under_way_is_seen_to_its_end():
    story = Story()
    story.job(chunk(1), chunk(2), chunk(3, source=1, row=0))
    story.job(chunk(4), name="b")
    story.send(4)
    story.send(1)
    assert "submit 2" in story.decide()
    story.tell(m.JobRefused(chunk=ChunkId(2)))
    assert story.state() == {
        "a": {"ready": [2, 3], "submitted": [1], "stops": ["job_refused"]},
        "b": {"ready": [], "submitted": [4]},
        "held": [1, 4],
    }
    story.finish(1, at_ms=5_000)
    assert story.decide() == ["finish a job_refused"]


def test_a_job_that_is_refused_while_an_upload_of_it_is_in_doubt_keeps_the_doubt():
    story = Story()
    story.job(chunk(1))
    story.decide()
    story.lost(1)
    assert story.decide(at_ms=4_000_000) == ["submit 1 after 5000 of transient"]
    story.tell(m.JobRefused(chunk=ChunkId(1)))
    assert story.phase(1) is Phase.UNKNOWN
    assert story.decide() == ["finish a job_refused"]


def test_what_is_under_way_of_a_stopped_source_is_seen_to_its_end_but_not_repeated():
    story = Story()
    story.job(chunk(1), chunk(2))
    story.send(1)
    assert "submit 2" in story.decide()
    story.stopped(2, Stop.SOURCE_CHANGED)
    assert story.state()["a"] == {
        "ready": [],
        "submitted": [1],
        "stops": ["source_changed"],
        "stopped_sources": [0],
    }
    fail(story, 1)
    assert story.state() == {"a": {"ready": [], "stops": ["source_changed"], "stopped_sources": [0]}}
    assert story.decide() == ["finish a source_changed"]


def test_a_cut_that_is_under_way_when_its_source_stops_is_waited_for():
    story = Story()
    story.job(chunk(1, body_bytes=9_600_000), chunk(2, body_bytes=9_600_000), chunk(3))
    assert story.decide() == ["submit 3", "split 1 to 9500000 bytes", "split 2 to 9500000 bytes"]
    story.stopped(3, Stop.SOURCE_CHANGED)
    assert story.state()["a"] == {"ready": [1, 2], "stops": ["source_changed"], "stopped_sources": [0]}
    assert story.decide() == []
    story.parted(1, chunk(4, row=100), chunk(5, row=150))
    assert story.decide() == []
    story.stopped(2, Stop.SOURCE_CHANGED)
    assert story.state()["a"] == {"ready": [], "stops": ["source_changed"], "stopped_sources": [0]}
    assert story.decide() == ["finish a source_changed"]


def test_a_source_found_changed_while_claims_are_computed_stops():
    story = Story()
    story.job(chunk(1), chunk(2), chunk(3, source=1), space=EMAIL)
    assert story.decide() == ["claims 1"]
    story.stopped(1, Stop.SOURCE_CHANGED)
    assert story.decide() == ["claims 3"]


def test_a_source_that_stops_twice_stops_once_and_late_claims_are_let_go_of():
    story = Story()
    story.job(chunk(1, body_bytes=9_600_000), chunk(2), chunk(3, source=1), space=EMAIL)
    assert story.decide() == ["split 1 to 9500000 bytes", "claims 2"]
    story.stopped(1, Stop.SOURCE_CHANGED)
    assert story.state() == {
        "a": {"ready": [3], "stops": ["source_changed"], "stopped_sources": [0]},
        "claiming": 2,
    }
    story.stopped(2, Stop.SOURCE_CHANGED)
    assert story.decide() == ["claims 3"]
    assert story.state()["a"]["stopped_sources"] == [0]


# --- access and patience -----------------------------------------------------------------------------------


def test_lost_access_stops_every_job_when_what_is_at_work_has_ended():
    story = Story()
    story.job(chunk(1), chunk(2), priority=Priority.HIGH)
    story.job(chunk(3), name="b")
    story.send(1)
    story.decide(at_ms=5_000)
    story.tell(m.AccessLost(chunk=ChunkId(2)))
    assert story.state() == {
        "a": {"ready": [2], "submitted": [1], "stops": ["denied"]},
        "b": {"ready": [3], "stops": ["denied"]},
        "held": [1],
    }
    assert story.decide() == ["finish b denied"]
    story.tell(m.AccessLost(chunk=ChunkId(1)))
    assert story.decide() == ["finish a denied"]
    story.tell(m.JobEnded(job=JobId("b")))
    story.job(chunk(4), name="c")  # somebody may have mended it: one try tells
    assert story.decide() == ["submit 4"]
    story.tell(m.AccessLost(chunk=ChunkId(4)))
    assert story.decide() == ["finish c denied"]


CAR = m.Space(entity="custom:car_c", key_field="vin", compared=False)


def stopped(story: Story) -> list[str]:
    return [job.id for job in story.heart.known.jobs.values() if Stop.DENIED in job.stops]


def test_an_upload_that_is_denied_stops_the_jobs_into_its_kind_of_record_alone():
    story = Story()
    story.job(chunk(1), chunk(2), priority=Priority.HIGH)
    story.job(chunk(3), name="b")
    story.job(chunk(4), name="c", space=CAR)
    story.send(1)
    assert "submit 2" in story.decide()
    story.tell(m.AccessLost(chunk=ChunkId(2), of_one_target=True))
    assert stopped(story) == ["a", "b"]
    assert story.decide() == ["submit 4", "finish a denied", "finish b denied"]
    story.accepted(4)
    assert "poll 4" in story.decide(at_ms=60_000)


def test_a_poll_that_is_denied_ends_the_asking_for_its_kind_of_record_alone():
    story = Story()
    story.job(chunk(1), chunk(2), priority=Priority.HIGH)
    story.job(chunk(4), name="c", space=CAR)
    for number in (1, 2, 4):
        story.send(number)
    assert {"poll 1", "poll 2"} <= set(story.decide(at_ms=5_000))
    story.tell(m.AccessLost(chunk=ChunkId(1), of_one_target=True))
    assert stopped(story) == ["a"]
    assert not [
        done for done in story.decide() if done.startswith(("poll 1", "poll 2", "finish"))
    ]  # 2 is being asked after
    story.tell(m.AccessLost(chunk=ChunkId(2), of_one_target=True))
    assert "finish a denied" in story.decide()
    story.tell(m.JobEnded(job=JobId("a")))
    assert "poll 4" in story.decide(at_ms=120_000)


def test_what_is_denied_of_a_job_that_nobody_waits_for_ends_all_asking():
    story = Story()
    story.job(chunk(1, phase=Phase.SUBMITTED, batch_id=BatchId(1001), submitted_ms=0), sends=False)
    assert "poll 1" in story.decide()
    story.tell(m.AccessLost(chunk=ChunkId(1), of_one_target=True))
    assert story.decide() == []


def test_a_job_that_goes_on_after_its_permission_was_mended_is_sent():
    story = Story()
    story.job(chunk(1), chunk(2))
    story.decide()
    story.tell(m.AccessLost(chunk=ChunkId(1)))
    assert story.decide() == ["finish a denied"]
    story.tell(m.JobEnded(job=JobId("a")))
    story.job(chunk(1), chunk(2))
    story.send(1)
    story.send(2)


def refused_once() -> Story:
    """Return a story in which the queue was full when a job tried to send, a minute before it would give up."""
    story = Story(give_up_ms=DAY_MS)
    story.job(chunk(1))
    story.decide()
    story.deferred(1, Cause.QUEUE_FULL)
    story.decide(at_ms=DAY_MS - 60_000)
    return story


def test_a_job_that_comes_behind_one_in_trouble_has_patience_of_its_own():
    story = refused_once()
    story.deferred(1, Cause.QUEUE_FULL)
    story.job(chunk(2), name="b")
    assert "finish a gave_up" in story.decide(at_ms=DAY_MS)
    assert story.state()["gives_up"] == 2 * DAY_MS - 60_000
    assert "finish b gave_up" not in story.decide(at_ms=2 * DAY_MS - 60_001)
    story.deferred(2, Cause.QUEUE_FULL)
    assert "finish b gave_up" in story.decide(at_ms=2 * DAY_MS - 60_000)


def test_trouble_of_a_job_that_is_gone_is_none_of_the_next_one():
    story = refused_once()
    story.deferred(1, Cause.QUEUE_FULL)
    story.tell(m.StopAsked(job=JobId("a"), reason=Stop.CANCELLED))
    assert "finish a cancelled" in story.decide()
    story.tell(m.JobEnded(job=JobId("a")))
    story.job(chunk(2), name="b")
    assert "gives_up" not in story.state()


def test_trouble_that_lasts_too_long_ends_the_run_and_a_later_job_starts_afresh():
    story = Story(give_up_ms=60_000)
    story.job(chunk(1), chunk(2))
    story.send(1)
    story.decide()
    story.deferred(2, Cause.TRANSIENT)
    assert story.state()["gives_up"] == 60_000
    assert "poll 1" in story.decide(at_ms=5_000)
    story.tell(m.CallFailed(chunk=ChunkId(1), cause=Cause.TRANSIENT))
    story.deferred(2, Cause.TRANSIENT)
    assert story.state()["gives_up"] == 60_000  # the first of it counts
    story.decide(at_ms=59_999)
    story.tell(m.CallFailed(chunk=ChunkId(1), cause=Cause.TRANSIENT))
    story.deferred(2, Cause.TRANSIENT)
    assert story.decide(at_ms=60_000)[0] == "finish a gave_up"
    story.tell(m.JobEnded(job=JobId("a")))
    story.job(chunk(3), name="b")
    assert "stops" not in story.state()["b"]
    assert "gives_up" not in story.state()


def test_success_ends_trouble():
    story = Story(give_up_ms=60_000)
    story.job(chunk(1), chunk(2))
    story.send(1)
    story.decide()
    story.deferred(2, Cause.TRANSIENT)
    story.decide(at_ms=5_000)
    story.polled(1, None)  # says nothing
    assert story.state()["gives_up"] == 60_000
    story.deferred(2, Cause.TRANSIENT)
    story.decide(at_ms=12_500)
    story.polled(1, BatchStatus.QUEUED)
    assert "gives_up" not in story.state()
    story.decide(at_ms=15_000)
    story.deferred(2, Cause.QUEUE_FULL)
    assert story.state()["gives_up"] == 75_000
    story.decide(at_ms=35_000)
    story.accepted(2)
    assert "gives_up" not in story.state()


def test_a_batch_about_which_nothing_is_told_is_trouble():
    story = Story(give_up_ms=60_000)
    story.job(chunk(1))
    story.send(1)
    commands = []
    while "finish a gave_up" not in commands and story.now_ms < 3_600_000:
        commands = story.decide(at_ms=story.now_ms + 1_000)
        if "poll 1" in commands:
            story.polled(1, None)
    assert story.now_ms == 65_000


def test_a_watched_job_is_not_stopped():
    story = Story(give_up_ms=60_000)
    story.job(chunk(1, phase=Phase.SUBMITTED, submitted_ms=0, batch_id=1001), chunk(2), sends=False)
    assert story.decide() == ["poll 1"]
    story.tell(m.CallFailed(chunk=ChunkId(1), cause=Cause.TRANSIENT))
    assert story.decide(at_ms=60_000) == ["poll 1"]
    story.polled(1, BatchStatus.COMPLETE)
    assert story.decide() == ["collect 1"]
    story.tell(m.AccessLost(chunk=ChunkId(1)))
    assert story.decide() == []
    story.job(sends=True)
    assert story.decide() == ["collect 1", "submit 2"]
    story.tell(m.AccessLost(chunk=ChunkId(1)), m.AccessLost(chunk=ChunkId(2)))
    assert story.decide() == ["finish a denied"]


# --- jobs that end, and drain ------------------------------------------------------------------------------


def test_claims_that_outlive_their_job_are_let_go_of():
    story = Story(give_up_ms=4_000)
    story.job(chunk(1), chunk(2), space=EMAIL)
    story.decide()
    story.claims(1)
    assert story.decide() == ["submit 1", "claims 2"]
    story.deferred(1, Cause.TRANSIENT)
    assert story.decide(at_ms=4_000) == ["finish a gave_up"]
    story.tell(m.JobEnded(job=JobId("a")))
    assert story.decide() == ["release 1"]
    story.claims(2)
    assert story.decide() == ["release 2"]
    assert story.state() == {"lane_opens": 5_000}


def test_a_job_without_anything_to_do_ends_at_once():
    story = Story()
    story.job(chunk(1, phase=Phase.DONE), chunk(2, phase=Phase.REFUSED), chunk(3, phase=Phase.CANCELLED))
    assert story.decide() == ["finish a"]


def test_jobs_go_one_after_another_and_fill_the_gaps_of_the_first():
    story = Story()
    story.job(chunk(1), chunk(2), space=EMAIL)
    story.compute(c2=(1,))
    story.job(chunk(3), name="b", space=EMAIL)
    story.compute()
    story.accepted(1)
    assert story.decide() == ["submit 3", "wait 5000"]


def test_a_draining_heart_begins_nothing_but_takes_outcomes_in():
    story = Story()
    story.job(chunk(1), chunk(2), chunk(3), space=EMAIL)
    story.decide()
    story.claims(1)
    assert story.decide() == ["submit 1", "claims 2"]
    story.accepted(1)
    story.claims(2)
    assert story.decide(at_ms=5_000) == ["poll 1", "submit 2", "claims 3"]
    story.heart.drain()
    assert story.decide() == []
    story.accepted(2)
    story.polled(1, BatchStatus.COMPLETE)
    assert story.decide(at_ms=3_600_000) == ["release 1"]
    assert story.state()["a"] == {"ready": [3], "submitted": [2], "collecting": [1], "completed": 1}


def test_a_job_that_is_wanted_again_still_says_why_a_source_of_it_stopped():
    story = Story()
    story.job(chunk(1), chunk(2, source=1), space=EMAIL)
    assert story.decide() == ["claims 1"]
    story.stopped(1, Stop.SOURCE_CHANGED)
    story.tell(m.JobUnwanted(job=JobId("a")))
    story.job(chunk(1), chunk(2, source=1), space=EMAIL)
    assert story.decide() == ["claims 2"]
    story.claims(2)
    story.send(2)
    assert story.finish(2, at_ms=5_000) == ["release 2"]
    assert story.decide() == ["finish a source_changed"]


def test_two_jobs_that_wait_for_the_user_about_each_other_s_keys_do_not_wait_for_ever():
    story = Story()
    for name, first, second in (("a", 1, 2), ("b", 11, 12)):
        story.job(chunk(first), chunk(second), name=name, space=EMAIL, on_unknown=OnUnknown.HOLD)
    shared = {1: [12], 2: [11], 11: [2], 12: [1]}
    ended = []
    for _ in range(100):
        for word, name, *stops in [command.split() for command in story.decide()]:
            if word == "claims":
                story.claims(int(name), *shared[int(name)])
            elif word == "submit":
                story.lost(int(name))
            elif word == "wait":
                story.now_ms = int(name)
            elif word == "finish":
                ended.append((name, *stops))
                story.tell(m.JobEnded(job=JobId(name)))
    assert ended == [("a", "held"), ("b", "held")]


def test_a_job_does_not_wait_for_a_canary_in_doubt_that_nobody_can_send_again():
    story = Story()
    lost = chunk(2, source=1, canary=True, phase=Phase.UNKNOWN, submitted_ms=0, hold_until_ms=600_000)
    story.job(chunk(1), lost, space=EMAIL)
    assert story.decide()[0] == "claims 2"
    story.stopped(2, Stop.SOURCE_CHANGED)
    seen = []
    while not (seen and seen[-1].startswith("submit")):
        seen += story.decide()
        assert seen
        if seen[-1].startswith("claims"):
            story.claims(1)
        elif seen[-1].startswith("wait"):
            story.now_ms = int(seen[-1].split()[1])
    assert seen[-1] == "submit 1"


IMPOSSIBLE = {
    "denied of a chunk never sent": m.AccessLost(chunk=ChunkId(2)),
    "denied of a batch nobody asked after": m.AccessLost(chunk=ChunkId(1)),
    "a source stopped at a chunk nobody works on": m.SourceStopped(chunk=ChunkId(2), reason=Stop.SOURCE_CHANGED),
    "a source stopped at a batch nobody works on": m.SourceStopped(chunk=ChunkId(1), reason=Stop.SOURCE_CHANGED),
    "a batch found of a chunk never sent": m.BatchSought(chunk=ChunkId(2), chunks=(ChunkId(2),)),
    "a batch found of one that is known": m.BatchSought(chunk=ChunkId(1), chunks=(ChunkId(1),)),
    "a batch adopted that is known": m.BatchSought(
        chunk=ChunkId(3), chunks=(ChunkId(1), ChunkId(3)), adopted=((ChunkId(1), BatchId(1007)),)
    ),
    "a batch found that nobody looked for": m.BatchSought(chunk=ChunkId(3), chunks=(ChunkId(3),)),
    "a poll nobody made": m.BatchPolled(chunk=ChunkId(1), status=BatchStatus.COMPLETE),
    "parts nobody cut": m.ChunkParted(chunk=ChunkId(2), parts=()),
    "claims nobody computed": m.ClaimsComputed(chunk=ChunkId(2), conflicts=frozenset()),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_what_nobody_was_asked_for_cannot_be_told(case):
    story = Story()
    seen = (chunk(1, phase=Phase.SUBMITTED, batch_id=BatchId(1001)), chunk(2), chunk(3, phase=Phase.UNKNOWN))
    story.job(*seen, sends=False)
    with pytest.raises(ImpossibleFact, match=r"chunk [123]"):
        story.tell(IMPOSSIBLE[case])


def test_a_job_does_not_end_while_a_chunk_of_it_is_being_sent():
    story = Story()
    story.job(chunk(1))
    assert story.decide() == ["submit 1"]
    with pytest.raises(ImpossibleFact, match="JobEnded for chunk 1 in phase submitting"):
        story.tell(m.JobEnded(job=JobId("a")))
