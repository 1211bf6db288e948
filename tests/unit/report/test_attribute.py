from __future__ import annotations

import stat

import pytest

from orchestrator.model import Format
from orchestrator.report import listing
from orchestrator.report.attribute import NOT_LISTED, attribute, attribute_whole
from orchestrator.report.part import NO_REASON, RowKind, read_head

FAILURE, WARNING = "Import Failure Reason", "Import Warning Reason"
COLUMNS = ("email", "name", "phone")
PEOPLE = [
    ["a@example.com", "Ann", "1"],
    ["b@example.com", "Bob\nthe second", ""],
    ["c@example.com", "Cem, Dr.", "3"],
    ["d@example.com", "", ""],
]


@pytest.fixture
def batch(batch_of, tmp_path):
    return batch_of(tmp_path, COLUMNS, PEOPLE)


def places(rows):
    return [(row.row, row.line) for row in rows]


def kinds(result):
    return [finding.kind for finding in result.findings]


# --- what Marketo promises, and what it is known to do ----------------------------------------------------


def test_failed_and_warned_rows_get_their_row_and_line(batch, delimited):
    result = batch.attribute(
        delimited([[*COLUMNS, FAILURE], [*PEOPLE[2], "no phone"], [*PEOPLE[0], "no luck"]]),
        delimited([[*COLUMNS, WARNING], [*PEOPLE[3], "odd"]]),
        failed=2,
        warned=1,
    )
    assert [(row.row, row.line, list(row.cells), row.reason) for row in batch.failed_rows()] == [
        (1, 2, PEOPLE[0], "no luck"),
        (3, 5, PEOPLE[2], "no phone"),  # the second record spans two lines
    ]
    assert places(batch.warned_rows()) == [(4, 6)]
    assert (result.failed_matched, result.failed_unmatched) == (2, 0)
    assert (result.warned_matched, result.warned_unmatched) == (1, 0)
    assert result.findings == ()
    assert [(reason.kind, reason.text, reason.rows, reason.example_row) for reason in result.reasons] == [
        (RowKind.FAILURE, "no luck", 1, 1),
        (RowKind.FAILURE, "no phone", 1, 3),
        (RowKind.WARNING, "odd", 1, 4),
    ]
    assert read_head(batch.part).reasons == result.reasons


def test_the_part_is_its_owners_alone_and_nothing_else_is_left(batch, delimited):
    batch.attribute(delimited([[*COLUMNS, FAILURE], [*PEOPLE[0], "x"]]), failed=1)
    assert stat.S_IMODE(batch.part.stat().st_mode) == 0o600
    assert sorted(path.name for path in batch.directory.iterdir()) == ["failures.result", "part.ndjson"]


def test_trailing_empty_columns_may_be_cut_off(batch, delimited):
    result = batch.attribute(delimited([["email", FAILURE], ["d@example.com", "x"]]), failed=1)
    assert places(batch.failed_rows()) == [(4, 6)]
    assert result.findings == ()


def test_a_row_may_be_shorter_than_the_header(batch, delimited):
    result = batch.attribute(delimited([[*COLUMNS, FAILURE], ["d@example.com", "x"]]), failed=1)
    assert [(row.row, row.reason) for row in batch.failed_rows()] == [(4, "x")]
    assert result.findings == ()


def test_rows_of_nothing_are_found_although_only_the_reason_is_left(batch_of, tmp_path, delimited):
    batch = batch_of(tmp_path, COLUMNS, [PEOPLE[0], ["", "", ""], ["", "", ""]])
    result = batch.attribute(delimited([[FAILURE], ["empty"], ["empty"]]), failed=2)
    assert [row.row for row in batch.failed_rows()] == [2, 3]
    assert result.findings == ()


def test_columns_are_located_by_name(batch, delimited):
    batch.attribute(delimited([["phone", FAILURE, "name", "email"], ["3", "x", "Cem, Dr.", "c@example.com"]]), failed=1)
    assert [(row.row, row.reason) for row in batch.failed_rows()] == [(3, "x")]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("format", list(Format))
def test_every_delimiter_line_end_and_byte_order_mark_is_read(batch_of, tmp_path, delimited, format, start, end):
    batch = batch_of(tmp_path, COLUMNS, PEOPLE, format=format)
    rows = [[*COLUMNS, FAILURE], [*PEOPLE[1], "x"]]
    result = batch.attribute(start + delimited(rows, delimiter=format.delimiter, end=end), failed=1)
    assert places(batch.failed_rows()) == [(2, 3)]
    assert result.findings == ()


