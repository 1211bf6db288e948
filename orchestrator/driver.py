"""The shell around the heart: the one place that waits, and the one task that works for a subscription.

Every turn of the loop asks the heart what to do, starts a task for each command, and waits for a fact, for the
next time the heart named, or for a new job.  The tasks belong to the loop and end with it.  A submission is
shielded: it ends by its own outcome, which is durable before it is told, or by `abandon`, after which the
journal still says that it was under way if all of it has left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from random import Random

import anyio
import structlog

from orchestrator import events
from orchestrator.batches import Batches
from orchestrator.clock import Clock
from orchestrator.crowding import Crowd
from orchestrator.desk import CallCounts, Desk, DrivenJob, space_of
from orchestrator.errors import JobUnknown, MarketoError, first_of
from orchestrator.finishing import Finisher
from orchestrator.hashing import Hashing
from orchestrator.home import not_at
from orchestrator.housekeeping import Housekeeping
from orchestrator.journal.changes import Told, UsageTold
from orchestrator.journal.journal import Journal
from orchestrator.journal.values import ALIVE, ENDED, DayCalls, Lease
from orchestrator.marketo.client import Client
from orchestrator.marketo.day import next_try_ms, quota_day
from orchestrator.model import Home, Job, JobId, JobState, Phase, Share, Wish
from orchestrator.occupants import Occupants
from orchestrator.offload import Offload
from orchestrator.outcome import job_directory
from orchestrator.probes import Probes
from orchestrator.prospect import is_like_before
from orchestrator.schedule import messages as m
from orchestrator.schedule.core import Scheduler
from orchestrator.schedule.messages import Stop
from orchestrator.schedule.state import IN_FLIGHT, Limits
from orchestrator.uploads import Uploads

LOOK_FOR_JOBS_MS = 1_000  # how long a job that another process journalled may wait to be seen

USAGE_ASKED_EVERY_S = 1_800.0  # Marketo counts some minutes late, so more often tells little
# The first upload waits for it: an answer of Marketo's also tells its clock, and by that an upload whose answer is lost
# can be told from what was there before.
USAGE_WAITED_FOR_S = 5.0

UNDER_WAY = (*IN_FLIGHT, Phase.COLLECTING)
STOPS = {Wish.PAUSE: Stop.PAUSED, Wish.CANCEL: Stop.CANCELLED}


class Driver:
    """Drives the jobs of one subscription until it is told to drain, or nothing is left to do."""

    def __init__(
        self,
        *,
        lease: Lease,
        journal: Journal,
        client: Client,
        calls: CallCounts,
        offload: Offload,
        clock: Clock,
        rng: Random,
        limits: Limits,
        body_bytes_max: int,
        salt: bytes,
        state_dir: Path,
        home: Home,
        housekeeping: Housekeeping,
        wanted: Callable[[JobId], bool],
        ended: Callable[[JobId], None],
        changed: Callable[[], None],
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        """Set up a driver.

        ``wanted`` tells whether some live process waits for a job, so that its unsent chunks are to be sent;
        ``ended`` is called as soon as the journal has a job's end, ``changed`` whenever it has something new.
        """
        self._lease = lease
        self._journal = journal
        self._clock = clock
        self._state_dir = state_dir
        self._home = home
        self._housekeeping = housekeeping
        self._wanted = wanted
        self._ended = ended
        self._changed = changed
        self._log = log
        self._offload = offload
        self._scheduler = Scheduler(limits, body_bytes_max=body_bytes_max, rng=rng)
        self._desk = Desk(journal=journal, lease=lease, calls=calls, scheduler=self._scheduler, clock=clock)
        self._crowd = Crowd(limits)
        self._uploads = Uploads(self._desk, client=client, offload=offload, crowd=self._crowd, salt=salt)
        self._occupants = Occupants(
            self._desk, uploads=self._uploads, scheduler=self._scheduler, state_dir=state_dir, home=home, log=log
        )
        self._hashing = Hashing(self._desk, offload=offload, log=log)
        self._batches = Batches(self._desk, client=client, offload=offload)
        self._finisher = Finisher(
            journal=journal, lease=lease, offload=offload, write=self._desk.write, now_ms=clock.now_ms
        )
        self._probes = Probes(self._desk, client=client, offload=offload, host=lease.host, limits=limits)
        self._facts: list[m.Fact] = []
        self._wake = asyncio.Event()
        self._usage_asked = asyncio.Event()
        self._submission: anyio.CancelScope | None = None
        self._draining = False
        self._seen: set[JobId] = set()
        self._sending: set[JobId] = set()  # the others are only watched: nobody waits for their unsent chunks
        self._heeded: dict[JobId, Wish] = {}
        self._unanswered: dict[JobId, Wish] = {}  # of them: nobody was told yet
        self._short = False  # of calls for more submissions
        self._client = client
        self._known_calls = DayCalls(own=0, others=0)
        self._made_before = 0
        self._looked_ms = 0

    # --- from outside ------------------------------------------------------------------------------------

    def look(self) -> None:
        """Look for new jobs now."""
        self._looked_ms = 0
        self._wake.set()

    def drain(self) -> None:
        """Send nothing more; `run` returns when the submission under way, if any, has its outcome."""
        self._draining = True
        self._scheduler.drain()
        if self._submission is not None and not self._uploads.begun:
            self._submission.cancel()
        self._wake.set()

    def abandon(self) -> bool:
        """Stop at once: a submission under way, True, is broken off; its outcome is unknown if all of it has left."""
        self.drain()
        if self._submission is None:
            return False
        self._submission.cancel()
        return True

    async def run(self) -> None:
        """Drive until drained.

        Raises:
            Fenced: another process has taken the subscription over.
            JournalError: a fact could not be made durable.

        """
        learned = await self._journal.learned_cap(self._lease.host)
        if learned is not None:
            self._scheduler.known.cap.recall(learned.bytes_max, learned.learned_ms)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._ask_usage)
                tasks.start_soon(self._housekeeping.run)
                with anyio.move_on_after(USAGE_WAITED_FOR_S):
                    await self._usage_asked.wait()
                await self._occupants.take_in(self._lease.host)
                while not self._draining or self._submission is not None:
                    await self._turn(tasks)
                await self._housekeeping.at_end()
                tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise first_of(group) from group
        finally:
            with anyio.CancelScope(shield=True):
                await self._desk.write()  # the calls counted since the last write

    # --- the loop ----------------------------------------------------------------------------------------

    async def _turn(self, tasks: anyio.abc.TaskGroup) -> None:
        facts, self._facts = self._facts, []
        for fact in facts:
            self._scheduler.apply(fact, self._clock.now_ms())
            if isinstance(fact, m.JobEnded):
                self._take_out(fact.job)
        await self._look_for_jobs(self._clock.now_ms())
        self._hashing.begin(tasks)
        self._tell_calls()
        now_ms = self._clock.now_ms()
        wake_ms = max(self._looked_ms, now_ms) + LOOK_FOR_JOBS_MS
        for command in self._scheduler.decide(now_ms):
            if isinstance(command, m.WaitUntil):
                wake_ms = min(wake_ms, command.at_ms)
            elif isinstance(command, m.SubmitChunk):
                self._submission = anyio.CancelScope(shield=True)
                tasks.start_soon(self._submit, command, self._submission)
            else:
                tasks.start_soon(self._carry_out, command)
        if not self._facts:
            await self._sleep_until(wake_ms)

    async def _sleep_until(self, at_ms: int) -> None:
        timeout_s = max(0, at_ms - self._clock.now_ms()) / 1000
        with anyio.move_on_after(timeout_s):
            await self._wake.wait()
        self._wake.clear()

    def _tell(self, fact: m.Fact) -> None:
        self._facts.append(fact)
        self._wake.set()
        self._changed()

    async def _submit(self, command: m.SubmitChunk, scope: anyio.CancelScope) -> None:
        """Carry a submission out whatever happens to the loop, unless it is abandoned."""
        try:
            with scope:
                self._tell(await self._uploads.submit(command))
        finally:
            self._submission = None
            self._wake.set()

    async def _carry_out(self, command: m.Command) -> None:
        actions: dict[type[m.Command], Callable[..., Awaitable[m.Fact]]] = {
            m.ComputeClaims: self._uploads.compute_claims,
            m.SeekBatch: self._probes.seek,
            m.PollBatch: self._batches.poll,
            m.CollectBatch: self._batches.collect,
            m.SplitChunk: self._uploads.split,
            m.RefuseChunk: self._uploads.refuse,
            m.FinishJob: self._finish,
        }
        if isinstance(command, m.ReleaseClaims):
            await self._uploads.release_claims(command)
        else:
            self._tell(await actions[type(command)](command))

    # --- jobs --------------------------------------------------------------------------------------------

    async def _look_for_jobs(self, now_ms: int) -> None:
        """Take in what other processes wrote to the journal, and write what no fact carried."""
        if now_ms < self._looked_ms + LOOK_FOR_JOBS_MS:
            return
        self._looked_ms = now_ms
        if self._draining:
            await self._desk.confirm()  # which tells others that this process does not hang
            return
        await self._count_calls()
        await self._desk.tell_reserved(self._scheduler.turns.reserved(now_ms))
        await self._desk.confirm()  # a process that was stopped may have lost the subscription meanwhile
        for job in await self._journal.jobs(host=self._lease.host, states=ALIVE):
            elsewhere = not_at(self._home, job)
            if elsewhere is not None:
                if job.id not in self._seen:
                    self._seen.add(job.id)
                    self._log.warning("job.skipped", job_id=job.id, reason=elsewhere)
                continue
            sends = job.state is JobState.RUNNING and (
                job.wish is not None or job.options.detached or self._wanted(job.id)
            )
            if sends and job.wish is None and job.id not in self._sending and await self._is_behind(job):
                sends = False
            if sends and (job.id not in self._sending or self._decided_anew(job)):
                await self._take_in(job, sends=True)
            elif not sends and job.id in self._sending:
                self._sending.discard(job.id)
                self._scheduler.apply(m.JobUnwanted(job=job.id), now_ms)
                self._log.info("job.unwanted", job_id=job.id)
            elif job.id not in self._seen:
                await self._take_in(job, sends=False)
            if sends and job.wish is not self._heeded.get(job.id):
                await self._heed(job)
        await self._answer()

    def _tell_calls(self) -> None:
        """Let the heart know of the calls that stood in the journal a moment ago, and of those made since."""
        known, since = self._known_calls, self._desk.calls.made - self._made_before
        self._scheduler.apply(m.CallsCounted(own=known.own + since, others=known.others), self._clock.now_ms())

    async def _count_calls(self) -> None:
        """Look how many calls were made today by all, and tell everybody when there are too few to go on sending."""
        if self._desk.calls.unwritten:
            await self._desk.write()
        made = self._desk.calls.made
        self._known_calls = await self._journal.calls_of(self._lease.host, quota_day(self._clock.wall_ms()))
        self._made_before = made
        self._tell_calls()
        before, self._short = self._short, self._scheduler.short_of_calls
        if self._short and not before:
            now_ms, until_ms = self._clock.now_ms(), next_try_ms(self._clock.wall_ms())
            told = [events.QuotaReached(job_id=job, ts_ms=now_ms, until_ms=until_ms) for job in sorted(self._sending)]
            await self._desk.write(*(Told(event=event) for event in told))
            self._log.warning("quota.reached", calls=asdict(self._known_calls), until_ms=until_ms)

    async def _ask_usage(self) -> None:
        """Ask Marketo now and then how many calls everybody made; what it does not tell is asked for again later."""
        while True:
            with suppress(MarketoError):
                usage = await self._client.usage()
                self._crowd.note_usage(usage)
                day = quota_day(self._clock.wall_ms())
                if usage.date in ("", day):
                    await self._desk.write(UsageTold(host=self._lease.host, day=day, total=usage.total))
            self._usage_asked.set()
            await anyio.sleep(USAGE_ASKED_EVERY_S)

    async def _is_behind(self, job: Job) -> bool:
        """Tell whether a job is to begin only when another one has ended, which has not."""
        if job.options.after is None:
            return False
        try:
            state = (await self._journal.job(job.options.after)).state
        except JobUnknown:  # pruned: it has ended long ago
            return False
        return state not in ENDED

    async def _heed(self, job: Job) -> None:
        """Stop a job as somebody wishes, or go on with one of which the wish was taken back."""
        if job.wish is None:
            del self._heeded[job.id]
            self._unanswered.pop(job.id, None)
            await self._take_in(job, sends=True)
        else:
            self._heeded[job.id] = self._unanswered[job.id] = job.wish
            self._scheduler.apply(m.StopAsked(job=job.id, reason=STOPS[job.wish]), self._clock.now_ms())
            self._log.info("job.stopping", job_id=job.id, wish=job.wish)

    async def _answer(self) -> None:
        """Tell those who asked for a stop that nothing more is sent: not before the journal has what is being sent."""
        if self._unanswered and (self._submission is None or self._desk.is_sending):
            now_ms, answered = self._clock.now_ms(), self._unanswered
            self._unanswered = {}
            told = [events.JobStopHeeded(job_id=job, ts_ms=now_ms, wish=wish) for job, wish in answered.items()]
            await self._desk.write(*(Told(event=event) for event in told))

    def _decided_anew(self, job: Job) -> bool:
        """Tell whether somebody changed what is to be done with lost answers."""
        driven = self._desk.jobs.get(job.id)
        return driven is not None and driven.job.options.on_unknown is not job.options.on_unknown

    async def _take_in(self, job: Job, *, sends: bool) -> None:
        """Hand a job to the heart; one that nobody waits for only if something of it is under way."""
        self._seen.add(job.id)
        if sends:
            self._sending.add(job.id)
        driven = self._desk.jobs.get(job.id)
        if driven is None:
            chunks = await self._journal.chunks(job.id)
            if not sends and not any(chunk.phase in UNDER_WAY for chunk in chunks):
                return
            directory = job_directory(self._state_dir, job)
            driven = DrivenJob(job=job, sources=(), directory=directory, chunks={chunk.id: chunk for chunk in chunks})
            self._desk.jobs[job.id] = driven
        driven.job, driven.sources = job, await self._journal.sources(job.id)  # they may have been moved
        if sends:
            await self._desk.recall(driven)
        chunks = tuple(driven.chunks.values())
        failed_max = job.options.failed_max
        arrived = m.JobArrived(
            job=job.id,
            space=space_of(job),
            chunks=tuple(driven.seen(chunk) for chunk in chunks),
            sends=sends,
            failed_max=None if failed_max is None else Share.parse(failed_max),
            stops_behind_canary=job.options.canary_asks,
            waits_for_quota=job.options.waits_for_quota,
            on_unknown=job.options.on_unknown,
            priority=job.options.priority,
            trusted=await is_like_before(self._journal, job, driven.sources, self._clock.now_ms()),
        )
        self._scheduler.apply(arrived, self._clock.now_ms())
        for chunk in chunks:
            if chunk.phase is Phase.SUBMITTING and self._submission is None:
                await self._uploads.note_lost(driven, chunk)
        self._log.info("job.taken_in", job_id=job.id, sends=sends, chunks=len(chunks))

    def _take_out(self, job: JobId) -> None:
        """Forget a job that has ended, and look at once whether somebody wants it again by now."""
        del self._desk.jobs[job]
        self._hashing.forget(job)
        self._sending.discard(job)
        self._seen.discard(job)
        self._heeded.pop(job, None)
        self._unanswered.pop(job, None)
        self._looked_ms = 0

    async def _finish(self, command: m.FinishJob) -> m.Fact:
        driven = self._desk.jobs[command.job]
        await self._hashing.ended(command.job)
        ended = await self._finisher.finish(driven.job, driven.directory, command.stops)
        if ended is None:  # it is taken in again, as the journal has it now
            self._log.info("job.wanted_otherwise", job_id=command.job, stops=command.stops)
        else:
            self._ended(ended.id)
            self._log.info("job.finished", job_id=ended.id, state=ended.state, exit_code=ended.exit_code)
        return m.JobEnded(job=command.job)
