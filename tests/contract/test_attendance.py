"""Several jobs that one command attends to: each is told of when it ends, and the code of all of them at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from orchestrator import Orchestrator
from orchestrator.cli.common import Output
from orchestrator.cli.console import Console
from orchestrator.cli.importing import Attendance
from orchestrator.cli.session import Interruption
from orchestrator.cli.waiting import wait_for
from orchestrator.config import Settings
from orchestrator.following import JobHandle
from orchestrator.model import ExitCode
from tests.contract.test_library import emulated, request, seen

Attend = Callable[[Console, Settings, Orchestrator, Sequence[JobHandle]], Awaitable[ExitCode]]


async def see_through(
    console: Console, settings: Settings, orchestrator: Orchestrator, jobs: Sequence[JobHandle]
) -> ExitCode:
    return await Attendance(console, settings, orchestrator, Interruption(console, ""), "").see_through(jobs)


async def wait_long(
    console: Console, settings: Settings, orchestrator: Orchestrator, jobs: Sequence[JobHandle]
) -> ExitCode:
    return await wait_for(console, jobs, timeout_s=3_600, flags="")


@asynccontextmanager
async def two_jobs(
    directory: Path,
) -> AsyncIterator[tuple[Settings, Orchestrator, JobHandle, JobHandle, Callable[[], object]]]:
    """Have one job that cannot end before the faults are taken back, and one that has ended."""
    async with emulated(directory) as (settings, running), Orchestrator.open(settings) as orchestrator:
        over = await orchestrator.submit(request(directory, "over", without_key=1))
        await over.wait()
        running.service.faults.extend([{"on": "create", "do": "code", "code": "1016"}])
        held = await orchestrator.submit(request(directory, "held"))
        yield settings, orchestrator, held, over, lambda: running.service.faults.remove(None)


@pytest.mark.parametrize("attend", [see_through, wait_long])
def test_each_job_is_told_of_when_it_ends(tmp_path, capsys, attend: Attend):
    shown = ""

    async def play() -> None:
        nonlocal shown
        async with two_jobs(tmp_path) as (settings, orchestrator, held, over, heal):

            async def told() -> bool:
                nonlocal shown
                shown += capsys.readouterr().err
                return f"Job {over.id} is complete: 59 of 60 rows accepted." in shown

            attending = asyncio.create_task(attend(Console(Output()), settings, orchestrator, [held, over]))
            await seen(told)
            assert f"Job {held.id} is " not in shown
            heal()
            assert await attending is ExitCode.ROWS_FAILED
            rest = capsys.readouterr().err
            assert f"Job {held.id} is complete: 60 of 60 rows accepted." in rest
            assert f"Job {over.id} is " not in rest  # it is told once
            assert rest.splitlines()[-1].startswith("Exit code 3: ")

    asyncio.run(play())


def test_when_the_time_is_up_only_those_are_told_that_were_not(tmp_path, capsys):
    async def play() -> None:
        async with two_jobs(tmp_path) as (_, _, held, over, _):
            code = await wait_for(Console(Output()), [held, over], timeout_s=0, flags="")
            shown = capsys.readouterr().err
            assert code is ExitCode.INTERRUPTED
            assert f"Job {held.id} is running: 0 of 60 rows accepted, 60 unsent." in shown
            assert shown.count(f"Job {over.id} is ") == 1

    asyncio.run(play())
