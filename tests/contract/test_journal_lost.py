"""A driver whose journal is on PostgreSQL: cut off from it, it goes on from what the journal says; taken over, it stops."""

from __future__ import annotations

import asyncio
import zlib
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from orchestrator import Orchestrator, keeping
from orchestrator.errors import Fenced, JournalUnreachable
from orchestrator.journal import patience
from orchestrator.journal.values import Lease
from orchestrator.model import Job, JobId, JobState, Phase
from orchestrator.source.opening import SpanContent, identity_of
from orchestrator.uploads import Guarded
from tests import postgres
from tests.contract.journal_kit import BACKENDS, HOST, in_loop, make_source, make_spans, opened
from tests.contract.test_homes import changed
from tests.contract.test_library import emulated, request, seen


def test_a_driver_whose_connection_is_cut_goes_on(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, _):
            settings = changed(settings, journal={"url": postgres.new_schema()}, unknown={"hold_seconds_min": 0})
            async with Orchestrator.open(settings) as orchestrator:
                job = await orchestrator.submit(request(tmp_path, rows=600))

                async def one_done() -> bool:
                    return any(chunk.phase is Phase.DONE for chunk in (await job.status()).chunks)

                await seen(one_done)
                postgres.run(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'orchestrator'"
                )
                summary = await job.wait()
                assert (summary.state, summary.rows.accepted) == (JobState.COMPLETE, 600)

    with capture_logs():
        asyncio.run(play())


BUSY = {"on": "create", "do": "code", "code": "1016"}


def test_whoever_waits_for_its_turn_waits_through_an_outage(tmp_path, monkeypatch):
    monkeypatch.setattr(patience, "OUTAGE_MS", 0)
    monkeypatch.setattr(keeping, "LOOK_AGAIN_SECONDS", 0.01)
    url = postgres.new_schema()
    role = f"of_{postgres.schema_of(url)}"  # can be shut out, which superusers cannot
    postgres.run(f"CREATE ROLE {role} LOGIN IN ROLE postgres")

    async def play() -> None:
        async with emulated(tmp_path) as (settings, running):
            running.service.faults.extend([BUSY])
            here = changed(settings, journal={"url": url})
            there = changed(settings, journal={"url": url.replace("postgres@", f"{role}@")})
            async with Orchestrator.open(there) as other:
                async with Orchestrator.open(here) as driving:
                    await driving.submit(request(tmp_path))
                    job = await other.submit(request(tmp_path, "b"))
                    take_over, failures = other._journal.take_over, []

                    async def counted(*which: Any, **how: Any) -> Lease:
                        try:
                            return await take_over(*which, **how)
                        except JournalUnreachable as error:
                            failures.append(error)
                            raise

                    monkeypatch.setattr(other._journal, "take_over", counted)
                    postgres.run(f"ALTER ROLE {role} CONNECTION LIMIT 0")
                    postgres.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'")

                    async def in_vain() -> bool:
                        return len(failures) > 1

                    await seen(in_vain)
                    postgres.run(f"ALTER ROLE {role} CONNECTION LIMIT -1")
                running.service.faults.remove(None)
                assert (await job.wait()).state == JobState.COMPLETE

    with capture_logs():
        asyncio.run(play())


def test_whoever_waits_for_its_turn_lets_go_of_what_is_no_job_any_more(tmp_path, monkeypatch):
    monkeypatch.setattr(keeping, "LOOK_AGAIN_SECONDS", 0.01)

    async def play() -> None:
        async with (
            emulated(tmp_path) as (settings, running),
            Orchestrator.open(settings) as driving,
            Orchestrator.open(settings) as other,
        ):
            running.service.faults.extend([BUSY])
            await driving.submit(request(tmp_path))
            job, another = [await other.submit(request(tmp_path, name)) for name in "bc"]
            jobs = other._journal.jobs

            async def meanwhile(**which: Any) -> list[Job]:
                found = await jobs(**which)
                other._holds.let_go(another.id)
                return found

            monkeypatch.setattr(other._journal, "jobs", meanwhile)
            other._holds.hold(JobId("withdrawn"))

            async def alone() -> bool:
                return other._holds.all == [job.id]

            await seen(alone)
            assert not driving._holds.wanted(another.id)
            running.service.faults.remove(None)
            assert (await job.wait()).state == JobState.COMPLETE

    asyncio.run(play())


def test_a_job_behind_another_one_does_not_begin_because_nobody_can_tell_of_that_one(tmp_path, monkeypatch):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, running), Orchestrator.open(settings) as driving:
            running.service.faults.extend([BUSY])
            first = await driving.submit(request(tmp_path))
            ask, asked = driving._journal.job, []

            async def once_in_vain(job_id: str) -> Job:
                asked.extend([job_id] * (job_id == first.id))
                if len(asked) == 2:  # the driver; the first one is whoever submits
                    raise JournalUnreachable("away")
                return await ask(job_id)

            monkeypatch.setattr(driving._journal, "job", once_in_vain)
            later = await driving.submit(replace(request(tmp_path, "b"), after=first.id))

            async def looked() -> bool:
                return len(asked) > 2

            await seen(looked)
            running.service.faults.remove(None)
            await later.wait()
            before, behind = [(await job.status()).chunks for job in (first, later)]
            assert max(each.completed_ms or 0 for each in before) <= min(each.submitted_ms or 0 for each in behind)

    with capture_logs():
        asyncio.run(play())


@pytest.mark.parametrize("backend", BACKENDS)
@in_loop
async def test_an_upload_does_not_end_when_another_process_has_taken_over(backend, tmp_path):
    path = tmp_path / "leads.csv"
    path.write_bytes(b"email\n" + b"x" * 100)
    source = replace(make_source(), absolute=str(path), content=str(path), identity=identity_of(path.stat()))
    span = replace(make_spans()[0], crc32=zlib.crc32(b"x" * 100))
    url = BACKENDS[backend](tmp_path)
    async with opened(url) as first, opened(url) as second:
        lease = await first.take_over(HOST)
        content = Guarded(SpanContent(source, span), lambda: first.confirm(lease))
        assert b"".join([piece async for piece in content.stream()]) == b"email\n" + b"x" * 100
        pieces = content.stream()
        await anext(pieces)
        await second.take_over(HOST, force=True)
        with pytest.raises(Fenced):
            async for _ in pieces:
                pass
