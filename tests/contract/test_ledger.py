"""The same content, or the same key, given twice: one job, whoever gives it and however it was cut."""

from __future__ import annotations

import asyncio
from contextlib import closing
from dataclasses import replace
from sqlite3 import connect

import pytest

from orchestrator import ImportRequest, JobHandle, Leads, Orchestrator, Settings
from orchestrator.emulator.app import Running
from orchestrator.errors import ConfigError, JournalError, SourceError
from orchestrator.journal.journal import Journal
from orchestrator.model import ExitCode, IfKnown, JobState
from tests.contract.test_library import emulated, request

QUEUE_FULL = {"on": "create", "do": "code", "code": "1016"}


async def complete(orchestrator: Orchestrator, wanted: ImportRequest) -> JobHandle:
    job = await orchestrator.submit(wanted)
    assert (await job.wait()).state == JobState.COMPLETE
    return job


def test_content_that_is_through_is_refused_by_the_name_of_its_job_and_nothing_is_left_of_the_try(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, running), Orchestrator.open(settings) as orchestrator:
            wanted = request(tmp_path)
            first = await complete(orchestrator, wanted)
            sent = len(running.service.engine.batches)
            other_name = tmp_path / "other.csv"
            other_name.write_bytes((tmp_path / "a.csv").read_bytes())
            with pytest.raises(SourceError, match=rf"imported by job {first.id} \(complete\).*--force") as refused:
                await orchestrator.submit(replace(wanted, sources=[other_name]))
            assert refused.value.next_command == f"orchestrator status {first.id}"
            skipped = await orchestrator.submit(replace(wanted, if_known=IfKnown.SKIP))
            assert (skipped.id, skipped.known, first.known) == (first.id, True, False)
            with pytest.raises(SourceError, match=first.id):
                await orchestrator.submit(replace(wanted, if_known=IfKnown.REFUSE))
            assert len(running.service.engine.batches) == sent
            again = await complete(orchestrator, replace(wanted, if_known=IfKnown.AGAIN))
            assert again.id != first.id
            states = [job.state for job in await orchestrator.jobs()]
            assert states == ["complete", "complete"]
            assert sorted(each.name for each in (tmp_path / "state" / "jobs").iterdir()) == sorted([first.id, again.id])

    asyncio.run(play())


def test_a_plan_tells_what_an_import_does_with_content_that_was_given_before(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, _), Orchestrator.open(settings) as orchestrator:
            wanted = request(tmp_path)
            assert (await orchestrator.plan(wanted)).warnings == ()
            single = await orchestrator.plan(request(tmp_path, "c", rows=5))
            assert (single.chunks, single.seconds.least, single.seconds.most) == (1, 0.0, 5 / 50)
            first = await complete(orchestrator, wanted)
            for if_known, refused, does in (
                (None, first.id, "import refuses it unless --force is given"),
                (IfKnown.SKIP, None, "import makes no other job of it"),
            ):
                found = await orchestrator.plan(replace(wanted, if_known=if_known))
                assert found.refused_for == refused
                assert found.warnings == (f"given before, as job {first.id} (complete); {does}",)
            for other in (replace(wanted, if_known=IfKnown.AGAIN), request(tmp_path, "b")):
                assert (await orchestrator.plan(other)).warnings == ()
            assert len(await orchestrator.jobs()) == 1

    asyncio.run(play())


@pytest.mark.parametrize(
    "change",
    [
        {"target": Leads(lookup_field="email", partition="Default")},
        {"target": Leads(lookup_field="email", list_id=1001)},
        {"sources": ["changed"]},
        {"sources": ["header"]},
    ],
)
def test_other_content_and_another_target_are_another_job(tmp_path, change):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, _), Orchestrator.open(settings) as orchestrator:
            wanted = replace(request(tmp_path), check=False)
            first = await complete(orchestrator, wanted)
            content = (tmp_path / "a.csv").read_bytes()
            (tmp_path / "changed").write_bytes(content[:-2] + b"X\n")
            (tmp_path / "header").write_bytes(content.replace(b"firstName", b"lastName\x20", 1))
            different = {**change}
            if "sources" in change:
                different["sources"] = [tmp_path / change["sources"][0]]
            second = await orchestrator.submit(replace(wanted, **different))
            assert second.id != first.id

    asyncio.run(play())


