"""A process killed in the middle, and what `resume` makes of it."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from tests.e2e import leads
from tests.e2e.kit import Command, Place, until

SLOW = {"on": "batch", "do": "slow_import", "factor": 800.0}  # half a second for a hundred rows
LATE = {"on": "batch", "nth": 3, "do": "delay_start", "ms": 800_000}  # four seconds: the next command meets it


def wait_for_batches(command: Command, place: Place, count: int) -> str:
    """Wait until Marketo has made this many batches of the job; return the job's id."""
    job_id: str = command.see("job.accepted")[0]["job_id"]

    def look() -> bool:
        assert command.process.poll() is None, command.shown()
        return len(place.marketo.batches(job_id)) >= count

    until(f"{count} batches at Marketo", look, command.shown)
    return job_id


def phases(place: Place) -> list[str]:
    return [chunk["phase"] for chunk in place.chunks()]


def test_killed_in_the_middle_twice_nothing_is_lost_or_doubled(place: Place, mark: str) -> None:
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, 1000))
    place.marketo.add(SLOW)
    with place.start("import", "leads.csv", "--out", "report", "--json") as command:
        job_id = wait_for_batches(command, place, 2)
        command.kill()
    assert not (place.directory / "report" / "summary.json").exists()
    there = len(place.marketo.batches(job_id))
    with place.start("resume", "--json") as command:
        wait_for_batches(command, place, there + 2)
        command.kill()
    assert "ready" in phases(place)

    ended = place.run("resume")

    summary = leads.assert_complete(ended, place.directory / "report", rows)
    leads.assert_delivered(place.marketo, mark, rows)
    assert place.marketo.collisions(mark) == []
    assert summary["job_id"] == job_id
    sent_again = sum(batch["attempts"] - 1 for batch in summary["batches"])
    assert sent_again <= 2  # those whose uploads the kills may have hit
    assert len(place.marketo.batches(job_id)) <= summary["chunks"]["total"] + sent_again


@pytest.mark.parametrize("accept", [True, False], ids=["taken", "not-taken"])
def test_killed_while_an_upload_is_under_way_its_batch_is_found_or_it_is_sent_again(
    place: Place, mark: str, accept: bool
) -> None:
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, 400))
    place.marketo.add({"on": "create", "nth": 3, "do": "hang", "accept": accept}, *([LATE] if accept else []))
    before = len(place.marketo.creates())
    with place.start("import", "leads.csv", "--out", "report", "--json") as command:
        until("the third upload", lambda: len(place.marketo.creates()) >= before + 3, command.shown)
        command.kill()
    (lost,) = [chunk for chunk in place.chunks() if chunk["phase"] == "submitting"]
    assert lost["last_batch_id"] == max(chunk["batch_id"] for chunk in place.chunks() if chunk["batch_id"])

    ended = place.run("resume", "--json")

    summary = leads.assert_complete(ended, place.directory / "report", rows)
    leads.assert_delivered(place.marketo, mark, rows)
    assert place.marketo.collisions(mark) == []
    (unknown,) = ended.named("chunk.delivery_unknown")
    assert unknown["chunk"] == lost["id"]
    (found,) = [batch for batch in summary["batches"] if batch["chunk"] == lost["id"]]
    assert (found["attempts"], found["adopted"], found["resent"]) == ((1, True, 0) if accept else (2, False, 1))
    name = f"{summary['job_id']}-row-{lost['span']['first_row']}.csv"
    made = [batch["batch_id"] for batch in place.marketo.batches(summary["job_id"]) if batch["filename"] == name]
    assert made == [found["batch_id"]]


def test_killed_before_the_file_was_read(place: Place, mark: str) -> None:
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, 60))
    place.marketo.add({"on": "describe", "do": "hang"})
    with place.start("import", "leads.csv", "--out", "report") as command:
        until("describe", lambda: place.marketo.struck() == [1], command.shown)
        command.kill()
    place.marketo.heal()

    ended = place.run("resume")

    leads.assert_complete(ended, place.directory / "report", rows)
    leads.assert_delivered(place.marketo, mark, rows)


def test_killed_while_results_are_fetched(place: Place, mark: str) -> None:
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, 200))
    place.marketo.add({"on": "failures", "do": "hang"})
    with place.start("import", "leads.csv", "--out", "report") as command:
        until("failures", lambda: place.marketo.struck()[0] > 0, command.shown)
        command.kill()
    assert "collecting" in phases(place)
    place.marketo.heal()

    ended = place.run("resume")

    leads.assert_complete(ended, place.directory / "report", rows)
    leads.assert_delivered(place.marketo, mark, rows)


