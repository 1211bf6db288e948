"""Who fills Marketo's import queue, when others leave uploads no room for long.

Marketo does not tell whose imports wait in its queue.  What it tells is how many calls each API user made today, and
who calls much is the first to be asked.
"""

from __future__ import annotations

from typing import Final

from orchestrator.marketo.day import quota_day
from orchestrator.marketo.reads import Usage
from orchestrator.model import Finding, JobId

TAKEN_MS: Final = 600_000  # uploads are refused for longer before it is told
GAP_MS: Final = 600_000  # between two refusals; nobody knows whether the queue was full in a longer one


class Crowd:
    """Watches how long the queue is full of others' imports.

    An upload starts only while fewer of one's own batches than the slots are at Marketo, so an upload that finds the
    queue full finds others' there.
    """

    def __init__(self) -> None:
        self._since_ms: int | None = None
        self._refused_ms = 0
        self._usage: Usage | None = None
        self._told: set[JobId] = set()

    def note_usage(self, usage: Usage) -> None:
        """Take in what Marketo counted last."""
        self._usage = usage

    def let_in(self) -> None:
        """Note that an upload found room."""
        self._since_ms = None

    def refused(self, job: JobId, api_user: str | None, *, now_ms: int, wall_ms: int) -> Finding | None:
        """Note that an upload of a job found the queue full; return what is to be told of it, once per job."""
        if self._since_ms is None or now_ms - self._refused_ms > GAP_MS:
            self._since_ms = now_ms
        self._refused_ms = now_ms
        lasted_ms = now_ms - self._since_ms
        if lasted_ms <= TAKEN_MS or job in self._told:
            return None
        self._told.add(job)
        message = (
            f"Imports of others left no room in Marketo's queue for {lasted_ms // 60_000} minutes; it is waited for."
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
