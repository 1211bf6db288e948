"""A journal that may be read and not written: a read-only mount, a copy in a closed directory.

SQLite reads such a file, write-ahead log and all, as long as the log's index (``-shm``) lies beside it.  It does while
any process has the journal open, and after one was killed.  Whoever closes the journal last removes log and index, and
SQLite cannot make them anew where it may not write.  Its way out, ``immutable=1``, is none here: it heeds nobody who
begins to write, through another mount for example.

But without an index the file is at rest, so a copy of it is whole: nobody has it open, and who opens it while it is
copied leaves an index, or another time in the files.  Then the copy is thrown away, as soon as it is asked anything.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Final

from sqlalchemy.exc import DBAPIError

from orchestrator.errors import JournalForbidden, JournalLocked

_PRIMARY_MASK: Final = 0xFF  # SQLite's extended result codes carry the primary one in their lowest byte
_CLOSED: Final = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
Signature = tuple[tuple[int, int, int] | None, ...]


class Copy:
    """A private copy of a journal that nobody has open, as long as that is so."""

    def __init__(self, original: Path) -> None:
        """Copy the journal; raises `JournalLocked` if somebody opens it meanwhile, and the file system's errors."""
        self._original = original
        self._signature = _signature(original)
        self._directory = tempfile.TemporaryDirectory(prefix="orchestrator-journal-")  # its owner's alone
        self.path = Path(self._directory.name) / original.name
        try:
            for name in (original.name, f"{original.name}-wal"):
                if (original.parent / name).exists():
                    shutil.copyfile(original.parent / name, self.path.with_name(name))
            if self.stale or _index(original).exists():
                raise JournalLocked(f"the journal {original} was opened while it was read; try again")
        except BaseException:
            self.remove()
            raise

    @property
    def stale(self) -> bool:
        """Tell whether anybody has opened the journal since."""
        return _signature(self._original) != self._signature

    def remove(self) -> None:
        """Remove the copy."""
        self._directory.cleanup()


def is_at_rest(path: Path, error: BaseException) -> bool:
    """Tell whether SQLite could not open a file for no other reason than that it may make nothing beside it."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(cause, "sqlite_errorcode", 0) & _PRIMARY_MASK
    return (
        code in _CLOSED
        and not _index(path).exists()
        and os.access(path, os.R_OK)
        and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))
    )


def forbidden(path: Path) -> JournalForbidden:
    """Return the error of whoever wants to write."""
    return JournalForbidden(f"the journal {path}: it may not be written: check the permissions of its directory")


def _index(path: Path) -> Path:
    return path.with_name(f"{path.name}-shm")


def _signature(path: Path) -> Signature:
    """Return what changes in the files of a journal when anybody opens it or writes to it."""
    found: list[tuple[int, int, int] | None] = []
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        try:
            status = (path.parent / name).stat()
        except FileNotFoundError:
            found.append(None)
        else:
            found.append((status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(found)
