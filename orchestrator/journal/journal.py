"""The journal for asyncio: every call runs in one thread of its own, in the order of the calls.

The thread owns the database connection.  A caller that is cancelled stops waiting, and nothing else: what it
asked for is done whole, before anything asked for later, and before the journal closes.  So a fact handed to
`write` is never torn and never overtaken, and after a cancellation a read tells what became of it.

An error of a write says that its outcome is not known for certain: read again before going on.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar

from sqlalchemy import Connection

from orchestrator.errors import Fenced, JournalError
from orchestrator.events import Event
from orchestrator.journal import audit, fencing, pruning, reading, writing
from orchestrator.journal.changes import CapLearned, Change, FindingAdded, JobPlanned
from orchestrator.journal.legible import legible_jobs
from orchestrator.journal.location import locate
from orchestrator.journal.store import Store
from orchestrator.journal.values import Away, Backlog, Counters, DayCalls, Foretold, Lease, Owner, Progress
from orchestrator.model import BatchId, Chunk, ChunkId, Finding, Home, Job, JobId, JobState, Source, Target

SALT_BYTES: Final = 16  # what a keyed hash takes as salt
CONFIRMED_MS: Final = 10_000  # an answer older than this says nothing about now; leases are good for 20 seconds
EVENTS_MAX: Final = 1_000  # events of one reading: a few hundred kilobytes in memory

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Journal:
    """The durable truth about jobs, chunks and subscriptions."""

    def __init__(self, store: Store, *, now_ms: Callable[[], int], token_bytes: Callable[[int], bytes]) -> None:
        self._store = store
        self._now_ms = now_ms
        self._token_bytes = token_bytes
        self._closed = False
        self._renewals: dict[Lease, asyncio.Task[None]] = {}
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, *, now_ms: Callable[[], int], token_bytes: Callable[[int], bytes] = secrets.token_bytes
    ) -> AsyncIterator[Self]:
        """Open the journal at `sqlite:///PATH` or `postgresql+psycopg://USER@HOST/DATABASE`.

        Its tables are made, or brought up to this version, if need be.
        Raises `JournalCorrupt` for a damaged one, `JournalVersionUnknown` for one of a newer version,
        `JournalUnreachable` if the server of the database does not answer, and `JournalUnusable` if none can be there:
        the place is wrong, or access is denied, or it lies on a network file system.
        """
        journal = cls(_store_at(url), now_ms=now_ms, token_bytes=token_bytes)
        try:
            await journal._run(partial(journal._store.open, now_ms()))
            yield journal
        finally:
            journal.hurry()
            for renewal in journal._renewals.values():
                renewal.cancel()
            try:
                await journal._run(journal._store.close)
            finally:
                journal._closed = True
                journal._executor.shutdown(wait=False)  # what was asked for is still done

    def hurry(self) -> None:
        """Wait a few seconds at most, from now on, for a server that does not answer: the process is to end."""
        self._store.hurry()

    def away(self) -> Away | None:
        """Tell at once whether the database's server does not answer, and how long it is waited for; None: it does."""
        return self._store.away()

    # --- reading -------------------------------------------------------------------------------------

    async def job(self, job_id: str) -> Job:
        """Return the job with this id, or the only one whose id starts so; else raise `JournalError`."""
        return await self._read(reading.job, job_id)

    async def jobs(self, *, host: str | None = None, states: Collection[JobState] | None = None) -> list[Job]:
        """Return the jobs of one host or of all, in some states or in any, oldest first."""
        return await self._read(reading.job_list, host, states)

    async def sources(self, job_id: JobId) -> tuple[Source, ...]:
        """Return the sources of a job in their order; none before it is planned."""
        return await self._read(reading.job_sources, job_id)

    async def chunks(self, job_id: JobId) -> tuple[Chunk, ...]:
        """Return all chunks of a job by source, first row and depth: a split one stands before its parts."""
        return await self._read(reading.job_chunks, job_id)

    async def parts(self, chunk_id: ChunkId) -> tuple[Chunk, ...]:
        """Return the parts that a chunk was split into, in their order; none if it was not."""
        return await self._read(reading.chunk_parts, chunk_id)

    async def findings(self, job_id: JobId) -> tuple[Finding, ...]:
        """Return the findings of a job in the order in which they came up."""
        return await self._read(reading.job_findings, job_id)

    async def events(self, job_id: JobId, *, after: int = 0, limit: int = EVENTS_MAX) -> list[Event]:
        """Return the first events of a job whose `seq` is greater than `after`."""
        return await self._read(reading.job_events, job_id, after, limit)

    async def counters(self, job_id: JobId) -> Counters:
        """Return the API calls and the waits of a job."""
        return await self._read(reading.job_counters, job_id)

    async def went_well(self, host: str, target: Target, headers: Collection[bytes], *, since_ms: int) -> bool:
        """Tell whether batches with each of these headers were completed, with a row accepted, since a moment."""
        return await self._read(reading.went_well, host, target, headers, since_ms)

    async def calls_of(self, host: str, day: str) -> DayCalls:
        """Return the API calls of a subscription on a day of its quota."""
        return await self._read(reading.day_calls, host, day)

    async def progress(self, job_id: JobId) -> Progress:
        """Return how far a job is, summed in the database."""
        return await self._read(reading.job_progress, job_id)

    async def backlog(self, host: str, *, since_ms: int, ends_max: int) -> Backlog:
        """Return the jobs of a subscription that run, and the latest ends of batches, of jobs ended since a moment too."""
        return await self._read(reading.backlog, host, since_ms, ends_max)

    async def foretold(self, job: Job) -> Foretold | None:
        """Return the forecast of a job that was told last, None if none was."""
        return await self._read(reading.foretold, job)

    async def stop_heeded(self, job_id: JobId) -> bool:
        """Tell whether whoever drives a job has answered the last wish to stop it."""
        return await self._read(reading.stop_heeded, job_id)

    async def reserved(self, host: str, *, since_ms: int) -> dict[ChunkId, tuple[int, JobId]]:
        """Return which chunks of a subscription reserve their keys, by what was told since a moment."""
        return await self._read(reading.reserved, host, since_ms)

    async def last_batch_id(self, host: str) -> BatchId | None:
        """Return the highest batch id that is known of a subscription, None if there is none."""
        return await self._read(reading.last_batch_id, host)

    async def newest_ms(self) -> int:
        """Return the latest time that is told of anything that goes on, or of a job's end; 0 if there is none."""
        return await self._read(reading.newest_ms)

    async def longest_batch_ms(self, host: str, *, since_ms: int) -> int:
        """Return how long the longest batch took of those sent since a moment whose end was seen; 0 if there is none."""
        return await self._read(reading.longest_batch_ms, host, since_ms)

    async def occupying(self, host: str, *, since_ms: int) -> list[Job]:
        """Return the jobs, in any state, with uploads since a moment that Marketo may be at work on, oldest first."""
        return await self._read(reading.occupying, host, since_ms)

    async def submissions(self, host: str, after: BatchId) -> tuple[Chunk, ...]:
        """Return the chunks in doubt or being sent, and those with a batch behind ``after``, in the order of sending."""
        return await self._read(reading.submissions, host, after)

    async def learned_cap(self, host: str) -> CapLearned | None:
        """Return how large an upload a subscription was found to take last, None if it never refused one."""
        return await self._read(reading.learned_cap, host)

    async def check(self) -> None:
        """Read the whole file if it is one; raises `JournalCorrupt` if it is damaged."""
        await self._run(self._store.check)

    async def legible_jobs(self) -> list[str]:
        """Return the ids of all jobs, also of those of which nothing else can be read."""
        return (await self._read(legible_jobs))[0]

    async def flaws(self, job_id: JobId | None = None) -> list[audit.Flaw]:
        """Return what cannot be as it is: of the database itself, or of what it says of one job."""
        if job_id is None:
            return await self._read(audit.damaged)
        return await self._read(audit.job_flaws, job_id)

    async def owner(self, host: str) -> Owner | None:
        """Return the live process that drives a subscription, None if there is none."""
        return await self._run(partial(self._store.owner, host))

    # --- writing -------------------------------------------------------------------------------------

    async def add_job(self, job: Job) -> None:
        """Write a new job, and the event that says so; any process may do this for any subscription."""
        await self._write(writing.add_job, job, self._now_ms())

    async def salt(self, host: str) -> bytes:
        """Return the 16 bytes that a subscription's fingerprints are salted with, made once and kept."""
        return await self._write(fencing.salt, host, partial(self._token_bytes, SALT_BYTES))

    async def write(self, lease: Lease, changes: Sequence[Change], *, as_of: Job | None = None) -> bool:
        """Write changes in one transaction: when this returns, all of them are on the disk.

        What is made of a job as it was read is written with ``as_of``, and changes about no other: if its state, or
        what somebody wants of it, is another one by now, nothing is written, and False returned.
        Raises `Fenced`, having written nothing, if another process has taken the subscription over.
        """
        return await self._write(writing.write, lease, tuple(changes), self._now_ms(), as_of)

    async def plan_once(
        self, planned: JobPlanned, found: Sequence[FindingAdded], unlike: Collection[JobId] = ()
    ) -> bool:
        """Write a job's plan and findings; False, nothing written, if somebody else was sooner.

        With the plan of this job, that is, or with another job of the same key or content; ``unlike`` are none such.
        """
        return await self._write(writing.plan_once, planned, tuple(found), self._now_ms(), tuple(unlike))

    async def write_unfenced(
        self,
        changes: Sequence[Change],
        *,
        only_from: Collection[JobState] | None = None,
        as_of: Job | None = None,
    ) -> bool:
        """Write changes about a job as a whole in one transaction, for whoever waits for it; no lease is needed.

        What may be written so is what any process may know: `JobPlanned`, `JobWithdrawn`, `JobChanged`, `SourceMoved`,
        `FindingAdded`, `CallsCounted`, `UsageTold` and `Told`; raises `JournalError` for anything else.  With
        ``only_from``, nothing is written, and False returned, if another process has brought the job into a state that
        is none of these; ``as_of`` is that of `write`.
        """
        return await self._write(writing.write_unfenced, tuple(changes), self._now_ms(), only_from, as_of)

    async def condemn(self, lease: Lease, home: Home, before_ms: int) -> JobId | None:
        """Return a job of this state directory that ended before a moment and is to be forgotten, None if none is.

        Nobody finds it in the journal from then on.  Raises `Fenced`.
        """
        return await self._write(pruning.condemn, lease, home, before_ms, self._now_ms())

    async def prune(self, lease: Lease, job_id: JobId) -> bool:
        """Remove some rows of a condemned job; return whether none is left.  Raises `Fenced`."""
        return await self._write(pruning.prune, lease, job_id)

    # --- who drives a subscription -------------------------------------------------------------------

    async def take_over(self, host: str, *, force: bool = False, home: Home | None = None) -> Lease:
        """Become the one process that writes for a subscription; leases given out before are worthless.

        With ``force``, even if a live process drives it, which writes nothing more from then on.  Others are told
        ``home``, whose jobs alone this process sends.
        Raises `SubscriptionBusy` if a live process drives it, and `JournalCorrupt` if the file is damaged.
        """
        taken: list[Lease] = []
        now_ms = self._now_ms()

        def take() -> None:
            taken.append(self._store.take_over(host, now_ms, force=force, home=None if home is None else home.id))

        def give_back() -> None:
            for lease in taken:
                self._store.release(lease)

        try:
            await self._run(take)
        except asyncio.CancelledError:
            with suppress(JournalError):  # closed by now, and everything given back with it
                await self._run(give_back)  # the caller does not learn of its lease, so it could not
            raise
        if self._store.renewal_s is not None:
            renewal = self._renew(taken[0], self._store.renewal_s)
            self._renewals[taken[0]] = asyncio.create_task(renewal, name=f"lease of {host}")
        return taken[0]

    async def _renew(self, lease: Lease, every_s: float) -> None:
        """Keep a lease from growing stale, until it is released or good no longer."""
        while True:
            await asyncio.sleep(every_s)
            try:
                await self.confirm(lease)
            except Fenced:
                return  # the next write says so to whoever holds it
            except JournalError:
                continue  # the next try may reach the database again

    async def confirm(self, lease: Lease) -> None:
        """Make sure that a lease is good at this moment, and will be for some seconds if nobody takes it by force.

        Raises `Fenced` if another process has taken the subscription over.
        """
        while True:
            asked_ms = self._now_ms()
            await self._run(partial(self._store.confirm, lease))
            if self._now_ms() - asked_ms < CONFIRMED_MS:
                return  # else this process was stopped on the way, and another one may have taken over meanwhile

    async def release(self, lease: Lease) -> None:
        """Let others drive the subscription; nothing if it was released before."""
        renewal = self._renewals.pop(lease, None)
        if renewal is not None:
            renewal.cancel()
        await self._run(partial(self._store.release, lease))

    # --- the thread ----------------------------------------------------------------------------------

    async def _read(
        self, function: Callable[Concatenate[Connection, _P], _T], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        return await self._run(partial(self._store.read, function, *args, **kwargs))

    async def _write(
        self, function: Callable[Concatenate[Connection, _P], _T], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        return await self._run(partial(self._store.write, function, *args, **kwargs))

    async def _run(self, call: Callable[[], _T]) -> _T:
        """Do a call in the journal's thread, to its end even if the caller is cancelled."""
        if self._closed:
            raise JournalError("the journal is closed; open it again to go on")
        doing = asyncio.get_running_loop().run_in_executor(self._executor, call)
        doing.add_done_callback(_look_at_error)
        return await asyncio.shield(doing)


def _store_at(url: str) -> Store:
    """Return the store of a journal's URL, not yet open."""
    place = locate(url)
    if isinstance(place, Path):
        from orchestrator.journal.sqlite import SqliteStore

        return SqliteStore(place)
    from orchestrator.journal.postgres import PostgresStore

    return PostgresStore(place)


def _look_at_error(done: asyncio.Future[Any]) -> None:
    """Take note of an error whose caller was cancelled: asyncio would report it as one that nobody looked at."""
    if not done.cancelled():
        done.exception()
