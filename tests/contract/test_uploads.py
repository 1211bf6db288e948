"""Uploads that are broken off, and those that have not begun."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from orchestrator import Orchestrator
from orchestrator.crowding import Crowd
from orchestrator.journal.journal import Journal
from orchestrator.marketo.client import Client
from orchestrator.model import Finding, JobId, JobState, Phase
from orchestrator.uploads import Guarded
from tests.contract.test_homes import changed
from tests.contract.test_library import emulated, request


async def goes_on(settings, attempts: int) -> None:
    """Go on with the only job; nothing of it is held back, and nothing is sent twice."""
    async with Orchestrator.open(settings) as orchestrator:
        (job,) = (await orchestrator.resume()).jobs
        summary = await job.wait()
        assert (summary.state, summary.rows.accepted) == (JobState.COMPLETE, 60)
        assert max(batch.attempts for batch in summary.batches) == attempts
        assert summary.findings == ()


@pytest.mark.parametrize("ending", ["a second signal", "drain.seconds"])
def test_an_upload_that_is_broken_off_before_all_of_it_has_left_is_as_if_it_had_not_been_tried(
    tmp_path, monkeypatch, ending
):
    stream, begun = Guarded.stream, asyncio.Event()

    async def stalled(self: Guarded) -> AsyncIterator[bytes]:
        async for piece in stream(self):
            yield piece[:-10]
            begun.set()
            await asyncio.Event().wait()

    async def play() -> None:
        async with emulated(tmp_path) as (settings, _):
            settings = changed(settings, drain={"seconds": 60 if ending == "a second signal" else 0.1})
            with monkeypatch.context() as patch:
                patch.setattr(Guarded, "stream", stalled)
                async with Orchestrator.open(settings) as orchestrator:
                    job = await orchestrator.submit(request(tmp_path))
                    await begun.wait()
                    assert Phase.SUBMITTING in {chunk.phase for chunk in (await job.status()).chunks}
                    orchestrator.drain()
                    if ending == "a second signal":
                        orchestrator.abandon()
            async with Orchestrator.open(settings) as orchestrator:
                chunks = (await (await orchestrator.job(job.id)).status()).chunks
                assert {chunk.phase for chunk in chunks} == {Phase.READY}
            await goes_on(settings, attempts=2)

    with capture_logs():
        asyncio.run(play())


def test_a_refusal_is_written_down_although_everything_is_to_stop_at_once(tmp_path, monkeypatch):
    findings, asked, go_on = Journal.findings, asyncio.Event(), asyncio.Event()

    async def held_up(self: Journal, job_id: JobId) -> tuple[Finding, ...]:
        asked.set()
        await go_on.wait()
        return await findings(self, job_id)

    async def play() -> None:
        async with emulated(tmp_path) as (settings, running):
            running.service.faults.extend([{"on": "create", "do": "code", "code": "1016"}])
            with monkeypatch.context() as patch:
                patch.setattr(Journal, "findings", held_up)
                patch.setattr(Crowd, "refused", lambda *_, **__: Finding(kind="queue_taken", message="by others"))
                async with Orchestrator.open(settings) as orchestrator:
                    job = await orchestrator.submit(request(tmp_path))
                    await asked.wait()
                    orchestrator.abandon()
                    asyncio.get_running_loop().call_later(0.01, go_on.set)
            async with Orchestrator.open(settings) as orchestrator:
                status = await (await orchestrator.job(job.id)).status()
                assert {chunk.phase for chunk in status.chunks} == {Phase.READY}
                assert [each.kind for each in status.findings] == ["queue_taken"]

    with capture_logs():
        asyncio.run(play())


def test_what_waits_for_a_token_is_not_in_doubt_and_holds_no_drain_up(tmp_path, monkeypatch):
    create, waiting = Client.create, asyncio.Event()

    async def with_a_long_life(self: Client, *known, **more):
        more["life_ms"] = 1_800_000
        waiting.set()
        return await create(self, *known, **more)

    async def play() -> None:
        async with emulated(tmp_path, token_life_s=900) as (settings, _):
            with monkeypatch.context() as patch:
                patch.setattr(Client, "create", with_a_long_life)
                async with Orchestrator.open(settings) as orchestrator:
                    job = await orchestrator.submit(request(tmp_path))
                    await waiting.wait()
                    chunks = (await job.status()).chunks
                    assert {(chunk.phase, chunk.attempts) for chunk in chunks} == {(Phase.READY, 0)}
                    orchestrator.drain()
            await goes_on(settings, attempts=1)

    with capture_logs():
        asyncio.run(play())