@pytest.mark.parametrize("same", [True, False])
def test_content_is_known_again_after_the_limits_were_changed(tmp_path, same):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, _):
            async with Orchestrator.open(settings) as orchestrator:
                await complete(orchestrator, request(tmp_path))
            limits = settings.limits.model_copy(update={"body_bytes_max": 1_500})
            subscription = settings.subscriptions["default"].model_copy(update={"limits": limits})
            other = settings.model_copy(update={"limits": limits, "subscriptions": {"default": subscription}})
            if not same:
                content = (tmp_path / "a.csv").read_bytes()
                (tmp_path / "a.csv").write_bytes(content[:-2] + b"X\n")
            async with Orchestrator.open(other) as orchestrator:
                wanted = ImportRequest(sources=[tmp_path / "a.csv"], out_dir=tmp_path / "out", if_known=IfKnown.SKIP)
                assert (await orchestrator.submit(wanted)).known is same

    asyncio.run(play())


def test_an_unfinished_job_goes_on_when_its_content_is_given_again(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, running):
            running.service.faults.extend([QUEUE_FULL])
            async with Orchestrator.open(settings) as orchestrator:
                first = await orchestrator.submit(request(tmp_path))
                orchestrator.drain("sigint")
                assert (await first.wait()).exit_code == ExitCode.SIGINT
            running.service.faults.remove(None)
            async with Orchestrator.open(settings) as orchestrator:
                again = await orchestrator.submit(request(tmp_path))
                assert (again.id, again.known) == (first.id, True)
                assert (await again.wait()).state == JobState.COMPLETE
                assert [job.id for job in await orchestrator.jobs()] == [first.id]

    asyncio.run(play())


def test_the_same_content_given_twice_at_the_same_moment_is_one_job(tmp_path):
    async def play() -> None:
        async with (
            emulated(tmp_path) as (settings, _),
            Orchestrator.open(settings) as one,
            Orchestrator.open(settings) as other,
        ):
            wanted = request(tmp_path, rows=600)
            handles = await asyncio.gather(*(each.submit(wanted) for each in (one, other, one, other)))
            assert len({handle.id for handle in handles}) == 1
            assert [handle.known for handle in handles].count(False) == 1
            for handle in handles:
                assert (await handle.wait()).rows.accepted == 600
            assert len(await one.jobs()) == 1

    asyncio.run(play())


def test_a_key_is_one_job_and_tells_its_outcome_again(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, _), Orchestrator.open(settings) as orchestrator:
            wanted = replace(request(tmp_path, without_key=2), key="night 1")
            first = await orchestrator.submit(wanted)
            assert (await first.wait()).exit_code == ExitCode.ROWS_FAILED
            again = await orchestrator.submit(wanted)
            assert (again.id, again.known) == (first.id, True)
            assert (await again.wait()).exit_code == ExitCode.ROWS_FAILED
            for other in (
                replace(request(tmp_path, "b"), key="night 1"),
                replace(wanted, target=Leads(lookup_field="email", partition="Default")),
            ):
                with pytest.raises(SourceError, match=f"key 'night 1' belongs to job {first.id}"):
                    await orchestrator.submit(other)
            tomorrow = await orchestrator.submit(replace(wanted, key="night 2"))  # a new key asks for a new job
            assert tomorrow.id != first.id

    asyncio.run(play())


@pytest.mark.parametrize("if_known", list(IfKnown))
def test_a_key_counts_more_than_content_that_was_given_again(tmp_path, if_known):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, _), Orchestrator.open(settings) as orchestrator:
            wanted = request(tmp_path)
            first = await complete(orchestrator, replace(wanted, key="night 1"))
            forced = await complete(orchestrator, replace(wanted, if_known=IfKnown.AGAIN))
            again = await orchestrator.submit(replace(wanted, key="night 1", if_known=if_known))
            assert (again.id, again.known) == (first.id, True)
            assert again.id != forced.id

    asyncio.run(play())


@pytest.mark.parametrize("key", [None, "night 1"])
def test_a_job_that_is_being_forgotten_is_none_that_was_given(tmp_path, key):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, _):
            wanted = replace(request(tmp_path), key=key)
            async with Orchestrator.open(settings) as orchestrator:
                first = await complete(orchestrator, wanted)
            with closing(connect(tmp_path / "state" / "journal.db")) as database, database:
                database.execute("update jobs set pruned_ms = 1")  # the rest of it is removed by a later driver
            async with asyncio.timeout(30), Orchestrator.open(settings) as orchestrator:
                again = await complete(orchestrator, wanted)
            assert (again.id != first.id, again.known) == (True, False)

    asyncio.run(play())


