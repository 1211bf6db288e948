"""From a path to an open SQLite database that is private, local, undamaged and of this version.

A new file is created from `schema.metadata` and stamped; only a file of an older version makes anyone import
Alembic.  Two processes may open the same new file at the same time: whoever has to change anything does so
under a lock of its own, and looks again once it has it, because switching to the write-ahead log is the one
thing for which SQLite does not wait: it fails at once if anybody writes.
"""

from __future__ import annotations

import glob
import os
import sqlite3
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from orchestrator.errors import JournalCorrupt, JournalStalled, JournalUnusable
from orchestrator.journal import lock, tables
from orchestrator.journal.faults import corrupt, is_no_database
from orchestrator.journal.mounts import network_file_system
from orchestrator.journal.schema import REVISION

BUSY_TIMEOUT_MS: Final = 10_000  # other writers hold the file for milliseconds; one that is stopped may not hang us
WAL_BYTES_KEPT: Final = 16 * 1024 * 1024  # of the write-ahead log, which grows while somebody reads for long
_SETUP_TRIES: Final = 250  # each lasts 40 ms: a migration has 10 s before others give up
_BEGIN: Final = "orchestrator_begin"  # execution option: how transactions of an engine begin
Identity = tuple[int, int]  # device and inode
_MOUNTS: Final = Path("/proc/self/mounts")
_ON_CONNECT: Final = (
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}",
    "PRAGMA foreign_keys = ON",
    "PRAGMA synchronous = FULL",  # a commit is on the disk when it returns
    "PRAGMA fullfsync = ON",  # macOS: past the disk's own cache, too
    "PRAGMA checkpoint_fullfsync = ON",
    f"PRAGMA journal_size_limit = {WAL_BYTES_KEPT}",
)


def open_engine(path: Path, *, now_ms: int) -> Engine:
    """Return an engine with at most one connection to the journal at `path`, made or brought up if need be.

    Raises the errors of SQLite and of the file system as they are, and a `JournalError` for everything else.
    """
    _make_file(path)
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        connect_args={"check_same_thread": False},  # one at a time is enough; which thread is its owner's choice
        hide_parameters=True,  # the text of an error may reach a log
        pool_size=1,
        max_overflow=0,
    )
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    try:
        ready = _is_ready(path, engine)
        if not ready or _is_public(path):
            _refuse_strangers(path, engine)
        if not ready:
            _set_up(path, engine, now_ms=now_ms)
        _make_private(path)
    except BaseException:
        engine.dispose()
        raise
    return engine


