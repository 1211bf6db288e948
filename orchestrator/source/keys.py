"""The claims of a chunk: fingerprints of its records' dedupe keys.

Two unfinished batches must not share a key, so keys of different chunks are compared as sets of 64-bit numbers
instead of text.  How Marketo itself compares keys is not documented, therefore everything that might be equal
there is made equal here: a key that matches too much only costs order, one that matches too little makes
duplicate records.  A fingerprint is a keyed BLAKE2b of the normalised key, the same in every process that knows
the salt, and without the salt it cannot be tried against a list of e-mail addresses.
"""

from __future__ import annotations

import re
import unicodedata
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from orchestrator import records

Claims = NDArray[np.uint64]

FINGERPRINT_BYTES = (
    8  # of two chunks with 250,000 keys each, one pair in 300 million matches falsely, and it costs order
)
_PART_SEPARATOR = "\x1f"  # between the parts of a compound key; a key that holds it may only match too much

# Marketo's platform trims everything up to U+0020; spreadsheets leave the other blanks behind.
BLANKS = "".join(map(chr, range(0x21))) + (
    "\x7f\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b"
    "\u2028\u2029\u202f\u205f\u2060\u3000\ufeff"
)
_NUMBER = re.compile(r"[+-]?0*([0-9]+)(?:\.0*)?")


def claims(data: bytes, delimiter: str, key_indexes: tuple[int, ...], salt: bytes) -> Claims:
    """Return the fingerprints of the records' keys, rising and each once.

    ``key_indexes`` are the positions of the key's columns, from 0; ``salt`` has at most 64 bytes.  A record
    whose key, or any part of it, is empty or missing has no claim.
    """
    hasher = blake2b(digest_size=FINGERPRINT_BYTES, key=salt)
    digests: list[bytes] = []
    width = max(key_indexes) + 1
    for _, cells in records.split(data, delimiter):
        if len(cells) < width:
            continue
        parts = [normalise(cells[index]) for index in key_indexes]
        if all(parts):
            one = hasher.copy()
            one.update(_PART_SEPARATOR.join(parts).encode("utf-8", "surrogatepass"))
            digests.append(one.digest())
    return np.unique(np.frombuffer(b"".join(digests), np.dtype("<u8")).astype(np.uint64, copy=False))


def overlap(a: Claims, b: Claims) -> bool:
    """Tell whether two sets of claims, as `claims` returns them, have one in common."""
    few, many = (a, b) if len(a) <= len(b) else (b, a)
    if len(few) == 0:
        return False
    places = np.searchsorted(many, few)
    return bool((many[np.minimum(places, len(many) - 1)] == few).any())


def normalise(text: str) -> str:
    """Return the form in which two spellings of one key are equal.

    Trimmed, decomposed for compatibility, without combining marks, case folded; a whole number without its
    sign, leading zeros and zero decimals.  Applying it again changes nothing.
    """
    text = text.strip(BLANKS)
    text = text.lower() if text.isascii() else _fold(text)
    if number := _NUMBER.fullmatch(text):
        return number[1]
    return text


def _fold(text: str) -> str:
    """Decompose, drop combining marks and fold the case, until nothing changes any more."""
    while True:
        decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
        folded = "".join(char for char in decomposed if not unicodedata.combining(char)).strip(BLANKS)
        if folded == text:
            return folded
        text = folded
