"""Getting chunks to Marketo: their claims, their upload, and what is done with those that cannot be sent as they are.

Each method carries out one command of the heart and returns the fact it made.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import anyio
import numpy as np

from orchestrator import events
from orchestrator.claims import ClaimStore, Fingerprints
from orchestrator.crowding import Crowd
from orchestrator.desk import CAUSES, Desk, DrivenJob, body_bytes, part_bytes_max, space_of, span_data
from orchestrator.errors import (
    AccessDenied,
    InvalidRequest,
    JournalError,
    MarketoError,
    OrchestratorError,
    SourceError,
    TooLarge,
)
from orchestrator.journal.changes import CapLearned, Change, ChunkParted, ChunkValues, FindingAdded, Told, WaitCounted
from orchestrator.marketo import codes, wire
from orchestrator.marketo.client import Client
from orchestrator.marketo.codes import Action
from orchestrator.marketo.upload import Delivery
from orchestrator.model import Chunk, ChunkId, Finding, Job, OnUnknown, Phase, Source, Span
from orchestrator.offload import Offload
from orchestrator.outcome import claims_path
from orchestrator.report.attribute import Attribution, attribute_whole
from orchestrator.report.doubt import HELD
from orchestrator.schedule import messages as m
from orchestrator.schedule.messages import Cause, Stop
from orchestrator.source import keys
from orchestrator.source.opening import SpanContent, read_span
from orchestrator.source.places import restore, rows_in_words
from orchestrator.source.split import replan, share_out

WRITTEN_BACK_WITHIN_S = 5.0  # an upload that was broken off; else it is looked for when the job goes on
TOKEN_LIFE_FACTOR = 2  # how much longer than an upload is expected to take its token must live when it starts


def claims_of(source: Source, span: Span, key_columns: Sequence[str], salt: bytes) -> Fingerprints:
    """Return the fingerprints of the keys of a span; none if no row has a key.

    That is so if the source lacks a key column, or the target knows no key.

    Raises:
        SourceChanged: the file is not the one that was planned.

    """
    if not key_columns or not set(key_columns) <= set(source.sent_columns):
        return np.empty(0, dtype=np.uint64)
    indexes = tuple(source.sent_columns.index(name) for name in key_columns)
    return keys.claims(read_span(source, span), source.format.delimiter, indexes, salt)


class Guarded:
    """The content of an upload that ends only if this process is known to drive the subscription.

    The last piece is withheld until it ends.  A process that was stopped or cut off may have lost it meanwhile; what it began to send then comes to nothing.
    """

    def __init__(self, content: SpanContent, confirm: Callable[[], Awaitable[None]]) -> None:
        self._content = content
        self._confirm = confirm
        self.size = content.size

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield the content; raises `JournalError` before its end if the lease is not good, or nobody can tell."""
        async for piece in self._content.stream():
            yield piece
        await self._confirm()


