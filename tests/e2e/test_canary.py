"""A few rows first: nothing else is sent before they are through, and then somebody or a threshold decides."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e import leads
from tests.e2e.kit import Place, until
from tests.e2e.terminal import Terminal

HELD = {"on": "batch", "nth": 1, "do": "delay_start", "ms": 36_000_000}  # whatever is queued waits behind it


def assert_sent_once(place: Place, summary: dict[str, Any], rows: int) -> None:
    """Check that the batches at Marketo hold each row once."""
    batches = place.marketo.batches(summary["job_id"])
    assert sum(batch["rows"] for batch in batches) == rows
    spans = sorted((b["source"], b["first_row"], b["rows"]) for b in summary["batches"])
    ends = {source: 1 for source, _, _ in spans}
    for source, first_row, count in spans:
        assert first_row == ends[source]
        ends[source] += count
    assert sum(end - 1 for end in ends.values()) == rows


def polled(place: Place, times: int) -> None:
    """Wait until batches were asked after so many times more: long enough to send others, if any could be sent."""

    def status_calls() -> int:
        calls: int = place.marketo.ask("calls")["by_kind"].get("status", 0)
        return calls

    before = status_calls()
    until("more polls", lambda: status_calls() >= before + times)


def test_nothing_else_is_sent_before_the_canary_is_through(place: Place, mark: str) -> None:
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, 400, troubled=False))
    place.marketo.add(HELD)

    with place.start("import", "leads.csv", "--out", "report", "--canary", "7", "--json") as command:
        (submitted,) = command.see("chunk.submitted")
        polled(place, 5)
        alone = place.marketo.batches(submitted["job_id"])
        place.marketo.finish()
        ended = command.end()

    assert [batch["rows"] for batch in alone] == [7]
    leads.assert_complete(ended, place.directory / "report", rows)
    leads.assert_delivered(place.marketo, mark, rows)
    assert_sent_once(place, ended.summary, 400)


def test_the_canary_is_spread_over_the_files(place: Place, mark: str) -> None:
    for name, first in (("part-10.csv", 1000), ("part-9.csv", 0), ("part-1.csv", 2000)):
        leads.write(place.directory / name, leads.people(mark, 120, first=first, troubled=False))
    place.marketo.add(HELD)

    with place.start("import", "part-*.csv", "--out", "report", "--canary", "30", "--json") as command:
        submitted = command.see("chunk.submitted", 3)
        polled(place, 5)
        alone = place.marketo.batches(submitted[0]["job_id"])
        place.marketo.finish()
        ended = command.end()

    assert ended.code == 0, ended.err
    assert [batch["rows"] for batch in alone] == [10, 10, 10]
    assert {batch["source"] for batch in ended.summary["batches"] if batch["rows"] == 10} == {0, 1, 2}
    assert_sent_once(place, ended.summary, 360)


def test_where_nobody_can_be_asked_the_threshold_stops_it(place: Place, mark: str) -> None:
    people = [{"email": f"p{n}@{mark}", "leadScore": "many" if n < 8 else str(n)} for n in range(300)]
    rows = leads.write(place.directory / "leads.csv", people)

    ended = place.run("import", "leads.csv", "--out", "report", "--canary", "10", "--json")

    assert ended.code == 8, ended.err
    assert (ended.summary["state"], ended.summary["exit_reasons"][0]) == ("paused", "threshold")
    assert ended.summary["rows"] | {"accepted": 2, "failed": 8, "unsent": 290} == ended.summary["rows"]
    assert [batch["rows"] for batch in place.marketo.batches(ended.summary["job_id"])] == [10]
    assert "more rows failed than --max-failed allows" in ended.err

    resumed = place.run("resume", ended.summary["job_id"], "--json")

    leads.assert_complete(resumed, place.directory / "report", rows)
    assert_sent_once(place, resumed.summary, 300)


@pytest.mark.parametrize("flags", [(), ("--json",)], ids=["words", "json"])
def test_on_a_terminal_somebody_says_yes(place: Place, mark: str, flags: tuple[str, ...]) -> None:
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, 300))

    with Terminal(place, "import", "leads.csv", "--out", "report", "--canary", "20", *flags) as terminal:
        shown = terminal.read("Go on with the other 280 rows? [y/N] ")
        at_marketo = place.marketo.batches(json.loads(place.run("jobs", "--json").out)[0]["id"])
        terminal.type("y")
        code = terminal.end()

    assert "The canary is through: 20 rows of 300." in shown
    assert leads.NO_KEY in shown
    assert leads.NO_NUMBER in shown
    assert [batch["rows"] for batch in at_marketo] == [20]
    assert code == 3, terminal.text
    summary = leads.read_summary(place.directory / "report")
    assert (summary["state"], summary["rows"]["failed"]) == ("complete", sum(bool(row.failure) for row in rows))
    leads.assert_delivered(place.marketo, mark, rows)
    assert_sent_once(place, summary, 300)
    assert "is complete" in terminal.text
    assert terminal.text.count("Report: ") == 1
    if flags:
        events = [json.loads(line) for line in terminal.text.splitlines() if line.startswith("{")]
        numbers = [event for event in events if event["event"] == "chunk.submitted"]
        assert len(numbers) == len(summary["batches"])  # each is told once
        assert [event["event"] for event in events].count("job.summary") == 1
        assert events[-1] == {"event": "job.summary", "summary": summary}


@pytest.mark.parametrize("answer", ["n", "", "what?"])
def test_on_a_terminal_anything_but_yes_leaves_it_paused(place: Place, mark: str, answer: str) -> None:
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, 200))

    with Terminal(place, "import", "leads.csv", "--out", "report", "--canary", "20") as terminal:
        terminal.read("[y/N] ")
        terminal.type(answer)
        shown = terminal.read("Next: orchestrator resume ")
        code = terminal.end()

    assert code == 5, terminal.text
    (job,) = json.loads(place.run("jobs", "--json").out)
    assert "paused behind the canary; a resume sends the other 180 rows" in shown
    assert (job["state"], len(place.marketo.batches(job["id"]))) == ("paused", 1)
    by_itself = place.run("resume")
    assert by_itself.code == 0
    assert f"Skipped {job['id']}: it is paused (canary" in by_itself.err

    resumed = place.run("resume", job["id"])

    leads.assert_complete(resumed, place.directory / "report", rows)


def test_ctrl_c_is_no_yes(place: Place, mark: str) -> None:
    leads.write(place.directory / "leads.csv", leads.people(mark, 200))

    with Terminal(place, "import", "leads.csv", "--out", "report", "--canary", "20") as terminal:
        terminal.read("[y/N] ")
        terminal.press("c")
        code = terminal.end()

    assert code == 130, terminal.text
    (job,) = json.loads(place.run("jobs", "--json").out)
    assert (job["state"], len(place.marketo.batches(job["id"]))) == ("paused", 1)


def test_resume_asks_too_if_the_canary_was_interrupted(place: Place, mark: str) -> None:
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, 200, troubled=False))
    place.marketo.add(HELD)
    with Terminal(place, "import", "leads.csv", "--out", "report", "--canary", "20") as terminal:
        terminal.read("1 queued")
        terminal.process.kill()
        terminal.end()
    place.marketo.finish()

    with Terminal(place, "resume") as terminal:
        terminal.read("Go on with the other 180 rows? [y/N] ")
        terminal.type("yes")
        code = terminal.end()

    assert code == 0, terminal.text
    leads.assert_delivered(place.marketo, mark, rows)


def test_a_canary_of_everything_asks_nothing(place: Place, mark: str) -> None:
    leads.write(place.directory / "leads.csv", leads.people(mark, 20, troubled=False))
    with Terminal(place, "import", "leads.csv", "--canary", "20") as terminal:
        code = terminal.end()
    assert (code, "Go on" in terminal.text) == (0, False), terminal.text
