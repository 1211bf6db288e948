"""What all commands about a subscription's jobs share: the jobs themselves, the journal, the counting of calls.

The order within every command is the same: what must be known after a crash is written to the journal before it
is acted upon, and the outcome is written before the fact is told to the heart.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from orchestrator.clock import Clock
from orchestrator.errors import (
    ConcurrencyLimited,
    DailyQuotaExhausted,
    ImportQueueFull,
    ListBusy,
    MarketoError,
    NotDelivered,
    RateLimited,
    SourceError,
    Unavailable,
)
from orchestrator.events import BatchCompleted, ChunkReserved, ChunkUnreserved, EtaForetold
from orchestrator.journal.changes import CallsCounted, Change, ChunkChanged, ChunkValues, FindingAdded, Told
from orchestrator.journal.journal import Journal
from orchestrator.journal.values import Lease
from orchestrator.marketo import wire
from orchestrator.marketo.day import next_try_ms, quota_day
from orchestrator.model import (
    BatchId,
    Chunk,
    ChunkId,
    CustomObjects,
    Finding,
    Job,
    JobId,
    Leads,
    Phase,
    RepeatedKeys,
    Source,
    Span,
)
from orchestrator.outcome import part_path
from orchestrator.report.ahead import Left, rows_ahead
from orchestrator.report.eta import ENDS_MAX, without_idleness
from orchestrator.report.outlook import Outlook, Way
from orchestrator.schedule import messages as m
from orchestrator.schedule.core import Scheduler
from orchestrator.schedule.messages import Cause, Stop
from orchestrator.schedule.state import FINAL, TrackedChunk
from orchestrator.source.opening import read_span

CAUSES: dict[type[MarketoError], Cause] = {
    ImportQueueFull: Cause.QUEUE_FULL,
    ListBusy: Cause.LIST_BUSY,
    RateLimited: Cause.RATE_LIMITED,
    ConcurrencyLimited: Cause.CONCURRENCY_LIMITED,
    DailyQuotaExhausted: Cause.QUOTA_EXHAUSTED,
    Unavailable: Cause.TRANSIENT,
    NotDelivered: Cause.TRANSIENT,
}


CALLS_UNWRITTEN_MAX = 10  # a crash forgets no more


def body_bytes(source: Source, span: Span) -> int:
    """Return the size of the upload of a span, its multipart frame included."""
    return wire.MULTIPART_OVERHEAD_BYTES + len(source.header) + span.end - span.start


def part_bytes_max(body_bytes_max: int) -> int:
    """Return how many bytes of header and records fit an upload of this size."""
    return body_bytes_max - wire.MULTIPART_OVERHEAD_BYTES


def space_of(job: Job) -> m.Space:
    """Return what the claims of a job's chunks are compared with.

    Imports of program members create and update people, so they share their keys with imports of leads.
    """
    target = job.target
    exclusive = None
    entity = "person"
    if isinstance(target, CustomObjects):
        entity = f"custom:{target.api_name}"
    elif isinstance(target, Leads) and target.list_id is not None:
        exclusive = f"list:{target.list_id}"
    return m.Space(
        entity=entity,
        key_field=",".join(job.key_columns),
        exclusive=exclusive,
        compared=job.options.on_repeated_key is not RepeatedKeys.IGNORE,
    )


@dataclass(slots=True, kw_only=True)
class DrivenJob:
    """A job with all that its commands need."""

    job: Job
    sources: tuple[Source, ...]
    directory: Path  # its own part of the state directory
    chunks: dict[ChunkId, Chunk]
    elsewhere: bool = False  # it belongs to another state directory: of its files, none is looked for here
    outlook: Outlook = field(default_factory=Outlook)

    def part(self, chunk: ChunkId) -> Path:
        """Return where the failed and warned rows of a chunk are kept."""
        return part_path(self.directory, chunk)

    @property
    def left(self) -> Left:
        """What of it has not been imported."""
        spans = [chunk.span for chunk in self.chunks.values() if chunk.phase not in (*FINAL, Phase.COLLECTING)]
        return Left(
            rows=sum(span.rows for span in spans),
            size_bytes=sum(span.end - span.start for span in spans),
            priority=self.job.options.priority,
        )

    def seen(self, chunk: Chunk) -> m.ChunkSeen:
        """Return what the heart needs to know of a chunk."""
        return m.ChunkSeen(
            id=chunk.id,
            source=chunk.span.source,
            first_row=chunk.span.first_row,
            rows=chunk.span.rows,
            body_bytes=body_bytes(self.sources[chunk.span.source], chunk.span),
            phase=chunk.phase,
            depth=chunk.depth,
            failures=chunk.batch_failures,
            batch_id=chunk.batch_id,
            submitted_ms=chunk.submitted_ms,
            hold_until_ms=chunk.hold_until_ms,
            canary=chunk.canary,
            too_large=chunk.too_large,
        )


class CallCounts:
    """Counts API calls for the job on whose behalf they are made, until they are written to the journal."""

    def __init__(self) -> None:
        self._job: ContextVar[JobId | None] = ContextVar("job", default=None)
        self._pending: Counter[tuple[JobId | None, str]] = Counter()
        self.made = 0  # since the beginning, those that the day's quota counts
        self.many = asyncio.Event()  # set when so many wait to be written that it should be done soon

    def count(self, kind: str) -> None:
        """Count a call; the client's ``on_call``."""
        self._pending[self._job.get(), kind] += 1
        self.made += kind != "token"
        if self._pending.total() >= CALLS_UNWRITTEN_MAX:
            self.many.set()

    @contextmanager
    def on_behalf_of(self, job: JobId) -> Iterator[None]:
        """Let the calls made within belong to a job."""
        token = self._job.set(job)
        try:
            yield
        finally:
            self._job.reset(token)

    def adopt(self, job: JobId) -> None:
        """Let the calls made before there was a job, to log in for example, belong to this one."""
        for nobodys, kind in [key for key in self._pending if key[0] is None]:
            self._pending[job, kind] += self._pending.pop((nobodys, kind))

    def disown(self, job: JobId) -> None:
        """Let the calls that were made for a job belong to none: there is no such job."""
        for owner, kind in [key for key in self._pending if key[0] == job]:
            self._pending[None, kind] += self._pending.pop((owner, kind))

    @property
    def unwritten(self) -> bool:
        """Tell whether something is to be written."""
        return bool(self._pending)

    def take(self, host: str, day: str) -> list[Change]:
        """Return what is to be written, and begin anew."""
        pending, self._pending = self._pending, Counter()
        self.many.clear()
        return [
            CallsCounted(job_id=job, host=host, day=day, kind=kind, count=count)
            for (job, kind), count in pending.items()
        ]


