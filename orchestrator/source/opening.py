"""Files as they were planned: opened, read in part, sent in pieces, and never trusted to have stayed the same.

A chunk is a byte range, so what is sent is read again long after it was planned.  Two things are compared
then: the file's identity (device, inode, size, time of change) around every read, and a CRC-32 over the whole
range.  Every read opens the file anew.  That costs microseconds a piece, and no upload, however slow or
suddenly cancelled, holds a descriptor that somebody has to close.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import io
import os
import stat
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

from orchestrator.errors import SourceChanged, SourceError
from orchestrator.model import FileIdentity, Source, Span
from orchestrator.offload import Offload

PIECE_BYTES = 262_144  # of an upload: few enough thread changes to be cheap, ten uploads still fit in 3 MB
HASHED_SLICE_BYTES = 67_108_864  # 40 ms if the file is in memory


def inspect(path: str | os.PathLike[str], *, given: str | None = None, allow_empty: bool = False) -> FileIdentity:
    """Return the identity of a regular, readable file that is not empty, unless that is allowed.

    ``given`` is the name to use in messages, if the user wrote another one.  Raises `SourceError`.
    """
    name = given or os.fspath(path)
    try:
        status = Path(path).stat()
        if stat.S_ISDIR(status.st_mode):
            raise SourceError(
                f"{name}: this is a directory. Name the files in it, for example {name.rstrip('/')}/*.csv"
            )
        if not stat.S_ISREG(status.st_mode):
            raise SourceError(f"{name}: this is no regular file. Write the data to a file first, and name that.")
        with open_regular(path) as file:
            status = os.fstat(file.fileno())
    except FileNotFoundError:
        where = "" if Path(name).is_absolute() else f" in {Path.cwd()}"
        raise SourceError(f"{name}: there is no such file{where}. Check the path.") from None
    except PermissionError:
        raise SourceError(f"{name}: this user may not read it. Change its permissions, or run as its owner.") from None
    except OSError as error:
        raise SourceError(f"{name}: it cannot be read: {error.strerror}. Check the path and the disk.") from error
    if status.st_size == 0 and not allow_empty:
        raise SourceError(f"{name}: the file is empty; there is nothing to import. Was it written completely?")
    return identity_of(status)


def open_regular(path: str | os.PathLike[str]) -> io.FileIO:
    """Open a file to be read; OSError if it is none, for opening a pipe would wait until somebody writes to it."""
    return io.FileIO(path, opener=_opener)


def _opener(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is no regular file", path)


def identity_of(status: os.stat_result) -> FileIdentity:
    """Return what of a file's status must not change."""
    return FileIdentity(
        device=status.st_dev, inode=status.st_ino, size_bytes=status.st_size, mtime_ns=status.st_mtime_ns
    )


def read_range(descriptor: int, start: int, stop: int) -> bytes:
    """Read ``[start, stop)`` of an open file; less only if the file ends before."""
    data = os.pread(descriptor, stop - start, start)
    while len(data) < stop - start and (more := os.pread(descriptor, stop - start - len(data), start + len(data))):
        data += more
    return data


def still_written(name: str) -> SourceChanged:
    """Build the error for a file that does not keep still while it is planned or copied."""
    return SourceChanged(f"{name}: the file was written to while it was read. Try again when it is complete.")


def changed(name: str, what: str) -> SourceChanged:
    """Build the error for a file that is no longer the one that was planned."""
    return SourceChanged(
        f"{name}: {what} since it was planned; nothing is sent from it any more. "
        "Put the file back as it was, or import it as a new job."
    )


def read_span(source: Source, span: Span) -> bytes:
    """Return the bytes of a span, certainly those that were planned; else raise `SourceChanged`."""
    data = _read(_name(source), source.content, source.identity, span.start, span.end)
    if zlib.crc32(data) != span.crc32:
        raise changed(_name(source), "the file's content has changed")
    return data


class SpanContent:
    """What one upload carries: the header and a span's records, of known size, readable any number of times."""

    def __init__(self, source: Source, span: Span) -> None:
        self._source = source
        self._span = span
        self.size = len(source.header) + span.end - span.start

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield the content from its beginning, in pieces of at most `PIECE_BYTES` behind the header.

        The last piece is withheld until identity and checksum are known to be right; if they are not,
        `SourceChanged` is raised in its place, so a receiver that knows the size never has the whole.
        """
        source, span = self._source, self._span
        checksum = 0
        for offset in range(span.start, span.end, PIECE_BYTES):
            stop = min(offset + PIECE_BYTES, span.end)
            piece = await asyncio.to_thread(_read, _name(source), source.content, source.identity, offset, stop)
            checksum = zlib.crc32(piece, checksum)
            if stop == span.end and checksum != span.crc32:
                raise changed(_name(source), "the file's content has changed")
            if offset == span.start:
                yield source.header
            yield piece


async def sha256_of(source: Source, offload: Offload) -> str:
    """Return the SHA-256 of the file that was planned, in hexadecimal digits.

    It is read a slice at a time, so that other work gets its turn in between.  Raises `SourceChanged`.
    """
    digest = hashlib.sha256()

    def take(start: int, stop: int) -> None:
        for offset in range(start, stop, PIECE_BYTES):
            digest.update(_read(source.path, path, identity, offset, min(offset + PIECE_BYTES, stop)))

    path, identity = source.content, source.identity
    if source.original is not None:
        path, identity = source.original.path, source.original.identity
    size = identity.size_bytes
    for start in range(0, size, HASHED_SLICE_BYTES):
        await offload.run(take, start, min(start + HASHED_SLICE_BYTES, size))
    return digest.hexdigest()


def _name(source: Source) -> str:
    """Name the file that a source is sent from: its user looks elsewhere if that is a copy."""
    return source.path if source.content == source.absolute else f"{source.path} (its copy {source.content})"


def _read(name: str, path: str, planned: FileIdentity, start: int, stop: int) -> bytes:
    """Read ``[start, stop)`` of the file that was planned; any doubt about it is a `SourceChanged`.

    The identity is taken after the bytes, so that it vouches for them; ``name`` is the source's in messages.
    """
    try:
        with open_regular(path) as file:
            descriptor = file.fileno()
            data = read_range(descriptor, start, stop)
            identity = identity_of(os.fstat(descriptor))
    except FileNotFoundError:
        raise changed(name, "the file has been moved or deleted") from None
    except OSError as error:
        raise changed(name, f"the file has become unreadable ({error.strerror})") from error
    if identity != planned:
        raise changed(name, "the file has been written to or replaced")
    return data
