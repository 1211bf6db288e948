import os
import re
import tracemalloc
import zlib
from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from orchestrator import records
from orchestrator.errors import (
    EncodingError,
    HeaderError,
    RecordTooLarge,
    SourceChanged,
    SourceError,
    UnterminatedQuote,
)
from orchestrator.model import FileIdentity, Format, Source, Span
from orchestrator.source import bits, blocks, masks
from orchestrator.source.oddities import Oddity
from orchestrator.source.opening import read_span
from orchestrator.source.split import plan, replan, share_out
from orchestrator.source.walk import State, walk
from tests.unit.source import generate, machine

GENERATED_FILES = int(os.environ.get("GENERATED_FILES", "500"))
KINDS = (
    "RecordTooLarge",
    "UnterminatedQuote",
    "spans",
    *(kind.name for kind in Oddity),
)  # what 500 files must show often
BLOCK_SIZES = [1, 2, 3, 7, 63, 64, 65, 128, 1000, 1 << 19]


def planned(path, data, *, form=Format.CSV, part_bytes_max=10_000, rows_max=10_000, block_bytes=64):
    path.write_bytes(data)
    return plan(
        path,
        index=0,
        given="x.csv",
        format=form,
        part_bytes_max=part_bytes_max,
        rows_max=rows_max,
        block_bytes=block_bytes,
    )


def shape(span):
    return (span.start, span.end, span.first_row, span.rows, span.first_line)


def outcome(path, data, **how):
    """What `plan` says, in the words of the machine."""
    try:
        found = planned(path, data, **how)
    except (RecordTooLarge, UnterminatedQuote) as error:
        line, size = re.search(r"line (\d+)\D.*?([\d,]+) bytes", str(error)).groups()
        return (type(error).__name__, int(line), int(size.replace(",", "")))
    except SourceError as error:
        return (type(error).__name__, 0, 0)
    check_promises(data, found, how["form"].delimiter)
    odd = {}
    for warning in found.warnings:
        line, count, what = re.fullmatch(r"x\.csv: from line (\d+) on, ([\d,]+) (.*)\.", warning).groups()
        odd[Oddity(what).name] = (int(line), int(count.replace(",", "")))
    assert len(odd) == len(found.warnings)
    blank = found.source.blank_lines
    assert odd.get("BLANK_LINE", (0, 0))[1] == blank or ("BLANK_LINE" not in odd and blank == 1)
    return [shape(span) for span in found.spans], odd


def check_promises(data, found, delimiter):
    source, spans = found.source, found.spans
    assert all(span.crc32 == zlib.crc32(data[span.start : span.end]) for span in spans)
    assert all(span.rows > 0 for span in spans)
    assert source.rows == sum(span.rows for span in spans)
    begin = data.index(source.header) + len(source.header)
    left_out = [
        data[a:b] for a, b in zip([begin, *(s.end for s in spans)], [*(s.start for s in spans), len(data)], strict=True)
    ]
    assert all(set(gap) <= set(b"\r\n") for gap in left_out), "only blank lines may belong to no span"
    whole = records.parse(data[begin:], delimiter, first_line=1 + data.count(b"\n", 0, begin))
    apart = [
        record
        for span in spans
        for record in records.parse(
            data[span.start : span.end], delimiter, first_row=span.first_row, first_line=span.first_line
        )
    ]
    assert apart == list(whole)
    if not source.blank_lines:
        assert source.header + b"".join(data[s.start : s.end] for s in spans) == data.removeprefix(machine.BOM)


