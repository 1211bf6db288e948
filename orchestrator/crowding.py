"""Who fills Marketo's import queue, when others leave uploads no room for long.

Marketo does not tell whose imports wait in its queue.  What it tells is how many calls each API user made today, and
who calls much is the first to be asked.
"""

from __future__ import annotations

from typing import Final

from orchestrator.marketo.day import quota_day
from orchestrator.marketo.reads import Usage
from orchestrator.model import Finding, JobId
from orchestrator.schedule.state import Limits

TAKEN_MS: Final = 600_000  # uploads are refused for longer before it is told
TIGHT_MS: Final = 1_800_000  # the same, if some found room meanwhile
GAP_MS: Final = 600_000  # between two refusals; nobody knows whether the queue was full in a longer one
TRIED_FACTOR: Final = 1.3  # of the longest back-off, with its jitter: a full queue is tried again within that time


class Crowd:
    """Watches how long the queue is full of others' imports.

    An upload starts only while fewer of one's own batches than the slots are at Marketo, so an upload that finds the
    queue full finds others' there.
    """

    def __init__(self, limits: Limits) -> None:
        """Begin with a queue that was never full."""
        self._gap_ms = max(GAP_MS, round(TRIED_FACTOR * limits.backoff_max_ms))
        self._few = limits.usual_depth
        self._since_ms: int | None = None
        self._let_in = 0  # since then
        self._refused_ms = 0
        self._usage: Usage | None = None
        self._told: set[JobId] = set()

    def note_usage(self, usage: Usage) -> None:
        """Take in what Marketo counted last."""
        self._usage = usage

    def let_in(self) -> None:
        """Note that an upload found room."""
        self._let_in += 1

    def refused(self, job: JobId, api_user: str | None, *, own: int, now_ms: int, wall_ms: int) -> Finding | None:
        """Note that an upload of a job found the queue full, with so many of one's own batches in it.

        Return what is to be told of it, once per job.  As long as one's own batches are as many as are usually kept at
        Marketo, others are in nobody's way.
        """
        if self._since_ms is None or now_ms - self._refused_ms > self._gap_ms or own >= self._few:
            self._since_ms, self._let_in = now_ms, 0
        self._refused_ms = now_ms
        lasted_ms = now_ms - self._since_ms
        if lasted_ms <= (TIGHT_MS if self._let_in else TAKEN_MS) or job in self._told:
            return None
        self._told.add(job)
        room = f"room for {self._let_in} of our uploads only" if self._let_in else "no room"
        message = (
            f"Imports of others left {room} in Marketo's queue for {lasted_ms // 60_000} minutes; it is waited for."
        )
        busiest = self._busiest(api_user, quota_day(wall_ms))
        if busiest is not None:
            user, calls = busiest
            message += (
                f" Of all other API users {user} made the most calls today, {calls}: ask there first whether imports "
                "of theirs can wait."
            )
        return Finding(kind="queue_taken", message=message)

    def _busiest(self, api_user: str | None, today: str) -> tuple[str, int] | None:
        """Return who called most today besides this API user; None if that cannot be told."""
        if self._usage is None or self._usage.date != today or api_user is None:
            return None
        own = api_user.casefold()
        others = [(user, calls) for user, calls in self._usage.users if user and calls and user.casefold() != own]
        return max(others, key=lambda each: each[1], default=None)
