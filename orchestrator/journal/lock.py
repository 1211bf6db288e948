"""One process drives a subscription: a `flock` beside the journal, which the kernel drops at its holder's death.

The file is never removed, for a removed one could be locked by one process while another locks its successor.
Its content only tells people who holds it; a process that was killed leaves its own there, so the content
counts as long as the lock is held and no longer.  A holder that works touches the file now and then, so its age tells
how long ago that was.  Asking whether it is held means taking it, shared and for an
instant; a taker that meets such an instant tries again a few times before it believes in a holder.

The lock gives liveness.  Safety is the epoch's: see `writing`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from orchestrator.clock import SystemClock
from orchestrator.errors import PASSING
from orchestrator.journal.faults import of_file
from orchestrator.journal.values import Owner

_TRIES: Final = 8  # an asker holds the lock for microseconds; eight meetings in a row do not happen
_PAUSE_S: Final = 0.005  # between two tries: a taker knows within 40 ms
_CONTENT_BYTES: Final = 60  # room for two integers of 64 bits, 16 digits, two spaces and a line end
_CONTENT: Final = re.compile(rb"(\d+) (\d+)(?: ([0-9a-f]{16}))?\s*")
_SLUG_CHARACTERS_MAX: Final = 100  # file names end at 255 bytes, and the journal's own name stands before it
_DIGEST_CHARACTERS: Final = 8  # tells apart hosts whose slugs are alike


def lock_path(journal: Path, host: str, generation: int = 0) -> Path:
    """Return the path of a subscription's lock: the journal's, with the host made fit for a file name."""
    slug = re.sub(r"[^a-z0-9.-]", "_", host)[:_SLUG_CHARACTERS_MAX]
    if slug != host:
        slug += "-" + hashlib.sha256(host.encode()).hexdigest()[:_DIGEST_CHARACTERS]
    later = f".{generation}" if generation else ""
    return journal.with_name(f"{journal.name}.{slug}{later}.lock")


class Lock:
    """A lock that this process holds."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def touch(self) -> None:
        """Give a sign of life, if that is possible."""
        with suppress(OSError):  # no reason to stop working
            os.utime(self._descriptor)

    def release(self) -> None:
        """Give the lock back, once."""
        with suppress(OSError):  # what stands in the file counts no longer
            os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _try(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in PASSING:
            raise of_file(f"the lock {path}", error, path) from error
        raise


def take(path: Path, *, now_ms: int, home: str | None = None) -> Lock | None:
    """Take the lock and leave this process's number, the time and its home in it; None if somebody holds it.

    Raises a `JournalStalled` if the file cannot be opened or written now, and other errors of the file system as they are.
    """
    with _explained(path):
        descriptor = _open(path)
        try:
            for left in range(_TRIES, 0, -1):
                if _try(descriptor, fcntl.LOCK_EX):
                    content = f"{os.getpid()} {now_ms} {home or ''}"
                    os.pwrite(descriptor, content.ljust(_CONTENT_BYTES - 1).encode() + b"\n", 0)
                    return Lock(descriptor)
                if left > 1:
                    time.sleep(_PAUSE_S)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    return None


def owner(path: Path) -> Owner | None:
    """Return who holds the lock, None if nobody does; raises what `take` raises."""
    with _explained(path):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            if _try(descriptor, fcntl.LOCK_SH):
                return None
            told = _CONTENT.fullmatch(os.pread(descriptor, _CONTENT_BYTES, 0))
            touched_ms = os.fstat(descriptor).st_mtime_ns // 1_000_000
        finally:
            os.close(descriptor)
    if told is None:
        return Owner(pid=0, since_ms=0)
    pid, since_ms, home = told.groups()
    return Owner(
        pid=int(pid),
        since_ms=int(since_ms),
        home=home.decode() if home else None,
        silent_ms=max(0, SystemClock().wall_ms() - touched_ms),
    )
