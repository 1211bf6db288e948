"""What the journal asks of a database, synchronously; one class for each that there is.

Everything here runs in the journal's own thread, one call after another, but for `hurry` and `away`.  What is asked and
written stands in `reading` and `writing`, once for all databases.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime
from typing import ClassVar, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

from orchestrator.errors import JournalLocked, SubscriptionBusy
from orchestrator.journal.values import Away, Lease, Owner

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Store(ABC):
    """An open journal; every fault comes out as a `JournalError`."""

    renewal_s: ClassVar[float | None] = None  # how often a lease has to be confirmed to stay good; None: never

    @abstractmethod
    def open(self, now_ms: int) -> None:
        """Open the database; its tables are made or brought up if need be."""

    @abstractmethod
    def close(self) -> None:
        """Give back all leases and close the database; harmless if it was never open."""

    def hurry(self) -> None:  # noqa: B027  # a database that is a file is never waited for long
        """Wait for nothing for long, for the process is to end; called from another thread."""

    def away(self) -> Away | None:
        """Tell whether the database does not answer, and how long it is waited for; called from another thread."""
        return None

    @abstractmethod
    def read(self, function: Callable[Concatenate[Connection, _P], _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call a function within a transaction in which nothing changes."""

    @abstractmethod
    def write(self, function: Callable[Concatenate[Connection, _P], _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call a function within a transaction; what it wrote is durable when this returns."""

    @abstractmethod
    def check(self) -> None:
        """Raise `JournalCorrupt` if the structure of the database is damaged."""

    @abstractmethod
    def take_over(self, host: str, now_ms: int, *, force: bool, home: str | None = None) -> Lease:
        """Become the one who writes for a subscription; with ``force``, even if a live process drives it.

        ``home`` is the number of this process's state directory, for others to know whose jobs it sends.
        """

    @abstractmethod
    def confirm(self, lease: Lease) -> None:
        """Raise `Fenced` if a lease is not good any longer; else it is good for a while from now."""

    @abstractmethod
    def release(self, lease: Lease) -> None:
        """Give a lease back; nothing if it was given back before."""

    @abstractmethod
    def owner(self, host: str) -> Owner | None:
        """Return the live process that drives a subscription."""


def busy(host: str, owner: Owner | None, *, pid: int) -> SubscriptionBusy:
    """Return the error that names the process which drives a subscription; ``pid`` is the own one."""
    who = "another process"
    if owner is not None and owner.pid:
        since = datetime.fromtimestamp(owner.since_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        itself = " (this one)" if owner.pid == pid and owner.machine is None else ""
        who = f"{owner.name}{itself} since {since}"
    return SubscriptionBusy(
        f"{host} is driven by {who}; follow its jobs with `orchestrator status`, or end it and try again"
    )


def locked_by(owner: Owner | None, error: JournalLocked) -> JournalLocked:
    """Return the error of a take-over from a process that was stopped in the middle of a write; else the same one."""
    if owner is None:
        return error
    return JournalLocked(
        f"{owner.name} drives the subscription, and is stopped or hangs in the middle of a write: it holds "
        f"the journal's lock. End it with kill -9 {owner.pid}, then try again; nothing is lost"
    )
