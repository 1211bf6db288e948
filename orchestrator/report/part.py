"""The file that keeps a chunk's failed and warned rows until they are merged into a report.

One JSON document per line, so that no cell can be mistaken for structure, whatever it contains::

    {"schema": "orchestrator.part/1", "source": 0, "batch_id": 3404, "columns": ["email", ...],
     "reasons": [["failure", "missing.dedupe.fields", 12, 7], ...]}
    ["failure", 7, 8, ["a@example.com", ...], "missing.dedupe.fields"]
    ["warning", 9, 10, ["b@example", ...], "Invalid email address"]
    ["failure", null, null, ["", ...], "missing.dedupe.fields"]

The head comes first, then the rows: kind, source row, source line, the original cells of the source's
record, reason.  Rows with a place in the source come first, in its order; rows without one come last.
A row without a place has the cells that Marketo returned, by the source's columns.  The beginning of a line
tells which of the four sorts it is, so a reader passes over the others without decoding them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from orchestrator.errors import JournalError
from orchestrator.model import BatchId
from orchestrator.report.files import replacing

SCHEMA = "orchestrator.part/1"
REASONS_MAX = 1_000  # distinct reasons kept apart, of a chunk and of a job; texts may contain the row's values
REASON_CHARS_MAX = 300  # of a reason in a summary; rows keep theirs whole
OTHER_REASONS = "(other reasons)"  # what stands for those beyond REASONS_MAX
NO_REASON = "(no reason given)"
# A file object is read line by line with this buffer; lines are about a record long.
READ_BUFFER_BYTES = 1 << 20


class RowKind(StrEnum):
    """Which of the two result files a row stood in."""

    FAILURE = "failure"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One reason that Marketo gave, and how many rows it gave it for."""

    kind: RowKind
    text: str
    rows: int
    example_row: int | None  # the first source row with it; None if no such row was found in the source


@dataclass(frozen=True, slots=True)
class PartRow:
    """A failed or warned row; ``row`` and ``line`` are None if it was not found in the source."""

    kind: RowKind
    row: int | None
    line: int | None
    cells: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartHead:
    """What the rows of a part have in common."""

    source: int
    batch_id: BatchId | None
    columns: tuple[str, ...]
    reasons: tuple[Reason, ...]


def write_part(path: Path, head: PartHead, rows: Iterable[PartRow]) -> None:
    """Write a part whole, or raise and leave what was there."""
    encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
    document = {
        "schema": SCHEMA,
        "source": head.source,
        "batch_id": head.batch_id,
        "columns": head.columns,
        "reasons": [(reason.kind, reason.text, reason.rows, reason.example_row) for reason in head.reasons],
    }
    with replacing(path) as file:
        file.write(encode(document).encode() + b"\n")
        for row in rows:
            file.write(encode((row.kind, row.row, row.line, row.cells, row.reason)).encode() + b"\n")


def read_head(path: Path) -> PartHead:
    """Read what the rows of a part have in common; JournalError if it cannot be read."""
    for line in _lines(path):
        document = _decode(path, line)
        try:
            if document["schema"] != SCHEMA:
                break
            return PartHead(
                source=document["source"],
                batch_id=document["batch_id"],
                columns=tuple(document["columns"]),
                reasons=tuple(
                    Reason(kind=RowKind(kind), text=text, rows=rows, example_row=example)
                    for kind, text, rows, example in document["reasons"]
                ),
            )
        except (KeyError, TypeError, ValueError):
            break
    raise _unusable(path, "it is no file of this program's")


def read_rows(path: Path, kind: RowKind, *, matched: bool) -> Iterator[PartRow]:
    """Yield the rows of one kind, those found in the source or those not, as they stand in the part."""
    beginning = f'["{kind}",'.encode()
    placeless = beginning + b"null,"
    for line in _lines(path):
        if line.startswith(beginning) and line.startswith(placeless) is not matched:
            try:
                _, row, physical, cells, reason = _decode(path, line)
                found = PartRow(kind, row, physical, tuple(cells), reason)
            except (TypeError, ValueError) as error:
                raise _unusable(path, "it is damaged") from error
            yield found


def count_reasons(rows: Iterable[PartRow]) -> tuple[Reason, ...]:
    """Count the rows of every reason, the most frequent first."""
    return merge_reasons(
        Reason(kind=row.kind, text=row.reason[:REASON_CHARS_MAX] or NO_REASON, rows=1, example_row=row.row)
        for row in rows
    )


def merge_reasons(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    """Add reasons of the same kind and text together, the most frequent first.

    Later ones beyond ``REASONS_MAX`` are counted as ``OTHER_REASONS``, so no row is left uncounted.
    """
    counts: dict[tuple[RowKind, str], int] = {}
    examples: dict[tuple[RowKind, str], int | None] = {}
    for reason in reasons:
        key = (reason.kind, reason.text)
        if key not in counts and len(counts) >= REASONS_MAX:
            key = (reason.kind, OTHER_REASONS)
        counts[key] = counts.get(key, 0) + reason.rows
        if examples.get(key) is None:
            examples[key] = reason.example_row
    return tuple(
        Reason(kind=kind, text=text, rows=counts[kind, text], example_row=examples[kind, text])
        for kind, text in sorted(counts, key=lambda key: -counts[key])
    )


def read_reasons(parts: Sequence[Path]) -> tuple[Reason, ...]:
    """Add up the reasons of several parts, given in the source's order."""
    return merge_reasons(reason for part in parts for reason in read_head(part).reasons)


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb", buffering=READ_BUFFER_BYTES) as file:
            yield from file
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from error


def _decode(path: Path, line: bytes) -> Any:
    try:
        return json.loads(line.decode())
    except ValueError as error:
        raise _unusable(path, "it is damaged") from error


def _unusable(path: Path, why: str) -> JournalError:
    return JournalError(
        f"Cannot read {path}, which keeps the failed and warned rows of a batch: {why}. "
        f"Put it back from a backup of the state directory, then ask for the report again."
    )
