"""The figures that are promised of the queue hold in the benchmark's worlds, which are the same on every machine."""

from __future__ import annotations

import pytest

from bench import queue
from bench.queue_peers import heart, ten_at_a_time
from bench.queue_world import run
from orchestrator.schedule.state import Limits

# By the draws behind the first, batches that differ widely look alike for a while.
DRAWN = [(list(dict.fromkeys(map(draw, (0, 29, 124, 185)))), demands) for draw, demands in queue._worlds()]
WORLDS = [worlds[0] for worlds, _ in DRAWN]


@pytest.mark.parametrize(("worlds", "demands"), DRAWN, ids=[world.name for world in WORLDS])
def test_both_importers_are_busy_with_few_calls_and_few_slots(worlds, demands):
    rows = list(queue._rows(worlds, queue.OURS, heart(Limits()), demands))
    assert [f"{row.figure} is {row.judged}, not {row.demanded}" for row in rows if not row.met] == []


@pytest.mark.parametrize("world", WORLDS, ids=[world.name for world in WORLDS])
def test_no_more_slots_than_there_are(world):
    for depth in (None, 1, 3):
        result = run(world, heart(Limits(queue_depth=depth)))
        assert result.held_max <= (depth or 10)


def test_what_people_write_when_they_begin_asks_twenty_times_as_often():
    assert run(WORLDS[0], ten_at_a_time).calls_per_batch > 40
