"""Which process drives a subscription, and which jobs anybody waits for.

Every process that has something to send keeps a `Keeper`.  One of them holds the subscription and drives it, the
others look every second whether it has become free, so one of them goes on when the driving process ends.

A job is wanted as long as some process waits for it.  The kernel knows that by a lock on a file of the job's,
which it drops when the process dies.  The unsent rows of a job that nobody wants are not sent: its process may
have been killed because its rows were wrong.
"""

from __future__ import annotations

import asyncio
import errno
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
from orchestrator.errors import ConfigError, Fenced, JournalLocked, JournalUnreachable, SubscriptionBusy
from orchestrator.following import UNFINISHED
from orchestrator.housekeeping import Housekeeping
from orchestrator.journal import lock
from orchestrator.journal.changes import JobChanged, JobValues, Told
from orchestrator.journal.journal import Journal
from orchestrator.journal.store import locked_by
from orchestrator.journal.values import Lease
from orchestrator.model import Home, JobId, JobState
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


def is_held(state_dir: Path, job_id: JobId) -> bool:
    """Tell whether some live process waits for a job."""
    return lock.owner(_hold_path(state_dir, job_id)) is not None


def _hold_path(state_dir: Path, job_id: JobId) -> Path:
    return state_dir / "jobs" / job_id / "wanted.lock"


class Keeper:
    """Drives the subscription whenever nobody else does."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._holds: dict[JobId, lock.Lock | None] = {}  # None: another process that waits for it has the lock
        self._driver: Driver | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._forcing = False  # the subscription is to be taken from whoever drives it
        self._forced = asyncio.Event()  # that was tried
        self._stop_reason: str | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._pulse = asyncio.Event()

    # --- which jobs are wanted ---------------------------------------------------------------------------

    @property
    def held(self) -> list[JobId]:
        """The jobs this process waits for, in the order in which it began to."""
        return list(self._holds)

    def hold(self, job_id: JobId) -> bool:
        """Let everybody know that this process waits for a job; return whether it is the first that does.

        Raises:
            ConfigError: the state directory may not be written.

        """
        self._holds.setdefault(job_id, None)
        path = self._hold_path(job_id)
        try:
            for directory in (path.parent.parent, path.parent):  # mkdir makes parents readable for everybody
                directory.mkdir(mode=0o700, exist_ok=True)
            if self._holds[job_id] is None and lock.owner(path) is None:
                self._holds[job_id] = lock.take(path, now_ms=self._means.clock.now_ms())
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            del self._holds[job_id]
            raise ConfigError(
                f"the state directory {self._means.state_dir} may not be written ({error.strerror}), so nothing can be sent"
            ) from error
        return self._holds[job_id] is not None

    def let_go(self, job_id: JobId) -> None:
        """Wait for a job no longer."""
        held = self._holds.pop(job_id, None)
        if held is not None:
            held.release()

    def wanted(self, job_id: JobId) -> bool:
        """Tell whether this or another live process waits for a job."""
        return job_id in self._holds or is_held(self._means.state_dir, job_id)

    def _hold_path(self, job_id: JobId) -> Path:
        return _hold_path(self._means.state_dir, job_id)

    # --- driving -----------------------------------------------------------------------------------------

    def start(self, host: str, client: Client, limits: Limits, *, body_bytes_max: int, force: bool) -> None:
        """Begin to keep a subscription, once; look for new jobs now if it is driven here already.

        With ``force`` it is taken from a live process that drives it, which sends nothing more from then on.
        """
        self._forcing = force and self._driver is None
        if self._forcing:
            self._forced.clear()
        if self._driver is not None:
            self._driver.look()
        if self._task is None:

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
                    wanted=self.wanted,
                    ended=self.let_go,
                    changed=self.changed,
                    log=means.log,
                )
                if not self._stopping:
                    await self._driver.run()

            self._task = asyncio.create_task(self._keep(host, drive), name=f"keeper of {host}")

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
                try:
                    await drive(lease)
                except Fenced as error:
                    self._means.log.warning("driver.fenced", error=str(error))
                except JournalUnreachable as error:  # what was written is read again before anything is sent
                    self._means.log.warning("driver.cut_off", error=str(error))
                finally:
                    self._driver = None
                    with anyio.CancelScope(shield=True), suppress(JournalUnreachable):
                        await journal.release(lease)
            if self._stop_reason is not None:
                with suppress(JournalUnreachable):  # then they stay as they are, and can be resumed as well
                    await self._mark_stopped(self._stop_reason)
        finally:
            self.changed()

    async def _hold_on(self) -> None:
        """Hold the jobs that go on, for whoever had the lock of one may have gone; let go of those that have ended."""
        held = self.held
        try:
            unfinished = {job.id for job in await self._means.journal.jobs(states=UNFINISHED)}
        except JournalUnreachable:  # and nobody knows; the next look tells
            return
        for job_id in held:
            if job_id not in unfinished:
                self.let_go(job_id)
            elif job_id in self._holds:  # still
                self.hold(job_id)

    async def _take_over(self, host: str) -> Lease | None:
        force, self._forcing = self._forcing, False
        try:
            lease = await self._means.journal.take_over(host, force=force, home=self._means.home)
        except JournalUnreachable:
            self._forcing = force  # still
            return None
        except JournalLocked as error:
            raise locked_by(await self._means.journal.owner(host) if force else None, error) from error
        except SubscriptionBusy:  # if it is to be taken by force, another process was quicker
            lease = None
        if force:
            self._forced.set()
            self.changed()
        return lease

    async def forced(self) -> None:
        """Return when the subscription was taken from whoever drove it; raises what made that impossible."""
        while self._task is not None and not self._forced.is_set():
            await self.next_change()()
            if self._task.done():
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
        for job_id in [job_id for job_id, held in self._holds.items() if held is not None]:
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
            for job_id in self.held:
                self.let_go(job_id)

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
