"""Directories for what is needed no longer than a command runs, whatever ends it.

Each has a lock beside it, which the kernel drops when its process dies.  Whoever comes later removes what nobody
holds.  A lock is taken before its directory is made, and both are removed before it is given back.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from orchestrator.journal import lock

_LOCK = ".lock"


@contextmanager
def scratch(state_dir: Path, *, rng: Random, now_ms: int) -> Iterator[Path]:
    """Name a directory that nobody else uses; it may be made, and whatever is in it is removed in the end."""
    parent = _parent(state_dir)
    parent.mkdir(mode=0o700, exist_ok=True)
    directory, held = _hold(parent, rng, now_ms)
    try:
        yield directory
    finally:
        _remove(directory, held)


def sweep(state_dir: Path, *, now_ms: int) -> None:
    """Remove what processes that were killed have left."""
    parent = _parent(state_dir)
    if not parent.is_dir():
        return
    for name in sorted({each.name.removesuffix(_LOCK) for each in parent.iterdir()}):
        held = lock.take(_lock_of(parent / name), now_ms=now_ms)
        if held is not None:
            _remove(parent / name, held)


def _parent(state_dir: Path) -> Path:
    return state_dir / "scratch"


def _lock_of(directory: Path) -> Path:
    return directory.with_name(directory.name + _LOCK)


def _hold(parent: Path, rng: Random, now_ms: int) -> tuple[Path, lock.Lock]:
    while True:
        directory = parent / f"{rng.getrandbits(64):016x}"
        held = lock.take(_lock_of(directory), now_ms=now_ms)
        if held is not None:
            if _lock_of(directory).exists():
                return directory, held
            held.release()  # somebody swept between its making and its taking


def _remove(directory: Path, held: lock.Lock) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    _lock_of(directory).unlink(missing_ok=True)
    held.release()