@pytest.mark.timeout(120 + GENERATED_FILES // 10)  # seconds: a hang is still found when many files are asked for
def test_generated_files_are_cut_where_the_machine_cuts_them(tmp_path):
    """Every file also with a second block size, and its spans cut once more."""
    seen = Counter()
    for seed in range(GENERATED_FILES):
        random = Random(seed)
        form = random.choice(list(Format))
        text = generate.header(random, form.delimiter) + generate.body(random, form.delimiter)
        data = random.choice([b"", machine.BOM]) + text.encode()
        limits = {"part_bytes_max": random.choice([60, 100, 500, 5000]), "rows_max": random.choice([1, 3, 50, 10_000])}
        expected = machine.cut(data, form.delimiter, *limits.values())
        for block_bytes in random.sample(BLOCK_SIZES[3:], 2):
            found = outcome(tmp_path / "x.csv", data, form=form, block_bytes=block_bytes, **limits)
            assert found == expected, f"seed {seed}, blocks of {block_bytes}"
        if isinstance(expected[0], str):
            seen[expected[0]] += 1
        else:
            seen["spans"] += len(expected[0]) > 2
            seen.update(expected[1].keys())
    assert GENERATED_FILES < 500 or min(seen[kind] for kind in KINDS) > 15, f"the generator has become too tame: {seen}"


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    text=st.lists(st.sampled_from(generate.PIECES), max_size=80).map("".join),
    block_bytes=st.sampled_from(BLOCK_SIZES),
    part_bytes_max=st.integers(5, 60),
    rows_max=st.integers(1, 5),
)
@example(text='1,"a"\r\n2,"b\n', block_bytes=1, part_bytes_max=20, rows_max=1)
@example(text='1,2"\n"3",4\n', block_bytes=4, part_bytes_max=20, rows_max=1)
@example(text='1,"2"x"3\n4",5\n', block_bytes=64, part_bytes_max=20, rows_max=1)
def test_any_text_is_cut_where_the_machine_cuts_it(tmp_path, text, block_bytes, part_bytes_max, rows_max):
    data = b"a,b\n" + text.encode()
    found = outcome(
        tmp_path / "x.csv",
        data,
        form=Format.CSV,
        block_bytes=block_bytes,
        part_bytes_max=part_bytes_max,
        rows_max=rows_max,
    )
    assert found == machine.cut(data, ",", part_bytes_max, rows_max)


def block_of(data):
    (block,) = blocks.blocks_of(data, 0)
    return block


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(generate.PIECES), min_size=1, max_size=150).map("".join),
    st.sampled_from(list(State)),
    st.sampled_from([b"\n\n", b", ", b'x"', b'\\"']),
)
def test_masks_and_walk_agree_on_every_block(text, state, before):
    """The masks, repaired or not, and the exact machine, from every state."""
    block = block_of(text.encode())
    scanner = masks.Scanner(ord(","), block.size)
    seen = scanner.scan(block, state, before)
    ends, delimiters = bits.offsets(seen.ends).tolist(), bits.offsets(seen.delimiters).tolist()
    last = bits.last_offset(seen.ends)
    scanner._walks_left = 1
    again = scanner.scan(block, state, before)
    assert ends == bits.offsets(again.ends).tolist()
    assert delimiters == bits.offsets(again.delimiters).tolist()
    assert (seen.state, seen.odd) == (again.state, again.odd)
    assert bits.count(seen.line_feeds) == text.count("\n")
    walked = walk(text.encode(), ord(","), state, before)
    assert ends == walked.ends.tolist()
    assert last == (walked.ends[-1] if len(walked.ends) else None)


def test_a_file_by_hand(tmp_path):
    data = b'\xef\xbb\xbfid,"na\nme"\r\n1,a\r\n\r\n2,"b\r\nb"\r\n3,c\r\n'
    found = planned(tmp_path / "x.csv", data, rows_max=2)
    first, second = b'1,a\r\n\r\n2,"b\r\nb"\r\n', b"3,c\r\n"
    assert found.spans == (
        Span(source=0, start=15, end=32, first_row=1, rows=2, first_line=3, crc32=zlib.crc32(first)),
        Span(source=0, start=32, end=37, first_row=3, rows=1, first_line=7, crc32=zlib.crc32(second)),
    )
    status = (tmp_path / "x.csv").stat()
    assert found.source == Source(
        index=0,
        path="x.csv",
        absolute=str(tmp_path / "x.csv"),
        content=str(tmp_path / "x.csv"),
        identity=FileIdentity(
            device=status.st_dev, inode=status.st_ino, size_bytes=len(data), mtime_ns=status.st_mtime_ns
        ),
        sha256=None,
        encoding="utf-8",
        format=Format.CSV,
        header=b'id,"na\nme"\r\n',
        columns=("id", "na\nme"),
        rows=3,
        blank_lines=1,
    )
    assert found.warnings == ("x.csv: from line 4 on, 1 line(s) are blank; they are no rows.",)


