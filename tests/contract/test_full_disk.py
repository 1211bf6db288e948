"""A disk without room: whatever was begun can be resumed when there is room again."""

from __future__ import annotations

import asyncio
import errno
import shutil
from collections import namedtuple
from typing import Any

import pytest
from structlog.testing import capture_logs

from orchestrator import ImportRequest, Orchestrator
from orchestrator.config import Settings
from orchestrator.errors import JournalStalled, NoRoom
from orchestrator.marketo import spool
from orchestrator.model import JobState
from tests.contract.test_homes import changed
from tests.contract.test_library import emulated, request, seen
from tests.contract.test_upload_size import plenty

Usage = namedtuple("Usage", "total used free")


def test_a_job_whose_copy_has_no_room_is_planned_by_resume(tmp_path, monkeypatch):
    (tmp_path / "leads.csv").write_bytes("email,firstName\na@example.com,Zoë\n".encode("utf-16"))

    async def play() -> None:
        async with emulated(tmp_path) as (settings, _):
            full = monkeypatch.context()
            with full as patched:
                patched.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, 0))
                async with Orchestrator.open(settings) as orchestrator:
                    with pytest.raises(NoRoom, match="Make room there"):
                        await orchestrator.submit(ImportRequest(sources=[str(tmp_path / "leads.csv")]))
            async with Orchestrator.open(settings) as orchestrator:
                (job,) = await orchestrator.jobs()
                assert job.state is JobState.PLANNING
                resumed = await orchestrator.resume([job.id])
                assert (await resumed.jobs[0].wait()).rows.accepted == 1

    with capture_logs():
        asyncio.run(play())


def test_rows_that_cannot_be_given_up_are_when_there_is_room_again(tmp_path):
    async def play() -> None:
        async with (
            emulated(tmp_path, body_bytes_max=500) as (settings, _),
            Orchestrator.open(settings) as orchestrator,
        ):
            job = await orchestrator.submit(plenty(tmp_path, 300, rows=3))
            parts = tmp_path / "state" / "jobs" / job.id / "parts"
            parts.write_text("no directory")

            async def found() -> bool:
                return any(each.kind == "results_unwritten" for each in (await job.status()).findings)

            await seen(found)
            parts.unlink()
            summary = await job.wait()
            assert (summary.state, summary.rows.failed, summary.rows.unmatched) == (JobState.COMPLETE, 3, 0)

    asyncio.run(play())


def test_a_batch_whose_result_file_cannot_be_kept_is_looked_for_when_there_is_room_again(tmp_path, monkeypatch):
    open_file, left = spool.aiofiles.open, ["full"]

    async def full_once(path: str, *known: Any, **more: Any) -> Any:
        if left and "sought-" in str(path):
            left.pop()
            raise OSError(errno.ENOSPC, "No space left on device")
        return await open_file(path, *known, **more)

    monkeypatch.setattr(spool.aiofiles, "open", full_once)

    async def play() -> None:
        async with emulated(tmp_path) as (settings, running):
            running.service.faults.extend([{"on": "create", "nth": 2, "do": "lose_answer_after_accept"}])
            settings = changed(settings, unknown={"settle_seconds": 0.1, "hold_seconds_min": 60})
            async with Orchestrator.open(settings) as orchestrator:
                job = await orchestrator.submit(request(tmp_path, rows=200, without_key=100))
                summary = await job.wait()
                assert not left
                assert (summary.state, summary.rows.failed) == (JobState.COMPLETE, 100)
                assert {"results_unwritten", "batch_adopted"} <= {each.kind for each in summary.findings}

    with capture_logs():
        asyncio.run(play())


def test_a_journal_whose_disk_fills_in_the_middle_of_a_job_ends_it_for_now(tmp_path):
    async def filled(settings: Settings) -> None:
        async with Orchestrator.open(settings) as orchestrator:
            job = await orchestrator.submit(request(tmp_path, rows=600))

            async def begun() -> bool:
                return any(chunk.attempts for chunk in (await job.status()).chunks)

            await seen(begun)
            await orchestrator._journal._read(lambda each: each.exec_driver_sql("PRAGMA max_page_count = 1"))
            await job.wait()

    async def play() -> None:
        async with emulated(tmp_path) as (settings, _):
            with pytest.raises(JournalStalled, match="the disk is full: free some space there, then resume"):
                await filled(settings)
            async with Orchestrator.open(settings) as orchestrator:
                resumed = await orchestrator.resume()
                assert (await resumed.jobs[0].wait()).rows.accepted == 600

    with capture_logs():
        asyncio.run(play())


def test_jobs_go_on_in_the_same_process_when_the_journal_has_room_again(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, _), Orchestrator.open(settings) as orchestrator:
            job = await orchestrator.submit(request(tmp_path, rows=600))

            async def begun() -> bool:
                return any(chunk.attempts for chunk in (await job.status()).chunks)

            async def pages_max(pages: int) -> None:
                await orchestrator._journal._read(
                    lambda connection: connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
                )

            await seen(begun)
            await pages_max(1)
            with pytest.raises(JournalStalled, match="the disk is full"):
                await job.wait()
            await pages_max(1_000_000_000)
            other = await orchestrator.submit(request(tmp_path, "b"))
            (job,) = (await orchestrator.resume([job.id])).jobs
            assert [(await each.wait()).rows.accepted for each in (job, other)] == [600, 60]

    with capture_logs():
        asyncio.run(play())