def test_a_source_may_have_a_column_named_like_the_reason(batch_of, tmp_path, delimited):
    batch = batch_of(tmp_path, ("email", FAILURE), [["a@example.com", "of last week"], ["b@example.com", ""]])
    batch.attribute(delimited([["email", FAILURE, FAILURE], ["a@example.com", "of last week", "new"]]), failed=1)
    assert [(row.row, row.reason) for row in batch.failed_rows()] == [(1, "new")]


# --- the multiset -------------------------------------------------------------------------------------------


def test_identical_rows_take_the_earliest_place_still_free(batch_of, tmp_path, delimited):
    batch = batch_of(tmp_path, ("email",), [["a@x"], ["a@x"], ["b@x"], ["a@x"]])
    batch.attribute(
        delimited([["email", FAILURE], ["a@x", "first"], ["a@x", "second"]]),
        delimited([["email", WARNING], ["a@x", "third"]]),
        failed=2,
        warned=1,
    )
    assert [(row.row, row.reason) for row in batch.failed_rows()] == [(1, "first"), (2, "second")]
    assert [(row.row, row.reason) for row in batch.warned_rows()] == [(4, "third")]


def test_a_repeated_key_is_decided_by_content(batch_of, tmp_path, delimited):
    batch = batch_of(tmp_path, ("email", "name"), [["a@x", "one"], ["a@x", "two"], ["a@x", "three"]])
    batch.attribute(delimited([["email", "name", FAILURE], ["a@x", "two", "no"]]), failed=1)
    assert [row.row for row in batch.failed_rows()] == [2]


def test_a_repeated_key_with_unknown_content_is_not_guessed(batch_of, tmp_path, delimited):
    batch = batch_of(tmp_path, ("email", "name"), [["a@x", "one"], ["a@x", "two"]])
    result = batch.attribute(delimited([["email", "name", FAILURE], ["a@x", "other", "no"]]), failed=1)
    assert batch.failed_rows() == []
    assert [row.cells for row in batch.failed_rows(matched=False)] == [("a@x", "other")]
    assert (result.failed_matched, result.failed_unmatched) == (0, 1)
    assert kinds(result) == ["rows_unmatched"]


def test_the_only_row_left_of_a_key_is_taken(batch_of, tmp_path, delimited):
    batch = batch_of(tmp_path, ("email", "name"), [["a@x", "one"], ["a@x", "two"]])
    batch.attribute(delimited([["email", "name", FAILURE], ["a@x", "two", "A"], ["a@x", "other", "B"]]), failed=2)
    assert [(row.row, row.reason) for row in batch.failed_rows()] == [(1, "B"), (2, "A")]


def test_altered_cells_still_fit_by_a_unique_key(batch_of, tmp_path, delimited):
    batch = batch_of(tmp_path, ("email", "name"), [[" A@x ", "  Ann"], ["b@x", "Bob"]])
    result = batch.attribute(delimited([["email", "name", FAILURE], ["a@x", "ANN!", "no"]]), failed=1)
    assert [(row.row, row.cells) for row in batch.failed_rows()] == [(1, (" A@x ", "  Ann"))]
    assert result.findings == ()


def test_rows_without_a_key_are_found_by_content_but_for_space_and_line_ends(batch_of, tmp_path, delimited):
    batch = batch_of(tmp_path, ("name", "email"), [["Bob", ""], [" Ann\r\nB. ", ""], ["Cem", ""]])
    batch.attribute(delimited([["name", FAILURE], ["Ann\nB.", "no key"]]), failed=1)
    assert [row.row for row in batch.failed_rows()] == [2]


def test_a_compound_key_counts_as_a_whole(batch_of, tmp_path, delimited):
    rows = [["1", "2", "old"], ["1", "3", "old"], ["2", "2", "old"]]
    batch = batch_of(tmp_path, ("x", "y", "z"), rows, key=("x", "y"))
    batch.attribute(delimited([["x", "y", "z", FAILURE], ["1", "3", "new", "no"]]), failed=1)
    assert [row.row for row in batch.failed_rows()] == [2]


