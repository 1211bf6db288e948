"""API calls of this process, written to the journal whichever command made them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

import anyio

from orchestrator.clock import Clock
from orchestrator.desk import CallCounts
from orchestrator.errors import JournalError
from orchestrator.journal.changes import Change, UsageTold
from orchestrator.journal.journal import Journal
from orchestrator.journal.values import DayCalls
from orchestrator.marketo.day import quota_day
from orchestrator.marketo.reads import Usage

WRITTEN_EVERY_S: Final = 5.0  # or sooner, see `CallCounts.many`


class Meter:
    """Keeps the count of a subscription's calls, per day of its quota."""

    def __init__(self, journal: Journal, calls: CallCounts, clock: Clock) -> None:
        """Begin with nothing to write."""
        self._journal = journal
        self._calls = calls
        self._clock = clock
        self._host: str | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self, host: str) -> None:
        """Write the counts of a subscription from now on, once."""
        if self._task is None:
            self._host = host
            self._task = asyncio.create_task(self._keep(), name=f"meter of {host}")

    async def stop(self) -> None:
        """Write what is left, and end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
            await self._write()

    async def today(self) -> DayCalls:
        """Return the calls that are known of today's quota."""
        await self._write()
        return await self._journal.calls_of(self._host or "", quota_day(self._clock.wall_ms()))

    async def told(self, usage: Usage) -> DayCalls:
        """Take in what Marketo counted, some minutes late; return the calls known of today's quota."""
        day = quota_day(self._clock.wall_ms())
        same_day = usage.date in ("", day)
        await self._write(*([UsageTold(host=self._host or "", day=day, total=usage.total)] if same_day else []))
        return await self.today()

    async def _keep(self) -> None:
        while True:
            with anyio.move_on_after(WRITTEN_EVERY_S):
                await self._calls.many.wait()
            await self._write()

    async def _write(self, *changes: Change) -> None:
        counted = [*self._calls.take(self._host or "", quota_day(self._clock.wall_ms())), *changes]
        if counted:
            with suppress(JournalError):  # a count that is lost is no reason to stop; Marketo's own corrects it
                await self._journal.write_unfenced(counted)
