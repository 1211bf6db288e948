"""What the checks before an import do to jobs, from the library down to an emulated subscription."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator import CustomObjects, ImportRequest, Orchestrator, ProgramMembers, Settings
from orchestrator.emulator.app import Running, start
from orchestrator.errors import HeaderError, SourceError
from orchestrator.model import ExitCode, Format, JobState
from orchestrator.report.ending import next_command
from tests.unit.emulator.kit import config

CAR = CustomObjects(api_name="car_c")
INVITED = ProgramMembers(program_id=1044, member_status="Invited")
NO_ASSETS = {"permissions": ("read-write lead", "read-write custom object")}
SPEED = 1_000.0


@asynccontextmanager
async def opened(directory: Path, **emulated: Any) -> AsyncIterator[tuple[Orchestrator, Running]]:
    running = await start(config(speed=SPEED, token_life_ms=int(3_600_000 * SPEED), **emulated))
    settings = Settings(
        limits={"body_bytes_max": 1_000, "window_seconds": 0.2},
        schedule={"slow_start": False},
        polling={"interval_seconds_min": 0.01, "interval_seconds_max": 0.05},
        http={"trust_env": False},
        state={"dir": directory / "state"},
        subscriptions={
            "default": {"rest_url": running.url, "client_id": "emulator", "client_secret": "emulator-secret"}
        },
    )
    try:
        async with Orchestrator.open(settings) as orchestrator:
            yield orchestrator, running
    finally:
        await running.stop()


def write(directory: Path, text: str, name: str = "rows.csv") -> Path:
    path = directory / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_check_that_was_skipped_is_a_finding_of_the_job(tmp_path):
    async def play() -> None:
        async with opened(tmp_path, **NO_ASSETS) as (orchestrator, running):
            rows = write(tmp_path, "email,registrationCode\nann@example.com,1\n")
            request = ImportRequest(sources=[rows], target=INVITED, out_dir=tmp_path / "out")
            (told,) = (await orchestrator.plan(request)).warnings
            job = await orchestrator.submit(request)
            summary = await job.wait()
            assert (summary.exit_code, summary.rows.accepted) == (ExitCode.OK, 1)
            (finding,) = (await job.status()).findings
            assert finding.kind == "check_skipped"
            assert "The check needs the permission Read-Only Assets" in finding.message
            assert told.partition("(request")[0] == finding.message.partition("(request")[0]
            assert [found.kind for found in summary.findings] == ["check_skipped"]
            assert len(running.engine.batches) == 1

    asyncio.run(play())


@pytest.mark.parametrize(
    ("target", "text", "error", "says"),
    [
        (ProgramMembers(program_id=1044, member_status="Lost"), "email\na@example.com\n", SourceError, "'Attended'"),
        (CustomObjects(api_name="cars_c"), "vin\nV1\n", SourceError, "'car_c'"),
        (CAR, "color,make,model, vin\nred,bmw,2002,V1\n", HeaderError, "blanks around"),
    ],
)
def test_what_is_wrong_with_a_target_ends_the_job_before_anything_is_sent(tmp_path, target, text, error, says):
    async def play() -> None:
        async with opened(tmp_path) as (orchestrator, running):
            request = ImportRequest(sources=[write(tmp_path, text)], target=target, out_dir=tmp_path / "out")
            with pytest.raises(error, match=says):
                await orchestrator.submit(request)
            (job,) = await orchestrator.jobs()
            assert (job.state, job.exit_code, job.exit_reasons) == (
                JobState.FAILED,
                ExitCode.INPUT_REFUSED,
                ("input_refused",),
            )
            assert running.engine.calls["create"] == 0

    asyncio.run(play())


@pytest.mark.parametrize(
    ("changes", "header", "helps"),
    [
        ({}, "Email Address;First Name", "orchestrator map {path} --out mapping.toml"),
        ({}, "email,firstname", "orchestrator describe leads"),
        ({}, "email,shoe", "orchestrator map {path} --out mapping.toml"),
        ({"format": Format.SSV}, "email;shoe", "orchestrator map {path} --format ssv --out mapping.toml"),
        ({"target": CAR}, "vin,shoe", "orchestrator map {path} --object custom:car_c --out mapping.toml"),
        ({"target": CAR}, "vin,colour", "orchestrator describe custom:car_c"),
    ],
)
def test_a_wrong_header_names_the_command_that_helps(tmp_path, changes, header, helps):
    async def play() -> None:
        async with opened(tmp_path) as (orchestrator, _):
            path = write(tmp_path, f"{header}\na,b\n".replace("a,b", "a;b" if ";" in header else "a,b"))
            with pytest.raises(HeaderError) as raised:
                await orchestrator.plan(ImportRequest(sources=[path], out_dir=tmp_path / "out", **changes))
            assert raised.value.next_command == helps.format(path=path)
            with pytest.raises(HeaderError):
                await orchestrator.submit(
                    ImportRequest(sources=[path], out_dir=tmp_path / "out", flags=" --config x.toml", **changes)
                )
            (job,) = await orchestrator.jobs()  # which tells the same of it
            assert next_command(job, ExitCode.INPUT_REFUSED) == f"{helps.format(path=path)} --config x.toml"

    asyncio.run(play())


def test_without_the_check_a_blank_in_the_header_costs_every_row_and_each_is_reported(tmp_path):
    cars = "color,make,model, vin\nred,bmw,2002,WBA4R7C30HK896061\nyellow,bmw,320i,WBA4R7C30HK896062\nblue,bmw,325i,X\n"

    async def play() -> None:
        async with opened(tmp_path) as (orchestrator, running):
            request = ImportRequest(
                sources=[write(tmp_path, cars, "cars.csv")], target=CAR, check=False, out_dir=tmp_path / "out"
            )
            assert (await orchestrator.plan(request)).conflicts.chunks == 0
            summary = await (await orchestrator.submit(request)).wait()
            assert (summary.rows.read, summary.rows.failed, summary.rows.unmatched) == (3, 3, 0)
            assert list(running.engine.records("car_c", running.clock.now_ms())) == []
            head, *rows = (tmp_path / "out" / "failures.csv").read_text().splitlines()
            assert head.endswith(",color,make,model, vin,Import Failure Reason")
            assert [row.split(",", 4)[4] for row in rows] == [
                f"{line},missing.dedupe.fields" for line in cars.splitlines()[1:]
            ]

    asyncio.run(play())


def test_without_a_key_column_no_chunk_waits_for_another(tmp_path):
    rows = "color\n" + "red\n" * 300

    async def play() -> None:
        async with opened(tmp_path) as (orchestrator, running):
            request = ImportRequest(sources=[write(tmp_path, rows)], target=CAR, check=False, out_dir=tmp_path / "out")
            plan = await orchestrator.plan(request)
            assert (plan.chunks > 1, plan.conflicts.chunks) == (True, 0)
            summary = await (await orchestrator.submit(request)).wait()
            assert (summary.rows.failed, len(running.engine.batches)) == (300, plan.chunks)

    asyncio.run(play())


def test_offline_marketo_is_not_asked_even_for_a_custom_objects_key(tmp_path):
    async def play() -> None:
        async with opened(tmp_path) as (orchestrator, running):
            request = ImportRequest(sources=[write(tmp_path, "nonsense\n1\n1\n")], target=CAR)
            plan = await orchestrator.plan(request, offline=True)
            assert "the dedupe fields of car_c are not known" in plan.warnings[0]
            assert (plan.rows, plan.conflicts.chunks) == (2, 0)
            assert not running.engine.calls

    asyncio.run(play())
