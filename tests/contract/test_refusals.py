"""How far a lasting refusal of an upload reaches: its source, or the whole job; and what one more try may mend."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from orchestrator import ImportRequest, Orchestrator
from orchestrator.model import ExitCode, JobState
from orchestrator.report.summary import Summary
from tests.contract.test_library import emulated

SOURCES = 4


def run(directory: Path, *faults: dict[str, Any]) -> tuple[Summary, int]:
    """Import four small files; return the summary, and how many uploads were tried."""

    async def play() -> tuple[Summary, int]:
        paths = []
        for number in range(SOURCES):
            paths.append(directory / f"{number}.csv")
            paths[-1].write_text(f"email,firstName\np{number}@example.com,N\n", encoding="utf-8")
        async with emulated(directory) as (settings, running), Orchestrator.open(settings) as orchestrator:
            running.service.faults.extend([{"on": "create", "do": "code", **fault} for fault in faults])
            job = await orchestrator.submit(ImportRequest(sources=paths, out_dir=directory / "out"))
            return await job.wait(), len(running.service.engine.creates)

    return asyncio.run(play())


@pytest.mark.parametrize("code", ["612", "616", "703", "1002", "1010", "1013", "1025"])
def test_what_is_wrong_with_the_whole_job_stops_it_with_the_first_upload(tmp_path, code):
    summary, uploads = run(tmp_path, {"code": code})
    assert uploads == 1
    assert (summary.state, summary.exit_code, summary.exit_reasons) == (
        JobState.INCOMPLETE, ExitCode.REFUSED, ("job_refused",),
    )  # fmt: skip
    assert (summary.rows.unsent, summary.rows.unknown) == (SOURCES, 0)
    (finding,) = summary.findings
    assert finding.kind == "job_refused"
    assert f" {code} " in finding.message


@pytest.mark.parametrize("code", ["701", "1006", "1011"])
def test_what_is_wrong_with_a_header_stops_its_source_alone(tmp_path, code):
    summary, uploads = run(tmp_path, {"code": code, "nth": 2})
    assert uploads == SOURCES
    assert (summary.exit_code, summary.exit_reasons) == (ExitCode.REFUSED, ("source_refused",))
    assert (summary.rows.accepted, summary.rows.unsent) == (SOURCES - 1, 1)


@pytest.mark.parametrize("code", ["613", "1003"])
def test_what_one_more_try_may_mend_is_tried_once_more(tmp_path, code):
    summary, uploads = run(tmp_path, {"code": code, "nth": 1}, {"code": code, "nth": 3})
    assert uploads == SOURCES + 2
    assert (summary.state, summary.exit_code, summary.findings) == (JobState.COMPLETE, ExitCode.OK, ())


@pytest.mark.parametrize("code", ["613", "1003"])
def test_what_one_more_try_did_not_mend_stops_the_job(tmp_path, code):
    summary, uploads = run(tmp_path, {"code": code})
    assert uploads == 2
    assert (summary.exit_code, summary.exit_reasons, summary.rows.unsent) == (
        ExitCode.REFUSED, ("job_refused",), SOURCES,
    )  # fmt: skip


@pytest.mark.parametrize("on", ["token", "describe"])
def test_an_answer_before_the_first_upload_that_nobody_can_read_is_asked_for_again(tmp_path, on):
    summary, uploads = run(tmp_path, {"on": on, "do": "no_json", "nth": 1})
    assert (summary.state, uploads) == (JobState.COMPLETE, SOURCES)
