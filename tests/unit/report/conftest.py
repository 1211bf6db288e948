from __future__ import annotations

import csv
import io
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from orchestrator.model import (
    BatchId,
    BatchStatus,
    Chunk,
    ChunkId,
    FileIdentity,
    Format,
    Job,
    JobId,
    JobOptions,
    JobState,
    Leads,
    Phase,
    Source,
    Span,
)
from orchestrator.report.attribute import Attribution, attribute
from orchestrator.report.part import PartRow, RowKind, read_rows


def delimited(rows: Sequence[Sequence[str]], *, delimiter: str = ",", end: str = "\n") -> bytes:
    out = io.StringIO()
    # Everything quoted: a single empty cell must not look like a blank line.
    csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(rows)
    return out.getvalue().encode()


class Batch:
    """A chunk, and the result files that Marketo returns for it."""

    def __init__(
        self,
        directory: Path,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        *,
        key: Sequence[str] = ("email",),
        format: Format = Format.CSV,
    ) -> None:
        self.directory, self.key, self.rows = directory, key, rows
        self.data = delimited(rows, delimiter=format.delimiter)
        header = delimited([columns], delimiter=format.delimiter)
        self.source = make_source(columns=tuple(columns), header=header, rows=len(rows), format=format)
        self.span = Span(
            source=0,
            start=len(header),
            end=len(header) + len(self.data),
            first_row=1,
            rows=len(rows),
            first_line=2,
            crc32=zlib.crc32(self.data),
        )
        self.part = directory / "part.ndjson"

    def attribute(
        self,
        failures: bytes | None = None,
        warnings: bytes | None = None,
        *,
        failed: int = 0,
        warned: int = 0,
        readable: bool = True,
    ) -> Attribution:
        paths: dict[str, Path | None] = {"failures": None, "warnings": None}
        for name, content in (("failures", failures), ("warnings", warnings)):
            if content is not None:
                path = self.directory / f"{name}.result"
                path.write_bytes(content)
                paths[name] = path
        return attribute(
            data=self.data if readable else None,
            source=self.source,
            span=self.span,
            batch_id=BatchId(7),
            key_columns=self.key,
            failures=paths["failures"],
            warnings=paths["warnings"],
            failed_expected=failed,
            warned_expected=warned,
            part=self.part,
        )

    def failed_rows(self, *, matched: bool = True) -> list[PartRow]:
        return list(read_rows(self.part, RowKind.FAILURE, matched=matched))

    def warned_rows(self, *, matched: bool = True) -> list[PartRow]:
        return list(read_rows(self.part, RowKind.WARNING, matched=matched))


def make_source(**values: Any) -> Source:
    defaults: dict[str, Any] = {
        "index": 0,
        "path": "leads.csv",
        "absolute": "/data/leads.csv",
        "content": "/data/leads.csv",
        "identity": FileIdentity(device=1, inode=2, size_bytes=100, mtime_ns=3),
        "sha256": "ab" * 32,
        "encoding": "utf-8",
        "format": Format.CSV,
        "header": b"email,name\n",
        "columns": ("email", "name"),
        "rows": 10,
        "blank_lines": 0,
    }
    return Source(**defaults | values)


def make_chunk(number: int, *, rows: int = 10, first_row: int = 1, source: int = 0, **values: Any) -> Chunk:
    span = Span(source=source, start=0, end=1, first_row=first_row, rows=rows, first_line=first_row + 1, crc32=0)
    defaults: dict[str, Any] = {
        "phase": Phase.DONE,
        "batch_id": BatchId(100 + number),
        "status": BatchStatus.COMPLETE,
        "attempts": 1,
        "submitted_ms": 1_700_000_000_000,
        "completed_ms": 1_700_000_060_500,
        "polls": 3,
    }
    return Chunk(id=ChunkId(number), job=JobId("job-1"), span=span, **defaults | values)


def make_job(**values: Any) -> Job:
    defaults: dict[str, Any] = {
        "id": JobId("job-1"),
        "host": "123-abc-456.mktorest.com",
        "subscription": "default",
        "api_user": "api@example.com",
        "target": Leads(),
        "paths": ("leads.csv",),
        "absolute_paths": ("/data/leads.csv",),
        "options": JobOptions(),
        "out_dir": "/data/job-1",
        "state": JobState.COMPLETE,
        "created_ms": 1_700_000_000_000,
        "started_ms": 1_700_000_000_000,
        "finished_ms": 1_700_000_090_000,
    }
    return Job(**defaults | values)


@pytest.fixture(scope="session", name="delimited")
def delimited_fixture() -> Callable[..., bytes]:
    return delimited


@pytest.fixture(scope="session", name="batch_of")
def batch_fixture() -> type[Batch]:
    return Batch


@pytest.fixture(scope="session", name="source")
def source_fixture() -> Callable[..., Source]:
    return make_source


@pytest.fixture(scope="session", name="chunk")
def chunk_fixture() -> Callable[..., Chunk]:
    return make_chunk


@pytest.fixture(scope="session", name="job")
def job_fixture() -> Callable[..., Job]:
    return make_job
