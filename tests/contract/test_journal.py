"""What every journal does, whatever database it is kept in."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from orchestrator import events as told
from orchestrator.errors import JobUnknown, JournalError
from orchestrator.journal.changes import (
    CallsCounted,
    ChunkChanged,
    ChunkParted,
    FindingAdded,
    JobChanged,
    JobPlanned,
    SourceHashed,
    Told,
    WaitCounted,
)
from orchestrator.journal.values import Counters, Progress, Tally, Wait
from orchestrator.model import (
    BatchId,
    BatchStatus,
    Chunk,
    ChunkId,
    CustomObjects,
    Finding,
    Format,
    JobId,
    JobOptions,
    JobState,
    Leads,
    Phase,
    ProgramMembers,
    RepeatedKeys,
    Span,
)
from tests.contract.journal_kit import (
    BACKENDS,
    HOST,
    NOW_MS,
    OTHER_HOST,
    ROWS,
    halves,
    in_loop,
    make_job,
    make_source,
    make_spans,
    opened,
    plan_of,
    planned,
    started,
)


@pytest.fixture(params=BACKENDS)
def url(request, tmp_path):
    """The URL of a journal that does not exist yet."""
    return BACKENDS[request.param](tmp_path)


# --- jobs ---------------------------------------------------------------------------------------------


@in_loop
async def test_a_job_comes_back_as_it_was_given_and_says_so(url):
    job = make_job(
        name="spring",
        api_user="api@example.com",
        emulator=True,
        labels=(("b", "2"), ("a", "1")),
        parent=JobId("j-0"),
        options=JobOptions(format=Format.SSV, on_repeated_key=RepeatedKeys.IGNORE, check=False),
    )
    async with opened(url) as journal:
        await journal.add_job(job)
    async with opened(url) as journal:
        assert await journal.job(job.id) == job
        assert await journal.events(job.id) == [told.JobAccepted(job_id=job.id, ts_ms=NOW_MS, seq=1)]
        assert await journal.sources(job.id) == ()
        assert await journal.chunks(job.id) == ()
        assert await journal.findings(job.id) == ()
        assert await journal.counters(job.id) == Counters(api_calls={}, waits={})


@pytest.mark.parametrize(
    "target",
    [
        Leads(),
        Leads(lookup_field="id", list_id=2**31, partition="Default / é"),
        CustomObjects(api_name="car_c"),
        ProgramMembers(program_id=7, member_status="Attended"),
    ],
)
@in_loop
async def test_every_target_comes_back(url, target):
    async with opened(url) as journal:
        await journal.add_job(make_job(target=target))
        assert (await journal.job("j-1")).target == target


@in_loop
async def test_a_job_added_twice_is_one_job(url):
    async with opened(url) as journal:
        await journal.add_job(make_job())
        lease = await journal.take_over(HOST)
        await journal.write(lease, [JobChanged(job_id=JobId("j-1"), values={"state": JobState.FAILED})])
        await journal.add_job(make_job())
        assert (await journal.job("j-1")).state is JobState.FAILED
        assert len(await journal.events(JobId("j-1"))) == 1
        with pytest.raises(JournalError, match="another job with the id j-1"):
            await journal.add_job(make_job(created_ms=NOW_MS + 1))


@in_loop
async def test_jobs_are_found_by_an_unambiguous_beginning(url):
    async with opened(url) as journal:
        for job_id in ("abc-1", "abc-12", "abd"):
            await journal.add_job(make_job(job_id))
        assert (await journal.job("abd")).id == "abd"
        assert (await journal.job("abc-1")).id == "abc-1"  # whole, though it begins another
        assert (await journal.job("abc-12")).id == "abc-12"
        for missing in ("ABD", "ab_", "ab%", "", "bc"):
            with pytest.raises(JobUnknown, match=f"no job {missing!r}"):
                await journal.job(missing)
        with pytest.raises(JobUnknown, match=r"more than one job starts with 'ab' \(abc-1, abc-12, abd"):
            await journal.job("ab")


@in_loop
async def test_jobs_are_listed_oldest_first_by_host_and_state(url):
    async with opened(url) as journal:
        await journal.add_job(make_job("late", created_ms=NOW_MS + 9))
        await journal.add_job(make_job("early", state=JobState.COMPLETE))
        await journal.add_job(make_job("other", host=OTHER_HOST, created_ms=NOW_MS + 1))

        async def ids(**where: Any) -> list[str]:
            return [job.id for job in await journal.jobs(**where)]

        assert await ids() == ["early", "other", "late"]
        assert await ids(host=HOST) == ["early", "late"]
        assert await ids(states={JobState.PLANNING, JobState.RUNNING}) == ["other", "late"]
        assert await ids(host=HOST, states=[JobState.PLANNING]) == ["late"]
        assert await ids(states=()) == []


@in_loop
async def test_fields_of_a_job_change(url):
    values = {
        "api_user": "api@example.com",
        "emulator": True,
        "key_columns": ("vin", "é"),
        "state": JobState.INCOMPLETE,
        "started_ms": 1,
        "finished_ms": 2,
        "exit_code": 9,
        "exit_reasons": ("refused", "rows_failed"),
    }
    async with opened(url) as journal:
        await journal.add_job(make_job())
        lease = await journal.take_over(HOST)
        await journal.write(lease, [JobChanged(job_id=JobId("j-1"), values=values)])
        assert await journal.job("j-1") == make_job(**values)
        await journal.write(lease, [JobChanged(job_id=JobId("j-1"), values={"finished_ms": None, "exit_code": None})])
        assert await journal.job("j-1") == make_job(**{**values, "finished_ms": None, "exit_code": None})


# --- plans, chunks and parts --------------------------------------------------------------------------


@in_loop
async def test_a_plan_makes_sources_and_chunks_and_starts_the_job(url):
    job = make_job()
    plan = JobPlanned(
        job_id=job.id,
        sources=(make_source(0, 2), make_source(1, 1)),
        spans=(*make_spans(0, 2), *make_spans(1, 1)),
        key_columns=("email", "id"),
    )
    async with opened(url) as journal:
        await journal.add_job(job)
        lease = await journal.take_over(HOST)
        await journal.write(lease, [plan])
        chunks = await journal.chunks(job.id)
        assert await journal.sources(job.id) == plan.sources
        assert chunks == tuple(
            Chunk(id=ChunkId(number), job=job.id, span=span) for number, span in enumerate(plan.spans, 1)
        )
        assert await journal.job(job.id) == make_job(
            state=JobState.RUNNING, key_columns=("email", "id"), started_ms=NOW_MS
        )
        assert (await journal.events(job.id))[1:] == [
            told.JobPlanned(
                job_id=job.id, ts_ms=NOW_MS, seq=2, sources=2, chunks=3, rows=3 * ROWS, source_bytes=206 + 106
            )
        ]


@in_loop
async def test_the_hash_of_a_source_comes_later_and_does_not_make_it_another_one(url):
    sources = tuple(make_source(index, 1, sha256=None) for index in range(2))
    plan = JobPlanned(
        job_id=JobId("j-1"), sources=sources, spans=(*make_spans(0, 1), *make_spans(1, 1)), key_columns=("email",)
    )
    async with opened(url) as journal:
        await journal.add_job(make_job())
        lease = await journal.take_over(HOST)
        hashed = SourceHashed(job_id=JobId("j-1"), index=1, sha256="cd" * 32)
        with pytest.raises(JournalError, match="has no source 1"):
            await journal.write(lease, [hashed])
        await journal.write(lease, [plan])
        assert await journal.sources(JobId("j-1")) == sources
        await journal.write(lease, [hashed, hashed, plan])
        assert await journal.sources(JobId("j-1")) == (sources[0], make_source(1, 1, sha256="cd" * 32))


@in_loop
async def test_a_plan_written_again_changes_nothing(url):
    async with opened(url) as journal:
        lease = await journal.take_over(HOST)
        chunks = await planned(journal, lease)
        done = JobChanged(job_id=JobId("j-1"), values={"state": JobState.COMPLETE, "started_ms": 5})
        await journal.write(lease, [done, plan_of(make_job())])
        assert await journal.chunks(JobId("j-1")) == chunks
        assert (await journal.job("j-1")).state is JobState.COMPLETE
        assert (await journal.job("j-1")).started_ms == 5
        assert len(await journal.events(JobId("j-1"))) == 2
        with pytest.raises(JournalError, match="planned already, from other sources"):
            await journal.write(lease, [plan_of(make_job(), spans=4)])


@in_loop
async def test_every_field_of_a_chunk_changes_and_those_not_named_stay(url):
    values = {
        "phase": Phase.COLLECTING,
        "attempts": 2,
        "batch_id": BatchId(2**40),
        "status": BatchStatus.COMPLETE,
        "message": "Import completed: \x00 \ud800 é",
        "submitted_ms": NOW_MS,
        "completed_ms": NOW_MS + 1,
        "took_ms": 10,
        "hold_until_ms": NOW_MS + 2,
        "polls": 3,
        "accepted": 4,
        "failed": 5,
        "warned": 6,
        "unknown": 7,
        "unmatched": 8,
        "last_batch_id": BatchId(2**39),
        "marketo_ms": NOW_MS + 3,
        "adopted": True,
        "resent": 9,
        "too_large": True,
    }
    async with opened(url) as journal:
        lease = await journal.take_over(HOST)
        before = await planned(journal, lease)
        await journal.write(lease, [ChunkChanged(chunk_id=before[1].id, values=values)])
        changed = Chunk(id=before[1].id, job=before[1].job, span=before[1].span, **values)
        assert await journal.chunks(JobId("j-1")) == (before[0], changed, before[2])
        await journal.write(lease, [ChunkChanged(chunk_id=changed.id, values={"status": None, "batch_id": None})])
        await journal.write(lease, [ChunkChanged(chunk_id=changed.id, values={})])
        (_, again, _) = await journal.chunks(JobId("j-1"))
        assert (again.status, again.batch_id, again.polls) == (None, None, 3)


@in_loop
async def test_a_split_chunk_stands_before_its_parts(url):
    async with opened(url) as journal:
        lease = await journal.take_over(HOST)
        first, whole, last = await planned(journal, lease)
        await journal.write(lease, [ChunkParted(chunk_id=whole.id, parts=halves(whole.span))])
        chunks = await journal.chunks(JobId("j-1"))
        left, right = chunks[2:4]
        assert [chunk.id for chunk in chunks] == [first.id, whole.id, left.id, right.id, last.id]
        assert chunks[1].phase is Phase.SPLIT
        for part, span in zip((left, right), halves(whole.span), strict=True):
            assert part == Chunk(id=part.id, job=whole.job, span=span, parent=whole.id, depth=1)
        await journal.write(lease, [ChunkParted(chunk_id=right.id, parts=halves(right.span))])
        parts = (await journal.chunks(JobId("j-1")))[4:6]
        assert [(part.parent, part.depth) for part in parts] == [(right.id, 2), (right.id, 2)]


@in_loop
async def test_parts_of_an_upload_in_doubt_are_in_doubt(url):
    async with opened(url) as journal:
        lease = await journal.take_over(HOST)
        (whole,) = await planned(journal, lease, spans=1)
        doubt = ChunkChanged(chunk_id=whole.id, values={"hold_until_ms": NOW_MS})
        await journal.write(lease, [doubt, ChunkParted(chunk_id=whole.id, parts=halves(whole.span))])
        parts = (await journal.chunks(JobId("j-1")))[1:]
        assert [(part.phase, part.hold_until_ms) for part in parts] == [(Phase.READY, NOW_MS)] * 2


@in_loop
async def test_a_chunk_split_again_keeps_its_parts(url):
    async with opened(url) as journal:
        lease = await journal.take_over(HOST)
        (whole,) = await planned(journal, lease, spans=1)
        parted = ChunkParted(chunk_id=whole.id, parts=halves(whole.span))
        await journal.write(lease, [parted, parted])
        chunks = await journal.chunks(JobId("j-1"))
        await journal.write(lease, [ChunkChanged(chunk_id=chunks[1].id, values={"phase": Phase.DONE})])
        await journal.write(lease, [parted])
        assert [chunk.phase for chunk in await journal.chunks(JobId("j-1"))] == [Phase.SPLIT, Phase.DONE, Phase.READY]
        left, right = halves(whole.span)
        with pytest.raises(JournalError, match="split already, into other parts"):
            await journal.write(lease, [ChunkParted(chunk_id=whole.id, parts=(left, *halves(right)))])


@in_loop
async def test_a_chunk_without_the_blank_lines_at_its_end_is_a_part(url):
    async with opened(url) as journal:
        lease = await journal.take_over(HOST)
        (whole,) = await planned(journal, lease, spans=1)
        shorter = replace(whole.span, end=whole.span.end - 1)
        await journal.write(lease, [ChunkParted(chunk_id=whole.id, parts=(shorter,))])
        assert [chunk.phase for chunk in await journal.chunks(JobId("j-1"))] == [Phase.SPLIT, Phase.READY]


def _bad_parts(whole: Span) -> dict[str, tuple[Span, ...]]:
    left, right = halves(whole)
    return {
        "nothing": (),
        "one": (whole,),
        "first missing": (right,),
        "last missing": (left, halves(right)[0]),
        "out of order": (right, left),
        "twice": (left, left, right),
        "gap": (halves(left)[0], right),
        "another source": (replace(left, source=1), replace(right, source=1)),
        "an empty one": (replace(left, end=left.start, rows=0), replace(left, rows=ROWS), replace(right, rows=0)),
    }


@pytest.mark.parametrize("case", _bad_parts(make_spans(count=1)[0]))
@in_loop
async def test_parts_that_lose_or_double_rows_are_refused(url, case):
    async with opened(url) as journal:
        lease = await journal.take_over(HOST)
        (whole,) = await planned(journal, lease, spans=1)
        with pytest.raises(JournalError, match="rows would be lost or sent twice"):
            await journal.write(lease, [ChunkParted(chunk_id=whole.id, parts=_bad_parts(whole.span)[case])])
        assert await journal.chunks(JobId("j-1")) == (whole,)


@in_loop
async def test_progress_counts_leaves(url):
    async with opened(url) as journal:
        lease = await journal.take_over(HOST)
        split, done, queued, importing, again = await planned(journal, lease, spans=5)
        await journal.write(
            lease,
            [
                ChunkChanged(chunk_id=split.id, values={"failed": ROWS, "polls": 2}),
                ChunkParted(chunk_id=split.id, parts=halves(split.span)),
                ChunkChanged(
                    chunk_id=done.id,
                    values={
                        "phase": Phase.DONE,
                        "status": BatchStatus.COMPLETE,
                        "accepted": 6,
                        "failed": 3,
                        "warned": 2,
                        "unknown": 1,
                        "unmatched": 1,
                        "polls": 4,
                    },
                ),
                ChunkChanged(chunk_id=queued.id, values={"phase": Phase.SUBMITTED, "status": BatchStatus.QUEUED}),
                ChunkChanged(chunk_id=importing.id, values={"phase": Phase.SUBMITTED, "status": BatchStatus.IMPORTING}),
                ChunkChanged(chunk_id=again.id, values={"status": BatchStatus.QUEUED}),  # of an earlier batch
            ],
        )
        phases = {phase: Tally() for phase in Phase if phase is not Phase.SPLIT}
        phases[Phase.READY] = Tally(chunks=3, rows=20, span_bytes=200)
        phases[Phase.DONE] = Tally(chunks=1, rows=10, span_bytes=100)
        phases[Phase.SUBMITTED] = Tally(chunks=2, rows=20, span_bytes=200)
        progress = await journal.progress(JobId("j-1"))
        assert progress == Progress(
            phases=phases,
            queued=1,
            importing=1,
            polls=6,
            accepted=6,
            failed=3,
            warned=2,
            unknown=1,
            unmatched=1,
        )
        assert progress.total == Tally(chunks=6, rows=50, span_bytes=500)


# --- findings, events, counters -----------------------------------------------------------------------


@in_loop
async def test_a_finding_is_told_once(url):
    findings = (
        Finding(kind="rows_unmatched", message="3 rows \x00\udc80"),
        Finding(kind="rows_unmatched", message="3 rows \x00\udc80", batch_id=BatchId(1)),
        Finding(kind="excess", message="3 rows \x00\udc80"),
    )
    async with opened(url) as journal:
        await journal.add_job(make_job())
        lease = await journal.take_over(HOST)
        for _ in range(2):
            await journal.write(lease, [FindingAdded(job_id=JobId("j-1"), finding=finding) for finding in findings])
        assert await journal.findings(JobId("j-1")) == findings
        _, *added = await journal.events(JobId("j-1"))
        assert [event.data() for event in added] == [
            {"kind": finding.kind, "message": finding.message, "batch_id": finding.batch_id} for finding in findings
        ]


@in_loop
async def test_events_are_numbered_rising_over_all_jobs_and_read_in_pieces(url):
    async with opened(url) as journal:
        lease = await journal.take_over(HOST)
        (chunk,) = await planned(journal, lease, spans=1)
        (other,) = await planned(journal, lease, make_job("j-2"), spans=1)
        for batch_id in range(5):
            await journal.write(lease, [Told(event=started(chunk, batch_id)), Told(event=started(other, batch_id))])
        read: list[told.Event] = []
        while piece := await journal.events(JobId("j-1"), after=read[-1].seq if read else 0, limit=3):
            assert len(piece) <= 3
            read += piece
        assert [event.name for event in read] == ["job.accepted", "job.planned"] + ["batch.started"] * 5
        numbers = [event.seq for event in read] + [event.seq for event in await journal.events(JobId("j-2"))]
        assert sorted(numbers) == list(range(1, 15))
        assert [event.seq for event in read] == sorted(event.seq for event in read)


@in_loop
async def test_the_same_event_of_the_same_instant_is_one_event(url):
    async with opened(url) as journal:
        lease = await journal.take_over(HOST)
        (chunk,) = await planned(journal, lease, spans=1)
        changes = [Told(event=started(chunk)), Told(event=started(chunk, 2)), Told(event=started(chunk, ts_ms=1))]
        await journal.write(lease, changes)
        await journal.write(lease, changes)
        assert len(await journal.events(chunk.job)) == 2 + 3


def _all_events() -> list[told.Event]:
    kinds = [kind for kind in vars(told).values() if isinstance(kind, type) and issubclass(kind, told.Event)]
    values = {"int": 2**40, "str": "é \ud800 \x00", "int | None": None, "str | None": None}
    return [
        kind(
            job_id=JobId("j-1"),
            ts_ms=NOW_MS,
            **{
                field.name: values[field.type] for field in fields(kind) if field.name not in ("job_id", "ts_ms", "seq")
            },
        )
        for kind in kinds
        if kind is not told.Event
    ]


@in_loop
async def test_every_kind_of_event_comes_back(url):
    async with opened(url) as journal:
        await journal.add_job(make_job())
        lease = await journal.take_over(HOST)
        kinds = _all_events()
        await journal.write(lease, [Told(event=event) for event in kinds])
        read = await journal.events(JobId("j-1"))
        assert [(type(event), event.data()) for event in read[-len(kinds) :]] == [
            (type(event), event.data()) for event in kinds
        ]
        assert len(kinds) >= 10


@in_loop
async def test_calls_and_waits_add_up(url):
    def calls(job_id: JobId | None, day: str, kind: str, count: int) -> CallsCounted:
        return CallsCounted(job_id=job_id, host=HOST, day=day, kind=kind, count=count)

    one, two = JobId("j-1"), JobId("j-2")
    async with opened(url) as journal:
        lease = await journal.take_over(HOST)
        await journal.add_job(make_job(one))
        await journal.add_job(make_job(two))
        await journal.write(lease, [calls(one, "2024-01-30", "status", 10), calls(one, "2024-01-31", "status", 3)])
        await journal.write(lease, [calls(one, "2024-01-31", "status", 4), calls(one, "2024-01-31", "failures", 1)])
        await journal.write(lease, [calls(two, "2024-01-31", "status", 99), calls(None, "2024-01-31", "token", 1)])
        waits = [("queue_full", 500), ("queue_full", 700), ("rate_limited", 1)]
        await journal.write(lease, [WaitCounted(job_id=one, cause=cause, ms=ms) for cause, ms in waits])
        assert await journal.counters(one) == Counters(
            api_calls={"failures": 1, "status": 17},
            waits={"queue_full": Wait(count=2, ms=1200), "rate_limited": Wait(count=1, ms=1)},
        )
        assert await journal.counters(two) == Counters(api_calls={"status": 99}, waits={})


# --- time --------------------------------------------------------------------------------------------------


def test_the_newest_time_is_that_of_whatever_was_written_last(url):
    @in_loop
    async def check():
        async with opened(url) as journal:
            assert await journal.newest_ms() == 0
            lease = await journal.take_over(HOST)
            chunk, other, _ = await planned(journal, lease)
            known_ms = await journal.newest_ms()
            assert known_ms == NOW_MS
            for change in (
                ChunkChanged(chunk_id=chunk.id, values={"submitted_ms": NOW_MS + 1}),
                ChunkChanged(chunk_id=other.id, values={"completed_ms": NOW_MS + 2}),
                Told(event=started(chunk, ts_ms=NOW_MS + 3)),
                JobChanged(job_id=chunk.job, values={"wish_ms": NOW_MS + 4}),
                JobChanged(job_id=chunk.job, values={"state": JobState.COMPLETE, "finished_ms": NOW_MS + 5}),
            ):
                await journal.write(lease, [change])
                known_ms += 1
                assert await journal.newest_ms() == known_ms

    check()
