import asyncio
import hashlib
import os
import signal
import threading
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.errors import SourceChanged, SourceError
from orchestrator.model import Format
from orchestrator.offload import Offload
from orchestrator.source import opening
from orchestrator.source.opening import SpanContent, inspect, read_span, sha256_of
from orchestrator.source.split import plan

HEADER = b"id,t\n"
DATA = b"".join(b"%d,some text\n" % number for number in range(60_000))  # more than three pieces


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(b"\xef\xbb\xbf" + HEADER + DATA)
    return path


@pytest.fixture
def planned(file):
    return plan(file, index=0, given="x.csv", format=Format.CSV, part_bytes_max=700_000, rows_max=1_000_000)


async def pieces_of(content, into):
    async for piece in content.stream():
        into.append(piece)


def received(content):
    pieces = []
    asyncio.run(pieces_of(content, pieces))
    return pieces


def refused(content, message):
    """What came before the stream refused to go on."""
    pieces = []
    with pytest.raises(SourceChanged, match=message):
        asyncio.run(pieces_of(content, pieces))
    return pieces


def test_inspect_knows_the_file(file):
    status = file.stat()
    identity = inspect(file)
    assert (identity.device, identity.inode) == (status.st_dev, status.st_ino)
    assert (identity.size_bytes, identity.mtime_ns) == (len(DATA) + 8, status.st_mtime_ns)


def test_inspect_says_what_is_wrong_and_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("empty.csv").touch()
    os.mkfifo("pipe")
    for path, message in {
        "missing.csv": f"missing.csv: there is no such file in {tmp_path}. Check the path.",
        "/missing.csv": "/missing.csv: there is no such file. Check the path.",
        "empty.csv": "empty.csv: the file is empty",
        ".": r".: this is a directory. Name the files in it, for example ./*.csv",
        "pipe": "pipe: this is no regular file. Write the data to a file first",
        "empty.csv/x": "empty.csv/x: it cannot be read: Not a directory",
    }.items():
        with pytest.raises(SourceError) as raised:
            inspect(path)
        assert str(raised.value).startswith(message)
    with pytest.raises(SourceError, match=r"^as-given\.csv: there is no such file in"):
        inspect("/missing.csv", given="as-given.csv")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_inspect_refuses_what_may_not_be_read(file):
    file.chmod(0)
    with pytest.raises(SourceError, match="this user may not read it"):
        inspect(file)


def test_read_span_returns_what_was_planned(planned):
    assert b"".join(read_span(planned.source, span) for span in planned.spans) == DATA


def test_content_is_header_and_records_every_time_anew(planned):
    assert len(planned.spans) == 2
    for span in planned.spans:
        content = SpanContent(planned.source, span)
        pieces = received(content)
        assert b"".join(pieces) == HEADER + read_span(planned.source, span)
        assert sum(map(len, pieces)) == content.size
        assert pieces[0] == HEADER
        assert max(map(len, pieces)) <= opening.PIECE_BYTES
        assert received(content) == pieces


def test_two_readers_of_one_content_do_not_disturb_each_other(planned):
    content = SpanContent(planned.source, planned.spans[0])

    async def both():
        one, other = [], []
        await asyncio.gather(pieces_of(content, one), pieces_of(content, other))
        return one, other

    one, other = asyncio.run(both())
    assert one == other == received(content)


def test_the_last_piece_is_withheld_if_the_checksum_is_wrong(planned):
    span = planned.spans[0]
    content = SpanContent(planned.source, replace(span, crc32=span.crc32 ^ 1))
    pieces = refused(content, r"x\.csv: the file's content has changed")
    assert 0 < sum(map(len, pieces)) < content.size
    assert len(pieces) == len(received(SpanContent(planned.source, span))) - 1
    with pytest.raises(SourceChanged, match="content has changed"):
        read_span(planned.source, replace(span, crc32=span.crc32 ^ 1))


def test_a_content_of_one_piece_yields_nothing_if_it_is_wrong(file):
    planned = plan(file, index=0, given="x.csv", format=Format.CSV, part_bytes_max=1000, rows_max=1_000_000)
    assert refused(SpanContent(planned.source, replace(planned.spans[0], crc32=0)), "content has changed") == []


def test_a_file_changed_in_place_with_its_times_put_back_is_found_by_the_checksum(file, planned):
    status = file.stat()
    with file.open("r+b") as changed:
        changed.seek(planned.spans[0].end - 5)
        changed.write(b"X")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    content = SpanContent(planned.source, planned.spans[0])
    assert sum(map(len, refused(content, "content has changed"))) < content.size
    assert received(SpanContent(planned.source, planned.spans[1])), "the other span is as it was"