class Uploads:
    """Carries out the commands about chunks that are not batches yet."""

    def __init__(self, desk: Desk, *, client: Client, offload: Offload, crowd: Crowd, salt: bytes) -> None:
        """Begin with no claims; ``salt`` is the subscription's."""
        self._desk = desk
        self._client = client
        self._offload = offload
        self._crowd = crowd
        self._salt = salt
        self._claims = ClaimStore(offload)
        self._retried: set[ChunkId] = set()  # refused for what one more try may mend
        self._ms_per_byte = 0.0  # of the last upload; what the next one will take is judged by it
        self.begun = False  # the intent to send a chunk is written, or about to be, and not yet what became of it

    async def compute_claims(self, command: m.ComputeClaims) -> m.Fact:
        """Find out with which chunks a chunk shares keys."""
        driven, chunk, source = self._desk.find(command.chunk)

        def compute() -> Fingerprints:
            if driven.elsewhere:
                raise SourceError("the files of a job of another state directory are not looked for here")
            return claims_of(source, chunk.span, driven.job.key_columns, self._salt)

        space = space_of(driven.job)
        try:
            conflicts = await self._claims.hold(
                chunk.id,
                (space.entity, space.key_field),
                claims_path(driven.directory, chunk),
                under_way=chunk.phase is not Phase.READY,
                compute=compute,
            )
        except SourceError as error:
            return await self._desk.stop_source(driven, chunk, Stop.SOURCE_CHANGED, str(error))
        return m.ClaimsComputed(chunk=chunk.id, conflicts=conflicts)

    async def release_claims(self, command: m.ReleaseClaims) -> None:
        """Forget the claims of a chunk."""
        await self._claims.release(command.chunk)

    async def submit(self, command: m.SubmitChunk) -> m.Fact:
        """Send a chunk: the intent first, then the upload, then what became of it.

        Whoever cancels it finds the chunk as if it had not been tried, unless all of it may have left.
        """
        driven, chunk, source = self._desk.find(command.chunk)
        delivery = Delivery()
        noting: Coroutine[Any, Any, m.Fact]
        try:
            created = await self._send(command, driven, source, delivery)
        except asyncio.CancelledError:
            if self.begun and not delivery.handed_over:
                with suppress(JournalError), anyio.move_on_after(WRITTEN_BACK_WITHIN_S, shield=True):
                    await self._desk.update(driven, driven.chunks[chunk.id], self._unsent(chunk.id))
            raise
        except MarketoError as error:
            noting = self._not_created(driven, driven.chunks[chunk.id], source, error)
        except SourceError as error:
            noting = self._desk.stop_source(driven, driven.chunks[chunk.id], Stop.SOURCE_CHANGED, str(error))
        else:
            noting = self._created(driven, driven.chunks[chunk.id], source, created)
        finally:
            self.begun = False
        with anyio.CancelScope(shield=True):  # what is known is written, however soon everything is to stop
            fact = await noting
        return fact  # noqa: RET504  # for mypy, which believes that the scope could leave it out

    async def _created(self, driven: DrivenJob, chunk: Chunk, source: Source, created: wire.Created) -> m.Fact:
        self._crowd.let_in()
        self._retried.discard(chunk.id)
        self._desk.note_batch(created.batch_id)
        accepted: ChunkValues = {
            "phase": Phase.SUBMITTED,
            "batch_id": created.batch_id,
            "status": created.status,
            "hold_until_ms": None,
            "resent": _sent(chunk),
        }
        told = events.ChunkSubmitted(
            job_id=driven.job.id,
            ts_ms=self._desk.clock.now_ms(),
            chunk=chunk.id,
            batch_id=created.batch_id,
            rows=chunk.span.rows,
            body_bytes=body_bytes(source, chunk.span),
            attempt=chunk.attempts,
        )
        await self._desk.update(driven, chunk, accepted, Told(event=told), *_found_resent(driven, chunk))
        return m.ChunkAccepted(chunk=chunk.id, batch_id=created.batch_id)

    async def _send(
        self, command: m.SubmitChunk, driven: DrivenJob, source: Source, delivery: Delivery
    ) -> wire.Created:
        """Upload a chunk; the intent is written when nothing else is to be waited for, so that little is in doubt."""
        job, chunk, clock = driven.job, driven.chunks[command.chunk], self._desk.clock
        content = Guarded(SpanContent(source, chunk.span), self._desk.confirm)
        waits: tuple[WaitCounted, ...] = ()
        if command.waited_for is not None:
            waits = (WaitCounted(job_id=job.id, cause=command.waited_for, ms=command.waited_ms),)
        started_ms = 0

        async def begin() -> None:
            nonlocal started_ms
            if self.begun:  # with a token that was refused
                return
            self.begun = True
            started_ms = clock.now_ms()
            intent: ChunkValues = {
                "phase": Phase.SUBMITTING,
                "attempts": chunk.attempts + 1,
                "submitted_ms": started_ms,
                "last_batch_id": await self._desk.last_batch_id(),
                "marketo_ms": self._client.marketo_ms(),
            }
            await self._desk.update(driven, chunk, intent, *waits)

        with self._desk.calls.on_behalf_of(job.id):
            created = await self._client.create(
                job.target,
                source.format,
                f"{job.id}-row-{chunk.span.first_row}.{source.format}",
                content,
                delivery=delivery,
                begin=begin,
                life_ms=round(TOKEN_LIFE_FACTOR * content.size * self._ms_per_byte),
            )
        self._ms_per_byte = (clock.now_ms() - started_ms) / content.size
        return created

    def _unsent(self, chunk: ChunkId) -> ChunkValues:
        """Return what is to be written of a chunk of which no upload happened."""
        return {"phase": self._desk.known.chunk(chunk).unsent_phase}

    async def _not_created(self, driven: DrivenJob, chunk: Chunk, source: Source, error: MarketoError) -> m.Fact:
        cause = CAUSES.get(type(error))
        if cause is not None:
            found = await self._found_taken(driven.job) if cause is Cause.QUEUE_FULL else ()
            return await self._deferred(driven, chunk, cause, error, *found)
        if isinstance(error, TooLarge):
            return await self._too_large(driven, chunk, body_bytes(source, chunk.span))
        if isinstance(error, AccessDenied):
            found = self._desk.found(driven, "access_denied", str(error))
            await self._desk.update(driven, chunk, self._unsent(chunk.id), *found)
            return m.AccessLost(chunk=chunk.id, of_one_target=codes.of_one_target(error))
        if isinstance(error, InvalidRequest):
            return await self._wrong(driven, chunk, error)
        # DeliveryUnknown, or what else leaves the outcome open
        hold_until_ms = self._desk.known.doubt.hold_until_ms(self._desk.clock.now_ms())
        await self._lost(driven, chunk, str(error), hold_until_ms)
        return m.ChunkDeliveryLost(chunk=chunk.id)

    async def _too_large(self, driven: DrivenJob, chunk: Chunk, size: int) -> m.Fact:
        """Note that an upload of this size was refused for it; who drives after this process knows the limit, too."""
        message = f"Marketo refuses uploads of {size} bytes; smaller ones are sent."
        finding = Finding(kind="upload_too_large", message=message)
        changes: list[Change] = [FindingAdded(job_id=driven.job.id, finding=finding)]
        cap = self._desk.known.cap.lowered(size)
        if cap is not None:
            changes.append(CapLearned(bytes_max=cap, learned_ms=self._desk.clock.now_ms()))
        await self._desk.update(driven, chunk, {"phase": Phase.READY, "too_large": True}, *changes)
        return m.ChunkTooLarge(chunk=chunk.id, body_bytes=size)

    async def _wrong(self, driven: DrivenJob, chunk: Chunk, error: InvalidRequest) -> m.Fact:
        """Do what the table of codes says about an upload that is wrong as it is."""
        match codes.stop_of(error):
            case Action.RETRY_ONCE if chunk.id not in self._retried:
                self._retried.add(chunk.id)
                return await self._deferred(driven, chunk, Cause.TRANSIENT, error)
            case Action.STOP_SOURCE:
                return await self._desk.stop_source(driven, chunk, Stop.SOURCE_REFUSED, str(error))
            case _:
                await self._desk.refuse(driven, chunk, Stop.JOB_REFUSED, str(error))
                return m.JobRefused(chunk=chunk.id)

    async def _deferred(
        self, driven: DrivenJob, chunk: Chunk, cause: Cause, error: MarketoError, *more: Change
    ) -> m.Fact:
        """Note that a chunk is to be sent later."""
        fact = m.ChunkDeferred(chunk=chunk.id, cause=cause, retry_at_ms=self._desk.retry_at_ms(cause))
        told = events.ChunkDeferred(
            job_id=driven.job.id, ts_ms=self._desk.clock.now_ms(), chunk=chunk.id, cause=cause, message=str(error)
        )
        await self._desk.update(driven, chunk, self._unsent(chunk.id), Told(event=told), *more)
        return fact

    async def _found_taken(self, job: Job) -> tuple[Change, ...]:
        """Note a full queue; return what is to be told of it unless the job's findings have it from an earlier run."""
        clock, own = self._desk.clock, len(self._desk.known.batches)
        finding = self._crowd.refused(job.id, job.api_user, own=own, now_ms=clock.now_ms(), wall_ms=clock.wall_ms())
        if finding is None or any(each.kind == finding.kind for each in await self._desk.journal.findings(job.id)):
            return ()
        return (FindingAdded(job_id=job.id, finding=finding),)

    async def note_lost(self, driven: DrivenJob, chunk: Chunk) -> None:
        """Note that a chunk was being sent when the process before this one died."""
        hold_until_ms = self._desk.known.chunk(chunk.id).hold_until_ms
        message = "the process that sent it ended before the answer came"
        await self._lost(driven, chunk, message, hold_until_ms or self._desk.clock.now_ms())

    async def _lost(self, driven: DrivenJob, chunk: Chunk, message: str, hold_until_ms: int) -> None:
        told = events.ChunkDeliveryUnknown(
            job_id=driven.job.id, ts_ms=self._desk.clock.now_ms(), chunk=chunk.id, hold_until_ms=hold_until_ms
        )
        lost: ChunkValues = {
            "phase": Phase.UNKNOWN,
            "hold_until_ms": hold_until_ms,
            "message": message,
            "resent": _sent(chunk),
        }
        found = _found_held(driven, chunk) if driven.job.options.on_unknown is OnUnknown.HOLD else ()
        await self._desk.update(driven, chunk, lost, Told(event=told), *found, *_found_resent(driven, chunk))

    async def split(self, command: m.SplitChunk) -> m.Fact:
        """Cut a chunk into parts that fit, or into halves."""
        driven, chunk, source = self._desk.find(command.chunk)
        try:
            parts = await self._offload.run(_parts, source, chunk.span, command)
        except SourceError as error:
            return await self._desk.stop_source(driven, chunk, Stop.SOURCE_CHANGED, str(error))
        cause = "batch_failed" if chunk.batch_failures else "too_large"
        told = events.ChunkSplit(
            job_id=driven.job.id, ts_ms=self._desk.clock.now_ms(), chunk=chunk.id, parts=len(parts), cause=cause
        )
        await self._desk.write(ChunkParted(chunk_id=chunk.id, parts=parts), Told(event=told))
        children = await self._desk.journal.parts(chunk.id)
        driven.chunks[chunk.id] = replace(chunk, phase=Phase.SPLIT)
        driven.chunks |= {each.id: each for each in children}
        return m.ChunkParted(chunk=chunk.id, parts=tuple(driven.seen(each) for each in children))

    async def refuse(self, command: m.RefuseChunk) -> m.Fact:
        """Give a chunk up: each of its rows has failed, for the reason that Marketo gave for the whole."""
        driven, chunk, source = self._desk.find(command.chunk)
        reason = "Record too large for an upload"
        if chunk.batch_failures:
            reason = f"Batch failed: {chunk.message or '(no message)'}"
        try:
            attribution = await self._offload.run(_attribute_whole, driven, chunk, source, reason)
        except (OrchestratorError, OSError) as error:  # of the disk; it says so, and may have room again
            await self._desk.write(*self._desk.found(driven, "results_unwritten", str(error), chunk))
            return m.CallFailed(chunk=chunk.id, cause=Cause.TRANSIENT)
        values: ChunkValues = {
            "phase": Phase.REFUSED,
            "failed": chunk.span.rows,
            "unmatched": attribution.failed_unmatched,
            "message": reason,
            "completed_ms": self._desk.clock.now_ms(),
        }
        told = events.ChunkRefused(
            job_id=driven.job.id, ts_ms=self._desk.clock.now_ms(), chunk=chunk.id, message=reason
        )
        await self._desk.update(driven, chunk, values, Told(event=told))
        return m.ChunkGivenUp(chunk=chunk.id)


