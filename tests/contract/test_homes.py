"""Two state directories with one journal: a job goes on only where its parts, spools and claims lie."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from orchestrator import Orchestrator, Settings
from orchestrator.errors import ConfigError
from orchestrator.model import JobState
from tests.contract.test_library import emulated, journalled, request


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
