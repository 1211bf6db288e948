"""The last words of a command: errors and their codes, numbers that add up, and what to do next."""

from __future__ import annotations

import errno
import io
import os
import resource
import sys
from pathlib import Path

import pytest

from orchestrator import errors
from orchestrator.cli.common import Common, Output
from orchestrator.cli.console import Console
from orchestrator.cli.endings import MEANINGS, tell_code, tell_end
from orchestrator.cli.session import execute, exit_code_of, explain, same_flags
from orchestrator.model import ExitCode, Wish
from orchestrator.report.doubt import LostAnswersSummary
from orchestrator.report.summary import (
    ChunksSummary,
    FindingSummary,
    ReasonSummary,
    RowsSummary,
    Skipped,
    SubscriptionSummary,
    Summary,
)


def summary(**changes) -> Summary:
    values = {
        "schema": "orchestrator.summary/1",
        "job_id": "j1",
        "name": "spring",
        "labels": {},
        "parent": None,
        "state": "complete",
        "exit_code": 3,
        "exit_reasons": ("rows_failed",),
        "target": {"object": "leads"},
        "subscription": SubscriptionSummary(name="default", host="h", api_user="u", emulator=False),
        "version": "1",
        "sources": (),
        "rows": RowsSummary(
            in_source=1_000, skipped=Skipped(superseded=0), read=1_000, accepted=997, failed=3, warned=5, unsent=0,
            unknown=0, unmatched=1,
        ),
        "chunks": ChunksSummary(total=1, done=1, unsent=0, unknown=0, refused=0),
        "batches": (),
        "lost_answers": LostAnswersSummary(adopted=0, resent=0, resent_rows=0),
        "findings": (),
        "reasons": (),
        "api_calls": {},
        "waits": {},
        "started_at": None,
        "finished_at": None,
        "next": "orchestrator status j1",
    }  # fmt: skip
    return Summary(**{**values, **changes})


def told(capsys, what: Summary, code: ExitCode, *, quiet: bool = False) -> str:
    tell_end(Console(Output(quiet=quiet)), what, Path("/out"), code, " --journal sqlite:////j.db")
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_the_end_of_a_job(capsys):
    reasons = (ReasonSummary(id="R1", kind="failure", reason="Invalid\x1b data", rows=3, example_row=17),)
    findings = tuple(FindingSummary(kind="k", message=f"finding {number}", batch_id=None) for number in range(7))
    text = told(capsys, summary(reasons=reasons, findings=findings), ExitCode.ROWS_FAILED)
    assert text == (
        "\n"
        "Job j1 (spring) is complete: 997 of 1,000 rows accepted.\n"
        "\n"
        "  rows in the source  1,000\n"
        "  accepted              997  (5 with a warning)\n"
        "  failed                  3  (1 without a source row)\n"
        "  unsent                  0\n"
        "  unknown                 0\n"
        "\n"
        "What Marketo said of rows:\n"
        "  R1  failure  3  Invalid? data  (row 17)\n"
        "\n"
        "To know:\n"
        "  - finding 0\n  - finding 1\n  - finding 2\n  - finding 3\n  - finding 4\n"
        "  and 2 more in the report\n"
        "\n"
        "Report: /out/report.html\n"
        "        failures.csv (3 rows), warnings.csv (5 rows) and summary.json are beside it\n"
        "Exit code 3: finished; Marketo refused some rows, and failures.csv has each of them with its reason.\n"
        "Next: open /out/failures.csv\n"
    )


def test_a_cancellation_that_came_too_late_is_told(capsys):
    tell_end(Console(Output()), summary(), Path("/out"), ExitCode.OK, wish=Wish.CANCEL)
    assert "997 of 1,000 rows accepted; nothing was left to cancel.\n" in capsys.readouterr().err


