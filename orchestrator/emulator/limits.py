"""The three limits on calls, and the account of calls that tests read.

Calls that come too fast count like any other, so whoever hammers stays shut out.  Calls with a bad token do not
count.  The day ends at midnight in Chicago.
"""

from __future__ import annotations

from collections import Counter, deque
from datetime import datetime
from zoneinfo import ZoneInfo

from orchestrator.emulator.config import EmulatorConfig
from orchestrator.emulator.refusals import refusal
from orchestrator.errors import Refused

CENTRAL_TIME = ZoneInfo("America/Chicago")
DAYS_KEPT = 8  # today and the last seven


class Limits:
    """Calls in the past window, calls in progress, calls of the day."""

    def __init__(self, config: EmulatorConfig) -> None:
        self._config = config
        self._window: deque[int] = deque()
        self._days: dict[str, Counter[str]] = {}  # day -> user -> calls
        self._errors: dict[str, Counter[str]] = {}  # day -> code -> answers
        self.in_flight = 0
        self.in_flight_max = 0
        self.in_window_max = 0

    def arrive(self) -> None:
        """Count a call as being in progress, whatever becomes of it."""
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self.in_flight)

    def leave(self) -> None:
        """Count a call as over."""
        self.in_flight -= 1

    def admit(self, user: str, now_ms: int) -> Refused | None:
        """Count a call with a good token; return why it may not go on, if so."""
        while self._window and self._window[0] <= now_ms - self._config.window_ms:
            self._window.popleft()
        self._window.append(now_ms)
        self.in_window_max = max(self.in_window_max, len(self._window))
        today = self._today(now_ms)
        today[user] += 1
        if len(self._window) > self._config.calls_per_window:
            return refusal("606", self._config.calls_per_window, self._config.window_ms // 1000)
        if self.in_flight > self._config.concurrent_calls:
            return refusal("615", self._config.concurrent_calls)
        if today.total() > self._config.calls_per_day:
            return refusal("607")
        return None

    def count_error(self, code: str, now_ms: int) -> None:
        """Count an answer that said no."""
        day = central_day(now_ms)
        self._errors.setdefault(day, Counter())[code] += 1
        _keep_newest(self._errors)

    def usage(self, now_ms: int) -> dict[str, Counter[str]]:
        """Return the calls of each user by day, oldest first, today last."""
        self._today(now_ms)
        return self._days

    def errors(self, now_ms: int) -> dict[str, Counter[str]]:
        """Return the answers of each code by day, oldest first, today last."""
        self._errors.setdefault(central_day(now_ms), Counter())
        return self._errors

    def _today(self, now_ms: int) -> Counter[str]:
        today = self._days.setdefault(central_day(now_ms), Counter())
        _keep_newest(self._days)
        return today


def _keep_newest(days: dict[str, Counter[str]]) -> None:
    while len(days) > DAYS_KEPT:
        del days[next(iter(days))]


def central_day(now_ms: int) -> str:
    """Return the day in Chicago, as ``2026-09-21``."""
    return datetime.fromtimestamp(now_ms / 1000, CENTRAL_TIME).date().isoformat()
