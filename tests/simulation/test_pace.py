"""Marketo becomes much faster while the whole program imports, and both importers get work again soon."""

from __future__ import annotations

from pathlib import Path

from orchestrator.model import Leads
from tests.e2e.holdings import HOLDINGS
from tests.simulation.invariants import supplied_share
from tests.simulation.kit import simulate
from tests.simulation.plans import HOUR_MS, Plan, Row, SimJob
from tests.simulation.world import World

BATCHES = 80
BATCH_ROWS = 5


def test_the_importers_have_work_soon_after_marketo_has_become_twenty_times_as_fast(tmp_path: Path) -> None:
    rows = tuple(
        Row(key=f"p{number}@ours.example", value=f"v{number}", number="7") for number in range(BATCHES * BATCH_ROWS)
    )
    pace = {"rows_per_second": BATCH_ROWS / 30, "jitter": 0.0, "start_delay_ms_min": 0, "start_delay_ms_max": 0}
    plan = Plan(
        seed=4,
        jobs=(SimJob(target=Leads(), sources=(rows,), starts_ms=0),),
        lives=(),
        troubles=({"on": "batch", "do": "slow_import", "factor": 20.0, "times": 12},),
        refused=0.0,
        occupations=(),
        heals_ms=24 * HOUR_MS,
        emulator={"seed": 4, **pace, **HOLDINGS},
        rows_per_chunk_max=BATCH_ROWS,
        body_bytes_max=100_000,
    )
    seen = simulate(4, lambda loop: World(plan, tmp_path, loop).run())
    assert len(seen.uploads) == BATCHES
    assert supplied_share(seen) >= 0.97
