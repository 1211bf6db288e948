"""A stranger's batch is never taken for one's own; 1,000 worlds of them with `STRANGERS_SEEDS=1000`."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from tests.simulation import strangers

SEEDS = int(os.environ.get("STRANGERS_SEEDS", "20"))


@pytest.mark.timeout(120 + 10 * SEEDS)  # seconds: a hang is still found when many worlds are asked for
def test_a_strangers_batch_of_as_many_rows_is_never_adopted() -> None:
    seen: Counter[str] = Counter()
    for seed in range(SEEDS):
        seen += strangers.run(seed)
    # The worlds are what they are said to be: some uploads are found again, some cannot be, strangers are everywhere.
    assert seen["adopted"] >= SEEDS // 4
    assert seen["resent"] >= SEEDS // 4
    assert seen["strangers"] >= 5 * SEEDS
