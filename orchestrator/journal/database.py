"""From a place to an open PostgreSQL database of this version.

Two processes may open the same new database at the same time: whoever has to change anything does so under a lock
of the server's, in one transaction, and looks again once it has it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import ArgumentError

from orchestrator.errors import JournalCorrupt, JournalUnusable
from orchestrator.journal import tables
from orchestrator.journal.fencing import alone
from orchestrator.journal.location import Database
from orchestrator.journal.patience import Patience
from orchestrator.journal.schema import REVISION, versions

_CONNECT: Final = {
    "connect_timeout": 10,  # seconds
    "application_name": "orchestrator",  # what the server's own lists show
    "keepalives_idle": 10,  # a server that vanished without a word is noticed within half a minute
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,  # milliseconds
}
_NUMBERS: Final = {*_CONNECT, "keepalives"} - {"application_name"}
_ON_CONNECT: Final = (
    "SET statement_timeout = '60s'",
    "SET lock_timeout = '15s'",  # other writers hold a row for milliseconds, or are ended as the next line says
    "SET idle_in_transaction_session_timeout = '10s'",  # a process that was stopped may not hang the others
    # A commit is on the server's disk when it returns; a stronger setting of the server's is left.
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
)


def open_engine(place: Database, patience: Patience) -> Engine:
    """Return an engine with at most one connection to a database, whose tables are made or brought up if need be.

    Raises the errors of the server as they are, and `JournalError` for everything else.
    """
    try:
        import psycopg  # only here: it is an extra
    except ImportError as error:
        raise JournalUnusable(
            f"a journal on PostgreSQL needs psycopg ({error}): install this program "
            "with it, in the directory of its source: pip install '.[postgres]'"
        ) from error
    _check_options(place, {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()})
    given = {name: value for name, value in _CONNECT.items() if name not in place.url.query}
    engine = create_engine(
        place.url,
        connect_args={**given, "client_encoding": "utf8"},  # a database of no encoding would answer in bytes
        hide_parameters=True,  # the text of an error may reach a log
        pool_size=1,
        max_overflow=0,
        pool_pre_ping=True,
        isolation_level="READ COMMITTED",  # what waited for a lock sees what was committed meanwhile
    )
    patience.watch(engine)
    event.listen(engine, "connect", _on_connect)
    try:
        with reader(engine).begin() as connection:
            ready = tables.revision(connection) == REVISION
        if not ready:
            with engine.begin() as connection:
                _set_up(place, connection)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _check_options(place: Database, known: Collection[str]) -> None:
    """Refuse a URL with options that libpq does not know, or with values that neither it nor SQLAlchemy would tell of."""
    for name, value in place.url.query.items():
        if name not in known:
            raise JournalUnusable(f"the journal {place}: its URL has an option that PostgreSQL does not know: {name!r}")
        if not isinstance(value, str) and name not in ("host", "port"):
            raise JournalUnusable(f"the journal {place}: its URL has the option {name} twice")
        if name in _NUMBERS and not re.fullmatch(r"-?\d{1,9}", str(value)):
            raise JournalUnusable(f"the journal {place}: the option {name} in its URL must be a number")
    try:
        place.url.get_dialect()().create_connect_args(place.url)
    except ArgumentError as error:
        raise JournalUnusable(f"the journal {place}: the hosts in its URL cannot be read ({error})") from error


def reader(engine: Engine) -> Engine:
    """Return the engine whose transactions see one moment and change nothing."""
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def _on_connect(connection: Any, record: object) -> None:
    for statement in _ON_CONNECT:
        connection.execute(statement)
    connection.commit()


def _set_up(place: Database, connection: Connection) -> None:
    """Make or bring up the tables, while every other process that wants to do so waits."""
    connection.execute(text("SET LOCAL statement_timeout = 0"))  # a large table takes its time
    connection.execute(text("SET LOCAL lock_timeout = '60s'"))
    alone(connection, "tables")
    revision, stranger = tables.revision(connection), tables.stranger(connection)
    if revision is None or stranger is not None:
        if stranger is not None:
            raise JournalUnusable(
                f"{place} is no journal of this program (it has the table {stranger}): give it a database of its own, "
                "or a schema of its own with ?options=-csearch_path%3DNAME at the end of the URL"
            )
        tables.create(connection)
    elif not revision:
        raise JournalCorrupt(
            f"{place} does not say which version wrote it: restore a copy of your own ({versions.name})"
        )
    elif revision != REVISION:
        from orchestrator.journal.migrations.upgrade import upgrade  # only here: imports Alembic

        upgrade(place, connection)
