"""Where one's own batches stand in Marketo's queue, reckoned from what polls told.

Marketo tells of a batch only whether it is finished, and only when asked; every question is a call, and calls
are rationed.  But its queue is first in, first out, so a batch begins when one before it ends, and how long
batches take can be learned.  From both follows when each is likely to end, and for how long the importers have
work for sure.  As long as that is long, nobody needs to know exactly, and a batch is asked after once it has
probably ended.  When it is short, it is asked after as soon as it may have ended.

An end lies between the last poll that found the batch unfinished and the first that found it finished.  If there
was no poll before, the batch ended earlier than believed as likely as not, so it is taken to have ended a little
earlier than it was expected to: else estimates could only ever grow.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.model import BatchStatus
from orchestrator.schedule.pace import Pace
from orchestrator.schedule.state import Limits, TrackedChunk

INTERVAL_SHARE = 10  # of the time that a batch has lasted, until it is asked after again
INTERVAL_SHARE_AT_FIRST = 2  # the same, as long as nothing is known of such batches
NEAR_END = 0.8  # of its likely duration: a batch that has lasted so long is asked after regularly
SEEN_AFTER = 0.5  # of its likely duration: whoever found a batch unfinished only before that did not see its end
ROUNDS = 2  # batches to be kept at Marketo for each importer: all importers may end at a time
ROUNDS_UNSTEADY = 4  # where batches differ widely, so that nobody has to know exactly when they end
UPLOAD_MS_ASSUMED = 1_000  # before any upload was seen
POLLS_COVERED = 2  # the queue holds work for as many of the shortest intervals of polling, besides the uploads


@dataclass(slots=True)
class _Sooner:
    """Batches that were found finished one after another, the first of them sooner than expected."""

    since_ms: int  # when the first one began
    target: str
    batches: int = 0
    rows: int = 0


class Line:
    """The importers, what they are believed to be at, and what follows for polling and for the queue's depth."""

    def __init__(self, limits: Limits) -> None:
        self.pace = Pace()
        self._limits = limits
        self._free_ms = [0] * limits.importers  # since when each importer is free that none of our batches is on
        self._asked_ms = 0  # the last poll that found any batch unfinished
        self._upload_ms = UPLOAD_MS_ASSUMED
        self._begun = 0  # how many batches were put on an importer
        self._sooner: _Sooner | None = None  # batches that were found finished sooner than expected, one after another

    def note_upload(self, took_ms: int) -> None:
        """Learn how long an upload takes."""
        self._upload_ms = max(took_ms, (self._upload_ms + took_ms) // 2)

    def settle(self, batches: Sequence[TrackedChunk]) -> list[TrackedChunk]:
        """Put the oldest unfinished batches on the importers; return them."""
        heads = list(batches[: self._limits.importers])
        for chunk in heads:
            if chunk.begun_ms is None:
                free_ms = heapq.heappop(self._free_ms) if self._free_ms else 0
                chunk.begun_ms = max(free_ms, chunk.accepted_ms)
                self._begun += 1
                rounds = self.pace.look_every(chunk.target)
                chunk.looked_after = self._begun % (rounds * self._limits.importers) == 0
        return heads

    def finished(self, chunk: TrackedChunk, now_ms: int) -> None:
        """Take in that a batch was found finished, and learn from it."""
        begun_ms = chunk.accepted_ms if chunk.begun_ms is None else chunk.begun_ms
        since_ms = max(begun_ms, chunk.asked_ms or 0)  # it ended between then and now
        ended_ms = (since_ms + now_ms) // 2
        learns = chunk.watched and chunk.begun_ms is not None
        seen = since_ms - begun_ms >= SEEN_AFTER * self.pace.likely_ms(chunk.target, chunk.rows)
        if self._sooner is not None or (learns and self.pace.is_sooner(chunk.target, chunk.rows, now_ms - begun_ms)):
            self._finished_sooner(chunk, begun_ms, now_ms)
        elif learns and not seen and self._knows(chunk):
            ended_ms = begun_ms + self.pace.note_unseen(chunk.target, chunk.rows, now_ms - begun_ms)
        elif learns:
            self.pace.note(chunk.target, chunk.rows, ended_ms - begun_ms, (now_ms - since_ms) / 4)
        self.left(chunk, ended_ms)

    def _finished_sooner(self, chunk: TrackedChunk, begun_ms: int, now_ms: int) -> None:
        """Take in that a batch was found finished much sooner than expected, or right behind one that was.

        One alone may be chance.  How many were imported since the first of them began tells how long one takes.
        """
        if self._sooner is None:
            self._sooner = _Sooner(since_ms=begun_ms, target=chunk.target)
        sooner = self._sooner
        if sooner.target != chunk.target:
            return
        sooner.batches, sooner.rows = sooner.batches + 1, sooner.rows + chunk.rows
        if sooner.batches > 1:
            rounds = max(1.0, sooner.batches / self._limits.importers)
            took_ms = (now_ms - sooner.since_ms) / rounds
            self.pace.begin_anew(sooner.target, max(1, sooner.rows // sooner.batches), took_ms)

    def left(self, chunk: TrackedChunk, ended_ms: int) -> None:
        """Take a batch off its importer, if it was on one."""
        if chunk.begun_ms is not None:
            chunk.begun_ms = None
            if len(self._free_ms) < self._limits.importers:
                heapq.heappush(self._free_ms, ended_ms)

    def asked(self, chunk: TrackedChunk, now_ms: int) -> None:
        """Take in that a batch was found unfinished."""
        chunk.asked_ms = self._asked_ms = now_ms
        self._sooner = None
        if chunk.begun_ms is not None:
            self.pace.note_unfinished(chunk.target, chunk.rows, now_ms - chunk.begun_ms)

    def found_waiting(self, chunk: TrackedChunk, now_ms: int) -> None:
        """Take in that a batch still waits although it is one of the oldest: its importer is at somebody else's."""
        if chunk.begun_ms is not None:
            chunk.begun_ms = now_ms

    def _knows(self, chunk: TrackedChunk) -> bool:
        return self.pace.knows(chunk.target, chunk.rows)

    def covered_until_ms(self, batches: Sequence[TrackedChunk], now_ms: int) -> int:
        """Return until when every importer surely has one of these batches to work on, even if all are fast."""
        importers = self._limits.importers
        if len(batches) < importers:
            return now_ms
        self.settle(batches)
        free = [(free_ms, 0) for free_ms in self._free_ms]  # and after how many of these batches
        ends: list[int] = []
        for chunk in batches:
            free_ms, before = heapq.heappop(free) if chunk.begun_ms is None and free else (0, 0)
            begins_ms = max(free_ms, chunk.accepted_ms) if chunk.begun_ms is None else chunk.begun_ms
            fast_ms = self.pace.fast_ms(chunk.target, chunk.rows, before + 1)
            end_ms = max(begins_ms + fast_ms, chunk.asked_ms or 0)
            ends.append(end_ms)
            heapq.heappush(free, (end_ms, before + 1))
        return sorted(ends)[len(ends) - importers]

    def is_covered(self, batches: Sequence[TrackedChunk], now_ms: int) -> bool:
        """Tell whether these batches keep the importers busy for as long as it may take to send the next ones."""
        known = all(self._knows(chunk) for chunk in batches)
        unsteady = any(self.pace.is_unsteady(chunk.target, chunk.rows) for chunk in batches)
        if len(batches) < self._limits.importers * (ROUNDS_UNSTEADY if unsteady else ROUNDS):
            return False
        if not known:
            return True
        return self.covered_until_ms(batches, now_ms) >= now_ms + self.delay_ms

    @property
    def delay_ms(self) -> int:
        """How long it may take to notice that batches ended, and to send others in their place."""
        return POLLS_COVERED * self._limits.poll_min_ms + self._limits.importers * self._upload_ms

    def poll_ms(self, chunk: TrackedChunk, needed_ms: int | None) -> int:
        """Return when to ask after a batch; ``needed_ms`` is when the importers may run out of work, if that matters."""
        begun_ms = chunk.accepted_ms if chunk.begun_ms is None else chunk.begun_ms
        again_ms = max(chunk.due_ms, self._again_ms(chunk, begun_ms, needed_ms))
        likely_ms = self.pace.likely_ms(chunk.target, chunk.rows)
        if not self._knows(chunk) or (chunk.asked_ms or 0) - begun_ms >= NEAR_END * likely_ms:
            return again_ms  # what others took since does not put off what may end any moment
        if self._sooner is not None:
            return again_ms  # it may be finished as well
        worth_ms = begun_ms + self.pace.worth_asking_ms(chunk.target, chunk.rows)
        if needed_ms is not None:
            fast_ms = begun_ms + self.pace.fast_ms(chunk.target, chunk.rows)
            worth_ms = min(worth_ms, max(needed_ms, fast_ms))
            if chunk.looked_after:
                lasted_ms = max(0, (chunk.asked_ms or 0) - begun_ms)
                look_ms = self.pace.look_ms(chunk.target, chunk.rows, lasted_ms)
                worth_ms = worth_ms if look_ms is None else min(worth_ms, begun_ms + look_ms)
        return max(again_ms, worth_ms)

    def _again_ms(self, chunk: TrackedChunk, begun_ms: int, needed_ms: int | None) -> int:
        """Return when to ask again after a batch, the later the longer it has lasted.

        The longest interval of polling is for answers that somebody waits for: not while the importers have work, be it
        others'.
        """
        if chunk.asked_ms is None:
            return chunk.accepted_ms + self._limits.poll_min_ms if chunk.watched else 0
        least_ms, most_ms = self._limits.poll_min_ms, self._limits.poll_max_ms
        idle_ms = most_ms if needed_ms is None else max(most_ms, needed_ms - chunk.asked_ms)
        if chunk.status is BatchStatus.QUEUED:  # behind others' batches, and that may last
            begun_ms, idle_ms = chunk.accepted_ms, max(most_ms, self._limits.backoff_max_ms)
        share_ms = max(least_ms, min(idle_ms, (chunk.asked_ms - begun_ms) // INTERVAL_SHARE))
        if self._knows(chunk):
            return chunk.asked_ms + share_ms
        waits_ms = max(share_ms, min(most_ms, (chunk.asked_ms - chunk.accepted_ms) // INTERVAL_SHARE_AT_FIRST))
        if waits_ms >= most_ms and not (chunk.looked_after or chunk.status is BatchStatus.QUEUED):
            waits_ms += least_ms  # not all at a time, that one may stand in for the others
        # Others' answers stand in for its own, but not for long: it may have ended while they did not.
        return min(max(chunk.asked_ms, self._asked_ms) + waits_ms, chunk.asked_ms + 2 * max(most_ms, share_ms))
