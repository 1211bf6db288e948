"""An import queue that others fill: what a job tells of it."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator import Leads, Orchestrator, crowding
from orchestrator.model import JobState
from tests.contract.test_library import emulated, request, seen

TODAY = "2026-06-10"


@pytest.mark.parametrize("others", [{}, {"crm@example.com": 2, "web@example.com": 3}])
def test_a_queue_full_of_others_imports_is_told_once_with_who_called_most(tmp_path, monkeypatch, others):
    async def play() -> None:
        monkeypatch.setattr(crowding, "TAKEN_MS", 20)
        for name in ("crowding.quota_day", "driver.quota_day", "emulator.limits.central_day"):
            monkeypatch.setattr(f"orchestrator.{name}", lambda _: TODAY)
        async with emulated(tmp_path) as (settings, running):
            running.service.engine.limits._today(0).update(others)
            full = {"on": "create", "do": "occupy", "slots": 10, "duration_ms": 100_000}
            running.service.faults.extend([full])
            async with Orchestrator.open(settings) as orchestrator:
                for _ in range(5):
                    await orchestrator.describe(Leads())  # our own calls are more
                job = await orchestrator.submit(request(tmp_path))

                async def told() -> object:
                    return (await job.status()).findings

                await seen(told)
                running.service.faults.remove(None)
                summary = await job.wait()
                assert (summary.state, summary.rows.accepted) == (JobState.COMPLETE, 60)
                (finding,) = summary.findings
                assert finding.kind == "queue_taken"
                assert ("web@example.com made the most calls today, 3:" in finding.message) is bool(others)
                assert ("most calls" in finding.message) is bool(others)

    asyncio.run(play())
