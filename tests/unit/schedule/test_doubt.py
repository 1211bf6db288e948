"""Histories of lost answers: how long a chunk is held, what else may go meanwhile, and what a restart knows."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.model import BatchId, BatchStatus, ChunkId, JobId, OnUnknown, Phase
from orchestrator.schedule import messages as m
from orchestrator.schedule.messages import Cause, Stop
from tests.unit.schedule.story import EMAIL, Story, chunk

HOLD_MS = 600_000
WORST_MS = 900_000 + 5 * HOLD_MS  # the upload's limit, and ten slots at two importers
DAY_MS = 86_400_000


def test_a_lost_chunk_is_sent_again_after_its_hold_and_a_batch_sent_later():
    story = Story()
    story.job(chunk(1), chunk(2))
    assert story.decide() == ["submit 1"]
    story.now_ms = 60_000
    story.lost(1)
    assert story.state() == {"a": {"ready": [2], "unknown": [1]}, "lane_opens": 65_000, "held": [1]}
    assert story.heart.known.chunk(ChunkId(1)).hold_until_ms == 60_000 + HOLD_MS

    assert story.decide() == ["wait 65000"]
    assert story.decide(at_ms=65_000) == ["submit 2 after 5000 of transient", f"wait {WORST_MS}"]
    story.accepted(2)
    assert story.finish(2, at_ms=70_000) == [f"wait {70_000 + HOLD_MS}"]
    # The batch sent later is finished, so the lost one has begun, and ends within the hold.
    assert story.decide(at_ms=70_000 + HOLD_MS) == ["submit 1"]
    assert story.state() == {"a": {"ready": [], "submitting": [1], "completed": 1}, "busy": 1, "held": [1]}
    story.accepted(1)
    assert story.state() == {"a": {"ready": [], "submitted": [1], "completed": 1}, "held": [1]}


def test_without_a_batch_sent_later_only_the_worst_case_tells():
    story = Story()
    story.job(chunk(1))
    story.decide()
    story.lost(1)
    assert story.decide() == [f"wait {WORST_MS}"]
    assert story.decide(at_ms=WORST_MS - 1) == [f"wait {WORST_MS}"]
    assert story.decide(at_ms=WORST_MS) == ["submit 1 after 5000 of transient"]


def test_a_batch_sent_earlier_tells_nothing():
    story = Story()
    story.job(chunk(1), chunk(2))
    story.send(1)
    story.decide()
    story.now_ms = 1_000
    story.lost(2)
    assert story.finish(1, at_ms=5_000) == [f"wait {WORST_MS}"]


def test_the_hold_grows_with_the_longest_batch():
    story = Story()
    story.job(chunk(1), chunk(2), chunk(3))
    story.send(1)
    story.decide(at_ms=5_000)
    story.polled(1, BatchStatus.IMPORTING)
    story.lost(2)
    story.decide(at_ms=400_000)
    story.polled(1, BatchStatus.COMPLETE)
    story.decide()
    story.lost(3)
    assert story.heart.known.chunk(ChunkId(2)).hold_until_ms == 5_000 + HOLD_MS
    assert story.heart.known.chunk(ChunkId(3)).hold_until_ms == 400_000 + 3 * 400_000


def test_a_resend_that_is_refused_is_tried_again_without_another_hold():
    story = Story()
    story.job(chunk(1))
    story.decide()
    story.lost(1)
    story.decide(at_ms=WORST_MS)
    assert story.heart.known.chunk(ChunkId(1)).unsent_phase is Phase.UNKNOWN
    story.deferred(1, Cause.QUEUE_FULL)
    opens_ms = WORST_MS + 5_000
    assert story.state() == {
        "a": {"ready": [], "unknown": [1]},
        "ceiling": 0,
        "crowded": True,
        "one_more": opens_ms,
        "gives_up": WORST_MS + DAY_MS,
        "held": [1],
    }
    assert story.decide() == [f"wait {opens_ms}"]
    assert story.decide(at_ms=opens_ms)[0] == "submit 1 after 5000 of queue_full"


def test_a_resend_that_is_lost_too_is_held_anew_and_is_trouble():
    story = Story()
    story.job(chunk(1))
    story.decide()
    story.lost(1)
    assert "gives_up" not in story.state()  # a hold is no trouble
    story.decide(at_ms=WORST_MS)
    story.lost(1)
    assert story.state()["gives_up"] == WORST_MS + DAY_MS
    assert story.decide(at_ms=WORST_MS + 10_000)[-1] == f"wait {2 * WORST_MS}"


def test_chunks_in_doubt_hold_slots_but_do_not_keep_others_from_going():
    story = Story()
    story.job(*map(chunk, range(1, 13)))
    for number in range(1, 11):
        assert story.decide()[0].startswith(f"submit {number}")
        story.lost(number)
        story.now_ms += 300_000 if number < 10 else 375_000
        story.heart.known.lane.gate.open(story.now_ms)
    assert story.state()["held"] == list(range(1, 11))
    assert not any(command.startswith("submit") for command in story.decide())  # every slot may be taken


def test_a_lost_chunk_keeps_its_claims_and_its_list():
    story = Story()
    listed = m.Space(entity="person", key_field="email", exclusive="list:7")
    story.job(chunk(1), chunk(2), space=listed)
    story.compute()
    story.job(chunk(3), name="b", space=EMAIL)
    story.job(chunk(4), name="c", space=listed)
    story.compute(c3=(1,))
    story.lost(1)
    assert story.decide(at_ms=5_000) == [f"wait {WORST_MS}"]


def test_a_resend_puts_no_older_values_over_those_of_later_chunks_with_its_keys():
    story = Story()
    story.job(chunk(1), chunk(2), chunk(3), space=EMAIL)
    story.compute(c2=(1,))  # the second one has a key of the first one
    story.lost(1)
    assert story.decide(at_ms=5_000) == ["submit 3 after 5000 of transient", f"wait {WORST_MS}"]
    story.accepted(3)
    story.finish(3, at_ms=70_000)
    assert story.decide(at_ms=70_000 + HOLD_MS) == ["submit 1"]  # again
    story.accepted(1)
    assert "submit 2" not in " ".join(story.decide(at_ms=80_000 + HOLD_MS))
    story.polled(1, BatchStatus.COMPLETE)
    assert "submit 2" in " ".join(story.decide())


def test_a_size_refused_on_the_second_try_is_cut_like_any_other():
    story = Story()
    story.job(chunk(1))
    story.decide()
    story.lost(1)
    story.decide(at_ms=WORST_MS)
    story.tell(m.ChunkTooLarge(chunk=ChunkId(1), body_bytes=5_000_000))
    assert story.state() == {"a": {"ready": [1]}, "cap": 4_750_000}
    assert story.decide() == ["split 1 to 4750000 bytes"]


def test_a_source_that_stops_leaves_a_resend_in_doubt():
    story = Story()
    story.job(chunk(1))
    story.decide()
    story.lost(1)
    story.decide(at_ms=WORST_MS)
    story.stopped(1, Stop.SOURCE_CHANGED)
    assert story.state()["a"] == {"ready": [], "unknown": [1], "stops": ["source_changed"], "stopped_sources": [0]}


# --- held for the user -----------------------------------------------------------------------------------------


def test_what_is_held_for_the_user_is_not_sent_again_and_the_job_ends():
    story = Story()
    story.job(chunk(1), chunk(2), on_unknown=OnUnknown.HOLD)
    story.decide()
    story.lost(1)
    assert story.decide(at_ms=5_000)[0] == "submit 2 after 5000 of transient"
    story.accepted(2)
    story.finish(2, at_ms=10_000)
    assert story.decide()[0] == "finish a held"
    story.tell(m.JobEnded(job=JobId("a")))
    assert story.state()["held"] == [1]  # it may be at work still
    assert story.decide(at_ms=WORST_MS) == []
    assert story.state() == {}


def test_what_is_held_keeps_its_keys_within_its_job():
    story = Story()
    story.job(chunk(1), chunk(2), chunk(3), space=EMAIL, on_unknown=OnUnknown.HOLD)
    for number, conflicts in ((1, ()), (2, (1,)), (3, ())):
        story.decide()
        story.claims(number, *conflicts)
    story.lost(1)
    assert story.decide(at_ms=5_000)[0] == "submit 3 after 5000 of transient"
    story.accepted(3)
    story.decide(at_ms=2 * WORST_MS)
    story.polled(3, BatchStatus.COMPLETE)
    story.decide()
    story.collected(3)
    assert story.decide()[0] == "finish a held"  # the second one would be overwritten by the first


def test_a_job_whose_slots_are_all_held_ends():
    story = Story(slots=2)
    story.job(*map(chunk, range(1, 4)), on_unknown=OnUnknown.HOLD)
    for number in (1, 2):
        story.decide(at_ms=story.now_ms + 20_000)
        story.lost(number)
    assert story.decide(at_ms=story.now_ms + 20_000)[0] == "finish a held"


def test_whoever_resumes_it_may_decide_otherwise():
    story = Story()
    story.job(chunk(1, phase=Phase.UNKNOWN, submitted_ms=0, hold_until_ms=1), chunk(2), on_unknown=OnUnknown.HOLD)
    assert story.decide(at_ms=1) == ["submit 2", f"wait {WORST_MS}"]
    story.accepted(2)
    story.job(sends=True, on_unknown=OnUnknown.RESUBMIT)
    story.finish(2, at_ms=10_000)
    assert story.decide(at_ms=10_000 + HOLD_MS) == ["submit 1"]


# --- after a restart ---------------------------------------------------------------------------------------


def test_a_chunk_found_submitting_is_held_from_when_it_was_found():
    story = Story()
    story.now_ms = 50_000
    story.job(chunk(1, phase=Phase.SUBMITTING, submitted_ms=1_000), chunk(2))
    assert story.state() == {"a": {"ready": [2], "unknown": [1]}, "held": [1]}
    assert story.heart.known.chunk(ChunkId(1)).hold_until_ms == 50_000 + HOLD_MS
    assert story.decide() == ["submit 2", f"wait {1_000 + WORST_MS}"]
    story.accepted(2)
    assert story.finish(2, at_ms=60_000) == [f"wait {60_000 + HOLD_MS}"]
    assert story.decide(at_ms=60_000 + HOLD_MS) == ["submit 1"]


def test_after_a_long_sleep_it_is_sent_again_at_once():
    story = Story()
    story.now_ms = DAY_MS
    story.job(chunk(1, phase=Phase.SUBMITTING, submitted_ms=1_000))
    assert story.decide() == ["submit 1"]


def test_the_hold_in_the_journal_counts_and_so_do_batches_finished_before():
    story = Story()
    story.now_ms = 50_000
    story.job(
        chunk(1, phase=Phase.UNKNOWN, submitted_ms=1_000, hold_until_ms=900_000),
        chunk(2, phase=Phase.DONE, submitted_ms=2_000),
    )
    assert story.decide() == ["wait 900000"]
    assert story.decide(at_ms=900_000) == ["submit 1"]


def test_how_long_batches_took_in_earlier_runs_counts():
    story = Story()
    story.tell(m.BatchesTook(longest_ms=HOLD_MS))
    story.tell(m.BatchesTook(longest_ms=1))
    story.now_ms = 50_000
    story.job(chunk(1, phase=Phase.SUBMITTING, submitted_ms=1_000))
    assert story.heart.known.chunk(ChunkId(1)).hold_until_ms == 50_000 + 3 * HOLD_MS


def test_a_batch_of_another_job_finished_before_counts_too():
    story = Story()
    story.now_ms = 50_000
    story.job(chunk(1, phase=Phase.UNKNOWN, submitted_ms=1_000, hold_until_ms=900_000))
    story.job(
        chunk(2, phase=Phase.DONE, submitted_ms=2_000), chunk(3, phase=Phase.UNKNOWN, submitted_ms=3_000), name="b"
    )
    assert story.decide() == ["wait 900000"]


def test_a_hold_from_a_clock_that_ran_ahead_is_bounded():
    story = Story()
    story.job(chunk(1, phase=Phase.UNKNOWN, submitted_ms=10 * DAY_MS, hold_until_ms=11 * DAY_MS))
    assert story.decide() == [f"wait {DAY_MS}"]  # its length counts


@pytest.mark.parametrize("sends", [True, False])
def test_a_hold_in_the_journal_is_kept_whatever_is_known_of_batches_now(sends):
    story = Story()
    told = {"phase": Phase.UNKNOWN, "submitted_ms": 0, "hold_until_ms": 2 * WORST_MS}
    story.job(chunk(1, **told), space=EMAIL, sends=sends)
    story.job(chunk(2), name="b", space=EMAIL)
    for number, conflicts in ((1, ()), (2, (1,))):
        story.decide()
        story.claims(number, *conflicts)
    assert story.decide(at_ms=2 * WORST_MS - 1) == [f"wait {2 * WORST_MS}"]
    assert story.decide(at_ms=2 * WORST_MS) == (["submit 1"] if sends else ["release 1", "submit 2"])


def test_time_in_which_nobody_looked_does_not_count_as_a_long_batch():
    story = Story()
    story.now_ms = 10 * DAY_MS
    story.job(chunk(1, phase=Phase.SUBMITTED, submitted_ms=0, batch_id=1001), chunk(2))
    assert story.decide() == ["poll 1", "submit 2"]
    story.polled(1, BatchStatus.COMPLETE)
    story.lost(2)
    assert story.heart.known.chunk(ChunkId(2)).hold_until_ms == story.now_ms + HOLD_MS


@pytest.mark.parametrize("sent", [True, False])
def test_nor_does_a_wait_for_the_quota(sent):
    story = Story()
    story.job(chunk(1), chunk(2))
    story.send(1)
    story.decide(at_ms=5_000)
    if sent:
        story.polled(1, BatchStatus.IMPORTING)
        story.deferred(2, Cause.QUOTA_EXHAUSTED, DAY_MS)
    else:
        story.deferred(2, Cause.TRANSIENT)
        story.tell(m.CallFailed(chunk=ChunkId(1), cause=Cause.QUOTA_EXHAUSTED, retry_at_ms=DAY_MS))
    assert story.decide() == [f"wait {DAY_MS}"]
    assert story.decide(at_ms=DAY_MS)[0] == "poll 1"
    story.polled(1, BatchStatus.COMPLETE)
    story.lost(2)
    assert story.heart.known.chunk(ChunkId(2)).hold_until_ms == DAY_MS + HOLD_MS


def test_nor_do_calls_that_failed_for_long():
    story = Story()
    story.job(chunk(1))
    story.send(1)
    at_ms = 5_000
    for _ in range(9):
        assert "poll 1" in story.decide(at_ms=at_ms)
        story.tell(m.CallFailed(chunk=ChunkId(1), cause=Cause.TRANSIENT))
        at_ms = story.heart.known.chunk(ChunkId(1)).due_ms
    story.finish(1, at_ms=at_ms)
    story.job(chunk(2), name="b")
    assert "submit 2" in story.decide()
    story.lost(2)
    assert at_ms > HOLD_MS
    assert story.heart.known.chunk(ChunkId(2)).hold_until_ms == at_ms + HOLD_MS


# --- jobs that nobody sends ----------------------------------------------------------------------------------


def test_a_watched_job_is_seen_to_its_end_and_its_slot_in_doubt_freed_at_last():
    story = Story()
    story.job(
        chunk(1, phase=Phase.SUBMITTED, submitted_ms=0, batch_id=1001),
        chunk(2, phase=Phase.UNKNOWN, submitted_ms=0, hold_until_ms=5_000),
        chunk(3),
        sends=False,
        space=EMAIL,
    )
    story.job(chunk(4), name="b", space=EMAIL)
    assert story.decide() == ["poll 1", "claims 1", f"wait {WORST_MS}"]
    story.claims(1)
    story.polled(1, BatchStatus.COMPLETE)
    assert story.decide() == ["release 1", "collect 1", "claims 2", f"wait {WORST_MS}"]
    story.claims(2)
    story.collected(1)
    assert story.decide() == ["claims 4", f"wait {WORST_MS}"]
    story.claims(4, 2)
    assert story.decide() == [f"wait {WORST_MS}"]
    assert story.decide(at_ms=WORST_MS) == ["release 2", "submit 4"]
    assert story.state() == {
        "a": {"ready": [3], "unknown": [2], "let_go": [2], "completed": 1},
        "b": {"ready": [], "submitting": [4]},
        "busy": 4,
        "held": [4],
    }
    story.accepted(4)

    # Now somebody wants it: what was let go of takes its slot and its claims again before it is sent.
    story.job(sends=True)
    assert story.state()["held"] == [2, 4]
    assert story.decide() == ["claims 2", f"wait {WORST_MS + 5_000}"]
    story.claims(2, 4)
    assert story.decide() == ["claims 3", f"wait {WORST_MS + 5_000}"]
    story.claims(3)
    assert story.decide() == ["submit 3", f"wait {WORST_MS + 5_000}"]
    story.accepted(3)
    assert story.finish(4, at_ms=WORST_MS + 5_000) == ["release 4", "submit 2"]


def test_a_watched_job_ends_when_all_of_it_has_ended():
    story = Story()
    story.job(chunk(1, phase=Phase.SUBMITTED, submitted_ms=0, batch_id=1001), sends=False)
    assert story.finish(1, at_ms=0) == []
    assert story.decide() == ["finish a"]


def test_what_a_job_leaves_in_doubt_keeps_its_claims_after_the_job():
    story = Story()
    story.job(chunk(1), space=EMAIL)
    story.job(chunk(2), name="b", space=EMAIL)
    story.decide()
    story.claims(1)
    story.decide()
    story.claims(2, 1)
    story.lost(1)
    story.decide(at_ms=5_000)
    story.job(chunk(3, source=1, row=0), name="c", space=EMAIL)
    story.heart.known.chunk(ChunkId(1)).job.stopped_sources.append(0)  # as when another chunk of it was refused
    story.heart.known.chunk(ChunkId(1)).job.stop(Stop.SOURCE_REFUSED)
    assert story.decide() == ["finish a source_refused", "claims 3", f"wait {WORST_MS}"]
    story.tell(m.JobEnded(job=JobId("a")))
    assert story.state()["held"] == [1]
    story.claims(3)
    assert story.decide() == ["submit 3 after 5000 of transient", f"wait {WORST_MS}"]
    story.accepted(3)
    story.finish(3, at_ms=10_000)
    assert story.decide() == ["finish c", f"wait {10_000 + HOLD_MS}"]
    assert story.decide(at_ms=10_000 + HOLD_MS) == ["release 1", "submit 2"]


def test_of_a_job_that_only_occupies_nothing_is_looked_for_collected_or_ended():
    story = Story()
    story.job(
        chunk(1, phase=Phase.SUBMITTED, submitted_ms=0, batch_id=1001),
        chunk(2, phase=Phase.UNKNOWN, submitted_ms=0, hold_until_ms=5_000),
        chunk(3, phase=Phase.CANCELLED),
        chunk(4, phase=Phase.COLLECTING, submitted_ms=0, batch_id=1004),
        sends=False,
        occupies=True,
        space=EMAIL,
        on_unknown=OnUnknown.PROBE,
    )
    story.job(chunk(5), chunk(6), name="b", space=EMAIL)
    assert story.state()["held"] == [1, 2]
    for number, conflicts in ((1, ()), (2, ()), (5, (1,)), (6, (2,))):
        assert f"claims {number}" in story.decide()
        story.claims(number, *conflicts)
    story.polled(1, BatchStatus.COMPLETE)
    assert story.decide(at_ms=1_000) == ["release 1", "submit 5", f"wait {WORST_MS}"]
    story.accepted(5)
    over_ms = 60_000 + HOLD_MS  # what was sent later is finished
    assert story.finish(5, at_ms=60_000) == ["release 5", f"wait {over_ms}"]
    assert story.decide(at_ms=over_ms - 1) == [f"wait {over_ms}"]
    assert story.decide(at_ms=over_ms) == ["release 2", "submit 6"]


def test_a_job_that_only_occupies_does_not_end_when_marketo_has_forgotten_all_of_it():
    story = Story()
    story.job(chunk(1, phase=Phase.SUBMITTED, submitted_ms=0, batch_id=1001), sends=False, occupies=True)
    assert story.decide() == ["poll 1"]
    story.tell(m.BatchGone(chunk=ChunkId(1)))
    assert story.decide() == []


def test_a_job_that_comes_back_takes_over_what_it_left():
    story = Story(give_up_ms=1_000)
    story.job(chunk(1), chunk(2))
    story.send(1)
    story.decide()
    story.deferred(2, Cause.TRANSIENT)
    assert story.decide(at_ms=1_000) == ["finish a gave_up"]
    story.tell(m.JobEnded(job=JobId("a")))
    assert story.state() == {"lane_opens": 5_000, "held": [1]}
    story.job(chunk(1, phase=Phase.SUBMITTED, submitted_ms=0, batch_id=1001), chunk(2))
    assert story.state() == {"a": {"ready": [2], "submitted": [1]}, "lane_opens": 5_000, "held": [1]}
    assert story.decide() == ["poll 1", "wait 5000"]


def test_a_job_cannot_come_back_before_its_end_is_told():
    story = Story(give_up_ms=1_000)
    story.job(chunk(1))
    story.decide()
    story.deferred(1, Cause.TRANSIENT)
    assert story.decide(at_ms=1_000) == ["finish a gave_up"]
    story.job(chunk(1))  # what it says may be old: its end is being written
    assert story.decide(at_ms=5_000) == []
    story.tell(m.JobEnded(job=JobId("a")))
    assert story.state() == {}
    story.job(chunk(1))
    assert story.decide() == ["submit 1 after 5000 of transient"]


def test_two_in_doubt_with_one_key_do_not_wait_for_each_other():
    story = Story()
    doubt = {"phase": Phase.UNKNOWN, "submitted_ms": 0, "hold_until_ms": 1}
    story.job(chunk(1, **doubt), space=EMAIL)
    story.job(chunk(2, **doubt), name="b", space=EMAIL)
    story.decide()
    story.claims(1)
    story.decide()
    story.claims(2, 1)
    assert story.decide(at_ms=WORST_MS) == ["submit 1"]
    story.accepted(1)
    assert story.decide() == [f"wait {WORST_MS + 5_000}"]
    assert story.finish(1, at_ms=WORST_MS + 5_000) == ["release 1", "submit 2"]


# --- its batch is looked for ---------------------------------------------------------------------------------


def sought(
    story: Story, *numbers: int, adopted: dict[int, int] | None = None, again_ms: int | None = None, **failed: Any
) -> None:
    found = tuple((ChunkId(number), BatchId(batch)) for number, batch in (adopted or {}).items())
    chunks = tuple(map(ChunkId, numbers))
    story.tell(m.BatchSought(chunk=chunks[0], chunks=chunks, adopted=found, again_ms=again_ms, **failed))


def test_a_batch_that_is_found_goes_on_as_if_its_answer_had_come():
    story = Story()
    story.job(chunk(1), on_unknown=OnUnknown.PROBE)
    story.decide()
    story.lost(1)
    assert story.decide() == ["wait 30000"]
    assert story.decide(at_ms=30_000) == ["seek 1"]
    sought(story, 1, adopted={1: 1001})
    assert story.state() == {"a": {"ready": [], "submitted": [1]}, "held": [1]}
    assert story.finish(1, at_ms=30_000) == []
    assert story.decide() == ["finish a"]


def test_it_is_not_sent_again_while_it_is_looked_for():
    story = Story()
    story.job(chunk(1), on_unknown=OnUnknown.PROBE)
    story.decide()
    story.lost(1)
    story.decide(at_ms=30_000)
    sought(story, 1, again_ms=2 * WORST_MS)
    assert story.decide(at_ms=WORST_MS) == [f"wait {2 * WORST_MS}"]
    assert story.decide(at_ms=2 * WORST_MS) == ["seek 1"]
    sought(story, 1)
    assert story.decide() == ["submit 1 after 5000 of transient"]


def in_doubt() -> Story:
    """Return a story in which one chunk is looked for, and another is a batch."""
    story = Story()
    story.job(chunk(1), chunk(2), on_unknown=OnUnknown.PROBE)
    story.decide()
    story.lost(1)
    assert "submit 2 after 5000 of transient" in story.decide(at_ms=5_000)
    story.accepted(2)
    assert "seek 1" in story.decide(at_ms=30_000)
    return story


def test_a_used_up_quota_met_by_a_search_holds_every_call():
    story = in_doubt()
    sought(story, 1, again_ms=45_000, cause=Cause.QUOTA_EXHAUSTED, retry_at_ms=7_000_000)
    assert story.state()["calls_open"] == 7_000_000
    assert story.heart.known.calls.quota_refused
    for _ in range(3):
        assert not [done for done in story.decide() if done.startswith(("seek", "submit", "poll 2 "))]
        story.now_ms += 1_000_000
    assert "seek 1" in story.decide(at_ms=7_000_000)


def test_a_search_that_met_a_rate_limit_waits_for_the_window_and_so_does_every_call():
    story = in_doubt()
    sought(story, 1, again_ms=45_000, cause=Cause.RATE_LIMITED)
    assert story.state()["calls_open"] == 55_000
    assert story.decide(at_ms=45_000) == ["wait 55000"]
    assert "seek 1" in story.decide(at_ms=55_000)


def test_a_search_that_failed_in_passing_is_made_again_after_growing_waits():
    story = in_doubt()
    for wait_ms in (5_000, 10_000, 20_000):
        sought(story, 1, again_ms=story.now_ms + 1, cause=Cause.TRANSIENT)
        assert "seek 1" not in story.decide(at_ms=story.now_ms + wait_ms - 1)
        assert "seek 1" in story.decide(at_ms=story.now_ms + 1)


def test_what_cannot_be_found_is_held_like_any_other():
    story = Story()
    story.job(chunk(1), on_unknown=OnUnknown.PROBE)
    story.decide()
    story.lost(1)
    story.decide(at_ms=30_000)
    sought(story, 1)
    assert story.decide() == [f"wait {WORST_MS}"]
    assert story.decide(at_ms=WORST_MS) == ["submit 1 after 5000 of transient"]


def test_two_that_were_lost_together_are_looked_for_together():
    story = Story()
    story.job(chunk(1), chunk(2), on_unknown=OnUnknown.PROBE)
    story.decide()
    story.lost(1)
    story.decide(at_ms=5_000)
    story.lost(2)
    assert story.decide(at_ms=30_000) == ["seek 1"]
    assert story.decide(at_ms=35_000) == []  # one at a time
    sought(story, 1, 2, again_ms=32_000)  # the second one settles no sooner for that
    assert story.decide() == ["seek 1"]
    sought(story, 1, 2, adopted={1: 1001, 2: 1002})
    assert story.decide() == ["poll 1", "poll 2"]


def test_looking_for_it_is_given_up_for_the_users_own_decision():
    story = Story()
    story.job(chunk(1), on_unknown=OnUnknown.PROBE)
    story.decide()
    story.lost(1)
    story.job(on_unknown=OnUnknown.HOLD)
    assert story.decide(at_ms=30_000)[0] == "finish a held"


def test_what_was_lost_while_another_one_was_looked_for_has_its_own_time_to_settle():
    story = Story()
    story.job(chunk(1), chunk(2), on_unknown=OnUnknown.PROBE)
    story.decide()
    story.lost(1)
    assert "submit 2 after 5000 of transient" in story.decide(at_ms=29_999)
    assert story.decide(at_ms=30_000)[0] == "seek 1"
    story.lost(2)
    sought(story, 1, 2, again_ms=35_000)
    assert [story.heart.known.chunk(ChunkId(number)).seek_ms for number in (1, 2)] == [35_000, 60_000]


@pytest.mark.parametrize("on_unknown", [OnUnknown.RESUBMIT, OnUnknown.HOLD])
@pytest.mark.parametrize(("rows", "over_ms"), [(400, 70_000 + HOLD_MS), (401, WORST_MS)])
def test_short_batches_do_not_tell_how_long_a_much_larger_one_takes(rows, over_ms, on_unknown):
    story = Story()
    story.job(chunk(1, rows=rows), chunk(2, row=1_000), on_unknown=on_unknown)
    story.decide()
    story.lost(1)
    assert story.decide(at_ms=65_000)[0].startswith("submit 2")
    story.accepted(2)
    story.finish(2, at_ms=70_000)
    assert story.heart.known.doubt.over_ms(story.heart.known.chunk(ChunkId(1))) == over_ms