def test_an_exact_row_is_not_lost_to_an_altered_one(batch_of, tmp_path, delimited):
    batch = batch_of(tmp_path, ("email", "name"), [["a@x", "Ann"], ["A@x", "Ann"]])
    batch.attribute(
        delimited([["email", "name", FAILURE], ["A@X", "Ann", "altered"], ["a@x", "Ann", "exact"]]), failed=2
    )
    assert [(row.row, row.reason) for row in batch.failed_rows()] == [(1, "exact"), (2, "altered")]


def test_an_exact_row_comes_first_also_if_its_last_cells_are_empty(batch_of, tmp_path, delimited):
    batch = batch_of(tmp_path, ("email", "name"), [["a@x ", ""], ["a@x", ""]])
    batch.attribute(delimited([["email", "name", FAILURE], ["a@x", "", "no"]]), failed=1)
    assert [row.row for row in batch.failed_rows()] == [2]


def test_a_failed_row_is_warned_of_only_if_nothing_else_fits(batch_of, tmp_path, delimited):
    batch = batch_of(tmp_path, ("email",), [["a@x"], ["a@x"], ["b@x"]])
    failures = delimited([["email", FAILURE], ["a@x", "no"], ["b@x", "no"]])
    result = batch.attribute(
        failures, delimited([["email", WARNING], ["B@x", "odd"], ["b@x", "odd"], ["a@x", "odd"]]), failed=2, warned=3
    )
    assert [row.row for row in batch.failed_rows()] == [1, 3]
    assert [row.row for row in batch.warned_rows()] == [2, 3]
    assert result.warned_unmatched == 1  # nothing is warned of twice


def test_altered_warnings_prefer_rows_that_did_not_fail(batch_of, tmp_path, delimited):
    batch = batch_of(tmp_path, ("email", "name"), [["a@x", "one"], ["a@x", "two"], ["b@x", "three"]])
    failures = delimited([["email", "name", FAILURE], ["a@x", "one", "no"], ["b@x", "three", "no"]])
    warnings = delimited([["email", "name", WARNING], ["a@x", "2", "odd"], ["b@x", "3", "odd"]])
    batch.attribute(failures, warnings, failed=2, warned=2)
    assert [row.row for row in batch.warned_rows()] == [2, 3]


def test_a_row_that_failed_and_was_warned_of_stands_in_both_with_the_failure_first(batch_of, tmp_path, delimited):
    batch = batch_of(tmp_path, ("email",), [["b@x"], ["a@x"]])
    batch.attribute(
        delimited([["email", FAILURE], ["a@x", "no"]]),
        delimited([["email", WARNING], ["a@x", "odd"]]),
        failed=1,
        warned=1,
    )
    lines = batch.part.read_text().splitlines()[1:]
    assert [line[:14] for line in lines] == ['["failure",2,3', '["warning",2,3']


# --- what cannot be matched ---------------------------------------------------------------------------------


def test_a_missing_file_leaves_a_line_for_every_failed_row(batch):
    result = batch.attribute(None, None, failed=2, warned=1)
    assert [(row.row, row.cells, row.reason) for row in batch.failed_rows(matched=False)] == [
        (None, (), NOT_LISTED)
    ] * 2
    assert len(batch.warned_rows(matched=False)) == 1
    assert (result.failed_unmatched, result.warned_unmatched) == (2, 1)
    assert kinds(result) == ["result_file_missing", "result_file_missing"]
    assert [(reason.text, reason.rows, reason.example_row) for reason in result.reasons] == [
        (NOT_LISTED, 2, None),
        (NOT_LISTED, 1, None),
    ]


def test_a_short_file_leaves_lines_for_the_difference(batch, delimited):
    result = batch.attribute(delimited([[*COLUMNS, FAILURE], [*PEOPLE[0], "x"]]), failed=3)
    assert len(batch.failed_rows()) == 1
    assert len(batch.failed_rows(matched=False)) == 2
    assert (result.failed_matched, result.failed_unmatched) == (1, 2)
    assert kinds(result) == ["result_file_differs"]


def test_a_file_with_more_rows_than_counted_is_listed_whole_and_the_count_stands(batch, delimited):
    rows = [[*PEOPLE[0], "x"], [*PEOPLE[2], "y"], ["foreign@example.com", "F", "9", "z"]]
    result = batch.attribute(delimited([[*COLUMNS, FAILURE], *rows]), failed=1)
    assert [row.row for row in batch.failed_rows()] == [1, 3]
    assert [(row.cells, row.reason) for row in batch.failed_rows(matched=False)] == [
        (("foreign@example.com", "F", "9"), "z")
    ]
    assert (result.failed_matched, result.failed_unmatched) == (1, 0)
    assert kinds(result) == ["result_file_differs", "rows_unmatched"]


