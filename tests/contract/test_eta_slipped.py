"""A job whose batches get slower says so in its journal, for all who follow it."""

from __future__ import annotations

import asyncio

from orchestrator import Orchestrator
from orchestrator.events import BatchCompleted, EtaSlipped
from tests.contract.test_library import emulated, request, seen

SLOW = [{"on": "batch", "do": "slow_import", "factor": 300.0}]


def test_a_job_whose_batches_get_slower_says_why_it_ends_later(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, running), Orchestrator.open(settings) as orchestrator:
            job = await orchestrator.submit(request(tmp_path, rows=40_000))

            async def told(kind: type) -> list[object]:
                return [event for event in await orchestrator._journal.events(job.id) if isinstance(event, kind)]

            async def foretold() -> bool:
                return len(await told(BatchCompleted)) >= 4

            await seen(foretold)
            running.service.faults.extend(SLOW)
            await seen(lambda: told(EtaSlipped))
            running.service.faults.remove(None)
            (slipped,) = await told(EtaSlipped)
            assert slipped.reason == "slower_batches"
            assert slipped.p50_after_ms > slipped.p50_before_ms
            orchestrator.drain()
            await job.wait()

    asyncio.run(play())
