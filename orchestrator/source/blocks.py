"""A file as blocks of bytes, read one ahead of whoever looks at them.

Reading and checksums need half of the time that planning takes, and neither needs the interpreter: a thread does
both for the next block while this one is looked at.  The blocks are a few buffers that are filled again and again,
so a file of any size takes the memory of a small one.  No file is mapped into memory: one that is cut short while
it is read would end the process.

A checksum of each block by itself is enough to have that of any run of blocks: appending a block to what stands
before it changes the checksum by a linear function of the old one, the same for every block of one size.
"""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Generator, Iterator
from functools import lru_cache
from queue import SimpleQueue
from typing import Final

import numpy as np
from numpy.typing import NDArray

BLOCK_BYTES: Final = 524_288  # the masks of one block stay in the processor's second-level cache
WORD_BYTES: Final = 64  # as many bytes as a word of a mask has bits
QUOTE, LINE_FEED, CARRIAGE_RETURN = b'"\n\r'

_SLOTS: Final = 3  # one is looked at, one is filled, one waits


class TornReadError(Exception):
    """The file ends before it should."""


class Block:
    """A buffer and what it holds at the moment."""

    def __init__(self, bytes_max: int) -> None:
        """Make room for a block."""
        self.data = bytearray(-(-bytes_max // WORD_BYTES) * WORD_BYTES)
        self.view = memoryview(self.data)
        self.values: NDArray[np.uint8] = np.frombuffer(self.data, np.uint8)
        self.offset = 0  # in the file
        self.size = 0
        self.words = 0  # that many words of masks it takes; the bytes behind ``size`` are NUL
        self.checksum = 0  # the CRC-32 of this block alone
        self.lowest = 0  # the least byte, those from 0x80 on counted as negative
        self.quoted = False  # whether there is a quote
        self.returned = False  # whether there is a carriage return

    def fill(self, descriptor: int, offset: int, size: int) -> None:
        """Read a block; raises `TornReadError` if the file ends before."""
        got = 0
        while got < size:
            more = os.preadv(descriptor, [self.view[got:size]], offset + got)
            if not more:
                raise TornReadError
            got += more
        self._examine(offset, size)

    def take(self, data: memoryview, offset: int) -> None:
        """Take a block that is in memory."""
        self.view[: len(data)] = data
        self._examine(offset, len(data))

    def _examine(self, offset: int, size: int) -> None:
        self.words = -(-size // WORD_BYTES)
        if missing := self.words * WORD_BYTES - size:
            self.view[size : size + missing] = bytes(missing)
        self.offset = offset
        self.size = size
        self.checksum = zlib.crc32(self.view[:size])
        self.lowest = int(self.values[:size].view(np.int8).min())
        self.quoted = self.data.find(QUOTE, 0, size) >= 0
        self.returned = self.data.find(CARRIAGE_RETURN, 0, size) >= 0


def read_blocks(descriptor: int, start: int, stop: int, block_bytes: int) -> Generator[Block, None, None]:
    """Yield ``[start, stop)`` of an open file; each block is good until the next one is asked for.

    The generator must be closed.  Raises `TornReadError`.
    """
    if stop - start <= block_bytes:
        if start < stop:
            block = Block(stop - start)
            block.fill(descriptor, start, stop - start)
            yield block
        return
    free: SimpleQueue[Block | None] = SimpleQueue()
    filled: SimpleQueue[Block | BaseException | None] = SimpleQueue()
    for _ in range(_SLOTS):
        free.put(Block(block_bytes))

    def fill() -> None:
        try:
            for offset in range(start, stop, block_bytes):
                block = free.get()
                if block is None:
                    return
                block.fill(descriptor, offset, min(block_bytes, stop - offset))
                filled.put(block)
            filled.put(None)
        except BaseException as error:  # noqa: BLE001  # raised again where the blocks are wanted
            filled.put(error)

    reader = threading.Thread(target=fill, name="orchestrator-reader", daemon=True)
    reader.start()
    try:
        while (found := filled.get()) is not None:
            if isinstance(found, BaseException):
                raise found
            yield found
            free.put(found)
    finally:
        free.put(None)
        reader.join()


def blocks_of(data: bytes, start: int, block_bytes: int = BLOCK_BYTES) -> Iterator[Block]:
    """Yield blocks of what is in memory and stands at ``start`` of a file."""
    block = Block(min(block_bytes, len(data)))
    view = memoryview(data)
    for offset in range(0, len(data), block_bytes):
        block.take(view[offset : offset + block_bytes], start + offset)
        yield block


def append_checksum(checksum: int, block: Block, block_bytes: int) -> int:
    """Return the CRC-32 of what has ``checksum`` and of the block behind it."""
    if block.size != block_bytes:
        return zlib.crc32(block.view[: block.size], checksum)
    first, second, third, fourth = _appending(block_bytes)
    return (
        first[checksum & 0xFF]
        ^ second[checksum >> 8 & 0xFF]
        ^ third[checksum >> 16 & 0xFF]
        ^ fourth[checksum >> 24]
        ^ block.checksum
    )


@lru_cache(maxsize=8)
def _appending(size: int) -> tuple[list[int], ...]:
    """Return what each byte of a checksum adds to the one of a text that is ``size`` bytes longer."""
    zeros = bytes(size)
    nothing = zlib.crc32(zeros)
    bits = [zlib.crc32(zeros, 1 << bit) ^ nothing for bit in range(32)]
    tables = []
    for low in range(0, 32, 8):
        table = [0]
        for bit in bits[low : low + 8]:
            table += [each ^ bit for each in table]
        tables.append(table)
    return tuple(tables)