def test_a_span_takes_as_many_bytes_as_are_allowed_and_no_more(tmp_path):
    data = b"id\n" + b"1\n" * 10
    assert [span.rows for span in planned(tmp_path / "x.csv", data, part_bytes_max=11).spans] == [4, 4, 2]
    assert [span.rows for span in planned(tmp_path / "x.csv", data, part_bytes_max=12).spans] == [4, 4, 2]
    assert [span.rows for span in planned(tmp_path / "x.csv", data, part_bytes_max=13).spans] == [5, 5]


def test_blank_lines_stay_with_their_neighbours_where_they_fit(tmp_path):
    data = b"id\n\n\r\n1\n\n\n2\n\n3\n" + b"\n" * 3
    found = planned(tmp_path / "x.csv", data, rows_max=1)
    assert [data[span.start : span.end] for span in found.spans] == [b"\n\r\n1\n\n\n", b"2\n\n", b"3\n\n\n\n"]
    assert [span.first_line for span in found.spans] == [2, 7, 9]
    assert found.source.blank_lines == 8
    tight = planned(tmp_path / "x.csv", data, part_bytes_max=5)
    assert [data[span.start : span.end] for span in tight.spans] == [b"1\n", b"2\n", b"3\n"]
    assert (tight.source.rows, tight.source.blank_lines) == (3, 8)


def test_a_record_over_the_cap_is_named_with_line_and_size(tmp_path):
    data = b'id,t\n1,"\n"\n2,"' + b"x\n" * 100 + b'"\n3,a\n'
    with pytest.raises(RecordTooLarge, match=r"x\.csv: the record that starts in line 4 has 205 bytes; .* holds 95 "):
        planned(tmp_path / "x.csv", data, part_bytes_max=100)


def test_a_quote_that_is_never_closed_is_found_far_back(tmp_path):
    data = b'id,t\n1,"a"\n2,"b","c' + b"\nx,y" * 1000
    with pytest.raises(UnterminatedQuote, match=r"x\.csv: the quote that opens in line 3 .* the last 4,002 bytes"):
        planned(tmp_path / "x.csv", data)
    with pytest.raises(UnterminatedQuote, match="opens in line 2, in the header"):
        planned(tmp_path / "x.csv", b'\nid,"t\n1,a\n')


def test_few_stray_quotes_are_repaired_and_many_take_the_exact_machine_for_a_while(tmp_path, monkeypatch):
    walked = []
    monkeypatch.setattr(masks, "walk", lambda block, *rest: walked.append(block) or walk(block, *rest))
    quoted, stray = b'10000,"quoted, cell"\n', b'1,12" pipe 3" wide\n'
    rows = [quoted] * 3000
    rows[500] = stray
    found = planned(
        tmp_path / "x.csv", b"id,t\n" + b"".join(rows), block_bytes=1024, rows_max=1000, part_bytes_max=10**6
    )
    assert [span.rows for span in found.spans] == [1000] * 3
    assert found.warnings == (f"x.csv: from line 502 on, 1 {Oddity.QUOTE_IN_TEXT.value}.",)
    assert not walked
    rows[600:700] = [stray] * 100
    found = planned(
        tmp_path / "x.csv", b"id,t\n" + b"".join(rows), block_bytes=1024, rows_max=1000, part_bytes_max=10**6
    )
    assert found.warnings == (f"x.csv: from line 502 on, 101 {Oddity.QUOTE_IN_TEXT.value}.",)
    assert walked[0].count(stray) > masks.REPAIRS_MAX
    assert len(walked) == 1 + masks.BLOCKS_WALKED, "those with stray quotes, and some more"
    assert stray not in walked[-1]


def test_nul_bytes_are_text(tmp_path):
    found = planned(tmp_path / "x.csv", b'id,t\n1,"a\0\n"\n\0,b\n')
    assert [shape(span) for span in found.spans] == [(5, 17, 1, 2, 2)]


