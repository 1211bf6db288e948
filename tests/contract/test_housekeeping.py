"""Finished jobs are forgotten after their time, whole, and no other job ever is."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
import structlog

from orchestrator import Orchestrator
from orchestrator.errors import Fenced, JournalError
from orchestrator.housekeeping import Housekeeping
from orchestrator.journal import pruning
from orchestrator.journal.changes import (
    CallsCounted,
    ChunkChanged,
    ChunkParted,
    ChunkValues,
    JobChanged,
    Told,
    WaitCounted,
)
from orchestrator.journal.journal import Journal
from orchestrator.journal.values import Lease
from orchestrator.model import Home, Job, JobId, JobState, Phase
from orchestrator.offload import Offload
from tests import postgres
from tests.contract.journal_kit import (
    BACKENDS,
    HOST,
    NOW_MS,
    OTHER_HOST,
    halves,
    in_loop,
    make_job,
    opened,
    planned,
    started,
)
from tests.contract.test_library import emulated, request, seen

HERE = Home(id="0123456789abcdef", host="here", directory="/state")
THERE = Home(id="fedcba9876543210", host="there", directory="/state")
OLD_MS = NOW_MS - 1_000


class Clock:
    def now_ms(self) -> int:
        return NOW_MS

    wall_ms = now_ms


@pytest.fixture(params=BACKENDS)
def url(request, tmp_path):
    """The URL of a journal that does not exist yet."""
    return BACKENDS[request.param](tmp_path)


async def ended(
    journal: Journal, lease: Lease, job_id: str, *, chunk: ChunkValues | None = None, events: int = 3, **changes: object
) -> Job:
    """Put a job into the journal that has ended, with something in every table."""
    job = make_job(job_id, home=HERE)
    first, second, _ = await planned(journal, lease, replace(job, **changes), spans=3)
    more = [Told(event=started(first, number, ts_ms=number)) for number in range(events)]
    await journal.write(
        lease,
        [
            ChunkParted(chunk_id=first.id, parts=halves(first.span)),
            ChunkChanged(chunk_id=second.id, values=chunk or {"phase": Phase.DONE}),
            WaitCounted(job_id=job.id, cause="queue_full", ms=1),
            CallsCounted(job_id=job.id, host=HOST, day="2023-11-14", kind="submit", count=1),
            *more,
        ],
    )
    values = {"state": changes.get("state", JobState.COMPLETE), "finished_ms": changes.get("finished_ms", OLD_MS - 1)}
    await journal.write(lease, [JobChanged(job_id=job.id, values=values)])  # type: ignore[typeddict-item]
    return job


def rows(url: str) -> dict[str, int]:
    """Return how many rows each table has that tells of jobs."""
    tables = ("jobs", "sources", "chunks", "findings", "events", "calls", "waits")
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        found = {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}
        connection.close()
        return found
    schema = postgres.schema_of(url)
    return {table: postgres.run(f"SELECT count(*) FROM {table}", schema)[0][0] for table in tables}


def housekeeping(journal: Journal, lease: Lease, state_dir: Path, offload: Offload) -> Housekeeping:
    return Housekeeping(
        journal=journal,
        lease=lease,
        offload=offload,
        clock=Clock(),
        state_dir=state_dir,
        home=HERE,
        keep_ms=NOW_MS - OLD_MS,
        log=structlog.get_logger(),
    )


async def forgotten(url: str, tmp_path: Path) -> list[JobId]:
    """Let housekeeping work until nothing is left to do; return the jobs that are then known."""
    async with opened(url) as journal, Offload() as offload:
        lease = await journal.take_over(HOST, force=True)
        keeper = housekeeping(journal, lease, tmp_path, offload)
        while await keeper.forget_one():
            pass
        await journal.release(lease)
        return [job.id for job in await journal.jobs()]


@in_loop
async def test_everything_of_an_old_job_goes_and_nothing_of_others(url, tmp_path, monkeypatch):
    monkeypatch.setattr(pruning, "ROWS_MAX", 3)  # several transactions for each table
    async with opened(url) as journal:
        lease = await journal.take_over(HOST)
        await ended(journal, lease, "old", events=10)
        before = rows(url)
        await ended(journal, lease, "young", finished_ms=OLD_MS, events=10)
        for job_id in ("old", "young"):
            parts = tmp_path / "jobs" / job_id / "parts"
            parts.mkdir(parents=True)
            (parts / "1.jsonl").write_text("{}")
        assert set(before.values()) != {0}
        await journal.release(lease)
    assert await forgotten(url, tmp_path) == ["young"]
    assert {path.name for path in (tmp_path / "jobs").iterdir()} == {"young"}
    assert rows(url) == before  # of the young one


KEPT = {
    "running": {"state": JobState.RUNNING},
    "paused": {"state": JobState.PAUSED},
    "stopped": {"state": JobState.INCOMPLETE},
    "of unknown outcome": {"chunk": {"phase": Phase.UNKNOWN}},
    "with rows of unknown outcome": {"chunk": {"phase": Phase.DONE, "unknown": 1}},
    "still at Marketo": {"state": JobState.CANCELLED, "chunk": {"phase": Phase.SUBMITTED}},
    "of another state directory": {"home": THERE},
}


@pytest.mark.parametrize("case", KEPT)
@in_loop
async def test_a_job_that_is_kept(url, tmp_path, case):
    async with opened(url) as journal:
        lease = await journal.take_over(HOST)
        await ended(journal, lease, "kept", **KEPT[case])  # type: ignore[arg-type]
        await ended(journal, lease, "cancelled", state=JobState.CANCELLED)
        await ended(journal, lease, "older", home=None)
        await journal.release(lease)
    assert await forgotten(url, tmp_path) == ["kept"]


@in_loop
async def test_a_job_goes_after_those_made_from_it_and_only_by_its_own_driver(url, tmp_path):
    async with opened(url) as journal:
        lease = await journal.take_over(HOST)
        await ended(journal, lease, "a-parent", finished_ms=1)
        await ended(journal, lease, "b-child", parent=JobId("a-parent"), finished_ms=OLD_MS)
        other = await journal.take_over(OTHER_HOST)
        assert await journal.condemn(other, HERE, NOW_MS) is None
        assert await journal.condemn(lease, HERE, OLD_MS) is None  # the child is too young, the parent needed
        assert await journal.condemn(lease, HERE, NOW_MS) == "b-child"
        assert await journal.condemn(lease, HERE, NOW_MS) == "b-child"  # until it is gone
        with pytest.raises(JournalError, match="no job"):
            await journal.job("b-child")
        assert await journal.prune(other, JobId("b-child"))
        await journal.take_over(HOST, force=True)
        for fenced in (journal.condemn(lease, HERE, NOW_MS), journal.prune(lease, JobId("b-child"))):
            with pytest.raises(Fenced):
                await fenced
    assert await forgotten(url, tmp_path) == []
    assert set(rows(url).values()) == {0}


@in_loop
async def test_whoever_is_interrupted_is_followed_by_another(url, tmp_path, monkeypatch):
    monkeypatch.setattr(pruning, "ROWS_MAX", 2)
    async with opened(url) as journal:
        lease = await journal.take_over(HOST)
        await ended(journal, lease, "old")
        assert await journal.condemn(lease, HERE, NOW_MS) == "old"
        assert not await journal.prune(lease, JobId("old"))
        await journal.release(lease)
    assert await forgotten(url, tmp_path) == []
    assert set(rows(url).values()) == {0}


@in_loop
async def test_room_is_given_back(tmp_path):
    url = BACKENDS["sqlite"](tmp_path)
    path = Path(url.removeprefix("sqlite:///"))
    async with opened(url) as journal:
        lease = await journal.take_over(HOST)
        await ended(journal, lease, "old", events=5_000)
    grown = path.stat().st_size
    await forgotten(url, tmp_path)
    assert path.stat().st_size < grown / 3


def test_a_driver_forgets_and_all_it_keeps_is_private(tmp_path, monkeypatch):
    monkeypatch.setattr("orchestrator.housekeeping.FIRST_SECONDS", 0.0)

    def known() -> set[str]:
        return {path.name for path in (tmp_path / "state" / "jobs").iterdir()}

    async def play() -> None:
        async with emulated(tmp_path) as (settings, _):
            async with Orchestrator.open(settings) as orchestrator:
                first = await orchestrator.submit(request(tmp_path, without_key=5))
                await first.wait()
                readable = [path for path in (tmp_path / "state").rglob("*") if path.stat().st_mode & 0o077]
                assert readable == []
            assert known() == {first.id}
            month = 31 * 24 * 3_600_000
            connection = sqlite3.connect(tmp_path / "state" / "journal.db")
            with connection:
                connection.execute("UPDATE jobs SET finished_ms = finished_ms - ?", (month,))
            connection.close()
            async with Orchestrator.open(settings) as orchestrator:
                second = await orchestrator.submit(request(tmp_path, "b"))
                await second.wait()

                async def gone() -> bool:
                    return known() == {second.id} and [job.id for job in await orchestrator.jobs()] == [second.id]

                await seen(gone)

    before = os.umask(0)
    try:
        asyncio.run(play())
    finally:
        os.umask(before)


def test_a_drive_of_a_moment_forgets_at_its_end(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, _):
            async with Orchestrator.open(settings) as orchestrator:
                await (await orchestrator.submit(request(tmp_path))).wait()
            connection = sqlite3.connect(tmp_path / "state" / "journal.db")
            with connection:
                connection.execute("UPDATE jobs SET finished_ms = finished_ms - ?", (31 * 24 * 3_600_000,))
            connection.close()
            async with Orchestrator.open(settings) as orchestrator:
                second = await orchestrator.submit(request(tmp_path, "b"))
                await second.wait()
            assert [path.name for path in (tmp_path / "state" / "jobs").iterdir()] == [second.id]
            async with Orchestrator.open(settings) as orchestrator:
                assert [job.id for job in await orchestrator.jobs()] == [second.id]

    asyncio.run(play())
