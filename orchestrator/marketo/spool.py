"""A file that is there whole, or not at all: written under another name, readable by its owner alone."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiofiles
import aiofiles.os
import anyio
from aiofiles.threadpool.binary import AsyncBufferedReader

from orchestrator.errors import FileUnwritten


class Spool:
    """Takes bytes; they get their name by `keep`, and are gone without it."""

    def __init__(self, to: Path, file: AsyncBufferedReader) -> None:
        self._to = to
        self._file = file
        self._kept = False
        self.size = 0

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, to: Path) -> AsyncIterator[Spool]:
        """Open a spool beside the file it may become; one that a crash left behind is overwritten."""
        part = to.with_name(f".{to.name}.part")
        with anyio.CancelScope(shield=True), _explained(to):  # opened and never closed otherwise
            file = await aiofiles.open(part, "w+b", opener=_private)
        try:
            spool = cls(to, file)
            try:
                yield spool
            finally:
                with anyio.CancelScope(shield=True), _explained(to):
                    await file.close()
            if spool._kept:
                with _explained(to):
                    await aiofiles.os.replace(part, to)
        finally:
            with anyio.CancelScope(shield=True), contextlib.suppress(OSError):
                await aiofiles.os.unlink(part)

    async def write(self, piece: bytes) -> None:
        """Append a piece."""
        with _explained(self._to):
            await self._file.write(piece)
        self.size += len(piece)

    async def head(self, size: int) -> bytes:
        """Return the first bytes of what was written."""
        with _explained(self._to):
            await self._file.seek(0)
            return await self._file.read(size)

    async def keep(self) -> None:
        """Let the file have its name when the spool is closed; its bytes are on the disk now."""
        with _explained(self._to):
            await self._file.flush()
            await asyncio.to_thread(os.fsync, self._file.fileno())
        self._kept = True


def _private(path: str, flags: int) -> int:
    """Open a file that only its owner may read, whatever the umask."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


@contextlib.contextmanager
def _explained(to: Path) -> Iterator[None]:
    """Turn what the file system refuses into an error that says where."""
    try:
        yield
    except OSError as error:
        raise FileUnwritten(
            f"{to} cannot be written: {error.strerror or type(error).__name__}. Make room or give access, then resume."
        ) from None
