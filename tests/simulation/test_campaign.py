"""Worlds drawn from seeds, each lived through from the first submission to the last report."""

import os

import pytest

from tests.simulation import campaign

# A process that is killed closes nothing; its open files are the system's to close.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "20"))
TROUBLED = 7  # a seed with crashes and faults


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_world_keeps_every_invariant(seed: int) -> None:
    campaign.check(seed)


def test_a_world_repeats_exactly() -> None:
    assert campaign.run(TROUBLED).trace == campaign.run(TROUBLED).trace
