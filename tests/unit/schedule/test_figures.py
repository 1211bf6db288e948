"""The figures that are promised of the queue hold in the benchmark's worlds, which are the same on every machine."""

from __future__ import annotations

from random import Random

import pytest

from bench import queue
from bench.queue_peers import heart, ten_at_a_time
from bench.queue_world import World, run
from orchestrator.schedule.state import Limits

# By the draws behind the first, batches that differ widely look alike for a while.
DRAWN = [(list(dict.fromkeys(map(draw, (0, 29, 124, 185)))), demands) for draw, demands in queue._worlds()]
WORLDS = [worlds[0] for worlds, _ in DRAWN]


@pytest.mark.parametrize(("worlds", "demands"), DRAWN, ids=[world.name for world in WORLDS])
def test_both_importers_are_busy_with_few_calls_and_few_slots(worlds, demands):
    rows = list(queue._rows(worlds, queue.OURS, heart(Limits()), demands))
    assert [f"{row.figure} is {row.judged}, not {row.demanded}" for row in rows if not row.met] == []


@pytest.mark.parametrize("seconds", [901, 1_200, 3_000, 3_601])
def test_batches_cost_hardly_more_calls_the_longer_they_last(seconds):
    alike = run(queue._even("alike", 1_000 * seconds), heart(Limits()))
    assert alike.calls_per_batch <= 2.55
    assert alike.held_mean <= 5
    rng = Random(seconds)
    durations_ms = [round(1_000 * seconds * rng.uniform(0.2, 3)) for _ in range(200)]
    unlike = run(World(name="unlike", pieces=queue._job(durations_ms)), heart(Limits()))
    assert unlike.calls_per_batch <= 7
    assert min(alike.utilisation, unlike.utilisation) >= 0.99


@pytest.mark.parametrize("world", WORLDS, ids=[world.name for world in WORLDS])
def test_no_more_slots_than_there_are(world):
    for depth in (None, 1, 3):
        result = run(world, heart(Limits(queue_depth=depth)))
        assert result.held_max <= (depth or 10)


def test_what_people_write_when_they_begin_asks_twenty_times_as_often():
    assert run(WORLDS[0], ten_at_a_time).calls_per_batch > 40
