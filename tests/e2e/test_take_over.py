"""Who drives: taking over from a process that hangs, and jobs that nobody waits for."""

from __future__ import annotations

import json
import signal

from tests.e2e import leads
from tests.e2e.kit import Place, until

HELD = {"on": "batch", "nth": 1, "do": "delay_start", "ms": 36_000_000}  # whatever is queued waits behind it


def test_a_driver_that_was_stopped_sends_nothing_more_after_another_took_over(place: Place, mark: str) -> None:
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, 900))
    place.marketo.add(HELD)
    with place.start("import", "leads.csv", "--out", "report", "--json") as stopped:
        job_id = stopped.see("chunk.submitted", 4)[0]["job_id"]
        stopped.signal(signal.SIGSTOP)
        with place.start("resume", "--take-over", "--json") as driving:  # with the jobs the other works on
            driving.read(f"Took over from process {stopped.process.pid}, which sends nothing more.")
            driving.read("job.taken_in")
            stopped.signal(signal.SIGCONT)
            stopped.read("driver.fenced")
            place.marketo.finish()
            ended = driving.end()
            followed = stopped.end()

    leads.assert_complete(ended, place.directory / "report", rows)
    assert followed.code == ended.code  # it follows its job to the end
    assert "another process has taken" in followed.err
    leads.assert_delivered(place.marketo, mark, rows)
    names = [batch["filename"] for batch in place.marketo.batches(job_id)]
    assert len(names) == len(set(names))  # no chunk was uploaded by both


def test_an_upload_under_way_at_a_take_over_does_not_arrive(place: Place, mark: str) -> None:
    leads.write(place.directory / "leads.csv", leads.people(mark, 300))
    place.marketo.add(HELD)
    with place.start("import", "leads.csv", "--out", "report", "--json") as stopped:
        job_id = stopped.see("chunk.submitted", 4)[0]["job_id"]
        stopped.signal(signal.SIGSTOP)
        sent = len(place.marketo.batches(job_id))
        with place.start("import", "leads.csv", "--take-over", "--out", "other", "--json") as driving:
            driving.read("This is job")
            driving.read("job.taken_in")
            driving.kill()
        stopped.signal(signal.SIGCONT)
        stopped.read("driver.fenced")
        # Nobody drives any more, so the first one does, by a lease of its own.
        until("driven again", lambda: stopped.err.count("job.taken_in") == 2, stopped.shown)
        assert len(place.marketo.batches(job_id)) == sent
        place.marketo.finish()
        ended = stopped.end()
    assert ended.summary["state"] == "complete"


def test_a_detached_job_is_sent_by_whoever_drives(place: Place, mark: str) -> None:
    first = leads.write(place.directory / "first.csv", leads.people(mark, 300))
    second = leads.write(place.directory / "second.csv", leads.people(mark, 100, first=1000))
    place.marketo.add(HELD)
    with place.start("import", "first.csv", "--out", "first", "--json") as driving:
        driving.see("chunk.submitted", 4)
        detached = place.run("import", "second.csv", "--detach", "--out", "second", "--json")
        told = json.loads(detached.out)
        assert (detached.code, told["driver"]) == (0, driving.process.pid)
        assert f"process {driving.process.pid} sends it as long as it runs" in detached.err
        driving.read(told["job_id"])  # it has taken the job in
        with place.start("wait", told["job_id"]) as waiting:
            place.marketo.finish()
            waiting.end()
        driving.end()
    place.run("resume")
    assert leads.read_summary(place.directory / "second")["state"] == "complete"
    leads.assert_delivered(place.marketo, mark, [*first, *second])


def test_a_detached_job_that_nobody_drives_waits_for_resume(place: Place, mark: str) -> None:
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, 60))
    before = len(place.marketo.creates())

    detached = place.run("import", "leads.csv", "--detach", "--out", "report", "--json")

    told = json.loads(detached.out)
    assert (detached.code, told["driver"]) == (0, None)
    assert "nobody sends it yet; orchestrator resume does" in detached.err
    assert f"Next: orchestrator resume {told['job_id']}" in detached.err
    assert len(place.marketo.creates()) == before
    leads.assert_complete(place.run("resume"), place.directory / "report", rows)
    leads.assert_delivered(place.marketo, mark, rows)
