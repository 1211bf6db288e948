"""A job whose batches get slower says so in its journal, for all who follow it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TypeVar

from orchestrator import Orchestrator
from orchestrator.events import BatchCompleted, EtaForetold, EtaSlipped
from orchestrator.model import Priority
from tests.contract.test_library import emulated, request, seen

T = TypeVar("T")


def slow(factor: float) -> list[dict[str, object]]:
    return [{"on": "batch", "do": "slow_import", "factor": factor}]


def test_a_job_whose_batches_get_slower_says_why_it_ends_later(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, running), Orchestrator.open(settings) as orchestrator:
            job = await orchestrator.submit(request(tmp_path, rows=40_000))

            async def told(kind: type) -> list[object]:
                return [event for event in await orchestrator._journal.events(job.id) if isinstance(event, kind)]

            async def foretold() -> bool:
                return len(await told(BatchCompleted)) >= 4

            await seen(foretold)
            running.service.faults.extend(slow(30_000.0))
            await seen(lambda: told(EtaSlipped))
            running.service.faults.remove(None)
            (slipped,) = await told(EtaSlipped)
            assert slipped.reason == "slower_batches"
            assert slipped.p50_after_ms > slipped.p50_before_ms
            orchestrator.drain()
            await job.wait()

    asyncio.run(play())


def test_a_job_that_lets_another_go_first_says_so(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, running), Orchestrator.open(settings) as orchestrator:
            running.service.faults.extend(slow(300.0))
            job = await orchestrator.submit(request(tmp_path, rows=6_000))

            async def told(kind: type) -> list[object]:
                return [event for event in await orchestrator._journal.events(job.id) if isinstance(event, kind)]

            async def foretold() -> bool:
                return len(await told(BatchCompleted)) >= 5

            await seen(foretold)
            eta = (await job.prospect()).eta
            assert eta is not None
            await orchestrator.submit(replace(request(tmp_path, "urgent", rows=60_000), priority=Priority.HIGH))
            await seen(lambda: told(EtaSlipped))
            (slipped,) = await told(EtaSlipped)
            assert slipped.reason == "other_jobs"
            later = (await job.prospect()).eta
            assert later is not None
            assert later.p50_ms > eta.p50_ms + 60_000
            assert later.basis.endswith(", beside 1 other job")
            orchestrator.drain()
            running.service.faults.remove(None)

    asyncio.run(play())


def test_a_slip_over_a_restart_is_told(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, running):
            async with Orchestrator.open(settings) as orchestrator:
                job = await orchestrator.submit(request(tmp_path, rows=40_000))

                async def told(kind: type[T]) -> list[T]:
                    return [each for each in await orchestrator._journal.events(job.id) if isinstance(each, kind)]

                await seen(lambda: told(EtaForetold))
                orchestrator.drain("sigint")
                await job.wait()
                foretold = (await told(EtaForetold))[-1]
            running.service.faults.extend(slow(3_000.0))
            async with Orchestrator.open(settings) as orchestrator:
                (job,) = (await orchestrator.resume()).jobs
                await seen(lambda: told(EtaSlipped))
                running.service.faults.remove(None)
                (slipped,) = await told(EtaSlipped)
                assert slipped.reason == "slower_batches"
                assert foretold.p50_ms <= slipped.p50_before_ms < slipped.p50_after_ms - 60_000
                last = (await told(EtaForetold))[-1]
                assert last.p50_ms == slipped.p50_after_ms
                orchestrator.drain()

    asyncio.run(play())
