"""Masks with one bit a byte, 64 bytes to a word: bit ``k`` of word ``w`` is byte ``64 w + k`` of a block.

Every function works within arrays that are handed in, because a new array of half a megabyte costs more than what
is computed in it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Flags = NDArray[np.bool_]
Words = NDArray[np.uint64]
Counts = NDArray[np.uint8]
Ranks = NDArray[np.uint32]
Offsets = NDArray[np.int64]

WORD_BITS = 64
_LITTLE_ENDIAN_WORD = np.dtype("<u8")  # so that bytes follow each other on any machine
_ONE = np.uint64(1)
_TOP_BIT = np.uint64(63)


def packed(flags: Flags) -> Words:
    """Return the mask of flags, of which there are whole words."""
    return np.packbits(flags, bitorder="little").view(_LITTLE_ENDIAN_WORD).astype(np.uint64, copy=False)


def mask(values: Bytes, value: int, flags: Flags) -> Words:
    """Mark the bytes that have one value; ``flags`` is room for as many flags."""
    np.equal(values, value, out=flags)
    return packed(flags)


def shifted(words: Words, carry: int, out: Words, distance: int = 1) -> Words:
    """Move every bit to the next byte, or further; ``carry`` becomes the first bits."""
    np.left_shift(words, distance, out=out)
    out[1:] |= words[:-1] >> np.uint64(WORD_BITS - distance)
    if carry:
        out[0] |= np.uint64(carry)
    return out


def running_xor(words: Words, odd: int, out: Words, room: Words) -> Words:
    """Set every bit to the parity of the bits up to and including it, after ``odd`` or even before them."""
    np.copyto(out, words)
    for distance in (1, 2, 4, 8, 16, 32):
        np.left_shift(out, distance, out=room)
        np.bitwise_xor(out, room, out=out)
    np.right_shift(out, _TOP_BIT, out=room)
    np.bitwise_xor.accumulate(room, out=room)
    np.negative(room, out=room)  # minus one is all ones
    out[1:] ^= room[:-1]
    if odd:
        np.bitwise_not(out, out=out)
    return out


def count(words: Words) -> int:
    """Count the bits that are set."""
    return total(np.bitwise_count(words))


def total(counts: Counts) -> int:
    """Add up how many bits are set in each of some words."""
    return int(np.add.reduce(counts, dtype=np.uint32))


def first_offset(words: Words) -> int | None:
    """Return the offset of the first bit that is set, if any is."""
    index = int((words != 0).argmax())
    word = int(words[index])
    return index * WORD_BITS + (word & -word).bit_length() - 1 if word else None


def last_offset(words: Words) -> int | None:
    """Return the offset of the last bit that is set, if any is."""
    index = (words != 0).tobytes().rfind(1)
    return index * WORD_BITS + int(words[index]).bit_length() - 1 if index >= 0 else None


def first_from(words: Words, offset: int) -> int | None:
    """Return the first bit that is set from one on."""
    index, bit = divmod(offset, WORD_BITS)
    if index >= len(words):
        return None
    if word := int(words[index]) >> bit << bit:
        return index * WORD_BITS + (word & -word).bit_length() - 1
    found = first_offset(words[index + 1 :]) if index + 1 < len(words) else None
    return None if found is None else (index + 1) * WORD_BITS + found


def last_before(words: Words, offset: int) -> int | None:
    """Return the last bit that is set before one."""
    index, bit = divmod(max(0, offset), WORD_BITS)
    if index >= len(words):
        return last_offset(words)
    if word := int(words[index]) & (1 << bit) - 1:
        return index * WORD_BITS + word.bit_length() - 1
    return last_offset(words[:index]) if index else None


def running_count(words: Words) -> Ranks:
    """Count the bits that are set in each word and those before it."""
    return np.add.accumulate(np.bitwise_count(words), dtype=np.uint32)


def nth(words: Words, counts: Ranks, number: int) -> int | None:
    """Return the offset of the bit that is the ``number``-th set one, counted from 1; None if there are fewer."""
    if number > counts[-1]:
        return None
    index = int(np.searchsorted(counts, np.uint32(number)))
    word = int(words[index])
    for _ in range(int(counts[index]) - number):
        word &= ~(1 << word.bit_length() - 1)
    return index * WORD_BITS + word.bit_length() - 1


def count_until(words: Words, counts: Ranks, offset: int) -> int:
    """Count the bits that are set up to one, and with it."""
    index, bit = divmod(offset, WORD_BITS)
    return int(counts[index]) - (int(words[index]) >> bit >> 1).bit_count()


def count_from(words: Words, offset: int) -> int:
    """Count the bits that are set from one on."""
    index, bit = divmod(offset, WORD_BITS)
    if index >= len(words):
        return 0
    return (int(words[index]) >> bit).bit_count() + count(words[index + 1 :])


def offsets(words: Words) -> Offsets:
    """Return the offsets of all bits that are set, rising."""
    flags = np.unpackbits(words.astype(_LITTLE_ENDIAN_WORD, copy=False).view(np.uint8), bitorder="little")
    return np.flatnonzero(flags.view(np.bool_))  # which is ten times as fast as with numbers


class Tally:
    """Counts the bits that are set in any number of ranges at once."""

    def __init__(self, words: Words) -> None:
        """Count once; one more word follows, so that ranges may end where the mask ends."""
        self._words = np.append(words, np.uint64(0))
        self._before = np.zeros(len(words) + 1, np.uint32)
        self._before[1:] = running_count(words)

    def within(self, starts: Offsets, ends: Offsets) -> Ranks:
        """Return how many bits are set from each start on, and before its end."""
        return self._until(ends) - self._until(starts)

    def _until(self, offsets: Offsets) -> Ranks:
        index = offsets // WORD_BITS
        below = (_ONE << (offsets % WORD_BITS).astype(np.uint64)) - _ONE
        return self._before[index] + np.bitwise_count(self._words[index] & below)


def is_set(words: Words, offset: int) -> bool:
    """Tell whether one bit is set."""
    return bool(int(words[offset // WORD_BITS]) >> offset % WORD_BITS & 1)


def clear(words: Words, offset: int) -> None:
    """Make one bit 0."""
    words[offset // WORD_BITS] &= ~(_ONE << np.uint64(offset % WORD_BITS))


def set_(words: Words, offset: int) -> None:
    """Make one bit 1."""
    words[offset // WORD_BITS] |= _ONE << np.uint64(offset % WORD_BITS)


def set_from(words: Words, offset: int) -> None:
    """Make all bits of the last word 1 from one on."""
    if offset < len(words) * WORD_BITS:
        words[offset // WORD_BITS] |= np.uint64(2**64 - (1 << offset % WORD_BITS))
