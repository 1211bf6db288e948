"""What a text comes in: compressed, archived, or through a pipe; read once, as a stream of blocks.

What it is, its first bytes say; names may lie.  Nothing is believed of a size that a file states: how much comes
out is limited by whoever writes it down.
"""

from __future__ import annotations

import os
import select
import sys
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Final, Protocol

from orchestrator.errors import SourceError
from orchestrator.source.opening import identity_of, open_regular, still_written
from orchestrator.source.spool import Workspace

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

BLOCK_BYTES: Final = 1_048_576  # of what comes out
MAGIC_BYTES: Final = 4
POLL_SECONDS: Final = 0.2  # how long a wish to stop may go unnoticed while nothing comes through a pipe
NAMES_SHOWN_MAX: Final = 3  # of an archive's members

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_WORKBOOK = "[Content_Types].xml"


def unpacked(path: Path, *, workspace: Workspace, stem: str, name: str) -> Path:
    """Return a file with the text that is in another one: a copy, or the other itself if it is not packed.

    Raises:
        SourceError: it cannot be unpacked, or is written to meanwhile.
        Stopped: nobody waits for it any longer.

    """
    with open_regular(path) as file:
        identity = identity_of(os.fstat(file.fileno()))
        head = file.read(MAGIC_BYTES)
        if head.startswith(_ZIP):
            blocks, bytes_expected = _member_of(path, name)
        elif head.startswith((_GZIP, _ZSTD)):
            file.seek(0)
            blocks = _decompressed(iter(lambda: file.read(BLOCK_BYTES), b""), name)
            bytes_expected = identity.size_bytes
        else:
            return path
        with workspace.copy(f"{stem}.text", of=name, bytes_expected=bytes_expected) as copy:
            for block in blocks:
                copy.write(block)
        if identity_of(os.fstat(file.fileno())) != identity:
            workspace.drop(copy.path)
            raise still_written(name)
    return copy.path


def received(descriptor: int, *, workspace: Workspace, stem: str, name: str) -> Path:
    """Return a copy of what comes through a pipe, decompressed if it is a stream that can be.

    Raises:
        SourceError: it cannot be read.
        Stopped: nobody waits for it any longer.

    """
    with workspace.copy(f"{stem}.received", of=name) as copy:
        for block in _decompressed(_piped(descriptor, workspace, name), name):
            copy.write(block)
    return copy.path


def _decompressed(blocks: Iterable[bytes], name: str) -> Iterator[bytes]:
    """Yield a text from a stream that begins as its first block says; one that is not compressed as it is.

    Raises:
        SourceError: the stream is cut off or damaged.

    """
    rest = iter(blocks)
    head = b""
    while len(head) < MAGIC_BYTES and (block := next(rest, b"")):
        head += block
    whole = chain((head,), rest)
    if head.startswith(_GZIP):
        yield from _members(whole, name, "gzip", lambda: _Gzip(zlib.decompressobj(wbits=31)), zlib.error)
    elif head.startswith(_ZSTD):
        yield from _members(whole, name, "Zstandard", zstd.ZstdDecompressor, zstd.ZstdError)
    else:
        yield from whole


class _Decompressor(Protocol):
    """What the standard library's newer decompressors have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Gzip:
    """zlib's decompressor in the form of the newer ones."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    @property
    def eof(self) -> bool:
        return bool(self._inner.eof)

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return bytes(self._inner.unused_data)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return bytes(self._inner.decompress(self._inner.unconsumed_tail + data, max_length))


def _members(blocks: Iterable[bytes], name: str, what: str, begin: Any, fault: type[Exception]) -> Iterator[bytes]:
    """Decompress one member after the other; zeros behind the last one are padding."""
    decompressor: _Decompressor = begin()
    fresh = False  # whether nothing of the member under way was seen yet
    try:
        for block in blocks:
            data = block
            while data or not (fresh or decompressor.needs_input or decompressor.eof):
                if decompressor.eof:
                    decompressor, fresh = begin(), True
                if fresh:
                    data = data.lstrip(b"\0")
                    if not data:
                        break
                    fresh = False
                if out := decompressor.decompress(data, BLOCK_BYTES):
                    yield out
                data = decompressor.unused_data if decompressor.eof else b""
    except fault as error:
        raise SourceError(
            f"{name}: its {what} data is damaged ({error}). Was it changed on the way? Fetch it again, or compress it "
            "anew."
        ) from None
    if not (decompressor.eof or fresh):
        raise SourceError(
            f"{name}: its {what} data ends in the middle. Was it written or copied completely? Fetch it again."
        )


def _member_of(path: Path, name: str) -> tuple[Iterator[bytes], int]:
    """Return the text of an archive's only member, and how many bytes of it are announced.

    Raises:
        SourceError: the archive is damaged or encrypted, or it has no member, or more than one.

    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
        raise _damaged_archive(name, error) from None
    with archive:
        # macOS puts what it alone knows of a file beside it.
        found = [each for each in archive.infolist() if not each.is_dir() and not each.filename.startswith("__MACOSX/")]
        if any(each.filename == _WORKBOOK for each in found):
            raise SourceError(
                f"{name}: this is an Excel workbook, no text. Save it as a CSV file in UTF-8, and import that."
            )
        if len(found) != 1:
            listed = ", ".join(repr(each.filename[:50]) for each in found[:NAMES_SHOWN_MAX])
            members = f"{len(found):,} files in it ({listed}{' ...' if len(found) > NAMES_SHOWN_MAX else ''})"
            raise SourceError(
                f"{name}: an archive has to have exactly one file in it; there are {members if found else 'none'}. "
                "Unpack it, and name the files."
            )
        if found[0].flag_bits & 0x1:
            raise SourceError(f"{name}: the file in this archive is encrypted. Unpack it, and import what comes out.")
    return _inflated(path, found[0].filename, name), found[0].file_size


def _inflated(path: Path, member: str, name: str) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(member) as file:
            while block := file.read(BLOCK_BYTES):
                yield block
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError) as error:
        raise _damaged_archive(name, error) from None


def _damaged_archive(name: str, error: Exception) -> SourceError:
    return SourceError(f"{name}: this archive cannot be read ({error}). Fetch it again, or unpack it by other means.")


def _piped(descriptor: int, workspace: Workspace, name: str) -> Iterator[bytes]:
    """Yield what comes through a pipe until its end; a wish to stop is noticed even if nothing comes.

    Raises:
        SourceError: it cannot be read.
        Stopped: nobody waits for it any longer.

    """
    try:
        while True:
            workspace.check()
            if select.select([descriptor], [], [], POLL_SECONDS)[0]:
                block = os.read(descriptor, BLOCK_BYTES)
                if not block:
                    return
                yield block
    except (OSError, ValueError) as error:
        raise SourceError(f"{name}: it cannot be read ({error}). Is it open, and nobody else reading it?") from None
