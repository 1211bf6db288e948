"""Several processes that plan one job: one of them does, and none takes away what another one wrote.

Each process is an orchestrator of its own here: whatever they know of each other, they know from files and locks.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator import ImportRequest, JobHandle, Orchestrator
from orchestrator.emulator.app import Running
from orchestrator.errors import ConfigError, SourceError
from orchestrator.model import JobId, JobState, RepeatedKeys
from tests.contract.test_library import SPEED, emulated, request, seen

LONG_MS = int(1_500 * SPEED)  # of emulated time: the others get far in it
DESCRIBED_LATE = {"on": "describe", "do": "slow", "ms": LONG_MS, "nth": 1}


def copied(directory: Path) -> ImportRequest:
    """Ask for a file that is sent from a copy."""
    wanted = request(directory)
    path = directory / "a.csv"
    path.write_text(path.read_text(encoding="utf-8"), encoding="utf-16")
    return wanted


async def planning(orchestrator: Orchestrator, running: Running) -> JobId:
    """Wait until a job is journalled and its process waits for Marketo before it reads the file."""

    async def waits() -> bool:
        return running.service.engine.calls["describe"] > 0 and bool(await orchestrator.jobs())

    await seen(waits)
    (job,) = await orchestrator.jobs()
    assert job.state is JobState.PLANNING
    return job.id


async def through(*handles: JobHandle) -> None:
    for handle in handles:
        summary = await handle.wait()
        assert (summary.state, summary.rows.accepted) == (JobState.COMPLETE, 60)


def plans(directory: Path) -> list[Path]:
    return sorted(directory.glob("state/jobs/*/plans/*"))


def test_whoever_resumes_a_job_that_another_process_reads_waits_for_it(tmp_path):
    async def play() -> None:
        async with (
            emulated(tmp_path) as (settings, running),
            Orchestrator.open(settings) as one,
            Orchestrator.open(settings) as other,
        ):
            running.service.faults.extend([DESCRIBED_LATE])
            submitting = asyncio.create_task(one.submit(copied(tmp_path)))
            job_id = await planning(other, running)
            (resumed,) = (await other.resume([job_id])).jobs
            assert len(plans(tmp_path)) == 1, "the second one wrote nothing"
            await through(await submitting, resumed)

    asyncio.run(play())


def test_whoever_takes_over_reads_the_files_into_a_place_of_its_own_and_the_later_one_follows(tmp_path):
    async def play() -> None:
        async with (
            emulated(tmp_path) as (settings, running),
            Orchestrator.open(settings) as one,
            Orchestrator.open(settings) as other,
        ):
            running.service.faults.extend([DESCRIBED_LATE, {"on": "create", "do": "slow", "ms": LONG_MS}])
            submitting = asyncio.create_task(one.submit(copied(tmp_path)))
            job_id = await planning(other, running)
            (resumed,) = (await other.resume([job_id], take_over=True)).jobs
            assert not submitting.done()
            first = await submitting
            assert (first.id, first.known) == (job_id, False)
            (own,) = plans(tmp_path)
            assert [str(own / "spool" / "0.utf8")] == [source.content for source in (await first.status()).sources]
            await through(first, resumed)

    asyncio.run(play())


def test_what_is_wrong_with_a_file_is_not_held_against_a_job_that_another_process_planned(tmp_path):
    async def play() -> None:
        async with (
            emulated(tmp_path) as (settings, running),
            Orchestrator.open(settings) as one,
            Orchestrator.open(settings) as other,
        ):
            running.service.faults.extend([DESCRIBED_LATE])
            submitting = asyncio.create_task(one.submit(copied(tmp_path)))
            job_id = await planning(other, running)
            (resumed,) = (await other.resume([job_id], take_over=True)).jobs
            (tmp_path / "a.csv").write_bytes(b'email,firstName\n"')
            await through(await submitting, resumed)

    asyncio.run(play())


def test_a_job_that_is_refused_while_another_process_waits_to_resume_it_ends_for_both(tmp_path):
    async def play() -> None:
        async with (
            emulated(tmp_path) as (settings, running),
            Orchestrator.open(settings) as one,
            Orchestrator.open(settings) as other,
        ):
            running.service.faults.extend([DESCRIBED_LATE])
            submitting = asyncio.create_task(one.submit(replace(copied(tmp_path), rows_min=61)))
            job_id = await planning(other, running)
            (resumed,) = (await other.resume([job_id])).jobs
            with pytest.raises(SourceError, match="only 60 rows"):
                await submitting
            assert (await resumed.wait()).state == JobState.FAILED

    asyncio.run(play())


def test_what_a_process_left_that_was_killed_while_it_read_is_removed_by_the_next_one(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, running), Orchestrator.open(settings) as orchestrator:
            running.service.faults.extend([DESCRIBED_LATE])
            wanted = replace(copied(tmp_path), on_repeated_key=RepeatedKeys.LAST)
            submitting = asyncio.create_task(orchestrator.submit(wanted))
            job_id = await planning(orchestrator, running)
            submitting.cancel()
            await asyncio.wait([submitting])
            left = tmp_path / "state" / "jobs" / job_id / "plans" / "0123456789abcdef" / "spool"
            left.mkdir(parents=True)
            (left / "0.utf8").touch()
            (left.parent / "superseded.csv").write_text("of another day\n")
            (job,) = (await orchestrator.resume([job_id])).jobs
            assert (len(plans(tmp_path)), left.parent.exists()) == (1, False)
            await through(job)
            assert (tmp_path / "out-a" / "superseded.csv").read_text().startswith("source_file,")
            assert not list(plans(tmp_path)[0].glob("spool"))

    asyncio.run(play())


def test_a_job_behind_one_that_nobody_knows_is_refused_by_its_plan_as_well(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, _), Orchestrator.open(settings) as orchestrator:
            wanted = replace(request(tmp_path), after="20990101")
            for offline in (False, True):
                with pytest.raises(ConfigError, match=r"--after: .*20990101"):
                    await orchestrator.plan(wanted, offline=offline)
                with pytest.raises(ConfigError, match=r"--after: .*20990101"):
                    await orchestrator.check(wanted, offline=offline)
            with pytest.raises(ConfigError, match=r"--after: .*20990101"):
                await orchestrator.submit(wanted)

    asyncio.run(play())
