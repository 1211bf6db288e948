import csv
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestrator import records
from tests.unit.source import generate, machine

DELIMITERS = [",", "\t", ";"]
soups = st.lists(st.sampled_from(generate.PIECES), max_size=60).map("".join)


def parsed(data, delimiter, **first):
    return [(record.row, record.line, record.cells) for record in records.parse(data, delimiter, **first)]


@settings(max_examples=500)
@given(soups, st.sampled_from(DELIMITERS))
@example('"', ",")
@example('""', ",")
@example('"a\r\n', ",")
@example('"a"\r', ",")
@example('"a\r"\r\n', ",")
@example("a\r\r\n", ",")
@example("a,", ",")
@example("\r", ",")
@example("\n\r\n\n", ",")
@example('""x"y",z', ",")
def test_parse_reads_what_the_machine_reads(text, delimiter):
    data = text.encode()
    assert parsed(data, delimiter) == machine.rows(data, delimiter)
    assert parsed(data, delimiter, first_row=5, first_line=9) == machine.rows(data, delimiter, 5, 9)


@settings(max_examples=300)
@given(soups.map(lambda text: text.replace("\r\n", "\n").replace("\r", "").replace("\0", "")), st.booleans())
def test_the_fast_reader_agrees_with_the_own_machine(text, windows):
    text = text.replace("\n", "\r\n") if windows else text
    assert list(records.split(text.encode(), ",")) == list(records._walk(text, ",", 0))


@pytest.mark.parametrize("delimiter", DELIMITERS)
def test_regular_files_of_many_kinds(delimiter):
    for seed in range(60):
        data = generate.body(Random(seed), delimiter, 60).encode()
        assert parsed(data, delimiter) == machine.rows(data, delimiter), f"seed {seed}"


def test_an_inch_mark_is_text():
    assert parsed(b'id,size\n1,12" pipe\n2,"12"" pipe"\n', ",") == [
        (1, 1, ("id", "size")),
        (2, 2, ("1", '12" pipe')),
        (3, 3, ("2", '12" pipe')),
    ]


def test_bytes_that_are_no_utf8_become_the_replacement_character():
    assert parsed(b"a\xff,b\n", ",") == [(1, 1, ("a�", "b"))]


def test_a_cell_over_the_csv_modules_limit_is_read_all_the_same():
    limit = csv.field_size_limit()
    data = b'a,"b\nb"\n\n' + b"x" * (limit + 1) + b',"y""\n"\nc,d\n'
    assert parsed(data, ",") == [
        (1, 1, ("a", "b\nb")),
        (2, 4, ("x" * (limit + 1), 'y"\n')),
        (3, 6, ("c", "d")),
    ]
    assert csv.field_size_limit() == limit


def test_header_cells():
    assert records.header_cells(b'"a\r\nb", c\r\n', ",") == ("a\r\nb", " c")
    assert records.header_cells(b"", ",") == ()


@given(
    st.lists(st.text(st.sampled_from('a,;"\r\n\t é\0'), max_size=6), min_size=1, max_size=4),
    st.sampled_from(DELIMITERS),
)
@example([""], ",")
def test_what_is_written_reads_back(cells, delimiter):
    written = records.write_record(cells, delimiter)
    assert parsed(written.encode(), delimiter) == [(1, 1, tuple(cells))]


def test_only_cells_that_need_it_are_quoted():
    assert records.write_record(["a b", 'c"d', "e,f", "g;h", ""]) == 'a b,"c""d","e,f",g;h,\n'
    assert records.write_record(["e,f", "g;h"], ";") == 'e,f;"g;h"\n'
    assert records.write_record([""]) == '""\n'
