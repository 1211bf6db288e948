"""The journal on SQLite, synchronously: transactions, and the locks of the subscriptions this process drives.

Everything here runs in the journal's own thread, one call after another.  A journal on another database is
another class with these methods; what is asked and written stays in `reading` and `writing`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine

from orchestrator.errors import JournalError, SubscriptionBusy
from orchestrator.journal import lock, opening, writing
from orchestrator.journal.faults import explained
from orchestrator.journal.values import Lease, Owner

_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Held:
    """A subscription's lock and the epoch it was taken with."""

    lock: lock.Lock
    epoch: int


class Store:
    """An open journal; every fault comes out as a `JournalError`."""

    def __init__(self, url: str) -> None:
        self._path = opening.path_of(url)
        self._engine: Engine | None = None
        self._held: dict[str, _Held] = {}

    def open(self, now_ms: int) -> None:
        """Open the file, made or brought up if need be."""
        with explained(self._path):
            self._engine = opening.open_engine(self._path, now_ms=now_ms)

    def close(self) -> None:
        """Give back all locks and close the file; harmless if it was never open."""
        with explained(self._path):
            while self._held:
                self._held.popitem()[1].lock.release()
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None

    def read(self, function: Callable[Concatenate[Connection, _P], _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call a function within a transaction in which nothing changes."""
        with explained(self._path), self._opened.begin() as connection:
            return function(connection, *args, **kwargs)

    def write(self, function: Callable[Concatenate[Connection, _P], _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call a function within a transaction that nobody else writes beside; durable when it returns."""
        with explained(self._path), opening.writer(self._opened).begin() as connection:
            return function(connection, *args, **kwargs)

    @property
    def _opened(self) -> Engine:
        if self._engine is None:
            raise JournalError(f"the journal {self._path} is closed")
        return self._engine

    def check(self) -> None:
        """Look the whole file over."""
        self.read(lambda connection: opening.check(self._path, connection))

    # --- who drives a subscription -------------------------------------------------------------------

    def take_over(self, host: str, now_ms: int) -> Lease:
        """Take a subscription's lock, look the file over, and raise the epoch."""
        with explained(self._path):
            taken = lock.take(lock.lock_path(self._path, host), now_ms=now_ms)
        if taken is None:
            raise self._busy(host)
        try:
            self.check()
            lease = self.write(writing.raise_epoch, host)
        except BaseException:
            taken.release()
            raise
        self._held[host] = _Held(taken, lease.epoch)
        return lease

    def release(self, lease: Lease) -> None:
        """Give a subscription's lock back; nothing if it was given back before."""
        held = self._held.get(lease.host)
        if held is not None and held.epoch == lease.epoch:
            del self._held[lease.host]
            with explained(self._path):
                held.lock.release()

    def owner(self, host: str) -> Owner | None:
        """Return the live process that drives a subscription."""
        with explained(self._path):
            return lock.owner(lock.lock_path(self._path, host))

    def _busy(self, host: str) -> SubscriptionBusy:
        owner = self.owner(host) or Owner(pid=0, since_ms=0)
        who = "another process"
        if owner.pid:
            since = datetime.fromtimestamp(owner.since_ms / 1000, UTC).isoformat(timespec="seconds")
            itself = " (this one)" if owner.pid == os.getpid() else ""
            who = f"process {owner.pid}{itself} since {since}"
        return SubscriptionBusy(
            f"{host} is driven by {who}; follow its jobs with `orchestrator status`, or end it and try again"
        )
