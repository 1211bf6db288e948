"""Histories of uploads: acceptance, back-pressure, waits, sizes, claims, and the order of it all."""

from __future__ import annotations

from random import Random

import pytest

from orchestrator.model import BatchStatus, ChunkId, JobId, Phase, Priority
from orchestrator.schedule import messages as m
from orchestrator.schedule.core import Scheduler
from orchestrator.schedule.messages import Cause
from orchestrator.schedule.state import ImpossibleFact, Limits
from orchestrator.schedule.waits import Backoff
from tests.unit.schedule.story import CAP, EMAIL, PROMISED, Story, chunk

DAY_MS = 86_400_000


def test_a_job_goes_through():
    story = Story()
    story.job(chunk(1), chunk(2))
    assert story.state() == {"a": {"ready": [1, 2]}}

    assert story.decide() == ["submit 1"]
    assert story.state() == {"a": {"ready": [2], "submitting": [1]}, "busy": 1, "held": [1]}
    assert story.decide() == []  # every piece of work is handed out once

    story.now_ms = 1_000
    story.accepted(1)
    assert story.state() == {"a": {"ready": [2], "submitted": [1]}, "held": [1]}
    assert story.decide() == ["submit 2", "wait 6000"]

    assert story.decide(at_ms=6_000) == ["poll 1"]
    story.polled(1, BatchStatus.IMPORTING)
    story.accepted(2)
    assert story.state() == {"a": {"ready": [], "submitted": [1, 2]}, "held": [1, 2]}
    assert story.decide() == ["wait 11000"]

    assert story.decide(at_ms=11_000) == ["poll 1", "poll 2"]
    story.polled(1, BatchStatus.COMPLETE)
    assert story.state() == {
        "a": {"ready": [], "collecting": [1], "submitted": [2], "completed": 1},
        "held": [2],
    }
    assert story.decide() == ["collect 1"]
    story.polled(2, BatchStatus.COMPLETE)
    story.collected(1)
    assert story.decide() == ["collect 2"]
    story.collected(2)
    assert story.state() == {"a": {"ready": [], "completed": 2}}

    assert story.decide() == ["finish a"]
    assert story.decide() == []
    story.tell(m.JobEnded(job=JobId("a")))
    assert story.state() == {}
    assert story.decide() == []


def test_the_longer_an_unknown_batch_lasts_the_more_seldom_it_is_asked_after():
    story = Story()
    story.job(chunk(1))
    story.send(1)
    waits = []
    for status in [BatchStatus.QUEUED] * 4 + [BatchStatus.IMPORTING, None, BatchStatus.IMPORTING]:
        wait = story.decide()[0]
        waits.append(int(wait.removeprefix("wait ")) - story.now_ms)
        assert story.decide(at_ms=story.now_ms + waits[-1])[0] == "poll 1"
        story.polled(1, status)
    assert waits == [5_000, 5_000, 5_000, 7_500, 11_250, 16_875, 25_312]


def test_only_as_many_as_keep_the_importers_busy_are_sent_and_only_the_oldest_are_polled():
    story = Story()
    story.job(*map(chunk, range(1, 8)))
    for number in (1, 2, 3, 4):
        story.send(number)
    assert story.decide() == ["wait 5000"]
    assert story.decide(at_ms=5_000) == ["poll 1", "poll 2"]
    story.polled(2, BatchStatus.COMPLETE)
    assert story.decide() == ["poll 3", "collect 2", "submit 5"]


@pytest.mark.parametrize(("queue_depth", "sent"), [(None, 4), (1, 1), (10, 10), (12, 10)])
def test_the_depth_is_a_setting_and_never_more_than_the_slots(queue_depth, sent):
    story = Story(queue_depth=queue_depth)
    story.job(*map(chunk, range(1, 15)))
    for number in range(1, sent + 1):
        story.send(number)
    assert not [command for command in story.decide() if command.startswith("submit")]


