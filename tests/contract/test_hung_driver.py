"""A driver that hangs, or was stopped: whoever waits for it is told so, and what to do."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from random import Random

import aiohttp

from orchestrator import Orchestrator
from orchestrator.cli.showing import status_lines
from orchestrator.clock import SystemClock
from orchestrator.doctor import Mark, examine
from orchestrator.journal.journal import Journal
from orchestrator.journal.location import locate
from orchestrator.journal.lock import lock_path
from orchestrator.model import JobState, Phase
from tests.contract.test_library import emulated, request, seen

HELD = {"on": "batch", "nth": 1, "do": "delay_start", "ms": 36_000_000}  # whatever is queued waits behind it
OLD = (1_000_000_000, 1_000_000_000)


def test_a_driver_that_does_nothing_is_named_with_the_command_that_takes_its_place(tmp_path):
    clock = SystemClock()

    async def play() -> None:
        async with emulated(tmp_path) as (settings, running), Orchestrator.open(settings) as waiting:
            running.service.faults.extend([HELD])
            job = await waiting.submit(request(tmp_path, rows=600))
            host, journal = (await job.job()).host, locate(settings.journal_url)
            assert isinstance(journal, Path)

            async def sent() -> bool:
                return any(chunk.phase is Phase.SUBMITTED for chunk in (await job.status()).chunks)

            await seen(sent)
            assert (await job.prospect()).hung is None
            # One that takes the subscription and then does nothing at all.
            async with Journal.open(settings.journal_url, now_ms=clock.now_ms) as stopped:
                await stopped.take_over(host, force=True)
                os.utime(lock_path(journal, host, 1), OLD)

                async def overtaken() -> bool:
                    return job.overtaken() == 1

                await seen(overtaken)
                async with Orchestrator.open(settings) as other:
                    handle = other.handle(job.id)
                    status = await handle.status()
                    assert status.prospect.hung is not None
                    lines = status_lines(status, " --x", now_ms=clock.now_ms())
                    (driver,) = [line for line in lines if line.startswith("  driver")]
                    assert f"process {os.getpid()} drives, but has done nothing for" in driver
                    assert "orchestrator resume --take-over --x takes its place" in driver
                    assert lines[-1] == "Next: orchestrator resume --take-over --x"
                    ((_, why),) = (await other.resume()).skipped
                    assert "has done nothing for" in why
                    assert "orchestrator resume --take-over takes its place" in why
                    checks = {check.name: check async for check in examine(settings, None, clock=clock, rng=Random(1))}
                    assert (checks["driver"].mark, "--take-over" in checks["driver"].advice) == (Mark.WARN, True)
                    await other.resume(take_over=True)
                    os.utime(lock_path(journal, host, 2), OLD)

                    async def drives() -> bool:
                        return (await handle.prospect()).hung is None

                    await seen(drives)  # for one that drives says so all the time
                    async with aiohttp.ClientSession() as session:
                        await session.post(f"{running.url}/_emulator/skip", json={"ms": 72_000_000})
                    assert (await handle.wait()).state is JobState.COMPLETE

    asyncio.run(play())
