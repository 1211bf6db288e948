"""The claims of a chunk: fingerprints of its records' dedupe keys.

Two unfinished batches must not share a key, so keys of different chunks are compared as sets of 64-bit numbers
instead of text.  They are made of the keys' normal form (`normal`), thousands at a time: `columns` finds the cells,
`plain` normalises those of the ordinary kind where they stand and gives the others to the record machine and to
`normalise`, and `mixing` makes the numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

from orchestrator.source.bits import Words
from orchestrator.source.columns import columns_of
from orchestrator.source.mixing import numbers
from orchestrator.source.plain import PlainBlock

Claims = Words  # of two chunks with 250,000 keys each, one pair in 300 million matches falsely, and it costs order

BLOCK_BYTES: Final = 262_144  # a quarter of a million keys are found in a few megabytes, and the loop has its turn
SIEVE_BITS: Final = 22  # the first ones of a fingerprint; 4 MB, in which 250,000 keys take up every seventeenth place
_SIEVE_SHIFT: Final = np.uint64(64 - SIEVE_BITS)


def claims(
    data: bytes, delimiter: str, key_indexes: tuple[int, ...], salt: bytes, *, block_bytes: int = BLOCK_BYTES
) -> Claims:
    """Return the fingerprints of the records' keys, rising and each once.

    ``key_indexes`` are the positions of the key's columns, from 0; ``salt`` has at most 64 bytes.  A record
    whose key, or any part of it, is empty or missing has no claim.
    """
    found = [np.empty(0, np.uint64)]
    for columns in columns_of(data, delimiter, key_indexes, block_bytes):
        plain = PlainBlock(data, columns.block, delimiter)
        texts = [plain.normal(starts, ends) for starts, ends in columns.cells]
        has_key = np.logical_and.reduce([ends > starts for _, starts, ends in texts])
        found.append(numbers(texts, columns.records, salt)[has_key])
    every = np.concatenate(found)
    every.sort()
    is_first = np.ones(len(every), np.bool_)
    np.not_equal(every[1:], every[:-1], out=is_first[1:])
    return every.compress(is_first)  # `np.unique` takes a hundred times as long


def overlap(a: Claims, b: Claims) -> bool:
    """Tell whether two sets of claims, as `claims` returns them, have one in common."""
    few, many = (a, b) if len(a) <= len(b) else (b, a)
    if len(few) == 0:
        return False
    places = np.searchsorted(many, few)
    return bool((many[np.minimum(places, len(many) - 1)] == few).any())


def overlaps(ours: Claims, others: Iterable[Claims]) -> Iterator[bool]:
    """Tell of each of many sets of claims whether it has one in common with ``ours``.

    Few of another set's claims begin like one of ours, and only those are looked for.
    """
    begins = np.zeros(1 << SIEVE_BITS, np.bool_)
    begins[ours >> _SIEVE_SHIFT] = True
    return (overlap(ours, theirs.compress(begins[theirs >> _SIEVE_SHIFT])) for theirs in others)
