"""Any chunk, any rows of it failed or warned of, any order, any cut: attribution against what is known to be true."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.model import Format

EXAMPLES = int(os.environ.get("REPORT_EXAMPLES", "150"))

CELLS = st.sampled_from(["", "", "a", "b", "A", " a", "x,y", "two\nlines", 'say "hi"', ";", "\t", "é", "0"])
KEYS = st.sampled_from(["", "k1", "k2", "K1", "k3", " k1", "k,4"])


@dataclass(frozen=True)
class Case:
    format: Format
    columns: tuple[str, ...]
    rows: list[list[str]]
    failed: list[int]  # indexes into rows
    warned: list[int]
    end: str
    bom: bool
    last_end: bool
    cut: bool
    by_row: bool  # rows are cut one by one, the header is whole


@st.composite
def cases(draw):
    width = draw(st.integers(1, 4))
    columns = draw(st.permutations(["email", "name", "phone", "Import Failure Reason"][:width]))
    key = columns.index("email")
    rows = draw(st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1, max_size=12))
    for row in rows:
        row[key] = draw(KEYS)
    order = draw(st.permutations(range(len(rows))))
    failed = draw(st.integers(0, len(rows)))
    warned = draw(st.integers(0, len(rows) - failed))
    return Case(
        format=draw(st.sampled_from(list(Format))),
        columns=tuple(columns),
        rows=rows,
        failed=list(order[:failed]),
        warned=list(order[failed : failed + warned]),
        end=draw(st.sampled_from(["\n", "\r\n"])),
        bom=draw(st.booleans()),
        last_end=draw(st.booleans()),
        cut=draw(st.booleans()),
        by_row=draw(st.booleans()),
    )


def result_file(case: Case, listed: list[int], reason_column: str, delimited) -> bytes | None:
    """Write what Marketo returns: the listed rows, perhaps without the columns that are empty at their end."""
    if not listed:
        return None
    width = len(case.columns)
    filled = [max((at + 1 for at, cell in enumerate(case.rows[row]) if cell), default=0) for row in listed]
    widths = [width] * len(listed)
    header = list(case.columns)
    if case.cut and case.by_row:
        widths = filled
    elif case.cut:
        widths = [max(filled)] * len(listed)
        header = header[: max(filled)]
    table = [[*header, reason_column]]
    table += [[*case.rows[row][:kept], f"reason {row}"] for row, kept in zip(listed, widths, strict=True)]
    content = delimited(table, delimiter=case.format.delimiter, end=case.end)
    if not case.last_end and not case.by_row:
        content = content.removesuffix(case.end.encode())
    return (b"\xef\xbb\xbf" if case.bom else b"") + content


@settings(max_examples=EXAMPLES, deadline=None)
@given(cases())
def test_every_row_that_marketo_lists_truly_is_found(batch_of, delimited, case):
    with tempfile.TemporaryDirectory() as directory:
        batch = batch_of(Path(directory), case.columns, case.rows, format=case.format)
        result = batch.attribute(
            result_file(case, case.failed, "Import Failure Reason", delimited),
            result_file(case, case.warned, "Import Warning Reason", delimited),
            failed=len(case.failed),
            warned=len(case.warned),
        )
        found = {"failed": batch.failed_rows(), "warned": batch.warned_rows()}
        placeless = batch.failed_rows(matched=False) + batch.warned_rows(matched=False)

    assert placeless == []
    assert result.findings == ()
    assert (result.failed_matched, result.failed_unmatched) == (len(case.failed), 0)
    assert (result.warned_matched, result.warned_unmatched) == (len(case.warned), 0)
    for rows, truth in ((found["failed"], case.failed), (found["warned"], case.warned)):
        assert [row.row for row in rows] == sorted(row.row for row in rows)
        assert Counter(row.cells for row in rows) == Counter(tuple(case.rows[at]) for at in truth)
        for row in rows:
            assert list(row.cells) == case.rows[row.row - 1]
            # The reason is one that an identical row was listed with.
            assert case.rows[int(row.reason.removeprefix("reason "))] == case.rows[row.row - 1]
    taken = [row.row for rows in found.values() for row in rows]
    assert len(taken) == len(set(taken))
    assert sum(reason.rows for reason in result.reasons) == len(taken)
    for kind, listed in (("failed", case.failed), ("warned", case.warned)):
        earliest(case, [row.row for row in found[kind]], listed, found["failed"] if kind == "warned" else [])


def earliest(case: Case, taken: list[int], listed: list[int], before) -> None:
    """Assert that among identical rows those taken are the first ones that failures left free."""
    for content, count in Counter(tuple(case.rows[at]) for at in listed).items():
        places = [number for number, row in enumerate(case.rows, 1) if tuple(row) == content]
        free = [place for place in places if place not in {row.row for row in before}]
        assert [row for row in taken if tuple(case.rows[row - 1]) == content] == free[:count]


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    rows=st.lists(st.tuples(KEYS, CELLS, CELLS), min_size=1, max_size=8),
    listed=st.lists(st.lists(KEYS | CELLS, max_size=5), max_size=8),
    warned=st.lists(st.lists(KEYS | CELLS, max_size=5), max_size=8),
    header=st.lists(
        st.sampled_from(["email", "name", "phone", "Import Failure Reason", "zip", " EMAIL", ""]), max_size=5
    ),
    expected=st.integers(0, 10),
    noise=st.binary(max_size=20),
)
def test_whatever_the_files_say_no_row_is_taken_twice_and_none_is_lost(
    batch_of, delimited, rows, listed, warned, header, expected, noise
):
    with tempfile.TemporaryDirectory() as directory:
        batch = batch_of(Path(directory), ("email", "name", "phone"), [list(row) for row in rows])
        result = batch.attribute(
            delimited([header, *listed]) + noise, delimited([header, *warned]), failed=expected, warned=expected
        )
        for found, lost in (
            (batch.failed_rows(), batch.failed_rows(matched=False)),
            (batch.warned_rows(), batch.warned_rows(matched=False)),
        ):
            numbers = [row.row for row in found]
            assert numbers == sorted(set(numbers))
            assert all(row.cells == rows[row.row - 1] for row in found)
            assert len(found) + len(lost) >= expected
    assert result.failed_matched + result.failed_unmatched == expected
    assert result.warned_matched + result.warned_unmatched == expected
    assert min(result.failed_matched, result.failed_unmatched, result.warned_unmatched, result.warned_matched) >= 0
