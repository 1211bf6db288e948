"""A driver that was stopped in the middle of a write: it keeps the journal locked, and cannot be taken over from."""

from __future__ import annotations

import asyncio
import sqlite3

import pytest
from structlog.testing import capture_logs

from orchestrator import Orchestrator
from orchestrator.cli.importing import taking_over
from orchestrator.errors import JournalLocked
from orchestrator.journal import opening
from orchestrator.journal.values import Owner
from tests.contract.test_library import emulated, request, seen


def test_nothing_is_taken_over_while_the_journal_is_locked(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "_ON_CONNECT", ("PRAGMA busy_timeout = 100",))

    async def taken(settings) -> None:
        async with Orchestrator.open(settings) as second:
            owner = await second.driver()
            assert owner is not None
            writing = sqlite3.connect(tmp_path / "state" / "journal.db", isolation_level=None)
            writing.execute("BEGIN IMMEDIATE")
            try:
                with taking_over(owner):
                    await second._drive(force=True)
            finally:
                writing.close()

    async def play() -> None:
        async with emulated(tmp_path) as (settings, _), Orchestrator.open(settings) as first:
            job = await first.submit(request(tmp_path, rows=60))

            async def driven() -> bool:
                return await first.driver() is not None

            await seen(driven)
            await job.wait()
            with pytest.raises(JournalLocked, match=r"kill -9 \d+, then try again"):
                await taken(settings)

    with capture_logs():
        asyncio.run(play())


def test_without_a_driver_nobody_is_blamed():
    with pytest.raises(JournalLocked, match=r"^x$"), taking_over(None):
        raise JournalLocked("x")
    with (
        pytest.raises(JournalLocked, match=r"process 7 on there .* kill -9 7"),
        taking_over(Owner(pid=7, since_ms=0, machine="there")),
    ):
        raise JournalLocked("x")
