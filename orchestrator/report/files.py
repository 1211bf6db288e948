"""Files that are whole or not there: written beside their place, then renamed into it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from orchestrator.errors import FileUnwritten

WRITE_BUFFER_BYTES = 1 << 20  # rows are short; one system call per row would be most of the time


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of ``path`` when the block ends without an error.

    Only its owner can read it (mode 0600: it holds customers' data).  It is on the disk, its name
    included, when the block is left.  After an error the old file stands as it was and nothing else is
    left behind.  OrchestratorError names the path if the operating system refuses.
    """
    temporary: str | None = None
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        with os.fdopen(descriptor, "wb", buffering=WRITE_BUFFER_BYTES) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
        temporary = None
        _sync_directory(path.parent)
    except OSError as error:
        raise FileUnwritten(
            f"Cannot write {path}: {error.strerror or error}. "
            f"Make room, or make the directory writable, or choose another one; then ask for the report again."
        ) from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def _sync_directory(directory: Path) -> None:
    """Make the renaming itself durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
