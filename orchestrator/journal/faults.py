"""The one place where faults of SQLite and of the file system become errors of the journal."""

from __future__ import annotations

import errno
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy.exc import DBAPIError, StatementError

from orchestrator.errors import JournalCorrupt, JournalError, JournalStalled

_PRIMARY_MASK: Final = 0xFF  # SQLite's extended result codes carry the primary one in their lowest byte

_ADVICE: Final = {
    sqlite3.SQLITE_FULL: "the disk is full: free some space there, then resume",
    sqlite3.SQLITE_BUSY: "another process keeps it locked: wait for it or end it, then try again",
    sqlite3.SQLITE_LOCKED: "another process keeps it locked: wait for it or end it, then try again",
    sqlite3.SQLITE_READONLY: "it may not be written: check the permissions of the file and of its directory",
    sqlite3.SQLITE_PERM: "access is denied: check the permissions of the file and of its directory",
    sqlite3.SQLITE_AUTH: "access is denied: check the permissions of the file and of its directory",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: check that the path is right and may be read and written",
    sqlite3.SQLITE_IOERR: "the disk does not read or write it: check the disk, then resume",
    sqlite3.SQLITE_NOMEM: "there is not enough memory",
    sqlite3.SQLITE_TOOBIG: "a value is too large for it",
    sqlite3.SQLITE_CONSTRAINT: "what was to be written contradicts what is there; nothing of it was written",
}

_PASSING: Final = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR)
_PASSING_OF_FILES: Final = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
_FAULTS: Final = (StatementError, sqlite3.Error, OSError, OverflowError, UnicodeEncodeError, json.JSONDecodeError)


def corrupt(path: Path, what: str) -> JournalCorrupt:
    """Return the error that says what a person can do about a damaged journal."""
    return JournalCorrupt(
        f"the journal {path} is damaged ({what}). Keep the file, it knows what was already sent. "
        f"Copy it together with its -wal file, then save what can be read with: sqlite3 {path} .recover | "
        f"sqlite3 recovered.db, and go on with --journal sqlite:///recovered.db; or restore a copy of your own. "
        f"Starting with an empty journal and the same sources sends their rows again"
    )


def explain(path: Path, error: BaseException) -> JournalError:
    """Return the journal's error for a fault of SQLite, of the file system or of a value's range."""
    if isinstance(error, DBAPIError) and isinstance(error.orig, sqlite3.Error):
        error = error.orig
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY_MASK
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return corrupt(path, str(error))
        advice = _ADVICE.get(code)
        kind = JournalStalled if code in _PASSING else JournalError
        return kind(f"the journal {path}: " + (f"{advice} ({error})" if advice else str(error)))
    if isinstance(error, OSError):
        kind = JournalStalled if error.errno in _PASSING_OF_FILES else JournalError
        return kind(f"the journal {path}: {error.strerror or error}: {error.filename or path}")
    if isinstance(error, json.JSONDecodeError):
        return corrupt(path, "a stored value is no JSON")
    return JournalError(f"the journal {path}: a value cannot be stored in it ({type(error).__name__})")


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Raise whatever SQLite, the file system or an unfit value raises as an error of the journal at `path`."""
    try:
        yield
    except _FAULTS as error:
        raise explain(path, error) from error
