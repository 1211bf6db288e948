"""Directories that one process has for itself as long as it lives, whatever ends it.

Each has a lock beside it, which the kernel drops when its process dies.  Whoever comes later removes what nobody
holds.  A lock is taken before its directory is made, and its file is removed before it is given back.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

from orchestrator.journal import lock

_LOCK = ".lock"


class Claimed:
    """A directory that this process has for itself; it may be made, and is removed or kept in the end."""

    def __init__(self, directory: Path, held: lock.Lock) -> None:
        self.directory = directory
        self._held = held

    def remove(self) -> None:
        """Remove the directory with everything in it, and give it up."""
        shutil.rmtree(self.directory, ignore_errors=True)
        self.keep()

    def keep(self) -> None:
        """Give the directory up as it is."""
        _lock_of(self.directory).unlink(missing_ok=True)
        self._held.release()


def claim(parent: Path, *, rng: Random, now_ms: int) -> Claimed:
    """Name a directory in another one that nobody else has."""
    while True:
        directory = parent / f"{rng.getrandbits(64):016x}"
        held = lock.take(_lock_of(directory), now_ms=now_ms)
        if held is not None:
            if _lock_of(directory).exists():
                return Claimed(directory, held)
            held.release()  # somebody swept between its making and its taking


def abandoned(parent: Path, *, now_ms: int) -> list[Claimed]:
    """Claim all directories in another one that no live process has."""
    if not parent.is_dir():
        return []
    found = []
    for name in sorted({each.name.removesuffix(_LOCK) for each in parent.iterdir()}):
        held = lock.take(_lock_of(parent / name), now_ms=now_ms)
        if held is not None:
            found.append(Claimed(parent / name, held))
    return found


@contextmanager
def scratch(state_dir: Path, *, rng: Random, now_ms: int) -> Iterator[Path]:
    """Name a directory that nobody else uses; it may be made, and whatever is in it is removed in the end."""
    parent = _parent(state_dir)
    parent.mkdir(mode=0o700, exist_ok=True)
    claimed = claim(parent, rng=rng, now_ms=now_ms)
    try:
        yield claimed.directory
    finally:
        claimed.remove()


def sweep(state_dir: Path, *, now_ms: int) -> None:
    """Remove what processes that were killed have left, if it may be removed."""
    with suppress(OSError):
        for claimed in abandoned(_parent(state_dir), now_ms=now_ms):
            claimed.remove()


def _parent(state_dir: Path) -> Path:
    return state_dir / "scratch"


def _lock_of(directory: Path) -> Path:
    return directory.with_name(directory.name + _LOCK)
