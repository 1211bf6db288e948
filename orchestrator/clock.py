"""Where time comes from: integers of milliseconds that never go backwards, and the wall clock of the moment.

``now_ms`` is the wall clock at start plus the time elapsed since on a clock that nobody sets and that runs
on while the machine sleeps.  So waits keep their length when the wall clock is corrected.  What a journal has from an
earlier run counts, too: if the wall clock was set back in between, time goes on from what was written last.
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

    def __init__(self) -> None:
        self._offset_ms = self.wall_ms() - self._elapsed_ms()

    def now_ms(self) -> int:
        """Return milliseconds since the Unix epoch that never go backwards."""
        return self._offset_ms + self._elapsed_ms()

    def wall_ms(self) -> int:
        """Return milliseconds since the Unix epoch as the machine has them now."""
        return time.time_ns() // 1_000_000

    @staticmethod
    def _elapsed_ms() -> int:
        return time.clock_gettime_ns(_BOOT_CLOCK) // 1_000_000


class JournalClock:
    """Another clock, put forward where it is behind the times in a journal."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead_ms = 0

    def now_ms(self) -> int:
        """Return milliseconds since the Unix epoch that never go backwards, nor before what was begun at."""
        return self._clock.now_ms() + self._ahead_ms

    def wall_ms(self) -> int:
        """Return milliseconds since the Unix epoch as the other clock has them now."""
        return self._clock.wall_ms()

    def begin_at(self, at_ms: int) -> None:
        """Let it be this time at least."""
        self._ahead_ms += max(0, at_ms - self.now_ms())
