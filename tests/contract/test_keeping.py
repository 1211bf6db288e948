"""Who drives a subscription: taken by force exactly when that was asked for, and again after what passes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from orchestrator import Orchestrator, keeping
from orchestrator.errors import JournalStalled, JournalUnreachable
from orchestrator.journal.values import Lease
from orchestrator.model import Job, JobState
from tests.contract.test_library import emulated, request, seen

BUSY = {"on": "create", "do": "code", "code": "1016"}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(keeping, "LOOK_AGAIN_SECONDS", 0.01)


async def driven(orchestrator: Orchestrator) -> None:
    """Return when a process drives its subscription."""

    async def driver() -> bool:
        return orchestrator._keeper._driver is not None  # nothing else shows it

    await seen(driver)


def counting(monkeypatch, orchestrator: Orchestrator) -> list[bool]:
    """Note of each try to take the subscription whether it is by force."""
    take_over, tries = orchestrator._journal.take_over, []

    async def counted(*which: Any, force: bool, **more: Any) -> Lease:
        tries.append(force)
        return await take_over(*which, force=force, **more)

    monkeypatch.setattr(orchestrator._journal, "take_over", counted)
    return tries


def test_what_is_driven_here_need_not_be_taken_over(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, running), Orchestrator.open(settings) as orchestrator:
            running.service.faults.extend([BUSY])
            job = await orchestrator.submit(request(tmp_path))
            await driven(orchestrator)
            async with asyncio.timeout(20):
                await orchestrator.resume([job.id], take_over=True)
                other = await orchestrator.submit(request(tmp_path, "b"), take_over=True)
            running.service.faults.remove(None)
            assert [(await each.wait()).state for each in (job, other)] == [JobState.COMPLETE] * 2

    asyncio.run(play())


def test_what_was_taken_just_now_is_not_taken_by_force_later(tmp_path, monkeypatch):
    async def play() -> None:
        async with (
            emulated(tmp_path) as (settings, running),
            Orchestrator.open(settings) as first,
            Orchestrator.open(settings) as second,
        ):
            running.service.faults.extend([BUSY])
            salt, asked, go_on = first._journal.salt, asyncio.Event(), asyncio.Event()

            async def slow(host: str) -> bytes:
                asked.set()
                await go_on.wait()
                return await salt(host)

            monkeypatch.setattr(first._journal, "salt", slow)
            await first.submit(request(tmp_path))
            await asked.wait()
            async with asyncio.timeout(20):
                await first._drive(force=True)
            go_on.set()
            await driven(first)
            tries = counting(monkeypatch, first)
            other = await second.submit(request(tmp_path, "b"), take_over=True)

            async def waits() -> bool:
                return len(tries) > 1

            await seen(waits)
            assert not any(tries)
            running.service.faults.remove(None)  # an upload under way may be in doubt now; the other job is not
            assert (await other.wait()).state == JobState.COMPLETE

    with capture_logs():
        asyncio.run(play())


@pytest.mark.parametrize("meanwhile", ["somebody else begins a job", "the journal is away"])
def test_what_is_to_be_taken_by_force_is_whatever_happens_before_it_is(tmp_path, monkeypatch, meanwhile):
    async def play() -> None:
        async with (
            emulated(tmp_path) as (settings, _),
            Orchestrator.open(settings) as first,
            Orchestrator.open(settings) as second,
        ):
            await first._drive()
            await driven(first)
            if meanwhile == "the journal is away":
                take_over, tries = second._journal.take_over, []

                async def once_in_vain(*which: Any, **how: Any) -> Lease:
                    tries.append(how)
                    if len(tries) == 1:
                        raise JournalUnreachable("away")
                    return await take_over(*which, **how)

                monkeypatch.setattr(second._journal, "take_over", once_in_vain)
            async with asyncio.timeout(20):
                await second.connect()
                taking = asyncio.create_task(second._drive(force=True))
                await asyncio.sleep(0)  # it has asked for it, and nothing has happened yet
                if meanwhile == "somebody else begins a job":
                    await second._drive()
                await taking
                await driven(second)

    with capture_logs():
        asyncio.run(play())


def test_a_try_by_force_that_failed_is_not_made_up_for_later(tmp_path, monkeypatch):
    async def play() -> None:
        async with (
            emulated(tmp_path) as (settings, _),
            Orchestrator.open(settings) as first,
            Orchestrator.open(settings) as second,
        ):
            await first._drive()
            await driven(first)

            async def in_vain(*_: Any, **__: Any) -> Lease:
                raise JournalStalled("full")

            with monkeypatch.context() as patch:
                patch.setattr(second._journal, "take_over", in_vain)
                with pytest.raises(JournalStalled):
                    await second._drive(force=True)
            tries = counting(monkeypatch, second)
            await second._drive()

            async def looked() -> bool:
                return bool(tries)

            await seen(looked)
            assert not any(tries)

    with capture_logs():
        asyncio.run(play())


def test_a_job_behind_another_one_does_not_begin_because_the_journal_stalls(tmp_path, monkeypatch):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, running), Orchestrator.open(settings) as orchestrator:
            running.service.faults.extend([BUSY])
            first = await orchestrator.submit(request(tmp_path))
            ask, asked = orchestrator._journal.job, []

            async def once_in_vain(job_id: str) -> Job:
                asked.extend([job_id] * (job_id == first.id))
                if len(asked) == 2:  # the driver; the first one is whoever submits
                    raise JournalStalled("it took too long")
                return await ask(job_id)

            monkeypatch.setattr(orchestrator._journal, "job", once_in_vain)
            later = await orchestrator.submit(replace(request(tmp_path, "b"), after=first.id))
            with pytest.raises(JournalStalled):
                await later.wait()
            resumed = await orchestrator.resume([first.id, later.id])
            running.service.faults.remove(None)
            assert [(await job.wait()).state for job in resumed.jobs] == [JobState.COMPLETE] * 2
            before, behind = [(await job.status()).chunks for job in resumed.jobs]
            assert max(each.completed_ms or 0 for each in before) <= min(each.submitted_ms or 0 for each in behind)

    with capture_logs():
        asyncio.run(play())


def test_after_a_fault_the_same_process_goes_on_with_what_it_waited_for(tmp_path, monkeypatch):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, _), Orchestrator.open(settings) as orchestrator:
            recall, faults = orchestrator._journal.learned_cap, [JournalStalled("the disk is full")]

            async def once_in_vain(host: str) -> Any:
                if faults:
                    raise faults.pop()
                return await recall(host)

            monkeypatch.setattr(orchestrator._journal, "learned_cap", once_in_vain)
            job = await orchestrator.submit(request(tmp_path))
            with pytest.raises(JournalStalled):
                await job.wait()
            resumed = await orchestrator.resume()
            assert ([each.id for each in resumed.jobs], resumed.skipped) == ([job.id], ())
            assert (await job.wait()).state == JobState.COMPLETE

    with capture_logs():
        asyncio.run(play())
