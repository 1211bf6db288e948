"""What the commands print, where they print it, and how they take signals."""

from __future__ import annotations

import json
import os
import pty
import shlex
import signal
import socket
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path

import pytest

from orchestrator.cli.sample import write_leads
from tests.e2e.kit import Place, until

NO_CREDENTIALS = {"MARKETO_REST_URL": None, "MARKETO_CLIENT_ID": None, "MARKETO_CLIENT_SECRET": None}
LEADS = "email,firstName,leadScore\n{0}@{1},José,1\n{0}.b@{1},Zoë,many\n"


def following(errors: str) -> list[str]:
    """Return the command that the last words name."""
    (line,) = [line for line in errors.splitlines() if line.startswith("Next: ")]
    program, *arguments = shlex.split(line.removeprefix("Next: "))
    assert program == "orchestrator"
    return arguments


def test_json_is_lines_of_events_and_a_summary_last(place: Place, mark: str) -> None:
    place.write("leads.csv", LEADS.format("json", mark))
    ended = place.run("import", "leads.csv", "--json")
    assert ended.code == 3, ended.err
    names = [event["event"] for event in ended.events]
    assert names[0] == "job.accepted"
    assert names[-2:] == ["job.finished", "job.summary"]
    assert {"job.planned", "chunk.submitted", "batch.completed"} <= set(names)
    job_id = ended.summary["job_id"]
    assert {event["job_id"] for event in ended.events[:-1]} == {job_id}
    assert all(event["ts"].endswith("Z") for event in ended.events[:-1])
    assert json.loads((place.directory / job_id / "summary.json").read_text(encoding="utf-8")) == ended.summary


def test_what_the_journal_knows_needs_no_marketo(place: Place, mark: str) -> None:
    place.write("leads.csv", LEADS.format("known", mark))
    assert place.run("import", "leads.csv", "--name", "spring").code == 3

    def ask(*arguments: str) -> str:
        ended = place.run(*arguments, env=NO_CREDENTIALS)
        assert ended.code == 0, ended.err
        return ended.out

    (job,) = json.loads(ask("jobs", "--json"))
    assert (job["state"], job["exit_code"], job["name"]) == ("complete", 3, "spring")
    assert job["id"] in ask("jobs")
    assert ask("status").splitlines()[0] == f"Job {job['id']} (spring): complete"
    status = json.loads(ask("status", job["id"][:-2], "--json"))
    assert status["eta"] is None  # it has ended
    assert (status["progress"]["accepted"], status["sources"][0]["rows"]) == (1, 2)
    files = ask("report", job["id"], "--out", "again").splitlines()
    assert sorted(Path(file).name for file in files) == sorted(path.name for path in Path(job["out_dir"]).iterdir())
    assert all((Path(job["out_dir"]) / Path(file).name).read_bytes() == Path(file).read_bytes() for file in files)


def test_a_plan_sends_nothing(place: Place, mark: str) -> None:
    place.write("leads.csv", LEADS.format("plan", mark))
    planned = place.run("plan", "leads.csv", "--json")
    plan = json.loads(planned.out)
    assert (planned.code, plan["rows"], plan["chunks"]) == (0, 2, 1)
    assert plan["seconds"]["planning"] >= 0
    offline = place.run("plan", "leads.csv", "--offline", env={"MARKETO_REST_URL": "http://127.0.0.1:1"})
    assert offline.code == 0, offline.err
    assert "leads.csv: 2 rows" in offline.out
    assert "Next: orchestrator import leads.csv" in offline.err
    assert place.run("jobs", "--json").out == "[]\n"
    assert place.run("resume").err == "Nothing to resume.\n"
    assert place.marketo.people(mark) == []


def test_the_demo_shows_everything_in_one_directory(place: Place) -> None:
    ended = place.run("demo", "--rows", "3000", "--speed", "500", "--out", "demo")
    assert (ended.code, ended.out) == (3, ""), ended.err
    assert "and 0 duplicates:\n" in ended.err
    demo = place.directory / "demo"
    assert {path.name for path in demo.iterdir()} == {"leads.csv", "report", "state", "emulator.log"}
    assert (demo / "emulator.log").read_text() == ""
    assert f"Next: open {demo / 'report' / 'failures.csv'}\n" in ended.err
    shown = place.run("status", "--set", f"state.dir={demo / 'state'}")
    assert (shown.code, "complete" in shown.out.splitlines()[0]) == (0, True), shown.err
    private = {path.name: path.stat().st_mode & 0o777 for path in (demo, demo / "report", demo / "leads.csv")}
    assert private == {"demo": 0o700, "report": 0o700, "leads.csv": 0o600}
    assert max(len(line) for line in ended.err.split("That is as it should be", 1)[1].splitlines()) <= 100
    again = place.run("demo", "--out", "demo")
    assert (again.code, "is not empty" in again.err) == (2, True)