def test_a_full_queue_sets_a_ceiling_and_what_fits_above_it_raises_it():
    story = Story()
    story.job(*map(chunk, range(1, 14)))
    story.send(1)
    assert story.decide() == ["submit 2", "wait 5000"]
    story.deferred(2, Cause.QUEUE_FULL)
    assert story.state() == {
        "a": {"ready": list(range(2, 14)), "submitted": [1]},
        "ceiling": 1,
        "crowded": True,
        "one_more": 5_000,
        "gives_up": DAY_MS,
        "held": [1],
    }
    # One more is tried after the wait, in case that the others have left.
    assert story.decide(at_ms=5_000) == ["poll 1", "submit 2 after 5000 of queue_full", f"wait {DAY_MS}"]
    story.polled(1, BatchStatus.IMPORTING)
    story.deferred(2, Cause.QUEUE_FULL)
    assert story.state()["one_more"] == 15_000  # twice as long
    # A batch of one's own that ends is a better reason to try than the clock, and it does not wait for it.
    assert story.decide(at_ms=10_000) == ["poll 1", "wait 15000"]
    story.polled(1, BatchStatus.COMPLETE)
    assert story.decide() == ["collect 1", "submit 2 after 5000 of queue_full"]
    story.accepted(2)
    assert story.state()["ceiling"] == 1
    assert story.decide() == ["wait 15000"]
    # What fits raises the ceiling; as long as others' batches stand before one's own, more is kept in the queue.
    assert story.decide(at_ms=15_000) == ["poll 2", "submit 3"]
    story.polled(2, BatchStatus.IMPORTING)
    story.accepted(3)
    for number in range(4, 12):
        assert story.state()["ceiling"] == number - 2
        story.send(number)
    assert "submit 12" not in story.decide()  # ten slots
    assert "ceiling" not in story.state()
    assert story.state()["crowded"]


def test_others_have_left_when_a_batch_sent_behind_them_is_finished():
    story = Story()
    story.job(*map(chunk, range(1, 14)))
    story.send(1)
    story.decide()
    story.deferred(2, Cause.QUEUE_FULL)
    story.decide(at_ms=5_000)
    story.accepted(2)  # behind theirs
    story.polled(1, BatchStatus.COMPLETE)
    assert story.state()["crowded"]
    assert "submit 3" in story.decide()
    story.deferred(3, Cause.TRANSIENT)
    assert "poll 2" in story.decide(at_ms=10_000)
    story.polled(2, BatchStatus.COMPLETE)
    assert "crowded" not in story.state()


def test_when_others_have_left_one_more_is_tried_at_once():
    story = Story()
    story.job(*map(chunk, range(1, 14)))
    story.send(1)
    for at_ms, one_more_ms in ((0, 5_000), (5_000, 15_000), (15_000, 35_000)):
        assert any(command.startswith("submit 2") for command in story.decide(at_ms=at_ms))
        if at_ms:
            story.polled(1, BatchStatus.IMPORTING)
        story.deferred(2, Cause.QUEUE_FULL)
        assert story.state()["one_more"] == one_more_ms
    assert story.finish(1, at_ms=22_500)[0].startswith("submit 2")
    story.accepted(2)  # behind theirs
    assert story.decide() == ["wait 27500"]  # not one more before 35000
    assert story.finish(2, at_ms=27_500)[0].startswith("submit 3")
    story.accepted(3)
    assert any(command.startswith("submit 4") for command in story.decide())


def test_a_batch_that_waits_although_it_is_the_oldest_tells_of_others():
    story = Story()
    story.job(*map(chunk, range(1, 7)))
    for number in (1, 2, 3, 4):
        story.send(number)
    for at_ms in (25_000, 37_500):
        assert "poll 1" in story.decide(at_ms=at_ms)
        story.polled(1, BatchStatus.QUEUED)
        assert ("submit 5" in story.decide()) == (at_ms > 30_000)  # Marketo may take a while to begin


def test_a_queue_full_of_others_does_not_stop_the_lane_for_good():
    story = Story()
    story.job(chunk(1), chunk(2))
    wait_ms = 5_000
    for _ in range(9):
        assert story.decide()[0].startswith("submit 1")
        story.deferred(1, Cause.QUEUE_FULL)
        assert story.state()["ceiling"] == 0
        assert story.decide()[-1] == f"wait {story.now_ms + wait_ms}"
        story.now_ms += wait_ms
        wait_ms = min(2 * wait_ms, 300_000)


