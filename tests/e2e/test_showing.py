"""Commands that only look: data on standard output, words on standard error, nothing sent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.e2e import leads
from tests.e2e.kit import Ended, Place

FILES = ("report.html", "failures.csv", "warnings.csv", "summary.json")


@pytest.fixture
def imported(place: Place, mark: str) -> dict[str, Any]:
    """Import a file; return the summary of the job."""
    leads.write(place.directory / "leads.csv", leads.people(mark, 200))
    ended = place.run("import", "leads.csv", "--out", "report", "--name", "spring", "--json")
    assert ended.code == 3, ended.err
    return ended.summary


def data(ended: Ended) -> Any:
    """Return the one JSON value that a command wrote."""
    assert ended.code == 0, ended.err
    return json.loads(ended.out)


# --- plan ----------------------------------------------------------------------------------------------------


def test_plan_says_what_an_import_would_take_and_sends_nothing(place: Place, mark: str) -> None:
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, 300))
    before = place.marketo.ask("calls")

    ended = place.run("plan", "leads.csv")

    assert ended.code == 0, ended.err
    assert "leads.csv: 300 rows" in ended.out
    assert "Nothing was sent. Next: orchestrator import leads.csv" in ended.err
    after = place.marketo.ask("calls")
    assert after["creates"] == before["creates"]
    assert after["by_kind"] == before["by_kind"] | {
        kind: before["by_kind"].get(kind, 0) + 1 for kind in ("token", "describe")
    }
    assert sorted(path.name for path in place.directory.iterdir()) == ["leads.csv", "state"]
    assert data(place.run("jobs", "--json")) == []

    found = data(place.run("plan", "leads.csv", "--json"))
    assert (found["rows"], found["sources"][0]["path"]) == (len(rows), "leads.csv")
    assert found["chunks"] > 3
    assert found["conflicts"] == {"chunks": 0, "examined": found["chunks"]}
    assert found["calls_least"] <= found["calls_most"]
    assert found["rows_beyond_recall"] <= len(rows)
    assert 0 < found["seconds"]["least"] <= found["seconds"]["most"]
    assert found["seconds"]["planning"] >= 0
    assert found["seconds"]["basis"] == found["eta"]["basis"]
    assert found["eta"]["p50"] < found["eta"]["p90"]


def test_plan_agrees_with_the_import(place: Place, mark: str) -> None:
    leads.write(place.directory / "leads.csv", leads.people(mark, 300, troubled=False))
    found = data(place.run("plan", "leads.csv", "--json"))

    summary = place.run("import", "leads.csv", "--json").summary

    assert summary["chunks"]["total"] == found["chunks"]
    assert summary["rows"]["read"] == found["rows"]
    assert max(batch["rows"] for batch in summary["batches"]) == found["largest_chunk_rows"]
    calls = sum(count for kind, count in summary["api_calls"].items() if kind not in ("token", "describe"))
    assert found["calls_least"] <= calls + summary["chunks"]["total"]  # a fast Marketo is asked only once
    learned = data(place.run("plan", "leads.csv", "--json"))
    assert "1 finished job" in learned["seconds"]["basis"]


def test_plan_offline_asks_nobody_and_needs_no_credentials(place: Place, mark: str) -> None:
    people = leads.people(mark, 200, troubled=False)
    leads.write(place.directory / "leads.csv", [*people, *people], columns=("email", "firstname"))
    before = place.marketo.ask("calls")["by_kind"]
    nobody = {"MARKETO_REST_URL": None, "MARKETO_CLIENT_ID": None, "MARKETO_CLIENT_SECRET": None}

    found = data(place.run("plan", "leads.csv", "--offline", "--json", env=nobody))

    assert place.marketo.ask("calls")["by_kind"] == before
    assert found["rows"] == 400
    assert found["conflicts"]["chunks"] > 0
    online = place.run("plan", "leads.csv")
    assert online.code == 4, online.err
    assert "firstName" in online.err  # the right spelling


# --- jobs, status, report ------------------------------------------------------------------------------------


def test_an_empty_journal(place: Place) -> None:
    jobs = place.run("jobs")
    assert (jobs.code, jobs.out) == (0, "")
    assert "no jobs yet" in jobs.err
    status = place.run("status")
    assert (status.code, status.out) == (2, "")
    assert "no jobs yet" in status.err


def test_report_writes_the_same_report_again_even_without_the_source(place: Place, imported: dict[str, Any]) -> None:
    (place.directory / "leads.csv").unlink()

    ended = place.run("report", imported["job_id"], "--out", "again")

    assert ended.code == 0, ended.err
    again = place.directory / "again"
    assert ended.out.splitlines() == [str(again / name) for name in FILES]
    for name in FILES:
        assert (again / name).read_bytes() == (place.directory / "report" / name).read_bytes()
    assert data(place.run("report", imported["job_id"], "--json")) == imported


def test_report_of_a_job_that_has_not_ended_tells_how_far_it_is(place: Place, mark: str) -> None:
    leads.write(place.directory / "leads.csv", leads.people(mark, 600))
    place.marketo.add({"on": "batch", "nth": 1, "do": "delay_start", "ms": 36_000_000})
    with place.start("import", "leads.csv", "--out", "report", "--json") as command:
        command.see("chunk.submitted", 4)
        told = place.run("status")
        ended = place.run("report", command.events[0]["job_id"], "--out", "sofar", "--json")
        command.kill()

    assert told.code == 0
    assert ": running" in told.out
    summary = data(ended)
    assert summary == leads.read_summary(place.directory / "sofar")
    assert (summary["state"], summary["exit_code"]) == ("running", 5)
    at_marketo = sum(batch["rows"] for batch in summary["batches"])
    assert (summary["rows"]["unknown"], summary["rows"]["unsent"]) == (at_marketo, 600 - at_marketo)


# --- how the import itself talks -----------------------------------------------------------------------------


def test_an_error_is_a_line_of_json_too(place: Place) -> None:
    ended = place.run("import", "nowhere.csv", "--json")
    assert ended.code == 4
    assert ended.events == [{"event": "command.failed", "error": "SourceError", "exit_code": 4}]


def test_quiet_says_only_where_to_and_how_it_ended(place: Place, mark: str) -> None:
    leads.write(place.directory / "leads.csv", leads.people(mark, 100))

    ended = place.run("import", "leads.csv", "--out", "report", "--quiet")

    assert ended.out == ""
    first, headline, code, following = ended.err.splitlines()
    assert first.startswith("Writing to the emulator")
    assert "is complete" in headline
    assert code.startswith("Exit code 3: ")
    assert following == f"Next: open {place.directory / 'report' / 'failures.csv'}"


def test_the_page_opens_offline_and_runs_nothing(place: Place, mark: str) -> None:
    name = "<script>alert(1)</script>"
    leads.write(place.directory / "leads.csv", [{"email": f"a@{mark}", "leadScore": name}, {"email": f"b@{mark}"}])

    place.run("import", "leads.csv", "--out", "report", "--name", name)

    page = (place.directory / "report" / "report.html").read_text(encoding="utf-8")
    assert name not in page
    assert "<script" not in page.lower()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


# --- standard streams as users have them ---------------------------------------------------------------------


def test_whoever_reads_may_go_away(place: Place, mark: str) -> None:
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, 60))
    reading, writing = os.pipe()
    os.close(reading)

    code = run_with(place, "", "import", "leads.csv", "--out", "report", "--json", out=writing, err=writing)

    os.close(writing)
    leads.assert_complete(Ended(code=code, out="", err=""), place.directory / "report", rows)
    leads.assert_delivered(place.marketo, mark, rows)


@pytest.mark.parametrize("redirected", ["<&- >&- 2>&-", ">/dev/full"], ids=["closed", "full"])
def test_an_import_goes_on_without_its_standard_streams(place: Place, mark: str, redirected: str) -> None:
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, 60))

    code = run_with(place, redirected, "import", "leads.csv", "--out", "report", "--json")

    leads.assert_complete(Ended(code=code, out="", err=""), place.directory / "report", rows)
    leads.assert_delivered(place.marketo, mark, rows)


def test_names_that_the_terminal_cannot_show_are_written_as_escapes(place: Place) -> None:
    place.write("Żółć.csv", "email\na@names.example\n")
    narrow = {"PYTHONIOENCODING": "ascii"}

    planned = place.run("plan", "Żółć.csv", "--offline", env=narrow)
    assert (planned.code, planned.out.splitlines()[0][:27]) == (0, "\\u017b\\xf3\\u0142\\u0107.csv:")
    found = data(place.run("plan", "Żółć.csv", "--offline", "--json", env=narrow))
    assert found["sources"][0]["path"] == "Żółć.csv"


def run_with(place: Place, redirected: str, *arguments: str, out: int | None = None, err: int | None = None) -> int:
    """Run the command with its standard streams as the shell redirects them; return its exit code."""
    line = ["sh", "-c", f'exec "$0" -m orchestrator "$@" {redirected}', sys.executable, *arguments]
    return subprocess.run(
        line, cwd=place.directory, env=place.env, stdout=out, stderr=err, timeout=60, check=False
    ).returncode