def rewrite(file):
    file.write_bytes(file.read_bytes().upper())
    os.utime(file, ns=(0, 0))


def replace_file(file):
    twin = file.with_name("twin.csv")
    twin.write_bytes(file.read_bytes())
    os.utime(twin, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    twin.replace(file)


def append(file):
    with file.open("ab") as end:
        end.write(b"x")


def empty(file):
    file.write_bytes(b"")


@pytest.mark.parametrize("change", [rewrite, replace_file, append, empty])
def test_a_file_that_changed_is_refused_before_its_first_byte(file, planned, change):
    change(file)
    for span in planned.spans:
        assert refused(SpanContent(planned.source, span), r"x\.csv: the file has been written to or replaced") == []
        with pytest.raises(SourceChanged, match="written to or replaced"):
            read_span(planned.source, span)


def test_a_file_that_is_gone(file, planned):
    file.unlink()
    assert refused(SpanContent(planned.source, planned.spans[0]), "moved or deleted") == []
    file.mkdir()
    assert refused(SpanContent(planned.source, planned.spans[0]), "unreadable") == []


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(file, planned):
    file.unlink()
    os.mkfifo(file)
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it waits for a writer"))
    signal.alarm(20)
    try:
        with pytest.raises(SourceChanged, match=r"unreadable \(it is no regular file\)"):
            read_span(planned.source, planned.spans[0])
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def test_a_change_during_the_stream_stops_it(file, planned):
    content = SpanContent(planned.source, planned.spans[0])
    pieces = []

    async def run():
        async for piece in content.stream():
            pieces.append(piece)
            if len(pieces) == 2:
                append(file)

    with pytest.raises(SourceChanged, match="written to or replaced"):
        asyncio.run(run())
    assert len(pieces) == 2


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are counted in /proc")
def test_no_descriptor_stays_open(planned):
    async def run():
        before = open_descriptors()
        stream = SpanContent(planned.source, planned.spans[0]).stream()
        await anext(stream)
        await anext(stream)
        during = open_descriptors()
        await stream.aclose()
        return before, during, open_descriptors()

    before, during, after = asyncio.run(run())
    assert before == during == after


def test_what_is_sent_is_read_from_the_copy_of_a_source(tmp_path, file):
    copy = tmp_path / "copy"
    copy.write_bytes(HEADER + b"1,copied\n")
    found = plan(
        copy, index=0, given="x.csv", absolute=str(file), encoding="cp1252", format=Format.CSV,
        part_bytes_max=1000, rows_max=1000,
    )  # fmt: skip
    assert (found.source.absolute, found.source.content, found.source.encoding) == (str(file), str(copy), "cp1252")
    file.unlink()
    assert read_span(found.source, found.spans[0]) == b"1,copied\n"
    assert b"".join(received(SpanContent(found.source, found.spans[0]))) == HEADER + b"1,copied\n"


def test_a_file_is_hashed_a_slice_at_a_time_and_not_once_it_has_changed(planned, file, monkeypatch):
    slices = []

    async def run():
        async with Offload() as offload:
            begin = offload.run
            monkeypatch.setattr(offload, "run", lambda *arguments: slices.append(arguments[1:]) or begin(*arguments))
            return await sha256_of(planned.source, offload)

    monkeypatch.setattr(opening, "HASHED_SLICE_BYTES", 600_000)
    assert asyncio.run(run()) == hashlib.sha256(file.read_bytes()).hexdigest()
    assert slices == [(0, 600_000), (600_000, planned.source.identity.size_bytes)]
    file.write_bytes(file.read_bytes())
    os.utime(file, ns=(1, 1))
    with pytest.raises(SourceChanged, match="written to or replaced"):
        asyncio.run(run())


def test_an_upload_in_progress_costs_less_than_2_mb(tmp_path):
    path = tmp_path / "large.csv"
    path.write_bytes(b"id,t\n" + DATA * 10)
    found = plan(path, index=0, given="x.csv", format=None, part_bytes_max=9_500_000, rows_max=10**6)

    async def send():
        return [len(piece) async for piece in SpanContent(found.source, found.spans[0]).stream()]

    tracemalloc.start()
    try:
        sent = asyncio.run(send())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(sent) > 9_000_000
    assert peak < 2_000_000


def test_leaving_waits_only_a_while_for_a_thread_that_hangs(monkeypatch):
    monkeypatch.setattr("orchestrator.offload.LEFT_WITHIN_S", 0.01)
    gone = threading.Event()

    async def run():
        async with Offload() as threads:
            hanging = asyncio.create_task(threads.run(gone.wait))
            await asyncio.sleep(0)
        gone.set()
        await hanging

    asyncio.run(run())
