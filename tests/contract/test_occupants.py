"""What ended jobs, and jobs of another state directory, have at Marketo: it takes slots, and its keys are taken."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from orchestrator import ImportRequest, Orchestrator, Settings
from orchestrator.emulator.app import Running
from orchestrator.journal.changes import ChunkChanged
from orchestrator.model import JobState, OnUnknown, Phase
from tests.contract.test_homes import changed
from tests.contract.test_library import emulated, journalled, request, seen

HELD = {"on": "batch", "do": "delay_start", "ms": 360_000_000}  # until the world is told that time has passed
HOUR_MS = 3_600_000
LOST = {"on": "create", "nth": 1, "do": "lose_answer_after_accept"}


async def waits(orchestrator: Orchestrator, job_id: str) -> None:
    """Look until the keys of a job's first chunk are known to be taken."""

    async def known() -> bool:
        driver: Any = orchestrator._keeper._driver  # nothing else shows it
        job = None if driver is None else driver._scheduler.known.jobs.get(job_id)
        return job is not None and all(chunk.conflicts for chunk in job.queue) and bool(job.queue)

    await seen(known)
    orchestrator._keeper._driver.look()


def corrected(asked: ImportRequest) -> ImportRequest:
    """Ask for the same people with other values."""
    before = Path(asked.sources[0])
    path = before.with_name("corrected.csv")
    path.write_text(before.read_text(encoding="utf-8").replace(",N", ",M"), encoding="utf-8")
    return ImportRequest(sources=[path], out_dir=path.with_name("out-corrected"))


def sent(running: Running) -> list[int]:
    return [create["batch_id"] for create in running.service.engine.creates if create["batch_id"]]


async def cancelled_in_doubt(settings: Settings, running: Running, asked: ImportRequest, *, driven: bool) -> str:
    """Leave a cancelled job behind whose only batch is at Marketo without anybody knowing; return its id."""
    running.service.faults.extend([LOST, HELD])
    async with Orchestrator.open(settings) as orchestrator:
        job = await orchestrator.submit(replace(asked, on_unknown=OnUnknown.RESUBMIT))

        async def lost() -> bool:
            return any(chunk.phase is Phase.UNKNOWN for chunk in (await job.status()).chunks)

        await seen(lost)
        if driven:
            await orchestrator.cancel(job.id)
            await job.wait()
        orchestrator.drain("sigint")
    async with Orchestrator.open(settings) as orchestrator:
        stopping = await orchestrator.cancel(job.id)
        assert (stopping.job.state, stopping.changed, stopping.unknown) == (JobState.CANCELLED, not driven, 20)
    return job.id


@pytest.mark.parametrize(("driven", "kept"), [(True, True), (False, True), (False, False)])
def test_what_a_cancelled_job_left_in_doubt_still_has_its_keys(tmp_path, driven, kept):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, running):
            asked = request(tmp_path, rows=20)
            job_id = await cancelled_in_doubt(settings, running, asked, driven=driven)
            (claims,) = (tmp_path / "state" / "jobs" / job_id / "claims").glob("*.claims")
            if not kept:
                claims.unlink()
            asked_again = corrected(asked)
            if not kept:
                asked.sources[0].unlink()
            async with Orchestrator.open(settings) as orchestrator:
                job = await orchestrator.submit(asked_again)
                other = await orchestrator.submit(request(tmp_path, "o", rows=20))
                await waits(orchestrator, job.id)
                if kept:  # else nobody knows which keys are free
                    await seen(lambda: going(other))
                assert len(sent(running)) == 1 + kept
                if kept:
                    (blocker,) = (await job.status()).blockers
                    assert (blocker.job_id, blocker.batch_id) == (job_id, None)
                assert (await journalled(orchestrator, job_id)).state is JobState.CANCELLED

    async def going(job: Any) -> bool:
        return any(chunk.phase is Phase.SUBMITTED for chunk in (await job.status()).chunks)

    asyncio.run(play())


def test_batches_of_another_state_directory_are_asked_after_and_left_to_it(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, running):
            here = changed(settings, journal={"url": f"sqlite:///{tmp_path}/journal.db"})
            there = changed(here, state={"dir": tmp_path / "elsewhere"})
            running.service.faults.extend([HELD])
            asked = request(tmp_path, rows=40, without_key=3)
            async with Orchestrator.open(here) as orchestrator:
                stopped = await orchestrator.submit(asked)

                async def under_way() -> bool:
                    phases = [chunk.phase for chunk in (await stopped.status()).chunks]
                    return phases.count(Phase.SUBMITTED) == len(phases) == 2

                await seen(under_way)
            async with Orchestrator.open(there) as orchestrator:
                job = await orchestrator.submit(corrected(asked))
                await waits(orchestrator, job.id)
                assert len(sent(running)) == 2
                blockers = (await job.status()).blockers
                assert {(blocker.job_id, blocker.shared) for blocker in blockers} == {(stopped.id, None)}
                running.service.faults.remove(None)
                await skip(running, 720_000_000)
                assert (await job.wait()).rows.accepted == 37
                chunks = (await (await orchestrator.job(stopped.id)).status()).chunks
                assert {chunk.phase for chunk in chunks} == {Phase.COLLECTING}
                assert (await journalled(orchestrator, stopped.id)).state is JobState.RUNNING
            assert not (tmp_path / "elsewhere" / "jobs" / stopped.id).exists()
            async with Orchestrator.open(here) as orchestrator:
                (stopped,) = (await orchestrator.resume([stopped.id])).jobs
                rows = (await stopped.wait()).rows
                assert (rows.accepted, rows.failed, rows.unmatched) == (37, 3, 0)
            emails = [each["values"].get("email") for each in running.service.engine.records("leads", 0)]
            assert len(emails) == len(set(emails))

    asyncio.run(play())


def test_how_long_batches_took_is_known_to_the_next_driver(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, _):
            async with Orchestrator.open(settings) as orchestrator:
                job = await orchestrator.submit(request(tmp_path))
                await job.wait()
                chunks = (await job.status()).chunks
                assert all(chunk.took_ms for chunk in chunks)
                longer = ChunkChanged(chunk_id=chunks[0].id, values={"took_ms": HOUR_MS})
                await orchestrator._keeper._driver._desk.write(longer)
            async with Orchestrator.open(settings) as orchestrator:
                await (await orchestrator.submit(request(tmp_path, "b"))).wait()
                assert orchestrator._keeper._driver._scheduler.known.doubt.hold_ms() == 3 * HOUR_MS

    asyncio.run(play())


def test_a_batch_that_ended_while_nobody_looked_tells_nothing_of_how_long_batches_take(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, running):
            running.service.faults.extend([HELD])
            async with Orchestrator.open(settings) as orchestrator:
                job = await orchestrator.submit(request(tmp_path, rows=20))

                async def under_way() -> bool:
                    return all(chunk.phase is Phase.SUBMITTED for chunk in (await job.status()).chunks)

                await seen(under_way)
            await skip(running, 720_000_000)
            async with Orchestrator.open(settings) as orchestrator:
                (job,) = (await orchestrator.resume([job.id])).jobs
                await job.wait()
                assert [chunk.took_ms for chunk in (await job.status()).chunks] == [None]

    asyncio.run(play())


async def skip(running: Running, ms: int) -> None:
    async with aiohttp.ClientSession() as session:
        (await session.post(f"{running.url}/_emulator/skip", json={"ms": ms})).raise_for_status()
