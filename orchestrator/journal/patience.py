"""How long a server is waited for.

One that cannot be reached is waited for `OUTAGE_MS` from the first try on, by all calls together; then each call is
tried once, until one succeeds.

One that does not answer is waited for as long as the process is to run.  It may vanish in the middle of a call, or
stand still with its connection open: then nothing ever comes, and only this end can close the line.  Once somebody
hurries, each call has a few seconds; one that takes longer has its line closed, and from then on nothing is asked of
the server any more.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from sqlalchemy import Engine, event

from orchestrator.clock import SystemClock
from orchestrator.journal.values import Away

OUTAGE_MS: Final = 30_000  # a server restarts in it
UNANSWERED_MS: Final = 10_000  # a call that takes longer is one that is not answered; the largest take a few seconds
HURRIED_S: Final = 3.0  # what a call may take once the process is to end; commits take milliseconds
RECONNECT_S: Final = 3  # for a server that was reached before; it is tried again and again


class Patience:
    """Ends calls to a server for which nobody waits any longer; `hurry` may be called from any thread."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._hurried = threading.Event()
        self._over = False
        self._timer: threading.Timer | None = None  # of the call that is being made
        self._clock = SystemClock()
        self._until_ms: int | None = None  # the server cannot be reached, and is waited for until then
        self._asked_ms: int | None = None  # since when the call is being made
        self._line: socket.socket | None = None  # of the last connection, ours even when its own end is closed

    @property
    def over(self) -> bool:
        """Tell whether nothing is to be asked of the server any more."""
        return self._over

    def watch(self, engine: Engine) -> None:
        """Keep hold of the connections that an engine makes."""
        event.listen(engine, "do_connect", self._connecting)
        event.listen(engine, "connect", self._connected)

    def hurry(self) -> None:
        """Give the call that is being made, and each after it, a few seconds."""
        with self._guard:
            if not self._hurried.is_set() and self._timer is not None:
                self._timer.start()
            self._hurried.set()

    def pause(self, seconds: float) -> bool:
        """Wait before the server is tried again; False, at once, if it is not to be tried any more by this call."""
        now_ms = self._clock.now_ms()
        if self._until_ms is None:
            self._until_ms = now_ms + OUTAGE_MS
        left_ms = self._until_ms - now_ms
        if left_ms > 0 and self._hurried.wait(min(seconds, left_ms / 1000)):
            self._over = True
        return left_ms > 0 and not self._over

    def reached(self) -> None:
        """Take note that the server was reached."""
        self._until_ms = None

    def away(self) -> Away | None:
        """Tell, from any thread, whether the server is being waited for."""
        until_ms, asked_ms, now_ms = self._until_ms, self._asked_ms, self._clock.now_ms()
        if until_ms is not None:
            return Away(left_ms=max(0, until_ms - now_ms))
        return Away(left_ms=None) if asked_ms is not None and now_ms - asked_ms >= UNANSWERED_MS else None

    @contextmanager
    def call(self) -> Iterator[None]:
        """Ask something of the server."""
        timer = threading.Timer(HURRIED_S, self._cut)
        timer.daemon = True
        with self._guard:
            self._timer = timer
            if self._hurried.is_set():
                timer.start()
        self._asked_ms = self._clock.now_ms()
        try:
            yield
        finally:
            self._asked_ms = None
            with self._guard:
                self._timer = None
            timer.cancel()

    def close(self) -> None:
        """Let go of the last connection."""
        with self._guard:
            line, self._line = self._line, None
        if line is not None:
            line.close()

    def _cut(self) -> None:
        """Close the line of the call that takes too long, which then fails as if the server had done so."""
        with self._guard:
            self._over = True
            if self._line is not None:
                _shut(self._line)

    def _connecting(self, dialect: object, record: object, arguments: object, options: dict[str, Any]) -> None:
        if self._line is not None:
            options["connect_timeout"] = RECONNECT_S

    def _connected(self, connection: Any, record: object) -> None:
        line = socket.socket(fileno=os.dup(connection.fileno()))
        with self._guard:
            before, self._line = self._line, line
            if self._over:
                _shut(line)
        if before is not None:
            before.close()


def _shut(line: socket.socket) -> None:
    with suppress(OSError):  # the other end was quicker
        line.shutdown(socket.SHUT_RDWR)