def test_another_trouble_after_a_full_queue_has_a_wait_of_its_own():
    story = Story()
    story.job(chunk(1), chunk(2))
    story.send(1)
    story.decide()
    story.deferred(2, Cause.QUEUE_FULL)
    assert "submit 2 after 5000 of queue_full" in story.decide(at_ms=5_000)
    story.polled(1, BatchStatus.IMPORTING)
    story.deferred(2, Cause.TRANSIENT)
    assert "submit 2 after 5000 of transient" in story.decide(at_ms=10_000)


def test_jitter_stays_within_a_quarter():
    backoff = Backoff(1_000, 8_000, Random(1))
    for expected in (1_000, 2_000, 4_000, 8_000, 8_000, 8_000):
        assert 0.75 * expected <= backoff.next_ms() <= 1.25 * expected


@pytest.mark.parametrize(
    ("cause", "retry_at_ms", "lane_opens", "calls_open", "gives_up"),
    [
        (Cause.TRANSIENT, None, 5_000, None, DAY_MS),
        (Cause.CONCURRENCY_LIMITED, None, 5_000, None, DAY_MS),
        (Cause.RATE_LIMITED, None, 25_000, 25_000, DAY_MS),  # the window, and then as long as after other refusals
        (Cause.QUOTA_EXHAUSTED, 7_000_000, 7_000_000, 7_000_000, None),
        (Cause.QUOTA_EXHAUSTED, 0, 5_000, 5_000, None),  # a reset that should have been is no reason to hammer
    ],
)
def test_each_refusal_has_its_wait(cause, retry_at_ms, lane_opens, calls_open, gives_up):
    story = Story()
    story.job(chunk(1))
    story.decide()
    story.deferred(1, cause, retry_at_ms)
    state = story.state()
    assert (state["lane_opens"], state.get("calls_open"), state.get("gives_up")) == (lane_opens, calls_open, gives_up)
    assert story.decide() == [f"wait {lane_opens}"]
    assert story.decide(at_ms=lane_opens)[0] == f"submit 1 after {lane_opens} of {cause}"


def test_a_rate_limit_on_an_upload_holds_polls_too():
    story = Story()
    story.job(chunk(1), chunk(2))
    story.send(1)
    story.decide()
    story.deferred(2, Cause.RATE_LIMITED)
    assert story.decide(at_ms=5_000) == ["wait 25000"]
    assert story.decide(at_ms=25_000)[:2] == ["poll 1", "submit 2 after 25000 of rate_limited"]


def test_a_rate_limit_on_a_poll_holds_uploads_too():
    story = Story()
    story.job(chunk(1), chunk(2))
    story.send(1)
    story.send(2)
    story.job(chunk(3), name="b")
    story.decide(at_ms=5_000)  # polls 1 and 2, submits 3
    story.deferred(3, Cause.TRANSIENT)
    story.polled(2, BatchStatus.IMPORTING)
    story.tell(m.CallFailed(chunk=ChunkId(1), cause=Cause.RATE_LIMITED))
    assert story.decide(at_ms=10_000) == ["wait 30000"]
    assert story.decide(at_ms=30_000)[:3] == ["poll 1", "poll 2", "submit 3 after 5000 of transient"]


@pytest.mark.parametrize("on", ["upload", "poll"])
def test_after_a_rate_limit_not_everybody_tries_at_the_same_moment(on):
    opens = set()
    for seed in range(20):
        story = Story()
        story.heart = Scheduler(Limits(), body_bytes_max=CAP, rng=Random(seed))
        story.job(chunk(1))
        story.decide()
        if on == "upload":
            story.deferred(1, Cause.RATE_LIMITED)
        else:
            story.accepted(1)
            assert "poll 1" in story.decide(at_ms=5_000)
            story.tell(m.CallFailed(chunk=ChunkId(1), cause=Cause.RATE_LIMITED))
        opens.add(story.heart.known.calls.ready_ms - story.now_ms)
    assert len(opens) > 15
    assert (
        23_750 <= min(opens) < 24_500 < 25_500 < max(opens) <= 26_250
    )  # for none of them before Marketo's window is over


def test_calls_that_fail_are_repeated_after_growing_waits():
    story = Story()
    story.job(chunk(1))
    story.send(1)
    for wait_ms in (5_000, 5_000, 10_000, 20_000):
        assert story.decide(at_ms=story.now_ms + wait_ms) == ["poll 1", *story.decide()]
        story.tell(m.CallFailed(chunk=ChunkId(1), cause=Cause.TRANSIENT))
    story.finish(1, at_ms=story.now_ms + 40_000)
    assert story.state() == {"a": {"ready": [], "completed": 1}}


