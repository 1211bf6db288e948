"""How fast chunks go through the journal, on both databases, and how soon a resumed job is sending again.

The write path is the real one: for each chunk the intent, what Marketo answered, a poll, and the outcome, each in a
transaction of its own that is on the disk before the next begins.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from bench.results import ROOT, Row, Run
from orchestrator.emulator.app import Running, start
from orchestrator.emulator.config import EmulatorConfig
from orchestrator.events import BatchCompleted, ChunkSubmitted
from orchestrator.journal.changes import ChunkChanged, Told
from orchestrator.journal.journal import Journal
from orchestrator.journal.values import Lease
from orchestrator.model import BatchId, BatchStatus, Chunk, JobState, Phase
from tests import postgres
from tests.contract.journal_kit import HOST, NOW_MS, make_job, now_ms, planned

CHUNKS_PER_SECOND_MIN: Final = 50
SECONDS_TO_SEND_MAX: Final = 2
CHUNKS_WRITTEN: Final = 200
CHUNKS_RESUMED: Final = 10_000
ROWS_PER_CHUNK: Final = 10
REPEATS: Final = 3
LOOK_SECONDS: Final = 0.005
PLANNED_SECONDS_MAX: Final = 120


def measure(run: Run) -> list[Row]:
    """Write chunks to both databases, then kill an import and resume it."""
    written = 10 if run.trial else CHUNKS_WRITTEN
    rows = []
    for name, url in (("SQLite", f"sqlite:///{run.directory}/bench.db"), ("PostgreSQL", postgres.new_schema())):
        run.say(f"journal: writing {written} chunks to {name} ...")
        values = asyncio.run(_write(url, written))
        rows.append(
            Row(
                what=f"written to {name}, four durable steps each",
                figure="chunks per second",
                values=values,
                at_least=CHUNKS_PER_SECOND_MIN,
            )
        )
    chunks = 20 if run.trial else CHUNKS_RESUMED
    run.say(f"journal: resuming a job of {chunks:,} chunks ...")
    values = asyncio.run(_resume(run.directory, chunks))
    what = f"resume of {chunks:,} chunks, from its start to the first upload's arrival"
    return [*rows, Row(what=what, figure="seconds", values=values, unit="s", at_most=SECONDS_TO_SEND_MAX)]


async def _write(url: str, count: int) -> tuple[float, ...]:
    """Return how many chunks a second went from ready to done, for each repeat."""
    rates = []
    async with Journal.open(url, now_ms=now_ms) as journal:
        lease = await journal.take_over(HOST)
        for repeat in range(REPEATS):
            chunks = await planned(journal, lease, make_job(f"j-{repeat}"), spans=count)
            started = time.perf_counter()
            for number, chunk in enumerate(chunks):
                await _through(journal, lease, chunk, number + 1)
            rates.append(count / (time.perf_counter() - started))
    return tuple(rates)


async def _through(journal: Journal, lease: Lease, chunk: Chunk, number: int) -> None:
    """Bring one chunk from ready to done."""
    batch = BatchId(number)
    job, ts_ms, rows = chunk.job, NOW_MS + number, chunk.span.rows
    submitted = ChunkSubmitted(
        job_id=job, ts_ms=ts_ms, chunk=chunk.id, batch_id=batch, rows=rows, body_bytes=100, attempt=1
    )
    completed = BatchCompleted(
        job_id=job,
        ts_ms=ts_ms,
        chunk=chunk.id,
        batch_id=batch,
        status="Complete",
        rows=rows,
        accepted=rows,
        failed=0,
        warned=0,
        unknown=0,
    )
    await journal.write(
        lease,
        [ChunkChanged(chunk_id=chunk.id, values={"phase": Phase.SUBMITTING, "attempts": 1, "submitted_ms": ts_ms})],
    )
    accepted = ChunkChanged(
        chunk_id=chunk.id, values={"phase": Phase.SUBMITTED, "batch_id": batch, "status": BatchStatus.QUEUED}
    )
    await journal.write(lease, [accepted, Told(event=submitted)])
    await journal.write(lease, [ChunkChanged(chunk_id=chunk.id, values={"polls": 1, "status": BatchStatus.COMPLETE})])
    done = ChunkChanged(chunk_id=chunk.id, values={"phase": Phase.DONE, "accepted": rows, "completed_ms": ts_ms})
    await journal.write(lease, [done, Told(event=completed)])


# --- resume -------------------------------------------------------------------------------------------


async def _resume(directory: Path, chunks: int) -> tuple[float, ...]:
    """Return the seconds from the start of `resume` to the first batch, for each repeat."""
    source = directory / "leads.csv"
    lines = (f"person{number}@example.com,N{number}\n" for number in range(chunks * ROWS_PER_CHUNK))
    source.write_text("email,firstName\n" + "".join(lines), encoding="utf-8")
    running = await start(EmulatorConfig())
    queue_full = {"on": "create", "do": "code", "code": "1016"}
    try:
        running.service.faults.extend([queue_full])
        await _killed_while_it_waits(directory, source, running)
        running.service.faults.remove(None)
        return tuple([await _first_batch(directory, running) for _ in range(REPEATS)])
    finally:
        await running.stop()


def _command(directory: Path, running: Running, *arguments: str) -> tuple[list[str], dict[str, str]]:
    settings = (f"limits.rows_per_chunk_max={ROWS_PER_CHUNK}", "http.trust_env=false", "schedule.slow_start=false")
    flags = [text for setting in settings for text in ("--set", setting)]
    environment = {
        **os.environ,
        "MARKETO_REST_URL": running.url,
        "MARKETO_CLIENT_ID": "emulator",
        "MARKETO_CLIENT_SECRET": "emulator-secret",
        "ORCHESTRATOR_STATE__DIR": str(directory / "state"),
    }
    return [sys.executable, "-m", "orchestrator", *arguments, "--quiet", *flags], environment


def _started(command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)


async def _killed_while_it_waits(directory: Path, source: Path, running: Running) -> None:
    """Start an import whose every upload is refused for the time being, and kill it when its job is planned."""
    command, environment = _command(directory, running, "import", str(source), "--out", str(directory / "out"))
    process = _started(command, environment)
    try:
        async with asyncio.timeout(PLANNED_SECONDS_MAX):
            while not await _is_planned(directory / "state" / "journal.db"):  # noqa: ASYNC110  # a file tells nobody
                await asyncio.sleep(LOOK_SECONDS)
    finally:
        process.kill()
        process.wait()


async def _is_planned(path: Path) -> bool:
    if not path.exists():
        return False
    async with Journal.open(f"sqlite:///{path}", now_ms=now_ms) as journal:
        return any(job.state is JobState.RUNNING for job in await journal.jobs())


async def _first_batch(directory: Path, running: Running) -> float:
    """Return how long `resume` takes until Marketo has another batch, and kill it then."""
    command, environment = _command(directory, running, "resume")
    before = running.service.engine.batches_made
    started = time.perf_counter()
    process = _started(command, environment)
    try:
        async with asyncio.timeout(PLANNED_SECONDS_MAX):
            while running.service.engine.batches_made == before:  # the emulator tells nobody
                if process.poll() is not None:
                    raise RuntimeError(f"resume ended with {process.returncode} before it sent anything")
                await asyncio.sleep(LOOK_SECONDS)
        return time.perf_counter() - started
    finally:
        process.kill()
        process.wait()
