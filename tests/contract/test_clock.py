"""Clocks that were set back, or are behind those of other machines: time goes on from what the journal has."""

from __future__ import annotations

import asyncio

from orchestrator import Orchestrator
from orchestrator.clock import SystemClock
from tests.contract.test_library import emulated, journalled, request

HOUR_MS = 3_600_000


class Ahead(SystemClock):
    """A clock that is an hour ahead of all others."""

    def now_ms(self) -> int:
        return super().now_ms() + HOUR_MS

    def wall_ms(self) -> int:
        return super().wall_ms() + HOUR_MS


def test_a_clock_that_was_set_back_goes_on_from_the_newest_time_in_the_journal(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, _):
            async with Orchestrator.open(settings, clock=Ahead()) as orchestrator:
                before = await orchestrator.submit(request(tmp_path))
                await before.wait()
            async with Orchestrator.open(settings) as orchestrator:
                job = await orchestrator.submit(request(tmp_path, "b"))
                finished_ms = (await journalled(orchestrator, before.id)).finished_ms
                assert (await journalled(orchestrator, job.id)).created_ms >= finished_ms
                await job.wait()

    asyncio.run(play())


def test_whoever_takes_over_goes_on_from_the_newest_time_in_the_journal(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, _), Orchestrator.open(settings) as later:
            async with Orchestrator.open(settings, clock=Ahead()) as orchestrator:
                before = await orchestrator.submit(request(tmp_path))
                await before.wait()
            job = await later.submit(request(tmp_path, "b"))
            await job.wait()
            finished_ms = (await journalled(later, before.id)).finished_ms
            assert all(chunk.submitted_ms >= finished_ms for chunk in (await job.status()).chunks)

    asyncio.run(play())
