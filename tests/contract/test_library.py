"""What may go wrong around a running job, and what the library makes of it.

Several processes are several orchestrators here: whatever they know of each other, they know from files and locks.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator import ImportRequest, Orchestrator, Settings, finishing, hashing, intake
from orchestrator.config import Subscription
from orchestrator.emulator.app import Running, start
from orchestrator.emulator.config import BODY_BYTES_MAX
from orchestrator.errors import ConfigError, JournalCorrupt, JournalError, NotDelivered
from orchestrator.events import JobFinished
from orchestrator.holds import Holds
from orchestrator.model import ExitCode, Job, JobState, Phase
from orchestrator.source.opening import sha256_of
from tests.unit.emulator.kit import config

SPEED = 1_000.0
FAST = {
    "limits": {"body_bytes_max": 1_000, "window_seconds": 0.05},
    "schedule": {"slow_start": False},
    "polling": {"interval_seconds_min": 0.01, "interval_seconds_max": 0.05},
    "backoff": {"seconds_min": 0.01, "seconds_max": 0.05, "give_up_seconds": 30.0},
    "http": {"trust_env": False},
}


@asynccontextmanager
async def emulated(
    directory: Path, *, body_bytes_max: int = BODY_BYTES_MAX, token_life_s: int = 3_600, **credentials: str
) -> AsyncIterator[tuple[Settings, Running]]:
    token_life_ms = int(1_000 * token_life_s * SPEED)
    running = await start(config(speed=SPEED, token_life_ms=token_life_ms, body_bytes_max=body_bytes_max))
    known = {"client_id": "emulator", **(credentials or {"client_secret": "emulator-secret"})}
    settings = Settings(
        **FAST, state={"dir": directory / "state"}, subscriptions={"default": {"rest_url": running.url, **known}}
    )
    try:
        yield settings, running
    finally:
        await running.stop()


def request(directory: Path, name: str = "a", *, rows: int = 60, without_key: int = 0) -> ImportRequest:
    path = directory / f"{name}.csv"
    lines = [f"{'' if number < without_key else f'{name}{number}@example.com'},N{number}" for number in range(rows)]
    path.write_text("\n".join(["email,firstName", *lines, ""]), encoding="utf-8")
    return ImportRequest(sources=[path], out_dir=directory / f"out-{name}")


async def seen(look: Callable[[], Awaitable[object]]) -> None:
    """Look until there is something to be seen."""
    async with asyncio.timeout(30):
        while not await look():  # noqa: ASYNC110  # it is seen in files, which tell nobody
            await asyncio.sleep(0.001)


async def journalled(orchestrator: Orchestrator, job_id: str) -> Job:
    return (await (await orchestrator.job(job_id)).status()).job


# --- files that are gone, damaged or not to be written ---------------------------------------------------


def test_damaged_claims_are_made_anew(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, running):
            running.service.faults.extend([{"on": "create", "do": "code", "code": "1016"}])
            async with Orchestrator.open(settings) as orchestrator:
                job = await orchestrator.submit(request(tmp_path))

                async def claimed() -> list[Path]:
                    return list(tmp_path.glob("state/jobs/*/claims/*.claims"))

                await seen(claimed)
                orchestrator.drain()
            running.service.faults.remove(None)
            left = list(tmp_path.glob("state/jobs/*/claims/*.claims"))
            assert left
            for file in left:
                file.write_bytes(b"rubbish" * 40)
            async with Orchestrator.open(settings) as orchestrator:
                (job,) = (await orchestrator.resume()).jobs
                summary = await job.wait()
                assert (summary.state, summary.rows.accepted) == (JobState.COMPLETE, 60)

    asyncio.run(play())


def test_a_driver_whose_journal_is_deleted_sends_nothing_more(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, running):
            running.service.faults.extend([{"on": "create", "do": "code", "code": "1016"}])
            uploads = running.service.engine.creates

            async def tried() -> bool:
                return bool(uploads)

            async def drive() -> None:
                async with Orchestrator.open(settings) as orchestrator:
                    job = await orchestrator.submit(request(tmp_path))
                    await seen(tried)
                    (tmp_path / "state/journal.db").unlink()
                    await job.wait()

            with pytest.raises(JournalCorrupt, match="was deleted"):
                await drive()
            running.service.faults.remove(None)
            with pytest.raises(JournalCorrupt, match="is gone"):
                await drive()
            assert not running.service.engine.batches

    asyncio.run(play())


def test_a_part_of_a_report_that_is_gone_ends_its_own_job_alone(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, _):
            async with Orchestrator.open(settings) as orchestrator:
                job = await orchestrator.submit(request(tmp_path, rows=600, without_key=3))

                async def done() -> bool:
                    return any(each.phase is Phase.DONE and each.failed for each in (await job.status()).chunks)

                await seen(done)
                orchestrator.drain()
            (part,) = tmp_path.glob("state/jobs/*/parts/*.jsonl")
            kept = part.rename(tmp_path / "kept")
            async with Orchestrator.open(settings) as orchestrator:
                other = await orchestrator.submit(request(tmp_path, "b", rows=600))
                (job,) = (await orchestrator.resume([job.id])).jobs
                with pytest.raises(JournalError, match="Restore it from a backup"):
                    await job.wait()
                ended = await journalled(orchestrator, job.id)
                assert (ended.state, ended.exit_code) == (JobState.INCOMPLETE, ExitCode.INTERNAL)
                assert (await other.wait()).state == JobState.COMPLETE
                kept.rename(part)
                (job,) = (await orchestrator.resume()).jobs
                summary = await job.wait()
                assert (summary.state, summary.exit_code, summary.rows.failed) == (
                    JobState.COMPLETE,
                    ExitCode.ROWS_FAILED,
                    3,
                )

    asyncio.run(play())


def test_result_files_that_cannot_be_written_are_fetched_when_they_can(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, _), Orchestrator.open(settings) as orchestrator:
            job = await orchestrator.submit(request(tmp_path, without_key=3))
            results = tmp_path / "state" / "jobs" / job.id / "results"
            results.write_text("no directory")

            async def found() -> bool:
                return any(each.kind == "results_unwritten" for each in (await job.status()).findings)

            await seen(found)
            results.unlink()
            summary = await job.wait()
            assert (summary.state, summary.rows.failed, summary.rows.unmatched) == (JobState.COMPLETE, 3, 0)

    asyncio.run(play())


@pytest.mark.parametrize(
    "passing", [{"do": "http", "status": 503}, {"do": "code", "code": "606"}, {"do": "lose_answer_after_accept"}]
)
@pytest.mark.parametrize("damage", [{"do": "no_json"}, {"do": "missing_file"}, {"do": "truncate_file", "share": 0.3}])
def test_a_damaged_result_file_is_fetched_again_however_many_calls_failed_in_passing(tmp_path, passing, damage):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, running), Orchestrator.open(settings) as orchestrator:
            running.service.faults.extend(
                [
                    *({"on": "failures", "nth": nth, **passing} for nth in (1, 2, 4)),
                    {"on": "failures", "nth": 3, **damage},
                ]
            )
            job = await orchestrator.submit(request(tmp_path, rows=20, without_key=3))
            summary = await job.wait()
            assert [rule["struck"] for rule in running.service.faults.listing()] == [1, 1, 1, 1]
            assert (summary.rows.failed, summary.rows.unmatched, summary.findings) == (3, 0, ())

    asyncio.run(play())


@pytest.mark.parametrize("damage", [{"do": "no_json"}, {"do": "missing_file"}])
def test_a_result_file_that_stays_damaged_is_fetched_three_times(tmp_path, damage):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, running), Orchestrator.open(settings) as orchestrator:
            running.service.faults.extend([{"on": "failures", **damage}])
            job = await orchestrator.submit(request(tmp_path, rows=20, without_key=3))
            summary = await job.wait()
            assert [rule["struck"] for rule in running.service.faults.listing()] == [3]
            assert (summary.rows.failed, summary.rows.unmatched) == (3, 3)

    asyncio.run(play())


def test_a_secret_that_vanishes_on_the_way_stops_the_job_and_loses_no_chunk(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("emulator-secret")

    async def play() -> None:
        async with emulated(tmp_path, client_secret_file=str(secret)) as (settings, running):
            async with Orchestrator.open(settings) as orchestrator:
                await orchestrator.connect()
                running.service.faults.extend([{"on": "create", "do": "expire_token", "nth": 1}])
                secret.unlink()
                job = await orchestrator.submit(request(tmp_path))
                summary = await job.wait()
                assert (summary.exit_code, summary.exit_reasons) == (ExitCode.DENIED, ("denied",))
                assert (summary.rows.unsent, summary.rows.unknown) == (60, 0)
                assert str(secret) in summary.findings[0].message
            secret.write_text("emulator-secret")
            async with Orchestrator.open(settings) as orchestrator:
                (job,) = (await orchestrator.resume([job.id])).jobs
                assert (await job.wait()).rows.accepted == 60

    asyncio.run(play())


# --- one journal, several processes ----------------------------------------------------------------------


def test_a_job_that_is_wanted_again_while_its_end_is_written_ends_once(tmp_path, monkeypatch):
    write, writing, go_on = finishing.report_job, asyncio.Event(), asyncio.Event()

    async def slow(*known: Any) -> None:
        writing.set()
        await go_on.wait()
        await write(*known)

    async def play() -> None:
        monkeypatch.setattr(finishing, "report_job", slow)
        async with emulated(tmp_path) as (settings, _), Orchestrator.open(settings) as driving:
            async with Orchestrator.open(settings) as first:
                own = await driving.submit(request(tmp_path, "own", rows=600))
                job = await first.submit(request(tmp_path))
                await writing.wait()
            sending = driving._keeper._driver._sending  # nothing else shows it

            async def unwanted() -> bool:
                return job.id not in sending

            async def wanted() -> bool:
                return job.id in sending

            await seen(unwanted)
            async with Orchestrator.open(settings) as second:
                (again,) = (await second.resume([job.id])).jobs
                await seen(wanted)
                go_on.set()
                assert (await again.wait()).state == JobState.COMPLETE
                told = [event async for event in again.events()]
                assert [isinstance(event, JobFinished) for event in told].count(True) == 1
            assert (await own.wait()).state == JobState.COMPLETE

    asyncio.run(play())


def test_whoever_is_told_to_stop_waits_no_longer_for_a_job_that_another_process_goes_on_with(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, running):
            running.service.faults.extend([{"on": "create", "do": "code", "code": "1016"}])
            async with Orchestrator.open(settings) as first:
                job = await first.submit(request(tmp_path))
                async with Orchestrator.open(settings) as second:
                    (attached,) = (await second.resume([job.id])).jobs
                    second.drain("sigint")
                    async with asyncio.timeout(30):
                        assert (await attached.wait()).state == JobState.RUNNING
                        assert [event async for event in attached.events()]
                running.service.faults.remove(None)
                assert (await job.wait()).state == JobState.COMPLETE

    asyncio.run(play())


# --- a process that lives long ---------------------------------------------------------------------------


def test_a_job_that_has_ended_is_held_no_longer(tmp_path):
    async def play() -> None:
        async with (
            emulated(tmp_path) as (settings, _),
            Orchestrator.open(settings) as driving,
            Orchestrator.open(settings) as attached,
        ):
            await (await driving.submit(request(tmp_path, "a"))).wait()
            job = await attached.submit(request(tmp_path, "b"))
            await job.wait()
            for orchestrator in (driving, attached):

                async def free(holds: Holds = orchestrator._holds) -> bool:
                    return not holds.all

                await seen(free)

    asyncio.run(play())


def test_a_submission_that_is_cancelled_is_waited_for_by_nobody(tmp_path, monkeypatch):
    async def forever(*known: Any, **more: Any) -> intake.Prepared:
        return await asyncio.Event().wait()  # type: ignore[return-value]

    async def play() -> None:
        async with (
            emulated(tmp_path) as (settings, _),
            Orchestrator.open(settings) as orchestrator,
            Orchestrator.open(settings) as other,
        ):
            with monkeypatch.context() as patch:
                patch.setattr(intake.Intake, "prepare", forever)
                submitting = asyncio.create_task(orchestrator.submit(request(tmp_path)))
                await seen(orchestrator.jobs)
                submitting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await submitting
            (job,) = (await other.resume()).jobs
            assert (await job.wait()).state == JobState.COMPLETE

    asyncio.run(play())


def test_the_report_names_the_next_command_with_the_flags_of_whoever_goes_on(tmp_path):
    wanted = replace(request(tmp_path), flags=" --config /first.toml")

    def following() -> tuple[str, bool]:
        text = json.loads((tmp_path / "out-a/summary.json").read_text("utf-8"))["next"]
        return text, f"<code>{text}</code>" in (tmp_path / "out-a/report.html").read_text("utf-8")

    async def play() -> None:
        async with emulated(tmp_path) as (settings, running):
            running.service.faults.extend([{"on": "create", "do": "code", "code": "1016"}])
            async with Orchestrator.open(settings) as orchestrator:
                job = await orchestrator.submit(wanted)
                orchestrator.drain("sigint")
                await job.wait()
                await job.report()
                assert following() == (f"orchestrator resume {job.id} --config /first.toml", True)
            for flags, after in (("", ""), (None, ""), (" --set a.b=1", " --set a.b=1"), (None, " --set a.b=1")):
                async with Orchestrator.open(settings) as orchestrator:
                    (job,) = (await orchestrator.resume(flags=flags)).jobs
                    orchestrator.drain("sigint")
                    await job.wait()
                    await job.report()
                    assert following() == (f"orchestrator resume {job.id}{after}", True)

    asyncio.run(play())


def test_a_job_behind_one_that_nobody_knows_is_a_wrong_request(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, _), Orchestrator.open(settings) as orchestrator:
            for unknown in ("20200101-000000-aaaa", ""):
                with pytest.raises(ConfigError, match=f"--after: no job '{unknown}' in this journal"):
                    await orchestrator.submit(replace(request(tmp_path), after=unknown))
            assert await orchestrator.jobs() == []

    asyncio.run(play())


def test_what_was_begun_off_the_loop_does_not_hold_it_up_when_all_is_closed(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, _):
            reading, writing = os.pipe()
            async with Orchestrator.open(settings) as orchestrator:
                work = asyncio.create_task(orchestrator._offload.run(os.read, reading, 1))
                await asyncio.sleep(0)
                asyncio.get_running_loop().call_later(0.05, os.write, writing, b"x")
            assert work.done()  # the loop had its turn while it was waited for
            os.close(reading)
            os.close(writing)

    asyncio.run(asyncio.wait_for(play(), 30))


def test_a_connection_that_fails_leaves_nothing_open(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, running):
            nowhere = re.sub(r":\d+$", ":9", running.url)
            subscription = Subscription(rest_url=nowhere, client_id="emulator", client_secret="secret")
            closed = settings.model_copy(
                update={
                    "subscriptions": {"default": subscription},
                    "backoff": settings.backoff.model_copy(update={"give_up_seconds": 0.01}),
                }
            )
            async with Orchestrator.open(closed) as orchestrator:
                stack = orchestrator._connection._stack
                for _ in range(3):
                    with pytest.raises(NotDelivered):
                        await orchestrator.connect()
                assert len(stack._exit_callbacks) == 2  # type: ignore[attr-defined]

    asyncio.run(play())


# --- a report that cannot be written, a Marketo that is busy at first -------------------------------------


def test_a_report_that_cannot_be_written_is_written_by_resume(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, _), Orchestrator.open(settings) as orchestrator:
            job = await orchestrator.submit(request(tmp_path, rows=5))
            in_the_way = tmp_path / "out-a" / "summary.json"
            in_the_way.mkdir()
            summary = await job.wait()
            assert (summary.state, summary.exit_code) == ("incomplete", ExitCode.INTERRUPTED)
            assert summary.exit_reasons == ("report_unwritten",)
            assert summary.rows.accepted == 5
            in_the_way.rmdir()
            resumed = await orchestrator.resume()
            assert [handle.id for handle in resumed.jobs] == [job.id]
            assert (await resumed.jobs[0].wait()).exit_code == ExitCode.OK
            assert in_the_way.is_file()

    asyncio.run(play())


def test_a_marketo_that_is_busy_at_first_is_asked_again(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, running):
            running.service.faults.extend([{"on": "describe", "nth": 1, "do": "code", "code": "606"}])
            async with Orchestrator.open(settings) as orchestrator:
                job = await orchestrator.submit(request(tmp_path, rows=5))
                assert (await job.wait()).exit_code == ExitCode.OK

    asyncio.run(play())


@pytest.mark.parametrize("changes", [False, True])
def test_a_job_ends_when_its_sources_are_hashed_or_cannot_be(tmp_path, monkeypatch, changes):
    begun, let_go = asyncio.Event(), asyncio.Event()

    async def held_up(*arguments: Any) -> str:
        begun.set()
        await let_go.wait()
        return await sha256_of(*arguments)

    async def play() -> None:
        async with emulated(tmp_path) as (settings, _), Orchestrator.open(settings) as orchestrator:
            job = await orchestrator.submit(request(tmp_path))
            content = (tmp_path / "a.csv").read_bytes()

            async def done() -> bool:
                return all(each.phase is Phase.DONE for each in (await job.status()).chunks)

            await begun.wait()
            await seen(done)
            assert (await journalled(orchestrator, job.id)).state is JobState.RUNNING
            if changes:
                (tmp_path / "a.csv").write_bytes(content + b"\n")
            let_go.set()
            summary = await job.wait()
            assert (summary.state, summary.rows.accepted) == (JobState.COMPLETE, 60)
            assert summary.sources[0].sha256 == (None if changes else hashlib.sha256(content).hexdigest())

    monkeypatch.setattr(hashing, "sha256_of", held_up)
    asyncio.run(play())