def _sent(chunk: Chunk) -> int:
    """Return how often a chunk was sent again while in doubt, now that it may have arrived once more."""
    return chunk.resent + (chunk.hold_until_ms is not None)


def _found_resent(driven: DrivenJob, chunk: Chunk) -> tuple[Change, ...]:
    """Return what a person should know of an upload that may have been imported twice; nothing for all others."""
    times = _sent(chunk)
    if times == chunk.resent:
        return ()
    message = (
        f"The answer to an upload of {rows_in_words(driven.sources[chunk.span.source], chunk.span)} was lost, and they were sent again: Marketo may have "
        f"imported them {times + 1} times, one after the other. That changes no record, but trigger campaigns may have run again."
    )
    return Desk.found(driven, "chunk_resent", message)


def _found_held(driven: DrivenJob, chunk: Chunk) -> tuple[Change, ...]:
    """Return which rows a person has to decide about."""
    message = (
        f"The answer to an upload of {rows_in_words(driven.sources[chunk.span.source], chunk.span)} was lost. Look for some of them in Marketo: "
        "they are held until you decide whether they are sent again."
    )
    return Desk.found(driven, HELD, message)


def _parts(source: Source, span: Span, command: m.SplitChunk) -> tuple[Span, ...]:
    """Cut a span by size or by rows; a record that is too large even alone becomes a part of its own."""
    if command.body_bytes_max is not None:
        return share_out(source, span, part_bytes_max=part_bytes_max(command.body_bytes_max))
    return replan(source, span, rows_max=command.rows_max or span.rows)


def _attribute_whole(driven: DrivenJob, chunk: Chunk, source: Source, reason: str) -> Attribution:
    return attribute_whole(
        data=span_data(source, chunk.span),
        source=source,
        restore=partial(restore, source),
        span=chunk.span,
        batch_id=chunk.batch_id,
        reason=reason,
        part=driven.part(chunk.id),
    )
