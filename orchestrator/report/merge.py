"""Put the parts of a job together: one file of failed rows, one of warned rows, the summary, the page.

Rows with a place in the source come in its order, because chunks are taken in order and a part keeps its rows
in order; rows without a place follow at the end.  Rows stream from the parts to the report one by one.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from orchestrator.errors import JournalError
from orchestrator.model import Chunk, ChunkId, Phase, Source
from orchestrator.records import write_record
from orchestrator.report.files import replacing
from orchestrator.report.html import render
from orchestrator.report.part import PartHead, RowKind, read_head, read_rows
from orchestrator.report.summary import Summary

SUMMARY_FILE = "summary.json"
PAGE_FILE = "report.html"
SUPERSEDED_FILE = "superseded.csv"
ROW_FILES = {RowKind.FAILURE: "failures.csv", RowKind.WARNING: "warnings.csv"}
PLACE_COLUMNS = ("source_file", "source_row", "source_line", "batch_id")
REASON_COLUMNS = {RowKind.FAILURE: "Import Failure Reason", RowKind.WARNING: "Import Warning Reason"}

_Column = tuple[str, int]  # a name, and how many columns of this name stand before it in the same header


def write_reports(
    out_dir: Path,
    *,
    sources: Sequence[Source],
    chunks: Sequence[Chunk],
    parts: Mapping[ChunkId, Path],
    summary: Summary,
    superseded: Path | None = None,
) -> None:
    """Write the files of a report into ``out_dir``, each of them whole, ``summary.json`` last.

    ``chunks`` are all chunks of the job, ``parts`` the files that attribution wrote for them, ``superseded`` the list
    of rows that were left out for later ones, if the job was asked to leave such rows out.  JournalError names the chunk's rows if a part that must be there is not, before anything is written.
    """
    ordered = ordered_parts(chunks, parts)
    heads = [(part, read_head(part)) for part in ordered]
    by_index = {source.index: source for source in sources}
    columns = _union(source.columns for source in sorted(sources, key=lambda source: source.index))
    for kind, name in ROW_FILES.items():
        with replacing(out_dir / name) as file:
            header = [*PLACE_COLUMNS, *(name for name, _ in columns), REASON_COLUMNS[kind]]
            file.write(write_record(header).encode())
            for matched in (True, False):
                for part, head in heads:
                    file.writelines(_lines(part, head, by_index[head.source].path, columns, kind, matched=matched))
    if superseded is not None:
        with replacing(out_dir / SUPERSEDED_FILE) as file:
            _copy(superseded, file)
    with replacing(out_dir / PAGE_FILE) as file:
        file.write(render(summary).encode())
    with replacing(out_dir / SUMMARY_FILE) as file:
        file.write(summary.to_json().encode())


def ordered_parts(chunks: Sequence[Chunk], parts: Mapping[ChunkId, Path]) -> list[Path]:
    """Return the parts of a job in the order of its sources; JournalError if one is missing.

    Chunks under way have none yet, even if their counters are known, and those of split ones stand for them.
    """
    found = []
    for chunk in sorted(chunks, key=lambda chunk: (chunk.span.source, chunk.span.first_row)):
        if chunk.phase not in (Phase.DONE, Phase.REFUSED):
            continue
        part = parts.get(chunk.id)
        if part is not None:
            found.append(part)
        elif chunk.failed or chunk.warned:
            raise JournalError(
                f"The failed and warned rows of rows {chunk.span.first_row} to "
                f"{chunk.span.first_row + chunk.span.rows - 1} (batch {chunk.batch_id}) are not in the state "
                f"directory any more, so no complete report can be written. Restore it from a backup."
            )
    return found


def _copy(path: Path, target: BinaryIO) -> None:
    try:
        source = path.open("rb")
    except OSError as error:
        raise JournalError(
            f"Cannot read {path}, which lists the rows that were left out: {error.strerror or error}. "
            "Put it back from a backup of the state directory, then ask for the report again."
        ) from error
    with source:
        shutil.copyfileobj(source, target)


def _lines(
    part: Path, head: PartHead, path: str, columns: Sequence[_Column], kind: RowKind, *, matched: bool
) -> Iterator[bytes]:
    width = len(head.columns)
    own = _union([head.columns])
    sources = [own.index(column) if column in own else None for column in columns]
    straight = sources == list(range(width))
    batch = "" if head.batch_id is None else str(head.batch_id)
    for row in read_rows(part, kind, matched=matched):
        cells = [*row.cells[:width], *[""] * (width - len(row.cells))]
        if not straight:
            cells = ["" if at is None else cells[at] for at in sources]
        place = ("", "") if row.row is None else (str(row.row), str(row.line))
        yield write_record([path, *place, batch, *cells, row.reason]).encode()


def _union(headers: Iterator[tuple[str, ...]] | Sequence[tuple[str, ...]]) -> list[_Column]:
    """Return the columns of several headers in the order in which they first appear."""
    columns: dict[_Column, None] = {}
    for header in headers:
        before: dict[str, int] = {}
        for name in header:
            columns[name, before.get(name, 0)] = None
            before[name] = before.get(name, 0) + 1
    return list(columns)