@pytest.mark.parametrize("block_bytes", [1, 2, 5, 64])
@pytest.mark.parametrize(
    ("data", "line", "byte", "offset"),
    [
        (b"id\n\xc3\xa9\n\xf0\x9f\x99\x82\nab\xffc\n", 4, "FF", 13),
        (b"id\n1\n\xe2\x82\n2\n", 3, "E2", 5),
        (b"id\n1\n\xe2\x82", 3, "E2", 5),
        (b"i\xe9d\n1\n", 1, "E9", 1),
        (b"id\n" + b"1\n" * 50 + b"\xed\xa0\x80\n", 52, "ED", 103),
    ],
)
def test_a_byte_that_is_no_utf8_is_named(tmp_path, data, line, byte, offset, block_bytes):
    with pytest.raises(EncodingError, match=f"x.csv: line {line} is not UTF-8: byte 0x{byte} at offset {offset}"):
        planned(tmp_path / "x.csv", data, block_bytes=block_bytes)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (b"", SourceError, "the file is empty"),
        (b"id,t\n", SourceError, "no record below it"),
        (b"id,t", SourceError, "no record below it"),
        (b"id,t\n\n\r\n\r", SourceError, "no record below it"),
        (b"\n\n", HeaderError, "only blank lines"),
        (b"\r\n\r", HeaderError, "only blank lines"),
        (machine.BOM, HeaderError, "no header record"),
        (b"a" * 20_000 + b"\n1\n", HeaderError, "the header has 20,001 bytes"),
    ],
)
def test_files_that_cannot_be_planned_say_why(tmp_path, data, error, message):
    with pytest.raises(error, match=message) as raised:
        planned(tmp_path / "x.csv", data)
    assert str(raised.value).startswith("x.csv: ")