def test_a_collection_that_fails_is_repeated():
    story = Story()
    story.job(chunk(1))
    story.send(1)
    story.decide(at_ms=5_000)
    story.polled(1, BatchStatus.COMPLETE)
    assert story.decide() == ["collect 1"]
    story.tell(m.CallFailed(chunk=ChunkId(1), cause=Cause.TRANSIENT))
    assert story.decide() == ["wait 10000", *story.decide()[1:]]
    assert story.decide(at_ms=10_000)[0] == "collect 1"


# --- static lists ------------------------------------------------------------------------------------------


def test_what_marketo_forgets_first_is_collected_first():
    story = Story()
    story.job(chunk(2, phase=Phase.COLLECTING, batch_id=1002, submitted_ms=0), name="b")
    story.job(chunk(1, phase=Phase.COLLECTING, batch_id=1001, submitted_ms=-5_000), name="a")
    assert story.decide()[:2] == ["collect 1", "collect 2"]


def test_one_list_is_written_by_one_batch_at_a_time():
    story = Story()
    listed = m.Space(entity="person", key_field="email", exclusive="list:7", compared=False)
    story.job(chunk(1), chunk(2), space=listed, priority=Priority.HIGH)
    story.job(chunk(3), name="b", space=listed)
    story.job(chunk(4), name="c")
    story.send(1)
    assert story.decide() == ["submit 4", "wait 5000"]
    story.accepted(4)
    assert story.finish(1, at_ms=5_000) == ["submit 2"]
    story.accepted(2)
    story.polled(4, BatchStatus.IMPORTING)
    assert story.decide() == ["wait 10000"]  # 3 waits for 2


def test_a_list_that_others_import_to_keeps_no_other_job_waiting():
    story = Story()
    story.job(chunk(1), space=m.Space(entity="person", key_field="email", exclusive="list:7", compared=False))
    story.job(chunk(2), name="b")
    assert story.decide() == ["submit 1"]
    story.deferred(1, Cause.LIST_BUSY)
    assert story.decide()[0] == "submit 2"
    story.accepted(2)
    assert "submit 1 after 5000 of list_busy" in story.decide(at_ms=5_000)


# --- sizes -------------------------------------------------------------------------------------------------


def test_a_refused_size_teaches_a_cap_for_a_day():
    story = Story()
    story.job(chunk(1, body_bytes=4_000_000), chunk(2, body_bytes=3_900_000), chunk(3, body_bytes=1_000_000))
    assert story.decide() == ["submit 1"]
    story.tell(m.ChunkTooLarge(chunk=ChunkId(1), body_bytes=4_000_000))
    assert story.state() == {"a": {"ready": [1, 2, 3]}, "cap": 3_800_000}
    assert story.decide() == ["submit 3", "split 1 to 3800000 bytes", "split 2 to 3800000 bytes"]
    story.accepted(3)
    story.parted(1, chunk(4, row=100, rows=60, body_bytes=2_500_000), chunk(5, row=160, rows=40, body_bytes=1_500_000))
    assert story.state() == {
        "a": {"ready": [4, 5, 2], "submitted": [3]},
        "cap": 3_800_000,
        "held": [3],
    }
    assert story.decide() == ["submit 4", "wait 5000"]
    story.accepted(4)
    story.stopped(2, m.Stop.SOURCE_CHANGED)  # of no more interest here

    story.job(chunk(6, body_bytes=9_000_000), name="b")
    assert story.decide(at_ms=DAY_MS - 1) == ["poll 3", "poll 4", "split 6 to 3800000 bytes"]
    story.job(chunk(7, body_bytes=9_000_000), name="c")
    story.polled(3, BatchStatus.IMPORTING)
    story.polled(4, BatchStatus.IMPORTING)
    assert story.decide(at_ms=DAY_MS)[0] == "submit 7"
    assert "cap" not in story.state()


def test_what_an_earlier_process_learned_holds_a_day_from_then_on():
    story = Story()
    story.heart.known.cap.recall(3_800_000, story.now_ms - DAY_MS + 10_000)
    story.job(chunk(1, body_bytes=4_000_000))
    assert story.decide() == ["split 1 to 3800000 bytes"]
    story.job(chunk(2, body_bytes=4_000_000), name="b")
    assert story.decide(at_ms=9_999) == ["split 2 to 3800000 bytes"]
    story.job(chunk(3, body_bytes=4_000_000), name="c")
    assert story.decide(at_ms=10_000)[0] == "submit 3"


