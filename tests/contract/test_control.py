"""Wishes about jobs, given through the library to whichever orchestrator drives them."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import aiohttp
import pytest

from orchestrator import Orchestrator, control, driver, finishing
from orchestrator.cli.following import Followed
from orchestrator.events import Event, JobFinished
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
            known = await other.handle(job.id).status()
            assert known.attended
            assert known.driver is not None
            assert known.driver.pid == os.getpid()
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
            assert [finding.kind for finding in summary.findings] == ["stop_asked", "resumed"]
            ended = await job.status()
            assert (ended.attended, ended.driver) == (False, None)
            told: list[Event] = []
            await Followed(job, flags="").watch(told.append)
            assert "job.stop_asked" not in [event.name for event in told]

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


@pytest.mark.parametrize("change", ["cancel", "resume", "pause"])
def test_a_wish_that_comes_while_a_jobs_end_is_written_is_heeded(tmp_path, monkeypatch, change):
    write, writing, go_on = finishing.report_job, asyncio.Event(), asyncio.Event()

    async def slow(*known: Any) -> None:
        writing.set()
        await go_on.wait()
        await write(*known)

    async def play() -> None:
        async with (
            emulated(tmp_path) as (settings, running),
            Orchestrator.open(settings) as driving,
            Orchestrator.open(settings) as other,
        ):
            running.service.faults.extend([{"on": "create", "do": "code", "code": "1016"}])
            job = await driving.submit(request(tmp_path, rows=600))
            await other.pause(job.id)
            await writing.wait()
            running.service.faults.remove(None)
            if change == "cancel":
                assert (await other.cancel(job.id)).changed
            else:
                await other.resume([job.id])
            if change == "pause":
                assert (await other.pause(job.id, "look")).changed
            go_on.set()
            summary = await job.wait()
            told = [event.state async for event in job.events() if isinstance(event, JobFinished)]
            assert told == [summary.state]  # no other end was ever told
            ended = await journalled(other, job.id)
            if change == "resume":
                assert (summary.state, summary.rows.accepted) == (JobState.COMPLETE, 600)
            elif change == "cancel":
                assert (summary.state, summary.rows.unsent) == (JobState.CANCELLED, 600)
                assert {chunk.phase for chunk in (await job.status()).chunks} == {Phase.CANCELLED}
            else:
                assert (ended.state, ended.wish_reason) == (JobState.PAUSED, "look")
            assert not driving._holds.all

    monkeypatch.setattr(finishing, "report_job", slow)
    asyncio.run(play())


def test_a_wish_about_a_job_that_changed_since_it_was_read_is_made_of_what_it_is_now(tmp_path):
    async def play() -> None:
        async with (
            emulated(tmp_path) as (settings, running),
            Orchestrator.open(settings) as driving,
            Orchestrator.open(settings) as other,
        ):
            running.service.faults.extend([{"on": "create", "do": "code", "code": "1016"}])
            job = await driving.submit(request(tmp_path))
            running_still = await journalled(other, job.id)
            await other.pause(job.id)
            assert (await job.wait()).state is JobState.PAUSED
            await other._control.cancel(running_still, None)
            assert (await job.wait()).state is JobState.CANCELLED
            assert not (await other._control.pause(running_still, None)).changed
            assert (await journalled(other, job.id)).wish is Wish.CANCEL

    asyncio.run(play())


@pytest.mark.parametrize("then", ["resume", "cancel"])
def test_a_job_that_died_while_its_files_were_read_is_paused_at_once_and_goes_on_from_there(tmp_path, then):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, running), Orchestrator.open(settings) as orchestrator:
            running.service.faults.extend([{"on": "describe", "do": "slow", "ms": 1_000_000, "nth": 1}])
            submitting = asyncio.create_task(orchestrator.submit(request(tmp_path)))
            await seen(orchestrator.jobs)
            submitting.cancel()
            await asyncio.wait([submitting])
            (known,) = await orchestrator.jobs()
            asked = await orchestrator.pause(known.id)
            assert (asked.changed, asked.job.state, asked.heeded, asked.unsent) == (True, JobState.PAUSED, True, 0)
            assert (await orchestrator.resume()).jobs == (), "it waits for its name"
            if then == "cancel":
                assert (await orchestrator.cancel(known.id)).job.state is JobState.CANCELLED
                return
            (job,) = (await orchestrator.resume([known.id])).jobs
            summary = await job.wait()
            assert (summary.state, summary.rows.accepted) == (JobState.COMPLETE, 60)

    asyncio.run(play())


@pytest.mark.parametrize("wish", list(Wish))
def test_what_is_told_to_be_unsent_is_told_when_nothing_more_is_sent(tmp_path, monkeypatch, wish):
    monkeypatch.setattr(driver, "LOOK_FOR_JOBS_MS", 200)  # time enough to send a lot, after the wish

    async def play() -> None:
        async with (
            emulated(tmp_path) as (settings, _),
            Orchestrator.open(settings) as driving,
            Orchestrator.open(settings) as other,
        ):
            job = await driving.submit(request(tmp_path, rows=6_000))

            async def sent() -> bool:
                return any(chunk.phase is Phase.DONE for chunk in (await job.status()).chunks)

            await seen(sent)
            asked = await (other.pause(job.id) if wish is Wish.PAUSE else other.cancel(job.id))
            assert asked.answered
            assert asked.unsent
            assert (await job.wait()).rows.unsent == asked.unsent
            again = await (other.pause(job.id) if wish is Wish.PAUSE else other.cancel(job.id))
            assert (again.answered, again.unsent) == (True, asked.unsent)

    asyncio.run(play())


def test_a_driver_that_does_not_answer_is_told_of(tmp_path, monkeypatch):
    monkeypatch.setattr(control, "ANSWERED_WITHIN_S", 0.01)
    monkeypatch.setattr(driver.Driver, "_answer", no_answer)

    async def play() -> None:
        async with (
            emulated(tmp_path) as (settings, running),
            Orchestrator.open(settings) as driving,
            Orchestrator.open(settings) as other,
        ):
            running.service.faults.extend([HELD])
            job = await driving.submit(request(tmp_path, rows=600))
            assert not (await other.cancel(job.id)).answered

    asyncio.run(play())


async def no_answer(_: object) -> None:
    """Say nothing."""
