"""The form in which two spellings of one key are equal.

How Marketo itself compares keys is not documented, therefore everything that might be equal there is made equal here:
a key that matches too much only costs order, one that matches too little makes duplicate records.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

# Marketo's platform trims everything up to U+0020; spreadsheets leave the other blanks behind.
ASCII_BLANKS: Final = "".join(map(chr, range(0x21))) + "\x7f"
BLANKS: Final = ASCII_BLANKS + (
    "\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b"
    "\u2028\u2029\u202f\u205f\u2060\u3000\ufeff"
)
_NUMBER: Final = re.compile(r"[+-]?0*([0-9]+)(?:\.0*)?")


def normalise(text: str) -> str:
    """Return the form in which two spellings of one key are equal.

    Trimmed, decomposed for compatibility, without combining marks, case folded; a whole number without its
    sign, leading zeros and zero decimals.  Applying it again changes nothing.
    """
    return normalised([text])[0]


def normalised(texts: Iterable[str]) -> list[str]:
    """Return the normal form of every text; of many at once it takes a fraction of the time."""
    found = [text.strip(BLANKS) for text in texts]
    under_way = [at for at, text in enumerate(found) if not text.isascii()]
    while under_way:
        folded = _fold([found[at] for at in under_way])
        changed = [(at, text) for at, text in zip(under_way, folded, strict=True) if text != found[at]]
        for at, text in changed:
            found[at] = text
        under_way = [at for at, text in changed if not text.isascii()]
    return [_without_zeros(text.lower() if text.isascii() else text) for text in found]


def _fold(texts: list[str]) -> list[str]:
    """Decompose, fold the case and drop combining marks, once.

    A line feed is neither changed by any of that nor moved, nor is anything moved over it, so the texts may be joined.
    """
    joined = "\n".join(texts)
    if len(texts) > 1 and joined.count("\n") >= len(texts):
        return [folded for text in texts for folded in _fold([text])]
    joined = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", joined).casefold())
    for char in set(joined):
        if unicodedata.combining(char):
            joined = joined.replace(char, "")
    return [text.strip(BLANKS) for text in (joined.split("\n") if len(texts) > 1 else [joined])]


def _without_zeros(text: str) -> str:
    number = _NUMBER.fullmatch(text)
    return number[1] if number else text
