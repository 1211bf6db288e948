from __future__ import annotations

import csv

from orchestrator.emulator.table import Judged, read_table, result_file


def rows(data: bytes, delimiter: str = ",") -> list[list[str]]:
    table = read_table(data, delimiter)
    assert table is not None
    return list(table.rows())


def test_cells_are_padded_and_cut_and_blank_lines_are_no_rows():
    assert rows(b"a,b\n1\n\n1,2,3\r\n\r\n,\n") == [["1", ""], ["1", "2"], ["", ""]]


def test_quotes_line_ends_and_carriage_returns():
    assert rows(b'a,b\r\n"x\r\ny","q""q"\r\n1,"open\n2') == [["x\r\ny", 'q"q'], ["1", "open\n2"]]
    assert rows(b"a,b\n1\r2,3\n") == [["1\r2", "3"]]


def test_a_byte_order_mark_belongs_to_the_first_column():
    table = read_table(b"\xef\xbb\xbfemail\nx\n", ",")
    assert table is not None
    assert table.header == ("\ufeffemail",)


def test_cells_longer_than_the_limit_of_csv_and_the_limit_is_left_as_it_was():
    before = csv.field_size_limit()
    assert rows(b"a\n" + b"x" * (before + 1) + b"\n") == [["x" * (before + 1)]]
    assert csv.field_size_limit() == before


def test_bytes_that_are_no_utf8_and_nothing_at_all():
    assert rows(b"a\n\xff\n") == [["\ufffd"]]
    assert read_table(b"", ",") is None
    assert read_table(b"\n\r\n", ",") is None


def test_the_separator_never_occurs_in_the_text():
    table = read_table("a\n\x1f\x1e\x1d\x1c\x00\ue000\n".encode(), ",")
    assert table is not None
    assert table.separator == "\ue001"


def written(judged: list[Judged], *, cut: bool, delimiter: str = ",") -> str:
    return result_file(
        judged,
        header=["firstName", "lastName", " phone", "email"],
        separator="|",
        delimiter=delimiter,
        column="Import Failure Reason",
        cut_trailing_empty=cut,
    )


def test_columns_that_are_empty_at_the_end_of_all_rows_vanish():
    judged = [Judged(1, "Benji|Nordstrom|212|", "no key"), Judged(2, "A|||", "no key")]
    assert written(judged, cut=True) == (
        "firstName,lastName, phone,Import Failure Reason\nBenji,Nordstrom,212,no key\nA,,,no key\n"
    )
    assert written(judged, cut=False).startswith("firstName,lastName, phone,email,Import Failure Reason\n")


def test_result_files_quote_what_needs_it_in_the_delimiter_of_the_upload():
    assert written([Judged(1, 'a;b|x\ny|"q"|e', "no, key")], cut=True, delimiter=";") == (
        'firstName;lastName; phone;email;Import Failure Reason\n"a;b";"x\ny";"""q""";e;no, key\n'
    )
