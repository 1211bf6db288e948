"""What a text comes in: it is read to its last byte, or it is said why not."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import shutil
import struct
import sys
import threading
import zipfile
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.errors import EncodingError, SourceError
from orchestrator.source import containers, opened, spool
from orchestrator.source.opened import STDIN, Located
from orchestrator.source.spool import Stopped
from tests.unit.source.test_opened import WESTERN, Place, sent, table

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TEXT = table(("Ada", "李小龍"), rows=2_000)
Usage = namedtuple("Usage", "total used free")


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def in_zip(data: bytes) -> bytes:
    return zipped(**{"export/": b"", "export/leads.csv": data, "__MACOSX/export/._leads.csv": b"\0"})


def with_checksum(data: bytes) -> bytes:
    return zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1})


def in_parts(pack: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    return lambda data: pack(data[:5_000]) + pack(b"") + pack(data[5_000:5_001]) + pack(data[5_001:]) + bytes(700)


PACKS = {
    "gzip": gzip.compress,
    "gzip-members": in_parts(gzip.compress),
    "zstd": with_checksum,
    "zstd-frames": in_parts(zstd.compress),
    "zip": in_zip,
}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def pipe(monkeypatch):
    """Let standard input be a pipe; return the end to write to."""
    reading, writing = os.pipe()
    monkeypatch.setattr(opened, "STDIN_DESCRIPTOR", reading)
    with os.fdopen(reading, "rb"), os.fdopen(writing, "wb", buffering=0) as file:
        yield file


def fed(pipe, data: bytes) -> threading.Thread:
    def feed() -> None:
        pipe.write(data)
        pipe.close()

    thread = threading.Thread(target=feed)
    thread.start()
    return thread


def from_pipe(place: Place, pipe, data: bytes):
    thread = fed(pipe, data)
    try:
        (found,) = opened.plan_all([Located.at(STDIN)], place.reading)
    finally:
        thread.join()
    return found


@pytest.mark.parametrize("block_bytes", [1, 1_000, 1_048_576])
@pytest.mark.parametrize("pack", PACKS.values(), ids=PACKS)
def test_the_text_is_what_was_packed(place, monkeypatch, pack, block_bytes):
    monkeypatch.setattr(containers, "BLOCK_BYTES", block_bytes)
    found = place.plan(pack(TEXT.encode()))
    assert (sent(found), found.source.rows, found.warnings) == (TEXT, 2_000, ())
    assert place.copies() == ["0.text"]
    assert Path(found.source.content).stat().st_mode & 0o777 == 0o600
    Path(found.source.absolute).unlink()
    assert sent(found) == TEXT


@pytest.mark.parametrize("pack", PACKS.values(), ids=PACKS)
def test_what_is_packed_may_be_in_another_encoding(place, pack):
    text = table(WESTERN, end="\r")
    found = place.plan(pack(text.encode("cp1252")))
    assert (sent(found), found.source.encoding) == (text.replace("\r", "\n"), "cp1252")
    assert place.copies() == ["0.utf8"]


@pytest.mark.parametrize("pack", [bytes, *PACKS.values()], ids=["plain", *PACKS])
def test_all_of_it_may_come_through_a_pipe(place, pipe, pack):
    found = from_pipe(place, pipe, pack(TEXT.encode()))
    assert sent(found) == TEXT
    assert (found.source.path, found.source.absolute) == ("-", "-")
    assert len(place.copies()) == 1


def test_a_pipe_may_hand_over_little_at_a_time(place, monkeypatch, pipe):
    monkeypatch.setattr(containers, "BLOCK_BYTES", 3)
    assert sent(from_pipe(place, pipe, gzip.compress(TEXT.encode()))) == TEXT


def test_a_pipe_in_which_nothing_comes(place, pipe):
    with pytest.raises(SourceError, match=r"^standard input: the file is empty"):
        from_pipe(place, pipe, b"")
    assert place.copies() == []


def test_nobody_waits_for_a_pipe_any_longer(place, pipe):
    timer = threading.Timer(0.05, place.workspace.stop)
    timer.start()
    with pytest.raises(Stopped):
        opened.plan_all([Located.at(STDIN)], place.reading)
    timer.join()
    assert place.copies() == []


def test_a_pipe_is_read_by_the_process_that_was_given_it_only(place, pipe):
    with pytest.raises(SourceError, match=r"standard input: .* what it had is gone\. Import it again"):
        opened.plan_all([Located(given=STDIN, absolute=STDIN, live=False)], place.reading)


@pytest.mark.parametrize("pack", PACKS.values(), ids=PACKS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_what_is_cut_off_is_told(place, pack, share):
    data = pack(TEXT.encode()).rstrip(b"\0")
    with pytest.raises(SourceError, match=r"^0\.csv: .*(ends in the middle|cannot be read).*again"):
        place.plan(data[: round(len(data) * share)])
    assert place.copies() == []


@pytest.mark.parametrize("pack", [gzip.compress, with_checksum, in_zip], ids=["gzip", "zstd", "zip"])
def test_what_is_damaged_is_told(place, pack):
    data = bytearray(pack(TEXT.encode()))
    data[len(data) // 2] ^= 0x55
    with pytest.raises(SourceError, match=r"^0\.csv: .*(is damaged|cannot be read) \(.*again"):
        place.plan(bytes(data))
    assert place.copies() == []


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress], ids=["gzip", "zstd"])
def test_what_stands_behind_the_data_is_not_overlooked(place, pack):
    with pytest.raises(SourceError, match=r"^0\.csv: its .* data (is damaged|ends in the middle)"):
        place.plan(pack(TEXT.encode()) + b"1@x.com,not compressed\n")


def test_an_archive_has_one_file_in_it(place):
    for members, words in (
        ({"a.csv": b"x", "b.csv": b"y"}, r"there are 2 files in it \('a\.csv', 'b\.csv'\)"),
        ({f"{n}.csv": b"x" for n in range(9)}, r"there are 9 files in it \('0\.csv', '1\.csv', '2\.csv' \.\.\.\)"),
        ({}, "there are none"),
        ({"folder/": b""}, "there are none"),
    ):
        with pytest.raises(
            SourceError, match=rf"^0\.csv: an archive has to have exactly one file in it; {words}\. Unpack"
        ):
            place.plan(zipped(**members))


def test_a_workbook_is_named(place):
    with pytest.raises(SourceError, match="Excel workbook"):
        place.plan(zipped(**{"[Content_Types].xml": b"<x/>", "xl/workbook.xml": b"<x/>"}))


def test_an_encrypted_file_in_an_archive_is_named(place):
    data = bytearray(zipped(**{"a.csv": b"email\n"}))
    entry = data.index(b"PK\x01\x02")
    struct.pack_into("<H", data, entry + 8, 1)
    with pytest.raises(SourceError, match="encrypted"):
        place.plan(bytes(data))


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (bz2.compress(TEXT.encode()), "a bzip2 file"),
        (gzip.compress(gzip.compress(TEXT.encode())), "a gzip file within another"),
    ],
)
def test_what_is_not_unpacked_is_named(place, data, what):
    with pytest.raises(EncodingError, match=f"this is {what}"):
        place.plan(data)
    assert place.copies() == []


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress, in_zip], ids=["gzip", "zstd", "zip"])
def test_a_bomb_does_not_fill_the_disk(place, monkeypatch, pack):
    free = spool.RESERVE_BYTES + 2_000_000
    room = iter([free, *[free - written * 1_048_576 for written in range(1, 100)]])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, next(room)))
    monkeypatch.setattr(spool, "CHECK_EVERY_BYTES", 1_048_576)
    with pytest.raises(SourceError, match="no room for it"):
        place.plan(pack(b"email\n" + bytes(50_000_000)))
    assert place.copies() == []


def test_an_archive_that_lies_about_its_size_is_refused(place):
    data = bytearray(zipped(**{"a.csv": TEXT.encode()}))
    entry = data.index(b"PK\x01\x02")
    struct.pack_into("<I", data, entry + 24, 10)
    with pytest.raises(SourceError, match="cannot be read"):
        place.plan(bytes(data))