def test_what_was_learned_before_the_clock_went_back_is_forgotten_after_a_day():
    story = Story()
    story.heart.known.cap.recall(3_800_000, 1_000 * DAY_MS)
    story.decide()
    assert story.state()["cap"] == 3_800_000
    story.decide(at_ms=DAY_MS)
    assert "cap" not in story.state()


def test_what_is_recalled_is_never_below_the_floor_nor_above_what_is_configured():
    for recalled, holds in ((0, 1_000_000), (-1, 1_000_000), (CAP, CAP), (10**12, CAP)):
        story = Story()
        story.heart.known.cap.recall(recalled, story.now_ms)
        assert story.heart.known.cap.bytes_max == holds


def test_what_an_earlier_process_was_refused_for_its_size_is_not_sent_as_it_is():
    story = Story()
    story.job(
        chunk(1, rows=3, body_bytes=900_000, too_large=True), chunk(2, rows=1, body_bytes=900_000, too_large=True)
    )
    assert story.decide() == ["split 1 to 2 rows", "refuse 2"]


def test_what_is_refused_below_the_floor_is_halved_and_a_single_record_given_up():
    story = Story()
    story.job(chunk(1, rows=3, body_bytes=900_000))
    assert story.decide() == ["submit 1"]
    story.tell(m.ChunkTooLarge(chunk=ChunkId(1), body_bytes=900_000))
    assert story.state()["cap"] == 1_000_000
    assert story.decide() == ["split 1 to 2 rows"]
    story.parted(1, chunk(2, row=100, rows=2, body_bytes=600_000), chunk(3, row=102, rows=1, body_bytes=300_000))
    story.send(2)
    assert "submit 3" in story.decide()
    story.tell(m.ChunkTooLarge(chunk=ChunkId(3), body_bytes=300_000))
    assert story.decide() == ["refuse 3", "wait 5000"]
    story.tell(m.ChunkGivenUp(chunk=ChunkId(3)))
    assert story.finish(2, at_ms=5_000) == []
    assert story.decide() == ["finish a"]


def test_what_cannot_be_given_up_now_is_given_up_later():
    story = Story()
    story.job(chunk(1, rows=1, too_large=True), chunk(2, rows=1, too_large=True))
    assert story.decide() == ["refuse 1", "refuse 2"]
    story.tell(m.CallFailed(chunk=ChunkId(1), cause=Cause.TRANSIENT))
    story.tell(m.ChunkGivenUp(chunk=ChunkId(2)))
    (waits,) = story.decide()
    due_ms = int(waits.removeprefix("wait "))
    assert due_ms > 0
    assert story.decide(at_ms=due_ms - 1) == [waits]
    assert story.decide(at_ms=due_ms)[0] == "refuse 1"
    story.tell(m.ChunkGivenUp(chunk=ChunkId(1)))
    assert story.decide()[0] == "finish a"


def test_a_chunk_planned_above_the_cap_is_cut_before_it_is_sent():
    story = Story()
    story.job(chunk(1, body_bytes=9_500_001), chunk(2, rows=1, body_bytes=9_600_000), space=EMAIL)
    assert story.decide() == ["split 1 to 9500000 bytes", "refuse 2"]


def test_a_chunk_is_not_cut_while_its_claims_are_computed():
    story = Story()
    story.job(chunk(1), chunk(2), space=EMAIL)
    story.decide()
    story.claims(1)
    assert story.decide() == ["submit 1", "claims 2"]
    story.tell(m.ChunkTooLarge(chunk=ChunkId(1), body_bytes=5_000_000))
    assert story.decide() == ["split 1 to 4750000 bytes"]  # two answers about 2 could not be told apart
    story.claims(2, 1)
    assert story.decide() == ["split 2 to 4750000 bytes"]


# --- claims ------------------------------------------------------------------------------------------------


