"""The journal on PostgreSQL: many writers at a time, and a lease for each subscription that is driven.

A lease is a row with the database's time of its last renewal.  It is good for 20 seconds from there, and is
renewed every 5; at once it is worthless if this machine knows that its process is dead.  The lease gives liveness,
the epoch safety: see `writing`.

A connection that is lost is made anew, with patience where that is safe: before a transaction has begun, and for
one that only reads.  When a transaction that writes breaks, nobody here knows whether it was committed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain, repeat
from typing import Any, ClassVar, Concatenate, Final, ParamSpec, TypeVar

from sqlalchemy import BigInteger, Connection, Engine, cast, delete, extract, func, insert, select, update
from sqlalchemy.exc import DBAPIError

from orchestrator.errors import Fenced, JournalError, JournalUnreachable
from orchestrator.journal import database, fencing
from orchestrator.journal.location import Database
from orchestrator.journal.machine import is_dead, this_process
from orchestrator.journal.patience import Patience
from orchestrator.journal.pgfaults import explained, is_lost
from orchestrator.journal.rows import pack_process, unpack_process
from orchestrator.journal.schema import leases
from orchestrator.journal.store import Store, busy
from orchestrator.journal.tables import understood
from orchestrator.journal.values import SILENT_MS, Away, Lease, Owner

RENEWED_EVERY_S: Final = 5.0
_PAUSES_S: Final = (0.1, 0.4, 1.0, 2.0, 3.0, 4.0)  # between tries, then as long as the last

_P = ParamSpec("_P")
_T = TypeVar("_T")

_NOW_MS: Final = cast(extract("epoch", func.clock_timestamp()) * 1000, BigInteger)


class PostgresStore(Store):
    """An open database."""

    renewal_s: ClassVar[float | None] = RENEWED_EVERY_S

    def __init__(self, place: Database) -> None:
        self._place = place
        self._engine: Engine | None = None
        self._held: dict[str, Lease] = {}
        self._process = this_process()
        self._patience = Patience()

    def open(self, now_ms: int) -> None:
        """Connect; the tables are made or brought up if need be."""
        with explained(self._place), self._patience.call():
            self._engine = database.open_engine(self._place, self._patience)

    def close(self) -> None:
        """Give back all leases and disconnect; leases that cannot be given back grow stale."""
        try:
            with suppress(JournalUnreachable):
                for lease in list(self._held.values()):
                    self.release(lease)
        finally:
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None
            self._patience.close()

    def hurry(self) -> None:
        """Lose patience with a server that cannot be reached, or does not answer."""
        self._patience.hurry()

    def away(self) -> Away | None:
        """Tell whether the server is being waited for."""
        return self._patience.away()

    def read(self, function: Callable[Concatenate[Connection, _P], _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call a function within a transaction in which nothing changes, again if the connection is lost."""

        def once() -> _T:
            with database.reader(self._opened).connect() as connection, connection.begin(), understood(connection):
                return function(connection, *args, **kwargs)

        with self._call():
            return self._patiently(once)

    def write(self, function: Callable[Concatenate[Connection, _P], _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call a function within a transaction; after an error nobody knows whether it was committed."""
        with self._connected() as connection, connection.begin(), understood(connection):
            return function(connection, *args, **kwargs)

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        with self._call(), self._patiently(self._opened.connect) as connection:
            yield connection

    @contextmanager
    def _call(self) -> Iterator[None]:
        if self._patience.over:
            raise JournalUnreachable(
                f"the journal {self._place} does not answer: see whether the server runs; when it does again, resume"
            )
        with explained(self._place), self._patience.call():
            yield

    def _patiently(self, call: Callable[[], _T]) -> _T:
        for pause_s in chain(_PAUSES_S, repeat(_PAUSES_S[-1])):
            try:
                done = call()
            except DBAPIError as error:
                if not is_lost(error) or not self._patience.pause(pause_s):
                    raise
            else:
                self._patience.reached()
                return done
        raise AssertionError("there is always another pause")

    @property
    def _opened(self) -> Engine:
        if self._engine is None:
            raise JournalError(f"the journal {self._place} is closed")
        return self._engine

    def check(self) -> None:
        """Do nothing: the server checks what it reads."""

    # --- who drives a subscription -------------------------------------------------------------------

    def take_over(self, host: str, now_ms: int, *, force: bool, home: str | None = None) -> Lease:
        """Raise the epoch and write the lease, in one transaction that no write for the subscription runs beside."""

        def take(connection: Connection) -> Lease | Owner:
            lease = fencing.raise_epoch(connection, host, 0)
            assert lease is not None  # there are no generations here
            owner = None if force else self._live(connection, host)
            if owner is not None:
                return owner
            connection.execute(delete(leases).where(leases.c.host == host))
            process = pack_process(self._process, home)
            row = {"host": host, "epoch": lease.epoch, "process": process, "since_ms": now_ms}
            connection.execute(insert(leases).values(**row, renewed_ms=_NOW_MS))
            return lease

        with self._connected() as connection, connection.begin() as transaction, understood(connection):
            taken = take(connection)
            if isinstance(taken, Owner):
                transaction.rollback()
        if isinstance(taken, Owner):
            raise busy(host, taken, pid=self._process.pid)
        self._held[host] = taken
        return taken

    def confirm(self, lease: Lease) -> None:
        """Renew the lease by the database's clock."""

        def renew(connection: Connection) -> None:
            fencing.check_epoch(connection, lease)
            ours = (leases.c.host == lease.host, leases.c.epoch == lease.epoch)
            if connection.execute(update(leases).where(*ours).values(renewed_ms=_NOW_MS)).rowcount != 1:
                raise Fenced(f"the lease of {lease.host} was given back; this process stops and writes nothing more")

        self.write(renew)

    def release(self, lease: Lease) -> None:
        """Remove the lease's row."""
        if self._held.get(lease.host) != lease:
            return
        del self._held[lease.host]
        ours = (leases.c.host == lease.host, leases.c.epoch == lease.epoch)
        self.write(lambda connection: connection.execute(delete(leases).where(*ours)))

    def owner(self, host: str) -> Owner | None:
        """Return the live process that drives a subscription."""
        return self.read(self._live, host)

    def _live(self, connection: Connection, host: str) -> Owner | None:
        query = select(leases.c.process, leases.c.since_ms, (_NOW_MS - leases.c.renewed_ms).label("age_ms"))
        row: Any = connection.execute(query.where(leases.c.host == host)).first()
        if row is None or row.age_ms >= SILENT_MS:
            return None
        process, home = unpack_process(host, row.process)
        if is_dead(process):
            return None
        machine = None if process.boot == self._process.boot else process.host
        return Owner(pid=process.pid, since_ms=row.since_ms, machine=machine, home=home, silent_ms=row.age_ms)
