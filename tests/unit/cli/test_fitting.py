"""Words and tables that fit into a terminal."""

from __future__ import annotations

import re

import pytest

from orchestrator.cli.batches import batch_lines, chunk_names
from orchestrator.cli.fitting import fitted, wrapped
from orchestrator.model import BatchId, BatchStatus, Chunk, ChunkId, Phase
from tests.contract.journal_kit import NOW_MS, halves, make_job, make_spans

LONG = "Look for some of them in Marketo: they are held until you decide whether they are to be sent again, or never."


def test_prose_is_broken_at_words_and_hangs_under_its_beginning():
    for label, indent in (("  finding   ", 12), ("  - ", 4), ("Error: ", 0), ("  R1  failure  ", 6)):
        first, *others = wrapped(label + LONG, 60).split("\n")
        assert others
        assert all(len(line) <= 60 and line.startswith(" " * indent) for line in others)
        assert " ".join([first, *(line.strip() for line in others)]) == label + LONG


@pytest.mark.parametrize(
    "line",
    [
        f"Next: orchestrator import {'x' * 90} --out report",
        "      orchestrator resume 20260301-091000-abcd --on-unknown resubmit --config /home/somebody/orchestrator.toml",
        f"Report: /home/{'y' * 90}/report.html",
        "short",
    ],
)
def test_what_is_copied_is_not_broken(line):
    assert wrapped(line, 60) == line


def test_commands_and_addresses_within_prose_stay_whole():
    command, address = (
        "orchestrator resume 20260301-091000-abcd --on-unknown resubmit",
        f"https://{'a' * 70}.example.com",
    )
    lines = wrapped(f"{LONG} If so: {command}, or see {address} for what else may be done.", 60).split("\n")
    assert any(command in line for line in lines)
    assert any(address in line for line in lines)


@pytest.mark.parametrize(
    "command",
    [
        "orchestrator resume --take-over --config /etc/marketo/orchestrator.toml --subscription prod",
        "orchestrator report 20260301-091000-abcd --config '/home/me/my files/orchestrator.toml'",
        "orchestrator resume 20260301-091000-abcd --set 'state.dir=/a b/c' --on-unknown resubmit",
        "--set state.dir=DIR",
        "pip install '.[postgres]'",
    ],
)
def test_a_command_stays_whole_wherever_it_stands(command):
    for before in range(80):
        lines = wrapped(f"{'x ' * before}{command} takes its place, or says more about what is there", 80).split("\n")
        assert any(command in line for line in lines), before


def test_where_nobody_looks_nothing_is_broken():
    assert wrapped(LONG, None) == LONG


def test_columns_that_do_not_fit_are_left_out_in_turn():
    lines = [("JOB", "HOST", "NAME"), ("j" * 10, "h" * 20, "n" * 5)]
    assert fitted(lines, None, spare=("HOST", "JOB"))[0].split() == ["JOB", "HOST", "NAME"]
    assert fitted(lines, 39, spare=("HOST", "JOB"))[0].split() == ["JOB", "HOST", "NAME"]
    assert fitted(lines, 38, spare=("HOST", "JOB"))[0].split() == ["JOB", "NAME"]
    assert fitted(lines, 3, spare=("HOST", "JOB"))[0].split() == ["NAME"]


def chunks() -> list[Chunk]:
    """Return three chunks of a job that is not the first one; the second is split."""
    job, spans = make_job().id, make_spans(count=3)
    whole = [Chunk(id=ChunkId(110 + at), job=job, span=span, phase=Phase.DONE) for at, span in enumerate(spans)]
    parts = [
        Chunk(id=ChunkId(120 + at), job=job, span=span, phase=Phase.DONE, parent=whole[1].id, depth=1)
        for at, span in enumerate(halves(spans[1]))
    ]
    made = []
    for at, chunk in enumerate((*whole, *parts)):
        values = {name: getattr(chunk, name) for name in Chunk.__dataclass_fields__}
        done = {"batch_id": BatchId(1_000_001 + at), "status": BatchStatus.COMPLETE, "accepted": 120_000}
        times = {"submitted_ms": NOW_MS, "completed_ms": NOW_MS + 754_000, "deadline_ms": None}
        made.append(Chunk(**{**values, **done, **{key: value for key, value in times.items() if key in values}}))
    return made


def test_chunks_are_numbered_within_their_job_and_parts_within_their_chunk():
    assert list(chunk_names(chunks()[::-1]).items()) == [(110, "1"), (111, "2"), (112, "3"), (120, "2.1"), (121, "2.2")]


def test_batches_stand_in_the_order_of_their_rows_in_a_table_that_fits():
    title, *lines = batch_lines(chunks(), now_ms=NOW_MS, width=80)[1:]
    assert title == "batches:"
    assert all(len(line) <= 80 for line in lines)
    assert re.search(r"SUBMITTED \(\w+\)", lines[0])
    assert [line.split()[0] for line in lines[1:]] == ["1000001", "1000002", "1000004", "1000005", "1000003"]
    wide = batch_lines(chunks(), now_ms=NOW_MS, width=None)[2:]
    assert [line.split()[1] for line in wide[1:]] == ["1", "2", "2.1", "2.2", "3"]
    assert "WARNED" in wide[0]
