"""The library: open it, submit jobs, follow them, close it.

An `Orchestrator` works for one subscription.  The first process that has something to send takes the
subscription and drives it; others write their jobs to the same journal, follow them there, and take over when
the driving process ends.  Everything told to the caller is read from the journal, so it makes no difference
which process does the work.
"""

from __future__ import annotations

import asyncio
import importlib
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from random import Random, SystemRandom
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

import anyio

from orchestrator.clock import Clock, JournalClock, SystemClock
from orchestrator.config import Settings, load
from orchestrator.connection import Connection
from orchestrator.control import Control, Stopping
from orchestrator.desk import CallCounts
from orchestrator.directories import prepare_state_dir
from orchestrator.following import JobHandle
from orchestrator.holds import Holds
from orchestrator.home import read_home
from orchestrator.journal.journal import Journal
from orchestrator.journal.values import DayCalls, Owner
from orchestrator.keeping import Keeper, Means
from orchestrator.log import library_logger
from orchestrator.marketo.day import DayEnd
from orchestrator.marketo.reads import Schema, Usage
from orchestrator.metering import Meter
from orchestrator.model import Home, IfKnown, Job, JobId, JobState, OnUnknown, Target
from orchestrator.offload import Offload
from orchestrator.prospect import Prospects
from orchestrator.report.summary import Summary
from orchestrator.requests import Destination, ImportRequest
from orchestrator.scratch import sweep
from orchestrator.wiring import schedule_limits

if TYPE_CHECKING:  # whoever only looks at jobs, or stops them, does not wait for numpy and aiohttp
    import aiohttp

    from orchestrator.forecast import Forecast
    from orchestrator.preview import Checked
    from orchestrator.reception import Reception


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """The jobs that go on, and those that do not, with the reason why."""

    jobs: tuple[JobHandle, ...]
    skipped: tuple[tuple[JobId, str], ...]


DAY_MS = 24 * 3_600 * 1_000


