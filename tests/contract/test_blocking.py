"""What a job's next rows wait for, as the journal and the claims on the disk tell."""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator import ImportRequest, JobHandle, Orchestrator
from orchestrator.blocking import Blocker, Why, find_blockers
from orchestrator.claims import SEAL
from orchestrator.events import ChunkReserved, ChunkUnreserved
from orchestrator.journal.changes import ChunkChanged, JobChanged, Told
from orchestrator.model import Chunk, Job, JobState, Leads, Phase, Target
from orchestrator.offload import Offload
from orchestrator.outcome import claims_path, job_directory
from orchestrator.schedule import turns
from orchestrator.tables import Schedule
from tests.contract.journal_kit import BACKENDS, HOST, NOW_MS, in_loop, make_job, opened, planned
from tests.contract.test_library import emulated, request, seen


def hold(state_dir: Path, job: Job, chunk: Chunk, *claims: int) -> Path:
    """Write the claims of a chunk where they are looked for."""
    file = claims_path(job_directory(state_dir, job), chunk)
    file.parent.mkdir(parents=True, exist_ok=True)
    write(file, *claims)
    return file


def write(file: Path, *claims: int) -> None:
    data = struct.pack(f"<{len(claims)}Q", *claims)
    file.write_bytes(data + struct.pack("<Q", SEAL | zlib.crc32(data)))


def share(theirs: Path) -> None:
    write(theirs, 2, 3)


@pytest.mark.parametrize(
    ("happens", "target", "shared"),
    [
        (None, Leads(), []),
        (share, Leads(), [True]),
        (Path.unlink, Leads(), [None]),
        (lambda theirs: theirs.write_bytes(b"damaged"), Leads(), [None]),
        (None, Leads(list_id=7), [False]),
        (Path.unlink, Leads(list_id=7), [None]),
    ],
)
@in_loop
async def test_a_chunk_waits_for_what_is_under_way(
    tmp_path, happens: Callable[[Path], None] | None, target: Target, shared
):
    async with opened(f"sqlite:///{tmp_path / 'journal.db'}") as journal:
        lease = await journal.take_over(HOST)
        jobs = []
        for name in ("first", "second"):
            await planned(journal, lease, make_job(name, target=target))
            await journal.write(lease, [JobChanged(job_id=name, values={"state": JobState.RUNNING})])
            jobs.append(await journal.job(name))
        first, second = jobs
        (sent, *_), (waiting, *others) = await journal.chunks(first.id), await journal.chunks(second.id)
        await journal.write(
            lease, [ChunkChanged(chunk_id=sent.id, values={"phase": Phase.SUBMITTING, "submitted_ms": NOW_MS})]
        )
        theirs = hold(tmp_path, first, sent, 1, 2)
        hold(tmp_path, second, waiting, 3, 4)
        if happens is not None:
            happens(theirs)
        async with Offload() as offload:
            found = await find_blockers(journal, offload, tmp_path, second, (waiting, *others))
        assert [(each.shared, each.waiting, each.chunk) for each in found] == [
            (each, waiting.id, sent.id) for each in shared
        ]


@pytest.mark.parametrize("backend", BACKENDS)
def test_reservations_are_those_told_by_whoever_drives_now(tmp_path, backend):
    @in_loop
    async def play() -> None:
        async with opened(BACKENDS[backend](tmp_path)) as journal:
            lease = await journal.take_over(HOST)
            job = make_job()
            one, other, third, *_ = await planned(journal, lease, job)
            await journal.write(lease, [JobChanged(job_id=job.id, values={"state": JobState.RUNNING})])
            for kind, chunk, ts_ms in (
                (ChunkReserved, one, NOW_MS),
                (ChunkReserved, other, NOW_MS + 5),
                (ChunkReserved, third, NOW_MS + 6),
                (ChunkUnreserved, other, NOW_MS + 7),
            ):
                await journal.write(lease, [Told(event=kind(job_id=job.id, ts_ms=ts_ms, chunk=chunk.id))])
            latest = {third.id: (NOW_MS + 6, job.id)}
            assert await journal.reserved(HOST, since_ms=NOW_MS) == {one.id: (NOW_MS, job.id)} | latest
            assert await journal.reserved(HOST, since_ms=NOW_MS + 1) == latest
            assert await journal.reserved("elsewhere", since_ms=0) == {}

    play()