@pytest.mark.parametrize("change", [lambda file: file.truncate(50), lambda file: file.write(b"more")])
def test_a_file_that_is_still_written_is_refused(tmp_path, monkeypatch, change):
    path = tmp_path / "x.csv"
    preadv = os.preadv

    def disturbed(descriptor, buffers, offset):
        if offset == 67:  # the second block
            with path.open("ab") as file:
                change(file)
        return preadv(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", disturbed)
    with pytest.raises(SourceChanged, match=r"x\.csv: the file was written to while it was read"):
        planned(path, b"id\n" + b"1\n" * 100)


def test_a_file_system_may_give_less_than_was_asked(tmp_path, monkeypatch):
    pread, preadv = os.pread, os.preadv
    monkeypatch.setattr(os, "pread", lambda descriptor, length, offset: pread(descriptor, min(length, 10), offset))
    monkeypatch.setattr(os, "preadv", lambda descriptor, buffers, offset: preadv(descriptor, [buffers[0][:10]], offset))
    found = planned(tmp_path / "x.csv", b"id\n" + b"1\n" * 100)
    assert found.source.rows == 100
    assert len(share_out(found.source, found.spans[0], part_bytes_max=103)) == 2


def test_the_last_line_needs_no_line_end(tmp_path):
    found = planned(tmp_path / "x.csv", b"id\n1\n2")
    assert [shape(span) for span in found.spans] == [(3, 6, 1, 2, 2)]
    assert planned(tmp_path / "x.csv", b"id\n1\n\r").source.blank_lines == 1


def test_replan_in_halves_and_by_bytes(tmp_path):
    data = b"id\n" + b"".join(b"%d\n" % number for number in range(10, 30)) + b"x" * 50 + b"\n99\n"
    found = planned(tmp_path / "x.csv", data)
    (span,) = found.spans
    halves = replan(found.source, span, rows_max=11)
    assert [shape(part) for part in halves] == [(3, 36, 1, 11, 2), (36, 117, 12, 11, 13)]
    assert [part.crc32 for part in halves] == [zlib.crc32(data[part.start : part.end]) for part in halves]
    again = share_out(found.source, halves[1], part_bytes_max=30)
    assert [part.rows for part in again] == [9, 1, 1]
    assert [part.end - part.start for part in again] == [27, 51, 3], "the record over the cap stands alone"
    assert [part.first_row for part in again] == [12, 21, 22]
    assert [part.first_line for part in again] == [13, 22, 23]


def test_a_last_record_over_the_cap_stands_alone(tmp_path):
    found = planned(tmp_path / "x.csv", b"id\n1\n\n" + b"x" * 50)
    parts = share_out(found.source, found.spans[0], part_bytes_max=20)
    assert [shape(part) for part in parts] == [(3, 6, 1, 1, 2), (6, 56, 2, 1, 4)]


def test_replan_refuses_a_file_that_changed(tmp_path):
    found = planned(tmp_path / "x.csv", b"id\n1\n2\n")
    with pytest.raises(SourceChanged, match=r"x\.csv: the file's content has changed"):
        replan(found.source, replace(found.spans[0], crc32=1), rows_max=1)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(seed=st.integers(0, 10_000), rows_max=st.integers(1, 40))
def test_parts_of_spans_hold_the_same_records(tmp_path, seed, rows_max):
    random = Random(seed)
    data = b"a,b\n" + generate.body(random, ",", 60).encode()
    try:
        found = planned(tmp_path / "x.csv", data)
    except SourceError:
        return
    for span in found.spans:
        parts = replan(found.source, span, rows_max=rows_max)
        assert b"".join(data[part.start : part.end] for part in parts) == data[span.start : span.end]
        assert all(part.rows <= rows_max for part in parts)
        rows = [
            record
            for part in parts
            for record in records.parse(
                data[part.start : part.end], ",", first_row=part.first_row, first_line=part.first_line
            )
        ]
        assert rows == list(
            records.parse(data[span.start : span.end], ",", first_row=span.first_row, first_line=span.first_line)
        )


@pytest.mark.parametrize("blocks_in_file", [20, 200])
def test_planning_takes_the_same_memory_whatever_the_size_of_the_file(tmp_path, blocks_in_file):
    path = tmp_path / "x.csv"
    row = b'1,"some text, with a comma"\n'
    path.write_bytes(b"id,t\n" + row * (blocks_in_file * blocks.BLOCK_BYTES // len(row)))
    tracemalloc.start()
    try:
        found = planned_as_it_is(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.source.rows * len(row) == path.stat().st_size - 5
    assert [span.crc32 for span in found.spans] == [zlib.crc32(read_span(found.source, span)) for span in found.spans]
    assert peak < 12_000_000


def planned_as_it_is(path):
    return plan(path, index=0, given="x.csv", format=None, part_bytes_max=9_500_000, rows_max=250_000)


BYTES_OF_CHARACTERS = [
    b"a",
    b"\n",
    "é".encode(),
    "日".encode(),
    "\ud7ff".encode(),
    "🙂".encode(),
    "\U0010ffff".encode(),
]
NO_CHARACTERS = [
    b"\x80",
    b"\xc0",
    b"\xc1",
    b"\xe0\x9f",
    b"\xed\xa0",
    b"\xf0\x8f",
    b"\xf4\x90",
    b"\xf5",
    b"\xff",
    b"\xc3",
    b"\xe2\x82",
]


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    characters=st.lists(st.sampled_from(BYTES_OF_CHARACTERS), max_size=60),
    wrong=st.sampled_from([b"", b"", *NO_CHARACTERS]),
    at=st.integers(0, 60),
    block_bytes=st.sampled_from(BLOCK_SIZES),
)
@example(characters=["日".encode()] * 60, wrong=b"", at=0, block_bytes=64)
@example(characters=["🙂".encode()] * 60, wrong=b"\xed\xa0", at=40, block_bytes=64)
def test_a_file_is_utf8_if_python_can_decode_it(tmp_path, characters, wrong, at, block_bytes):
    data = b"id,t\n" + b"".join([*characters[:at], wrong, *characters[at:]]) + b"\n1\n"
    try:
        data.decode()
    except UnicodeDecodeError as error:
        offset = f"line {data.count(10, 0, error.start) + 1} is not .* at offset {error.start}\\."
        with pytest.raises(EncodingError, match=offset):
            planned(tmp_path / "x.csv", data, block_bytes=block_bytes)
    else:
        planned(tmp_path / "x.csv", data, block_bytes=block_bytes)
