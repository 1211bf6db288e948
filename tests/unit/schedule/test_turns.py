"""Whose turn it is: priority, fairness, and the patience of a chunk that is passed over."""

from __future__ import annotations

from itertools import pairwise

import pytest

from orchestrator.model import BatchStatus, JobId, Priority
from orchestrator.schedule import messages as m
from tests.unit.schedule.story import EMAIL, Story, chunk


def _run(story: Story, *, until_sent: int, step_ms: int = 5_000, keys: dict[int, list[int]] | None = None) -> list[int]:
    """Let chunks be sent and every batch be finished when it is asked after; return what was sent, in order."""
    sent: list[int] = []
    for _ in range(500):
        commands = [command.split() for command in story.decide() if not command.startswith("wait")]
        if not commands:
            story.now_ms += step_ms
        for word, text, *_ in commands:
            if word == "claims":
                story.claims(int(text), *(keys or {}).get(int(text), ()))
            elif word == "submit":
                sent.append(int(text))
                story.accepted(int(text))
            elif word == "poll":
                story.polled(int(text), BatchStatus.COMPLETE)
            elif word == "collect":
                story.collected(int(text))
        if len(sent) >= until_sent:
            return sent[:until_sent]
    raise AssertionError(f"only {sent} were sent")


def test_a_job_of_higher_priority_goes_first_whenever_it_can():
    story = Story()
    story.job(*map(chunk, range(1, 4)), name="low", priority=Priority.LOW)
    story.job(*map(chunk, range(11, 14)), name="normal")
    story.job(*map(chunk, range(21, 24)), name="high", priority=Priority.HIGH)
    assert _run(story, until_sent=9) == [21, 22, 23, 11, 12, 13, 1, 2, 3]


def test_a_small_job_behind_a_huge_one_is_next():
    story = Story(queue_depth=4)
    story.job(*map(chunk, range(1, 101)), name="huge")
    before = _run(story, until_sent=30)
    assert before == list(range(1, 31))
    story.job(chunk(201), name="small")
    assert 201 in _run(story, until_sent=2)


def test_jobs_of_one_priority_send_the_same_number_of_bytes():
    story = Story()
    story.job(*[chunk(number, body_bytes=9_000_000) for number in range(1, 41)], name="large")
    story.job(*[chunk(number, body_bytes=3_000_000) for number in range(101, 141)], name="small")
    sent = _run(story, until_sent=24)
    assert sum(number > 100 for number in sent) == 18


def test_a_new_job_is_owed_nothing_for_the_time_before_it_came():
    story = Story()
    story.job(*map(chunk, range(1, 41)), name="a")
    _run(story, until_sent=20)
    story.job(*map(chunk, range(101, 141)), name="b")
    sent = _run(story, until_sent=10)
    assert 4 <= sum(number > 100 for number in sent) <= 6


def _shared_out(story: Story, *, until_sent: int = 10) -> int:
    """Return how many of the next turns chunks above 100 take."""
    return sum(number > 100 for number in _run(story, until_sent=until_sent))


def test_what_jobs_of_another_priority_sent_does_not_matter():
    story = Story()
    story.job(*map(chunk, range(1, 41)), name="a")
    story.job(chunk(99), name="low", priority=Priority.LOW)  # its turn never comes
    _run(story, until_sent=20)
    story.job(*map(chunk, range(101, 141)), name="b")
    assert 4 <= _shared_out(story) <= 6


def test_a_job_that_comes_back_is_owed_nothing():
    story = Story()
    story.job(*map(chunk, range(1, 100)), name="a")
    story.job(*map(chunk, range(101, 200)), name="b")
    _run(story, until_sent=10)
    story.tell(m.JobUnwanted(job=JobId("b")))
    assert _shared_out(story, until_sent=40) == 0
    story.job(name="b")
    assert 4 <= _shared_out(story) <= 6


def test_a_job_that_comes_back_owes_nothing():
    story = Story()
    story.job(*map(chunk, range(101, 160)), name="b")
    _run(story, until_sent=20)
    story.tell(m.JobUnwanted(job=JobId("b")))
    story.job(*map(chunk, range(1, 41)), name="a")
    _run(story, until_sent=5)
    story.job(name="b")
    assert 4 <= _shared_out(story) <= 6


@pytest.mark.parametrize("body_bytes", [1_000, 5_000_000, 9_000_000])
def test_jobs_that_keep_coming_do_not_keep_one_waiting_for_ever(body_bytes):
    story = Story()
    story.job(*map(chunk, range(1, 41)), name="a")
    _run(story, until_sent=3)
    sent: list[int] = []
    for number in range(101, 181):
        story.job(chunk(number, body_bytes=body_bytes), name=str(number))
        sent += _run(story, until_sent=1)
    waits = [at for at, number in enumerate(sent) if number <= 40]
    assert waits, "the first job was never sent again"
    assert max(later - earlier for earlier, later in pairwise([0, *waits])) <= 30


