"""Pause, cancel and drain: a job is stopped from another process, or by a signal, while it runs and while it does not.

Marketo begins with nothing until a test lets it.
"""

from __future__ import annotations

import json
import re
import signal

import pytest

from tests.e2e import leads
from tests.e2e.kit import Place, until

HELD = {"on": "batch", "nth": 1, "do": "delay_start", "ms": 36_000_000}  # whatever is queued waits behind it


def test_a_paused_job_sees_its_batches_to_their_end_and_goes_on_when_it_is_named(place: Place, mark: str) -> None:
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, 800))
    place.marketo.add(HELD)
    with place.start("import", "leads.csv", "--out", "report", "--json") as driving:
        job_id = driving.see("chunk.submitted", 4)[0]["job_id"]
        asked = place.run("pause", job_id, "--reason", "campaign at noon")
        driving.read("job.stopping")  # it heeds the wish
        again = place.run("pause", job_id)
        place.marketo.finish()
        ended = driving.end()

    assert asked.code == again.code == 0, asked.err
    assert f"Job {job_id} is being paused" in asked.err
    assert asked.out.split()[:2] == ["accepted", "0"]
    assert "(which cannot cancel imports)" in asked.out
    assert "not sent until the job is resumed" in asked.out
    assert ended.code == 5, ended.err
    (told,) = ended.named("job.stop_asked")
    assert (told["wish"], told["reason"]) == ("pause", "campaign at noon")
    summary = leads.read_summary(place.directory / "report")
    assert (summary["state"], summary["exit_reasons"][0]) == ("paused", "paused")
    assert re.search(r"A pause was asked for at \S+ \S+ UTC: campaign at noon\n", ended.err)
    assert f"orchestrator resume {job_id}" in ended.err
    chunks = place.chunks()
    assert {chunk["phase"] for chunk in chunks} == {"done", "ready"}
    assert len(place.marketo.batches(job_id)) == sum(chunk["phase"] == "done" for chunk in chunks)
    assert summary["rows"]["unsent"] == sum(chunk["span"]["rows"] for chunk in chunks if chunk["phase"] == "ready")

    skipped = place.run("resume")
    assert skipped.code == 0
    assert f"Skipped {job_id}: it is paused (campaign at noon); orchestrator resume {job_id} goes on" in skipped.err

    resumed = place.run("resume", job_id)
    leads.assert_complete(resumed, place.directory / "report", rows)
    leads.assert_delivered(place.marketo, mark, rows)
    assert "somebody asks to pause it" not in resumed.err
    assert re.search(
        r"A pause was asked for at \S+ \S+ UTC: campaign at noon\n +- Resumed at \S+ \S+ UTC\n", resumed.err
    )


def test_a_cancelled_job_ends_for_good_and_its_report_has_the_unsent_rows(place: Place, mark: str) -> None:
    leads.write(place.directory / "leads.csv", leads.people(mark, 800, troubled=False))
    place.marketo.add(HELD)
    with place.start("import", "leads.csv", "--out", "report", "--json") as driving:
        job_id = driving.see("chunk.submitted", 4)[0]["job_id"]
        asked = place.run("cancel", job_id, "--json")
        driving.read("job.stopping")  # it heeds the wish
        place.marketo.finish()
        ended = driving.end()

    told = json.loads(asked.out)
    assert (told["state"], told["wish"], told["changed"]) == ("running", "cancel", True)
    assert told["rows"]["importing"] + told["rows"]["unsent"] == 800
    assert ended.code == 0, ended.err
    summary = leads.read_summary(place.directory / "report")
    assert (summary["state"], summary["exit_code"], summary["exit_reasons"]) == ("cancelled", 0, [])
    assert summary["rows"]["unsent"] == told["rows"]["unsent"] > 0
    assert summary["rows"]["accepted"] == told["rows"]["importing"] > 0
    assert {chunk["phase"] for chunk in place.chunks()} == {"done", "cancelled"}
    again = place.run("cancel", job_id)
    assert again.code == 0
    assert f"Job {job_id} is cancelled already." in again.err
    assert f"Skipped {job_id}: it is cancelled" in place.run("resume", job_id).err


def test_a_cancelled_job_of_which_rows_failed_ends_with_3(place: Place, mark: str) -> None:
    leads.write(place.directory / "leads.csv", leads.people(mark, 800))
    place.marketo.add(HELD)
    with place.start("import", "leads.csv", "--out", "report", "--json") as driving:
        job_id = driving.see("chunk.submitted", 4)[0]["job_id"]
        with place.start("cancel", job_id, "--wait") as cancelling:
            driving.read("job.stopping")  # it heeds the wish
            place.marketo.finish()
            waited = cancelling.end()
        ended = driving.end()
    assert (ended.code, waited.code) == (3, 3), waited.err
    assert ended.summary["state"] == "cancelled"