class Orchestrator:
    """Imports into one subscription; made by `open`."""

    def __init__(
        self,
        *,
        settings: Settings,
        subscription: str | None,
        journal: Journal,
        offload: Offload,
        clock: JournalClock,
        rng: Random,
        home: Home,
        session: aiohttp.ClientSession | None,
        stack: AsyncExitStack,
    ) -> None:
        """Hold what `open` made; nothing is sent or taken yet."""
        self._settings = settings
        self._journal = journal
        self._offload = offload
        self._clock = clock
        self._state_dir = settings.state.dir.expanduser().absolute()
        self._calls = CallCounts()
        log = library_logger()
        self._connection = Connection(
            settings, subscription, clock=clock, rng=rng, calls=self._calls, session=session, stack=stack, log=log
        )
        self._means = means = Means(
            journal=journal,
            offload=offload,
            clock=clock,
            rng=rng,
            calls=self._calls,
            state_dir=self._state_dir,
            home=home,
            keep_ms=settings.state.keep_days * DAY_MS,
            drain_ms=round(1000 * settings.drain.seconds),
            log=log,
        )
        holds = self._holds = Holds(self._state_dir, clock)
        self._keeper = Keeper(means, holds)
        self._meter = Meter(journal, self._calls, clock)
        self._prospects = Prospects(journal=journal, settings=settings, clock=clock, wanted=holds.wanted)
        self._control = Control(means, wanted=holds.wanted)
        self._reception: Reception | None = None  # until there is a request

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        settings: Settings | None = None,
        *,
        subscription: str | None = None,
        session: aiohttp.ClientSession | None = None,
        clock: Clock | None = None,
        rng: Random | None = None,
    ) -> AsyncIterator[Self]:
        """Open the journal; leaving ends what this process drives, in order, and leaves the rest resumable.

        ``settings`` None means to read them as the command does; ``subscription`` names one of them.  Session,
        clock and source of randomness may be handed in.

        Raises:
            ConfigError: a setting is wrong.
            JournalError: the journal cannot be opened.

        """
        chosen = load(None, (), os.environ) if settings is None else settings
        ticking = JournalClock(SystemClock() if clock is None else clock)
        randomness = SystemRandom() if rng is None else rng
        state_dir = chosen.state.dir.expanduser().absolute()
        prepare_state_dir(state_dir)
        sweep(state_dir, now_ms=ticking.now_ms())
        async with AsyncExitStack() as stack:
            journal = await stack.enter_async_context(Journal.open(chosen.journal_url, now_ms=ticking.now_ms))
            ticking.begin_at(await journal.newest_ms())
            self = cls(
                settings=chosen,
                subscription=subscription,
                journal=journal,
                offload=await stack.enter_async_context(Offload()),
                clock=ticking,
                rng=randomness,
                home=read_home(state_dir, randomness),
                session=session,
                stack=stack,
            )
            try:
                yield self
            finally:
                with anyio.CancelScope(shield=True):
                    try:
                        await self._keeper.stop()
                    finally:
                        await self._meter.stop()

    async def _receive(self) -> Reception:
        """Return who takes requests in; that one and the driver are imported off the loop, which they would hold up."""
        if self._reception is None:
            for room in ("reception", "driver"):
                await self._offload.run(importlib.import_module, f"orchestrator.{room}")
            from orchestrator.reception import Reception

            if self._reception is None:  # still
                self._reception = Reception(self._means, self._keeper, self._holds, self._connection, self._settings)
        return self._reception

    # --- where to ----------------------------------------------------------------------------------------

    async def calls_today(self) -> DayCalls:
        """Return the API calls known of today's quota: those counted here, and others' as Marketo told last."""
        await self.connect()
        return await self._meter.today()

    def end_of(self, calls: DayCalls) -> DayEnd | None:
        """Predict when the calls that imports may make today end; None if it is too early to tell."""
        return self._prospects.day_end(calls, self._connection.limits())

    async def connect(self) -> Destination:
        """Authenticate, once; return where rows will be written to.

        Raises:
            ConfigError: no subscription is configured, or several and none is named.
            AccessDenied: Marketo refuses the credentials.
            NotDelivered: the host cannot be reached.

        """
        destination = await self._connection.destination()
        self._meter.start(destination.host)
        return destination

    async def driver(self) -> Owner | None:
        """Return the live process that drives the subscription, None if none does."""
        return await self._journal.owner((await self.connect()).host)

    async def _drive(self, *, force: bool = False) -> None:
        limits = self._connection.limits()
        self._keeper.changed()
        self._keeper.start(
            (await self.connect()).host,
            await self._connection.client(),
            schedule_limits(self._settings, limits),
            body_bytes_max=limits.body_bytes_max,
            force=force,
        )
        if force:
            await self._keeper.forced()

    async def describe(self, target: Target) -> Schema:
        """Return the fields that an import into a target may have; of program members, no program is looked at.

        Raises:
            SourceError: there is no such custom object.
            MarketoError: Marketo cannot be asked.

        """
        from orchestrator import preflight

        await self.connect()
        return await preflight.describe(await self._connection.client(), target)

    async def usage(self) -> Usage:
        """Return the API calls that the whole subscription made today; raises `MarketoError`."""
        await self.connect()
        usage = await (await self._connection.client()).usage()
        await self._meter.told(usage)
        return usage

    # --- jobs --------------------------------------------------------------------------------------------

    async def submit(self, request: ImportRequest, *, take_over: bool = False) -> JobHandle:
        """Check the sources, write the job to the journal, and begin to send it.

        If an earlier job has the same key, or the same content and target, that one is gone on with, and its handle,
        which is ``known``, is returned.  With ``take_over`` the subscription is taken from a live process that drives it.

        Raises:
            SourceError: a source cannot be imported as it is, or was imported before; nothing was sent.
            ConfigError: the request cannot be carried out, for example because the journal does not know the job that it
                is to come after; nothing was sent.
            MarketoError: Marketo cannot be reached, or refuses the credentials.

        """
        job, earlier = await (await self._receive()).submission.submit(request, self.connect)
        if earlier is not None:
            return await self._join(earlier, request, take_over=take_over)
        if not request.detach:
            await self._drive(force=take_over)
        return self.handle(job.id)

    async def _join(self, earlier: Job, request: ImportRequest, *, take_over: bool) -> JobHandle:
        """Go on with an earlier job if it may; a paused one waits until it is resumed by its name."""
        unfinished = earlier.state in (JobState.RUNNING, JobState.INCOMPLETE)
        if unfinished and not request.detach and request.if_known is not IfKnown.SKIP:
            await self.resume([earlier.id], flags=request.flags or None, take_over=take_over)
        return self.handle(earlier.id, known=True)

    async def plan(self, request: ImportRequest, *, offline: bool = False) -> Forecast:
        """Do what `submit` does up to the first upload, and say what it would take; nothing is sent.

        With ``offline``, Marketo is not asked at all, so headers are not compared with it.

        Raises:
            SourceError: a source cannot be imported as it is.
            ConfigError: the request cannot be carried out.
            MarketoError: Marketo cannot be reached, or refuses the credentials.

        """
        reception = await self._receive()
        if not offline:
            await self.connect()
        return await reception.preview.plan(request, offline=offline)

    async def check(self, request: ImportRequest, *, offline: bool = False) -> Checked:
        """Make the checks that come before an import: target, sources and headers; nothing is sent.

        Raises what `plan` raises.
        """
        reception = await self._receive()
        if not offline:
            await self.connect()
        return await reception.preview.check(request, offline=offline)

    async def draft_mapping(self, request: ImportRequest) -> str:
        """Return a mapping of a request's columns to the fields of its target, in TOML, for a person to look over.

        Raises:
            SourceError: a source cannot be read, or there is no such target.
            MarketoError: Marketo cannot be asked.

        """
        reception = await self._receive()
        await self.connect()
        return await reception.preview.draft(request)

    def handle(self, job_id: JobId, *, known: bool = False) -> JobHandle:
        """Return a handle on a job that is known to exist; see `job`."""
        return JobHandle(
            job_id,
            known=known,
            journal=self._journal,
            offload=self._offload,
            state_dir=self._state_dir,
            next_change=self._keeper.next_change,
            wanted=self._holds.wanted,
            stopped=lambda: self._keeper.stopped,
            overtaken=lambda: self._keeper.overtaken,
            prospects=self._prospects,
        )

    async def job(self, job_id: str) -> JobHandle:
        """Return a handle on the job with this id, or the only one whose id starts so.

        Raises:
            JobUnknown: there is none, or more than one.

        """
        return self.handle((await self._journal.job(job_id)).id)

    async def jobs(self) -> list[Job]:
        """Return all jobs in the journal, oldest first."""
        return await self._journal.jobs()

    async def resume(
        self,
        job_ids: Sequence[str] = (),
        *,
        on_unknown: OnUnknown | None = None,
        sources: Mapping[str, str] = MappingProxyType({}),
        flags: str | None = None,
        take_over: bool = False,
    ) -> Resumed:
        """Go on with jobs that a crash, a signal or a temporary cause stopped: those named, or all of them.

        ``on_unknown`` is what is done from now on with uploads whose answer is lost; None leaves it as it was.
        ``sources`` has the new path of each source of one named job that was moved; its content must be the same.
        ``flags`` are what ``ImportRequest.flags`` are, from now on; None leaves them as they were.
        With ``take_over`` the subscription is taken from a live process that drives it, with the jobs it works on.

        Raises:
            JobUnknown: a job is not in the journal.
            ConfigError: a job belongs to another subscription.
            SourceError: a source of a job that was never planned cannot be imported as it is, or one that was moved is
                another one, and the job is named.

        """
        going, skipped = await (await self._receive()).resumption.resume(
            job_ids, await self.connect(), on_unknown, sources, flags=flags, take_over=take_over
        )
        if going:
            await self._drive(force=take_over)
        return Resumed(jobs=tuple(map(self.handle, going)), skipped=tuple(skipped))

    async def pause(self, job_id: str, reason: str | None = None) -> Stopping:
        """Have no more of a job sent until it is resumed, whichever process drives it; say how far it is.

        Batches under way are seen to their end.  Nothing changes if it has ended, is paused, or is being cancelled.

        Raises:
            JobUnknown: there is no such job.

        """
        return await self._control.pause(await self._journal.job(job_id), reason)

    async def cancel(self, job_id: str, reason: str | None = None) -> Stopping:
        """Have no more of a job sent, for good; else as `pause`."""
        return await self._control.cancel(await self._journal.job(job_id), reason)

    def drain(self, reason: str | None = None) -> None:
        """Send nothing more and finish the upload under way; everything can be resumed.

        With a ``reason``, ``sigint`` for example, the jobs that this process waits for then end as stopped for it.
        Without one they stay as they are, and `resume` goes on with them too.
        """
        self._keeper.drain(reason)

    def abandon(self) -> None:
        """Stop and break the upload under way off; its outcome is unknown if all of it has left."""
        self._keeper.abandon()


def run(request: ImportRequest, settings: Settings | None = None, *, subscription: str | None = None) -> Summary:
    """Import and wait for the end, from code that is not asynchronous.

    Raises what `Orchestrator.open`, `Orchestrator.submit` and `JobHandle.wait` raise.
    """

    async def work() -> Summary:
        async with Orchestrator.open(settings, subscription=subscription) as orchestrator:
            job = await orchestrator.submit(request)
            return await job.wait()

    return asyncio.run(work())