def people(directory: Path, name: str, *numbers: int) -> ImportRequest:
    path = directory / f"{name}.csv"
    lines = [f"p{number}@example.com,{name}" for number in numbers]
    path.write_text("\n".join(["email,firstName", *lines, ""]), encoding="utf-8")
    return ImportRequest(sources=[path], out_dir=directory / f"out-{name}")


def test_a_job_waits_for_a_chunk_that_reserved_its_keys(tmp_path, monkeypatch):
    monkeypatch.setattr(turns, "PASSED_OVER_MAX", 1)

    async def play() -> None:
        async with emulated(tmp_path) as (settings, running):
            running.service.faults.extend([{"on": "batch", "do": "delay_start", "ms": 10**9}])
            async with Orchestrator.open(settings) as orchestrator, Orchestrator.open(settings) as beside:

                async def submitted(name: str, *numbers: int) -> JobHandle:
                    return await orchestrator.submit(people(tmp_path, name, *numbers))

                async def sent(job: JobHandle) -> None:
                    async def seen_sent() -> bool:
                        return any(chunk.phase is Phase.SUBMITTED for chunk in (await job.status()).chunks)

                    await seen(seen_sent)

                async def told() -> bool:
                    return any(
                        isinstance(event, ChunkReserved) for event in await orchestrator._journal.events(tired.id)
                    )

                first = await submitted("first", 1)
                await sent(first)
                tired = await submitted("tired", 1, 2)
                assert not await told()
                number = 10
                while not await told():  # whatever goes meanwhile goes before it
                    number += 1
                    await sent(await submitted(f"other{number}", number))
                late = await submitted("late", 2)
                found: list[Blocker] = []

                async def blocked() -> bool:
                    found[:] = (await (await beside.job(late.id)).status()).blockers
                    return bool(found) and found[0].shared is True

                await seen(blocked)
                assert [(each.job_id, each.why, each.batch_id) for each in found] == [(tired.id, Why.RESERVED, None)]
                assert found[0].since_ms is not None
                (own,) = (await tired.status()).blockers
                assert (own.job_id, own.why) == (first.id, Why.KEYS)
                await orchestrator.pause(tired.id)
                await sent(late)

                async def given_back() -> bool:
                    events = await orchestrator._journal.events(tired.id)
                    return any(isinstance(event, ChunkUnreserved) for event in events)

                await seen(given_back)
                orchestrator.drain()

    asyncio.run(play())


@pytest.mark.parametrize("careful", [True, False])
def test_the_second_batch_of_a_job_waits_for_the_first(tmp_path, careful):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, running):
            running.service.faults.extend([{"on": "batch", "do": "delay_start", "ms": 10**9}])
            slow = settings.model_copy(update={"schedule": Schedule(slow_start=careful)})
            async with Orchestrator.open(slow) as orchestrator:
                job = await orchestrator.submit(request(tmp_path, rows=600))
                sent: list[Chunk] = []

                async def full() -> bool:
                    chunks = (await job.status()).chunks
                    sent[:] = [chunk for chunk in chunks if chunk.phase is Phase.SUBMITTED]
                    return len(sent) == 1 if careful else len(sent) > 1

                await seen(full)
                found = (await job.status()).blockers
                assert [(each.why, each.chunk, each.batch_id) for each in found] == [
                    (Why.SLOW_START, sent[0].id, sent[0].batch_id)
                ][: int(careful)]
                orchestrator.drain()

    asyncio.run(play())
