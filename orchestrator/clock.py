"""Where time comes from: integers of milliseconds that never go backwards, and the wall clock of the moment.

``now_ms`` is the wall clock at start plus the time elapsed since on a clock that nobody sets and that runs
on while the machine sleeps.  So waits keep their length when the wall clock is corrected.
"""

from __future__ import annotations

import time
from typing import Protocol

_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # macOS: its monotonic clock does the same


class Clock(Protocol):
    """What the orchestrator asks for the time."""

    def now_ms(self) -> int:
        """Return milliseconds since the Unix epoch that never go backwards."""
        ...

    def wall_ms(self) -> int:
        """Return milliseconds since the Unix epoch as the machine has them now; for people and calendars."""
        ...


class SystemClock:
    """The machine's clocks."""

    def __init__(self, *, not_before_ms: int = 0) -> None:
        start_ms = max(self.wall_ms(), not_before_ms)
        self._offset_ms = start_ms - self._elapsed_ms()

    def now_ms(self) -> int:
        """Return milliseconds since the Unix epoch that never go backwards."""
        return self._offset_ms + self._elapsed_ms()

    def wall_ms(self) -> int:
        """Return milliseconds since the Unix epoch as the machine has them now."""
        return time.time_ns() // 1_000_000

    @staticmethod
    def _elapsed_ms() -> int:
        return time.clock_gettime_ns(_BOOT_CLOCK) // 1_000_000
