"""How long a chunk whose answer was lost is held before it is sent again.

If Marketo took the chunk, nobody knows its batch, and sent again too early the two would be imported together
and make two records of every row.  Marketo's queue is first in, first out: as soon as a batch sent later is
finished, the lost one has at least begun, and is finished after the time that the longest batch took.  If
nothing was sent later, the whole queue may stand before it, and only the worst case tells; nor does the longest batch
tell of one that is several times larger than any.
"""

from __future__ import annotations

from orchestrator.model import Phase
from orchestrator.schedule.state import Limits, TrackedChunk

LARGER_MAX = 4  # times the rows of batches whose duration is known


class Doubt:
    """What is known of how long batches take, and what follows for lost answers."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._longest_batch_ms = 0
        self._most_rows = 0  # of a batch that was seen to its end
        self._last_finished_sent_ms = -1  # when the finished batch that was sent last had been sent

    def hold_ms(self) -> int:
        """Return three times the longest batch seen, and the configured minimum at least."""
        return max(self._limits.hold_min_ms, 3 * self._longest_batch_ms)

    def hold_until_ms(self, lost_ms: int) -> int:
        """Return before when a chunk whose answer was lost at this time is not sent again."""
        return lost_ms + self.hold_ms()

    def begin(self, chunk: TrackedChunk, now_ms: int) -> None:
        """Hold a chunk whose answer was just lost."""
        chunk.sent_ms, chunk.overtaken_ms = chunk.submitted_ms, None
        chunk.hold_until_ms = self.hold_until_ms(now_ms)

    def take_in(self, chunk: TrackedChunk, now_ms: int) -> None:
        """Hold a chunk that was being sent when a process died; its answer was lost within the time of a call."""
        if chunk.phase is Phase.UNKNOWN and chunk.hold_until_ms is None:
            lost_ms = min(now_ms, chunk.submitted_ms + self._limits.http_timeout_ms)
            chunk.hold_until_ms = self.hold_until_ms(lost_ms)

    def last_ms(self, chunk: TrackedChunk) -> int:
        """Return when the chunk's batch is finished even if it came last into a full queue.

        Before its hold is over it is not: that may be a longer one, of a time when more was known.
        """
        rounds = -(-self._limits.slots // self._limits.importers)
        worst_ms = chunk.sent_ms + self._limits.http_timeout_ms + rounds * self.hold_ms()
        return max(worst_ms, chunk.hold_until_ms or 0)

    def over_ms(self, chunk: TrackedChunk) -> int:
        """Return when a chunk of unknown outcome can be at work no more: it may be sent again, or be let go of."""
        last_ms = self.last_ms(chunk)
        alien = 0 < LARGER_MAX * self._most_rows < chunk.rows  # what was seen tells nothing of such a batch
        if chunk.hold_until_ms is None or chunk.overtaken_ms is None or alien:
            return last_ms
        begun_ms = chunk.overtaken_ms + max(self._limits.hold_min_ms, self._longest_batch_ms)
        return min(last_ms, max(chunk.hold_until_ms, begun_ms))

    def note_longest(self, longest_ms: int) -> None:
        """Take in how long the longest batch took that an earlier run saw."""
        self._longest_batch_ms = max(self._longest_batch_ms, longest_ms)

    def note_duration(self, chunk: TrackedChunk, now_ms: int) -> None:
        """Learn from a batch how long batches take, if the poll that found it finished came in time."""
        if chunk.watched:
            self._most_rows = max(self._most_rows, chunk.rows)
            self.note_longest(now_ms - chunk.submitted_ms)

    def note_finished(self, sent_ms: int, in_flight: list[TrackedChunk], now_ms: int) -> None:
        """Mark what was sent before a batch that is finished now."""
        self._last_finished_sent_ms = max(self._last_finished_sent_ms, sent_ms)
        for chunk in in_flight:
            in_doubt = chunk.hold_until_ms is not None and chunk.overtaken_ms is None
            if in_doubt and chunk.sent_ms < self._last_finished_sent_ms:
                chunk.overtaken_ms = now_ms