def test_claims_are_computed_one_at_a_time_and_the_first_chunk_goes_at_once():
    story = Story()
    story.job(chunk(1), chunk(2), chunk(3), space=EMAIL)
    assert story.decide() == ["claims 1"]
    story.claims(1)
    assert story.decide() == ["submit 1", "claims 2"]
    story.accepted(1)
    story.claims(2, 1)
    assert story.decide() == ["claims 3", "wait 5000"]
    story.claims(3)
    assert story.decide() == ["submit 3", "wait 5000"]
    assert story.state() == {
        "a": {"ready": [2], "submitted": [1], "submitting": [3], "conflicts": {1: [2], 2: [1]}},
        "busy": 3,
        "held": [1, 3],
    }
    story.accepted(3)
    assert story.decide(at_ms=5_000) == ["poll 1", "poll 3"]
    story.polled(1, BatchStatus.COMPLETE)
    story.polled(3, BatchStatus.IMPORTING)
    assert story.decide() == ["release 1", "collect 1", "submit 2", "wait 10000"]
    assert "conflicts" not in story.state()["a"]


def test_a_later_row_never_overtakes_an_earlier_one_with_its_key():
    story = Story()
    story.job(chunk(1), chunk(2), chunk(3), chunk(4), space=EMAIL)
    for number, conflicts in ((1, ()), (2, (1,)), (3, (2,)), (4, ())):
        story.decide()
        story.claims(number, *conflicts)
    story.accepted(1)
    # 2 waits for 1, which is under way; 3 shares a key with 2, which is not, but comes first.
    assert story.decide() == ["submit 4", "wait 5000"]
    story.accepted(4)
    assert story.finish(1, at_ms=5_000) == ["release 1", "submit 2"]
    story.polled(4, BatchStatus.IMPORTING)
    story.accepted(2)
    assert story.decide() == ["wait 10000"]


def test_a_chunk_that_comes_back_takes_its_old_place():
    story = Story()
    story.job(*map(chunk, (1, 2, 3)), space=EMAIL)
    for number, conflicts in ((1, ()), (2, ()), (3, (1,))):
        story.decide()
        story.claims(number, *conflicts)
    story.accepted(1)
    story.send(2)
    story.decide(at_ms=5_000)
    story.polled(2, BatchStatus.COMPLETE)
    story.polled(1, BatchStatus.FAILED)
    assert story.state()["a"] == {
        "ready": [1, 3],
        "collecting": [2],
        "failures": {1: 1},
        "conflicts": {1: [3], 3: [1]},
        "completed": 1,
    }
    assert story.decide() == ["release 2", "collect 2", "submit 1"]


def test_chunks_beyond_the_window_are_no_candidates():
    story = Story(lookahead_chunks=2)
    story.job(*map(chunk, (1, 2, 3, 4)), space=EMAIL)
    story.decide()
    story.claims(1)
    assert story.decide() == ["submit 1", "claims 2"]
    story.accepted(1)
    story.claims(2, 1)
    story.decide()
    story.claims(3, 1)
    assert story.decide() == ["wait 5000"]  # 4 shares nothing, perhaps; nobody asks
    story.decide(at_ms=5_000)
    story.polled(1, BatchStatus.COMPLETE)
    assert story.decide() == ["release 1", "collect 1", "submit 2", "claims 4"]


def test_claims_that_come_too_late_are_let_go_of_at_once():
    story = Story()
    story.job(chunk(1, phase=Phase.SUBMITTED, batch_id=1001, submitted_ms=0), space=EMAIL)
    assert story.decide() == ["poll 1", "claims 1"]
    story.polled(1, BatchStatus.COMPLETE)
    assert story.decide() == ["collect 1"]
    story.claims(1)
    assert story.decide() == ["release 1"]
    story.collected(1)
    assert story.decide() == ["finish a"]


def test_nothing_is_sent_while_the_keys_of_what_is_under_way_are_not_known():
    story = Story()
    story.job(chunk(1, phase=Phase.SUBMITTED, batch_id=1001, submitted_ms=0), chunk(2), space=EMAIL)
    story.job(chunk(3), name="b", space=m.Space(entity="custom:car_c", key_field="vin"))
    assert story.decide() == ["poll 1", "claims 1"]
    story.claims(1)
    assert story.decide() == ["claims 2"]
    story.claims(2)
    assert story.decide() == ["submit 2", "claims 3"]


