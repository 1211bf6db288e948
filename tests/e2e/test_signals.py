"""Ctrl-C and its like: everything stays resumable."""

from __future__ import annotations

import signal
import sys

import pytest

from tests import postgres
from tests.e2e import leads
from tests.e2e.kit import Place, until

SLOW = {"on": "batch", "do": "slow_import", "factor": 800.0}


def test_the_first_signal_finishes_the_upload_under_way_and_sends_nothing_more(place: Place, mark: str) -> None:
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, 800))
    place.marketo.add(SLOW, {"on": "create", "nth": 3, "do": "slow", "ms": 100_000})  # half a second of real time
    before = len(place.marketo.creates())
    with place.start("import", "leads.csv", "--out", "report", "--json") as command:
        until("the third upload", lambda: len(place.marketo.creates()) >= before + 3, command.shown)
        command.signal(signal.SIGINT)
        stopped = command.end()

    assert stopped.code == 130, stopped.err
    assert "Once more stops at once" in stopped.err
    assert "Exit code 130: stopped on request" in stopped.err
    summary = leads.read_summary(place.directory / "report")
    assert stopped.summary == summary
    assert (summary["state"], summary["exit_code"]) == ("incomplete", 130)
    assert summary["exit_reasons"][0] == "sigint"
    assert len(place.marketo.batches(summary["job_id"])) == 3  # the third one was under way
    chunks = place.chunks()
    assert {chunk["phase"] for chunk in chunks} <= {"ready", "submitted", "collecting", "done"}
    assert len([chunk for chunk in chunks if chunk["batch_id"]]) == 3
    assert summary["rows"]["unsent"] == sum(chunk["span"]["rows"] for chunk in chunks if chunk["phase"] == "ready") > 0

    ended = place.run("resume")

    summary = leads.assert_complete(ended, place.directory / "report", rows)
    leads.assert_delivered(place.marketo, mark, rows)
    assert {batch["attempts"] for batch in summary["batches"]} == {1}
    assert len(place.marketo.batches(summary["job_id"])) == summary["chunks"]["total"]


def test_the_second_signal_stops_at_once_and_leaves_the_upload_in_doubt(place: Place, mark: str) -> None:
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, 800))
    place.marketo.add(SLOW, {"on": "create", "nth": 3, "do": "hang", "accept": True})
    before = len(place.marketo.creates())
    patient = {"ORCHESTRATOR_HTTP__TIMEOUT_SECONDS": "80", "ORCHESTRATOR_HTTP__IDLE_SECONDS": "80"}
    with place.start("import", "leads.csv", "--out", "report", env=patient) as command:
        until("the third upload", lambda: len(place.marketo.creates()) >= before + 3, command.shown)
        command.signal(signal.SIGINT)
        command.read("Once more stops at once")
        assert command.process.poll() is None  # the upload has no answer
        command.signal(signal.SIGINT)
        stopped = command.end()

    assert stopped.code == 130, stopped.err
    summary = leads.read_summary(place.directory / "report")
    assert (summary["state"], summary["exit_reasons"][0]) == ("incomplete", "sigint")
    assert [chunk["phase"] for chunk in place.chunks()].count("submitting") == 1

    ended = place.run("resume")

    leads.assert_complete(ended, place.directory / "report", rows)
    leads.assert_delivered(place.marketo, mark, rows)
    assert place.marketo.collisions(mark) == []


def test_a_third_signal_is_obeyed_too(place: Place, mark: str) -> None:
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, 300))
    place.marketo.add({"on": "create", "nth": 2, "do": "hang"})
    with place.start("import", "leads.csv", "--out", "report") as command:
        until("the second upload", lambda: place.marketo.struck() == [1], command.shown)
        for _ in range(3):
            command.signal(signal.SIGTERM)
        stopped = command.end()
    assert stopped.code == 143, stopped.err

    ended = place.run("resume", env={"ORCHESTRATOR_HTTP__TIMEOUT_SECONDS": "1"})

    leads.assert_complete(ended, place.directory / "report", rows)
    leads.assert_delivered(place.marketo, mark, rows)


def test_a_signal_before_anything_is_sent_sends_nothing(place: Place, mark: str) -> None:
    leads.write(place.directory / "leads.csv", leads.people(mark, 60))
    place.marketo.add({"on": "describe", "do": "hang"})
    before = len(place.marketo.creates())
    with place.start("import", "leads.csv", "--out", "report") as command:
        until("describe", lambda: place.marketo.struck() == [1], command.shown)
        command.signal(signal.SIGINT)
        stopped = command.end()

    assert stopped.code == 130, stopped.err
    assert "Stopping; nothing is sent." in stopped.err
    assert len(place.marketo.creates()) == before


def test_a_signal_while_nothing_may_be_sent_ends_the_wait(place: Place, mark: str) -> None:
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, 60))
    place.marketo.add({"on": "create", "do": "code", "code": "607"})  # until midnight in Chicago
    with place.start("import", "leads.csv", "--out", "report", "--json") as command:
        (deferred,) = command.see("chunk.deferred")
        command.signal(signal.SIGTERM)
        stopped = command.end()
    assert deferred["cause"] == "quota_exhausted"
    assert stopped.code == 143, stopped.err
    place.marketo.heal()

    ended = place.run("resume")

    leads.assert_complete(ended, place.directory / "report", rows)
    leads.assert_delivered(place.marketo, mark, rows)


@pytest.mark.skipif(sys.platform != "linux", reason="how the server is stopped is found in /proc")
@pytest.mark.parametrize("ending", ["the second signal", "drain.seconds"])
def test_a_journal_that_does_not_answer_ends_with_the_drain(place: Place, mark: str, ending: str) -> None:
    leads.write(place.directory / "leads.csv", leads.people(mark, 300))
    place.marketo.add({"on": "batch", "do": "slow_import", "factor": 800.0})
    journal = ("--journal", postgres.new_schema())
    drain = {"ORCHESTRATOR_DRAIN__SECONDS": "600" if ending == "the second signal" else "0.5"}
    before = len(place.marketo.creates())
    with place.start("import", "leads.csv", "--out", "report", *journal, env=drain) as command:
        until("the second upload", lambda: len(place.marketo.creates()) >= before + 2, command.shown)
        with postgres.hanging():
            command.signal(signal.SIGTERM)
            command.read("Once more stops at once")
            if ending == "the second signal":
                command.signal(signal.SIGTERM)
            stopped = command.end()

    assert stopped.code == 143, stopped.err
    assert "does not answer" in stopped.err or "cannot be reached" in stopped.err
    assert "Next: orchestrator resume --journal" in stopped.err
