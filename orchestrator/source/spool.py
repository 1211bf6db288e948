"""Copies of sources: written once as a stream, private, never at the cost of the machine's last free bytes.

A copy is made of what cannot be sent as it stands.  It lies in the state directory beside the journal, so a disk
that is full to the brim would stop every job there: room is left for the journal, claims and results.  A copy is
whole or it is not there: an error, a wish to stop, or a full disk removes what was written of it.
"""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from orchestrator.errors import PASSING, NoRoom, SourceError

RESERVE_BYTES: Final = 268_435_456  # left free on the disk: claims are up to 128 MB, journal and results need more
CHECK_EVERY_BYTES: Final = 67_108_864  # how much is written between two looks at the free space

LISTING_FILE: Final = "superseded.csv"  # the rows that are not sent because a later one replaces them


class Stopped(Exception):
    """Nobody waits for the copy any longer; what was written of it has been removed."""


class Workspace:
    """The directory that the copies of one job's sources are made in; it exists from the first copy on."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.kept = directory.parent  # for what is needed longer than the copies
        self._stop = threading.Event()

    def stop(self) -> None:
        """Let the copying under way, in whatever thread, end soon with `Stopped`."""
        self._stop.set()

    def check(self) -> None:
        """Raise `Stopped` if that is wished for."""
        if self._stop.is_set():
            raise Stopped

    def copy(self, name: str, *, of: str, bytes_expected: int = 0) -> Copy:
        """Begin a copy; ``name`` is its file's, ``of`` the source's for messages.

        Raises:
            SourceError: there is no room for what is expected of it.

        """
        return Copy(self, self.directory / name, of, bytes_expected)

    def drop(self, path: Path) -> None:
        """Remove a file if it is one of the copies."""
        if path.parent == self.directory:
            path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove all copies."""
        shutil.rmtree(self.directory, ignore_errors=True)


class Copy:
    """A context manager that writes one copy: whole at its end, or removed if anything is raised."""

    def __init__(self, workspace: Workspace, path: Path, of: str, bytes_expected: int) -> None:
        self.path = path
        self.size_bytes = 0
        self._workspace = workspace
        self._of = of
        self._unchecked = 0
        workspace.check()
        try:
            make_private(path.parent)
            self._look(bytes_expected)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._failed(error) from error
        self._file = os.fdopen(descriptor, "wb", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is None:
            self.finish()
        else:
            self.discard()

    def finish(self) -> None:
        """Keep the copy, which is whole now; raises `SourceError` if the disk cannot."""
        try:
            os.fsync(self._file.fileno())  # the journal will say that it is there
        except OSError as error:
            self.discard()
            raise self._failed(error) from error
        self._file.close()

    def discard(self) -> None:
        """Remove the copy."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append data.

        Raises:
            NoRoom: the disk is full, or would be.
            Stopped: nobody waits for it.

        """
        self._workspace.check()
        self._unchecked += len(data)
        try:
            if self._unchecked >= CHECK_EVERY_BYTES:
                self._look(self._unchecked)
                self._unchecked = 0
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            raise self._failed(error) from error
        self.size_bytes += len(data)

    def _look(self, bytes_wanted: int) -> None:
        check_room(self.path.parent, bytes_wanted, f"{self._of}: a copy of it has to be made")

    def _failed(self, error: OSError) -> SourceError:
        kind = NoRoom if error.errno in PASSING else SourceError
        return kind(
            f"{self._of}: a copy of it cannot be made in {self.path.parent}: {error.strerror or error}. Make room "
            "there, or choose another directory with --set state.dir=DIR."
        )


def check_room(directory: Path, bytes_wanted: int, what: str) -> None:
    """Refuse to fill a disk; ``what`` says for whom and what for.

    Raises:
        NoRoom: there is no room for so many bytes.

    """
    free = shutil.disk_usage(directory).free
    if free < bytes_wanted + RESERVE_BYTES:
        wanted = f" {bytes_wanted:,} bytes more and" if bytes_wanted else ""
        raise NoRoom(
            f"{what} in {directory}, and there is no room for it: it needs{wanted} {RESERVE_BYTES:,} left free, and "
            f"{free:,} are. Make room there, or choose another disk with --set state.dir=DIR."
        )


def make_private(directory: Path) -> None:
    """Make a directory and those above it that are missing, for their owner only."""
    missing = [each for each in (directory, *directory.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)
