"""A job is cancelled with an answer lost, the process ends, and the corrected file is imported by the next one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from orchestrator.app import Orchestrator
from orchestrator.model import JobState, Leads, OnUnknown
from tests.e2e.holdings import HOLDINGS
from tests.simulation.kit import Loop, simulate
from tests.simulation.plans import HOUR_MS, Life, Plan, Row, SimJob
from tests.simulation.world import World

ROWS = 60


class Corrected(World):
    """A world whose first life cancels the first job, and whose second life imports the second one."""

    async def _see_to(self, orchestrator: Orchestrator, number: int) -> None:
        if self.living is not None and number == 0:
            await (await self._begin(orchestrator, 0)).wait()
            await orchestrator.cancel(self.ids[0])
            job = await orchestrator.job(self.ids[0])
            assert (await job.wait()).state == JobState.CANCELLED
            self.living[0].kill()
        elif self.living is None and number == 1:
            await (await self._begin(orchestrator, 1)).wait()


def _job(value: str) -> SimJob:
    rows = tuple(Row(key=f"p{number}@ours.example", value=f"{value}{number}", number="7") for number in range(ROWS))
    return SimJob(target=Leads(), sources=(rows,), starts_ms=0, on_unknown=OnUnknown.HOLD)


def test_what_was_in_doubt_and_what_corrects_it_are_never_imported_together(tmp_path: Path) -> None:
    plan = Plan(
        seed=2,
        jobs=(_job("wrong"), _job("right")),
        lives=(Life(killed_by_upload=99, dead_ms=1_000),),
        troubles=({"on": "create", "nth": 1, "do": "lose_answer_after_accept"},),
        refused=0.0,
        occupations=(),
        heals_ms=HOUR_MS,
        emulator={"seed": 1, "rows_per_second": 0.05, "start_delay_ms_min": 0, "start_delay_ms_max": 0, **HOLDINGS},
        body_bytes_max=5_000,
    )

    async def play(loop: Loop) -> Any:
        return await Corrected(plan, tmp_path, loop).run()

    seen = simulate(2, play)
    found = Counter(record["values"]["email"] for record in seen.records["leads"])
    assert found == {f"p{number}@ours.example": 1 for number in range(ROWS)}
    assert {record["values"]["firstName"] for record in seen.records["leads"]} == {f"right{n}" for n in range(ROWS)}
