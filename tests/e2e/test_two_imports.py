"""Several imports into one subscription at the same time: one drives, the others follow, and take over.

Marketo begins with nothing until a test lets it, so that all processes are there when it does.
"""

from __future__ import annotations

import json
import signal

import pytest

from tests.e2e import leads
from tests.e2e.kit import Place, until

HELD = {"on": "batch", "nth": 1, "do": "delay_start", "ms": 36_000_000}  # whatever is queued waits behind it
SLOW = {"on": "batch", "do": "slow_import", "factor": 300.0}


def test_the_second_follows_the_first_and_both_end_with_their_own_code(place: Place, mark: str) -> None:
    first = leads.write(place.directory / "first.csv", leads.people(mark, 500))
    second = leads.write(place.directory / "second.csv", leads.people(mark, 150, first=1000, troubled=False))
    place.marketo.add(HELD)
    with place.start("import", "first.csv", "--out", "first", "--json") as driving:
        driving.see("chunk.submitted")
        with place.start("import", "second.csv", "--out", "second", "--json") as following:
            following.see("job.planned")
            place.marketo.finish()
            ended_second = following.end()
        ended_first = driving.end()

    leads.assert_complete(ended_first, place.directory / "first", first)
    leads.assert_complete(ended_second, place.directory / "second", second)
    leads.assert_delivered(place.marketo, mark, [*first, *second])
    assert (ended_first.code, ended_second.code) == (3, 0)
    for ended in (ended_first, ended_second):
        assert {event["job_id"] for event in ended.events if "job_id" in event} == {ended.summary["job_id"]}
        assert len(ended.named("batch.completed")) == len(ended.summary["batches"])
    assert place.marketo.collisions(mark) == []


def test_the_same_people_in_two_imports_do_not_meet(place: Place, mark: str) -> None:
    people = leads.people(mark, 250, troubled=False)
    first = leads.write(place.directory / "first.csv", people)
    second = leads.write(place.directory / "second.csv", [{**one, "lastName": "second"} for one in people])
    place.marketo.add(HELD, SLOW)
    with place.start("import", "first.csv", "--out", "first", "--json") as driving:
        driving.see("chunk.submitted", 2)
        with place.start("import", "second.csv", "--out", "second", "--json") as following:
            following.see("job.planned")
            found = until("what it waits for", lambda: json.loads(place.run("status", "--json").out)["blockers"])
            told = place.run("status").out
            place.marketo.finish()
            ended_second = following.end()
        ended_first = driving.end()

    leads.assert_complete(ended_first, place.directory / "first", first)
    leads.assert_complete(ended_second, place.directory / "second", second)
    assert {blocker["job_id"] for blocker in found} == {ended_first.summary["job_id"]}
    assert f"for batch {found[0]['batch_id']} of job {ended_first.summary['job_id']}: they share keys" in told
    assert place.marketo.collisions(mark) == []
    there = place.marketo.people(mark)
    assert sorted(one["email"] for one in there) == sorted(one["email"] for one in people)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["killed", "stopped"])
def test_when_the_driving_one_ends_the_other_takes_over(place: Place, mark: str, how: signal.Signals) -> None:
    first = leads.write(place.directory / "first.csv", leads.people(mark, 800))
    second = leads.write(place.directory / "second.csv", leads.people(mark, 300, first=1000))
    place.marketo.add(HELD)
    with place.start("import", "first.csv", "--out", "first", "--json") as driving:
        driving.see("chunk.submitted", 4)
        with place.start("import", "second.csv", "--out", "second", "--json") as following:
            following.see("job.planned")
            driving.signal(how)
            code = driving.process.wait(60)
            place.marketo.finish()
            ended = following.end()

    assert code == (-signal.SIGKILL if how is signal.SIGKILL else 130)
    leads.assert_complete(ended, place.directory / "second", second)
    # What nobody waits for any more is not sent.
    (job,) = [job for job in json.loads(place.run("jobs", "--json").out) if job["paths"] == ["first.csv"]]
    assert job["state"] == ("running" if how is signal.SIGKILL else "incomplete")
    assert len(place.marketo.batches(job["id"])) == 4

    resumed = place.run("resume")

    leads.assert_complete(resumed, place.directory / "first", first)
    leads.assert_delivered(place.marketo, mark, [*first, *second])
    assert place.marketo.collisions(mark) == []


