"""The one place where faults of SQLite and of the file system become errors of the journal."""

from __future__ import annotations

import errno
import json
import os
import re
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy.exc import DBAPIError, StatementError

from orchestrator.errors import (
    DENIED,
    PASSING,
    JournalCorrupt,
    JournalError,
    JournalForbidden,
    JournalLocked,
    JournalStalled,
    JournalUnusable,
)
from orchestrator.journal.rows import NotUnderstood

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

_KINDS: Final[Mapping[type[JournalError], tuple[int, ...]]] = {
    JournalLocked: (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED),
    JournalStalled: (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR),
    JournalForbidden: (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_CANTOPEN),
}
_WRONG_PATH: Final = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG)
_FILES: Final = 4  # that SQLite opens: the database, its log and index, and their directory
_DESCRIPTORS: Final = (errno.EMFILE, errno.ENFILE)
_KINDS_OF_FILES: Final[Mapping[type[JournalError], Collection[int]]] = {
    JournalStalled: PASSING,
    JournalForbidden: DENIED,
    JournalUnusable: _WRONG_PATH,
}
# What reading a row raises if it, or what says where it is, is damaged.
ILLEGIBLE: Final = (StatementError, sqlite3.Error, json.JSONDecodeError, UnicodeDecodeError, NotUnderstood)
_FAULTS: Final = (*ILLEGIBLE, OSError, OverflowError, UnicodeEncodeError)
_NO_TEXT: Final = re.compile(r"Could not decode to UTF-8 column '(\w+)'")
_NO_SUCH: Final = re.compile(r"no such (?:column|table): [\w.]+")


def corrupt(path: Path, what: str) -> JournalCorrupt:
    """Return the error that says what a person can do about a damaged journal."""
    return JournalCorrupt(
        f"the journal {path} is damaged ({what}). Keep the file, it knows what was already sent; "
        f"`orchestrator journal check` names all that is damaged. "
        f"Copy it together with its -wal file, then save what can be read with: sqlite3 {path} .recover | "
        f"sqlite3 recovered.db, and go on with --journal sqlite:///recovered.db; or restore a copy of your own. "
        f"Starting with an empty journal and the same sources sends their rows again"
    )


def explain(path: Path, error: BaseException) -> JournalError:
    """Return the journal's error for a fault of SQLite, of the file system or of a value's range."""
    error = _original(error)
    if isinstance(error, sqlite3.Error):
        code = _code(error)
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or _says_damage(error):
            return corrupt(path, damage_in_words(error))
        if code == sqlite3.SQLITE_CANTOPEN and (reason := _unopened(path)) is not None:
            return of_file(f"the journal {path}", reason, path)
        advice = _ADVICE.get(code)
        kind = next((kind for kind, codes in _KINDS.items() if code in codes), JournalError)
        return kind(f"the journal {path}: " + (f"{advice} ({error})" if advice else str(error)))
    if isinstance(error, OSError):
        return of_file(f"the journal {path}", error, path)
    if isinstance(error, (json.JSONDecodeError, UnicodeDecodeError, NotUnderstood)):
        return corrupt(path, damage_in_words(error))
    return JournalError(f"the journal {path}: a value cannot be stored in it ({type(error).__name__})")


def of_file(what: str, error: OSError, path: Path) -> JournalError:
    """Return the journal's error for a fault of the file system at a path of its own."""
    kind = next((kind for kind, numbers in _KINDS_OF_FILES.items() if error.errno in numbers), JournalError)
    advice = "; let this process open more files (ulimit -n), then resume" if error.errno in _DESCRIPTORS else ""
    return kind(f"{what}: {error.strerror or error}: {error.filename or path}{advice}")


def damage_in_words(error: BaseException) -> str:
    """Say what is damaged, without what stands there."""
    error = _original(error)
    if isinstance(error, sqlite3.Error):
        if (no_text := _NO_TEXT.match(str(error))) is not None:
            return f"the text in column {no_text[1]} is no UTF-8"
        no_such = _NO_SUCH.match(str(error))
        return no_such[0] if no_such is not None else (str(error).splitlines() or [type(error).__name__])[0]
    if isinstance(error, json.JSONDecodeError):
        return "a stored value is no JSON"
    return str(error) if isinstance(error, NotUnderstood) else type(error).__name__


def _unopened(path: Path) -> OSError | None:
    """Return what the system says of the journal's directory, where SQLite does not tell why it cannot open a file."""
    opened: list[int] = []
    try:
        while len(opened) < _FILES:
            opened.append(os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return error
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return None


def is_no_database(error: BaseException) -> bool:
    """Tell whether a file is not what SQLite writes: damaged at its very beginning, or no database at all."""
    error = _original(error)
    return isinstance(error, sqlite3.Error) and _code(error) == sqlite3.SQLITE_NOTADB


def _original(error: BaseException) -> BaseException:
    return error.orig if isinstance(error, DBAPIError) and isinstance(error.orig, sqlite3.Error) else error


def _code(error: sqlite3.Error) -> int:
    """Return SQLite's primary code for an error."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY_MASK


def _says_damage(error: sqlite3.Error) -> bool:
    """Tell whether SQLite could not read a text, or did not find what every journal of this version has."""
    return any(pattern.match(str(error)) for pattern in (_NO_TEXT, _NO_SUCH))


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Raise whatever SQLite, the file system or an unfit value raises as an error of the journal at `path`."""
    try:
        yield
    except _FAULTS as error:
        raise explain(path, error) from error
