"""Mapped sources: what is sent is the conversion of what is in the file, row by row, and every row is found again."""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import ConfigError, RecordTooLarge, SourceChanged, SourceError
from orchestrator.mapping import parse
from orchestrator.model import Format, MappingFile
from orchestrator.records import Record, write_record
from orchestrator.records import parse as records_of
from orchestrator.source import mapped
from orchestrator.source.changed import plan_sources
from orchestrator.source.opened import Located, Reading
from orchestrator.source.opening import read_span
from orchestrator.source.places import restore
from orchestrator.source.spool import Workspace

CAPS = {"part_bytes_max": 1_000_000, "rows_max": 1_000}


def planned(
    directory: Path, content: bytes, text: str, *, caps: dict[str, int] = CAPS, format: Format | None = Format.CSV
):
    path = directory / "leads.csv"
    path.write_bytes(content)
    (plan,), told = plan_sources(
        [Located.at(path)],
        parse(MappingFile(name="map.toml", text=text)),
        Reading(workspace=Workspace(directory / "job" / "spool"), format=format, allow_empty=True, **caps),
    )
    return plan, told


def sent(plan) -> bytes:
    return plan.source.header + b"".join(read_span(plan.source, span) for span in plan.spans)


def sent_records(plan) -> list[Record]:
    return [
        record
        for span in plan.spans
        for record in records_of(
            read_span(plan.source, span), plan.source.format.delimiter, first_row=span.first_row, first_line=1
        )
    ]


# --- names -----------------------------------------------------------------------------------------------


def test_names_alone_replace_the_header_and_nothing_else(tmp_path):
    body = b'a@x,  "Ann\r\n12" pipe\r\n\r\n"b@x","B\nob",too,many\r\n'
    plan, told = planned(
        tmp_path, b"\xef\xbb\xbfE-Mail,Name\r\n" + body, '[columns."E-Mail"]\nto = "email"\n[columns.Name]\nto = "a,b"'
    )
    assert sent(plan) == b'email,"a,b"\r\n' + body
    assert plan.source.content == plan.source.absolute
    assert (plan.source.columns, plan.source.sent_columns) == (("E-Mail", "Name"), ("email", "a,b"))
    assert plan.source.original is None
    assert told == ()
    assert not (tmp_path / "job").exists()


def test_a_longer_header_still_fits_the_upload(tmp_path):
    rows = b"aaaaaaa\n" * 40
    caps = {"part_bytes_max": 100, "rows_max": 1_000}
    plan, _ = planned(tmp_path, b"e\n" + rows, f'[columns.e]\nto = "{"n" * 30}"', caps=caps)
    assert sent(plan).endswith(b"\n" + rows)
    assert all(len(plan.source.header) + span.end - span.start <= 100 for span in plan.spans)


def test_a_mapping_of_nothing_leaves_a_source_as_it_is(tmp_path):
    plan, _ = planned(tmp_path, b"email\na@x\n", "")
    assert (plan.source.mapped, plan.source.header) == (None, b"email\n")


# --- cells -----------------------------------------------------------------------------------------------


def test_what_is_sent_by_hand(tmp_path):
    content = (
        b"Mail;Name;Born;Note;Size\n"
        b" a@x ; Ann;31.12.2020;x;1.000,5\n"
        b"\n"
        b'"b@x";"B ""o""\n b";never;y;7\n'
        b"c@x\n"
        b"d@x;Dan;1.2.1999;z;2;surplus\n"
    )
    plan, told = planned(
        tmp_path,
        content,
        """
        trim = true
        [columns.Mail]
        to = "email"
        [columns.Born]
        to = "dateOfBirth"
        date = "%d.%m.%Y"
        [columns.Note]
        drop = true
        [columns.Size]
        number = "de"
        [constants]
        leadSource = "a;b"
        """,
        format=Format.SSV,
    )
    assert sent(plan).decode() == (
        "email;Name;dateOfBirth;Size;leadSource\n"
        'a@x;Ann;2020-12-31;1000.5;"a;b"\n'
        'b@x;"B ""o""\n b";never;7;"a;b"\n'
        'c@x;;;;"a;b"\n'
        'd@x;Dan;1999-02-01;2;"a;b"\n'
    )
    source = plan.source
    assert (source.columns, source.rows, source.blank_lines) == (("Mail", "Name", "Born", "Note", "Size"), 4, 1)
    assert source.sent_columns == ("email", "Name", "dateOfBirth", "Size", "leadSource")
    assert source.origins == (0, 1, 2, 4, None)
    path = str(tmp_path / "leads.csv")
    assert told == (
        f"{path}: cells changed by the mapping: 'Mail' trim 1, 'Name' trim 1, 'Born' date 2, 'Size' number 1.",
    )
    assert [warning.removeprefix(path) for warning in plan.warnings] == [
        ": from line 6 on, 1 row(s) have fewer cells than the header; they are sent as they stand; a mapping adds "
        "empty cells.",
        ": from line 7 on, 1 row(s) have more cells than the header; they are sent as they stand; a mapping leaves the "
        "surplus out. A cell with the delimiter in it needs quotes around it.",
        ": from line 3 on, 1 line(s) are blank; they are no rows.",
        ": from line 4 on, 1 cell(s) of column 'Born' cannot be converted by date; they are sent as they stand. Correct "
        "the cells, or the mapping.",
    ]
    records, whole = restore(source, sent_records(plan))
    assert whole
    assert list(records) == [
        Record(1, 2, (" a@x ", " Ann", "31.12.2020", "x", "1.000,5")),
        Record(2, 4, ("b@x", 'B "o"\n b', "never", "y", "7")),
        Record(3, 6, ("c@x",)),
        Record(4, 7, ("d@x", "Dan", "1.2.1999", "z", "2", "surplus")),
    ]


