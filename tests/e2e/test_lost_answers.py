"""Answers to uploads that are lost: what becomes of the rows, and what the report says of it."""

from __future__ import annotations

from tests.e2e import leads
from tests.e2e.kit import Place

LOST = {"on": "create", "every": 3, "do": "lose_answer_after_accept"}
ROWS = 420


def imported(place: Place, job_id: str) -> dict[str, int]:
    """Return how often each chunk of a job was imported; chunks are told apart by the names of their files."""
    names = [batch["filename"] for batch in place.marketo.batches(job_id)]
    return {name: names.count(name) for name in names}


def test_sent_again_is_what_the_summary_says(place: Place, mark: str) -> None:
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, ROWS))
    place.marketo.add(LOST)

    ended = place.run("import", "leads.csv", "--out", "report", "--on-unknown", "resubmit")

    summary = leads.assert_complete(ended, place.directory / "report", rows)
    leads.assert_delivered(place.marketo, mark, rows)
    assert place.marketo.collisions(mark) == []
    (lost,) = place.marketo.struck()
    again = {name: times - 1 for name, times in imported(place, summary["job_id"]).items() if times > 1}
    assert lost >= 2
    assert summary["lost_answers"]["resent"] == sum(again.values()) == lost
    marked = [batch for batch in summary["batches"] if batch["resent"]]
    assert {f"{summary['job_id']}-row-{batch['first_row']}.csv": batch["resent"] for batch in marked} == again
    assert summary["lost_answers"]["resent_rows"] == sum(batch["rows"] for batch in marked)
    assert [finding["kind"] for finding in summary["findings"]] == ["chunk_resent"] * lost


def test_found_again_nothing_is_imported_twice(place: Place, mark: str) -> None:
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, ROWS))
    place.marketo.add(LOST)

    ended = place.run("import", "leads.csv", "--out", "report", "--json")

    summary = leads.assert_complete(ended, place.directory / "report", rows)
    leads.assert_delivered(place.marketo, mark, rows)
    (lost,) = place.marketo.struck()
    assert lost >= 2
    assert set(imported(place, summary["job_id"]).values()) == {1}
    assert summary["lost_answers"] == {"adopted": lost, "resent": 0, "resent_rows": 0}
    assert [finding["kind"] for finding in summary["findings"]] == ["batch_adopted"] * lost
    made = {batch["batch_id"]: batch for batch in place.marketo.batches(summary["job_id"])}
    for batch in summary["batches"]:
        name = f"{summary['job_id']}-row-{batch['first_row']}.csv"
        assert made[batch["batch_id"]]["filename"] == name
    told = ended.named("chunk.adopted")
    assert [one["batch_id"] for one in told] == [one["batch_id"] for one in summary["batches"] if one["adopted"]]
    assert all("records read back were made after the upload" in one["evidence"] for one in told)
    assert "became batch" in place.run("status").out


def test_held_until_the_user_decides(place: Place, mark: str) -> None:
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, ROWS, troubled=False))
    place.marketo.add({"on": "create", "nth": 2, "do": "lose_answer_before_accept"})

    stopped = place.run("import", "leads.csv", "--out", "report", "--on-unknown", "hold")

    assert stopped.code == 7, stopped.err
    summary = leads.read_summary(place.directory / "report")
    assert (summary["state"], summary["exit_reasons"]) == ("incomplete", ["held"])
    (held,) = [chunk for chunk in place.chunks() if chunk["phase"] == "unknown"]
    assert summary["rows"]["unknown"] == held["span"]["rows"]
    assert summary["rows"]["accepted"] == ROWS - held["span"]["rows"]
    for decision in ("resume {} --on-unknown probe", "resume {} --on-unknown resubmit", "cancel {}"):
        assert f"\n      orchestrator {decision.format(summary['job_id'])}\n" in stopped.err
    first, last = held["span"]["first_row"], held["span"]["first_row"] + held["span"]["rows"] - 1
    assert [finding["kind"] for finding in summary["findings"]] == ["chunk_held"]
    assert f"The answer to an upload of rows {first} to {last} of leads.csv was lost." in stopped.err
    told = place.run("status").out
    where = f"{last - first + 1} rows from row {first} of leads.csv on (chunk 2)"
    assert f"{where}, whose answer was lost, until you decide" in told
    assert f" {last - first + 1} unknown ({last - first + 1} whose answer was lost)" in told
    assert "Nothing to resume." in place.run("resume").err

    ended = place.run("resume", summary["job_id"], "--on-unknown", "resubmit")

    summary = leads.assert_complete(ended, place.directory / "report", rows)
    leads.assert_delivered(place.marketo, mark, rows)
    assert summary["lost_answers"] == {"adopted": 0, "resent": 1, "resent_rows": held["span"]["rows"]}
    assert [finding["kind"] for finding in summary["findings"]] == ["chunk_resent"], "it is held no more"


def test_the_rows_that_are_held_are_named_as_the_file_numbers_them(place: Place, mark: str) -> None:
    people = leads.people(mark, 60, troubled=False)
    leads.write(place.directory / "leads.csv", [*people, *({**one, "lastName": "again"} for one in people)])
    place.marketo.add({"on": "create", "nth": 1, "do": "lose_answer_before_accept"})
    stopped = place.run("import", "leads.csv", "--out", "report", "--on-repeated-key", "last", "--on-unknown", "hold")
    assert stopped.code == 7, stopped.err
    assert "The answer to an upload of rows 61 to 120 of leads.csv was lost." in stopped.err
    assert "60 rows from row 61 of leads.csv on" in place.run("status").out
