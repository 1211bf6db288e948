"""The tables as a whole: made, and stamped with their revision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, insert, inspect, select

from orchestrator.errors import JournalVersionUnknown
from orchestrator.journal.rows import NotUnderstood
from orchestrator.journal.schema import REVISION, metadata, versions


def create(connection: Connection) -> None:
    """Create all tables in an empty database, and stamp it."""
    metadata.create_all(connection)
    versions.create(connection)
    connection.execute(insert(versions), {"version_num": REVISION})


def revision(connection: Connection) -> str | None:
    """Return the revision of the tables; None in an empty database, empty if there are tables but no revision."""
    if not inspect(connection).has_table(versions.name):
        return None
    return connection.execute(select(versions.c.version_num)).scalar() or ""


def stranger(connection: Connection) -> str | None:
    """Return a table of a database that is another program's; None if it is empty, or a journal of any version.

    Other programs keep revisions with Alembic, too.
    """
    names = inspect(connection).get_table_names()
    if not names or (versions.name in names and not metadata.tables.keys().isdisjoint(names)):
        return None
    return next((name for name in names if name != versions.name), versions.name)


@contextmanager
def understood(connection: Connection) -> Iterator[None]:
    """Tell a row of a newer version, which has brought the tables up meanwhile, from one that is damaged."""
    try:
        yield
    except NotUnderstood as error:
        if revision(connection) == REVISION:
            raise
        raise JournalVersionUnknown(
            f"the journal holds {error}: it was written by a newer version of this program; use that version"
        ) from error