def test_a_source_that_is_gone_is_not_sent_and_holds_nobody_else_up(place: Place, mark: str) -> None:
    leads.write(place.directory / "gone.csv", leads.people(mark, 60))
    rows = leads.write(place.directory / "there.csv", leads.people(mark, 60, first=1000))
    place.marketo.add({"on": "describe", "do": "hang"})
    for struck, name in enumerate(("gone.csv", "there.csv"), 1):
        with place.start("import", name, "--out", name.removesuffix(".csv")) as command:
            until("describe", lambda times=struck: place.marketo.struck() == [times], command.shown)
            command.kill()
    place.marketo.heal()
    (place.directory / "gone.csv").unlink()

    ended = place.run("resume")

    leads.assert_complete(ended, place.directory / "there", rows)
    leads.assert_delivered(place.marketo, mark, rows)
    assert "gone.csv" in ended.err


def test_a_source_that_was_changed_meanwhile_is_not_sent_in_part(place: Place, mark: str) -> None:
    source = place.directory / "leads.csv"
    rows = leads.write(source, leads.people(mark, 500))
    place.marketo.add({"on": "batch", "nth": 1, "do": "delay_start", "ms": 36_000_000})
    with place.start("import", "leads.csv", "--out", "report", "--json") as command:
        command.see("chunk.submitted", 4)  # more are not sent until one is finished
        command.kill()
    place.marketo.finish()
    other = mark.replace("mark", "other")
    source.write_bytes(source.read_bytes().replace(mark.encode(), other.encode()))

    ended = place.run("resume")

    assert ended.code == 9, ended.err
    summary = leads.read_summary(place.directory / "report")
    assert (summary["state"], summary["exit_reasons"][0]) == ("incomplete", "source_changed")
    assert any("leads.csv" in finding["message"] for finding in summary["findings"])
    assert place.marketo.people(other) == []
    # What Marketo took before is reported, with as much as can be said without the source.
    taken = rows[: sum(batch["rows"] for batch in place.marketo.batches(summary["job_id"]))]
    leads.assert_delivered(place.marketo, mark, taken)
    assert summary["rows"] | {"warned": 0} == {
        "in_source": len(rows), "skipped": {"superseded": 0}, "read": len(rows), "warned": 0,
        "accepted": sum(row.failure is None for row in taken), "failed": sum(row.failure is not None for row in taken),
        "unsent": len(rows) - len(taken), "unknown": 0, "unmatched": sum(row.failure is not None for row in taken),
    }  # fmt: skip
    listed = leads.read_listing(place.directory / "report" / "failures.csv")
    assert [(one["source_row"], one["lastName"]) for one in listed] == [
        ("", row.cells["lastName"]) for row in taken if row.failure
    ]


def test_resumed_too_late_what_marketo_has_forgotten_is_unknown(place: Place, mark: str) -> None:
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, 500))
    place.marketo.add({"on": "batch", "nth": 1, "do": "delay_start", "ms": 36_000_000})
    with place.start("import", "leads.csv", "--out", "report", "--json") as command:
        command.see("chunk.submitted", 4)
        command.kill()
    place.marketo.finish()
    place.marketo.ask("skip", {"ms": 8 * 24 * 3_600_000})
    with closing(sqlite3.connect(place.state / "journal.db")) as journal, journal:
        journal.execute("UPDATE chunks SET submitted_ms = submitted_ms - 8 * 24 * 3600000 WHERE batch_id IS NOT NULL")

    ended = place.run("resume", "--json")

    assert ended.code == 7, ended.err
    summary = leads.read_summary(place.directory / "report")
    assert (summary["state"], summary["exit_reasons"]) == ("complete", ["rows_unknown", "rows_failed"])
    assert [finding["kind"] for finding in summary["findings"]] == ["batch_gone"] * 4
    unknown = sum(batch["rows"] for batch in summary["batches"][:4])
    assert (summary["rows"]["unknown"], summary["rows"]["unsent"]) == (unknown, 0)
    leads.assert_delivered(place.marketo, mark, rows)
    failed = [(row, row.failure) for row in rows[unknown:] if row.failure]
    leads.assert_listed(place.directory / "report" / "failures.csv", failed, summary, "Import Failure Reason")
