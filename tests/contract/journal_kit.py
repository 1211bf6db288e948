"""Jobs, sources and chunks for tests of the journal, and the way to run an async test."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from orchestrator.events import BatchStarted
from orchestrator.journal.changes import JobPlanned
from orchestrator.journal.journal import Journal
from orchestrator.journal.values import Lease
from orchestrator.model import (
    Chunk,
    FileIdentity,
    Format,
    Job,
    JobId,
    JobOptions,
    JobState,
    Leads,
    Source,
    Span,
)
from tests.postgres import new_schema

BACKENDS: dict[str, Callable[[Path], str]] = {
    "sqlite": lambda place: f"sqlite:///{place}/state/journal.db",
    "postgresql": lambda place: new_schema(),
}
HOST = "123-abc-456.mktorest.com"
NOW_MS = 1_700_000_000_000
ROWS = 10  # of each span
BYTES = 100  # of each span
OTHER_HOST = "127.0.0.1:8080"


def now_ms() -> int:
    return NOW_MS


def opened(url: str) -> AbstractAsyncContextManager[Journal]:
    return Journal.open(url, now_ms=now_ms)


def started(chunk: Chunk, batch_id: int = 1, ts_ms: int = NOW_MS) -> BatchStarted:
    return BatchStarted(job_id=chunk.job, ts_ms=ts_ms, chunk=chunk.id, batch_id=batch_id)


def in_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an async test in a loop of its own."""

    @functools.wraps(test)
    def run(**fixtures: Any) -> None:
        asyncio.run(test(**fixtures))

    return run


def make_job(job_id: str = "j-1", **changes: Any) -> Job:
    values: dict[str, Any] = {
        "id": JobId(job_id),
        "host": HOST,
        "subscription": "default",
        "target": Leads(),
        "paths": ("leads.csv",),
        "absolute_paths": ("/data/leads.csv",),
        "options": JobOptions(),
        "out_dir": "/data/out",
        "state": JobState.PLANNING,
        "created_ms": NOW_MS,
    }
    return Job(**{**values, **changes})


def make_source(index: int = 0, spans: int = 3, **changes: Any) -> Source:
    values: dict[str, Any] = {
        "index": index,
        "path": f"leads-{index}.csv",
        "absolute": f"/data/leads-{index}.csv",
        "content": f"/state/jobs/1/spool/{index}",
        "identity": FileIdentity(device=1, inode=2, size_bytes=6 + spans * BYTES, mtime_ns=3),
        "sha256": "ab" * 32,
        "encoding": "utf-8",
        "format": Format.CSV,
        "header": b"email\n",
        "columns": ("email",),
        "rows": spans * ROWS,
        "blank_lines": 0,
    }
    return Source(**{**values, **changes})


def make_spans(source: int = 0, count: int = 3) -> tuple[Span, ...]:
    return tuple(
        Span(
            source=source,
            start=6 + number * BYTES,
            end=6 + (number + 1) * BYTES,
            first_row=1 + number * ROWS,
            rows=ROWS,
            first_line=2 + number * ROWS,
            crc32=2**32 - 1 - number,
        )
        for number in range(count)
    )


def halves(span: Span) -> tuple[Span, Span]:
    byte, row = (span.start + span.end) // 2, span.rows // 2
    common = {"source": span.source, "crc32": 7}
    return (
        Span(start=span.start, end=byte, first_row=span.first_row, rows=row, first_line=span.first_line, **common),
        Span(
            start=byte,
            end=span.end,
            first_row=span.first_row + row,
            rows=span.rows - row,
            first_line=span.first_line + row,
            **common,
        ),
    )


async def planned(journal: Journal, lease: Lease, job: Job | None = None, spans: int = 3) -> tuple[Chunk, ...]:
    """Add a job, plan it and return its chunks."""
    job = job or make_job()
    await journal.add_job(job)
    await journal.write(lease, [plan_of(job, spans)])
    return await journal.chunks(job.id)


def plan_of(job: Job, spans: int = 3) -> JobPlanned:
    return JobPlanned(
        job_id=job.id, sources=(make_source(spans=spans),), spans=make_spans(count=spans), key_columns=("email",)
    )
