"""What is odd about a file is told once a kind, with the first line and the count, and nothing of a row."""

from __future__ import annotations

import re

import pytest

from orchestrator.source.oddities import Oddity
from orchestrator.source.split import plan

FILLED = b"1,some text\n" * 3

CASES = {
    "inch marks": (b'2,12" pipe\n3,6" by 4" board\n', {Oddity.QUOTE_IN_TEXT: (5, 2)}),
    "text behind a closing quote": (b'2,"Anna" B.\n', {Oddity.TEXT_BEHIND_QUOTE: (5, 1)}),
    "inner quotes that are not doubled": (b'2,"the "best" one"\n', {Oddity.TEXT_BEHIND_QUOTE: (5, 1)}),
    "a space before a quoted cell": (
        b'2, "a, b"\n3, "c"\n',
        {Oddity.BLANK_BEFORE_QUOTE: (5, 2), Oddity.QUOTE_IN_TEXT: (5, 1), Oddity.CELLS_LEFT_OVER: (5, 1)},
    ),
    "quotes escaped with backslashes": (b'2,"5\\" pipe"\n', {Oddity.BACKSLASH_BEFORE_QUOTE: (5, 1)}),
    "mixed line ends": (b'2,a\r\n3,"b\r\n"\n4,c\r\n', {Oddity.OTHER_LINE_END: (5, 2)}),
    "carriage returns alone below a header with a line feed": (
        b"2,a\r3,b\r4,c\r",  # the last one belongs to the end of all
        {Oddity.LONE_CARRIAGE_RETURN: (5, 2), Oddity.CELLS_LEFT_OVER: (5, 1)},
    ),
    "carriage returns alone here and there": (
        b'2,"a\r\r\nb"\r \n3,\rb\n"4"\r,c\n5,d\r\r\n6,"\r"\n',
        {Oddity.LONE_CARRIAGE_RETURN: (6, 4), Oddity.OTHER_LINE_END: (9, 1)},
    ),
    "carriage returns alone in the middle of many that are not": (
        b'2,"a\r\n"\r\n' * 40 + b"3,a\r b\r\n" + b'4,"a\r\n"\r\n' * 40,
        {Oddity.LONE_CARRIAGE_RETURN: (85, 1), Oddity.OTHER_LINE_END: (6, 81)},
    ),
    "carriage returns in quotes": (b'2,"a\rb\r"\n3,"\r\r\n\r"\n', {}),
    "a single blank line at the end": (b"2,a\n\n", {}),
    "a single blank line at the end, which is a carriage return": (b"2,a\n\r", {}),
    "a single blank line before the end": (b"\n2,a", {Oddity.BLANK_LINE: (5, 1)}),
    "blank lines": (b"\n2,a\n\n\n", {Oddity.BLANK_LINE: (5, 3)}),
    "too few cells": (b"2\n3,a\n4\n", {Oddity.CELLS_MISSING: (5, 2)}),
    "too many cells": (b"2,a\n3,a,b\n", {Oddity.CELLS_LEFT_OVER: (6, 1)}),
    "too few and too many that make up for each other": (
        b"2,a,b\n3\n",
        {Oddity.CELLS_MISSING: (6, 1), Oddity.CELLS_LEFT_OVER: (5, 1)},
    ),
    "the last record lacks a cell and its line end": (b"2", {Oddity.CELLS_MISSING: (5, 1)}),
    "NUL bytes": (b"2,a\0b\n3,\0\n", {Oddity.NUL: (5, 2)}),
    "nothing": (b'2,"a ""quote"", and\na line"\n3,""\n', {}),
}


def planned(path, data, **how):
    path.write_bytes(data)
    return plan(path, index=0, given="x.csv", format=None, part_bytes_max=10_000, rows_max=1_000, **how)


@pytest.mark.parametrize("block_bytes", [1, 7, 64, 524_288])
@pytest.mark.parametrize("name", CASES)
def test_each_kind_is_told_with_line_and_count(tmp_path, name, block_bytes):
    data, odd = CASES[name]
    found = planned(tmp_path / "x.csv", b"id,text\n" + FILLED + data, block_bytes=block_bytes)
    assert set(found.warnings) == {
        f"x.csv: from line {line} on, {count} {kind.value}." for kind, (line, count) in odd.items()
    }


def test_a_kind_is_told_once_however_often_it_occurs(tmp_path):
    found = planned(tmp_path / "x.csv", b"id,text\n" + b'1,12" pipe\n\n2\n3,a,b\0\r\n' * 200)
    assert len(found.warnings) == 6
    assert all(re.fullmatch(r"x\.csv: from line \d+ on, (200|400) .*\.", warning) for warning in found.warnings)


def test_three_columns_and_more_are_counted_word_by_word(tmp_path):
    """Short rows, of which many end within one word of the mask; errors within it make up for each other."""
    right = b"1,2,3\n" * 50
    assert planned(tmp_path / "x.csv", b"a,b,c\n" + right * 20).warnings == ()
    long = b",".join([b"some text"] * 3) + b"\n"
    assert planned(tmp_path / "x.csv", b"a,b,c\n" + long * 100).warnings == ()
    for row in (right[:6], long):
        wrong = row.replace(b"\n", b",x\n") + row[: row.rindex(b",")] + b"\n"
        found = planned(tmp_path / "x.csv", b"a,b,c\n" + row * 100 + wrong + row * 100)
        assert set(found.warnings) == {
            f"x.csv: from line 102 on, 1 {Oddity.CELLS_LEFT_OVER.value}.",
            f"x.csv: from line 103 on, 1 {Oddity.CELLS_MISSING.value}.",
        }


def test_blank_lines_before_the_header_are_told(tmp_path):
    found = planned(tmp_path / "x.csv", b"\n\nid,text\n" + FILLED + b"\n")
    assert found.warnings == (f"x.csv: from line 1 on, 3 {Oddity.BLANK_LINE.value}.",)
