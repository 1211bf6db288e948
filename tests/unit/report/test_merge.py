from __future__ import annotations

import csv
import io
import json

import pytest

from orchestrator.errors import JournalError
from orchestrator.model import BatchId, Phase
from orchestrator.report.merge import ordered_parts, write_reports
from orchestrator.report.part import PartHead, PartRow, RowKind, count_reasons, read_reasons, write_part
from orchestrator.report.summary import summarise

F, W = RowKind.FAILURE, RowKind.WARNING
FAILURE, WARNING = "Import Failure Reason", "Import Warning Reason"
PLACE = ["source_file", "source_row", "source_line", "batch_id"]


@pytest.fixture
def report(tmp_path, job):
    """Write parts and a report of them, and return what stands in each file."""

    def make(sources, entries):
        chunks, parts = [], {}
        for chunk, columns, rows in entries:
            chunks.append(chunk)
            if rows is not None:
                parts[chunk.id] = tmp_path / f"part-{chunk.id}"
                head = PartHead(
                    source=chunk.span.source, batch_id=chunk.batch_id, columns=columns, reasons=count_reasons(rows)
                )
                write_part(parts[chunk.id], head, rows)
        summary = summarise(
            job=job(),
            sources=sources,
            chunks=chunks,
            findings=[],
            reasons=read_reasons(ordered_parts(chunks, parts)),
            api_calls={},
            waits={},
            version="1",
        )
        out = tmp_path / "out"
        write_reports(out, sources=sources, chunks=chunks, parts=parts, summary=summary)
        return {path.name: path.read_bytes().decode() for path in out.iterdir()}

    return make


def table(text):
    return list(csv.reader(io.StringIO(text, newline="")))


def test_the_four_files_stand_there_even_if_nothing_failed(report, source, chunk, tmp_path):
    files = report([source()], [(chunk(1, accepted=10), ("email", "name"), None)])
    assert sorted(files) == ["failures.csv", "report.html", "summary.json", "warnings.csv"]
    assert files["failures.csv"] == "source_file,source_row,source_line,batch_id,email,name,Import Failure Reason\n"
    assert files["warnings.csv"] == "source_file,source_row,source_line,batch_id,email,name,Import Warning Reason\n"
    assert json.loads(files["summary.json"])["rows"]["accepted"] == 10
    assert "Every row was accepted." in files["report.html"]
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "out").iterdir()} == {0o600}


def test_rows_stand_in_the_order_of_the_sources_and_rows_without_a_place_last(report, source, chunk):
    sources = [source(path="b.csv", rows=20), source(index=1, path="a.csv", rows=10)]
    files = report(
        sources,
        [
            (
                chunk(1, source=1, rows=10, accepted=9, failed=1),
                ("email", "name"),
                [PartRow(F, 3, 4, ("x", "y"), "r1")],
            ),
            (
                chunk(2, rows=10, first_row=11, accepted=8, failed=2, unmatched=1),
                ("email", "name"),
                [PartRow(F, 12, 13, ("p", ""), "r2"), PartRow(F, None, None, ("lost",), "r3")],
            ),
            (
                chunk(3, rows=10, accepted=8, failed=2, warned=1),
                ("email", "name"),
                [PartRow(F, 1, 2, ("q",), "r4"), PartRow(W, 2, 3, ("w", ""), "r5"), PartRow(F, 9, 10, (), "r6")],
            ),
        ],
    )
    assert table(files["failures.csv"]) == [
        [*PLACE, "email", "name", FAILURE],
        ["b.csv", "1", "2", "103", "q", "", "r4"],
        ["b.csv", "9", "10", "103", "", "", "r6"],
        ["b.csv", "12", "13", "102", "p", "", "r2"],
        ["a.csv", "3", "4", "101", "x", "y", "r1"],
        ["b.csv", "", "", "102", "lost", "", "r3"],
    ]
    assert table(files["warnings.csv"]) == [
        [*PLACE, "email", "name", WARNING],
        ["b.csv", "2", "3", "103", "w", "", "r5"],
    ]


def test_sources_with_different_headers_share_the_union_of_their_columns(report, source, chunk):
    first, second = ("email", "x", "x"), ("y", "x", "email")
    files = report(
        [source(columns=first), source(index=1, columns=second)],
        [
            (chunk(1, failed=10), first, [PartRow(F, at, at, ("a", "b", "c"), "r") for at in range(1, 11)]),
            (chunk(2, source=1, failed=1, accepted=9), second, [PartRow(F, 1, 2, ("d", "e", "f"), "r")]),
        ],
    )
    rows = table(files["failures.csv"])
    assert rows[0] == [*PLACE, "email", "x", "x", "y", FAILURE]
    assert rows[1] == ["leads.csv", "1", "1", "101", "a", "b", "c", "", "r"]
    assert rows[-1] == ["leads.csv", "1", "2", "102", "f", "e", "", "d", "r"]


