"""Waits that a refusal puts before the next try: how long they are, what they were for, and when to give up."""

from __future__ import annotations

from random import Random

from orchestrator.schedule.messages import Cause


class Backoff:
    """Waits that double from a minimum to a maximum, each jittered by a quarter either way."""

    def __init__(self, min_ms: int, max_ms: int, rng: Random) -> None:
        self._min_ms, self._max_ms, self._rng = min_ms, max_ms, rng
        self._next_ms = min_ms

    def next_ms(self) -> int:
        """Return the next wait; it grows until `reset`."""
        wait = self._next_ms
        self._next_ms = min(self._max_ms, self._next_ms * 2)
        return max(1, round(wait * self._rng.uniform(0.75, 1.25)))

    def reset(self) -> None:
        """Start over from the minimum."""
        self._next_ms = self._min_ms


class Gate:
    """A way that refusals close for a time; it opens by the clock, or early when there is reason to try."""

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self.cause: Cause | None = None
        self.ready_ms = 0
        self._since_ms = 0

    def close(self, cause: Cause, now_ms: int, *, at_least_ms: int = 0, not_before_ms: int | None = None) -> None:
        """Close for ``at_least_ms``, and then for the next, longer wait: jitter parts those who wait for the same."""
        wait_ms = at_least_ms + self._backoff.next_ms()
        self.cause, self._since_ms = cause, now_ms
        self.ready_ms = max(now_ms + wait_ms, not_before_ms or 0)

    def open(self, now_ms: int) -> None:
        """Let the next one through at once."""
        self.ready_ms = min(self.ready_ms, now_ms)

    def take_wait(self, now_ms: int) -> tuple[Cause | None, int]:
        """Return what was waited for and how long, once; ``(None, 0)`` if nothing was."""
        cause, self.cause = self.cause, None
        return (None, 0) if cause is None else (cause, max(0, min(now_ms, self.ready_ms) - self._since_ms))

    def reset(self) -> None:
        """Forget how long the waits have grown: something went through."""
        self._backoff.reset()


class Patience:
    """How long trouble without a known end has lasted, from its first sign to the next success."""

    def __init__(self, lasts_ms: int) -> None:
        self._lasts_ms = lasts_ms
        self._since_ms: int | None = None  # None: there is no trouble

    @property
    def tried(self) -> bool:
        """Tell whether there is trouble."""
        return self._since_ms is not None

    def ends_ms(self, begun_ms: int) -> int:
        """Return when a job gives up that began then: it waits as long as any, however long others waited before."""
        return max(self._since_ms or 0, begun_ms) + self._lasts_ms

    def try_by(self, cause: Cause, now_ms: int) -> None:
        """Take a sign of trouble in; a wait with a known end is none, and ends what was before."""
        if cause is Cause.QUOTA_EXHAUSTED:
            self._since_ms = None
        elif self._since_ms is None:
            self._since_ms = now_ms

    def restore(self) -> None:
        """Begin anew after a success."""
        self._since_ms = None