def test_a_quiet_end_still_says_how_it_ended(capsys):
    assert told(capsys, summary(), ExitCode.ROWS_FAILED, quiet=True).splitlines() == [
        "Job j1 (spring) is complete: 997 of 1,000 rows accepted.",
        f"Exit code 3: {MEANINGS[ExitCode.ROWS_FAILED]}.",
        "Next: open /out/failures.csv",
    ]


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("incomplete", "is not finished: 997 of 1,000 rows accepted."),
        ("paused", "is paused: 997 of 1,000 rows accepted."),
        ("cancelled", "is cancelled: 997 of 1,000 rows accepted."),
        ("failed", "was refused: nothing was sent."),
    ],
)
def test_other_ends(capsys, state, words):
    assert f"Job j1 (spring) {words}\n" in told(capsys, summary(state=state), ExitCode.INTERRUPTED)


def counts(**changes: int) -> RowsSummary:
    values = {"in_source": 100, "read": 100, "accepted": 100, "failed": 0, "warned": 0, "unsent": 0, "unknown": 0}
    return RowsSummary(**{**values, "unmatched": 0, **changes}, skipped=Skipped(superseded=0))


@pytest.mark.parametrize(
    ("code", "changes", "words"),
    [
        (0, {"rows": counts()}, "every row was accepted."),
        (0, {"rows": counts(accepted=98, failed=2)}, "finished; 2 rows failed, which --accept-failed allows."),
        (0, {"rows": counts(in_source=0, read=0, accepted=0)}, "there were no rows to import."),
        (
            5,
            {"state": "paused", "exit_reasons": ("canary",), "rows": counts(accepted=10, unsent=90)},
            "paused behind the canary; a resume sends the other 90 rows.",
        ),
        (
            5,
            {"state": "paused", "exit_reasons": ("paused",), "rows": counts(accepted=10, unsent=90)},
            "paused on request; a resume sends the other 90 rows.",
        ),
        (
            0,
            {"state": "cancelled", "exit_reasons": (), "rows": counts(accepted=10, unsent=90)},
            "cancelled on request; 90 rows will never be sent.",
        ),
        (
            3,
            {"state": "cancelled", "rows": counts(accepted=5, failed=5, unsent=90)},
            "cancelled on request; 90 rows will never be sent, Marketo refused 5, and failures.csv has them.",
        ),
        (
            7,
            {"state": "cancelled", "exit_reasons": ("rows_unknown",), "rows": counts(accepted=5, unknown=5, unsent=90)},
            "cancelled on request; 90 rows will never be sent, what became of 5 is not known.",
        ),
        (
            8,
            {"state": "paused", "exit_reasons": ("threshold",), "rows": counts(accepted=0, failed=10, unsent=90)},
            "paused because more rows failed than --max-failed allows; a resume sends the other 90 rows.",
        ),
        (
            8,
            {"exit_reasons": ("threshold",), "rows": counts(accepted=0, failed=100)},
            "finished, but more rows failed than --max-failed allows; failures.csv has each of them.",
        ),
        (
            8,
            {"exit_reasons": ("quota_exhausted",)},
            "the API calls of the day are used up, but for those left to others; after "
            "midnight in US Central Time, a resume goes on.",
        ),
    ],
)
def test_what_a_code_means_here(capsys, code, changes, words):
    assert f"Exit code {code}: {words}\n" in told(capsys, summary(**changes), ExitCode(code))


def test_what_is_held_is_the_user_s_to_decide_and_each_way_is_named(capsys):
    held = {"state": "incomplete", "exit_reasons": ("held",), "rows": counts(accepted=60, unknown=40)}
    shown = told(capsys, summary(**held, next="orchestrator resume j1 --on-unknown probe --config /x"), ExitCode(7))
    assert "unknown              40  (held: you decide)\n" in shown
    assert shown.endswith(
        "Next:\n"
        "      orchestrator resume j1 --on-unknown probe --config /x --journal sqlite:////j.db\n"
        "        looks for the batch, and sends again what it does not find\n"
        "      orchestrator resume j1 --on-unknown resubmit --config /x --journal sqlite:////j.db\n"
        "        sends the rows again\n"
        "      orchestrator cancel j1 --config /x --journal sqlite:////j.db\n"
        "        ends the job, if you find the rows in Marketo\n"
    )


