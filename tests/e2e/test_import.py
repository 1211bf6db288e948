"""A plain import: what Marketo holds afterwards, and a report in which every row is right."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import pytest

from tests.e2e import leads
from tests.e2e.kit import Place


@pytest.mark.parametrize(("newline", "bom"), [("\n", False), ("\r\n", True)], ids=["lf", "crlf-bom"])
def test_every_row_arrives_and_every_other_one_is_reported(place: Place, mark: str, newline: str, bom: bool) -> None:
    twins = [{"lastName": "Twin"}, {"lastName": "Twin"}]  # they fail, and nothing tells them apart
    people = leads.people(mark, 300)
    source = place.directory / "leute.csv"
    rows = leads.write(source, [*people[:150], *twins, *people[150:]], newline=newline, bom=bom)

    ended = place.run("import", "leute.csv", "--out", "report", "--name", "Frühling")

    summary = leads.assert_complete(ended, place.directory / "report", rows)
    leads.assert_delivered(place.marketo, mark, rows)
    assert summary["chunks"]["total"] == summary["chunks"]["done"] == len(summary["batches"]) > 3
    assert summary["name"] == "Frühling"
    assert summary["exit_reasons"] == ["rows_failed"]
    assert summary["target"] == {"object": "leads", "lookup_field": "email"}
    assert summary["subscription"] == {
        "name": "default",
        "host": place.marketo.url.removeprefix("http://"),
        "api_user": "api@emulator.invalid",
        "emulator": True,
    }
    assert summary["sources"] == [
        {
            "path": "leute.csv",
            "bytes": source.stat().st_size,
            "sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
            "rows": 302,
            "blank_lines": 0,
            "encoding": "utf-8",
            "delimiter": ",",
        }
    ]
    reasons = {(one["kind"], one["reason"]): one["rows"] for one in summary["reasons"]}
    assert reasons == {
        ("failure", leads.NO_KEY): sum(row.failure == leads.NO_KEY for row in rows),
        ("failure", leads.NO_NUMBER): sum(row.failure == leads.NO_NUMBER for row in rows),
        ("warning", leads.NO_ADDRESS): sum(row.warning == leads.NO_ADDRESS for row in rows),
    }
    assert ended.out == ""
    assert ended.err.startswith("Writing to the emulator: subscription default, host 127.0.0.1:")
    assert "Exit code 3: finished; Marketo refused some rows" in ended.err


def test_a_file_without_fault_ends_with_0_and_empty_listings(place: Place, mark: str) -> None:
    rows = leads.write(place.directory / "clean.csv", leads.people(mark, 120, troubled=False))

    ended = place.run("import", "clean.csv", "--json")

    summary = ended.summary
    report = place.directory / summary["job_id"]
    assert leads.assert_complete(ended, report, rows) == summary
    leads.assert_delivered(place.marketo, mark, rows)
    assert (summary["exit_reasons"], summary["findings"], summary["reasons"]) == ([], [], [])
    head = "source_file,source_row,source_line,batch_id," + ",".join(leads.COLUMNS)
    assert (report / "failures.csv").read_text() == f"{head},Import Failure Reason\n"
    assert (report / "warnings.csv").read_text() == f"{head},Import Warning Reason\n"
    assert summary["api_calls"] | {"status": 0} == {
        "token": 1, "describe": 1, "submit": len(summary["batches"]), "status": 0, "failures": 0, "warnings": 0,
    }  # fmt: skip


def test_only_the_owner_can_read_what_is_written(place: Place, mark: str) -> None:
    leads.write(place.directory / "leads.csv", leads.people(mark, 60))

    place.run("import", "leads.csv", "--out", "report")

    report = place.directory / "report"
    assert sorted(path.name for path in report.iterdir()) == [
        "failures.csv",
        "report.html",
        "summary.json",
        "warnings.csv",
    ]
    written = [*report.iterdir(), place.state, *place.state.rglob("*")]
    assert {
        path.relative_to(place.directory).as_posix(): oct(mode) for path in written if (mode := _others(path))
    } == {}
    assert {stat.S_IMODE(path.stat().st_mode) for path in report.iterdir()} == {0o600}


def _others(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode) & 0o077


def test_several_files_are_one_job_with_one_report(place: Place, mark: str) -> None:
    people = leads.people(mark, 200)
    first = leads.write(place.directory / "part-2.csv", people[:100])
    second = leads.write(place.directory / "part-10.csv", people[100:], columns=("lastName", "email", "leadScore"))

    ended = place.run("import", "part-*.csv", "--out", "report")

    rows = [*first, *second]
    summary = leads.assert_complete(ended, place.directory / "report", rows)
    leads.assert_delivered(place.marketo, mark, rows)
    assert [source["path"] for source in summary["sources"]] == ["part-2.csv", "part-10.csv"]


def test_another_delimiter_is_seen_by_itself(place: Place, mark: str) -> None:
    rows = leads.write(place.directory / "export.txt", leads.people(mark, 80), delimiter=";")

    ended = place.run("import", "export.txt", "--out", "report")

    summary = leads.assert_complete(ended, place.directory / "report", rows)
    leads.assert_delivered(place.marketo, mark, rows)
    assert summary["sources"][0]["delimiter"] == ";"
    assert {batch["format"] for batch in place.marketo.batches(summary["job_id"])} == {"ssv"}
