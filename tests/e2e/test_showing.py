"""Commands that only look: data on standard output, words on standard error, nothing sent."""

from __future__ import annotations

import json
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
    assert found["seconds"]["basis"]


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
    assert data(place.run("jobs", "--json")) == []
    status = place.run("status")
    assert (status.code, status.out) == (2, "")
    assert "no jobs yet" in status.err
    resumed = place.run("resume")
    assert (resumed.code, resumed.out) == (0, "")
    assert "Nothing to resume" in resumed.err


def test_jobs_and_status_tell_what_became_of_a_job(place: Place, imported: dict[str, Any]) -> None:
    job_id, rows = imported["job_id"], imported["rows"]

    listed = place.run("jobs")
    assert listed.code == 0
    heading, line = listed.out.splitlines()
    assert heading.split() == ["JOB", "STATE", "EXIT", "CREATED", "TARGET", "HOST", "NAME"]
    assert [job_id, "complete", "3", "spring"] == [line.split()[at] for at in (0, 1, 2, -1)]
    (job,) = data(place.run("jobs", "--json"))
    assert (job["id"], job["state"], job["exit_code"], job["name"]) == (job_id, "complete", 3, "spring")

    told = place.run("status", job_id[:-2])
    assert told.code == 0
    assert told.out.startswith(f"Job {job_id} (spring): complete\n")
    assert f"{rows['accepted']} accepted, {rows['failed']} failed, {rows['warned']} with a warning" in told.out
    for batch in imported["batches"]:
        assert str(batch["batch_id"]) in told.out
    found = data(place.run("status", "--json"))
    assert found["job"]["id"] == job_id
    assert [chunk["batch_id"] for chunk in found["chunks"]] == [batch["batch_id"] for batch in imported["batches"]]
    assert found["counters"]["api_calls"] == {kind: n for kind, n in imported["api_calls"].items() if n}


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


def test_events_are_lines_of_json_and_the_summary_is_the_last(place: Place, mark: str) -> None:
    leads.write(place.directory / "leads.csv", leads.people(mark, 300))

    ended = place.run("import", "leads.csv", "--out", "report", "--json")

    *events, last = ended.events
    assert [event["event"] for event in events[:2]] == ["job.accepted", "job.planned"]
    assert events[-1]["event"] == "job.finished"
    assert {event["event"] for event in events} >= {"chunk.submitted", "batch.completed"}
    for event in events:
        assert event["ts"].endswith("Z")
        assert event["job_id"] == last["summary"]["job_id"]
    assert [event["ts"] for event in events] == sorted(event["ts"] for event in events)
    assert last == {"event": "job.summary", "summary": leads.read_summary(place.directory / "report")}


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
    assert following.startswith("Next: orchestrator ")


def test_the_page_opens_offline_and_runs_nothing(place: Place, mark: str) -> None:
    name = "<script>alert(1)</script>"
    leads.write(place.directory / "leads.csv", [{"email": f"a@{mark}", "leadScore": name}, {"email": f"b@{mark}"}])

    place.run("import", "leads.csv", "--out", "report", "--name", name)

    page = (place.directory / "report" / "report.html").read_text(encoding="utf-8")
    assert name not in page
    assert "<script" not in page.lower()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


def test_help_of_every_command(place: Place) -> None:
    for command in ("import", "plan", "jobs", "status", "resume", "report", "emulator", "demo"):
        ended = place.run(command, "--help")
        assert ended.code == 0, ended.err
        assert f"orchestrator {command}" in ended.out
        assert "Examples:" in ended.out
