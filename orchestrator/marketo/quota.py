"""Rations the calls of one process: so many per sliding window, so many at a time.  Pure.

Marketo counts a call when it arrives, in *any* window of the past, and nobody here knows when between its start and
its end that was.  So a call counts from its start until one window after its end: whenever the calls arrived, no
window holds more of them than allowed.  A call that was cancelled or refused counts too: nothing says that Marketo
forgets it.

How many calls Marketo has in progress is not known here, for others make some.  When it says that there are too many,
half as many are made at a time here, and one more again after each window in which it does not say so.
"""

from __future__ import annotations

from collections import deque

IN_PROGRESS_MIN = 2  # an upload takes minutes, and other calls must not stand behind it

BUSY = -1  # `admit`: as many calls as allowed are in progress; only a `release` can help


class Quota:
    """Says when the next call may start; the caller waits."""

    def __init__(self, *, calls_per_window: int, window_ms: int, concurrent_calls: int) -> None:
        if calls_per_window < 1 or window_ms < 1 or concurrent_calls < 1:
            raise ValueError("limits on calls are at least 1")
        self._calls_per_window = calls_per_window
        self._window_ms = window_ms
        self._in_progress_max = min(concurrent_calls, calls_per_window)
        self._ceiling = (
            self._in_progress_max
        )  # lower for a while after Marketo refused a call for its being one too many
        self._rises_ms = 0
        self._in_progress = 0
        self._ends_ms: deque[int] = deque()  # of the calls that still count, rising

    @property
    def in_progress(self) -> int:
        """How many calls were admitted and not yet released."""
        return self._in_progress

    def admit(self, now_ms: int) -> int:
        """Let one call start, or say why not.

        0: it is counted, go, and `release` when it has ended.  A positive number: wait so many milliseconds and ask
        again.  `BUSY`: ask again after a `release`.
        """
        self._rises_ms = min(self._rises_ms, now_ms + self._window_ms)  # a clock that was set back
        while self._ceiling < self._in_progress_max and self._rises_ms <= now_ms:
            self._ceiling += 1
            self._rises_ms += self._window_ms
        if self._in_progress >= self._ceiling:
            return BUSY
        while self._ends_ms and self._ends_ms[0] + self._window_ms < now_ms:
            self._ends_ms.popleft()
        if self._in_progress + len(self._ends_ms) >= self._calls_per_window:
            # A clock that was set back must not lock the gate for longer than one window.
            return min(self._ends_ms[0] + self._window_ms + 1 - now_ms, self._window_ms + 1)
        self._in_progress += 1
        return 0

    def crowd(self, now_ms: int) -> None:
        """Note that Marketo refused a call because too many were in progress, others' among them."""
        self._ceiling = max(min(IN_PROGRESS_MIN, self._in_progress_max), self._ceiling // 2)
        self._rises_ms = now_ms + self._window_ms

    def release(self, now_ms: int) -> None:
        """Note that an admitted call has ended, however it ended."""
        if self._in_progress == 0:
            raise ValueError("no call is in progress")
        self._in_progress -= 1
        self._ends_ms.append(now_ms)
