"""Looking for the batches of chunks whose answers were lost: when it is done, and what its outcome changes."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.model import ChunkId, OnUnknown, Phase
from orchestrator.schedule.calling import Calls
from orchestrator.schedule.messages import BatchSought
from orchestrator.schedule.state import ImpossibleFact, Limits, TrackedChunk, TrackedJob, steps_of


class Seeking:
    """Who is looked for: one at a time, with all that were lost beside it."""

    def __init__(self, limits: Limits) -> None:
        self._settle_ms = limits.settle_ms
        self.busy = False

    def plan(self, chunk: TrackedChunk, now_ms: int) -> None:
        """Look for the batch of a chunk in doubt once everything has settled, if its job wants that."""
        wanted = chunk.phase is Phase.UNKNOWN and chunk.job.on_unknown is OnUnknown.PROBE and not chunk.job.occupies
        chunk.seek_ms = now_ms + self._settle_ms if wanted else None

    def decide(self, job: TrackedJob, on_unknown: OnUnknown, now_ms: int) -> None:
        """Let a job's chunks in doubt be treated otherwise from now on, if somebody decided so."""
        if job.on_unknown is not on_unknown:
            job.on_unknown = on_unknown
            for chunk in job.moving:
                self.plan(chunk, now_ms)

    def next(self, in_flight: list[TrackedChunk], now_ms: int) -> TrackedChunk | None:
        """Return the chunk to look for now."""
        if self.busy:
            return None
        due = (c for c in in_flight if c.seek_ms is not None and c.seek_ms <= now_ms)
        return next((c for c in due if is_sought(c) and c.job.asks), None)

    def begin(self, chunk: TrackedChunk) -> None:
        """Note that a chunk is being looked for."""
        self.busy = True
        chunk.begin()

    def end(self, fact: BatchSought, chunks: Mapping[ChunkId, TrackedChunk], calls: Calls, now_ms: int) -> None:
        """Take in what was found: chunks that became batches go on as such, the others wait, or are sent again."""
        again_ms = fact.again_ms
        if fact.cause is not None and again_ms is not None:
            again_ms = max(again_ms, calls.refused(fact.cause, fact.retry_at_ms, now_ms))
        self.busy = False
        adopted = dict(fact.adopted)
        steps = {number: steps_of(chunks[number], fact) for number in (fact.chunk, *adopted) if number in chunks}
        if not chunks[fact.chunk].at_work:
            raise ImpossibleFact(f"the batch of chunk {fact.chunk} was found, and nobody looked for it")
        chunks[fact.chunk].end()
        for number in fact.chunks:
            chunk = chunks.get(number)
            if chunk is None or chunk.phase is not Phase.UNKNOWN or chunk.seek_ms is None:
                continue  # its job has ended meanwhile, or somebody decided otherwise
            chunk.seek_ms = None if again_ms is None else max(again_ms, chunk.seek_ms)
            if number in adopted and not chunk.orphaned:
                chunk.phase, chunk.batch_id = steps[number][1], adopted[number]
                chunk.hold_until_ms = chunk.seek_ms = None
                chunk.let_go = False
                chunk.due_ms = now_ms


def is_sought(chunk: TrackedChunk) -> bool:
    """Tell whether a chunk's batch is being looked for, or will be."""
    return chunk.seek_ms is not None and not chunk.orphaned


def is_awaited(chunk: TrackedChunk) -> bool:
    """Tell whether anything more is to happen to a chunk in doubt while its job is driven."""
    for_user = chunk.waits_for_user and chunk.job.sending
    return not chunk.orphaned and (chunk.resendable or is_sought(chunk) or for_user)