def test_resume_leaves_alone_what_another_process_works_on(place: Place, mark: str) -> None:
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, 60))
    place.marketo.add(HELD)
    with place.start("import", "leads.csv", "--out", "report", "--json") as command:
        job_id = command.see("chunk.submitted")[0]["job_id"]
        other = place.run("resume")
        place.marketo.finish()
        ended = command.end()

    assert other.code == 0, other.err
    assert f"Skipped {job_id}: another process works on it" in other.err
    leads.assert_complete(ended, place.directory / "report", rows)


def test_a_job_that_is_named_is_followed_and_taken_over(place: Place, mark: str) -> None:
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, 700))
    place.marketo.add(HELD)
    with place.start("import", "leads.csv", "--out", "report", "--json") as driving:
        job_id = driving.see("chunk.submitted")[0]["job_id"]
        with place.start("resume", job_id, "--json") as following:
            following.see("chunk.submitted")
            driving.kill()
            place.marketo.finish()
            ended = following.end()

    leads.assert_complete(ended, place.directory / "report", rows)
    leads.assert_delivered(place.marketo, mark, rows)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["killed", "stopped"])
def test_when_the_following_one_ends_the_driving_one_sends_no_more_of_its_rows(
    place: Place, mark: str, how: signal.Signals
) -> None:
    first = leads.write(place.directory / "first.csv", leads.people(mark, 600))
    second = leads.write(place.directory / "second.csv", leads.people(mark, 300, first=1000))
    place.marketo.add(HELD)
    with place.start("import", "first.csv", "--out", "first", "--json") as driving:
        driving.see("chunk.submitted", 4)
        with place.start("import", "second.csv", "--out", "second", "--json") as following:
            (planned,) = following.see("job.planned")
            driving.read(planned["job_id"])  # it has taken the job in
            following.signal(how)
            code = following.process.wait(60)
        driving.read("job.unwanted")
        place.marketo.finish()
        ended = driving.end()

    assert code == (-signal.SIGKILL if how is signal.SIGKILL else 130)
    leads.assert_complete(ended, place.directory / "first", first)
    assert place.marketo.batches(planned["job_id"]) == []

    leads.assert_complete(place.run("resume"), place.directory / "second", second)
    leads.assert_delivered(place.marketo, mark, [*first, *second])


def test_a_job_behind_another_begins_when_that_one_has_ended(place: Place, mark: str) -> None:
    first = leads.write(place.directory / "first.csv", leads.people(mark, 300, troubled=False))
    second = leads.write(place.directory / "second.csv", leads.people(mark, 100, first=1000, troubled=False))
    place.marketo.add(HELD)
    with place.start("import", "first.csv", "--out", "first", "--json") as driving:
        job = driving.see("chunk.submitted")[0]["job_id"]
        behind = ("--after", str(job), "--priority", "high")
        with place.start("import", "second.csv", *behind, "--out", "second", "--json") as following:
            (planned,) = following.see("job.planned")
            shown = place.run("status", str(planned["job_id"])).out
            driven = place.run("status", str(job)).out
            place.marketo.finish()
            ended_second = following.end()
        ended_first = driving.end()

    assert "until then Marketo tells what became of batch" in driven
    assert f"after     job {job}" in shown
    assert "priority  high" in shown
    leads.assert_complete(ended_first, place.directory / "first", first)
    leads.assert_complete(ended_second, place.directory / "second", second)
    last_of_first = max(batch["completed_at"] for batch in ended_first.summary["batches"])
    assert min(batch["submitted_at"] for batch in ended_second.summary["batches"]) >= last_of_first


def test_a_job_behind_one_that_is_not_there_is_refused(place: Place, mark: str) -> None:
    leads.write(place.directory / "people.csv", leads.people(mark, 10, troubled=False))
    ended = place.run("import", "people.csv", "--after", "nobody")
    assert ended.code == 2, ended.err
    assert "no job 'nobody' in this journal" in ended.err
    assert "Reading" not in ended.err
