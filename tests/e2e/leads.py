"""Files of people, and what must come of them by Marketo's rules, found without any code of the product."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests.e2e.kit import Emulator, Ended

COLUMNS = ("email", "firstName", "lastName", "company", "leadScore", "title")
BOM = b"\xef\xbb\xbf"

NO_KEY = "Value for lookup field 'email' not found"
NO_NUMBER = "Invalid data type in field Lead Score"
NO_ADDRESS = "Invalid email address"

NAMES = ("Żółć", "李小龍", "Zoë \U0001f600", 'Robert "Bob" Tables', "two\nlines", "comma, here", "Plain", "-")

# Every key that a summary has; what is below `sources`, `batches` and the like stands for each of them.
SUMMARY_KEYS = {
    "": "schema job_id name labels parent state exit_code exit_reasons target subscription version sources rows "
    "chunks batches lost_answers findings reasons api_calls waits started_at finished_at next",
    "subscription": "name host api_user emulator",
    "sources": "path bytes sha256 rows blank_lines encoding delimiter",
    "rows": "in_source skipped read accepted failed warned unsent unknown unmatched",
    "chunks": "total done unsent unknown refused",
    "batches": "batch_id chunk source first_row rows status accepted failed warned attempts adopted resent repeated "
    "submitted_at completed_at polls",
    "lost_answers": "adopted resent resent_rows",
    "findings": "kind message batch_id",
    "reasons": "id kind reason rows example_row",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One record of a source: where it stands, and what it says."""

    source: str
    row: int
    line: int
    cells: Mapping[str, str]

    @property
    def key(self) -> str:
        return self.cells.get("email", "").strip().casefold()

    @property
    def failure(self) -> str | None:
        """Why Marketo refuses it."""
        if not self.key:
            return NO_KEY
        score = self.cells.get("leadScore", "")
        return None if not score or score.isdecimal() else NO_NUMBER

    @property
    def warning(self) -> str | None:
        """What Marketo says of it though it takes it."""
        address = self.cells.get("email", "")
        return NO_ADDRESS if not self.failure and ("@" not in address or " " in address) else None


R = TypeVar("R", bound=Row)


# --- sources -----------------------------------------------------------------------------------------------


def people(mark: str, count: int, *, first: int = 0, troubled: bool = True) -> list[dict[str, str]]:
    """Return rows about different people; some that fail and some that warn, if they are to be troubled."""
    rows = []
    for n in range(first, first + count):
        cells = {
            "email": f"p{n}@{mark}",
            "firstName": NAMES[n % len(NAMES)],
            "lastName": f"L{n}",
            "company": "" if n % 3 else f"Company {n}",
            "leadScore": str(n),
        }
        if troubled and n % 17 == 5:
            cells["email"] = ""
        elif troubled and n % 19 == 7:
            cells["leadScore"] = f"{n}x"
        elif troubled and n % 23 == 9:
            cells["email"] = f"no address {n} {mark}"
        rows.append(cells)
    return rows


def write(
    path: Path,
    rows: Iterable[Mapping[str, str]],
    *,
    columns: Sequence[str] = COLUMNS,
    newline: str = "\n",
    delimiter: str = ",",
    bom: bool = False,
    given: str | None = None,
    kind: type[R] = Row,
    short: bool = False,
) -> list[R]:
    """Write a source; return its records, as of a file named `given` on the command line.

    With `short`, the empty cells at the end of a record are left out.
    """
    text = _line(columns, delimiter, newline)
    pieces, line, records = [text], 1 + text.count("\n"), []
    for number, cells in enumerate(rows, 1):
        whole = {column: cells.get(column, "") for column in columns}
        records.append(kind(given or path.name, number, line, whole))
        written = list(whole.values())
        while short and len(written) > 1 and not written[-1]:
            written.pop()
        text = _line(written, delimiter, newline)
        pieces.append(text)
        line += text.count("\n")
    path.write_bytes((BOM if bom else b"") + "".join(pieces).encode())
    return records


def _line(cells: Sequence[str], delimiter: str, newline: str) -> str:
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, lineterminator=newline).writerow(cells)
    return out.getvalue()


# --- what must have come of them ---------------------------------------------------------------------------


def records_of(rows: Iterable[Row]) -> dict[str, dict[str, str]]:
    """Return the people that importing these rows one after the other makes; an empty cell says nothing."""
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        if row.failure is None:
            found.setdefault(row.key, {}).update({column: cell for column, cell in row.cells.items() if cell})
    return found


