from __future__ import annotations

import pytest

from orchestrator.model import ExitCode, JobOptions, JobState, OnUnknown
from orchestrator.report.ending import PRECEDENCE, REASONS, exit_code, next_command, worst
from orchestrator.schedule.messages import Stop

COMPLETE, INCOMPLETE, PAUSED = JobState.COMPLETE, JobState.INCOMPLETE, JobState.PAUSED


@pytest.mark.parametrize(
    ("facts", "code", "reasons"),
    [
        ({}, 0, ()),
        ({"failed": 1}, 3, ("rows_failed",)),
        ({"failed": 5, "failed_allowed": 5}, 0, ()),
        ({"failed": 6, "failed_allowed": 5}, 3, ("rows_failed",)),
        ({"unknown": 1}, 7, ("rows_unknown",)),
        ({"unknown": 1, "failed": 1}, 7, ("rows_unknown", "rows_failed")),
        ({"state": INCOMPLETE, "unfinished": 1}, 5, ("unfinished",)),
        ({"state": INCOMPLETE, "unfinished": 1, "failed": 1}, 5, ("unfinished", "rows_failed")),
        ({"state": INCOMPLETE, "unfinished": 1, "causes": ["gave_up"]}, 5, ("gave_up",)),
        ({"state": INCOMPLETE, "unfinished": 1, "causes": ["sigint"]}, 130, ("sigint",)),
        ({"state": INCOMPLETE, "unfinished": 1, "causes": ["sigterm"], "failed": 1}, 143, ("sigterm", "rows_failed")),
        ({"state": INCOMPLETE, "unfinished": 1, "causes": ["denied"], "unknown": 1}, 6, ("denied", "rows_unknown")),
        ({"causes": ["source_refused"], "unknown": 1, "unfinished": 1}, 9, ("source_refused", "rows_unknown")),
        ({"causes": ["batches_failed", "denied", "internal"]}, 1, ("internal", "denied", "batches_failed")),
        ({"state": PAUSED, "unfinished": 1}, 5, ("paused",)),
        ({"state": PAUSED, "unfinished": 1, "causes": ["threshold"], "failed": 9}, 8, ("threshold", "paused", "rows_failed")),
        ({"state": JobState.CANCELLED, "unfinished": 4}, 0, ()),
        ({"state": JobState.CANCELLED, "unfinished": 4, "failed": 1}, 3, ("rows_failed",)),
        ({"state": JobState.FAILED}, 4, ("input_refused",)),
        ({"state": JobState.FAILED, "causes": ["denied"]}, 6, ("denied",)),
        ({"causes": ["a word nobody knows"]}, 1, ("a word nobody knows",)),
        ({"causes": ["rows_failed", "rows_unknown", "unfinished", "paused"]}, 0, ()),
    ],
)  # fmt: skip
def test_what_happened_decides_the_code(facts, code, reasons):
    facts = {"state": COMPLETE, "failed": 0, "unknown": 0, "unfinished": 0} | facts
    assert exit_code(**facts) == (code, reasons)


def test_several_jobs_end_with_the_gravest_code():
    contract = [1, 6, 9, 7, 8, 5, 3, 0]
    assert [int(code) for code in PRECEDENCE if code in contract] == contract
    for position, code in enumerate(contract):
        assert worst(ExitCode(other) for other in reversed(contract[position:])) == code
    assert worst([]) is ExitCode.OK


def test_every_code_and_every_stop_has_its_place():
    assert sorted(PRECEDENCE) == sorted(ExitCode)
    assert all(stop in REASONS for stop in Stop if stop is not Stop.CANCELLED)  # its rows decide how it ends


@pytest.mark.parametrize(
    ("state", "code", "command"),
    [
        (COMPLETE, ExitCode.OK, "orchestrator status job-1"),
        (COMPLETE, ExitCode.ROWS_FAILED, "orchestrator status job-1"),
        (COMPLETE, ExitCode.ROWS_UNKNOWN, "orchestrator status job-1"),
        (INCOMPLETE, ExitCode.INTERRUPTED, "orchestrator resume job-1"),
        (INCOMPLETE, ExitCode.SIGINT, "orchestrator resume job-1"),
        (INCOMPLETE, ExitCode.DENIED, "orchestrator resume job-1"),
        (JobState.CANCELLED, ExitCode.ROWS_FAILED, "orchestrator status job-1"),
        (JobState.FAILED, ExitCode.INPUT_REFUSED, "orchestrator plan 'my leads.csv' b.csv"),
    ],
)
def test_the_next_command_can_be_pasted_into_a_shell(job, state, code, command):
    assert next_command(job(state=state, paths=("my leads.csv", "b.csv")), code) == command


@pytest.mark.parametrize(
    ("state", "begins"),
    [(INCOMPLETE, "orchestrator resume job-1"), (JobState.FAILED, "orchestrator plan a.csv"),
     (COMPLETE, "orchestrator status job-1")],
)  # fmt: skip
def test_the_next_command_has_the_flags_of_the_import(job, state, begins):
    options = JobOptions(flags=" --config /x/orchestrator.toml --set limits.slots=5")
    found = next_command(job(state=state, paths=("a.csv",), options=options), ExitCode.INTERRUPTED)
    assert found == f"{begins} --config /x/orchestrator.toml --set limits.slots=5"


def test_what_is_held_is_decided_by_the_next_command(job):
    held = job(state=INCOMPLETE, options=JobOptions(on_unknown=OnUnknown.HOLD))
    assert next_command(held, ExitCode.ROWS_UNKNOWN) == "orchestrator resume job-1 --on-unknown probe"