def test_a_source_that_cannot_be_read_leaves_every_row_listed_without_a_place(batch, delimited):
    result = batch.attribute(delimited([[*COLUMNS, FAILURE], [*PEOPLE[0], "x"]]), failed=1, readable=False)
    assert [(row.row, row.cells, row.reason) for row in batch.failed_rows(matched=False)] == [
        (None, tuple(PEOPLE[0]), "x")
    ]
    assert result.failed_unmatched == 1
    assert kinds(result) == ["source_unreadable"]


def test_cells_beyond_the_header_are_kept_in_the_part_and_told(batch_of, tmp_path, delimited):
    batch = batch_of(tmp_path, ("email", "name"), [["a@x", "Acme", "Inc."], ["b@x"]])
    result = batch.attribute(
        delimited([["email", "name", FAILURE], ["a@x", "Acme", "Inc.", "no"], ["b@x", "no"]]), failed=2
    )
    assert [(row.cells, row.reason) for row in batch.failed_rows()] == [
        (("a@x", "Acme", "Inc."), "no"),
        (("b@x",), "no"),
    ]
    assert kinds(result) == ["cells_surplus"]


def test_findings_say_where_to_look_and_quote_no_cell(batch, delimited):
    result = batch.attribute(delimited([["email", "zip"], ["secret@example.com", "geheim"]]), failed=3)
    assert len(result.findings) >= 3
    for finding in result.findings:
        assert finding.batch_id == 7
        assert "failures.result" in finding.message
        assert "secret" not in finding.message
        assert "geheim" not in finding.message


# --- files that are none --------------------------------------------------------------------------------------

