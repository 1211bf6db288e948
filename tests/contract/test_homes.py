"""Two state directories with one journal: a job goes on only where its parts, spools and claims lie."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from orchestrator import Orchestrator, Settings
from orchestrator.errors import ConfigError
from orchestrator.model import JobState, Wish
from tests.contract.test_library import emulated, journalled, request, seen
from tests.postgres import new_schema


def changed(settings: Settings, **tables: Any) -> Settings:
    return Settings(**{**settings.model_dump(exclude_unset=True), **tables})


def test_a_job_of_another_state_directory_is_left_alone(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (here, running):
            shared = {"journal": {"url": f"sqlite:///{tmp_path}/journal.db"}}
            here = changed(here, **shared)
            there = changed(here, state={"dir": tmp_path / "elsewhere"})
            running.service.faults.extend([{"on": "create", "do": "code", "code": "1016"}])
            async with Orchestrator.open(here) as orchestrator:
                stopped = await orchestrator.submit(request(tmp_path))
                orchestrator.drain()
            running.service.faults.remove(None)
            with capture_logs() as logs:
                async with Orchestrator.open(there) as orchestrator:
                    with pytest.raises(ConfigError, match=rf"{stopped.id}.*{tmp_path}/state on .*--set state.dir"):
                        await orchestrator.resume([stopped.id])
                    resumed = await orchestrator.resume()
                    assert (resumed.jobs, [job for job, _ in resumed.skipped]) == ((), [stopped.id])
                    other = await orchestrator.submit(request(tmp_path, "b"))
                    assert (await other.wait()).state == JobState.COMPLETE
                    assert (await journalled(orchestrator, stopped.id)).state is JobState.RUNNING
            assert [log["job_id"] for log in logs if log["event"] == "job.skipped"] == [stopped.id]
            async with Orchestrator.open(here) as orchestrator:
                (job,) = (await orchestrator.resume()).jobs
                assert (await job.wait()).rows.accepted == 60

    asyncio.run(play())


BACKENDS_OF_TWO = {"sqlite": lambda place: f"sqlite:///{place}/journal.db", "postgresql": lambda place: new_schema()}


@pytest.mark.parametrize("backend", BACKENDS_OF_TWO)
def test_a_driver_of_another_state_directory_is_not_taken_for_one_that_sends_a_job(tmp_path, backend):
    async def play() -> None:
        async with emulated(tmp_path) as (here, running):
            here = changed(here, journal={"url": BACKENDS_OF_TWO[backend](tmp_path)})
            there = changed(here, state={"dir": tmp_path / "elsewhere"})
            running.service.faults.extend([{"on": "create", "do": "code", "code": "1016"}])
            async with Orchestrator.open(here) as orchestrator, Orchestrator.open(there) as other:
                busy = await orchestrator.submit(request(tmp_path))
                job = await other.submit(replace(request(tmp_path, "b"), detach=True))
                await seen(orchestrator.driver)
                owner = await other.driver()
                assert owner is not None
                known = await journalled(other, job.id)
                assert (owner.sends(known), owner.sends(await journalled(other, busy.id))) == (False, True)
                assert not await job.settled(), "nobody sends it"
                asked = await orchestrator.cancel(job.id)  # where its files do not lie
                assert (asked.job.state, asked.job.wish, asked.heeded) == (JobState.RUNNING, Wish.CANCEL, False)
                asked = await other.cancel(busy.id)
                assert asked.heeded, "its driver is of its own state directory"
                assert (await busy.wait()).state == JobState.CANCELLED
            async with Orchestrator.open(there) as other:
                (resumed,) = (await other.resume([job.id])).jobs
                assert (await resumed.wait()).state == JobState.CANCELLED

    asyncio.run(play())
