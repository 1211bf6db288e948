"""The submit lane: one upload at a time, and the waits that Marketo's refusals put before the next one.

Marketo's queue is shared with others, so a full queue is no failure but tells how much room there is: the
lane lowers the number of batches it keeps there to what it holds, tries one more when one of its own ends or
after a growing, jittered wait, and grows back by one with every acceptance.
"""

from __future__ import annotations

from random import Random

from orchestrator.model import ChunkId
from orchestrator.schedule.messages import Cause
from orchestrator.schedule.state import Limits
from orchestrator.schedule.waits import Backoff, Gate


class Lane:
    """Who is being sent, and when and how deep the next may be."""

    def __init__(self, limits: Limits, rng: Random) -> None:
        self._limits = limits
        self.gate = Gate(Backoff(limits.backoff_min_ms, limits.backoff_max_ms, rng))
        self.busy: ChunkId | None = None
        self.depth = limits.depth
        self._probing = False  # the queue was full: one more than `depth` may be tried

    def free(self, now_ms: int) -> bool:
        """Tell whether an upload may start now."""
        return self.busy is None and now_ms >= self.gate.ready_ms

    def room(self, held: int, in_doubt: int) -> bool:
        """Tell whether one more chunk may be sent while ``held`` have a slot, ``in_doubt`` of them perhaps not.

        Those take a slot off the limit, but do not keep the importers busy if Marketo never took them.
        """
        at_marketo = held - in_doubt
        return held < self._limits.slots and (at_marketo < self.depth or (self._probing and at_marketo == self.depth))

    def start(self, chunk: ChunkId, now_ms: int) -> tuple[Cause | None, int]:
        """Give the lane to a chunk; return what was waited for before it, and how long."""
        self.busy = chunk
        return self.gate.take_wait(now_ms)

    def accepted(self) -> None:
        """Free the lane after an acceptance."""
        self.busy = None
        self._probing = False
        self.depth = min(self._limits.depth, self.depth + 1)
        self.gate.reset()

    def freed(self) -> None:
        """Free the lane after an end that says nothing about the next chunk."""
        self.busy = None

    def deferred(self, cause: Cause, at_marketo: int, retry_at_ms: int | None, now_ms: int) -> None:
        """Free the lane after a refusal for a time, while ``at_marketo`` batches are surely there."""
        self.busy = None
        if cause is Cause.QUEUE_FULL:
            self._probing = True
            self.depth = max(1, min(self._limits.depth, at_marketo))
        at_least_ms = self._limits.window_ms if cause is Cause.RATE_LIMITED else 0
        self.gate.close(cause, now_ms, at_least_ms=at_least_ms, not_before_ms=retry_at_ms)

    def slot_freed(self, now_ms: int) -> None:
        """Note that a batch of one's own ended: a full queue may have room again."""
        if self.gate.cause is Cause.QUEUE_FULL:
            self.gate.open(now_ms)