class Desk:
    """The jobs of one subscription that are driven here, and what is written about them."""

    def __init__(
        self, *, journal: Journal, lease: Lease, calls: CallCounts, scheduler: Scheduler, clock: Clock
    ) -> None:
        """Begin with no jobs."""
        self.journal = journal
        self.clock = clock
        self.calls = calls
        self.known = scheduler.known
        self.jobs: dict[JobId, DrivenJob] = {}
        self._lease = lease
        self._last_batch_id: BatchId | None = None
        self._reserved: dict[ChunkId, TrackedChunk] = {}
        self._ends: deque[tuple[int, int, int]] = deque(maxlen=ENDS_MAX)  # of any job's batches; rows, the job's begin

    @property
    def is_sending(self) -> bool:
        """Tell whether the journal has the intent to send a chunk, and not yet what became of it."""
        chunks = (chunk for driven in self.jobs.values() for chunk in driven.chunks.values())
        return any(chunk.phase is Phase.SUBMITTING for chunk in chunks)

    async def last_batch_id(self) -> BatchId | None:
        """Return the highest batch id of the subscription that is known."""
        if self._last_batch_id is None:
            self._last_batch_id = await self.journal.last_batch_id(self._lease.host)
        return self._last_batch_id

    def note_batch(self, batch_id: BatchId) -> None:
        """Take note of a batch id of the subscription."""
        self._last_batch_id = max(batch_id, self._last_batch_id or batch_id)

    async def write(self, *changes: Change) -> None:
        """Make changes durable, and with them the calls that were counted meanwhile, and what jobs end later by them.

        The calls stand first: what Marketo tells of all calls is compared with those that are known by then.
        """
        counted = self.calls.take(self._lease.host, quota_day(self.clock.wall_ms()))
        await self.journal.write(self._lease, [*counted, *changes, *self._slips(changes)])

    def _slips(self, changes: Iterable[Change]) -> Iterator[Change]:
        for change in changes:
            driven = self.jobs.get(change.event.job_id) if isinstance(change, Told) else None
            if isinstance(change, Told) and driven is not None:
                event = change.event
                if isinstance(event, BatchCompleted) and not driven.chunks[ChunkId(event.chunk)].canary:
                    begun_ms = driven.job.created_ms if driven.job.started_ms is None else driven.job.started_ms
                    self._ends.append((event.ts_ms, event.rows, begun_ms))
                told = driven.outlook.told_p50_ms
                slipped = driven.outlook.saw(event, partial(self._way, driven))
                if slipped is not None:
                    yield Told(event=slipped)
                yield from self._foretold(driven, told, event.ts_ms)

    @staticmethod
    def _foretold(driven: DrivenJob, before_ms: int | None, now_ms: int) -> Iterator[Change]:
        """Write a forecast that stands from now on, for a process that goes on with the job."""
        told_ms, of_others = driven.outlook.told_p50_ms, driven.outlook.told_of_others
        if told_ms is not None and told_ms != before_ms:
            yield Told(event=EtaForetold(job_id=driven.job.id, ts_ms=now_ms, p50_ms=told_ms, rows_of_others=of_others))

    async def recall(self, driven: DrivenJob) -> None:
        """Go on from the forecast that an earlier process told of a job, later by the time in which nobody drove it."""
        found = None if driven.outlook.told_p50_ms is not None else await self.journal.foretold(driven.job)
        if found is None:
            return
        now_ms, outlook = self.clock.now_ms(), driven.outlook
        stood_ms = max(0, now_ms - found.stands_since_ms)
        outlook.recall(found.event, begun_ms=found.begun_ms, slipped_ms=found.slipped_ms, stood_ms=stood_ms)
        if moved := [*self._foretold(driven, found.event.p50_ms, now_ms)]:  # it may stop again before the next forecast
            await self.write(*moved)

    def _way(self, driven: DrivenJob) -> Way:
        """Look what lies before the end of a job, beside the others that are sent here."""
        known, own = self.known.jobs, driven.left
        sent = [one for one in self.jobs.values() if one.job.id in known and known[one.job.id].sends]
        rows = rows_ahead(own, [one.left for one in sent if one is not driven])
        return Way(ends=without_idleness(self._ends), rows=rows, of_others=rows - own.rows)

    async def tell_reserved(self, chunks: Iterable[TrackedChunk]) -> None:
        """Write which chunks reserve their keys from now on, and which do no more, for whoever asks what others wait for."""
        now_ms, before = self.clock.now_ms(), self._reserved
        self._reserved = {chunk.id: chunk for chunk in chunks}
        begun = [chunk for number, chunk in self._reserved.items() if number not in before]
        over = [chunk for number, chunk in before.items() if number not in self._reserved]
        told = [ChunkReserved(job_id=chunk.job.id, ts_ms=now_ms, chunk=chunk.id) for chunk in begun]
        ended = [
            ChunkUnreserved(job_id=chunk.job.id, ts_ms=now_ms, chunk=chunk.id)
            for chunk in over
            if chunk.phase is Phase.READY
        ]
        if told or ended:
            await self.write(*(Told(event=event) for event in (*told, *ended)))

    async def confirm(self) -> None:
        """Raise `JournalError` unless this process drives the subscription at this moment."""
        await self.journal.confirm(self._lease)

    async def update(self, driven: DrivenJob, chunk: Chunk, values: ChunkValues, *more: Change) -> Chunk:
        """Write a chunk's new values and whatever becomes true with them; return the chunk as it is now."""
        await self.write(ChunkChanged(chunk_id=chunk.id, values=values), *more)
        driven.chunks[chunk.id] = replace(chunk, **values)
        return driven.chunks[chunk.id]

    def find(self, chunk: ChunkId) -> tuple[DrivenJob, Chunk, Source]:
        """Return a chunk with its job and its source."""
        driven = self.jobs[self.known.chunk(chunk).job.id]
        found = driven.chunks[chunk]
        return driven, found, driven.sources[found.span.source]

    def retry_at_ms(self, cause: Cause) -> int | None:
        """Return when a call may succeed that was refused for a cause, if anybody knows."""
        if cause is not Cause.QUOTA_EXHAUSTED:
            return None
        wall_ms = self.clock.wall_ms()
        return self.clock.now_ms() + next_try_ms(wall_ms) - wall_ms

    async def stop_source(self, driven: DrivenJob, chunk: Chunk, reason: Stop, message: str) -> m.Fact:
        """Note that nothing more of a chunk's source can be sent."""
        await self.refuse(driven, chunk, reason, message)
        return m.SourceStopped(chunk=chunk.id, reason=reason)

    async def refuse(self, driven: DrivenJob, chunk: Chunk, reason: Stop, message: str) -> None:
        """Note why a chunk was not sent, and that it is unsent."""
        changes = self.found(driven, reason, message)
        if chunk.phase is Phase.SUBMITTING:
            unsent: ChunkValues = {"phase": self.known.chunk(chunk.id).unsent_phase, "message": message}
            await self.update(driven, chunk, unsent, *changes)
        else:
            await self.write(*changes)

    @staticmethod
    def found(driven: DrivenJob, kind: str, message: str, batch: Chunk | None = None) -> tuple[Change, ...]:
        """Return a finding about a job as a change to write."""
        batch_id = None if batch is None else batch.batch_id
        return (FindingAdded(job_id=driven.job.id, finding=Finding(kind=kind, message=message, batch_id=batch_id)),)


def span_data(source: Source, span: Span) -> bytes | None:
    """Return the bytes of a span, None if the source is not the file any more that was planned."""
    try:
        return read_span(source, span)
    except SourceError:
        return None
