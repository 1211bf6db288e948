"""What no journal lets happen, whatever database it is kept in: a write torn, lost, or made by the wrong one."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import events as told
from orchestrator.errors import Fenced, JournalCorrupt, JournalError, SubscriptionBusy
from orchestrator.events import JobFinished
from orchestrator.journal.changes import (
    CallsCounted,
    CapLearned,
    Change,
    ChunkChanged,
    ChunkParted,
    FindingAdded,
    JobChanged,
    JobPlanned,
    Told,
    UnsentCancelled,
    WaitCounted,
)
from orchestrator.journal.journal import Journal
from orchestrator.journal.values import Lease, Owner
from orchestrator.model import (
    Chunk,
    ChunkId,
    FileIdentity,
    Finding,
    JobId,
    JobState,
    Leads,
    Phase,
    Wish,
)
from tests.contract.journal_kit import (
    BACKENDS,
    HOST,
    NOW_MS,
    OTHER_HOST,
    halves,
    in_loop,
    make_job,
    make_source,
    make_spans,
    now_ms,
    opened,
    plan_of,
    planned,
    started,
)

CRASHES = int(os.environ.get("JOURNAL_CRASHES", "4"))
WRITER = [sys.executable, "-m", "tests.contract.journal_writer"]
ROOT = Path(__file__).parents[2]


@pytest.fixture(params=BACKENDS)
def url(request, tmp_path):
    """The URL of a journal that does not exist yet."""
    return BACKENDS[request.param](tmp_path)


# --- whole or not at all, and only by the owner -------------------------------------------------------


def _contradictions(chunk: Chunk) -> dict[str, Change]:
    nobody = JobId("nobody")
    return {
        "no such chunk": ChunkChanged(chunk_id=ChunkId(999), values={"polls": 1}),
        "no such chunk to split": ChunkParted(chunk_id=ChunkId(999), parts=halves(chunk.span)),
        "no such job": JobChanged(job_id=nobody, values={"exit_code": 1}),
        "no such job to plan": plan_of(make_job(nobody)),
        "no such job to tell of": Told(event=told.JobAccepted(job_id=nobody, ts_ms=1)),
        "no such job to find about": FindingAdded(job_id=nobody, finding=Finding(kind="k", message="m")),
        "no such job that waits": WaitCounted(job_id=nobody, cause="c", ms=1),
        "no such job that calls": CallsCounted(job_id=nobody, host=HOST, day="d", kind="k", count=1),
        "calls of another host": CallsCounted(job_id=None, host=OTHER_HOST, day="d", kind="k", count=1),
        "a field that never changes": ChunkChanged(chunk_id=chunk.id, values={"span": 1}),  # type: ignore[typeddict-unknown-key]
        "a field of a job that never changes": JobChanged(job_id=chunk.job, values={"host": "h"}),  # type: ignore[typeddict-unknown-key]
        "a number beyond 64 bits": ChunkChanged(chunk_id=chunk.id, values={"polls": 2**63}),
        "a value of no known kind": ChunkChanged(chunk_id=chunk.id, values={"message": object()}),  # type: ignore[typeddict-item]
        "nothing planned": JobPlanned(job_id=chunk.job, sources=(), spans=(), key_columns=()),
    }


@pytest.mark.parametrize("case", list(_contradictions(Chunk(id=ChunkId(1), job=JobId("j-1"), span=make_spans()[0]))))
@in_loop
async def test_a_change_that_cannot_be_takes_the_others_with_it(url, case):
    async with opened(url) as journal:
        lease = await journal.take_over(HOST)
        chunk, *_ = before = await planned(journal, lease)
        empty = make_job("empty")
        await journal.add_job(empty)
        bad = _contradictions(chunk)[case]
        if case == "nothing planned":
            bad = JobPlanned(job_id=empty.id, sources=(), spans=(), key_columns=())
        with pytest.raises(JournalError):
            await journal.write(lease, [ChunkChanged(chunk_id=chunk.id, values={"polls": 1}), bad])
        assert await journal.chunks(chunk.job) == before
        await journal.write(lease, [ChunkChanged(chunk_id=chunk.id, values={"polls": 1})])


@in_loop
async def test_a_job_of_another_subscription_is_out_of_reach(url):
    async with opened(url) as journal:
        lease, other = await journal.take_over(HOST), await journal.take_over(OTHER_HOST)
        chunk, *_ = await planned(journal, lease)
        changes: list[Change] = [
            ChunkChanged(chunk_id=chunk.id, values={"polls": 1}),
            ChunkParted(chunk_id=chunk.id, parts=halves(chunk.span)),
            JobChanged(job_id=chunk.job, values={"exit_code": 1}),
            Told(event=started(chunk)),
        ]
        for change in changes:
            with pytest.raises(JournalError, match=rf"of {OTHER_HOST} in this journal"):
                await journal.write(other, [change])
        await journal.write(lease, changes[:1])


@in_loop
async def test_only_the_last_owner_writes(url):
    async with opened(url) as first, opened(url) as second:
        stale = await first.take_over(HOST)
        chunk, *_ = before = await planned(first, stale)
        await first.release(stale)
        fresh = await second.take_over(HOST)
        assert (stale.epoch, fresh.epoch) == (1, 2)
        for lease in (stale, Lease(host=HOST, epoch=3), Lease(host=OTHER_HOST, epoch=2)):
            with pytest.raises(Fenced, match=lease.host):
                await first.write(lease, [ChunkChanged(chunk_id=chunk.id, values={"polls": 1})])
        with pytest.raises(Fenced):
            await first.write(stale, [])  # a way to ask
        assert await second.chunks(chunk.job) == before
        await second.write(fresh, [ChunkChanged(chunk_id=chunk.id, values={"polls": 2})])
        assert (await first.chunks(chunk.job))[0].polls == 2


@in_loop
async def test_who_waits_for_a_job_writes_about_it_while_another_drives(url):
    job = make_job()
    finding = FindingAdded(job_id=job.id, finding=Finding(kind="k", message="m"))
    async with opened(url) as driving, opened(url) as waiting:
        await driving.take_over(HOST)
        await waiting.add_job(job)
        await waiting.write_unfenced([plan_of(job), finding, JobChanged(job_id=job.id, values={"api_user": "u"})])
        (chunk, *_) = before = await driving.chunks(job.id)
        assert (await driving.job(job.id)).api_user == "u"
        assert len(await driving.findings(job.id)) == 1
        for fenced in (
            ChunkChanged(chunk_id=chunk.id, values={"polls": 1}),
            ChunkParted(chunk_id=chunk.id, parts=halves(chunk.span)),
            WaitCounted(job_id=job.id, cause="queue_full", ms=1),
            CapLearned(bytes_max=9_025_000, learned_ms=NOW_MS),
        ):
            with pytest.raises(JournalError, match=f"{type(fenced).__name__} needs a lease"):
                await waiting.write_unfenced([JobChanged(job_id=job.id, values={"api_user": "v"}), fenced])
        with pytest.raises(JournalError, match="no job nobody of any host"):
            await waiting.write_unfenced([JobChanged(job_id=JobId("nobody"), values={"api_user": "v"})])
        assert await driving.chunks(job.id) == before
        assert (await driving.job(job.id)).api_user == "u"


@in_loop
async def test_who_waits_for_a_job_does_not_undo_what_another_process_made_of_it(url):
    job = make_job()
    ended = JobChanged(job_id=job.id, values={"state": JobState.COMPLETE, "exit_code": 0})
    stopped = JobChanged(job_id=job.id, values={"state": JobState.INCOMPLETE, "exit_code": 130})
    told = Told(event=JobFinished(job_id=job.id, ts_ms=NOW_MS, state=JobState.INCOMPLETE, exit_code=130))
    async with opened(url) as driving, opened(url) as waiting:
        await waiting.add_job(job)
        await waiting.write_unfenced([plan_of(job)])
        await driving.write(await driving.take_over(HOST), [ended])
        before = await driving.events(job.id)
        assert not await waiting.write_unfenced([stopped, told], only_from=(JobState.RUNNING,))
        assert (await driving.job(job.id)).exit_code == 0
        assert await driving.events(job.id) == before
        assert await waiting.write_unfenced([stopped, told], only_from=(JobState.RUNNING, JobState.COMPLETE))
        assert (await driving.job(job.id)).exit_code == 130
        assert len(await driving.events(job.id)) == len(before) + 1


@in_loop
async def test_what_is_made_of_a_job_as_it_was_read_is_not_written_if_somebody_wants_it_otherwise_by_now(url):
    async with opened(url) as driving, opened(url) as waiting:
        lease = await driving.take_over(HOST)
        (chunk, *_) = await planned(driving, lease)
        job = await driving.job(chunk.job)
        wished = JobChanged(job_id=job.id, values={"wish": Wish.CANCEL})
        ended = JobChanged(job_id=job.id, values={"state": JobState.PAUSED})
        assert await waiting.write_unfenced([wished], as_of=job)
        assert not await driving.write(lease, [ended, UnsentCancelled(job_id=job.id)], as_of=job)
        assert not await waiting.write_unfenced([ended], as_of=job)
        known = await driving.job(job.id)
        assert (known.state, known.wish) == (JobState.RUNNING, Wish.CANCEL)
        assert (await driving.chunks(job.id))[0].phase is Phase.READY
        assert await driving.write(lease, [ended], as_of=known)
        assert not await driving.write(lease, [wished], as_of=known)


@in_loop
async def test_one_owner_at_a_time(url):
    async with opened(url) as first, opened(url) as second:
        assert await second.owner(HOST) is None
        lease = await first.take_over(HOST)
        for journal in (first, second):
            assert await journal.owner(HOST) == Owner(pid=os.getpid(), since_ms=NOW_MS)
            with pytest.raises(SubscriptionBusy, match=rf"{HOST} .* {os.getpid()} .*since 2023-11-14 22:13:20"):
                await journal.take_over(HOST)
        other = await second.take_over(OTHER_HOST)  # each subscription has its own
        await second.release(lease)  # not its to give
        assert await second.owner(HOST) is not None
        await first.release(lease)
        await first.release(lease)
        assert await second.owner(HOST) is None
        await second.take_over(HOST)
        await first.release(lease)
        assert await second.owner(HOST) is not None
        assert await first.owner(other.host) is not None


@in_loop
async def test_an_old_lease_releases_nothing_new(url):
    async with opened(url) as journal:
        old = await journal.take_over(HOST)
        await journal.release(old)
        await journal.take_over(HOST)
        await journal.release(old)
        assert await journal.owner(HOST) is not None


@in_loop
async def test_closing_gives_back_what_is_held(url):
    async with opened(url) as first:
        await first.take_over(HOST)
        await first.take_over(OTHER_HOST)
    async with opened(url) as second:
        assert await second.owner(HOST) is None
        assert (await second.take_over(HOST)).epoch == 2


@in_loop
async def test_a_salt_is_made_once_for_each_subscription(url):
    async with opened(url) as first, opened(url) as second:
        salt = await first.salt(HOST)
        assert len(salt) == 16
        assert await second.salt(HOST) == salt
        assert await second.salt(OTHER_HOST) != salt
        await first.take_over(HOST)
        assert await first.salt(HOST) == salt
    async with Journal.open(url, now_ms=now_ms, token_bytes=lambda count: b"x" * count) as third:
        assert await third.salt(HOST) == salt
        assert await third.salt("new") == b"x" * 16


@in_loop
async def test_processes_that_open_a_new_journal_together_share_it(url):
    async def add(number: int) -> bytes:
        async with opened(url) as journal:
            await journal.add_job(make_job(f"j-{number}"))
            return await journal.salt(HOST)

    salts = await asyncio.gather(*(add(number) for number in range(6)))
    assert len(set(salts)) == 1
    async with opened(url) as journal:
        assert [job.id for job in await journal.jobs()] == [f"j-{number}" for number in range(6)]


# --- cancellation -------------------------------------------------------------------------------------


@in_loop
async def test_a_cancelled_caller_loses_no_write(url):
    async with opened(url) as journal:
        lease = await journal.take_over(HOST)
        chunks = await planned(journal, lease, spans=20)
        writes = [
            asyncio.create_task(
                journal.write(
                    lease,
                    [ChunkChanged(chunk_id=chunk.id, values={"polls": 1}), Told(event=started(chunk, chunk.id))],
                )
            )
            for chunk in chunks
        ]
        await asyncio.sleep(0)  # every task has asked
        for write in writes:
            write.cancel()
        outcomes = await asyncio.gather(*writes, return_exceptions=True)
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
        assert [chunk.polls for chunk in await journal.chunks(chunks[0].job)] == [1] * 20
        assert len(await journal.events(chunks[0].job)) == 2 + 20


@in_loop
async def test_closing_waits_for_cancelled_writes(url):
    async with opened(url) as journal:
        lease = await journal.take_over(HOST)
        chunks = await planned(journal, lease, spans=20)
        for chunk in chunks:
            write = asyncio.create_task(
                journal.write(lease, [ChunkChanged(chunk_id=chunk.id, values={"phase": Phase.SUBMITTING})])
            )
            await asyncio.sleep(0)
            write.cancel()
    async with opened(url) as journal:
        assert {chunk.phase for chunk in await journal.chunks(chunks[0].job)} == {Phase.SUBMITTING}


@in_loop
async def test_a_cancelled_takeover_leaves_nobody_in_charge(url):
    async with opened(url) as journal:
        takeover = asyncio.create_task(journal.take_over(HOST))
        await asyncio.sleep(0)
        takeover.cancel()
        with pytest.raises(asyncio.CancelledError):
            await takeover
        assert (await journal.take_over(HOST)).epoch == 2


# --- death --------------------------------------------------------------------------------------------


def _writer(url: str, *more: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [*WRITER, url, *more], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@in_loop
async def test_the_lock_dies_with_its_process(url):
    async with opened(url) as journal:
        process = _writer(url)
        assert await journal.owner(HOST) == Owner(pid=process.pid, since_ms=NOW_MS)
        with pytest.raises(SubscriptionBusy, match=f"process {process.pid} since"):
            await journal.take_over(HOST)
        process.kill()
        process.communicate()
        assert await journal.owner(HOST) is None
        assert (await journal.take_over(HOST)).epoch == 2


def test_what_was_acknowledged_survives_a_kill_whole(url):
    rng = random.Random("kill")
    for crash in range(CRASHES):
        process = _writer(url)
        assert process.stdout is not None
        acknowledged = 0
        for _ in range(rng.randrange(1, 60)):
            acknowledged = int(process.stdout.readline())
        process.kill()
        late = process.stdout.read()  # `communicate` forgets the lines that came together with those read before
        process.communicate()
        acknowledged = max([acknowledged, *map(int, late.splitlines())])
        polls = asyncio.run(_count(url))
        assert acknowledged <= polls <= acknowledged + 1
        assert asyncio.run(_epoch(url)) == 2 * (crash + 1)


def test_a_disk_that_takes_no_more_is_an_error_and_nothing_is_torn(tmp_path):
    url = BACKENDS["sqlite"](tmp_path)  # the disk of a server is its own
    process = _writer(url, "500000")
    output, errors = process.communicate()
    assert process.returncode == 1
    assert errors.startswith("JournalStalled the journal ")
    acknowledged = int(output.splitlines()[-1])
    assert acknowledged > 3
    assert asyncio.run(_count(url)) == acknowledged


async def _count(url: str) -> int:
    """Return how many writes are there, each of which changed a chunk and told an event."""
    async with opened(url) as journal:
        (chunk, *_) = await journal.chunks(JobId("j-1"))
        events = await journal.events(JobId("j-1"), limit=100_000)
        assert len(events) == 2 + chunk.polls
        return chunk.polls


async def _epoch(url: str) -> int:
    async with opened(url) as journal:  # taking over reads the whole file for damage
        return (await journal.take_over(HOST)).epoch


# --- exactness ----------------------------------------------------------------------------------------

anything = st.text(st.characters(exclude_categories=()), max_size=20)  # with halves of surrogate pairs and NUL
integer = st.integers(min_value=-(2**63), max_value=2**63 - 1)


def test_whatever_comes_from_outside_comes_back_exactly(url):
    with asyncio.Runner() as runner:
        context = opened(url)
        journal = runner.run(context.__aenter__())
        lease = runner.run(journal.take_over(HOST))
        number = iter(range(10**9))

        @settings(max_examples=60, deadline=None)
        @given(
            texts=st.tuples(*[anything] * 6),
            many=st.lists(anything, max_size=4).map(tuple),
            labels=st.lists(st.tuples(anything, anything), max_size=3).map(tuple),
            wide=st.integers(min_value=0, max_value=2**64 - 1),
            header=st.binary(max_size=20),
            count=integer,
        )
        def round_trip(texts, many, labels, wide, header, count):
            path, name, partition, user, folder, message = texts
            job = make_job(
                f"r-{next(number)}",
                name=name,
                api_user=user,
                labels=labels,
                target=Leads(lookup_field=name, list_id=wide, partition=partition),
                paths=many,
                absolute_paths=many,
                out_dir=folder,
                subscription=name,
                created_ms=count,
            )
            source = make_source(
                path=path,
                absolute=folder,
                header=header,
                columns=many,
                identity=FileIdentity(device=wide, inode=2**64 - 1, size_bytes=count, mtime_ns=count),
            )
            finding = Finding(kind="k", message=message)
            runner.run(journal.add_job(job))
            assert runner.run(journal.job(job.id)) == job
            plan = JobPlanned(job_id=job.id, sources=(source,), spans=make_spans(), key_columns=many)
            runner.run(journal.write(lease, [plan, FindingAdded(job_id=job.id, finding=finding)]))
            assert runner.run(journal.sources(job.id)) == (source,)
            assert runner.run(journal.findings(job.id)) == (finding,)
            assert runner.run(journal.job(job.id)).key_columns == many
            assert runner.run(journal.events(job.id))[-1].data()["message"] == message

        try:
            round_trip()
        finally:
            runner.run(context.__aexit__(None, None, None))


@pytest.mark.parametrize("then", ["deleted", "replaced"])
@in_loop
async def test_a_journal_that_is_not_there_any_more_is_written_and_read_no_longer(tmp_path, then):
    path = tmp_path / "journal.db"
    async with opened(f"sqlite:///{path}") as journal:
        lease = await journal.take_over(HOST)
        await journal.confirm(lease)
        if then == "replaced":
            path.rename(tmp_path / "before.db")
            path.write_bytes(b"")
        else:
            path.unlink()
        for call in (journal.jobs(), journal.write(lease, []), journal.take_over(OTHER_HOST), journal.confirm(lease)):
            with pytest.raises(JournalCorrupt, match="was deleted or replaced while it was in use"):
                await call


@pytest.mark.parametrize("left", ["nothing", "an empty file"])
@in_loop
async def test_a_journal_that_was_driven_with_is_not_begun_anew(tmp_path, left):
    path = tmp_path / "journal.db"
    async with opened(f"sqlite:///{path}") as journal:
        await journal.release(await journal.take_over(HOST))
    path.unlink()
    if left != "nothing":
        path.touch()
    with pytest.raises(JournalCorrupt, match="sends their rows again"):
        async with opened(f"sqlite:///{path}"):
            pass
    for file in tmp_path.glob("journal.db.*.lock"):  # as the error says
        file.unlink()
    async with opened(f"sqlite:///{path}") as journal:
        assert await journal.jobs() == []
