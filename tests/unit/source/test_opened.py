"""Files as people have them, opened and planned: what would be sent, and what is said about it."""

from __future__ import annotations

import csv
import io
import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.errors import ConfigError, EncodingError, SourceChanged, SourceError
from orchestrator.model import Source
from orchestrator.records import parse
from orchestrator.requests import encoding_named
from orchestrator.source import opened, spool
from orchestrator.source.opened import Located, Reading, plan_all
from orchestrator.source.opening import read_span
from orchestrator.source.split import Plan
from orchestrator.source.spool import Stopped, Workspace

WESTERN = ("Müller", "Größe", "Zoë", "François", "Peña", "5 €")
JAPANESE = ("山田太郎", "東京都", "株式会社テスト", "ひらがな", "佐藤")


def table(names: tuple[str, ...], rows: int = 60, end: str = "\n") -> str:
    lines = [f"{number}@x.com,{names[number % len(names)]},plain" for number in range(rows)]
    return end.join(["email,name,note", *lines, ""])


class Place:
    """A directory with files in it, and a workspace that is still to be made."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.workspace = Workspace(directory / "state" / "spool")
        self.reading = Reading(workspace=self.workspace, part_bytes_max=1_000_000, rows_max=1_000_000)

    def plans(self, *contents: bytes, **changes: object) -> tuple[Plan, ...]:
        located = []
        for number, content in enumerate(contents):
            path = self.directory / f"{number}.csv"
            path.write_bytes(content)
            located.append(replace(Located.at(path), given=f"{number}.csv"))
        return plan_all(located, replace(self.reading, **changes))

    def plan(self, content: bytes, **changes: object) -> Plan:
        (found,) = self.plans(content, **changes)
        return found

    def copies(self) -> list[str]:
        return sorted(path.name for path in self.workspace.directory.glob("*"))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def sent(plan: Plan) -> str:
    """What all uploads together are, and that rows and lines are where they are said to be."""
    source: Source = plan.source
    for span in plan.spans:
        first = next(parse(read_span(source, span), ",", first_row=span.first_row, first_line=span.first_line))
        assert (first.row, first.line) == (span.first_row, span.first_line)
    return (source.header + b"".join(read_span(source, span) for span in plan.spans)).decode()


def is_copy(plan: Plan) -> bool:
    assert plan.source.absolute.endswith(".csv")
    return plan.source.content != plan.source.absolute


# --- encodings -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_utf8_is_sent_as_it_stands(place, mark):
    text = table((*WESTERN, *JAPANESE, "😀"))
    found = place.plan(mark + text.encode())
    assert (sent(found), found.source.encoding, found.warnings) == (text, "utf-8", ())
    assert not is_copy(found)
    assert not place.workspace.directory.exists()


@pytest.mark.parametrize(
    ("names", "encoding", "kept"),
    [
        (WESTERN, "cp1252", "cp1252"),
        (("Müller", "Æbler"), "latin-1", "cp1252"),
        (JAPANESE, "cp932", "cp932"),
        (JAPANESE, "euc_jp", "euc_jp"),
        (WESTERN + JAPANESE, "utf-16-le", "utf-16-le"),
        (WESTERN + JAPANESE, "utf-16-be", "utf-16-be"),
    ],
)
def test_what_does_not_say_its_encoding_is_guessed_and_told(place, names, encoding, kept):
    text = table(names)
    found = place.plan(text.encode(encoding))
    assert (sent(found), found.source.encoding, found.source.rows) == (text, kept, 60)
    assert is_copy(found)
    (told,) = found.warnings
    assert f"0.csv: it does not say which encoding it is in; it is read as {kept}, which is a guess" in told


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-16-be"])
def test_what_a_mark_says_is_no_guess(place, encoding):
    text = table(WESTERN + JAPANESE + ("😀",))
    found = place.plan(("\ufeff" if encoding.endswith("be") else "").encode(encoding) + text.encode(encoding))
    assert (sent(found), found.warnings) == (text, ())
    assert found.source.encoding in (f"{encoding}-le", encoding)


def test_the_encoding_that_is_given_wins(place):
    text = table(("Dvořák", "Żółć"))
    found = place.plan(text.encode("cp1250"), encoding="cp1250")
    assert (sent(found), found.source.encoding, found.warnings) == (text, "cp1250", ())
    assert sent(place.plan(text.encode("utf-16"), encoding="utf-16")) == text
    assert sent(place.plan(text.encode("utf-16-le"), encoding="utf-16")) == text


@pytest.mark.parametrize("at", [0.0, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("names", [("Müller",), ("山田太郎",)], ids=["cp1252", "cp932"])
def test_the_first_character_that_tells_may_come_anywhere(place, at, names):
    encoding = "cp1252" if names == ("Müller",) else "cp932"
    rows = [f"{number}@x.com,Miller" for number in range(30_000)]
    rows[round(at * 29_999)] = f"x@x.com,{names[0]}"
    text = "\n".join(["email,name", *rows, ""])
    found = place.plan(text.encode(encoding))
    assert (sent(found), found.source.encoding) == (text, encoding)


def test_utf8_with_a_bad_byte_is_not_taken_for_another_encoding(place):
    lines = table(WESTERN).encode().splitlines(keepends=True)
    lines[40] = lines[40].replace(b",plain", b"\xe9,plain")
    data = b"".join(lines)
    with pytest.raises(EncodingError, match=rf"0\.csv: line 41 .* 0xE9 at offset {data.index(0xE9)}\. .*--encoding"):
        place.plan(data)
    assert place.copies() == []


def test_two_encodings_in_one_file_are_refused(place):
    western = table(WESTERN, rows=6_000).encode("cp1252")
    mixed = western + "late@x.com,Müller,plain\n".encode() * 200
    with pytest.raises(EncodingError, match=r"200 character.* the first of them in line 2, byte 0xFC at offset 25\."):
        place.plan(mixed)
    assert place.copies() == []
    assert sent(place.plan(mixed, encoding="cp1252")) == mixed.decode("cp1252")


def test_what_looks_like_none_of_those_guessed_is_refused_by_name(place):
    with pytest.raises(
        EncodingError, match=r"it is not UTF-8 \(line 2, byte 0xC8 at offset 24\), and looks most like cp1251"
    ):
        place.plan(table(("Иванов", "Петров", "Привет", "Москва")).encode("cp1251"))
    assert place.copies() == []


@pytest.mark.parametrize("block_bytes", [1, 7, 64, 1_048_576])
@pytest.mark.parametrize(
    ("encoding", "bad", "shown"),
    [
        ("cp932", b"\x81\x7f", "0x81"),
        ("cp932", b"\x80", "0x80"),
        ("cp932", b"\xa0", "0xA0"),
        ("cp932", b"\xff", "0xFF"),
        ("euc_jp", b"\xff", "0xFF"),
        ("cp1252", b"\x81", "0x81"),
        ("ascii", b"\xe9", "0xE9"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_byte_that_is_not_of_the_encoding_is_named(place, monkeypatch, block_bytes, encoding, bad, shown, end):
    monkeypatch.setattr(opened, "BLOCK_BYTES", block_bytes)
    names = {"cp1252": WESTERN, "ascii": ("Miller",)}.get(encoding, JAPANESE)
    good = table(names, rows=20, end=end).encode(encoding)
    data = good + b"x@x.com," + bad + b",plain" + end.encode() + good
    with pytest.raises(
        EncodingError, match=rf"0\.csv: line 22 is not {encoding}.*{shown}.* at offset {len(good) + 8} "
    ):
        place.plan(data, encoding=encoding)
    assert place.copies() == []


@pytest.mark.parametrize(
    ("encoding", "names", "bad"),
    [("cp1252", WESTERN, b"\x81"), ("cp932", JAPANESE, b"\xff"), ("euc_jp", JAPANESE, b"\xff")],
)
def test_a_bad_byte_is_named_though_the_encoding_is_only_guessed(place, encoding, names, bad):
    good = table(names).encode(encoding)
    with pytest.raises(EncodingError, match=rf"line 62 is not {encoding}, as was guessed: .* offset {len(good) + 8} "):
        place.plan(good + b"x@x.com," + bad + b",plain\n" + good)
    assert place.copies() == []


def test_what_is_nothing_that_is_guessed_is_named_by_its_first_bad_byte(place):
    with pytest.raises(EncodingError, match=r"not UTF-8 \(line 2, byte 0x81 at offset 8\), and looks most like"):
        place.plan(b"email,x\n\x81\x8d\x8f\xff,\x9d\n")


def test_what_does_not_look_like_text_is_asked_about(place):
    with pytest.raises(EncodingError, match=r"does not look like text\. Is it the right file\?"):
        place.plan(b"email,x\n" + bytes(range(0x80, 0x100)) * 40 + b"\0" * 9)


def test_a_character_cut_off_at_the_end_is_named(place):
    data = table(("Müller",)).encode("utf-16")
    with pytest.raises(EncodingError, match=rf"line 62 is not utf-16-le.* offset {len(data)} "):
        place.plan(data + b"x")


def test_files_of_one_job_are_in_one_encoding(place):
    western, utf8, plain = table(WESTERN).encode("cp1252"), table(WESTERN).encode(), table(("Miller",)).encode()
    with pytest.raises(EncodingError, match=r"1\.csv seems to be in cp1252, but 0\.csv in utf-8.*--encoding NAME"):
        place.plans(utf8, western)
    assert place.copies() == []
    assert [one.source.encoding for one in place.plans(plain, western, western)] == ["utf-8", "cp1252", "cp1252"]
    marked = [b"\xef\xbb\xbf" + utf8, table(JAPANESE).encode("utf-16"), western]
    assert [one.source.encoding for one in place.plans(*marked)] == ["utf-8", "utf-16-le", "cp1252"]
    assert [one.source.encoding for one in place.plans(plain, western, encoding="cp1252")] == ["cp1252"] * 2


def test_names_of_encodings():
    assert [encoding_named(name) for name in ("UTF8", "utf-8-sig", "Latin 1", "Windows-1252", "SJIS")] == [
        "utf-8",
        "utf-8",
        "iso8859-1",
        "cp1252",
        "shift_jis",
    ]
    for name in ("klingon", "", "rot13", "base64", "hex", "zlib", "idna", "unicode_escape", "undefined", "x\0y"):
        with pytest.raises(ConfigError, match=r"there is none such; utf-8, .* are some"):
            encoding_named(name)


# --- line ends -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("block_bytes", [1, 2, 5, 64, 1_048_576])
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16"])
def test_carriage_returns_alone_end_records(place, monkeypatch, block_bytes, encoding):
    monkeypatch.setattr(opened, "BLOCK_BYTES", block_bytes)
    text = 'email,name\r1@x.com,"Müller\rzwei\nthree\r\nfour"\r\r2@x.com,b\r\n3@x.com,c\n4@x.com,d'
    found = place.plan(text.encode(encoding), encoding=encoding)
    expected = 'email,name\n1@x.com,"Müller\nzwei\nthree\r\nfour"\n\n2@x.com,b\r\n3@x.com,c\n4@x.com,d'
    assert sent(found) == expected
    assert (found.source.rows, found.source.blank_lines) == (4, 1)
    lines = [record.line for record in parse(expected.encode(), ",")]
    assert lines == [1, 2, 7, 8, 9], "as an editor counts the lines of the file itself"
    assert any("lines end with carriage returns alone" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1,x\ry\n2,z\n",
        "a,b\r\n1,x\r\n",
        '"a\rx",b\n1,2\n',
        'size 5",b\r\n1,2\r\n',
        '"a ""q""\r",b\r\n1,2\r\n',
    ],
)
def test_other_carriage_returns_stay(place, text):
    found = place.plan(text.encode())
    assert (sent(found), is_copy(found)) == (text, False)


def test_a_quote_within_a_cell_of_the_header_hides_no_line_end(place):
    found = place.plan(b'size 5",b\r1,2\r3,4\r')
    assert (found.source.columns, found.source.rows) == (('size 5"', "b"), 2)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("lines", "blank", "told"),
    [(["a,b", "1,2", "", ""], 1, False), (["a,b", "1,2", "", "", ""], 2, True), (["a,b", "", "1,2", ""], 1, True)],
)
def test_one_blank_line_at_the_end_is_nothing_to_tell(place, end, lines, blank, told):
    found = place.plan(end.join(lines).encode())
    assert (found.source.rows, found.source.blank_lines) == (1, blank)
    assert any("are blank" in warning for warning in found.warnings) is told


def test_the_same_records_as_the_csv_module_reads(place):
    text = table((*WESTERN, '"a\rb"', '"c,\r\rd"'), end="\r")
    found = place.plan(text.encode("cp1252"))
    theirs = list(csv.reader(io.StringIO(text, newline="")))
    ours = [list(record.cells) for record in parse(sent(found).encode(), ",")]
    assert ours == [[cell.replace("\r", "\n") for cell in cells] for cells in theirs]


# --- copies --------------------------------------------------------------------------------------------


def test_copies_are_their_owners_alone(place):
    found = place.plan(table(WESTERN).encode("utf-16"))
    assert Path(found.source.content).stat().st_mode & 0o777 == 0o600
    for directory in (place.workspace.directory, place.workspace.directory.parent):
        assert directory.stat().st_mode & 0o777 == 0o700


def test_a_copy_is_what_is_sent_when_the_file_is_gone(place):
    text = table(WESTERN)
    found = place.plan(text.encode("cp1252"))
    Path(found.source.absolute).unlink()
    assert sent(found) == text


@pytest.mark.parametrize(
    ("fault", "what"),
    [(Path.unlink, "moved or deleted"), (lambda path: path.write_bytes(b"x"), "written to or replaced")],
)
def test_it_is_told_that_a_copy_is_what_has_changed(place, fault, what):
    found = place.plan(table(WESTERN).encode("cp1252"))
    fault(Path(found.source.content))
    with pytest.raises(SourceChanged, match=rf"^0\.csv \(its copy .*0\.utf8\): the file has been {what}"):
        read_span(found.source, found.spans[0])


def test_what_a_killed_process_left_is_no_part_of_a_copy(place):
    place.plans(table(WESTERN).encode("cp1252"))
    text = table(WESTERN, rows=5)
    assert sent(place.plan(text.encode("cp1252"))) == text
    assert place.copies() == ["0.utf8"]


Usage = namedtuple("Usage", "total used free")


def test_a_copy_is_not_begun_without_room_for_it(place, monkeypatch):
    data = table(WESTERN).encode("cp1252")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, spool.RESERVE_BYTES + len(data) - 1))
    with pytest.raises(SourceError, match=r"0\.csv: a copy .* no room for it.*268,435,456 left free.*state\.dir"):
        place.plan(data)
    assert place.copies() == []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, spool.RESERVE_BYTES + len(data)))
    assert place.plan(data)


def test_a_copy_that_fills_the_disk_is_given_up(place, monkeypatch):
    free = iter([10**12, spool.RESERVE_BYTES - 1])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, next(free)))
    monkeypatch.setattr(spool, "CHECK_EVERY_BYTES", 1_000)
    monkeypatch.setattr(opened, "BLOCK_BYTES", 100)
    with pytest.raises(SourceError, match="no room for it"):
        place.plan(table(WESTERN).encode("cp1252"))
    assert place.copies() == []


def test_a_directory_that_cannot_be_written_to_is_named(place):
    place.workspace.directory.parent.write_text("in the way")
    with pytest.raises(
        SourceError, match=r"0\.csv: a copy of it cannot be made in .*spool: Not a directory.*state\.dir"
    ):
        place.plan(table(WESTERN).encode("cp1252"))


def test_copying_stops_when_nobody_waits_for_it(place, monkeypatch):
    monkeypatch.setattr(opened, "BLOCK_BYTES", 100)
    written = []

    def stop(data):
        written.append(data)
        if len(written) == 3:
            place.workspace.stop()
        return data

    monkeypatch.setattr(opened, "to_utf8", lambda blocks, *_, **__: map(stop, blocks))
    with pytest.raises(Stopped):
        place.plan(table(WESTERN).encode("cp1252"), encoding="cp1252")
    assert len(written) == 3
    assert place.copies() == []


def test_a_file_that_is_still_written_is_not_copied(place, monkeypatch):
    path = place.directory / "0.csv"

    def disturbed(blocks, *_, **__):
        for block in blocks:
            with path.open("ab") as file:
                file.write(b"x" if path.stat().st_size < 5_000 else b"")
            yield block

    monkeypatch.setattr(opened, "to_utf8", disturbed)
    with pytest.raises(SourceError, match="written to while it was read"):
        place.plan(table(WESTERN).encode("cp1252"), encoding="cp1252")
    assert place.copies() == []


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_line_for_excel_is_counted_and_not_sent(place, encoding, end):
    text = end.join(["sep=;", "email;name", "1;Müller", "2;Zoë", ""])
    found = place.plan(text.encode(encoding))
    lines = text.replace("\r\n", "\n").replace("\r", "\n") if end == "\r" else text
    assert (found.source.header + read_span(found.source, found.spans[0])).decode() == lines.partition("\n")[2]
    assert (found.source.format, found.source.columns) == ("ssv", ("email", "name"))
    assert (found.spans[0].first_line, found.spans[0].first_row, found.source.rows) == (3, 1, 2)
