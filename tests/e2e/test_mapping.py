"""Mapped imports: what Marketo gets is what the mapping makes, and reports show the file as it is."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.e2e import leads
from tests.e2e.kit import Place, until
from tests.e2e.test_crash import SLOW, wait_for_batches

SOURCE_COLUMNS = ("E-Mail", "Vorname", "Nachname", "Firma", "Punkte", "Geboren", "Notiz")
MAPPING = """
[columns."E-Mail"]
to = "email"
trim = true
[columns.Vorname]
to = "firstName"
[columns.Nachname]
to = "lastName"
values = { "L4" = "Four" }
[columns.Firma]
to = "company"
[columns.Punkte]
to = "leadScore"
number = "de"
[columns.Geboren]
to = "dateOfBirth"
date = "%d.%m.%Y"
[columns.Notiz]
drop = true
[constants]
leadSource = "Messe, \\"Halle 3\\""
"""


def german(cells: Mapping[str, str], n: int) -> dict[str, str]:
    """Write a person as the German file has it."""
    score = cells["leadScore"]
    return {
        "E-Mail": f" {cells['email']}  " if cells["email"] else "",
        "Vorname": cells["firstName"],
        "Nachname": cells["lastName"],
        "Firma": cells["company"],
        "Punkte": f"{int(score) + 1000:,}".replace(",", ".") if score.isdecimal() else score,
        "Geboren": f"{n % 28 + 1}.{n % 12 + 1}.19{n % 60 + 30}",
        "Notiz": f"n{n}\n" * (n % 3),
    }


def english(cells: Mapping[str, str], n: int) -> dict[str, str]:
    """Return what is sent of it."""
    score = cells["leadScore"]
    return {
        **cells,
        "email": cells["email"],
        "lastName": "Four" if cells["lastName"] == "L4" else cells["lastName"],
        "leadScore": str(int(score) + 1000) if score.isdecimal() else score,
        "dateOfBirth": f"19{n % 60 + 30}-{n % 12 + 1:02}-{n % 28 + 1:02}",
        "leadSource": 'Messe, "Halle 3"',
    }


def write_german(path: Path, people: Sequence[Mapping[str, str]]) -> tuple[list[leads.Row], list[leads.Row]]:
    """Write a German file with blank lines in it; return its rows as they are there, and as they are sent."""
    rows = leads.write(
        path, [german(cells, n) for n, cells in enumerate(people)], columns=SOURCE_COLUMNS, delimiter=";", bom=True
    )
    sent = [
        leads.Row(row.source, row.row, row.line, english(cells, n))
        for n, (row, cells) in enumerate(zip(rows, people, strict=True))
    ]
    return rows, sent


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def assert_reported(report: Path, rows: Sequence[leads.Row], sent: Sequence[leads.Row]) -> None:
    """Check that the listings show the rows of the file, where they stand and what they say there."""
    for name, reason_column, reasons in (
        ("failures.csv", "Import Failure Reason", [row.failure for row in sent]),
        ("warnings.csv", "Import Warning Reason", [row.warning for row in sent]),
    ):
        wanted = [(row, reason) for row, reason in zip(rows, reasons, strict=True) if reason]
        assert [{**one, "batch_id": ""} for one in read_table(report / name)] == [
            {
                "source_file": row.source,
                "source_row": str(row.row),
                "source_line": str(row.line),
                "batch_id": "",
                **row.cells,
                reason_column: reason,
            }
            for row, reason in wanted
        ]


def test_marketo_gets_what_the_mapping_makes_and_the_report_shows_the_file(place: Place, mark: str) -> None:
    rows, sent = write_german(place.directory / "leute.csv", leads.people(mark, 200))
    place.write("map.toml", MAPPING)

    ended = place.run("import", "leute.csv", "--map", "map.toml", "--out", "report")

    assert ended.code == 3, ended.err
    summary = leads.read_summary(place.directory / "report")
    leads.assert_delivered(place.marketo, mark, sent)
    assert_reported(place.directory / "report", rows, sent)
    assert summary["rows"]["unmatched"] == 0
    source = place.directory / "leute.csv"
    assert summary["sources"][0] | {"sha256": ""} == {
        "path": "leute.csv", "bytes": source.stat().st_size, "sha256": "", "rows": 200, "blank_lines": 0,
        "encoding": "utf-8", "delimiter": ";",
    }  # fmt: skip
    (counted,) = [one["message"] for one in summary["findings"] if one["kind"] == "cells_changed"]
    assert counted.startswith("leute.csv: cells changed by the mapping: 'E-Mail' trim ")
    assert "'Nachname' values 1" in counted
    (odd,) = [one["message"] for one in summary["findings"] if one["kind"] == "source_odd"]
    bad = [row for row in sent if row.failure == leads.NO_NUMBER]
    assert odd.startswith(
        f"leute.csv: from line {bad[0].line} on, {len(bad)} cell(s) of column 'Punkte' cannot be converted by number;"
    )
    first_failed = {reason: row.row for row in reversed(sent) if (reason := row.failure)}
    assert {one["reason"]: one["example_row"] for one in summary["reasons"] if one["kind"] == "failure"} == first_failed


def test_other_names_alone_send_the_file_as_it_is(place: Place, mark: str) -> None:
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, 150))
    content = (place.directory / "leads.csv").read_bytes()
    header, body = content.split(b"\n", 1)
    place.write("leads.csv", header.replace(b"email,firstName", b"E-Mail,First Name") + b"\n" + body)
    place.write("map.toml", '[columns."E-Mail"]\nto = "email"\n[columns."First Name"]\nto = "firstName"\n')

    ended = place.run("import", "leads.csv", "--map", "map.toml", "--out", "report", "--json")

    assert ended.code == 3, ended.err
    leads.assert_delivered(place.marketo, mark, rows)
    failed = read_table(place.directory / "report" / "failures.csv")
    assert list(failed[0])[4:6] == ["E-Mail", "First Name"]
    assert [one["source_row"] for one in failed] == [str(row.row) for row in rows if row.failure]
    job_id = ended.summary["job_id"]
    assert not list(place.state.glob(f"jobs/{job_id}/plans/*/spool"))


def test_only_the_last_row_of_a_key_is_sent(place: Place, mark: str) -> None:
    people = leads.people(mark, 120)
    again = [{**cells, "lastName": f"again {n}"} for n, cells in enumerate(people) if n % 3 == 0]
    first = leads.write(place.directory / "1.csv", [*people, *again[:20]])
    second = leads.write(place.directory / "2.csv", again[20:])
    rows = [*first, *second]
    last = {row.key: row for row in rows if row.key}
    sent = [row for row in rows if not row.key or last[row.key] is row]
    before = len(place.marketo.batches())

    ended = place.run("import", "1.csv", "2.csv", "--on-repeated-key", "last", "--out", "report")

    assert ended.code == 3, ended.err
    summary = leads.read_summary(place.directory / "report")
    leads.assert_delivered(place.marketo, mark, sent)
    assert_reported(place.directory / "report", sent, sent)
    assert summary["rows"]["skipped"] == {"superseded": len(rows) - len(sent)}
    assert summary["rows"]["read"] == len(sent) == sum(batch["rows"] for batch in place.marketo.batches()[before:])
    assert read_table(place.directory / "report" / "superseded.csv") == [
        {
            "source_file": row.source,
            "source_row": str(row.row),
            "source_line": str(row.line),
            "replaced_by_file": last[row.key].source,
            "replaced_by_row": str(last[row.key].row),
        }
        for row in rows
        if row not in sent
    ]
    starts = {(row.source, row.row) for row in sent}
    for batch in summary["batches"]:
        assert (summary["sources"][batch["source"]]["path"], batch["first_row"]) in starts

    assert not list(place.state.glob(f"jobs/{summary['job_id']}/plans/*/spool"))
    assert place.run("report", summary["job_id"], "--out", "again").code == 0
    for name in ("failures.csv", "warnings.csv", "superseded.csv"):
        assert (place.directory / "again" / name).read_bytes() == (place.directory / "report" / name).read_bytes()
    assert leads.read_summary(place.directory / "again")["batches"] == summary["batches"]


@pytest.mark.parametrize("moment", ["planning", "sending"])
def test_a_mapped_job_that_is_killed_goes_on_without_its_mapping_file(place: Place, mark: str, moment: str) -> None:
    rows, sent = write_german(place.directory / "leute.csv", leads.people(mark, 300))
    place.write("map.toml", MAPPING)
    arguments = ("import", "leute.csv", "--map", "map.toml", "--on-repeated-key", "last", "--out", "report", "--json")
    place.marketo.add({"on": "describe", "do": "hang"} if moment == "planning" else SLOW)
    with place.start(*arguments) as command:
        if moment == "planning":
            until("describe", lambda: place.marketo.struck() == [1], command.shown)
        else:
            wait_for_batches(command, place, 2)
        command.kill()
    place.marketo.heal()
    (place.directory / "map.toml").unlink()

    ended = place.run("resume")

    assert ended.code == 3, ended.err
    leads.assert_delivered(place.marketo, mark, sent)
    assert_reported(place.directory / "report", rows, sent)
    assert place.marketo.collisions(mark) == []


# --- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[columns.Email]\nto = 5\n", "map.toml: columns.Email.to: must be the name of a field"),
        ("[columns.Nobody]\ndrop = true\n", "map.toml: columns.Nobody: leads.csv has no such column; there are"),
        ('[columns.title]\nto = "email"\n', "map.toml: columns: column 'title' of leads.csv would be sent as 'email'"),
    ],
)
def test_a_wrong_mapping_is_an_error_of_use(place: Place, mark: str, text: str, said: str) -> None:
    leads.write(place.directory / "leads.csv", leads.people(mark, 3))
    place.write("map.toml", text)

    for command in ("import", "plan"):
        ended = place.run(command, "leads.csv", "--map", "map.toml")
        assert ended.code == 2, ended.err
        assert said in ended.err
    assert place.marketo.people(mark) == []


def test_repeated_keys_are_refused_if_that_is_wished(place: Place, mark: str) -> None:
    people = leads.people(mark, 4, troubled=False)
    leads.write(place.directory / "leads.csv", [*people, people[1]])

    ended = place.run("import", "leads.csv", "--on-repeated-key", "fail")

    assert ended.code == 4, ended.err
    assert (
        "rows whose key stands in a later row, too: 1; nothing was sent. The first ones: line 3 of leads.csv"
        in ended.err
    )
    assert place.marketo.people(mark) == []


def test_warnings_refuse_a_file_if_that_is_wished(place: Place, mark: str) -> None:
    leads.write(place.directory / "leads.csv", leads.people(mark, 4, troubled=False))
    place.write("map.toml", '[columns.lastName]\nnumber = "de"\n')
    assert place.run("plan", "leads.csv", "--map", "map.toml").code == 0

    for command in ("import", "plan"):
        ended = place.run(command, "leads.csv", "--map", "map.toml", "--strict")
        assert ended.code == 4, ended.err
        assert "warnings are errors, because of --strict; nothing was sent." in ended.err
        assert "from line 2 on, 4 cell(s) of column 'lastName' cannot be converted by number" in ended.err
    assert place.marketo.people(mark) == []


# --- planning and drafting ---------------------------------------------------------------------------------


def test_a_plan_tells_what_the_mapping_does_and_leaves_nothing(place: Place, mark: str) -> None:
    people = leads.people(mark, 40, troubled=False)
    write_german(place.directory / "leute.csv", [*people, *people[:5]])
    place.write("map.toml", MAPPING)

    ended = place.run("plan", "leute.csv", "--map", "map.toml", "--on-repeated-key", "last", "--json")

    assert ended.code == 0, ended.err
    plan = json.loads(ended.out)
    assert plan["rows"] == 40
    assert plan["sources"][0]["superseded"] == 5
    assert any("cells changed by the mapping: 'E-Mail' trim 45" in warning for warning in plan["warnings"])
    shown = place.run("plan", "leute.csv", "--map", "map.toml", "--on-repeated-key", "last")
    assert shown.out.startswith("leute.csv: 45 rows")
    assert f", {(place.directory / 'leute.csv').stat().st_size / 1000:.1f} kB, " in shown.out
    assert [path for path in place.state.rglob("*") if path.suffix in (".mapped", ".last")] == []


def test_a_draft_is_a_mapping_that_an_import_takes(place: Place, mark: str) -> None:
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, 30))
    content = (place.directory / "leads.csv").read_text(encoding="utf-8")
    place.write("leads.csv", content.replace("email,firstName,lastName", "E-Mail,First  name,Last Name", 1))

    shown = place.run("map", "leads.csv")
    written = place.run("map", "leads.csv", "--out", "draft.toml", "--json")

    assert (shown.code, written.code) == (0, 0), shown.err + written.err
    text = (place.directory / "draft.toml").read_text(encoding="utf-8")
    assert shown.out == text
    assert json.loads(written.out) == {"mapping": text}
    assert "Next" not in text
    assert "Save it: orchestrator map leads.csv --out mapping.toml\n" in shown.err
    assert "then: orchestrator plan leads.csv --map mapping.toml" in shown.err
    assert "Save it" not in written.err
    assert "then: orchestrator plan leads.csv --map draft.toml" in written.err
    again = place.run("map", "leads.csv", "--out", "draft.toml")
    assert (again.code, "there is such a file already" in again.err) == (2, True)
    ended = place.run("import", "leads.csv", "--map", "draft.toml", "--out", "report")
    assert ended.code == 3, ended.err
    leads.assert_delivered(place.marketo, mark, rows)


def test_text_that_was_encoded_twice_refuses_a_file_if_that_is_wished(place: Place, mark: str) -> None:
    place.write("leads.csv", f"email,lastName\na@{mark},MÃ¼ller\n")

    for command in ("import", "check"):
        ended = place.run(command, "leads.csv", "--strict")
        assert ended.code == 4, ended.err
        assert "from line 2 on, 1 place(s) look as if" in ended.err
    assert place.marketo.people(mark) == []
