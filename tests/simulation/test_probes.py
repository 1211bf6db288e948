"""Single lost answers, and what is found out about each: which batch it became, or why that is not certain."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.app import Orchestrator
from orchestrator.model import Leads, OnUnknown
from orchestrator.tables import Schedule, Unknown
from tests.e2e.holdings import HOLDINGS
from tests.simulation.kit import Loop, simulate
from tests.simulation.plans import HOUR_MS, Life, Plan, Row, SimJob
from tests.simulation.strangers import ROWS, Crowded, _text

BEFORE, AFTER = "lose_answer_before_accept", "lose_answer_after_accept"


class Told(Crowded):
    """A world in which strangers come when the test says so: right before or behind the n-th upload."""

    before: Mapping[int, str] = {}
    behind: Mapping[int, str] = {}

    def _note(self, create: Any) -> Any:
        noting = super()._note(create)

        def beside(upload: Any, *args: Any) -> Any:
            number = len(self.taken) + 1
            rows = upload.data.count(b"\n") - 1
            self._come_with(self.before.get(number), rows)
            batch = noting(upload, *args)
            self._come_with(self.behind.get(number), rows)
            return batch

        return beside

    def _come_with(self, kind: str | None, rows: int) -> None:
        if kind is not None:
            self.made += 1
            people = [f"x{self.made}.{number}@theirs.example" for number in range(rows)]
            self._import(Leads(), _text("email,firstName,leadScore", (f"{key},same,7" for key in people)))

    async def _occupy(self) -> None:
        """Let nobody else come."""


def live(tmp_path: Path, *lost: tuple[int, str], **values: Any) -> tuple[Mapping[str, Any], list[str]]:
    """Import five chunks; return what the report says of lost answers, and the findings about them."""
    summary = summarised(tmp_path, *lost, **values)
    kinds = ("batch_adopted", "batch_not_found", "chunk_resent")
    findings = [f"{each['kind']}: {each['message']}" for each in summary["findings"] if each["kind"] in kinds]
    return {name: summary["lost_answers"][name] for name in ("adopted", "resent")}, findings


def summarised(
    tmp_path: Path,
    *troubles: tuple[int, str] | Mapping[str, Any],
    strangers: Mapping[int, str] | None = None,
    failing: bool = False,
    there_before: bool = False,
    probe_calls_max: int = 50,
    killed_by_upload: int | None = None,
    dead_ms: int = 60_000,
) -> Mapping[str, Any]:
    """Import five chunks; return the summary."""
    rows = tuple(
        Row(
            key=f"p{number:04}@ours.example", value=f"v{number:04}", number="1x" if failing and number % 9 == 4 else "7"
        )
        for number in range(5 * ROWS)
    )
    plan = Plan(
        seed=1,
        jobs=(SimJob(target=Leads(), sources=(rows,), starts_ms=0),),
        lives=() if killed_by_upload is None else (Life(killed_by_upload=killed_by_upload, dead_ms=dead_ms),),
        troubles=tuple(
            {"on": "create", "nth": each[0], "do": each[1]} if isinstance(each, tuple) else each for each in troubles
        ),
        refused=0.0,
        occupations=(),
        heals_ms=HOUR_MS,
        emulator={"seed": 1, "rows_per_second": 2.0, "start_delay_ms_min": 0, "start_delay_ms_max": 0, **HOLDINGS},
        body_bytes_max=1_000,
    )
    directory = Path(tempfile.mkdtemp(dir=tmp_path))

    async def play(loop: Loop) -> Any:
        lived = Told(plan, directory, loop)
        lived.behind = strangers or {}
        if there_before:
            lived._import(Leads(), plan.jobs[0].text(0), ago_ms=HOUR_MS)
        unknown = Unknown(probe_calls_max=probe_calls_max)
        schedule = Schedule(slow_start=False)  # else nothing would be sent while the first one is in doubt
        lived.settings = lived.settings.model_copy(update={"unknown": unknown, "schedule": schedule})
        return await lived.run()

    seen = simulate(1, play)
    (job,) = seen.jobs
    assert job.summary["state"] == "complete"
    assert job.summary["rows"]["unknown"] == 0
    taken: list[str] = [upload.content for upload in seen.uploads]
    assert len(taken) - len(set(taken)) <= job.summary["lost_answers"]["resent"]
    summary: Mapping[str, Any] = job.summary
    return summary


def test_it_is_found_by_people_it_made(tmp_path: Path) -> None:
    told, (finding,) = live(tmp_path, (3, AFTER))
    assert told == {"adopted": 1, "resent": 0}
    assert "it alone can be it" in finding
    assert "records read back were made after the upload" in finding


def test_two_in_a_row_are_told_apart_by_their_order(tmp_path: Path) -> None:
    told, findings = live(tmp_path, (3, AFTER), (4, AFTER))
    assert told == {"adopted": 2, "resent": 0}
    assert len(findings) == 2


def test_of_two_in_a_row_the_one_that_never_arrived_is_sent_again(tmp_path: Path) -> None:
    told, findings = live(tmp_path, (3, BEFORE), (4, AFTER))
    assert told == {"adopted": 1, "resent": 1}
    assert sorted(finding.partition(":")[0] for finding in findings) == [
        "batch_adopted", "batch_not_found", "chunk_resent",
    ]  # fmt: skip


def test_a_strangers_batch_of_equal_size_beside_it_leaves_it_open(tmp_path: Path) -> None:
    told, findings = live(tmp_path, (3, AFTER), strangers={3: "others"})
    assert told == {"adopted": 0, "resent": 1}
    assert "2 may be it" in findings[0]


def test_a_strangers_batch_of_equal_size_is_not_taken_for_what_never_arrived(tmp_path: Path) -> None:
    told, findings = live(tmp_path, (3, BEFORE), strangers={2: "others"})
    assert told == {"adopted": 0, "resent": 1}
    assert "1 may be it, and nothing proves that its rows arrived" in findings[0]


@pytest.mark.parametrize("there_before", [False, True])
def test_it_is_found_by_the_rows_it_lists(tmp_path: Path, there_before: bool) -> None:
    told, (finding,) = live(tmp_path, (3, AFTER), failing=True, there_before=there_before)
    assert told == {"adopted": 1, "resent": 0}
    assert "rows it lists all stand in the upload" in finding


def test_that_everything_was_there_before_proves_nothing(tmp_path: Path) -> None:
    told, findings = live(tmp_path, (3, AFTER), there_before=True)
    assert told == {"adopted": 0, "resent": 1}
    assert "1 may be it, and nothing proves that its rows arrived" in findings[0]


def test_what_never_arrived_is_sent_again(tmp_path: Path) -> None:
    told, findings = live(tmp_path, (3, BEFORE))
    assert told == {"adopted": 0, "resent": 1}
    assert "of 0 imports" in findings[0]


def test_calls_are_rationed(tmp_path: Path) -> None:
    told, findings = live(tmp_path, (3, AFTER), probe_calls_max=1)
    assert told == {"adopted": 0, "resent": 1}
    assert "unknown.probe_calls_max (1)" in findings[0]


def test_the_first_batch_of_all_cannot_be_found(tmp_path: Path) -> None:
    told, findings = live(tmp_path, (1, AFTER))
    assert told == {"adopted": 0, "resent": 1}
    assert "no batch of this subscription was known" in findings[0]


def test_that_one_keeps_no_later_one_from_being_found(tmp_path: Path) -> None:
    told, findings = live(tmp_path, (1, AFTER), (4, AFTER))
    assert told == {"adopted": 1, "resent": 1}
    assert [finding.partition(":")[0] for finding in findings].count("batch_not_found") == 1


@pytest.mark.parametrize("upload", [2, 3])
def test_a_process_that_is_killed_in_doubt_leaves_enough_to_find_it(tmp_path: Path, upload: int) -> None:
    told, _ = live(tmp_path, (2, AFTER), (3, AFTER), killed_by_upload=upload)
    assert told == {"adopted": 2, "resent": 0}


def test_after_a_long_pause_it_is_found_as_soon_as_after_a_short_one(tmp_path: Path) -> None:
    took = []
    for dead_ms in (60_000, 24 * HOUR_MS):
        begins = {"on": "batch", "nth": 3, "do": "delay_start", "ms": dead_ms + 60_000}  # after the first look
        summary = summarised(tmp_path, (3, AFTER), begins, killed_by_upload=3, dead_ms=dead_ms)
        assert summary["lost_answers"]["adopted"] == 1
        begun, ended = (datetime.fromisoformat(summary[name]) for name in ("started_at", "finished_at"))
        took.append((ended - begun) / timedelta(milliseconds=1) - dead_ms)
    assert took[1] <= took[0] + 60_000


class Cancelled(Told):
    """A world in which somebody cancels the first job while Marketo is asked about the uploads that were lost."""

    async def _see_to(self, orchestrator: Orchestrator, number: int) -> None:
        if number:
            await super()._see_to(orchestrator, number)
        else:
            handle = await self._begin(orchestrator, number)
            await asyncio.sleep(60)
            await orchestrator.cancel(handle.id)
            await handle.wait()


def test_a_job_that_is_cancelled_while_its_upload_is_looked_for_beside_anothers_stops_nobody(tmp_path: Path) -> None:
    held, sought = (
        tuple(Row(key=f"{name}{number:04}@ours.example", value=f"{name}{number}", number="7") for number in range(rows))
        for name, rows in (("h", 2 * ROWS), ("s", ROWS // 2))
    )
    plan = Plan(
        seed=2,
        jobs=(
            SimJob(target=Leads(), sources=(held,), starts_ms=0, on_unknown=OnUnknown.HOLD),
            SimJob(target=Leads(), sources=(sought,), starts_ms=3_000),
        ),
        lives=(),
        troubles=(
            {"on": "create", "nth": 2, "do": BEFORE},
            {"on": "create", "nth": 3, "do": AFTER},
            {"on": "status", "do": "slow", "ms": 20_000},
        ),
        refused=0.0,
        occupations=(),
        heals_ms=HOUR_MS,
        emulator={"seed": 1, "rows_per_second": 2.0, "start_delay_ms_min": 0, "start_delay_ms_max": 0, **HOLDINGS},
        body_bytes_max=1_200,
    )
    seen = simulate(1, lambda loop: Cancelled(plan, tmp_path, loop).run())
    cancelled, complete = (job.summary for job in seen.jobs)
    assert (cancelled["state"], cancelled["rows"]["unknown"]) == ("cancelled", 10)
    assert (complete["state"], complete["rows"]["unknown"]) == ("complete", 0)
    (finding,) = (each for each in complete["findings"] if each["kind"] == "batch_not_found")
    assert "of a job that is not driven here" in finding["message"]  # it ended during the search, not before or behind


class Spent(Told):
    """A world in which the day's calls are used up right behind the second upload."""

    def _note(self, create: Any) -> Any:
        noting = super()._note(create)

        def spending(upload: Any, *args: Any) -> Any:
            batch = noting(upload, *args)
            if len(self.taken) == 2:
                self.service.faults.extend([{"on": "status", "do": "code", "code": "607"}])
            return batch

        return spending


def test_a_search_asks_once_into_a_quota_that_is_used_up(tmp_path: Path) -> None:
    rows = tuple(Row(key=f"p{number:04}@ours.example", value=f"v{number}", number="7") for number in range(30))
    plan = Plan(
        seed=1,  # slow start: the first batch is complete before the second upload, so nothing else asks
        jobs=(SimJob(target=Leads(), sources=(rows,), starts_ms=0),),
        lives=(),
        troubles=({"on": "create", "nth": 2, "do": AFTER},),
        refused=0.0,
        occupations=(),
        heals_ms=HOUR_MS,
        emulator={"seed": 1, "rows_per_second": 2.0, "start_delay_ms_min": 0, "start_delay_ms_max": 0, **HOLDINGS},
        body_bytes_max=1_000,
    )
    worlds: list[Spent] = []

    async def play(loop: Loop) -> Any:
        worlds.append(Spent(plan, tmp_path, loop))
        return await worlds[0].run()

    (job,) = simulate(1, play).jobs
    assert (job.summary["state"], job.summary["lost_answers"]["adopted"]) == ("complete", 1)
    told = worlds[0].service.engine.limits.errors(worlds[0].clock.now_ms())
    assert sum(codes["607"] for codes in told.values()) == 1
