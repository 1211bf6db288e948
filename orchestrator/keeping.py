"""Which process drives a subscription.

Every process that has something to send keeps a `Keeper`.  One of them holds the subscription and drives it, the
others look every second whether it has become free, so one of them goes on when the driving process ends.

A journal that cannot be reached is waited for.  Any other fault of it ends the driving, and everybody who waits for a
job here is told; who begins or resumes one then begins to drive anew, for the cause may have passed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import anyio
from structlog.typing import FilteringBoundLogger

from orchestrator import events
from orchestrator.clock import JournalClock
from orchestrator.desk import CallCounts
from orchestrator.errors import (
    Fenced,
    JournalError,
    JournalLocked,
    JournalStalled,
    JournalUnreachable,
    SubscriptionBusy,
)
from orchestrator.following import UNFINISHED
from orchestrator.holds import Holds
from orchestrator.housekeeping import Housekeeping
from orchestrator.journal.changes import JobChanged, JobValues, Told
from orchestrator.journal.journal import Journal
from orchestrator.journal.store import locked_by
from orchestrator.journal.values import Lease
from orchestrator.model import Home, JobState
from orchestrator.offload import Offload
from orchestrator.report import ending
from orchestrator.schedule.state import Limits

if TYPE_CHECKING:
    from orchestrator.driver import Driver
    from orchestrator.marketo.client import Client

LOOK_AGAIN_SECONDS = 1.0  # at the journal, while another process does the work


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What driving needs besides a client."""

    journal: Journal
    offload: Offload
    clock: JournalClock
    rng: Random
    calls: CallCounts
    state_dir: Path
    home: Home
    keep_ms: int  # how long a job is kept after its end
    drain_ms: int  # how long an upload under way is waited for
    log: FilteringBoundLogger