def test_pausing_what_nobody_drives_takes_effect_at_once(place: Place, mark: str) -> None:
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, 500))
    place.marketo.add(HELD)
    with place.start("import", "leads.csv", "--out", "report", "--json") as driving:
        job_id = driving.see("chunk.submitted", 4)[0]["job_id"]
        driving.kill()
    place.marketo.finish()

    asked = place.run("pause", job_id)

    assert f"Job {job_id} is paused." in asked.err
    assert f"Skipped {job_id}: it is paused; orchestrator resume {job_id} goes on" in place.run("resume").err
    leads.assert_complete(place.run("resume", job_id), place.directory / "report", rows)
    leads.assert_delivered(place.marketo, mark, rows)


@pytest.mark.parametrize("paused", [False, True])
def test_cancelling_what_nobody_drives_sends_nothing_more_and_resume_fetches_the_rest(
    place: Place, mark: str, *, paused: bool
) -> None:
    leads.write(place.directory / "leads.csv", leads.people(mark, 500, troubled=False))
    place.marketo.add(HELD)
    with place.start("import", "leads.csv", "--out", "report", "--json") as driving:
        job_id = driving.see("chunk.submitted", 4)[0]["job_id"]
        driving.kill()
    if paused:
        place.run("pause", job_id)

    asked = place.run("cancel", job_id)

    assert "Resume it to fetch the outcome of what is at Marketo; then it is cancelled." in asked.err
    assert {chunk["phase"] for chunk in place.chunks()} <= {"submitting", "submitted", "cancelled"}
    sent = len(place.marketo.batches(job_id))
    place.marketo.finish()
    ended = place.run("resume")
    assert ended.code in (0, 7), ended.err  # 7: the upload under way at the crash stays in doubt
    assert leads.read_summary(place.directory / "report")["state"] == "cancelled"
    assert len(place.marketo.batches(job_id)) == sent


def test_cancelling_what_was_never_sent_writes_the_report_at_once(place: Place, mark: str) -> None:
    leads.write(place.directory / "leads.csv", leads.people(mark, 60))
    place.marketo.add({"on": "create", "do": "code", "code": "1016"})
    with place.start("import", "leads.csv", "--out", "report", "--json") as driving:
        job_id = driving.see("chunk.deferred")[0]["job_id"]
        driving.signal(signal.SIGINT)
        assert driving.end().code == 130

    asked = place.run("cancel", job_id)

    assert f"Job {job_id} is cancelled." in asked.err
    assert "never sent, for good" in asked.out
    summary = leads.read_summary(place.directory / "report")
    assert (summary["state"], summary["rows"]["unsent"]) == ("cancelled", 60)


def test_what_has_ended_and_what_nobody_knows_is_told_so(place: Place, mark: str) -> None:
    leads.write(place.directory / "leads.csv", leads.people(mark, 20, troubled=False))
    job_id = place.run("import", "leads.csv", "--out", "report", "--json").summary["job_id"]
    for command in ("pause", "cancel"):
        told = place.run(command, job_id)
        assert told.code == 0
        assert f"Job {job_id} has ended before (complete); there is nothing to stop." in told.err
        assert "Exit code 0: nothing was changed.\n" in told.err
        assert "at Marketo" not in told.out
        unknown = place.run(command, "nothing")
        assert unknown.code == 2
        assert "no job 'nothing' in this journal" in unknown.err
    assert leads.read_summary(place.directory / "report")["state"] == "complete"


def test_a_drain_ends_when_its_time_is_over(place: Place, mark: str) -> None:
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, 300))
    place.marketo.add({"on": "create", "nth": 2, "do": "hang", "accept": True})
    patient = {"ORCHESTRATOR_HTTP__TIMEOUT_SECONDS": "80", "ORCHESTRATOR_HTTP__IDLE_SECONDS": "80"}
    with place.start("import", "leads.csv", "--out", "report", "--set", "drain.seconds=0.1", env=patient) as command:
        until("the second upload", lambda: place.marketo.struck() == [1], command.shown)
        command.signal(signal.SIGTERM)
        stopped = command.end()

    assert stopped.code == 143, stopped.err
    assert "driver.abandoned" in stopped.err
    assert [chunk["phase"] for chunk in place.chunks()].count("submitting") == 1
    leads.assert_complete(place.run("resume"), place.directory / "report", rows)
    leads.assert_delivered(place.marketo, mark, rows)
    assert place.marketo.collisions(mark) == []