def on_a_terminal(place: Place, *arguments: str) -> tuple[int, str]:
    """Run a command whose standard error is a terminal; return its code and all that was drawn there."""
    terminal, end = pty.openpty()
    termios.tcsetwinsize(terminal, (40, 120))
    with subprocess.Popen(
        [sys.executable, "-m", "orchestrator", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=end,
        cwd=place.directory,
        env={**place.env, "TERM": "xterm"},
    ) as process:
        os.close(end)
        drawn = b""
        with suppress(OSError):  # how a terminal says that nobody writes to it any more
            while piece := os.read(terminal, 65_536):
                drawn += piece
        os.close(terminal)
    return process.returncode, drawn.decode()


def test_on_a_terminal_one_block_shows_the_progress(place: Place) -> None:
    write_leads(place.directory / "leads.csv", rows=3_000)
    place.env["ORCHESTRATOR_LIMITS__BODY_BYTES_MAX"] = "20000"
    code, drawn = on_a_terminal(place, "import", "leads.csv", "--out", "report")
    assert code == 3, drawn
    for text in ("rows      ", "uploaded  ", "batches   ", "forecast  ", " of 3,000", "%\r\n"):
        assert text in drawn
    assert "\x1b[1A" in drawn  # drawn over again
    assert "job.finished" not in drawn  # the block tells it; log lines would tear it apart
    assert "\x1b[33mJob " in drawn
    assert "2,995 of 3,000 rows accepted." in drawn
    code, drawn = on_a_terminal(place, "import", "leads.csv", "--force", "--no-color", "--quiet")
    assert (code, "\x1b" in drawn, "uploaded" in drawn) == (3, False, False)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_drains_and_the_next_command_goes_on(place: Place, number: signal.Signals, code: int) -> None:
    write_leads(place.directory / "leads.csv", rows=3_000)
    place.env["ORCHESTRATOR_LIMITS__BODY_BYTES_MAX"] = "20000"
    place.marketo.add({"on": "batch", "nth": 3, "do": "delay_start", "ms": 3 * 10**7})  # so it cannot end by itself
    with place.start("import", "leads.csv", "--json", "--out", "report") as command:
        command.see("batch.completed")
        command.signal(number)
        ended = command.end()
    assert ended.code == code, ended.err
    assert "Stopping: nothing more is sent" in ended.err
    assert ended.summary["state"] == "incomplete"
    assert ended.summary["exit_code"] == code
    assert ended.summary["rows"]["unsent"] > 0
    written = json.loads((place.directory / "report" / "summary.json").read_text(encoding="utf-8"))
    assert written["state"] == "incomplete"
    place.marketo.heal()  # the third batch may be still to come
    place.marketo.finish()
    resumed = place.run(*following(ended.err), "--json")
    assert resumed.code == 3, resumed.err
    rows = resumed.summary["rows"]
    assert (rows["in_source"], rows["unsent"], rows["unknown"]) == (3_000, 0, 0)
    assert rows["accepted"] + rows["failed"] == 3_000


def test_more_signals_stop_at_once_and_everything_can_be_resumed(place: Place) -> None:
    write_leads(place.directory / "leads.csv", rows=3_000)
    place.env["ORCHESTRATOR_LIMITS__BODY_BYTES_MAX"] = "20000"
    place.marketo.add({"on": "create", "nth": 3, "do": "slow", "ms": 10**9})  # an upload that does not end by itself
    with place.start("import", "leads.csv", "--json", "--out", "report") as command:
        until("the third upload", lambda: place.marketo.struck() == [1], command.shown)
        command.signal(signal.SIGINT)
        command.read("Once more stops at once.")
        command.signal(signal.SIGINT)
        ended = command.end()
    assert ended.code == 130, ended.err
    assert "Stopping at once" in ended.err
    place.marketo.heal()
    place.marketo.finish()
    assert place.run("resume", "--quiet").code == 3


def test_a_signal_while_connecting_stops_without_a_trace(place: Place, mark: str) -> None:
    place.write("leads.csv", LEADS.format("connecting", mark))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = {"MARKETO_REST_URL": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        with place.start("import", "leads.csv", env=address) as command:
            connection, _ = silent.accept()
            with connection:
                command.signal(signal.SIGTERM)
                ended = command.end()
    assert ended.code == 143, ended.err
    assert "Stopping; nothing is sent." in ended.err
    assert place.run("jobs", "--json").out == "[]\n"