HOSTILE = {
    "empty": b"",
    "blank lines": b"\n\r\n\n",
    "envelope": b'{"requestId":"1#2","success":false,"errors":[{"code":"606","message":"slow"}]}',
    "page": b"<html>\r\n<body>502, Bad Gateway</body>\r\n</html>",
    "binary": bytes(range(256)) * 40,
    "nul": b"email,name,phone,Import Failure Reason\na@exam\0ple.com,Ann,1,x\n",
    "no utf-8": b"email,name,phone,Import Failure Reason\nz@example.com,\xff\xfe,1,x\n",
    "huge line": b"email,name,phone,Import Failure Reason\n" + b"x" * 3_000_000,
    "huge cell": b'email,name,phone,Import Failure Reason\n"' + b'""' * 500_000 + b'",1,2,x\n',
    "open quote": b'email,name,phone,Import Failure Reason\n"a@example.com,Ann,1,x\nb,c,d,e\n',
    "many cells": b"email,name,phone,Import Failure Reason\n" + b"," * 200_000 + b"\n",
    "many columns": b"," * 100_000 + b"\n" + b"," * 100_000 + b"\n",
    "wrong header": b"E-Mail Address,Full Name,Telephone,Import Failure Reason\na@example.com,Ann,1,x\n",
    "no header": b"a@example.com,Ann,1,x\nd@example.com,,,y\n",
    "no key column": b"name,phone,Import Failure Reason\nAnn,1,x\n",
    "lone cr": b"email,name,phone,Import Failure Reason\ra@example.com,Ann,1,x\r",
    "same name often": b"email,email,email,Import Failure Reason\nz@example.com,b,c,x\n",
    "utf-16": "email,name,phone,Import Failure Reason\na@example.com,Ann,1,x\n".encode("utf-16"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_told_and_nothing_of_it_is_guessed(batch, name):
    result = batch.attribute(HOSTILE[name], failed=3)
    assert batch.failed_rows() == []
    assert len(batch.failed_rows(matched=False)) >= 3
    assert (result.failed_matched, result.failed_unmatched) == (0, 3)
    assert result.findings


def test_a_missing_reason_column_costs_the_reasons_only(batch, delimited):
    result = batch.attribute(delimited([COLUMNS, PEOPLE[0]]), failed=1)
    assert [(row.row, row.reason) for row in batch.failed_rows()] == [(1, "")]
    assert [reason.text for reason in result.reasons] == [NO_REASON]
    assert kinds(result) == ["result_file_damaged"]


def test_without_a_key_column_no_row_is_taken_for_one_that_lacks_its_key(batch_of, tmp_path, delimited):
    batch = batch_of(tmp_path, COLUMNS, [["", "Ann", "1"], ["a@example.com", "Ann", "1"]])
    result = batch.attribute(delimited([["name", "phone", FAILURE], ["Ann", "1", "x"]]), failed=1)
    assert batch.failed_rows() == []
    assert "lacks the key column email" in result.findings[0].message


def test_with_another_column_missing_the_key_still_decides(batch, delimited):
    result = batch.attribute(delimited([["email", "phone", FAILURE], ["c@example.com", "3", "x"]]), failed=1)
    assert [row.row for row in batch.failed_rows()] == [3]
    assert kinds(result) == ["result_file_damaged"]


def test_a_header_that_differs_in_case_and_space_is_understood(batch, delimited):
    result = batch.attribute(
        delimited([[" Email", "NAME ", "phone", " import failure reason"], [*PEOPLE[0], "x"]]), failed=1
    )
    assert [row.row for row in batch.failed_rows()] == [1]
    assert result.findings == ()


def test_a_foreign_column_is_told_and_does_no_harm(batch, delimited):
    result = batch.attribute(delimited([["nr", *COLUMNS, FAILURE], ["17", *PEOPLE[0], "x"]]), failed=1)
    assert [row.row for row in batch.failed_rows()] == [1]
    assert kinds(result) == ["result_file_damaged"]


def test_the_cell_of_a_row_that_was_cut_off_is_not_taken_for_its_reason(batch):
    whole = b"email,name,phone,Import Failure Reason\na@example.com,Ann,1,no luck\n"
    batch.attribute(whole + b"c@example.com,Cem", failed=2)
    assert [(row.row, row.reason) for row in batch.failed_rows()] == [(1, "no luck"), (3, "")]


def test_a_file_that_cannot_be_opened_is_told(batch):
    result = attribute(
        data=batch.data,
        source=batch.source,
        span=batch.span,
        batch_id=7,
        key_columns=("email",),
        failures=batch.directory,
        warnings=None,
        failed_expected=1,
        warned_expected=0,
        part=batch.part,
    )
    assert result.failed_unmatched == 1
    assert kinds(result) == ["result_file_damaged", "result_file_differs"]
    assert "cannot be read (Is a directory)" in result.findings[0].message


def test_rows_beyond_reason_are_counted_and_not_kept(batch, delimited, monkeypatch):
    monkeypatch.setattr(listing, "FOREIGN_ROWS_MAX", 2)
    result = batch.attribute(delimited([[*COLUMNS, FAILURE], *([["f@example.com", "F", "9", "z"]] * 10)]), failed=1)
    assert len(batch.failed_rows(matched=False)) == len(PEOPLE) + 2
    assert kinds(result) == ["result_file_damaged", "result_file_differs", "rows_unmatched"]
    assert "lists 4 rows more" in result.findings[0].message
    assert "lists 10 rows" in result.findings[1].message


def test_bytes_beyond_reason_are_not_read(batch, delimited, monkeypatch):
    content = delimited([[*COLUMNS, FAILURE], [*PEOPLE[0], "x"]])
    monkeypatch.setattr(listing, "LISTING_BYTES_MAX", len(content))
    result = batch.attribute(content + delimited([[*PEOPLE[2], "y"]]), failed=2)
    assert [row.row for row in batch.failed_rows()] == [1]
    assert kinds(result) == ["result_file_damaged", "result_file_differs"]


# --- chunks that failed as a whole ----------------------------------------------------------------------------


@pytest.mark.parametrize("readable", [True, False])
def test_a_chunk_that_failed_as_a_whole_lists_every_row(batch, readable):
    result = attribute_whole(
        data=batch.data if readable else None,
        source=batch.source,
        span=batch.span,
        batch_id=None,
        reason="Batch failed: no",
        part=batch.part,
    )
    assert len(batch.failed_rows(matched=readable)) == len(PEOPLE)
    assert (result.failed_matched, result.failed_unmatched) == ((4, 0) if readable else (0, 4))
    assert [(reason.text, reason.rows) for reason in result.reasons] == [("Batch failed: no", 4)]
    assert read_head(batch.part).batch_id is None
