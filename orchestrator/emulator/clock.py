"""The emulator's own time, which may run faster than everybody else's."""

from __future__ import annotations

from collections.abc import Callable


class EmulatedClock:
    """Milliseconds since the epoch: real time at the start, ``speed`` times as fast from there on."""

    def __init__(self, speed: float, real_ms: Callable[[], int]) -> None:
        self._speed = speed
        self._real_ms = real_ms
        self._began_ms = real_ms()
        self._skipped_ms = 0

    def now_ms(self) -> int:
        """Return the emulator's time."""
        return self._began_ms + int((self._real_ms() - self._began_ms) * self._speed) + self._skipped_ms

    def skip(self, ms: int) -> None:
        """Jump ahead, as if this much emulated time had passed."""
        self._skipped_ms += ms

    def real_seconds(self, emulated_ms: int) -> float:
        """Return how long a stretch of emulated time really takes."""
        return emulated_ms / 1000 / self._speed
