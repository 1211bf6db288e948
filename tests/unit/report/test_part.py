from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import JournalError, OrchestratorError
from orchestrator.model import BatchId
from orchestrator.report import part as part_module
from orchestrator.report.files import replacing
from orchestrator.report.part import (
    NO_REASON,
    OTHER_REASONS,
    PartHead,
    PartRow,
    Reason,
    RowKind,
    count_reasons,
    merge_reasons,
    read_head,
    read_reasons,
    read_rows,
    write_part,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
ROWS = st.lists(
    st.builds(
        PartRow,
        st.sampled_from(RowKind),
        st.none() | st.integers(1, 10**9),
        st.integers(2, 10**9),
        st.lists(TEXT, max_size=4).map(tuple),
        TEXT,
    ),
    max_size=10,
)


def head(**values):
    return PartHead(**{"source": 0, "batch_id": BatchId(7), "columns": ("email",), "reasons": ()} | values)


@given(rows=ROWS, columns=st.lists(TEXT, max_size=3).map(tuple))
def test_any_rows_come_back_as_they_were(tmp_path_factory, rows, columns):
    path = tmp_path_factory.mktemp("part") / "part"
    written = head(columns=columns, reasons=count_reasons(rows))
    write_part(path, written, rows)
    assert read_head(path) == written
    for kind in RowKind:
        for matched in (True, False):
            expected = [row for row in rows if row.kind is kind and (row.row is not None) is matched]
            assert list(read_rows(path, kind, matched=matched)) == expected


def test_reasons_add_up_over_parts_the_most_frequent_first(tmp_path):
    parts = []
    for number, texts in enumerate((["x", "y", "y"], ["z", "x", "x", ""])):
        rows = [PartRow(RowKind.FAILURE, 10 * number + at, 1, (), text) for at, text in enumerate(texts, 1)]
        parts.append(tmp_path / str(number))
        write_part(parts[-1], head(reasons=count_reasons(rows)), rows)
    assert [(reason.text, reason.rows, reason.example_row) for reason in read_reasons(parts)] == [
        ("x", 3, 1),
        ("y", 2, 2),
        ("z", 1, 11),
        (NO_REASON, 1, 14),
    ]


def test_a_reason_is_shown_by_its_first_row_that_has_a_place():
    reasons = [Reason(kind=RowKind.WARNING, text="x", rows=1, example_row=row) for row in (None, 5, 4)]
    assert merge_reasons(reasons) == (Reason(kind=RowKind.WARNING, text="x", rows=3, example_row=5),)


def test_reasons_without_number_lose_no_row(monkeypatch):
    monkeypatch.setattr(part_module, "REASONS_MAX", 2)
    rows = [PartRow(RowKind.FAILURE, at, at, (), f"{at} is no number" + "!" * 1000) for at in range(1, 10)]
    reasons = count_reasons(rows)
    assert [(reason.text[:5], reason.rows) for reason in reasons] == [
        (OTHER_REASONS[:5], 7),
        ("1 is ", 1),
        ("2 is ", 1),
    ]
    assert max(len(reason.text) for reason in reasons) == part_module.REASON_CHARS_MAX


@pytest.mark.parametrize(
    "content",
    [b"", b"{}\n", b"[]\n", b"{\n", b'{"schema": "other/1"}\n', b"\xff\n", b'{"schema": "orchestrator.part/1"}\n'],
)
def test_a_file_that_is_no_part_is_named(tmp_path, content):
    path = tmp_path / "part"
    path.write_bytes(content)
    with pytest.raises(JournalError, match="/part, which keeps the failed and warned rows"):
        read_head(path)


@pytest.mark.parametrize("line", [b'["failure",1,', b'["failure",1,2]', b'["failure",1,2,3,4,5]'])
def test_a_damaged_row_is_no_row(tmp_path, line):
    path = tmp_path / "part"
    write_part(path, head(), [])
    path.write_bytes(path.read_bytes() + line + b"\n")
    with pytest.raises(JournalError, match="is damaged"):
        list(read_rows(path, RowKind.FAILURE, matched=True))


def test_a_part_that_is_gone_is_named(tmp_path):
    with pytest.raises(JournalError, match="No such file"):
        read_head(tmp_path / "gone")


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "file"
    with replacing(path) as file:
        file.write(b"old")
        assert not path.exists()
    with pytest.raises(TypeError), replacing(path) as file:
        file.write("text is no bytes")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "out").write_text("a file, no directory")
    with pytest.raises(OrchestratorError, match=r"Cannot write .*/out/file: "), replacing(tmp_path / "out" / "file"):
        pass