def test_what_is_under_way_without_known_keys_blocks_its_own_entity_only():
    story = Story()
    story.job(chunk(1, phase=Phase.SUBMITTED, batch_id=1001, submitted_ms=0), chunk(2, source=1), space=EMAIL)
    story.job(chunk(3), name="b", space=m.Space(entity="custom:car_c", key_field="vin"))
    story.decide()
    story.stopped(1, m.Stop.SOURCE_CHANGED)  # its keys cannot be read any more
    assert story.decide() == ["claims 2"]
    story.claims(2)
    assert story.decide() == ["claims 3"]
    story.claims(3)
    assert story.decide() == ["submit 3"]


def test_different_key_fields_of_one_entity_exclude_each_other():
    story = Story()
    story.job(chunk(1), space=EMAIL)
    story.job(chunk(2), name="b", space=m.Space(entity="person", key_field="externalId"))
    story.job(chunk(3), name="c", space=m.Space(entity="custom:car_c", key_field="vin"))
    for number in (1, 2, 3):
        story.decide()
        story.claims(number)
    story.accepted(1)
    assert story.decide() == ["submit 3", "wait 5000"]
    story.accepted(3)
    assert story.finish(1, at_ms=5_000) == ["release 1", "submit 2"]


@pytest.mark.parametrize(
    ("ours", "theirs", "excluded"),
    [
        (EMAIL, EMAIL, False),
        (EMAIL, PROMISED, False),
        (EMAIL, m.Space(entity="person", key_field="id"), True),
        (EMAIL, m.Space(entity="person", key_field="id", compared=False), False),
        (EMAIL, m.Space(entity="custom:car_c", key_field="vin"), False),
        (
            m.Space(entity="person", key_field="email", exclusive="list:1"),
            m.Space(entity="custom:car_c", key_field="vin", exclusive="list:1"),
            True,
        ),
        (
            m.Space(entity="person", key_field="email", exclusive="list:1"),
            m.Space(entity="person", key_field="email", exclusive="list:2"),
            False,
        ),
    ],
)
def test_which_spaces_exclude_each_other(ours, theirs, excluded):
    assert ours.excludes(theirs) is excluded
    assert theirs.excludes(ours) is excluded


# --- mistakes of the caller ----------------------------------------------------------------------------------


def test_a_fact_that_cannot_be_is_a_mistake_and_named():
    story = Story()
    story.job(chunk(1))
    with pytest.raises(ImpossibleFact, match="ChunkAccepted for chunk 1 in phase ready"):
        story.accepted(1)


def _most_kept(*, beside_a_blocked_job: bool) -> int:
    """Return how many batches of a job are kept at Marketo, which imports two of two minutes each at a time."""
    story = Story()
    story.job(*[chunk(number) for number in range(1, 40)], space=EMAIL)
    blocked = chunk(100, source=1, row=0)
    waiting: list[int] = []
    ends_ms: dict[int, int] = {}
    most = 0
    for now_ms in range(0, 900_000, 5_000):
        if beside_a_blocked_job and now_ms == 300_000:
            story.job(blocked, name="b", space=EMAIL)
        while waiting and sum(end_ms > now_ms for end_ms in ends_ms.values()) < 2:
            ends_ms[waiting.pop(0)] = now_ms + 120_000
        story.now_ms = now_ms
        while acted := [c for c in story.heart.decide(now_ms) if not isinstance(c, (m.WaitUntil, m.ReleaseClaims))]:
            for command in acted:
                match command:
                    case m.SubmitChunk(chunk=number):
                        story.accepted(number)
                        waiting.append(number)
                    case m.ComputeClaims(chunk=number):
                        story.claims(number, *(range(1, 40) if number == blocked.id else ()))
                    case m.PollBatch(chunk=number) if number in waiting:
                        story.polled(number, BatchStatus.QUEUED)
                    case m.PollBatch(chunk=number):
                        ended = ends_ms[number] <= now_ms
                        story.polled(number, BatchStatus.COMPLETE if ended else BatchStatus.IMPORTING)
                    case m.CollectBatch(chunk=number):
                        story.collected(number)
        if now_ms > 400_000:
            most = max(most, len(story.heart.known.batches))
    return most


def test_a_job_blocked_by_keys_is_no_reason_to_send_more_of_the_others():
    assert _most_kept(beside_a_blocked_job=True) == _most_kept(beside_a_blocked_job=False)
