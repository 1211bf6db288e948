"""The submit lane: one upload at a time, and the waits that Marketo's refusals put before the next one.

Marketo's queue is shared with others, so a full queue is no failure but tells how much room there is.  What is
held then is the ceiling: below it, a batch of one's own that ends makes room for the next.  One more is tried after
a growing, jittered wait; when it fits, the ceiling rises and the next is tried at once.

Others' batches that filled the queue stand before everything that is sent later.  As long as none of that is
finished, the queue counts as crowded.
"""

from __future__ import annotations

from random import Random

from orchestrator.model import ChunkId
from orchestrator.schedule.messages import Cause
from orchestrator.schedule.state import Limits, backoff_of
from orchestrator.schedule.waits import Gate


class Lane:
    """Who is being sent, and when and how deep the next may be."""

    def __init__(self, limits: Limits, rng: Random) -> None:
        self._limits = limits
        self.gate = Gate(backoff_of(limits, rng))
        self.full = Gate(backoff_of(limits, rng))  # for one above the ceiling
        self.busy: ChunkId | None = None
        self.ceiling = limits.slots
        self._crowded_ms: int | None = None  # when the queue was last found full of others' batches

    def free(self, now_ms: int) -> bool:
        """Tell whether an upload may start now."""
        return self.busy is None and now_ms >= self.gate.ready_ms

    def room(self, held: int, in_doubt: int, wanted: int, now_ms: int) -> bool:
        """Tell whether one more chunk may be sent while ``held`` have a slot, ``in_doubt`` of them perhaps not.

        Those take a slot off the limit, but do not keep the importers busy if Marketo never took them.
        """
        at_marketo = held - in_doubt
        return held < self._limits.slots and at_marketo < wanted and self.fits(at_marketo, now_ms)

    def fits(self, at_marketo: int, now_ms: int) -> bool:
        """Tell whether one more may find room beside others' batches, for all that is known."""
        return at_marketo < self.ceiling or now_ms >= self.full.ready_ms

    def start(self, chunk: ChunkId, now_ms: int) -> tuple[Cause | None, int]:
        """Give the lane to a chunk; return what was waited for before it, and how long."""
        self.busy = chunk
        full, gate = self.full.take_wait(now_ms), self.gate.take_wait(now_ms)
        return full if gate[0] is None else gate

    def accepted(self, at_marketo: int) -> None:
        """Free the lane after an acceptance; ``at_marketo`` counts the new batch."""
        self.busy = None
        self.gate.reset()
        if at_marketo > self.ceiling:
            self.ceiling = at_marketo
            self.full.reset()
            self.full.ready_ms = 0

    def freed(self) -> None:
        """Free the lane after an end that says nothing about the next chunk."""
        self.busy = None

    def deferred(self, cause: Cause, at_marketo: int, retry_at_ms: int | None, now_ms: int) -> None:
        """Free the lane after a refusal for a time, while ``at_marketo`` batches are surely there."""
        self.busy = None
        if cause is Cause.QUEUE_FULL:
            self.ceiling = min(self._limits.slots, at_marketo)
            self._crowded_ms = now_ms
            self.full.close(cause, now_ms)
        else:
            at_least_ms = self._limits.lasts_ms(cause)
            self.gate.close(cause, now_ms, at_least_ms=at_least_ms, not_before_ms=retry_at_ms)

    def found_waiting(self, now_ms: int) -> None:
        """Note that a batch waits although its turn should have come: others' stand before it."""
        self._crowded_ms = now_ms

    def finished(self, sent_ms: int, now_ms: int) -> None:
        """Note that a batch that was sent at this time is finished, and with it what stood before it."""
        if self._crowded_ms is not None and sent_ms > self._crowded_ms:
            self._crowded_ms = None
            self.full.open(now_ms)

    @property
    def crowded(self) -> bool:
        """Tell whether others' batches stand before one's own, for all that is known."""
        return self._crowded_ms is not None