def test_after_a_success_the_report_is_next(capsys):
    shown = told(capsys, summary(rows=counts(), exit_code=0), ExitCode.OK)
    assert shown.endswith("Next: open /out/report.html\n")


def test_every_exit_code_has_a_meaning():
    assert set(MEANINGS) == set(ExitCode)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigError("x"), 2),
        (errors.JournalVersionUnknown("x"), 2),
        (errors.NotDelivered("x", code="unknown_host"), 2),
        (errors.NotDelivered("x", code="tls"), 2),
        (errors.HeaderError("x"), 4),
        (errors.InvalidRequest("x", code="1013"), 4),
        (errors.NotDelivered("x", code="refused"), 5),
        (errors.Unavailable("x", code="611"), 5),
        (errors.MalformedResponse("x"), 5),
        (errors.SubscriptionBusy("x"), 5),
        (errors.JournalForbidden("x"), 2),
        (errors.JournalUnusable("x"), 2),
        (errors.JournalStalled("x"), 5),
        (errors.NoRoom("x"), 5),
        (errors.FileUnwritten("x"), 5),
        (OSError(errno.ENOSPC, "no space left"), 5),
        (OSError(errno.EMFILE, "too many open files"), 5),
        (OSError(errno.EIO, "input/output error"), 5),
        (OSError(errno.EACCES, "denied"), 2),
        (OSError(errno.EROFS, "read-only"), 2),
        (OSError(errno.EBADF, "bad file descriptor"), 1),
        (errors.AccessDenied("x", code="603"), 6),
        (errors.DailyQuotaExhausted("x", code="607"), 8),
        (errors.JournalCorrupt("x"), 1),
        (RuntimeError("x"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_errors_before_a_job_has_an_outcome(error, code):
    assert exit_code_of(error) == code


def test_of_a_job_that_is_not_there_nothing_is_said_about_sending(capsys):
    error = errors.ConfigError("no job 'nope' in this journal")
    error.__cause__ = errors.JobUnknown("nope")
    assert explain(Console(Output()), error) == 2
    assert capsys.readouterr().err.endswith("Exit code 2: wrong usage.\n")


def test_an_error_is_told_with_its_code_and_without_secrets(capsys):
    code = explain(Console(Output()), errors.ConfigError("client_secret=hush is wrong\nsecond line"))
    assert code == 2
    assert capsys.readouterr().err == (
        "Error: client_secret=[redacted] is wrong\nsecond line\n"
        "Exit code 2: wrong usage or settings; nothing was sent.\n"
    )


@pytest.mark.parametrize(
    ("error", "ends"),
    [
        (errors.AccessDenied("x", code="603"), "Next: orchestrator doctor --subscription eu\n"),
        (errors.HeaderError("x", next_command="orchestrator describe leads"),
         "Next: orchestrator describe leads --subscription eu\n"),
        (errors.HeaderError("x"), f"{MEANINGS[ExitCode.INPUT_REFUSED]}.\n"),
    ],
)  # fmt: skip
def test_an_error_that_a_command_helps_with_names_it(capsys, error, ends):
    async def body(console: Console) -> ExitCode:
        raise error

    execute(Common(subscription="eu"), body)
    assert capsys.readouterr().err.endswith(ends)


def test_a_program_that_is_not_on_the_path_is_named_as_it_was_started(capsys, monkeypatch, tmp_path):
    def shown() -> str:
        tell_code(Console(Output()), ExitCode.OK, "orchestrator status j")
        return capsys.readouterr().err.splitlines()[-1]

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [".venv/bin/orchestrator", "demo"])
    assert shown() == "Next: .venv/bin/orchestrator status j"
    (tmp_path / "orchestrator").touch(0o755)
    assert shown() == "Next: orchestrator status j"


def test_an_unexpected_error_shows_its_kind_and_never_its_text(capsys):
    assert explain(Console(Output()), RuntimeError("alice@example.com")) == 1
    assert "alice" not in capsys.readouterr().err


def test_an_error_is_a_json_line_too(capsys):
    explain(Console(Output(json=True)), errors.AccessDenied("x"))
    assert capsys.readouterr().out == '{"event": "command.failed", "error": "AccessDenied", "exit_code": 6}\n'


def test_next_commands_find_the_same_journal():
    assert same_flags(Common()) == ""
    common = Common(config=Path("my file.toml"), journal="sqlite:///j.db", subscription="eu", set=("a.b=1", "c.d=x y"))
    assert same_flags(common) == (
        f" --config '{Path.cwd()}/my file.toml' --journal sqlite:///j.db --subscription eu --set a.b=1 --set 'c.d=x y'"
    )


@pytest.mark.parametrize(
    "value",
    [
        "subscriptions.eu.client_secret=hush",
        'subscriptions.eu={client_secret = "hush"}',
        "http.proxy=http://me:hush@p:1",
    ],
)
def test_next_commands_hold_no_secrets(value):
    flags = same_flags(Common(set=(value, "subscriptions.eu.client_secret_file=/s")))
    assert "hush" not in flags
    assert flags.endswith(" --set subscriptions.eu.client_secret_file=/s")


def test_a_reader_that_leaves_does_not_end_the_command(monkeypatch):
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "w") as broken:
        monkeypatch.setattr(sys, "stdout", broken)
        console = Console(Output(json=True))
        for _ in range(3):
            console.line({"event": "batch.completed"})
        monkeypatch.setattr(sys, "stdout", io.StringIO())


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


