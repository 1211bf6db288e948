"""Whose turn it is: which unsent chunk goes next.

* **Priority.**  A job of higher priority goes first, whenever any chunk of it may be sent.
* **Fairness.**  Among jobs of one priority the one goes that has sent the fewest bytes since both were there, so a
  small job behind a huge one is next as soon as there is room.  Of jobs that are even, the one with less to send.
  Who comes later stands further behind: no job waits for ever for others of its priority, however many come (`shares`).
  It may wait for ever for jobs of a higher one, as long as those have something to send.
* **Order.**  Within a job the first unsent chunk goes that shares no key with what is under way, nor with an unsent
  one before it.  Only the first ``lookahead_chunks`` are candidates.
* **Patience.**  The first chunk of a job may share keys with what other jobs have under way, again and again.  Passed
  over often or long enough, it reserves its keys: nothing of another job that shares them is sent before it, and it
  goes as soon as it can, whatever its priority, or those who wait for it would wait for ever.
  Of a job that is paused, or that nobody waits for, it does so for a while only.
* **Slow start.**  Of a job that is like none before it, one batch goes alone, and nothing more before a batch of it is
  complete: what is wrong with all of its rows then shows in few of them.  While it waits it reserves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from orchestrator.model import RANKS, Phase
from orchestrator.schedule.knowledge import Knowledge
from orchestrator.schedule.shares import Shares
from orchestrator.schedule.state import FAILURES_BEFORE_SPLIT, TrackedChunk, TrackedJob

_RANK = {priority: rank for rank, priority in enumerate(RANKS)}
PASSED_OVER_MAX = 20  # times that another job's chunk was sent meanwhile
PASSED_OVER_MS_MAX = 600_000


class Turns:
    """The order in which chunks are sent."""

    def __init__(self, known: Knowledge) -> None:
        self._known = known
        self._shares = Shares()

    def has_more(self, job: TrackedJob) -> bool:
        """Tell whether a job has anything to send."""
        return bool(job.queue) and job.sending and not job.finishing

    def window(self, job: TrackedJob) -> list[TrackedChunk]:
        """Return the unsent chunks of a job that are looked at, in order."""
        return job.queue[: self._known.limits.lookahead_chunks] if self.has_more(job) else []

    def unsendable(self, job: TrackedJob) -> list[TrackedChunk]:
        """Return the chunks among them that cannot be sent as they are: too large, or failed too often."""
        if job.sound and job.largest_bytes <= self._known.cap.bytes_max:
            return []
        return [c for c in self.window(job) if not self.fits(c) or c.failures >= FAILURES_BEFORE_SPLIT]

    def fits(self, chunk: TrackedChunk) -> bool:
        """Tell whether a chunk is small enough to be sent."""
        return not chunk.too_large and chunk.body_bytes <= self._known.cap.bytes_max

    def has_claims(self, chunk: TrackedChunk) -> bool:
        """Tell whether it is known with which chunks a chunk shares keys, or does not matter."""
        return chunk.conflicts is not None or not chunk.job.space.compared

    def next(self, held: Sequence[TrackedChunk], now_ms: int) -> TrackedChunk | None:
        """Return the chunk whose turn it is while ``held`` are under way, None if none may be sent."""
        reserved = self.reserved(now_ms)
        jobs = self.line_up(self.open(now_ms), reserved)
        for job in jobs:
            chunk, _ = self.look(job, held, reserved)
            if chunk is not None:
                self._pass_over([other for other in jobs if other is not job], held, now_ms)
                among = sum(other.priority is job.priority for other in jobs)
                in_turn = all(job is not other.job for other in reserved)
                self._shares.count(job, chunk.body_bytes, among=among, in_turn=in_turn)
                chunk.passed_over, chunk.blocked_ms = 0, None
                return chunk
        return None

    def line_up(self, jobs: Iterable[TrackedJob], reserved: Sequence[TrackedChunk]) -> list[TrackedJob]:
        """Return those of these jobs that have something to send, in the order of their turns."""
        tired = {chunk.job: at for at, chunk in enumerate(reserved)}  # others wait for what they reserve
        last = len(tired)
        return sorted(
            filter(self.has_more, jobs),
            key=lambda job: (tired.get(job, last), _RANK[job.priority], self._shares.of(job), len(job.ready)),
        )

    def open(self, now_ms: int) -> list[TrackedJob]:
        """Return the jobs of which nothing but their keys, and others' turns, can hold the next chunk back."""
        return [job for job in self._known.jobs.values() if now_ms >= job.gate.ready_ms and not job.proving]

    def _pass_over(self, jobs: Sequence[TrackedJob], held: Sequence[TrackedChunk], now_ms: int) -> None:
        """Note of the first chunk of each of these jobs that it could not be sent, if others' keys are the reason."""
        for job in jobs:
            if job.space.stands_alone:
                continue
            chunk = job.queue[0]
            others = [other for other in held if other.job is not job]
            if self.has_claims(chunk) and self._sendable(chunk) and not self.is_free(chunk, others):
                chunk.passed_over += 1
                chunk.blocked_ms = now_ms if chunk.blocked_ms is None else chunk.blocked_ms

    def reserved(self, now_ms: int) -> list[TrackedChunk]:
        """Return the chunks that were passed over too often or too long, the longest waiting one first.

        One that waits for a chunk in doubt is none of them: that may last, and nobody should wait with it.
        """
        blocked = [c for job in self.open(now_ms) for c in job.queue[:1] if c.blocked_ms is not None]
        wanted = [c for c in blocked if self.has_more(c.job) or self._rests(c.job, now_ms)]
        tired = [c for c in wanted if c.passed_over >= PASSED_OVER_MAX or now_ms - _since(c) >= PASSED_OVER_MS_MAX]
        in_doubt = [chunk for chunk in self._known.in_flight if chunk.phase is Phase.UNKNOWN] if tired else []
        waiting = [chunk for chunk in tired if self._sendable(chunk) and self.is_free(chunk, in_doubt)]
        return sorted(waiting, key=lambda chunk: (_since(chunk), chunk.id))

    def _rests(self, job: TrackedJob, now_ms: int) -> bool:
        """Tell whether a job is paused, or nobody waits for it, and that is recent."""
        recent = job.resting_ms is not None and now_ms < job.resting_ms + self._known.limits.paused_hold_ms
        return recent and not job.finishing

    def look(
        self, job: TrackedJob, held: Sequence[TrackedChunk], reserved: Sequence[TrackedChunk] = ()
    ) -> tuple[TrackedChunk | None, TrackedChunk | None]:
        """Return the first chunk of a job that may be sent beside ``held``.

        If there is none as far as keys are known, return as the second the chunk whose keys have to be known to tell
        more.  If there is none either, nothing of the job can be sent beside ``held``.
        """
        before = reserved[: next((at for at, chunk in enumerate(reserved) if chunk.job is job), len(reserved))]
        others = [*held, *before]
        if job.proving or any(job.space.excludes(other.job.space) for other in others):
            return None, None
        earlier: list[TrackedChunk] = []
        for chunk in self.window(job):
            if not self.has_claims(chunk):
                return None, chunk  # nothing behind it can be judged
            in_its_way = any(other.id in (chunk.conflicts or ()) for other in earlier)
            if self._sendable(chunk) and not in_its_way and self.is_free(chunk, others):
                return chunk, None
            earlier.append(chunk)
        return None, None

    def is_free(self, chunk: TrackedChunk, others: Sequence[TrackedChunk]) -> bool:
        """Tell whether a chunk shares no key with any of the others, for all that is known."""
        conflicts, space = chunk.conflicts or (), chunk.job.space
        if space.stands_alone:
            return True
        for other in others:
            if other.id in conflicts or space.excludes(other.job.space):
                return False
            if space.meets(other.job.space) and not self.has_claims(other):
                return False
        return True

    def _sendable(self, chunk: TrackedChunk) -> bool:
        return self.fits(chunk) and not chunk.at_work and chunk.failures < FAILURES_BEFORE_SPLIT


def _since(chunk: TrackedChunk) -> int:
    return chunk.blocked_ms or 0
