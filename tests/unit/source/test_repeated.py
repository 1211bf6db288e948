"""Repeated keys: only the last row of each is sent, no other row is lost, and memory does not grow."""

from __future__ import annotations

import csv
import io
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import SourceError
from orchestrator.mapping import parse
from orchestrator.model import Format, MappingFile, RepeatedKeys
from orchestrator.records import Record, write_record
from orchestrator.records import parse as records_of
from orchestrator.source import fingerprints
from orchestrator.source.changed import plan_sources, settle_repeated
from orchestrator.source.fingerprints import RepeatedRows
from orchestrator.source.opened import Located, Reading
from orchestrator.source.opening import read_span
from orchestrator.source.places import restore
from orchestrator.source.repeated import digest_of
from orchestrator.source.spool import LISTING_FILE, Stopped, Workspace

CAPS = {"part_bytes_max": 1_000_000, "rows_max": 3}


def settled(directory: Path, *contents: str, text: str | None = None, keys=("email",), mode=RepeatedKeys.LAST):
    paths = [directory / f"{number}.csv" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content.encode())
    reading = Reading(workspace=Workspace(directory / "job" / "spool"), format=Format.CSV, allow_empty=True, **CAPS)
    mapping = None if text is None else parse(MappingFile(name="map.toml", text=text))
    plans, _ = plan_sources([Located(given=path.name, absolute=str(path)) for path in paths], mapping, reading)
    return settle_repeated(plans, keys, mode, reading)


def sent(plan) -> str:
    return (plan.source.header + b"".join(read_span(plan.source, span) for span in plan.spans)).decode()


def listed(directory: Path) -> list[list[str]]:
    with (directory / "job" / LISTING_FILE).open(newline="") as file:
        return list(csv.reader(file))


HEADER = ["source_file", "source_row", "source_line", "replaced_by_file", "replaced_by_row"]


def test_the_last_row_of_a_key_is_sent_over_all_files(tmp_path):
    one, two = settled(
        tmp_path,
        'email,n\na@x,1\n\nb@x,"2\n2"\nA@X ,3\n,4\n,5\nc@x,6',
        "n,email\n7,b@x\n8,d@x\n9,d@x\n",
    )
    assert sent(one) == "email,n\nA@X ,3\n,4\n,5\nc@x,6"
    assert sent(two) == "n,email\n7,b@x\n9,d@x\n"
    assert (one.source.rows, one.source.superseded, two.source.rows, two.source.superseded) == (6, 2, 3, 1)
    assert listed(tmp_path) == [
        HEADER,
        ["0.csv", "1", "2", "0.csv", "3"],
        ["0.csv", "2", "4", "1.csv", "1"],
        ["1.csv", "2", "3", "1.csv", "3"],
    ]
    found, whole = restore(one.source, [Record(1, 0, ()), Record(4, 0, ())])
    assert whole
    assert list(found) == [Record(3, 6, ("A@X ", "3")), Record(6, 9, ("c@x", "6"))]


def test_files_without_repeated_keys_are_sent_as_they_are(tmp_path):
    one, two = settled(tmp_path, "email\na@x\n", "email\nb@x\nb@x\n")
    assert one.source.content == one.source.absolute
    assert two.source.content != two.source.absolute
    assert listed(tmp_path) == [HEADER, ["1.csv", "1", "2", "1.csv", "2"]]
    assert sorted(path.name for path in (tmp_path / "job").rglob("*") if path.is_file()) == [
        "1.last", "1.last", LISTING_FILE,
    ]  # fmt: skip


def test_keys_are_those_that_the_mapping_makes(tmp_path):
    (plan,) = settled(
        tmp_path,
        "Mail,Day\na@x,1.1.2020\nb@x,2.2.2020\n\nA@x,3.3.2020\n",
        text='[columns.Mail]\nto = "email"\n[columns.Day]\nto = "day"\ndate = "%d.%m.%Y"',
    )
    assert sent(plan) == "email,day\nb@x,2020-02-02\nA@x,2020-03-03\n"
    assert listed(tmp_path)[1:] == [["0.csv", "1", "2", "0.csv", "3"]]
    assert restore(plan.source, [Record(2, 0, ())]) == ([Record(3, 5, ("A@x", "3.3.2020"))], True)
    assert sorted(path.name for path in (tmp_path / "job" / "spool").iterdir()) == ["0.last"]


@pytest.mark.parametrize(
    ("keys", "rows", "kept"),
    [
        (("email",), ["É@x", "é@x"], 2),  # only letters of ASCII are certainly the same in both cases
        (("email",), ["\u00a0a@x", "a@x"], 2),
        (("email",), ["\ta@x", "a@x "], 1),
        (("email",), ["", ""], 2),
        (("email",), ["NULL", "null"], 2),
        (("vin",), ["W1", "w1"], 2),  # nobody knows how Marketo compares other keys
        (("vin",), ["W1", "W1 "], 2),
        (("vin",), ["007", "7"], 2),
        (("vin",), ["W1", "W1"], 1),
        (("a", "b"), ["1,23", "12,3"], 2),
        (("a", "b"), ["1,2", "1,2"], 1),
        (("a", "b"), ["1,", "1,"], 2),  # half a key is none
        (("a", "b"), ["1", "1"], 2),
        (("other",), ["a@x", "a@x"], 2),  # the file does not have the key
        ((), ["a@x", "a@x"], 2),
    ],
)
def test_a_row_is_left_out_only_if_the_keys_are_certainly_the_same(tmp_path, keys, rows, kept):
    header = "email" if keys in ((), ("other",)) else ",".join(keys)
    body = "\n".join(row or '""' for row in rows)
    (plan,) = settled(tmp_path, f"{header}\n{body}\n", keys=keys)
    assert sum(span.rows for span in plan.spans) == kept
    assert plan.source.superseded == len(rows) - kept


