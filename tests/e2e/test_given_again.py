"""What was given before: the same key, the same content, and files that lie elsewhere by now."""

from __future__ import annotations

import pytest

from tests.e2e import leads
from tests.e2e.kit import Place
from tests.e2e.test_two_imports import HELD


def _stopped(place: Place, mark: str) -> tuple[str, list[leads.Row]]:
    """Kill an import with something sent and something not; return its job and its rows."""
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, 400))
    place.marketo.add(HELD)
    with place.start("import", "leads.csv", "--out", "report", "--json") as command:
        job_id = command.see("chunk.submitted", 4)[0]["job_id"]
        command.kill()
    place.marketo.finish()
    return str(job_id), rows


def test_a_job_goes_on_with_a_file_that_was_moved(place: Place, mark: str) -> None:
    job_id, rows = _stopped(place, mark)
    (place.directory / "elsewhere").mkdir()
    (place.directory / "leads.csv").rename(place.directory / "elsewhere" / "moved.csv")

    ended = place.run("resume", job_id, "--source", "leads.csv=elsewhere/moved.csv", "--json")

    leads.assert_complete(ended, place.directory / "report", rows)
    leads.assert_delivered(place.marketo, mark, rows)
    names = [batch["filename"] for batch in place.marketo.batches(job_id)]
    assert len(names) == len(set(names))


def test_another_file_in_its_place_is_refused_and_what_differs_is_said(place: Place, mark: str) -> None:
    job_id, rows = _stopped(place, mark)
    content = (place.directory / "leads.csv").read_bytes()
    place.write("other.csv", content.replace(f"p399@{mark}".encode(), f"q399@{mark}".encode()))
    sent = len(place.marketo.batches(job_id))

    refused = place.run("resume", job_id, "--source", "leads.csv=other.csv")

    assert refused.code == 4
    assert "other.csv is not what was planned as leads.csv: rows " in refused.err
    assert " to 400 are others. Nothing was changed." in refused.err
    assert len(place.marketo.batches(job_id)) == sent
    leads.assert_complete(place.run("resume", job_id, "--json"), place.directory / "report", rows)


def test_a_key_given_twice_is_one_job_that_is_followed_and_then_told_again(place: Place, mark: str) -> None:
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, 200))
    before = len(place.marketo.batches())
    place.marketo.add(HELD)
    given = ("import", "leads.csv", "--key", f"nightly of {mark}", "--json")
    with place.start(*given, "--out", "report") as driving:
        job_id = driving.see("chunk.submitted")[0]["job_id"]
        with place.start(*given, "--out", "other") as following:
            following.read(f"This is job {job_id}, which is running; no other is made of it.")
            place.marketo.finish()
            ended = following.end()
        leads.assert_complete(driving.end(), place.directory / "report", rows)
    told_again = place.run(*given, "--out", "third")
    detached = place.run(*given, "--out", "fourth", "--detach")  # nothing is left that another process could do

    for again in (ended, told_again, detached):
        assert (again.summary["job_id"], again.code) == (job_id, 3)
    assert f"This is job {job_id}, which is complete; no other is made of it." in told_again.err
    assert len(place.marketo.batches()) - before == len(place.marketo.batches(job_id)) > 0
    leads.assert_delivered(place.marketo, mark, rows)


def test_a_key_with_other_content_is_refused(place: Place, mark: str) -> None:
    leads.write(place.directory / "leads.csv", leads.people(mark, 10, troubled=False))
    leads.write(place.directory / "others.csv", leads.people(mark, 10, first=100, troubled=False))
    assert place.run("import", "leads.csv", "--key", mark, "--out", "report").code == 0
    refused = place.run("import", "others.csv", "--key", mark, "--out", "other")
    assert refused.code == 4
    assert f"the key '{mark}' belongs to job " in refused.err
    assert not (place.directory / "other").exists() or not any((place.directory / "other").iterdir())


@pytest.mark.parametrize(
    ("if_known", "code", "told"),
    [
        ("resume", 4, "this content was imported by job {job} (complete) for the same target; nothing was sent."),
        ("refuse", 4, "this content was imported by job {job} (complete) for the same target; nothing was sent."),
        ("skip", 0, "This is job {job}, which is complete; no other is made of it."),
    ],
)
def test_content_that_is_through_is_not_sent_again(
    place: Place, mark: str, if_known: str, code: int, told: str
) -> None:
    leads.write(place.directory / "leads.csv", leads.people(mark, 30, troubled=False))
    job_id = place.run("import", "leads.csv", "--out", "report", "--json").summary["job_id"]
    sent = len(place.marketo.batches())

    again = place.run("import", "leads.csv", "--if-known", if_known, "--out", "again")

    assert (again.code, told.format(job=job_id) in again.err) == (code, True), again.err
    assert len(place.marketo.batches()) == sent
    assert place.run("import", "leads.csv", "--if-known", "again", "--out", "again").code == 0
    assert len(place.marketo.batches()) == sent + 1


def test_an_unfinished_job_is_refused_or_skipped_or_gone_on_with(place: Place, mark: str) -> None:
    job_id, rows = _stopped(place, mark)
    refused = place.run("import", "leads.csv", "--if-known", "refuse", "--out", "again")
    skipped = place.run("import", "leads.csv", "--if-known", "skip", "--out", "again")
    assert refused.code == 4
    assert f"this content is that of job {job_id} (" in refused.err
    assert f"This is job {job_id}, which is " in skipped.err
    sent = len(place.marketo.batches(job_id))
    ended = place.run("import", "leads.csv", "--out", "again", "--json")
    assert ended.summary["job_id"] == job_id
    assert len(place.marketo.batches(job_id)) > sent
    leads.assert_complete(ended, place.directory / "report", rows)
