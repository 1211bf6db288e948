"""A state directory that may be read and not written: what only reads works there, all else says what is missing."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from orchestrator import Orchestrator
from orchestrator.errors import JournalForbidden, JournalLocked
from orchestrator.journal import opening, resting, sqlite
from orchestrator.journal.journal import Journal
from orchestrator.model import Job
from tests.contract.test_library import emulated, request

# Answers each line of its input with what it knows: a reader as long-lived as its input.
READER = """
import asyncio, json, sys
from dataclasses import asdict
from pathlib import Path
from random import Random
from orchestrator import Orchestrator, OrchestratorError, Settings
from orchestrator.auditing import audit
from orchestrator.home import read_home

async def tell(orchestrator, state, out):
    told = {"jobs": {job.id: job.state for job in await orchestrator.jobs()}, "flaws": [], "accepted": [], "refused": []}
    for number, job_id in enumerate(told["jobs"]):
        handle = await orchestrator.job(job_id)
        status = await handle.status()
        summary = await handle.report(out / str(number))
        told["accepted"].append((status.progress.accepted, summary.rows.accepted, await handle.settled()))
    told["flaws"] = [asdict(flaw) for flaw in (await audit(orchestrator._journal, state, read_home(state, Random())))[1]]
    for ask in (orchestrator._journal.take_over("h"), orchestrator.cancel(list(told["jobs"])[-1])):
        try:
            await ask
        except OrchestratorError as error:
            told["refused"].append(type(error).__name__)
    return told

async def main(state, out):
    async with Orchestrator.open(Settings(state={"dir": state})) as orchestrator:
        while await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await tell(orchestrator, state, out)), flush=True)

asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
"""


class Reader:
    """A process for which a state directory is one that may only be read."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def asks(self) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"\n")
        return dict(json.loads(await self._process.stdout.readline() or b"{}"))


MOUNTS = os.geteuid() == 0  # modes tell root nothing, but it may mount


