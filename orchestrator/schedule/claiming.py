"""Whose claims are computed next: one chunk at a time, for it takes seconds, and each of them disk and comparisons.

First come the chunks in flight, for nothing that may share a key with them is sent before.  Then the first chunk of
every job, in the order of their turns, so that a new job waits for one computation at most; then the second ones, and
so on, ahead of what is sent.  How many are held ahead is limited.  But what lies behind a chunk without claims cannot
be judged, so a limit alone could keep a job from being sent for ever: a job of which nothing can be sent, as far as it
was looked at, is looked at further while those behind it in the order have to be asked.
"""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.schedule.knowledge import Knowledge
from orchestrator.schedule.state import TrackedChunk
from orchestrator.schedule.turns import Turns


class Claiming:
    """The order in which claims are computed."""

    def __init__(self, known: Knowledge, turns: Turns) -> None:
        self._known = known
        self._turns = turns

    def next(self, now_ms: int) -> TrackedChunk | None:
        """Return the chunk whose claims are to be computed now, None if no more are wanted."""
        if self._known.claiming is not None:
            return None
        return next((chunk for chunk in self._in_order(now_ms) if chunk.conflicts is None), None)

    def _in_order(self, now_ms: int) -> Iterator[TrackedChunk]:
        """Return what claims are wanted of, also where they are known."""
        for chunk in self._known.in_flight:
            readable = chunk.source not in chunk.job.stopped_sources
            if chunk.job.space.compared and readable and not chunk.orphaned and not chunk.job.finishing:
                yield chunk
        yield from self._unsent(now_ms)

    def _unsent(self, now_ms: int) -> Iterator[TrackedChunk]:
        turns = self._turns
        compared = [job for job in self._known.jobs.values() if job.space.compared]
        if not compared:
            return
        reserved = turns.reserved(now_ms)
        windows = [turns.window(job) for job in turns.line_up(compared, reserved)]
        yield from (window[0] for window in windows if self._wanted(window[0]))
        if (
            sum(chunk.conflicts is not None for window in windows for chunk in window[1:])
            < self._known.limits.claims_ahead_max
        ):
            for place in range(1, max(map(len, windows), default=0)):
                yield from (w[place] for w in windows if place < len(w) and self._wanted(w[place]))
            return
        held = self._known.in_flight
        for job in turns.line_up(turns.open(now_ms), reserved):
            candidate, unjudged = turns.look(job, held, reserved)
            if candidate is not None:
                return  # those behind it are not asked
            if unjudged is not None and self._wanted(unjudged):
                yield unjudged

    def _wanted(self, chunk: TrackedChunk) -> bool:
        return self._turns.fits(chunk) and not chunk.at_work
