"""Which process may write for a subscription, and which transactions may not run beside each other.

Every subscription has an epoch.  Taking it over adds one; a lease carries the epoch it was given; a write first
compares the two within its own transaction, in which nobody else can raise it.  So of all processes that ever owned
a subscription only the last one can change its chunks, however long another one was stopped, swapped out or cut off,
and whatever lock or lease said meanwhile.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from sqlalchemy import ColumnElement, Connection, func, insert, select, update

from orchestrator.errors import Fenced
from orchestrator.journal.rows import whole
from orchestrator.journal.schema import subscriptions
from orchestrator.journal.values import Lease


def alone(connection: Connection, *names: str) -> None:
    """Let no other transaction that gives one of these names run beside this one, from here to its end.

    On SQLite nobody writes beside anybody anyway.  On PostgreSQL the locks are released after the commit can be
    seen, so what such transactions number grows in the order in which it can be seen: whoever follows a job by the
    numbers of its events misses none.  They are taken in one order, and before any row of what they name is
    locked; the row of the subscription may be locked before, to be read, by who looks for a job to name.
    """
    if connection.dialect.name != "postgresql":
        return
    for key in sorted({_number(name) for name in names}):
        connection.execute(select(func.pg_advisory_xact_lock(key)))


def _number(name: str) -> int:
    digest = hashlib.blake2b(f"orchestrator {name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def raise_epoch(connection: Connection, host: str, generation: int) -> Lease | None:
    """Make all leases of a subscription worthless, and return the only one that is good.

    None if the lock that was taken for it is older than the newest, as its generation tells.
    """
    ours = _know_subscription(connection, host)
    query = select(subscriptions.c.epoch, subscriptions.c.generation).where(ours).with_for_update()
    known = connection.execute(query).one()
    if generation < whole(known.generation or 0, f"the generation of {host}"):
        return None
    epoch = whole(known.epoch, f"the epoch of {host}") + 1
    connection.execute(update(subscriptions).where(ours).values(epoch=epoch, generation=generation))
    return Lease(host=host, epoch=epoch)


def generation(connection: Connection, host: str) -> int:
    """Return which of a subscription's lock files counts."""
    query = select(subscriptions.c.generation).where(subscriptions.c.host == host)
    return whole(connection.execute(query).scalar() or 0, f"the generation of {host}")


def salt(connection: Connection, host: str, make: Callable[[], bytes]) -> bytes:
    """Return the salt of a subscription's fingerprints, made at the first call."""
    ours = _know_subscription(connection, host)
    known: bytes | None = connection.execute(select(subscriptions.c.salt).where(ours)).scalar_one()
    if known is not None:
        return known
    made = make()
    connection.execute(update(subscriptions).where(ours).values(salt=made))
    return made


def _know_subscription(connection: Connection, host: str) -> ColumnElement[bool]:
    """Return the condition for a subscription's row, which is made if there is none."""
    alone(connection, f"subscription {host}")
    ours = subscriptions.c.host == host
    if connection.execute(select(subscriptions.c.epoch).where(ours)).first() is None:
        connection.execute(insert(subscriptions), {"host": host, "epoch": 0})
    return ours


def check_epoch(connection: Connection, lease: Lease) -> None:
    """Raise `Fenced` unless a lease is the newest of its subscription; it then stays so to the transaction's end."""
    query = select(subscriptions.c.epoch).where(subscriptions.c.host == lease.host)
    epoch = connection.execute(query.with_for_update(read=True)).scalar()
    if epoch != lease.epoch:
        raise Fenced(
            f"another process has taken {lease.host} over (epoch {epoch}, ours was {lease.epoch}); "
            "this one stops and writes nothing more; `orchestrator status` shows what goes on there"
        )