def test_no_two_different_keys_are_taken_for_one():
    digests = {digest_of((f"p{number}@x",), (0,), (str,)) for number in range(100_000)}
    assert len(digests) == 100_000
    assert {len(digest or b"") * 8 for digest in digests} == {128}  # with fewer bits, many keys would meet by chance


keyed = st.lists(
    st.lists(
        st.tuples(
            st.sampled_from(["", "NULL", "a@x", "A@X", " a@x", "b@x", "b\n@x", "é@x", "É@x"]),
            st.text('x\n"é,', max_size=3),
        ),
        max_size=14,
    ),
    min_size=1,
    max_size=3,
)


@settings(deadline=None, max_examples=60)  # it writes files, which may take a while
@given(sources=keyed, rows_max=st.integers(1, 6), piece_rows=st.integers(1, 5))
def test_last_is_what_a_dictionary_says(sources, rows_max, piece_rows):
    last = {}
    for at, rows in enumerate(sources):
        for number, (mail, _) in enumerate(rows, 1):
            last[mail.strip().translate({65: 97, 88: 120}) or None] = (at, number)
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(fingerprints, "PIECE_ROWS", piece_rows)
        contents = [
            "email,n\n" + "".join(write_record(row) + "\n" * (number % 4 == 2) for number, row in enumerate(rows))
            for rows in sources
        ]
        plans = settled(Path(name), *contents)
        expected_list = []
        for at, (plan, rows, content) in enumerate(zip(plans, sources, contents, strict=True)):
            originals = list(records_of(content.encode(), ","))[1:]
            expected = []
            for number, ((mail, _), record) in enumerate(zip(rows, originals, strict=True), 1):
                key = mail.strip().translate({65: 97, 88: 120})
                if key in ("", "NULL") or last[key] == (at, number):
                    expected.append(record)
                else:
                    by = last[key]
                    expected_list.append([f"{at}.csv", str(number), str(record.line), f"{by[0]}.csv", str(by[1])])
            read = list(csv.reader(io.StringIO(sent(plan), newline="")))[1:]
            assert [tuple(row) for row in read if row] == [record.cells for record in expected]
            rows_sent = [Record(row, 0, record.cells) for row, record in enumerate(expected, 1)]
            if plan.source.superseded:
                found, _ = restore(plan.source, rows_sent)
                assert [(one.line, one.cells) for one in found] == [(one.line, one.cells) for one in expected]
            assert plan.source.rows - plan.source.superseded == len(expected) == sum(span.rows for span in plan.spans)
        assert listed(Path(name))[1:] == expected_list


def test_repeated_keys_may_be_refused(tmp_path):
    with pytest.raises(SourceError) as raised:
        settled(tmp_path, "email\na@x\n\nb@x\na@x\n", "email\nb@x\n", mode=RepeatedKeys.FAIL)
    assert str(raised.value) == (
        "rows whose key stands in a later row, too: 2; nothing was sent. The first ones: line 2 of 0.csv (again in row 3 "
        "of 0.csv); line 4 of 0.csv (again in row 1 of 1.csv). Remove them, or send only the last row of each key: "
        "--on-repeated-key last"
    )
    (plan,) = settled(tmp_path, "email\na@x\nb@x\n", mode=RepeatedKeys.FAIL)
    assert plan.source.content == plan.source.absolute
    assert [path for path in (tmp_path / "job").rglob("*") if path.is_file()] == []


def test_the_search_ends_when_nobody_waits_for_it(tmp_path):
    path = tmp_path / "leads.csv"
    path.write_text("email\na@x\n")
    reading = Reading(workspace=Workspace(tmp_path / "job" / "spool"), format=Format.CSV, allow_empty=True, **CAPS)
    plans, _ = plan_sources([Located.at(path)], None, reading)
    reading.workspace.stop()
    with pytest.raises(Stopped):
        settle_repeated(plans, ("email",), RepeatedKeys.LAST, reading)


# --- memory ------------------------------------------------------------------------------------------------

MEMORY_BYTES_MAX = 64 << 20
ROWS = 3_000_000
ROWS_AT_A_TIME = 100_000


@pytest.mark.parametrize("distinct", [ROWS, 1_000_000, 1], ids=["all differ", "each three times", "all the same"])
def test_millions_of_keys_take_little_memory(tmp_path, distinct):
    tracemalloc.start()
    try:
        rows = RepeatedRows(tmp_path, rows=ROWS)
        for start in range(0, ROWS, ROWS_AT_A_TIME):
            numbers = np.arange(start, start + ROWS_AT_A_TIME)
            rows.add(mixed(numbers % distinct).tobytes(), numbers)
        count = rows.settle()
        kept = replaced = 0
        for start in range(0, ROWS, ROWS_AT_A_TIME):
            pairs = rows.replaced(start, ROWS_AT_A_TIME)
            replaced += len(pairs)
            kept += ROWS_AT_A_TIME - len(pairs)
            assert (pairs[:, 1] == ROWS - distinct + pairs[:, 0] % distinct).all()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (count, replaced, kept) == (ROWS - distinct, ROWS - distinct, distinct)
    assert peak < MEMORY_BYTES_MAX


def mixed(numbers: np.ndarray) -> np.ndarray:
    """Return 16 bytes for each number that look like a fingerprint: different for different ones."""
    upper = (numbers.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    return np.stack((upper, upper ^ (upper >> np.uint64(29))), axis=1).astype(">u8")
