"""How long batches take, and where they stand in the queue, as far as polls tell."""

from __future__ import annotations

from itertools import accumulate, pairwise

import pytest

from orchestrator.model import BatchStatus
from orchestrator.schedule.pace import Pace
from tests.unit.schedule.story import Story, chunk


def test_what_was_seen_is_expected_in_proportion_to_the_rows():
    pace = Pace()
    assert (pace.knows("person", 1), pace.likely_ms("person", 100)) == (False, 0)
    for _ in range(8):
        pace.note("person", 100, 60_000)
    assert pace.likely_ms("person", 50) == 30_000
    assert pace.is_steady("person", 50)
    assert pace.fast_ms("person", 100) > 40_000
    assert not pace.knows("custom:car_c", 100)


def test_a_small_batch_tells_nothing_of_a_large_one():
    pace = Pace()
    pace.note("person", 1, 5_000)  # one row takes as long as a hundred: a thousand do not take an hour
    assert not pace.knows("person", 1_000)
    assert pace.fast_ms("person", 1_000) == 0
    for _ in range(4):
        pace.note("person", 1_000, 10_000)
    assert pace.likely_ms("person", 1_000) == pytest.approx(10_000, rel=0.2)


def test_batches_that_differ_widely_are_unsteady():
    pace = Pace()
    for took_ms in (12_000, 180_000, 50_000, 130_000, 20_000):
        pace.note("person", 100, took_ms)
    assert pace.is_unsteady("person", 100)
    assert pace.fast_ms("person", 100) < 0.5 * pace.likely_ms("person", 100)


def test_one_batch_that_takes_a_very_different_time_is_chance_and_two_are_not():
    pace = Pace()
    for _ in range(8):
        pace.note("person", 100, 60_000)
    pace.note("person", 100, 600_000)
    assert pace.likely_ms("person", 100) == 60_000
    pace.note("person", 100, 60_000)
    pace.note("person", 100, 600_000)
    assert pace.likely_ms("person", 100) == 60_000
    pace.note("person", 100, 500_000)
    assert pace.likely_ms("person", 100) == 550_000


def test_a_batch_is_looked_after_the_later_and_the_less_often_the_more_were_alike():
    pace = Pace()
    looks = []
    for number in range(100):
        pace.note("person", 100, 600_000)
        looks.append((pace.look_ms("person", 100, 0), pace.look_every("person")))
        assert looks[-1][0] <= 150_000, number
    assert looks == sorted(looks)
    assert (looks[0], looks[-1]) == ((9_375, 1), (150_000, 3))
    assert pace.look_ms("person", 100, 150_000) is None
    assert pace.look_ms("person", 100, 300_000) is None


def test_batches_that_differ_widely_are_looked_after_only_once_several_ended_unseen():
    pace = Pace()
    for took_ms in (12_000, 180_000, 50_000, 130_000, 20_000, 170_000, 30_000, 150_000):
        pace.note("person", 100, took_ms)
    assert pace.is_unsteady("person", 100)
    for _ in range(4):
        assert pace.look_ms("person", 100, 0) is None
        pace.note_unseen("person", 100, 100_000)
    assert pace.look_ms("person", 100, 0) is not None


def _asked(story: Story, until_ms: int, ends_ms: dict[int, int]) -> dict[int, list[int]]:
    """Run a story in which batches end at given times; return when each was asked after."""
    asked: dict[int, list[int]] = {}
    while story.now_ms < until_ms:
        wake_ms = story.now_ms + 3_600_000
        for command in story.decide():
            words = command.split()
            number = int(words[1])
            if words[0] == "wait":
                wake_ms = min(wake_ms, number)  # what was answered before it is news
            elif words[0] == "submit":
                story.now_ms += 1
                story.accepted(number)
                wake_ms = story.now_ms
            elif words[0] == "poll":
                asked.setdefault(number, []).append(story.now_ms)
                done = story.now_ms >= ends_ms[number]
                story.polled(number, BatchStatus.COMPLETE if done else BatchStatus.IMPORTING)
                wake_ms = story.now_ms
            elif words[0] == "collect":
                story.collected(number)
                wake_ms = story.now_ms
            else:
                break
        story.now_ms = max(story.now_ms, wake_ms)
    return asked