class Keeper:
    """Drives the subscription whenever nobody else does."""

    def __init__(self, means: Means, holds: Holds) -> None:
        self._means = means
        self._holds = holds
        self._driver: Driver | None = None
        self._task: asyncio.Task[None] | None = None
        self.overtaken = 0  # how often another process took the subscription from this one
        self._stopping = False
        self._leading = False  # the subscription is this process's
        self._forcing = False  # it is to be taken from whoever drives it, and that was not tried yet
        self._stop_reason: str | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._pulse = asyncio.Event()

    # --- driving -----------------------------------------------------------------------------------------

    def start(self, host: str, client: Client, limits: Limits, *, body_bytes_max: int, force: bool) -> None:
        """Begin to keep a subscription, unless it is kept; look for new jobs now if it is driven here already.

        With ``force`` it is taken from a live process that drives it, which sends nothing more from then on.
        """
        if self._driver is not None:
            self._driver.look()
        if self._task is None or (self._task.done() and not self._stopping):

            async def drive(lease: Lease) -> None:
                from orchestrator.driver import Driver

                means = self._means
                means.clock.begin_at(await means.journal.newest_ms())  # another machine's clock may be ahead
                self._driver = Driver(
                    lease=lease,
                    journal=means.journal,
                    client=client,
                    calls=means.calls,
                    offload=means.offload,
                    clock=means.clock,
                    rng=means.rng,
                    limits=limits,
                    body_bytes_max=body_bytes_max,
                    salt=await means.journal.salt(host),
                    state_dir=means.state_dir,
                    home=means.home,
                    housekeeping=Housekeeping(
                        journal=means.journal,
                        lease=lease,
                        offload=means.offload,
                        clock=means.clock,
                        state_dir=means.state_dir,
                        home=means.home,
                        keep_ms=means.keep_ms,
                        log=means.log,
                    ),
                    wanted=self._holds.wanted,
                    ended=self._holds.let_go,
                    changed=self.changed,
                    log=means.log,
                )
                if not self._stopping:
                    await self._driver.run()

            self._forcing = False  # whatever one that failed was to do
            self._task = asyncio.create_task(self._keep(host, drive), name=f"keeper of {host}")
        self._forcing |= force and not self._leading

    async def _keep(self, host: str, drive: Callable[[Lease], Awaitable[None]]) -> None:
        journal = self._means.journal
        try:
            while not self._stopping:
                change = self.next_change()
                lease = await self._take_over(host)
                if lease is None:
                    await change()
                    await self._hold_on()
                    continue
                self._leading = True
                try:
                    await drive(lease)
                except Fenced as error:
                    self.overtaken += 1
                    self._means.log.warning("driver.fenced", error=str(error))
                except JournalUnreachable as error:  # what was written is read again before anything is sent
                    self._means.log.warning("driver.cut_off", error=str(error))
                finally:
                    self._leading, self._driver = False, None
                    with anyio.CancelScope(shield=True), suppress(JournalError):  # who cannot give it back loses it
                        await journal.release(lease)
            if self._stop_reason is not None:
                with suppress(JournalUnreachable):  # then they stay as they are, and can be resumed as well
                    await self._mark_stopped(self._stop_reason)
        finally:
            self.changed()

    async def _hold_on(self) -> None:
        """Hold the jobs that go on, for whoever had the lock of one may have gone; let go of those that have ended."""
        held = self._holds.all
        try:
            unfinished = {job.id for job in await self._means.journal.jobs(states=UNFINISHED)}
        except JournalUnreachable:  # and nobody knows; the next look tells
            return
        for job_id in held:
            if job_id not in unfinished:
                self._holds.let_go(job_id)
            elif job_id in self._holds.all:  # still
                with suppress(JournalStalled):  # the next look holds it
                    self._holds.hold(job_id)

    async def _take_over(self, host: str) -> Lease | None:
        force, lease = self._forcing, None
        try:
            lease = await self._means.journal.take_over(host, force=force, home=self._means.home)
        except JournalUnreachable:
            return None
        except JournalLocked as error:
            raise locked_by(await self._means.journal.owner(host) if force else None, error) from error
        except SubscriptionBusy:  # if it is to be taken by force, another process was quicker
            pass
        if force or lease is not None:
            self._forcing = False
            self.changed()
        return lease

    async def forced(self) -> None:
        """Return when the subscription was taken from whoever drove it; raises what made that impossible."""
        while self._forcing:
            await self.next_change()()
            if self._task is None or self._task.done():
                return

    async def _mark_stopped(self, reason: str) -> None:
        """Write to the journal that the jobs this process waits for were stopped before their end."""
        journal, now_ms, code = self._means.journal, self._means.clock.now_ms(), ending.REASONS[reason]
        values: JobValues = {
            "state": JobState.INCOMPLETE,
            "finished_ms": now_ms,
            "exit_code": code,
            "exit_reasons": (reason,),
        }
        for job_id in self._holds.first:
            told = events.JobFinished(job_id=job_id, ts_ms=now_ms, state=JobState.INCOMPLETE, exit_code=code)
            await journal.write_unfenced(
                [JobChanged(job_id=job_id, values=values), Told(event=told)], only_from=(JobState.RUNNING,)
            )

    def drain(self, reason: str | None = None) -> None:
        """Send nothing more; with a reason, the jobs waited for are marked as stopped for it.

        An upload that is under way still when its time is over is abandoned, and so is a journal that does not answer.
        """
        self._stopping = True
        if self._deadline is None:
            seconds = self._means.drain_ms / 1000
            self._deadline = asyncio.get_running_loop().call_later(seconds, self._end_drain)
        self._stop_reason = self._stop_reason or reason
        if self._driver is not None:
            self._driver.drain()
        self.changed()

    def _end_drain(self) -> None:
        self._means.journal.hurry()
        if self._driver is not None and self._driver.abandon():
            self._means.log.warning(
                "driver.abandoned", reason="drain.seconds are over; the upload under way is broken off"
            )

    async def stop(self) -> None:
        """Drain; return when the upload under way, if any, has its outcome and nothing is driven here.

        Raises what ended the driving task, if it failed.
        """
        self.drain()
        try:
            if self._task is not None:
                await self._task
        finally:
            if self._deadline is not None:
                self._deadline.cancel()
            for job_id in self._holds.all:
                self._holds.let_go(job_id)

    def abandon(self) -> None:
        """Break the upload under way off; its outcome is unknown if all of it has left."""
        self.drain()
        self._means.journal.hurry()
        if self._driver is not None:
            self._driver.abandon()

    @property
    def stopped(self) -> bool:
        """Tell whether this process was told to stop, and has: it waits for no job any longer."""
        return self._stopping and (self._task is None or self._task.done())

    @property
    def failed(self) -> bool:
        """Tell whether a fault ended the driving, and nobody has begun it anew."""
        return self._task is not None and self._task.done() and not self._stopping

    # --- following ---------------------------------------------------------------------------------------

    def changed(self) -> None:
        """Wake everybody who waits for the journal's next change."""
        pulse, self._pulse = self._pulse, asyncio.Event()
        pulse.set()

    def next_change(self) -> Callable[[], Awaitable[None]]:
        """Return something to wait with for the next change of the journal after now.

        It also returns when it is time to look at what other processes wrote, and raises what ended the driver.
        """
        pulse = self._pulse

        async def wait() -> None:
            self._raise_failure()
            with anyio.move_on_after(LOOK_AGAIN_SECONDS):
                await pulse.wait()
            self._raise_failure()

        return wait

    def _raise_failure(self) -> None:
        if self._task is not None and self._task.done() and not self._task.cancelled():
            self._task.result()
