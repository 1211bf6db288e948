"""The API calls of a day: how many are left for imports, and what they are kept for.

A batch that Marketo has is worth a few more calls, for without them nobody learns what became of its rows.  So
submissions end before the calls do.
"""

from __future__ import annotations

from orchestrator.schedule.messages import CallsCounted
from orchestrator.schedule.state import Limits

CALLS_PER_BATCH = 5  # its upload, two polls when its end is near, and both files of results


class Budget:
    """What is left of a day's calls."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._left: int | None = None  # None: nobody has counted yet

    def count(self, fact: CallsCounted) -> None:
        """Take a count in; what others used beyond what is reserved for them is missing, too."""
        self._left = self._limits.calls_per_day - max(self._limits.calls_reserved, fact.others) - fact.own

    @property
    def spent(self) -> bool:
        """Tell whether no call may be made before the next day."""
        return self._left is not None and self._left <= 0

    def short(self, in_flight: int) -> bool:
        """Tell whether what is left is needed for so many batches that are under way."""
        return self._left is not None and self._left < CALLS_PER_BATCH * (in_flight + 1)
