"""The journal on SQLite: one writer at a time, and a lock of the kernel for each subscription that is driven here.

A lock is the kernel's word on who is alive.  Taking over from a live process, one that was stopped for example,
goes past it: the subscription gets another lock file, of the next generation, and whoever asks later looks there.
The generation stands in the journal and changes only together with the epoch.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from orchestrator.errors import JournalError
from orchestrator.journal import fencing, lock, opening, resting
from orchestrator.journal.faults import explained
from orchestrator.journal.store import Store, busy
from orchestrator.journal.tables import understood
from orchestrator.journal.values import Lease, Owner

_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Held:
    """A subscription's lock and the epoch it was taken with."""

    lock: lock.Lock
    epoch: int


class SqliteStore(Store):
    """An open file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened_ms = 0
        self._engine: Engine | None = None
        self._identity: opening.Identity | None = None  # of the file that is open
        self._copy: resting.Copy | None = None  # what is read in place of the file, which may not be written
        self._held: dict[str, _Held] = {}

    def open(self, now_ms: int) -> None:
        """Open the file, made or brought up if need be."""
        self._opened_ms = now_ms
        with explained(self._path):
            try:
                self._engine = opening.open_engine(self._path, now_ms=now_ms)
                self._identity = opening.identity_of(self._path)
            except DBAPIError as error:
                if not resting.is_at_rest(self._path, error):
                    raise
                self._copy = resting.Copy(self._path)
                self._engine = opening.open_engine(self._copy.path, now_ms=now_ms)

    def close(self) -> None:
        """Give back all locks and close the file."""
        with explained(self._path):
            while self._held:
                self._held.popitem()[1].lock.release()
            _put_away(self._engine, self._copy)
            self._engine = self._copy = None

    def _renew(self) -> None:
        """Open the file again, of which the copy is out of date; if that fails, whoever reads next tries again."""
        before = self._engine, self._copy
        self._engine = self._copy = None
        try:
            self.open(self._opened_ms)
        except BaseException:
            _put_away(self._engine, self._copy)
            self._engine, self._copy = before
            raise
        _put_away(*before)

    def read(self, function: Callable[Concatenate[Connection, _P], _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call a function within a transaction in which nothing changes."""
        if self._copy is not None and self._copy.stale:
            self._renew()
        with explained(self._path), self._opened.begin() as connection, understood(connection):
            return function(connection, *args, **kwargs)

    def write(self, function: Callable[Concatenate[Connection, _P], _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call a function within a transaction that nobody else writes beside."""
        if self._copy is not None:
            raise resting.forbidden(self._path)
        with explained(self._path), opening.writer(self._opened).begin() as connection, understood(connection):
            return function(connection, *args, **kwargs)

    @property
    def _opened(self) -> Engine:
        if self._engine is None:
            raise JournalError(f"the journal {self._path} is closed")
        if self._copy is None and opening.identity_of(self._path) != self._identity:
            # SQLite goes on with the open file, which nobody else sees, and which is lost when it is closed.
            raise opening.lost(self._path, "was deleted or replaced while it was in use")
        return self._engine

    def check(self) -> None:
        """Look the whole file over."""
        self.read(lambda connection: opening.check(self._path, connection))

    # --- who drives a subscription -------------------------------------------------------------------

    def take_over(self, host: str, now_ms: int, *, force: bool, home: str | None = None) -> Lease:
        """Take a subscription's lock, or with ``force`` the next one; look the file over, and raise the epoch."""
        generation = self.read(fencing.generation, host)
        taken = self._lock(host, generation, now_ms, home)
        if taken is None and force:
            generation += 1
            taken = self._lock(host, generation, now_ms, home)
        if taken is None:
            raise busy(host, self.owner(host) or Owner(pid=0, since_ms=0), pid=os.getpid())
        try:
            self.check()
            lease = self.write(fencing.raise_epoch, host, generation)
        except BaseException:
            taken.release()
            raise
        if lease is None:  # another process was quicker to go past the same lock
            taken.release()
            raise busy(host, self.owner(host), pid=os.getpid())
        before = self._held.get(host)
        self._held[host] = _Held(taken, lease.epoch)
        if before is not None:  # taken from this very process
            before.lock.release()
        return lease

    def _lock(self, host: str, generation: int, now_ms: int, home: str | None) -> lock.Lock | None:
        with explained(self._path):
            return lock.take(lock.lock_path(self._path, host, generation), now_ms=now_ms, home=home)

    def confirm(self, lease: Lease) -> None:
        """Compare the epochs; a lock of the kernel needs no renewal, but others see that its holder lives."""
        self.read(fencing.check_epoch, lease)
        held = self._held.get(lease.host)
        if held is not None and held.epoch == lease.epoch:
            held.lock.touch()

    def release(self, lease: Lease) -> None:
        """Give a subscription's lock back."""
        held = self._held.get(lease.host)
        if held is not None and held.epoch == lease.epoch:
            del self._held[lease.host]
            with explained(self._path):
                held.lock.release()

    def owner(self, host: str) -> Owner | None:
        """Return the live process that drives a subscription."""
        generation = self.read(fencing.generation, host)
        with explained(self._path):
            return lock.owner(lock.lock_path(self._path, host, generation))


def _put_away(engine: Engine | None, copy: resting.Copy | None) -> None:
    if engine is not None:
        engine.dispose()
    if copy is not None:
        copy.remove()