def assert_delivered(marketo: Emulator, mark: str, rows: Iterable[Row]) -> None:
    """Compare what Marketo holds with the source, row by row; nobody is there twice."""
    there = marketo.people(mark)
    keys = [one["email"].strip().casefold() for one in there]
    assert len(keys) == len(set(keys)), f"{len(keys) - len(set(keys))} people are there more than once"
    wanted = records_of(rows)
    assert keys_missing(wanted, keys) == []
    assert keys_missing(keys, list(wanted)) == []
    for key, values in zip(keys, there, strict=True):
        assert values == wanted[key]


def keys_missing(wanted: Iterable[str], there: Sequence[str]) -> list[str]:
    held = set(there)
    return [key for key in wanted if key not in held]


def assert_lawful(summary: Mapping[str, Any]) -> None:
    """Check that a summary has all its keys and that every row is in it exactly once."""
    for part, keys in SUMMARY_KEYS.items():
        values = summary[part] if part else summary
        for value in values if isinstance(values, list) else [values]:
            assert list(value) == keys.split(), part
    assert {"token", "submit", "status", "failures", "warnings", "describe"} <= summary["api_calls"].keys()
    assert {"queue_full", "rate_limited"} <= summary["waits"].keys()
    assert all(wait.keys() == {"count", "seconds"} for wait in summary["waits"].values())
    rows = summary["rows"]
    assert rows["in_source"] == sum(source["rows"] for source in summary["sources"])
    assert rows["in_source"] == rows["read"] + sum(rows["skipped"].values())
    assert rows["read"] == rows["accepted"] + rows["failed"] + rows["unsent"] + rows["unknown"]
    assert rows["warned"] <= rows["accepted"]
    assert rows["unmatched"] <= rows["failed"]
    chunks = summary["chunks"]
    assert chunks["total"] == chunks["done"] + chunks["unsent"] + chunks["unknown"] + chunks["refused"]


def assert_complete(ended: Ended, report: Path, rows: Sequence[Row]) -> dict[str, Any]:
    """Check the end of an import of which every outcome is known: code, summary and report; return the summary."""
    failed = [row for row in rows if row.failure]
    warned = [row for row in rows if row.warning]
    assert ended.code == (3 if failed else 0), ended.err
    summary = read_summary(report)
    assert (summary["state"], summary["exit_code"]) == ("complete", ended.code)
    found = {name: summary["rows"][name] for name in ("in_source", "accepted", "failed", "warned", "unsent", "unknown")}
    assert found == {
        "in_source": len(rows),
        "accepted": len(rows) - len(failed),
        "failed": len(failed),
        "warned": len(warned),
        "unsent": 0,
        "unknown": 0,
    }
    assert summary["rows"]["unmatched"] == 0
    assert_listed(report / "failures.csv", [(row, row.failure) for row in failed], summary, "Import Failure Reason")
    assert_listed(report / "warnings.csv", [(row, row.warning) for row in warned], summary, "Import Warning Reason")
    return summary


def read_summary(report: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((report / "summary.json").read_text(encoding="utf-8"))
    assert_lawful(summary)
    return summary


def read_listing(path: Path) -> list[dict[str, str]]:
    """Return the rows of a failures.csv or warnings.csv."""
    data = path.read_bytes()
    assert not data.startswith(BOM)
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def assert_listed(
    path: Path, wanted: Sequence[tuple[Row, str | None]], summary: Mapping[str, Any], reason_column: str
) -> None:
    """Check that a listing has exactly these rows, in this order, each with the batch it was in."""
    columns = list(dict.fromkeys(column for row, _ in wanted for column in row.cells))
    listed = read_listing(path)
    places = [(one["source_file"], one["source_row"], one["source_line"]) for one in listed]
    assert places == [(row.source, str(row.row), str(row.line)) for row, _ in wanted]
    for one, (row, reason) in zip(listed, wanted, strict=True):
        batch_id = int(one["batch_id"])
        assert one == {
            "source_file": row.source,
            "source_row": str(row.row),
            "source_line": str(row.line),
            "batch_id": one["batch_id"],
            **{column: row.cells.get(column, "") for column in columns},
            reason_column: reason,
        }
        (batch,) = [batch for batch in summary["batches"] if batch["batch_id"] == batch_id]
        assert summary["sources"][batch["source"]]["path"] == row.source
        assert batch["first_row"] <= row.row < batch["first_row"] + batch["rows"]