def identity_of(path: Path) -> Identity | None:
    """Return which file stands at a path, None if none does."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def lost(path: Path, what: str) -> JournalCorrupt:
    """Return the error of a journal that was in use and is not there any more, for beginning anew sends rows again."""
    return JournalCorrupt(
        f"the journal {path} {what}: nothing more is sent, for only it knew what was sent already. Put it back, or a copy "
        f"of your own. Starting with an empty journal and the same sources sends their rows again; to do that all the "
        f"same, end all processes that use it, and remove {path.name}.*.lock beside it"
    )


def writer(engine: Engine) -> Engine:
    """Return the engine whose transactions lock others out from their first moment."""
    return engine.execution_options(**{_BEGIN: "IMMEDIATE"})


def _on_connect(connection: Any, record: object) -> None:
    connection.isolation_level = None  # transactions begin where this package says so, not where sqlite3 guesses
    for pragma in _ON_CONNECT:
        connection.execute(pragma)


def _on_begin(connection: Connection) -> None:
    connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get(_BEGIN, 'DEFERRED')}")


# --- the file ----------------------------------------------------------------------------------------


def _make_file(path: Path) -> None:
    """Make the directory and the file if they are missing; refuse what can be no journal.

    The file is made empty under another name, readable by its owner only: closing a descriptor of a file drops all
    locks that SQLite has on it in this process, so this package never opens what SQLite may have open.
    """
    shared = _network_file_system(path)
    if shared is not None:
        raise JournalUnusable(
            f"the journal {path} lies on a network file system ({shared}), where locks do not hold and it would be "
            "damaged: give a local directory with --set state.dir=DIR or --journal sqlite:///PATH"
        )
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _refuse_lost(path)
    if not path.exists():
        descriptor, made = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(descriptor)
        try:
            with suppress(FileExistsError):
                os.link(made, path)
        finally:
            Path(made).unlink()
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        what = "directory" if stat.S_ISDIR(mode) else "device, a pipe or a socket"
        raise JournalUnusable(f"the journal {path} is a {what}: give a file with --journal sqlite:///PATH")


def _refuse_lost(path: Path) -> None:
    """Raise if jobs were driven with the journal, and nothing is left of it.

    A driver's lock is made after the journal and never removed; so it is looked for first, lest a journal that is
    just being made is taken for one.
    """
    driven = any(path.parent.glob(f"{glob.escape(path.name)}.*.lock"))
    if driven and not path.exists():
        raise lost(path, "is gone")
    if driven and path.is_file() and path.stat().st_size == 0:
        raise lost(path, "is empty, though jobs were driven with it")


def _is_public(path: Path) -> bool:
    return bool(path.stat().st_mode & 0o077)


def _make_private(path: Path) -> None:
    """Let only its owner read the file, which is known to be a journal, and what SQLite has made beside it."""
    for suffix in ("", "-wal", "-shm"):
        file = path.with_name(path.name + suffix)
        with suppress(OSError):  # another user's, or on a disk that may only be read; or there is no log
            if _is_public(file):
                file.chmod(0o600)


def _network_file_system(path: Path) -> str | None:
    """Return the type of the network file system the path lies on; None if local, or if nobody can tell."""
    if sys.platform != "linux":
        return None
    mounts = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    return network_file_system(mounts, os.path.realpath(path))


# --- the tables --------------------------------------------------------------------------------------


def _is_ready(path: Path, engine: Engine) -> bool:
    """Tell whether nothing has to be done before the journal can be used."""
    try:
        with engine.begin() as connection:
            return _mode(connection) == "wal" and tables.revision(connection) == REVISION
    except (DBAPIError, sqlite3.Error) as error:
        if is_no_database(error) and not _setup_path(path).exists():  # beside a journal it stays for ever
            raise JournalUnusable(
                f"{path} is no journal of this program and no database: give another file with --journal "
                "sqlite:///PATH. If it was a journal once, it is damaged: restore a copy of your own"
            ) from error
        raise


def _set_up(path: Path, engine: Engine, *, now_ms: int) -> None:
    """Make or bring up the tables, while every other process that wants to do so waits."""
    guard = _guard(path, now_ms=now_ms)
    try:
        _switch_mode(path, engine)
        _make_tables(path, engine)
    finally:
        guard.release()


def _setup_path(path: Path) -> Path:
    return path.with_name(path.name + ".setup")


def _guard(path: Path, *, now_ms: int) -> lock.Lock:
    for _ in range(_SETUP_TRIES):
        guard = lock.take(_setup_path(path), now_ms=now_ms)
        if guard is not None:
            return guard
    raise JournalStalled(f"the journal {path} is being set up by another process; try again when it is done")


def _refuse_strangers(path: Path, engine: Engine) -> None:
    """Raise if the file is some other program's database, before anything of it is changed."""
    with engine.begin() as connection:
        stranger = tables.stranger(connection)
    if stranger is not None:
        raise JournalUnusable(
            f"{path} is a database, but no journal of this program (it has the table {stranger}): "
            "give another file with --journal sqlite:///PATH"
        )


def _switch_mode(path: Path, engine: Engine) -> None:
    """Switch to the write-ahead log, which cannot be done within a transaction.

    A file that is still empty also learns to give back the room of what is removed from it.
    """
    _outside_transactions(engine, "PRAGMA auto_vacuum = FULL")
    mode = _outside_transactions(engine, "PRAGMA journal_mode = WAL")
    if mode != "wal":
        raise JournalUnusable(
            f"the journal {path} cannot have a write-ahead log here (SQLite keeps {mode!r}): "
            "give a directory on a local disk with --set state.dir=DIR"
        )


def _make_tables(path: Path, engine: Engine) -> None:
    with writer(engine).begin() as connection:
        revision = tables.revision(connection)
        if revision is None:
            tables.create(connection)
        elif not revision:
            raise corrupt(path, "it does not say which version wrote it")
    if revision not in (None, REVISION):
        _migrate(path, engine)


def _migrate(path: Path, engine: Engine) -> None:
    """Bring the tables of an older version up, in one transaction; references are checked at its end.

    Rebuilding a table, SQLite's only way to change some things of it, breaks references for a moment.
    """
    from orchestrator.journal.migrations.upgrade import upgrade  # only here: imports Alembic

    _outside_transactions(engine, "PRAGMA foreign_keys = OFF")
    try:
        with writer(engine).begin() as connection:
            upgrade(path, connection)
            if connection.exec_driver_sql("PRAGMA foreign_key_check").first() is not None:
                raise corrupt(path, "rows that refer to nothing")
    finally:
        _outside_transactions(engine, "PRAGMA foreign_keys = ON")


def _outside_transactions(engine: Engine, pragma: str) -> Any:
    """Run a pragma that has no effect within a transaction; return the first value of its answer."""
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        cursor.execute(pragma)
        row = cursor.fetchone()
        cursor.close()
        return None if row is None else row[0]
    finally:
        connection.close()


def _mode(connection: Connection) -> str:
    return str(connection.exec_driver_sql("PRAGMA journal_mode").scalar_one())


def check(path: Path, connection: Connection) -> None:
    """Read the whole file and raise `JournalCorrupt` if its structure is damaged."""
    answer = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    if answer != "ok":
        raise corrupt(path, str(answer).splitlines()[0])
