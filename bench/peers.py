"""How fast chunks are made of a file: the planner against libraries that read it and write it in pieces.

Each library is used as its users would, to be quick and to keep the values: all columns as text, all cores, and its own
way of writing many files.  Two of them cannot be told how large a file may become, so they are told what fits: pyarrow
a size of its blocks, Polars a number of rows.  The planner writes nothing, because its chunks are ranges of the source;
that is what is compared.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, takewhile
from pathlib import Path
from time import perf_counter
from typing import Final

from bench import contenders, files
from bench.files import Kind, Made
from bench.results import Row, Run

CHUNK_BYTES_MAX: Final = 9_500_000  # the default of limits.body_bytes_max
ROOM: Final = 0.9  # of it, for what is not told exactly
PYARROW_BLOCK_BYTES: Final = 7_500_000  # pyarrow quotes every cell, which makes the chunk larger than the block
FASTER: Final = 5.0

# Values that are easily changed by being read and written.
DELICATE: Final = (
    "email,text\n"
    "1@a.io,007\n2@a.io,1.50\n3@a.io,1e5\n4@a.io,NULL\n5@a.io,true\n6@a.io,2026-01-02\n7@a.io,12345678901234567890\n"
    '8@a.io, padded \n9@a.io,"plain"\n10@a.io,"say ""hi"""\n11@a.io,""\n12@a.io,\n'
)


def pyarrow(made: Made, parts: Path) -> None:
    """Read blocks in parallel and write each block as a file."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    with made.path.open(encoding="utf-8") as file:
        columns = file.readline().rstrip("\n").split(",")
    table = arrow_csv.read_csv(
        made.path,
        read_options=arrow_csv.ReadOptions(block_size=PYARROW_BLOCK_BYTES),
        parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
        convert_options=arrow_csv.ConvertOptions(column_types=dict.fromkeys(columns, pa.string())),
    )

    def write(numbered: tuple[int, object]) -> None:
        number, batch = numbered
        arrow_csv.write_csv(batch, parts / f"{number:08}.csv")

    with ThreadPoolExecutor() as pool:
        list(pool.map(write, enumerate(table.to_batches())))


def polars(made: Made, parts: Path) -> None:
    """Stream the file into files of so many rows."""
    import polars as pl

    rows = max(1, int(ROOM * CHUNK_BYTES_MAX * made.rows / made.bytes))
    pl.scan_csv(made.path, infer_schema=False).sink_csv(pl.PartitionBy(parts, max_rows_per_file=rows))


def duckdb(made: Made, parts: Path) -> None:
    """Copy the file into files of about so many bytes."""
    import duckdb as duck

    size = int(ROOM * CHUNK_BYTES_MAX)
    with duck.connect() as connection:
        connection.execute(
            f"COPY (FROM read_csv('{made.path}', all_varchar = true, header = true)) "
            f"TO '{parts}' (FORMAT csv, HEADER, FILE_SIZE_BYTES {size}, OVERWRITE)"
        )


PEERS: Final[Mapping[str, Callable[[Made, Path], None]]] = {"pyarrow": pyarrow, "Polars": polars, "DuckDB": duckdb}


def measure(run: Run) -> list[Row]:
    """Make the chunks of a file with everyone, in one interleaved run for each kind of file."""
    kinds = [files.ASCII, files.SOME_QUOTED]
    if run.full:
        kinds += [files.TINY, files.NON_ASCII, files.ALL_QUOTED, files.LONG]
    rows = [row for kind in kinds for row in _rows(run, kind)]
    rewritten = [_rewritten(name, make, run.directory) for name, make in PEERS.items()]
    return [*rows, *rewritten]


def _rows(run: Run, kind: Kind) -> list[Row]:
    size, repeats = (2**30 if run.full else 2**28), 3
    if run.trial:
        size, repeats = 2**25, 2
    made = files.make(kind, run.directory / "source.csv", size)
    what = f"{kind.name}, {made.bytes / 2**20:,.0f} MiB"
    run.say(f"peers: {what}, {repeats} rounds ...")
    seen: dict[str, str] = {}
    runners: dict[str, Callable[[Made], float]] = {contenders.PLANNER: contenders.planner}
    runners |= {name: _timed(name, make, seen) for name, make in PEERS.items()}
    seconds = contenders.interleaved(runners, made, repeats)
    made.path.unlink()
    theirs = tuple(min(each) for each in zip(*(seconds[name] for name in PEERS), strict=True))
    return [
        *(
            Row(what=what, figure=name, values=values, unit="s", note=seen.get(name, ""))
            for name, values in seconds.items()
        ),
        Row(
            what=what,
            figure="x fastest of them",
            values=contenders.ratios(theirs, seconds[contenders.PLANNER]),
            at_least=FASTER,
        ),
    ]


def _timed(name: str, make: Callable[[Made, Path], None], seen: dict[str, str]) -> Callable[[Made], float]:
    """Return what runs a library once, and says the first time what is wrong with its chunks."""

    def run(made: Made) -> float:
        with tempfile.TemporaryDirectory(dir=made.path.parent) as parts:
            begun = perf_counter()
            make(made, Path(parts))
            seconds = perf_counter() - begun
            if name not in seen:
                seen[name] = "; ".join(_faults(made, sorted(Path(parts).iterdir())))
        return seconds

    return run


def _faults(made: Made, parts: Sequence[Path]) -> Iterator[str]:
    """Compare chunks with their source, cell by cell."""
    largest = max(part.stat().st_size for part in parts)
    if largest > CHUNK_BYTES_MAX:
        yield f"a chunk has {largest:,} bytes, too many for an upload"
    source = _records(made.path)
    written = chain.from_iterable(map(_records, parts))
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(source, written, strict=False)))
    if same < made.rows:
        yield f"from row {same + 1:,} on, rows are in another order or have other values"


def _records(path: Path) -> Iterator[list[str]]:
    """Yield the records below a header."""
    with path.open(encoding="utf-8", newline="") as file:
        records = csv.reader(file)
        next(records)
        yield from records


def _rewritten(name: str, make: Callable[[Made, Path], None], directory: Path) -> Row:
    """Count the delicate records that do not come back byte for byte."""
    path = directory / "delicate.csv"
    path.write_text(DELICATE, encoding="utf-8")
    before = DELICATE.splitlines()
    with tempfile.TemporaryDirectory(dir=directory) as parts:
        make(Made(path=path, rows=len(before) - 1, bytes=len(DELICATE)), Path(parts))
        (written,) = Path(parts).iterdir()
        after = written.read_text(encoding="utf-8").splitlines()
    changed = [f"`{old}` becomes `{new}`" for old, new in zip(before, after, strict=True) if old != new]
    what = f"delicate records rewritten, of {len(before) - 1}"
    count = sum(old != new for old, new in zip(before[1:], after[1:], strict=True))
    return Row(what=what, figure=name, values=(float(count),), note=", ".join(changed[-2:]))