def test_cells_keep_their_text_whatever_it_is(report, source, chunk):
    cells = ['say "hi"', "a,b", "two\nlines", "two\r\nlines", "lone\rcr", " space ", "=1+1", "ünï 😀", "\u2028", "\0"]
    columns = tuple(f"c{at}" for at in range(len(cells)))
    files = report(
        [source(path="my, leads.csv", columns=columns)],
        [(chunk(1, failed=1, accepted=9), columns, [PartRow(F, 1, 2, tuple(cells), 'because,\n"so"')])],
    )
    text = files["failures.csv"]
    assert text.splitlines()[0].count("\r") == 0
    assert table(text)[1] == ["my, leads.csv", "1", "2", "101", *cells, 'because,\n"so"']
    assert ",=1+1," in text
    assert ',"lone\rcr",' in text


@pytest.mark.parametrize("cell", ["lone\rcr", "a,b", 'a"b', "a\nb"])
def test_one_cell_alone_is_enough_to_need_quotes(report, source, chunk, cell):
    rows = [PartRow(F, 1, 2, ("a", cell), "r")]
    text = report([source()], [(chunk(1, failed=1, accepted=9), ("email", "name"), rows)])["failures.csv"]
    assert ',"' + cell.replace('"', '""') + '",r\n' in text


def test_cells_beyond_the_header_are_left_out(report, source, chunk):
    rows = [PartRow(F, 1, 2, ("a", "b", "c"), "r")]
    files = report([source()], [(chunk(1, failed=1, accepted=9), ("email", "name"), rows)])
    assert table(files["failures.csv"])[1] == ["leads.csv", "1", "2", "101", "a", "b", "r"]


def test_a_chunk_that_was_never_a_batch_has_no_batch_id(report, source, chunk):
    refused = chunk(1, phase=Phase.REFUSED, batch_id=None, rows=10, failed=10)
    files = report([source()], [(refused, ("email", "name"), [PartRow(F, at, at, (), "r") for at in range(1, 11)])])
    assert table(files["failures.csv"])[1][3] == ""


def test_a_split_chunk_has_no_rows_of_its_own(report, source, chunk):
    split = chunk(1, phase=Phase.SPLIT, batch_id=BatchId(9))
    files = report(
        [source()],
        [
            (split, ("email", "name"), [PartRow(F, 1, 2, (), "of the whole")]),
            (chunk(2, failed=1, accepted=9), ("email", "name"), [PartRow(F, 1, 2, (), "of the part")]),
        ],
    )
    assert [row[-1] for row in table(files["failures.csv"])[1:]] == ["of the part"]


def test_a_report_with_rows_missing_is_refused_before_anything_is_written(report, source, chunk, tmp_path):
    with pytest.raises(JournalError, match=r"rows 1 to 10 \(batch 101\)"):
        report([source()], [(chunk(1, failed=1, accepted=9), ("email", "name"), None)])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("rows", [None, [PartRow(F, 1, 2, ("a", "b"), "of an attribution that was cut short")]])
def test_a_chunk_whose_rows_are_still_being_found_keeps_no_one_from_a_report(report, source, chunk, rows):
    collecting = chunk(1, phase=Phase.COLLECTING, accepted=9, failed=1)
    files = report([source()], [(collecting, ("email", "name"), rows)])
    assert len(table(files["failures.csv"])) == 1
    rows = json.loads(files["summary.json"])["rows"]
    assert (rows["accepted"], rows["failed"], rows["unknown"]) == (0, 0, 10)
    assert json.loads(files["summary.json"])["exit_code"] == 5


def test_a_report_is_written_again_over_the_old_one(report, source, chunk):
    report([source()], [(chunk(1, accepted=10), ("email", "name"), None)])
    rows = [PartRow(F, 1, 2, ("a", "b"), "r")]
    files = report([source()], [(chunk(1, accepted=9, failed=1), ("email", "name"), rows)])
    assert sorted(files) == ["failures.csv", "report.html", "summary.json", "warnings.csv"]
    assert len(table(files["failures.csv"])) == 2
