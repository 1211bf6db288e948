"""Records shared out into equal parts: as few as fit, each about as large as the others, every row once and in order."""

from __future__ import annotations

import zlib
from itertools import pairwise
from random import Random

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator import records
from orchestrator.errors import SourceError
from orchestrator.source.shares import record_ends, shares
from orchestrator.source.split import plan, share_out
from tests.unit.source import generate

SIZES = st.lists(st.one_of(st.integers(1, 10), st.integers(1, 300)), min_size=1, max_size=200)


def fewest(sizes: list[int], bytes_max: int) -> int:
    """Return into how few parts records fit, each above the limit by itself: by filling one after the other."""
    parts, room = 0, 0
    for size in sizes:
        if size > bytes_max:
            parts, room = parts + 1, 0
        elif size > room:
            parts, room = parts + 1, bytes_max - size
        else:
            room -= size
    return parts


@given(sizes=SIZES, bytes_max=st.integers(1, 600))
@settings(max_examples=500, deadline=None)
def test_parts_are_as_few_as_may_be_and_none_is_above_the_limit(sizes, bytes_max):
    ends = np.cumsum(sizes).astype(np.int64)
    cuts = shares(ends, bytes_max)
    assert cuts[-1] == ends[-1]
    assert set(cuts) <= set(ends.tolist()), "cut between records alone"
    parts = [end - start for start, end in pairwise([0, *cuts])]
    assert min(parts) > 0
    assert len(parts) == fewest(sizes, bytes_max)
    assert all(part <= bytes_max or part in sizes for part in parts)


@given(sizes=SIZES, count=st.integers(1, 12))
@settings(max_examples=500, deadline=None)
def test_parts_are_within_a_record_of_an_equal_share(sizes, count):
    total, largest = sum(sizes), max(sizes)
    bytes_max = -(-total // count) + largest  # so much room that no part need be smaller for another's sake
    cuts = shares(np.cumsum(sizes).astype(np.int64), bytes_max)
    parts = [end - start for start, end in pairwise([0, *cuts])]
    assert all(abs(part - total / len(parts)) <= largest for part in parts)


def test_no_part_is_a_sliver():
    ends = np.arange(100, 2_000_100, 100, dtype=np.int64)
    assert shares(ends, 1_950_000) == [1_000_000, 2_000_000]
    assert shares(ends, 1_000_000) == [1_000_000, 2_000_000]
    assert shares(ends, 999_999) == [666_700, 1_333_300, 2_000_000]
    assert shares(ends, 2_000_000) == [2_000_000]


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(seed=st.integers(0, 10_000), cap=st.integers(5, 400))
def test_the_parts_of_a_span_hold_its_rows_once_and_in_order(tmp_path, seed, cap):
    data = b"a,b\n" + generate.body(Random(seed), ",", 60).encode()
    (tmp_path / "x.csv").write_bytes(data)
    try:
        found = plan(tmp_path / "x.csv", index=0, given="x.csv", format=None, part_bytes_max=10_000, rows_max=100)
    except SourceError:
        return
    for span in found.spans:
        parts = share_out(found.source, span, part_bytes_max=cap)
        assert [part.crc32 for part in parts] == [zlib.crc32(data[part.start : part.end]) for part in parts]
        assert all(part.rows == 1 or part.end - part.start + 4 <= cap for part in parts)
        rows = [row for part in parts for row in _rows(data, part)]
        assert rows == _rows(data, span)


def _rows(data, span):
    return list(records.parse(data[span.start : span.end], ",", first_row=span.first_row, first_line=span.first_line))


def test_records_end_where_they_end_however_large_they_are():
    long = b'"' + b"x\n" * 700_000 + b'"\n'
    data = b"1,2\n" + long + b"\n3,4\n5,6"
    ends = [4, 4 + len(long), 5 + len(long), 9 + len(long), len(data)]
    assert record_ends(data, ord(",")).tolist() == ends