def test_steady_batches_are_asked_after_once_when_they_are_likely_to_have_ended():
    story = Story()
    story.job(*map(chunk, range(1, 41)))
    ends_ms = {number: -(-number // 2) * 600_000 for number in range(1, 41)}  # two by two, ten minutes each
    asked = _asked(story, 20 * 600_000, ends_ms)
    later = [asked[number] for number in range(9, 37)]
    assert sum(map(len, later)) <= 1.5 * len(later)
    late_ms = [asked[number][-1] - ends_ms[number] for number in range(9, 37)]
    assert max(late_ms) < 600_000  # then the queue behind it would run dry
    assert sum(late_ms) < 150_000 * len(late_ms)


def test_a_batch_that_others_wait_for_is_asked_after_as_soon_as_it_may_have_ended():
    """With nothing else at Marketo that could keep the importers busy, every second counts."""
    story = Story(queue_depth=1)
    story.job(*map(chunk, range(1, 12)))
    ends_ms = {}
    asked: dict[int, list[int]] = {}
    while len(asked) < 10:
        for command in story.decide():
            word, number, *_ = command.split()
            if word == "submit":
                ends_ms[int(number)] = story.now_ms + 60_000
                story.accepted(int(number))
            elif word == "poll":
                asked.setdefault(int(number), []).append(story.now_ms)
                done = story.now_ms >= ends_ms[int(number)]
                story.polled(int(number), BatchStatus.COMPLETE if done else BatchStatus.IMPORTING)
            elif word == "collect":
                story.collected(int(number))
        story.now_ms += 500
    late_ms = [times[-1] - ends_ms[number] for number, times in asked.items() if number > 6]
    assert sum(late_ms) / len(late_ms) < 6_000
    assert max(len(times) for number, times in asked.items() if number > 6) <= 6


def test_a_batch_like_none_before_it_is_asked_after_however_often_others_are():
    story = Story()
    story.job(chunk(1, rows=100), chunk(2, rows=10_000), *(chunk(number, rows=100) for number in range(3, 61)))
    ends = accumulate((8_000, 70_000, 30_000, 50_000)[number % 4] for number in range(58))
    ends_ms = {
        1: 20_000,
        2: 900_000,
        **dict(enumerate(ends, start=3)),
    }  # of the small ones many polls find one unfinished
    times_ms = _asked(story, 1_000_000, ends_ms)[2]
    late = [later - earlier for earlier, later in pairwise(times_ms) if later - earlier > max(65_000, earlier // 5)]
    assert late == []  # the importers have other work meanwhile
    assert times_ms[-1] < 900_000 + 180_000


def test_the_last_batches_are_asked_after_in_the_configured_interval_however_long_they_last():
    """With nothing left to send, whoever waits for the end of the job waits for the answer."""
    story = Story()
    story.job(*map(chunk, range(1, 7)))
    ends_ms = dict(zip(range(1, 7), (3_000_000, 3_000_000, 6_000_000, 6_000_000, 12_000_000, 12_000_000), strict=True))
    asked = _asked(story, 11_000_000, ends_ms)
    for number in (5, 6):
        times_ms = [at_ms for at_ms in asked[number] if at_ms >= 9_500_000]
        assert max(later - earlier for earlier, later in pairwise(times_ms)) <= 31_000
        assert times_ms[-1] >= 10_969_000


def test_the_longer_others_imports_keep_a_batch_waiting_the_rarer_it_is_asked_after():
    story = Story()
    story.job(chunk(1))
    story.send(1)
    asked_ms: list[int] = []
    while story.now_ms < 7_200_000:
        command = story.decide()[0]
        if command == "poll 1":
            asked_ms.append(story.now_ms)
            story.polled(1, BatchStatus.QUEUED)
        else:
            story.now_ms = int(command.removeprefix("wait "))
    assert len(asked_ms) <= 55
    assert max(later - earlier for earlier, later in pairwise(asked_ms)) <= 300_000
    assert max(later - earlier for earlier, later in pairwise(asked_ms) if later <= 300_000) <= 30_000
