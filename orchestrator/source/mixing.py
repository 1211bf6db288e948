"""64-bit numbers of short texts, thousands at a time: the same in every process that knows the salt.

A cryptographic hash costs more to call from Python than all else that is done with a key.  So texts are taken as
words of 8 bytes, and every word is stirred into the number by a mixer of which each bit of the input changes half of
the bits of the output (the finaliser of SplitMix64: three shifts, two multiplications), for all texts at once.  A text
is its length and then its words, so no sequence of texts reads like another one.  Every step can be undone, so two
keys get the same number by chance alone.  What goes in first and last is made of the salt by BLAKE2b.

The salt keeps numbers from being looked up in a list that was made before.  This is no cipher: whoever may read the
salt can try addresses, and whoever has studied the mixer may do without.  So the numbers are kept as private as the
rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.source.bits import Bytes, Offsets, Words

WORD_BYTES: Final = 8
TEXT_BYTES_MAX: Final = 256  # of a text that is mixed as it is; the keys of Marketo have at most 255 characters
_LITTLE_ENDIAN_WORD: Final = np.dtype("<u8")  # so that the numbers are the same on any machine
_MASKS: Final = np.array(
    [(1 << 8 * size) - 1 for size in range(WORD_BYTES + 1)], np.uint64
)  # the first bytes of a word
_FACTORS: Final = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))

Texts = tuple[Bytes, Offsets, Offsets]  # bytes with `WORD_BYTES` behind them, and where each text starts and ends there


def numbers(parts: Iterable[Texts], count: int, salt: bytes) -> Words:
    """Return a number for each of ``count`` sequences of texts; ``parts`` has all first texts, then all second ones.

    ``salt`` has at most 64 bytes, a text at most `TEXT_BYTES_MAX`; see `shortened`.
    """
    first, last = np.frombuffer(blake2b(key=salt, digest_size=16).digest(), _LITTLE_ENDIAN_WORD).astype(np.uint64)
    state = np.full(count, first)
    for values, starts, ends in parts:
        _stir_in(state, values, starts, ends - starts)
    state ^= last
    _mix(state)
    return state


def shortened(text: bytes) -> bytes:
    """Return UTF-8 as it is, or what stands for it if it is too long; that is no UTF-8, so it stands for nothing else."""
    return text if len(text) <= TEXT_BYTES_MAX else b"\xff" + blake2b(text).digest()


def _stir_in(state: Words, values: Bytes, starts: Offsets, lengths: Offsets) -> None:
    """Stir one text into each number; the longest texts come first, so that those not done yet stand together."""
    state ^= lengths.astype(np.uint64)
    _mix(state)
    counts = (lengths + (WORD_BYTES - 1)) // WORD_BYTES
    most = int(counts.max(initial=0))
    order = np.argsort((most - counts).astype(np.uint16), kind="stable")
    longer = len(counts) - np.cumsum(np.bincount(counts, minlength=1))  # than so many words, each
    sorted_state, at, left = state[order], starts[order], lengths[order]
    words = _words_anywhere(values)
    for number in range(most):
        these = slice(0, longer[number])
        word = words[at[these]].astype(np.uint64, copy=False)
        word &= _MASKS[np.minimum(left[these], WORD_BYTES)]
        word ^= sorted_state[these]
        _mix(word)
        sorted_state[these] = word
        at += WORD_BYTES
        left -= WORD_BYTES
    state[order] = sorted_state


def _words_anywhere(values: Bytes) -> NDArray[np.uint64]:
    """Return the word that begins with each byte; they overlap, and none is copied."""
    return np.ndarray((len(values) - WORD_BYTES + 1,), _LITTLE_ENDIAN_WORD, values.data, strides=(1,))


def _mix(words: Words) -> None:
    """Change every word so that each of its bits depends on all of them; different words stay different."""
    for shift, factor in zip((30, 27), _FACTORS, strict=True):
        words ^= words >> np.uint64(shift)
        words *= factor
    words ^= words >> np.uint64(31)
