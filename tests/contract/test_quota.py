"""API calls are counted by every command, for all processes together; imports leave others their share."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime
from random import Random

import pytest

from orchestrator import Leads, Orchestrator, Settings
from orchestrator.clock import SystemClock
from orchestrator.doctor import Mark, examine
from orchestrator.events import QuotaReached
from orchestrator.journal.changes import UsageTold
from orchestrator.marketo.day import CENTRAL
from orchestrator.model import ExitCode, JobState
from tests.contract.test_library import emulated, request, seen


def limited(settings: Settings, **values: int) -> Settings:
    limits = settings.limits.model_copy(update=values)
    subscription = settings.subscriptions["default"].model_copy(update={"limits": limits})
    return settings.model_copy(update={"limits": limits, "subscriptions": {"default": subscription}})


def test_calls_of_every_process_add_up_and_marketo_tells_of_others(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, _):
            async with Orchestrator.open(settings) as one:
                for _ in range(2):
                    await one.describe(Leads())
            async with Orchestrator.open(settings) as other:
                await other.describe(Leads())
                assert (await other.calls_today()).own == 3
            wanted = request(tmp_path)
            for number, ask in enumerate(("draft_mapping", "check", "plan"), 4):  # each asks for the fields once
                async with Orchestrator.open(settings) as other:
                    await getattr(other, ask)(wanted)
                    assert (await other.calls_today()).own == number
            async with Orchestrator.open(settings) as other:
                told = await other.usage()
                known = await other.calls_today()
                assert known.own == 7
                assert known.own + known.others >= told.total
            async with Orchestrator.open(settings) as later:
                assert await later.calls_today() == known

    asyncio.run(play())


def test_calls_that_wait_to_be_written_are_not_taken_for_others(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, _), Orchestrator.open(settings) as orchestrator:
            await (await orchestrator.submit(request(tmp_path))).wait()  # Marketo is asked before the first upload
            known = await orchestrator.calls_today()
            assert known.own > 0
            assert known.others == 0

    asyncio.run(play())


class InTheAfternoon(SystemClock):
    """The machine's clock, in the middle of a day of the quota."""

    def wall_ms(self) -> int:
        return round(datetime(2026, 6, 10, 12, tzinfo=CENTRAL).timestamp() * 1000) + super().wall_ms() % 1_000


@pytest.mark.parametrize(("others", "exhausted"), [(10_000, None), (40_000, "15:00")])
def test_the_end_of_the_days_calls_is_predicted(tmp_path, others, exhausted):
    async def play() -> None:
        async with (
            emulated(tmp_path) as (settings, _),
            Orchestrator.open(settings, clock=InTheAfternoon()) as orchestrator,
        ):
            await orchestrator.describe(Leads())
            assert orchestrator.end_of(await orchestrator.calls_today()) is None  # so few say nothing
            told = UsageTold(host=(await orchestrator.connect()).host, day="2026-06-10", total=others)
            await orchestrator._journal.write_unfenced([told])
            end = orchestrator.end_of(await orchestrator.calls_today())
            assert end is not None
            found = end.exhausted_ms and f"{datetime.fromtimestamp(end.exhausted_ms / 1000, CENTRAL):%H:%M}"
            assert found == exhausted

    asyncio.run(play())


def test_calls_of_an_examination_are_counted_where_there_is_a_journal(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, _):
            clock, counts = SystemClock(), []
            for _ in range(2):  # the first time there is no journal yet
                found = [check async for check in examine(settings, None, clock=clock, rng=Random(1))]
                assert not [check for check in found if check.mark is Mark.FAIL]
                async with Orchestrator.open(settings) as orchestrator:
                    counts.append((await orchestrator.calls_today()).own)
            assert counts[0] == 0
            assert counts[1] >= 4  # what the API user may do is tried out, and calls are asked for

    asyncio.run(play())


def test_an_import_leaves_others_their_calls_and_goes_on_the_next_day(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, _):
            small = limited(settings, calls_per_day=40, calls_reserved=20)
            async with Orchestrator.open(small) as orchestrator:
                job = await orchestrator.submit(request(tmp_path, rows=900))

                async def told() -> bool:
                    events = await orchestrator._journal.events(job.id)
                    return any(isinstance(event, QuotaReached) for event in events)

                await seen(told)
                orchestrator.drain("sigint")
                await job.wait()
                unsent = (await job.summary()).rows.unsent
                assert 0 < unsent < 900
                assert (await orchestrator.calls_today()).own <= 20 + 10
            async with Orchestrator.open(settings) as orchestrator:  # as the next day has it: calls enough
                (job,) = (await orchestrator.resume()).jobs
                assert (await job.wait()).rows.accepted == 900

    asyncio.run(play())


def test_an_import_that_is_not_to_wait_ends_with_8(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, _):
            small = limited(settings, calls_per_day=60, calls_reserved=20)
            async with Orchestrator.open(small) as orchestrator:
                job = await orchestrator.submit(replace(request(tmp_path, rows=900), waits_for_quota=False))
                summary = await job.wait()
                assert (summary.state, summary.exit_code) == (JobState.INCOMPLETE, ExitCode.THRESHOLD)
                assert summary.exit_reasons[0] == "quota_exhausted"
                assert summary.rows.unsent > 0

    asyncio.run(play())