def test_looking_for_a_job_that_comes_and_goes_has_an_end(tmp_path, monkeypatch):
    async def never(*_: object) -> bool:
        return False

    async def play() -> None:
        async with emulated(tmp_path) as (settings, _), Orchestrator.open(settings) as orchestrator:
            monkeypatch.setattr(Journal, "plan_once", never)
            async with asyncio.timeout(30):
                with pytest.raises(JournalError, match="try again when they have ended"):
                    await orchestrator.submit(request(tmp_path))

    asyncio.run(play())


FORGED = ("d8dad95b0e@example.com,e52059dff5\n", "faa4f3c79a@example.com,9dedb1c393\n")  # of equal length and CRC-32


def test_content_is_not_judged_by_checksums_that_can_be_forged(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, _), Orchestrator.open(settings) as orchestrator:
            wanted = request(tmp_path, rows=1)
            path = tmp_path / "a.csv"
            content, jobs = path.read_text(encoding="utf-8"), []
            for row in FORGED:
                path.write_text(content + row, encoding="utf-8")
                jobs.append(await complete(orchestrator, wanted))
            assert jobs[0].id != jobs[1].id
            with pytest.raises(SourceError, match=jobs[1].id):
                await orchestrator.submit(wanted)

    asyncio.run(play())


def test_files_without_rows_are_not_each_other_s_like(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, _), Orchestrator.open(settings) as orchestrator:
            wanted = replace(request(tmp_path, rows=0), allow_empty=True)
            for _ in range(2):
                assert not (await complete(orchestrator, wanted)).known

    asyncio.run(play())


def test_a_paused_job_waits_for_its_name_although_its_content_is_given_again(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, running), Orchestrator.open(settings) as orchestrator:
            running.service.faults.extend([QUEUE_FULL])
            first = await orchestrator.submit(request(tmp_path))
            await orchestrator.pause(first.id)
            assert (await first.wait()).state == JobState.PAUSED
            again = await orchestrator.submit(request(tmp_path))
            assert again.id == first.id
            assert (await again.wait()).exit_code == ExitCode.INTERRUPTED

    asyncio.run(play())


# --- sources that were moved -----------------------------------------------------------------------------


async def stopped(settings: Settings, running: Running, wanted: ImportRequest) -> str:
    """Stop a job before anything of it is sent."""
    running.service.faults.extend([QUEUE_FULL])
    async with Orchestrator.open(settings) as orchestrator:
        job = await orchestrator.submit(wanted)
        orchestrator.drain("sigint")
        await job.wait()
    running.service.faults.remove(None)
    return job.id


def test_a_job_goes_on_with_a_source_that_was_moved(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, running):
            job_id = await stopped(settings, running, request(tmp_path))
            (tmp_path / "a.csv").rename(tmp_path / "moved.csv")
            async with Orchestrator.open(settings) as orchestrator:
                places = {str(tmp_path / "a.csv"): str(tmp_path / "moved.csv")}
                (job,) = (await orchestrator.resume([job_id], sources=places)).jobs
                summary = await job.wait()
                assert (summary.state, summary.rows.accepted) == (JobState.COMPLETE, 60)
                assert (await job.status()).job.absolute_paths == (str(tmp_path / "moved.csv"),)

    asyncio.run(play())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda content: content + b"more@example.com,M\n", "bytes, and 1,"),
        (lambda content: content.replace(b"email,firstName", b"email,lastnames", 1), "its header is another one"),
        (lambda content: content.replace(b",N59", b",X59"), r"rows \d+ to 60 are others"),
    ],
)
def test_another_file_in_a_source_s_place_is_refused_with_what_differs(tmp_path, change, told):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, running):
            job_id = await stopped(settings, running, request(tmp_path))
            path = tmp_path / "a.csv"
            other = tmp_path / "other.csv"
            other.write_bytes(change(path.read_bytes()))
            async with Orchestrator.open(settings) as orchestrator:
                with pytest.raises(SourceError, match=told):
                    await orchestrator.resume([job_id], sources={str(path): str(other)})
                for job_ids, places, words in (
                    ([job_id], {"absent.csv": str(other)}, "has no source absent.csv; it has"),
                    ([], {str(path): str(other)}, "name the one job"),
                ):
                    with pytest.raises(ConfigError, match=words):
                        await orchestrator.resume(job_ids, sources=places)
                (known,) = await orchestrator.jobs()
                assert (known.state, known.absolute_paths) == (JobState.INCOMPLETE, (str(path),))

    asyncio.run(play())