def closing(state: Path) -> list[str]:
    """Return what makes a directory one that may only be read, for the command behind it."""
    if not MOUNTS:
        modes(state, 0o500, 0o400)
        return []
    command = ["unshare", "-m", "sh", "-c", 'mount --bind -o ro "$0" "$0" && exec "$@"', str(state)]
    try:
        subprocess.run([*command, "true"], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("nothing can be mounted here")
    return command


def modes(state: Path, of_directories: int, of_files: int) -> None:
    for path in (state, *state.rglob("*")):
        path.chmod(of_directories if path.is_dir() else of_files)


@asynccontextmanager
async def reader(state: Path, out: Path) -> AsyncIterator[Reader]:
    """Let a process see a directory that it may only read."""
    process = await asyncio.create_subprocess_exec(
        *closing(state), sys.executable, "-c", READER, str(state), str(out),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    try:
        yield Reader(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
        if not MOUNTS:
            modes(state, 0o700, 0o600)


def test_what_only_reads_works_where_nothing_may_be_written(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, running):
            async with Orchestrator.open(settings) as orchestrator:
                first = await orchestrator.submit(request(tmp_path, without_key=2))
                await first.wait()
            state = tmp_path / "state"
            (state / "scratch").mkdir()
            (state / "scratch" / "left.lock").touch()
            before = {path: path.read_bytes() for path in state.rglob("*") if path.is_file()}
            async with reader(state, tmp_path / "read") as reading:
                told = await reading.asks()
                assert told["jobs"] == {first.id: "complete"}
                assert told["accepted"] == [[58, 58, True]]
                assert told["refused"] == ["JournalForbidden"]  # of what has ended, nothing is cancelled
                assert [flaw for flaw in told["flaws"] if flaw["what"] != "open_to_others"] == []
                assert {path: path.read_bytes() for path in state.rglob("*") if path.is_file()} == before
                if not MOUNTS:
                    return
                async with Orchestrator.open(settings) as orchestrator:  # somebody writes, through another mount
                    running.service.faults.extend([{"on": "create", "do": "code", "code": "1016"}])
                    second = await orchestrator.submit(request(tmp_path, "b"))
                    orchestrator.drain("sigint")
                    await second.wait()
                    told = await reading.asks()
                    assert told["jobs"] == {first.id: "complete", second.id: "incomplete"}
                    assert told["accepted"] == [[58, 58, True], [0, 0, True]]
                    assert told["refused"] == ["JournalForbidden", "JournalForbidden"]
                assert (await reading.asks())["jobs"] == told["jobs"]

    asyncio.run(play())


def test_a_copy_of_a_journal_in_use_is_read_with_what_stands_in_its_log(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, _):
            async with Orchestrator.open(settings) as orchestrator:
                job = await orchestrator.submit(request(tmp_path))
                await job.wait()
                kept = tmp_path / "kept"
                shutil.copytree(tmp_path / "state", kept)
            assert (kept / "journal.db-wal").stat().st_size
            async with reader(kept, tmp_path / "read") as reading:
                assert (await reading.asks())["jobs"] == {job.id: "complete"}
            (kept / "journal.db-shm").unlink()
            async with reader(kept, tmp_path / "read") as reading:
                assert (await reading.asks())["jobs"] == {job.id: "complete"}

    asyncio.run(play())


def test_an_import_that_the_journal_refuses_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    async def refused(self: Journal, job: Job) -> None:
        raise resting.forbidden(tmp_path / "journal.db")

    async def play() -> None:
        async with emulated(tmp_path) as (settings, _), Orchestrator.open(settings) as orchestrator:
            asked = replace(request(tmp_path), out_dir=None)
            before = sorted(tmp_path.iterdir())
            monkeypatch.setattr(Journal, "add_job", refused)
            with pytest.raises(JournalForbidden, match="it may not be written"):
                await orchestrator.submit(asked)
            assert sorted(tmp_path.iterdir()) == before

    asyncio.run(play())


def test_a_copy_counts_as_long_as_nobody_opens_the_journal(tmp_path):
    journal = tmp_path / "journal.db"
    journal.write_bytes(b"whole")
    copy = resting.Copy(journal)
    assert copy.path.read_bytes() == b"whole"
    assert copy.path.parent.stat().st_mode & 0o077 == 0
    assert not copy.stale
    (tmp_path / "journal.db-shm").touch()
    assert copy.stale
    with pytest.raises(JournalLocked, match="was opened while it was read; try again"):
        resting.Copy(journal)
    copy.remove()
    assert not copy.path.parent.exists()


def test_a_copy_that_cannot_be_made_anew_is_made_when_somebody_reads_again(tmp_path, monkeypatch):
    journal, opened = tmp_path / "journal.db", opening.open_engine
    whole = sqlite.SqliteStore(journal)
    whole.open(1)
    whole.close()

    def unwritable(path: Path, *, now_ms: int) -> Any:
        if path == journal:
            raise OperationalError("open", None, sqlite3.OperationalError("unable to open database file"))
        return opened(path, now_ms=now_ms)

    def in_use(path: Path) -> Any:
        raise JournalLocked("opened while it was read")

    def reads(store: sqlite.SqliteStore) -> int:
        return store.read(lambda connection: connection.execute(text("select 1")).scalar_one())

    monkeypatch.setattr(opening, "open_engine", unwritable)
    monkeypatch.setattr(resting, "is_at_rest", lambda path, error: True)
    store = sqlite.SqliteStore(journal)
    store.open(1)
    assert reads(store) == 1
    os.utime(journal, (1, 1))  # somebody writes
    with monkeypatch.context() as patch:
        patch.setattr(resting, "Copy", in_use)
        for _ in range(2):
            with pytest.raises(JournalLocked, match="opened while it was read"):
                reads(store)
    assert reads(store) == 1
    store.close()