async def _lists(console: Console) -> ExitCode:
    console.document([{"job": "j-1"}])
    return ExitCode.OK


async def _imports(console: Console) -> ExitCode:
    console.line({"event": "job.finished"})
    return ExitCode.OK


def test_what_could_not_be_written_is_no_success(monkeypatch, capfd):
    with Path("/dev/full").open("w", encoding="utf-8") as full, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", full)
        assert execute(Output(), _lists) == 5
    said = capfd.readouterr().err
    with Path("/dev/full").open("w", encoding="utf-8") as full, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", full)
        assert execute(Output(), _imports) == 0  # what it did is in its report
    assert "standard output cannot be written to: No space left on device" in said
    assert "Exit code 5: what was asked for could not be written" in said


def test_a_process_that_may_open_no_files_is_told_so(capfd):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 3, hard))
    try:
        code = execute(Output(), _lists)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.close(lowest)
    assert code == 5
    assert capfd.readouterr().err.startswith("Error: Too many open files: let this process open more files (ulimit -n)")


def test_a_working_directory_that_was_removed_is_told(tmp_path, monkeypatch, capsys):
    async def looks_around(console: Console) -> ExitCode:
        Path("x").absolute()
        return ExitCode.OK

    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert execute(Common(), looks_around) == execute(Common(config=Path("x.toml")), looks_around) == 2
    assert "the working directory was removed; change to one that exists" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    assert exit_code_of(FileNotFoundError(errno.ENOENT, "No such file or directory", "x")) == 1


def test_colors_are_for_terminals_that_want_them(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)

    def shown(output: Output, stream: io.StringIO) -> bool:
        monkeypatch.setattr(sys, "stderr", stream)
        Console(output).say("x", "bad")
        return "\x1b" in stream.getvalue()

    assert shown(Output(), Terminal())
    assert not shown(Output(no_color=True), Terminal())
    assert not shown(Output(), io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not shown(Output(), Terminal())


def test_where_nothing_was_begun_nothing_goes_on(capsys):
    refused = errors.NotDelivered("x", code="refused")
    assert explain(Console(Output()), refused) == 5
    assert capsys.readouterr().err == "Error: x\nExit code 5: stopped by something that passes; try again later.\n"
    explain(Console(Output()), refused, next_command="orchestrator resume")
    assert "orchestrator resume goes on with what was begun.\nNext: orchestrator resume\n" in capsys.readouterr().err
