"""Wishes about jobs, given through the library to whichever orchestrator drives them."""

from __future__ import annotations

import asyncio

import aiohttp

from orchestrator import Orchestrator
from orchestrator.model import ExitCode, JobState, Phase, Wish
from tests.contract.test_library import emulated, journalled, request, seen

HELD = {"on": "batch", "nth": 1, "do": "delay_start", "ms": 36_000_000}  # whatever is queued waits behind it


def test_a_pause_that_is_taken_back_before_it_took_effect_leaves_the_job_going(tmp_path):
    async def play() -> None:
        async with (
            emulated(tmp_path) as (settings, running),
            Orchestrator.open(settings) as driving,
            Orchestrator.open(settings) as other,
        ):
            running.service.faults.extend([HELD])
            job = await driving.submit(request(tmp_path, rows=600))

            async def sent() -> bool:
                return any(chunk.phase is Phase.SUBMITTED for chunk in (await job.status()).chunks)

            async def stopping() -> bool:
                return job.id in driving._keeper._driver._heeded

            async def going() -> bool:
                return not driving._keeper._driver._heeded

            await seen(sent)
            asked = await other.pause(job.id, "wait")
            assert (asked.changed, asked.job.wish, asked.job.wish_reason) == (True, Wish.PAUSE, "wait")
            await seen(stopping)
            await driving.resume([job.id])
            await seen(going)
            async with aiohttp.ClientSession() as session:
                await session.post(f"{running.url}/_emulator/skip", json={"ms": 72_000_000})
            summary = await job.wait()
            assert (summary.state, summary.exit_code) == (JobState.COMPLETE, ExitCode.OK)
            assert (await journalled(other, job.id)).wish is None

    asyncio.run(play())


def test_a_job_in_the_middle_of_its_plan_is_paused_before_anything_of_it_is_sent(tmp_path, monkeypatch):
    from orchestrator import intake

    prepare, paused = intake.Intake.prepare, asyncio.Event()

    async def slow(self: intake.Intake, *known: object, **more: object) -> intake.Prepared:
        await paused.wait()
        return await prepare(self, *known, **more)  # type: ignore[arg-type]

    async def play() -> None:
        async with (
            emulated(tmp_path) as (settings, _),
            Orchestrator.open(settings) as driving,
            Orchestrator.open(settings) as other,
        ):
            monkeypatch.setattr(intake.Intake, "prepare", slow)
            submitting = asyncio.create_task(driving.submit(request(tmp_path)))
            await seen(other.jobs)
            (known,) = await other.jobs()
            assert (await other.pause(known.id)).job.state is JobState.PLANNING
            paused.set()
            summary = await (await submitting).wait()
            assert (summary.state, summary.exit_code) == (JobState.PAUSED, ExitCode.INTERRUPTED)
            assert summary.rows.unsent == 60
            cancelled = await other.cancel(known.id)
            assert not cancelled.importing
            summary = await (await other.job(known.id)).wait()
            assert (summary.state, summary.rows.unsent) == (JobState.CANCELLED, 60)

    asyncio.run(play())
