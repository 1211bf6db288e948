"""When jobs are likely to end, as a journal tells it in which several of them stand."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import datetime

import pytest

from orchestrator import Settings
from orchestrator.errors import JournalStalled
from orchestrator.journal.changes import CallsCounted, ChunkChanged, ChunkValues, JobChanged, UsageTold
from orchestrator.journal.journal import Journal
from orchestrator.journal.values import Lease
from orchestrator.marketo.day import CENTRAL, quota_day
from orchestrator.model import Chunk, CustomObjects, Job, JobId, JobOptions, JobState, Phase, Priority, Wish
from orchestrator.prospect import NOTHING, Behind, Prospect, Prospects
from orchestrator.report.eta import Eta
from tests.contract.journal_kit import BACKENDS, HOST, OTHER_HOST, in_loop, make_job, opened, plan_of

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
NOON_MS = round(datetime(2026, 6, 10, 12, tzinfo=CENTRAL).timestamp() * 1000)


class Noon:
    """A clock that stands still twelve hours before the day of the quota ends."""

    def now_ms(self) -> int:
        return NOON_MS

    def wall_ms(self) -> int:
        return NOON_MS


class Queue:
    """A subscription in a journal; every minute of the last hour a batch of a job of it has ended."""

    def __init__(self, journal: Journal, lease: Lease) -> None:
        self.journal = journal
        self.lease = lease
        self.unwanted: set[str] = set()

    async def job(
        self, name: str, *, left: int, done: int = 0, canaries: int = 0, state: JobState = JobState.RUNNING, **more
    ) -> None:
        """Add a job of which so many chunks are through, the latest just now, and so many are left."""
        options = JobOptions(**{key: more.pop(key) for key in ("priority", "after", "detached") if key in more})
        job = make_job(name, options=options, **more)
        await self.journal.add_job(job)
        plan = replace(plan_of(job, left + done), canaries=tuple(range(canaries)))
        await self.journal.write(self.lease, [plan])
        chunks = await self.journal.chunks(job.id)
        for place, chunk in enumerate(chunks[:done]):
            await self.through(chunk, completed_ms=NOON_MS - (done - 1 - place) * MINUTE_MS)
        await self.change(name, state=state, started_ms=NOON_MS - done * MINUTE_MS)

    async def through(self, chunk: Chunk, **values) -> None:
        done: ChunkValues = {"phase": Phase.DONE, **values}
        await self.journal.write(self.lease, [ChunkChanged(chunk_id=chunk.id, values=done)])

    async def change(self, name: str, **values) -> None:
        await self.journal.write(self.lease, [JobChanged(job_id=JobId(name), values=values)])

    async def eta(self, name: str, **limits: int) -> Eta | None:
        return (await self.prospect(name, **limits)).eta

    async def behind(self, name: str) -> Behind | None:
        return (await self.prospect(name)).behind

    async def prospect(self, name: str, **limits: int) -> Prospect:
        prospects = Prospects(
            journal=self.journal,
            settings=Settings(limits=limits),
            clock=Noon(),
            wanted=lambda job: job not in self.unwanted,
        )
        return await prospects.of(await self.journal.job(name), attended=name not in self.unwanted)

    async def minutes(self, name: str, **limits: int) -> tuple[float, str]:
        eta = await self.eta(name, **limits)
        assert eta is not None
        return (eta.p50_ms - NOON_MS) / MINUTE_MS, eta.basis


def queue(test):
    """Run a test with a new subscription on each kind of journal."""

    @pytest.mark.parametrize("backend", BACKENDS)
    @in_loop
    async def run(backend, tmp_path):
        async with opened(BACKENDS[backend](tmp_path)) as journal:
            await test(Queue(journal, await journal.take_over(HOST)))

    run.__name__ = test.__name__
    return run


@queue
async def test_a_job_alone_ends_by_its_own_batches(queue):
    await queue.job("a", done=10, left=20)
    assert await queue.minutes("a") == (20, "the last 10 batches, 10 rows/min")
    await queue.change("a", state=JobState.PAUSED)
    assert await queue.eta("a") is None


@queue
async def test_rows_at_marketo_are_left_and_those_whose_result_is_being_fetched_are_not(queue):
    await queue.job("a", done=10, left=4)
    chunks = await queue.journal.chunks(JobId("a"))
    for chunk, phase in zip(chunks[10:], (Phase.SUBMITTED, Phase.UNKNOWN, Phase.COLLECTING), strict=False):
        more = {"completed_ms": NOON_MS} if phase is Phase.COLLECTING else {}
        await queue.through(chunk, phase=phase, **more)
    minutes, basis = await queue.minutes("a")
    assert 2.5 <= minutes <= 3
    assert basis.startswith("the last 11 batches")
    for chunk in chunks[10:]:
        await queue.through(chunk, completed_ms=NOON_MS)
    assert await queue.eta("a") is None


@queue
async def test_jobs_take_turns_and_the_pace_is_that_of_all(queue):
    await queue.job("a", done=10, left=20)
    await queue.job("b", left=5)
    await queue.job("c", left=60, priority=Priority.LOW)
    await queue.job("d", left=10, priority=Priority.HIGH)
    elsewhere = Queue(queue.journal, await queue.journal.take_over(OTHER_HOST))
    await elsewhere.job("elsewhere", done=10, left=90, host=OTHER_HOST)
    assert await queue.minutes("d") == (10, "the last 10 batches, 10 rows/min")
    assert await queue.minutes("a") == (10 + 20 + 5, "the last 10 batches, 10 rows/min, beside 2 other jobs")
    assert (await queue.minutes("b"))[0] == 10 + 5 + 5
    assert (await queue.minutes("c"))[0] == 10 + 20 + 5 + 60


@queue
async def test_what_ended_before_the_queue_ran_empty_says_nothing_of_the_pace(queue):
    await queue.job("a", done=10, left=20)
    await queue.job("tiny", done=1, left=0, state=JobState.COMPLETE)
    (chunk,) = await queue.journal.chunks(JobId("tiny"))
    begun_ms = NOON_MS - 40 * MINUTE_MS
    await queue.through(chunk, completed_ms=begun_ms + MINUTE_MS)
    await queue.change("tiny", started_ms=begun_ms, finished_ms=begun_ms + MINUTE_MS)
    assert await queue.minutes("a") == (20, "the last 10 batches, 10 rows/min")


@pytest.mark.parametrize(("since", "minutes"), [(3, 50), (4, 25)])
def test_the_time_in_which_nobody_drove_says_nothing_of_the_pace(tmp_path, since, minutes):
    @in_loop
    async def play() -> None:
        url = f"sqlite:///{tmp_path / 'journal.db'}"
        async with opened(url) as journal:
            queue = Queue(journal, await journal.take_over(HOST))
            await queue.job("a", done=10 + since, left=50)
            await queue.change("a", started_ms=NOON_MS - HOUR_MS)
            chunks = await journal.chunks(JobId("a"))
            for place, chunk in enumerate(chunks[:10]):  # one each minute; then nobody drove for half an hour
                await queue.through(chunk, completed_ms=NOON_MS - (40 - place) * MINUTE_MS)
            for place, chunk in enumerate(chunks[10 : 10 + since]):  # two each minute
                await queue.through(chunk, completed_ms=NOON_MS - (since - 1 - place) * MINUTE_MS // 2)
        async with Journal.open(url, now_ms=lambda: NOON_MS - 2 * MINUTE_MS) as journal:
            queue = Queue(journal, await journal.take_over(HOST))
            assert (await queue.minutes("a"))[0] == minutes

    play()


@queue
async def test_what_nobody_sends_is_not_waited_for(queue):
    await queue.job("a", done=10, left=20)
    await queue.job("b", left=5)
    await queue.job("c", left=5, detached=True)
    queue.unwanted = {"b", "c"}
    assert (await queue.minutes("a"))[0] == 25


@queue
async def test_a_job_after_another_waits_for_all_of_it(queue):
    await queue.job("a", done=10, left=20, priority=Priority.LOW)
    await queue.job("b", left=5, after="a")
    await queue.job("c", left=1, after="b")
    assert (await queue.minutes("a"))[0] == 20
    assert (await queue.minutes("b"))[0] == 25
    assert (await queue.minutes("c"))[0] == 26


@queue
async def test_a_canary_and_what_was_long_ago_tell_nothing_of_the_pace(queue):
    await queue.job("a", done=10, left=20, canaries=7)
    assert await queue.eta("a") is None
    await queue.job("b", done=4, left=0, state=JobState.COMPLETE, finished_ms=NOON_MS)
    assert await queue.eta("a") is not None
    await queue.change("b", finished_ms=NOON_MS - 2 * HOUR_MS)
    assert await queue.eta("a") is None


@queue
async def test_before_batches_have_ended_earlier_jobs_into_the_same_target_are_looked_at(queue):
    await queue.job("a", left=40)
    assert await queue.eta("a") is None
    for name, hours, target in (("old", 1, None), ("older", 4, None), ("other", 9, CustomObjects(api_name="car_c"))):
        more = {} if target is None else {"target": target}
        await queue.job(name, left=40, state=JobState.COMPLETE, **more)
        began_ms = NOON_MS - 100 * HOUR_MS
        await queue.change(name, started_ms=began_ms, finished_ms=began_ms + hours * HOUR_MS)
    eta = await queue.eta("a")
    assert eta is not None
    assert eta.basis.startswith("2 finished jobs into this target")
    assert eta.p50_ms - NOON_MS == pytest.approx(2 * HOUR_MS, rel=0.01)
    assert eta.p90_ms - NOON_MS == 5 * HOUR_MS
    await queue.job("tiny", left=1, state=JobState.COMPLETE)
    await queue.change("tiny", started_ms=NOON_MS - 2 * HOUR_MS, finished_ms=NOON_MS)
    assert await queue.eta("a") == eta
    await queue.job("b", left=5)
    assert (await queue.eta("b")).basis.startswith("3 finished jobs into this target")


@queue
async def test_much_smaller_jobs_say_nothing_of_a_large_one(queue):
    await queue.job("tiny", left=1, state=JobState.COMPLETE)
    await queue.change("tiny", started_ms=NOON_MS - 2 * HOUR_MS, finished_ms=NOON_MS)
    await queue.job("a", left=40)
    assert await queue.eta("a") is None


@queue
async def test_a_job_behind_another_one_that_stands_still_has_no_forecast_but_a_reason(queue):
    await queue.job("a", done=10, left=20)
    await queue.job("b", left=5, after="a")
    await queue.job("c", left=5, after="b")
    assert await queue.behind("a") is None
    assert await queue.behind("b") == Behind(job_id=JobId("a"), stopped=False)
    assert await queue.eta("b") is not None
    queue.unwanted = {"a"}
    assert await queue.behind("b") == await queue.behind("c") == Behind(job_id=JobId("a"), stopped=True)
    assert await queue.eta("b") is None
    queue.unwanted = set()
    await queue.change("a", state=JobState.PAUSED)
    assert await queue.behind("b") == Behind(job_id=JobId("a"), stopped=True)
    await queue.change("a", state=JobState.CANCELLED)
    assert await queue.behind("b") is None
    assert await queue.behind("c") == Behind(job_id=JobId("b"), stopped=False)


@queue
async def test_spent_calls_put_the_end_off_to_the_next_day(queue):
    await queue.job("a", done=10, left=20)
    counted = CallsCounted(job_id=JobId("a"), host=HOST, day=quota_day(NOON_MS), kind="submit", count=50)
    await queue.journal.write(queue.lease, [counted])  # five for each batch
    few = {"calls_per_day": 250, "calls_reserved": 100}
    assert (await queue.minutes("a", **few))[0] == 20
    await queue.journal.write(queue.lease, [UsageTold(host=HOST, day=quota_day(NOON_MS), total=200)])  # 150 of others
    minutes, basis = await queue.minutes("a", **few)
    assert minutes == 12 * 60 + 10  # for half of them today
    assert basis == "the last 10 batches, 10 rows/min, and waits for the calls of the next day"
    await queue.journal.write(queue.lease, [UsageTold(host=HOST, day=quota_day(NOON_MS), total=250)])
    assert (await queue.minutes("a", **few))[0] == 12 * 60 + 20


@queue
async def test_the_end_of_the_days_calls_is_told_of_a_job_that_runs(queue):
    await queue.job("a", done=10, left=20)
    prospects = Prospects(journal=queue.journal, settings=Settings(), clock=Noon(), wanted=lambda job: True)
    assert (
        await prospects.of(await queue.journal.job("a"), attended=True)
    ).calls_end is None  # so few calls say nothing
    await queue.journal.write(queue.lease, [UsageTold(host=HOST, day=quota_day(NOON_MS), total=40_000)])
    end = (await prospects.of(await queue.journal.job("a"), attended=True)).calls_end
    assert end is not None
    assert (end.exhausted_ms, end.reset_ms) == (NOON_MS + 3 * HOUR_MS, NOON_MS + 12 * HOUR_MS)
    await queue.change("a", state=JobState.COMPLETE)
    assert await prospects.of(await queue.journal.job("a"), attended=True) == NOTHING


@queue
async def test_nothing_is_foretold_of_a_job_that_nobody_works_on_or_that_is_to_stop(queue):
    await queue.job("a", done=10, left=20)
    queue.unwanted = {"a"}
    assert await queue.eta("a") is None
    queue.unwanted = set()
    assert await queue.eta("a") is not None
    await queue.change("a", wish=Wish.PAUSE, wish_ms=NOON_MS)
    assert await queue.eta("a") is None


@in_loop
async def test_nothing_is_foretold_while_the_driver_does_nothing(tmp_path):
    async with opened(BACKENDS["sqlite"](tmp_path)) as journal:
        queue = Queue(journal, await journal.take_over(HOST))
        await queue.job("a", done=10, left=20)
        (lock,) = tmp_path.rglob("*.lock")
        os.utime(lock, (1, 1))
        prospect = await queue.prospect("a")
        assert prospect.eta is None
        assert prospect.hung is not None
        assert prospect.hung.pid == os.getpid()
        await journal.confirm(queue.lease)
        assert (await queue.prospect("a")).hung is None
        assert await queue.eta("a") is not None


@queue
async def test_a_journal_that_stalls_is_no_end_of_the_job_before(queue):
    await queue.job("a", left=1)
    await queue.job("b", left=1, after="a")
    ask, asked = queue.journal.job, []

    async def stalled(job_id: str) -> Job:
        if job_id == "a":
            asked.append(job_id)
            raise JournalStalled("it took too long to answer")
        return await ask(job_id)

    queue.journal.job = stalled
    with pytest.raises(JournalStalled):
        await queue.behind("b")
    assert asked
