"""Each target in each format: what Marketo holds and what it says of rows equals what was sent, row by row."""

from __future__ import annotations

import pytest

from tests.e2e import leads, targets
from tests.e2e.kit import Place

DELIMITERS = {"csv": ",", "tsv": "\t", "ssv": ";"}
AS_WRITTEN = {"csv": ("\n", False), "tsv": ("\r\n", False), "ssv": ("\r\n", True)}  # line end, byte order mark
RECORDS = 110  # some 130 rows, in three or four uploads
SLOW = {"on": "batch", "do": "slow_import", "factor": 200.0}  # so that two batches of one key would meet
SMALL = {"ORCHESTRATOR_LIMITS__BODY_BYTES_MAX": "3000"}


@pytest.mark.parametrize("how", ["detected", "told"])
@pytest.mark.parametrize("form", DELIMITERS)
@pytest.mark.parametrize("name", targets.TARGETS)
def test_every_row_arrives_and_every_other_one_is_reported(
    place: Place, mark: str, name: str, form: str, how: str
) -> None:
    target, delimiter = targets.TARGETS[name], DELIMITERS[form]
    newline, bom = AS_WRITTEN[form]
    rows = leads.write(
        place.directory / "export.txt",
        targets.rows(target, mark, RECORDS),
        columns=target.columns,
        kind=target.row,
        delimiter=delimiter,
        newline=newline,
        bom=bom,
        short=how == "told",  # nobody could tell from such a file how its cells are separated
    )
    place.marketo.add(
        {"on": "batch", "do": "slow_import", "factor": 200.0}
    )  # so that two batches of one key would meet
    flags = target.flags if how == "detected" else (*target.flags, "--format", form)

    ended = place.run("import", "export.txt", "--out", "report", *flags, env=SMALL)

    summary = leads.assert_complete(ended, place.directory / "report", rows)
    targets.assert_delivered(place.marketo, target, mark, rows)
    targets.assert_result_files(place.marketo, summary, rows, delimiter)
    assert place.marketo.collisions(mark) == []
    assert summary["target"] == target.summary
    assert summary["sources"][0]["delimiter"] == delimiter
    assert summary["chunks"]["done"] == len(summary["batches"]) > 2
    assert {batch["format"] for batch in place.marketo.batches(summary["job_id"])} == {form}
    assert min(summary["rows"][outcome] for outcome in ("accepted", "failed", "warned")) > 5


@pytest.mark.parametrize("name", targets.TARGETS)
def test_a_key_is_the_same_however_it_is_spelt(place: Place, mark: str, name: str) -> None:
    target = targets.TARGETS[name]
    once = [target.clean(mark, n) for n in range(40)]
    again = [target.respelt(cells) | {target.number: "7"} for cells in once]
    rows = leads.write(place.directory / "leads.csv", [*once, *again], columns=target.columns, kind=target.row)
    place.marketo.add({"on": "batch", "do": "slow_import", "factor": 2_000.0})  # ten times as long as an upload

    ended = place.run("import", "leads.csv", "--out", "report", *target.flags, env=SMALL)

    summary = leads.assert_complete(ended, place.directory / "report", rows)
    assert len(summary["batches"]) > 1
    targets.assert_delivered(place.marketo, target, mark, rows)
    assert place.marketo.collisions(mark) == []


def test_a_file_whose_records_do_not_show_its_format_is_read_as_its_header_says(place: Place, mark: str) -> None:
    people = [{"email": f"ada@{mark}", "lastName": "Ada"}, {"email": f"bob@{mark}"}]
    rows = leads.write(place.directory / "leads.csv", people, columns=("email", "lastName"), delimiter=";", short=True)

    ended = place.run("import", "leads.csv")

    assert ended.code == 0, ended.err
    assert "fewer cells than the header" in ended.err
    leads.assert_delivered(place.marketo, mark, rows)
