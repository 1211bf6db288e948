"""How fast the keys of a chunk become claims, against the same read record by record and hashed one by one.

All runs in this process, and what counts is the time of the processor: claims are computed beside other work.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from random import Random
from time import process_time
from typing import Final

from bench import contenders, files
from bench.files import Kind, Made
from bench.results import Row, Run
from orchestrator import records
from orchestrator.source.keys import claims
from orchestrator.source.normal import normalise

CHUNK_BYTES: Final = 9_500_000  # as large as an upload may be by default
CHUNK_ROWS: Final = 250_000
SALT: Final = b"0123456789abcdef"
OURS: Final = "vectorised"
ONE_BY_ONE: Final = "x record by record"
CSV: Final = "x csv.reader"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Rows of which the first cell is the key, and how many times as fast as one by one they must be."""

    kind: Kind
    demanded: float


def _short(random: Random) -> Iterator[str]:
    while True:
        yield f"person{random.randrange(10**7)}@example.com,{random.randrange(101)}\n"


def _ids(random: Random) -> Iterator[str]:
    while True:
        yield f"{random.randrange(10**7):010},{random.randrange(101)}\n"


def _accents(random: Random) -> Iterator[str]:
    while True:
        yield f"zoë.müller{random.randrange(10**7)}@example.com,{random.randrange(101)}\n"


CASES: Final = (
    Case(kind=Kind(name="short rows", header="email,leadScore", rows=_short), demanded=5),
    Case(kind=files.ASCII, demanded=5),
    Case(kind=files.SOME_QUOTED, demanded=3),
    Case(kind=files.FEW_STRAY, demanded=3),
    Case(kind=Kind(name="numbers with zeros in front", header="id,leadScore", rows=_ids), demanded=5),
    Case(kind=Kind(name="accents in every key", header="email,leadScore", rows=_accents), demanded=1),
)


def measure(run: Run) -> list[Row]:
    """Read a full chunk of every kind, in one interleaved run with what it is compared to."""
    return [row for case in CASES for row in _rows(run, case)]


def _rows(run: Run, case: Case) -> Iterator[Row]:
    made = _chunk(case.kind, run.directory / "chunk.csv", rows_max=CHUNK_ROWS // 50 if run.trial else CHUNK_ROWS)
    what = f"{case.kind.name}, {made.rows:,} rows"
    run.say(f"claims: {what} ...")
    runners = {OURS: vectorised, ONE_BY_ONE: one_by_one, CSV: csv_reader}
    seconds = contenders.interleaved(runners, made, 2 if run.trial else 5)
    ours = seconds[OURS]
    yield Row(what=what, figure="processor's time", values=tuple(1000 * each for each in ours), unit="ms")
    yield Row(
        what=what,
        figure=ONE_BY_ONE,
        values=contenders.ratios(seconds[ONE_BY_ONE], ours),
        at_least=None if run.trial else case.demanded,
    )
    yield Row(what=what, figure=CSV, values=contenders.ratios(seconds[CSV], ours))


def _chunk(kind: Kind, path: Path, *, rows_max: int) -> Made:
    """Write a header, and rows that fit a chunk."""
    lines = [f"{kind.header}\n".encode()]
    size = 0
    for row in kind.rows(Random(kind.name)):
        lines.append(row.encode())
        size += len(lines[-1])
        if size >= CHUNK_BYTES or len(lines) > rows_max:
            break
    path.write_bytes(b"".join(lines))
    return Made(path=path, rows=len(lines) - 1, bytes=path.stat().st_size)


def vectorised(made: Made) -> float:
    """Compute claims as imports do."""
    content = _content(made)
    begun = process_time()
    found = claims(content, ",", (0,), SALT)
    seconds = process_time() - begun
    assert 0 < len(found) <= made.rows
    return seconds


def one_by_one(made: Made) -> float:
    """Read each record, normalise its key and hash it, as one would write it first."""
    content = _content(made)
    begun = process_time()
    hasher = blake2b(digest_size=8, key=SALT)
    digests = set()
    for _, cells in records.split(content, ","):
        if key := normalise(cells[0]):
            one = hasher.copy()
            one.update(key.encode())
            digests.add(one.digest())
    seconds = process_time() - begun
    assert len(digests) == len(claims(content, ",", (0,), SALT))
    return seconds


def csv_reader(made: Made) -> float:
    """Only read the records, with Python's csv."""
    text = _content(made).decode()
    begun = process_time()
    rows = sum(1 for _ in csv.reader(io.StringIO(text, newline="")))
    seconds = process_time() - begun
    assert rows == made.rows
    return seconds


def _content(made: Made) -> bytes:
    return made.path.read_bytes().partition(b"\n")[2]
