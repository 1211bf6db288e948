"""A file as blocks of bytes, read one ahead of whoever looks at them.

What can be said of a block without those before it takes half of the time of planning, and hardly needs the
interpreter: a thread reads the next block and finds it out while this one is looked at.  The blocks are a few buffers
that are filled again and again, so a file of any size takes the memory of a small one.  No file is mapped into
memory: one that is cut short while it is read would end the process.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Generator, Iterator
from queue import SimpleQueue
from typing import Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.source.bits import WORD_BITS, Flags, Words, mask, packed
from orchestrator.source.checksums import checksum

BLOCK_BYTES: Final = 1_048_576  # with half of it, threads waiting for each other take a fifth more time
QUOTE, LINE_FEED, CARRIAGE_RETURN = b'"\n\r'
LEADS: Final = 0xC0  # bytes from here on lead a character; those from 0x80 up to here continue one

_SLOTS: Final = 3  # one is looked at, one is filled, one waits


class TornReadError(Exception):
    """The file ends before it should."""


class Block:
    """A buffer and what it holds at the moment."""

    def __init__(self, bytes_max: int, flags: Flags | None = None) -> None:
        """Make room for a block; ``flags`` may be shared by blocks that are filled by one thread."""
        self.data = bytearray(-(-bytes_max // WORD_BITS) * WORD_BITS)
        self.view = memoryview(self.data)
        self.values: NDArray[np.uint8] = np.frombuffer(self.data, np.uint8)
        self.offset = 0  # in the file
        self.size = 0
        self.words = 0  # that many words of masks it takes; the bytes behind ``size`` are NUL
        self.checksum = 0  # the CRC-32 of this block alone
        self.lowest = 0  # the least byte, those from 0x80 on counted as negative
        self.line_feeds: Words = np.empty(0, np.uint64)  # the mask of all line feeds
        self.leads = self.continuing = self.line_feeds  # of bytes that lead or continue a character, if not ASCII
        self.flags = np.empty(len(self.data), np.bool_) if flags is None else flags

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

    @property
    def is_ascii(self) -> bool:
        """Whether no byte is part of a longer character."""
        return self.lowest >= 0

    def holds(self, byte: int) -> bool:
        """Tell whether a byte occurs; the interpreter does nothing else meanwhile."""
        return self.data.find(byte, 0, self.size) >= 0

    def _examine(self, offset: int, size: int) -> None:
        self.words = -(-size // WORD_BITS)
        if missing := self.words * WORD_BITS - size:
            self.view[size : size + missing] = bytes(missing)
        self.offset = offset
        self.size = size
        self.checksum = checksum(self.view[:size])
        self.lowest = int(self.values[:size].view(np.int8).min())
        values, flags = self.values[: self.words * WORD_BITS], self.flags[: self.words * WORD_BITS]
        self.line_feeds = mask(values, LINE_FEED, flags)
        if not self.is_ascii:
            self.leads = packed(np.greater_equal(values, LEADS, out=flags))
            self.continuing = packed(np.less(values.view(np.int8), LEADS - 0x100, out=flags))


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
    first = Block(block_bytes)
    for block in (first, *(Block(block_bytes, first.flags) for _ in range(_SLOTS - 1))):
        free.put(block)

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
