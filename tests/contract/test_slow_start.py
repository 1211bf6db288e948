"""Slow start, from the settings to the uploads that Marketo sees, and what the journal knows of the like."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator import CustomObjects, Leads, Orchestrator, ProgramMembers
from orchestrator.emulator.app import Running
from orchestrator.emulator.queue import Batch
from orchestrator.journal.changes import ChunkChanged, JobPlanned
from orchestrator.model import BatchStatus, JobState, Phase
from orchestrator.tables import Schedule
from tests.contract.journal_kit import (
    BACKENDS,
    HOST,
    NOW_MS,
    OTHER_HOST,
    in_loop,
    make_job,
    make_source,
    make_spans,
    opened,
    planned,
)
from tests.contract.test_library import emulated, request, seen

FOR_EVER = {"on": "batch", "do": "delay_start", "ms": 10**9}


def uploads(running: Running, job_id: str) -> list[Batch]:
    """Return what Marketo made of a job's uploads, in order."""
    batches = sorted(running.service.engine.batches.values(), key=lambda batch: batch.id)
    return [batch for batch in batches if batch.filename.startswith(job_id)]


def test_a_job_begins_with_one_batch_unless_its_like_went_well(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, running):
            careful = settings.model_copy(update={"schedule": Schedule()})
            first, like_it, other = (request(tmp_path, name, rows=120) for name in "abc")
            (tmp_path / "c.csv").write_text((tmp_path / "c.csv").read_text().replace("firstName", "lastName", 1))
            async with Orchestrator.open(careful) as orchestrator:
                for wanted in (first, other):
                    job = await orchestrator.submit(wanted)
                    assert (await job.wait()).state == JobState.COMPLETE
                    alone, second, *_ = uploads(running, job.id)
                    assert alone.ended_ms is not None
                    assert alone.ended_ms <= second.queued_ms
                running.service.faults.extend([FOR_EVER])
                job = await orchestrator.submit(like_it)

                async def several() -> bool:
                    return len(uploads(running, job.id)) > 1

                await seen(several)

    asyncio.run(play())


@pytest.fixture(params=BACKENDS)
def url(request, tmp_path):
    return BACKENDS[request.param](tmp_path)


@in_loop
async def test_the_journal_knows_which_columns_went_well_into_which_target(url):
    target = Leads(lookup_field="id", list_id=7)
    header = make_source().header
    async with opened(url) as journal:
        lease = await journal.take_over(HOST)

        async def went_well(*headers: bytes, **changes: object) -> bool:
            asked = {"host": HOST, "target": target, "headers": headers or (header,), "since_ms": NOW_MS, **changes}
            return await journal.went_well(**asked)

        (chunk, other, *_) = await planned(journal, lease, make_job(target=target))
        assert not await went_well()
        complete = {"phase": Phase.COLLECTING, "status": BatchStatus.COMPLETE, "completed_ms": NOW_MS}
        for values in (
            {"status": BatchStatus.FAILED, "accepted": 5, "completed_ms": NOW_MS},
            {**complete, "accepted": 0, "failed": 10},  # every row failed: that is not well
            {**complete, "accepted": 5, "completed_ms": NOW_MS - 1},
        ):
            await journal.write(lease, [ChunkChanged(chunk_id=other.id, values=values)])
            assert not await went_well()
        await journal.write(lease, [ChunkChanged(chunk_id=chunk.id, values={**complete, "accepted": 1})])
        assert await went_well()
        assert not await went_well(header, b"email,lastName\n")
        assert not await went_well(host=OTHER_HOST)
        for another in (Leads(lookup_field="id"), Leads(list_id=7), CustomObjects(api_name="id"),
                        ProgramMembers(program_id=7, member_status="id")):  # fmt: skip
            assert not await went_well(target=another)

        sources = (make_source(0), make_source(1, header=b"email,lastName\n"))
        job = make_job("j-2", target=target)
        await journal.add_job(job)
        plan = JobPlanned(job_id=job.id, sources=sources, spans=make_spans(1), key_columns=("email",))
        await journal.write(lease, [plan])
        (first, *_) = await journal.chunks(job.id)
        await journal.write(lease, [ChunkChanged(chunk_id=first.id, values={**complete, "accepted": 1})])
        assert await went_well(header, b"email,lastName\n")