def test_a_job_that_could_not_be_sent_for_long_is_owed_two_batches_at_most():
    story = Story()
    story.job(*map(chunk, range(1, 100)), name="a")
    story.job(*map(chunk, range(101, 200)), name="b")
    _run(story, until_sent=10)
    b = story.heart.known.jobs[JobId("b")]
    b.gate.ready_ms = 10**12  # its static list is busy
    assert _shared_out(story, until_sent=40) == 0
    b.gate.ready_ms = 0
    assert 5 <= _shared_out(story) <= 8


RIVALS = {number: [1] for number in range(101, 200)} | {1: list(range(101, 200))}


def _rivals() -> Story:
    """Return a story in which chunk 1 of one job shares a key with every chunk of another."""
    story = Story(queue_depth=2)
    story.job(*map(chunk, range(101, 200)), name="many", space=EMAIL, priority=Priority.HIGH)
    story.job(chunk(1), name="one", space=EMAIL)
    return story


def test_a_chunk_that_is_passed_over_again_and_again_reserves_its_keys():
    sent = _run(_rivals(), until_sent=45, step_ms=1_000, keys=RIVALS)
    assert 20 <= sent.index(1) <= 42  # it takes a while until its keys are known


def test_a_chunk_that_waits_for_long_reserves_its_keys():
    sent = _run(_rivals(), until_sent=30, step_ms=200_000, keys=RIVALS)
    assert sent.index(1) < 20


def _rested(*rests: m.Fact) -> Story:
    """Return a story in which chunk 1 of one job has waited for ten minutes, rests, and could be sent then."""
    story = Story(queue_depth=2, paused_hold_ms=50_000)
    story.job(*map(chunk, (101, 102, 103)), name="many", space=EMAIL, priority=Priority.HIGH)
    story.job(chunk(1), chunk(2), name="one", space=EMAIL)
    for number in (101, 102, 1, 103, 2):
        assert f"claims {number}" in story.decide()  # meanwhile 101 is sent, and not answered
        story.claims(number, *RIVALS.get(number, ()))
    story.accepted(101)
    story.send(102)
    assert "submit 2" in story.finish(101, at_ms=600_000)
    story.accepted(2)
    assert _sends(story, at_ms=610_000) == []  # 103 waits, for 1 reserves its keys
    story.tell(*rests)
    story.polled(102, BatchStatus.COMPLETE)
    return story


def _sends(story: Story, **moment: int) -> list[str]:
    return [command for command in story.decide(**moment) if command.startswith("submit")]


ONE = JobId("one")
PAUSED = m.StopAsked(job=ONE, reason=m.Stop.PAUSED)


@pytest.mark.parametrize("rests", [m.JobUnwanted(job=ONE), PAUSED], ids=["left", "paused"])
def test_keys_stay_reserved_for_a_job_that_rests_but_for_a_while_only(rests):
    story = _rested(rests)
    assert _sends(story, at_ms=659_999) == []
    assert "wait 660000" in story.decide()
    assert _sends(story, at_ms=660_000) == ["submit 103"]


def test_a_job_that_goes_on_in_time_finds_its_keys_reserved():
    story = _rested(m.JobUnwanted(job=ONE))
    story.job(chunk(1), chunk(2), name="one", space=EMAIL)
    assert _sends(story, at_ms=650_000) == ["submit 1"]


def test_a_cancelled_job_reserves_nothing():
    story = _rested(PAUSED, m.StopAsked(job=ONE, reason=m.Stop.CANCELLED))
    assert _sends(story) == ["submit 103"]


def test_what_shares_no_key_with_a_reserved_chunk_goes_on():
    story = _rivals()
    cars = m.Space(entity="custom:car_c", key_field="vin", compared=False)
    story.job(*map(chunk, range(301, 400)), name="others", space=cars, priority=Priority.HIGH)
    sent = _run(story, until_sent=100, step_ms=1_000, keys=RIVALS)
    assert sent[sent.index(1) - 1] > 300


def test_the_halves_of_a_canary_go_in_the_order_of_their_rows_however_it_was_cut():
    story = Story()
    story.job(chunk(1, canary=True, body_bytes=20_000_000), chunk(9, row=2_000, canary=True), space=EMAIL)
    assert "split 1 to 9500000 bytes" in story.decide()
    story.parted(1, chunk(2, row=100), chunk(3, row=150))
    (job,) = story.heart.known.jobs.values()
    assert [c.id for c in job.queue] == [2, 3, 9]