cells = st.text(st.sampled_from('ab ,;"\r\n\té'), max_size=6)
tables = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(cells, min_size=1, max_size=width + 1), min_size=1, max_size=12).map(
        lambda rows: (width, rows)
    )
)


@settings(deadline=None)  # it writes files, which may take a while
@given(table=tables, blank=st.integers(0, 3), ends=st.sampled_from(["\n", "\r\n"]), rows_max=st.integers(1, 5))
def test_what_is_sent_is_the_conversion_of_what_was_read(table, blank, ends, rows_max):
    width, rows = table
    header = [f"c{number}" for number in range(width)]
    lines = [write_record(header).removesuffix("\n")]
    for at, row in enumerate(rows):
        lines += [""] * (at % 3 == blank) + [write_record(row).removesuffix("\n")]
    content = ends.join([*lines, ""]).encode()
    text = '[columns.c0]\ntrim = true\nmax_length = 2\n[constants]\nk = "1,5"'
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(mapped, "READ_ROWS_MAX", rows_max)
        plan, _ = planned(Path(name), content, text, caps={"part_bytes_max": 1_000_000, "rows_max": rows_max})
        read = list(records_of(content, ","))[1:]
        expected = []
        for record in read:
            padded = [*record.cells[:width], *[""] * (width - len(record.cells))]
            expected.append([mapped_first(padded[0]), *padded[1:], "1,5"])
        assert list(csv.reader(io.StringIO(sent(plan).decode(), newline=""))) == [[*header, "k"], *expected]
        assert list(restore(plan.source, sent_records(plan))[0]) == [
            Record(row, record.line, record.cells) for row, record in enumerate(read, 1)
        ]
        assert sum(span.rows for span in plan.spans) == plan.source.rows == len(read)


def mapped_first(cell: str) -> str:
    return cell.strip()[:2]


@given(rows=st.lists(st.lists(st.text('a \0",;\t\r\n\u2028é', max_size=4), min_size=1, max_size=3), max_size=4))
def test_records_are_written_as_everywhere(rows):
    for delimiter in ",;\t":
        assert mapped._written(rows, delimiter) == "".join(write_record(row, delimiter) for row in rows)


def test_memory_does_not_grow_with_the_file(tmp_path, monkeypatch):
    """Records are read a span at a time, however many there are."""
    monkeypatch.setattr(mapped, "READ_ROWS_MAX", 10)
    seen = []
    real = mapped.read_span
    monkeypatch.setattr(mapped, "read_span", lambda source, span: seen.append(span.rows) or real(source, span))
    planned(tmp_path, b"a,b\n" + b"1, 2\n" * 105, "trim = true")
    assert seen == [10] * 10 + [5]


