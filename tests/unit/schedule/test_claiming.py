"""In which order claims are computed, how many are held, and that nobody waits for ever for lack of them."""

from __future__ import annotations

from orchestrator.model import JobId, OnUnknown, Priority
from orchestrator.schedule.state import Limits
from tests.unit.schedule.story import EMAIL, Story, chunk


def many(jobs: int, *, first: int = 1, **options: Priority) -> Story:
    """Return a story of jobs of 20 chunks each, numbered from 100 for the first job, from 200 for the second."""
    story = Story()
    for number in range(first, first + jobs):
        story.job(*(chunk(100 * number + place) for place in range(20)), name=str(number), space=EMAIL, **options)
    return story


def computed(story: Story, *, most: int = 10_000, keys: dict[int, list[int]] | None = None) -> list[int]:
    """Have claims computed as long as more are wanted, and nothing else; return of which chunks."""
    done: list[int] = []
    story.decide()
    while (number := story.heart.known.claiming) is not None and len(done) < most:
        done.append(number)
        story.claims(number, *(keys or {}).get(number, ()))
        story.decide()
    return done


def test_every_job_has_its_first_chunk_looked_at_before_the_second_of_any():
    firsts = [100 * number for number in range(1, 21)]
    assert computed(many(20), most=40)[:20] == firsts


def test_the_jobs_are_looked_at_in_the_order_of_their_turns():
    story = many(3, priority=Priority.LOW)
    story.job(chunk(1), chunk(2), name="normal", space=EMAIL)
    story.job(chunk(11), chunk(12), name="high", space=EMAIL, priority=Priority.HIGH)
    assert computed(story, most=6) == [11, 12, 1, 100, 200, 300]  # 11 is sent meanwhile


def test_so_many_are_held_ahead_and_no_more():
    story = many(20)
    done = computed(story)  # the first upload is not answered
    assert len(done) == 21 + Limits().claims_ahead_max  # one is under way, so another chunk of its job is the first


def test_a_job_that_comes_late_has_its_first_chunk_looked_at_at_once():
    story = many(20)
    computed(story)
    story.job(chunk(1), chunk(2), name="high", space=EMAIL, priority=Priority.HIGH)
    assert computed(story) == [1]
    story.accepted(100)
    assert "submit 1" in story.decide()


def test_a_job_whose_first_chunk_is_cut_has_the_first_part_looked_at_at_once():
    story = many(20)
    computed(story)
    story.job(chunk(1, body_bytes=12_000_000), chunk(2), name="large", space=EMAIL)
    assert "split 1 to 9500000 bytes" in story.decide()
    story.parted(1, chunk(3, row=100, rows=50), chunk(4, row=150, rows=50))
    assert computed(story) == [3]


OF_ITS_OWN = {number: [1] for number in range(2, 18)}  # job's chunks, all share a key with the one in doubt


def first_lost() -> Story:
    """Return a story of a job whose first answer is lost, and its user wants to decide what becomes of it."""
    story = Story()
    story.job(*map(chunk, range(1, 18)), name="held", space=EMAIL, on_unknown=OnUnknown.HOLD, priority=Priority.LOW)
    computed(story, most=1)
    story.lost(1)
    return story


def stuck_behind_it(story: Story) -> dict[int, list[int]]:
    """Let six jobs of 16 chunks come that all share a key with the chunk in doubt; return which share one."""
    numbers = [100 * number + place for number in range(1, 7) for place in range(16)]
    for first in range(100, 700, 100):
        story.job(*(chunk(number) for number in numbers if first <= number < first + 100), name=str(first), space=EMAIL)
    return {number: [1] for number in numbers}


def test_a_job_is_looked_at_further_than_the_limit_if_nothing_before_it_can_be_sent():
    story = first_lost()
    keys = stuck_behind_it(story)
    story.job(chunk(1001), chunk(1002), name="late", space=EMAIL, priority=Priority.LOW)
    done = computed(story, keys=keys | OF_ITS_OWN | {1001: [1]})
    assert {*keys, 1001, 1002} <= {*done}
    assert "submit 1002 after 5000 of transient" in story.decide(at_ms=10_000)


def test_a_job_that_waits_for_its_user_ends_whatever_the_others_hold():
    story = first_lost()
    computed(story, keys=stuck_behind_it(story) | OF_ITS_OWN)
    assert story.heart.known.jobs[JobId("held")].finishing


def test_behind_a_job_that_can_be_sent_nobody_is_looked_at_further():
    story = first_lost()
    story.job(*(chunk(number) for number in range(901, 917)), name="high", space=EMAIL, priority=Priority.HIGH)
    done = computed(story, keys=stuck_behind_it(story) | {2: [1]})
    assert len(done) == 8 + Limits().claims_ahead_max


def test_the_room_that_a_job_leaves_by_its_end_is_others_at_once():
    story = Story(claims_ahead_max=1)
    options = {"on_unknown": OnUnknown.HOLD, "priority": Priority.HIGH}
    story.job(chunk(1), chunk(2), chunk(3), name="held", space=EMAIL, **options)
    computed(story, most=1)
    story.lost(1)
    story.job(chunk(11), chunk(12), name="other", space=EMAIL)
    for number, conflicts in ((2, [1]), (11, []), (3, [1])):
        assert story.heart.known.claiming == number
        story.claims(number, *conflicts)
        told = story.decide()
    assert told[:2] == ["finish held held", "claims 12"]
    assert story.decide() == told[2:]  # each is told once
