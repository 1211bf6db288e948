"""When calls may be made at all: the waits after those that were refused for there being too many."""

from __future__ import annotations

from orchestrator.schedule.messages import Cause
from orchestrator.schedule.state import Limits
from orchestrator.schedule.waits import Backoff


class Calls:
    """How long no call is made, and how long the next one that fails waits."""

    def __init__(self, limits: Limits, backoff: Backoff) -> None:
        self._limits = limits
        self._backoff = backoff
        self.ready_ms = 0
        self.quota_refused = False  # the day's calls are used up, Marketo says; until calls are tried again

    def age(self, now_ms: int) -> None:
        """Let go of a refusal whose time is over."""
        self.quota_refused &= now_ms < self.ready_ms

    def answered(self) -> None:
        """Forget how long the waits have grown: a call got through."""
        self._backoff.reset()

    def refused(self, cause: Cause, retry_at_ms: int | None, now_ms: int) -> int:
        """Take in that a call failed; return when it may be made again."""
        again_ms = max(now_ms + self._limits.lasts_ms(cause) + self._backoff.next_ms(), retry_at_ms or 0)
        self.hold(cause, again_ms)
        return again_ms

    def hold(self, cause: Cause, until_ms: int) -> None:
        """Make no call before a time, if the cause is one that every call shares."""
        if cause in (Cause.RATE_LIMITED, Cause.QUOTA_EXHAUSTED):
            self.ready_ms = max(self.ready_ms, until_ms)
            self.quota_refused |= cause is Cause.QUOTA_EXHAUSTED