# --- what cannot be sent -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "text", "message"),
    [
        ("a,b", "[columns.c]\ndrop = true", "map.toml: columns.c: {path} has no such column; there are 'a', 'b'"),
        ("a,b", '[columns."A b"]\nto = "x"', 'map.toml: columns."A b": {path} has no such column'),
        ("a,b", '[columns.a]\nto = "b"', "map.toml: columns: column 'b' of {path} would be sent as 'b', and so would"),
        ("a,b", '[constants]\nb = "1"', "map.toml: constants: a constant of {path} would be sent as 'b', and so would"),
        ("a,a", '[columns.a]\nto = "b"', "map.toml: columns.a: {path} has 2 columns of this name; rename all but one"),
        ("a,b", 'unlisted = "drop"', "map.toml: no column of {path} is left; nothing would be imported"),
    ],
)
def test_a_mapping_that_does_not_fit_the_file_is_told(tmp_path, header, text, message):
    with pytest.raises(ConfigError) as raised:
        planned(tmp_path, f"{header}\n1,2\n".encode(), text)
    assert str(raised.value).startswith(message.format(path=tmp_path / "leads.csv"))


def test_a_column_may_stand_in_one_of_several_files(tmp_path):
    paths = [tmp_path / "a.csv", tmp_path / "b.csv"]
    for path, column in zip(paths, "ab", strict=True):
        path.write_text(f"{column}\n1\n")

    def plans(text: str):
        return plan_sources(
            [Located.at(path) for path in paths],
            parse(MappingFile(name="map.toml", text=text)),
            Reading(workspace=Workspace(tmp_path / "job" / "spool"), format=Format.CSV, **CAPS),
        )[0]

    assert [plan.source.sent_columns for plan in plans('[columns.b]\nto = "email"')] == [("a",), ("email",)]
    with pytest.raises(ConfigError, match="none of the files has such a column; there are 'a', 'b'"):
        plans("[columns.c]\ndrop = true")


def test_two_columns_of_one_name_in_the_file_are_not_the_mappings_fault(tmp_path):
    plan, _ = planned(tmp_path, b"a,b,b\n 1,2,3\n", "[columns.a]\ntrim = true")
    assert sent(plan) == b"a,b,b\n1,2,3\n"


def test_a_record_that_fits_no_upload_is_told_by_its_line_in_the_file(tmp_path):
    caps = {"part_bytes_max": 50, "rows_max": 100}
    content = b"a,b\n1,2\n\n1," + b"x" * 60 + b"\n"
    with pytest.raises(RecordTooLarge, match=r"leads\.csv: the record that starts in line 4 has 63 bytes when"):
        planned(tmp_path, content, "trim = true", caps=caps)
    assert list((tmp_path / "job").rglob("*.mapped")) == []
    plan, _ = planned(tmp_path, content, "[columns.b]\ndrop = true", caps=caps)
    assert sent(plan) == b"a\n1\n1\n"


def test_an_empty_file_stays_one(tmp_path):
    plan, _ = planned(tmp_path, b"", "trim = true")
    assert plan.spans == ()
    plan, _ = planned(tmp_path, b"a\n", "trim = true")
    assert (plan.spans, plan.source.header) == ((), b"a\n")


# --- the way back --------------------------------------------------------------------------------------------


def test_rows_keep_their_places_when_the_original_is_gone(tmp_path):
    plan, _ = planned(
        tmp_path, b"Mail,Note\n\n a@x ,x\n", '[columns.Mail]\nto = "email"\ntrim = true\n[constants]\nk="v"'
    )
    Path(plan.source.absolute).write_bytes(b"Mail,Note\n\n z@z ,x\n")
    assert sent(plan) == b"email,Note,k\na@x,x,v\n"
    assert restore(plan.source, sent_records(plan)) == ([Record(1, 3, ("a@x", "x"))], False)
    Path(plan.source.absolute).unlink()
    assert restore(plan.source, sent_records(plan)) == ([Record(1, 3, ("a@x", "x"))], False)


def test_places_that_are_gone_are_no_guess(tmp_path):
    plan, _ = planned(tmp_path, b"a\n 1\n", "trim = true")
    assert plan.source.original is not None
    Path(plan.source.original.places).write_bytes(b"")
    with pytest.raises(SourceError, match="which says where rows stood in their source: it is too short"):
        restore(plan.source, sent_records(plan))


def test_a_file_that_changes_while_it_is_mapped_is_not_sent(tmp_path, monkeypatch):
    real = mapped.read_span

    def write_and_read(source, span):
        Path(source.content).write_bytes(b"a,b\n9,9\n9,9\n")
        return real(source, span)

    monkeypatch.setattr(mapped, "read_span", write_and_read)
    with pytest.raises(SourceChanged):
        planned(tmp_path, b"a,b\n1,2\n", "trim = true")
    assert list((tmp_path / "job").rglob("*.mapped")) == []
