"""The schedule against a model of Marketo, seed by seed.

``SCHEDULE_SEEDS=5000`` runs more of them; ``SCHEDULE_SEED=17`` replays one and prints what happened.
"""

from __future__ import annotations

import os

import pytest

from tests.unit.schedule.plans import draw
from tests.unit.schedule.world import World

SEEDS = int(os.environ.get("SCHEDULE_SEEDS", "200"))
ONLY = os.environ.get("SCHEDULE_SEED")
PER_TEST = 20
TRACE_SHOWN = 40  # the last steps before a failure


def run(seed: int) -> World:
    world = World(draw(seed), seed)
    try:
        world.run()
    except Exception as error:
        steps = "\n".join(f"{now_ms} {step}" for now_ms, step in world.trace[-TRACE_SHOWN:])
        error.add_note(f"seed {seed}: SCHEDULE_SEED={seed} pytest {__file__}\n{world.plan}\n{steps}")
        raise
    return world


@pytest.mark.parametrize("first", [int(ONLY)] if ONLY else range(0, SEEDS, PER_TEST))
def test_every_invariant_holds_in(first):
    for seed in [first] if ONLY else range(first, min(first + PER_TEST, SEEDS)):
        run(seed)


def test_a_seed_replays_step_by_step():
    assert run(7).trace == run(7).trace
