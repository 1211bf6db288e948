"""A span is cut into its first rows and the others, so that the first may be sent alone."""

from __future__ import annotations

import zlib

from hypothesis import given
from hypothesis import strategies as st

from orchestrator import canary
from orchestrator.canary import with_canary
from orchestrator.records import parse
from orchestrator.source.opening import read_span
from orchestrator.source.split import behead, plan

BYTES_MAX = 10_000


def planned(path, text, *, index=0):
    path.write_text(text, encoding="utf-8", newline="")
    return plan(path, index=index, given=path.name, format=None, part_bytes_max=BYTES_MAX, rows_max=1_000)


@given(rows=st.integers(1, 30), head=st.integers(1, 35), blank=st.sampled_from(["", "\n", "\n\n"]))
def test_head_and_tail_are_the_whole(tmp_path_factory, rows, head, blank):
    text = "email,note\n" + "".join(f'p{number}@example.com,"a\nb"\n{blank}' for number in range(rows))
    whole = planned(tmp_path_factory.mktemp("behead") / "a.csv", text)
    (span,) = whole.spans
    parts = behead(whole.source, span, rows=head)
    assert [part.rows for part in parts] == ([head, rows - head] if head < rows else [rows])
    records = []
    for part in parts:
        data = read_span(whole.source, part)  # checks the CRC-32
        assert zlib.crc32(data) == part.crc32
        records += parse(data, ",", first_row=part.first_row, first_line=part.first_line)
    data = read_span(whole.source, span)
    assert records == list(parse(data, ",", first_row=span.first_row, first_line=span.first_line))


def test_a_canary_takes_the_same_share_of_every_source(tmp_path):
    plans = [
        planned(tmp_path / f"{letter}.csv", "email\n" + "".join(f"{letter}{n}@x.org\n" for n in range(10)), index=index)
        for index, letter in enumerate("abc")
    ]
    spans, canaries = with_canary(plans, rows=7, key_columns=("email",))
    assert [(span.source, span.first_row, span.rows) for span in spans] == [
        (0, 1, 3), (0, 4, 7), (1, 1, 3), (1, 4, 7), (2, 1, 3), (2, 4, 7),
    ]  # fmt: skip
    assert canaries == (0, 2, 4)


def test_rows_whose_key_stands_in_an_earlier_source_are_not_sent_before_it(tmp_path):
    first = planned(tmp_path / "a.csv", "email\n" + "".join(f"a{n}@x.org\n" for n in range(10)))
    later = planned(tmp_path / "b.csv", "email\nb0@x.org\nA9@X.org\nb2@x.org\n", index=1)
    spans, canaries = with_canary([first, later], rows=4, key_columns=("email",))
    assert canaries == (0,)
    assert [(span.source, span.rows) for span in spans] == [(0, 2), (0, 8), (1, 3)]


def test_however_many_sources_there_are_each_is_read_once(tmp_path, monkeypatch):
    read = []
    claims_of = canary.claims_of

    def counted(source, span, *others):
        read.append(source.index)
        return claims_of(source, span, *others)

    plans = [planned(tmp_path / f"{n}.csv", f"email\na{n}@x.org\nb{n}@x.org\n", index=n) for n in range(9)]
    monkeypatch.setattr(canary, "claims_of", counted)
    with_canary(plans, rows=9, key_columns=("email",))
    assert read == [*range(9), *range(8)]  # the heads, then what stands before another


def test_an_empty_source_takes_no_share(tmp_path):
    empty = tmp_path / "empty.csv"
    empty.touch()
    nothing = plan(
        empty, index=0, given="empty.csv", format=None, part_bytes_max=BYTES_MAX, rows_max=9, allow_empty=True
    )
    assert (nothing.source.rows, nothing.spans) == (0, ())
    full = planned(tmp_path / "b.csv", "email\nb0@x.org\nb1@x.org\nb2@x.org\n", index=1)
    spans, canaries = with_canary([nothing, full], rows=2, key_columns=("email",))
    assert [(span.source, span.rows) for span in spans] == [(1, 2), (1, 1)]
    assert canaries == (0,)
