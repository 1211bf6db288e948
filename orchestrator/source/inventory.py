"""Which characters beyond ASCII a text has, and whether it looks as if it was encoded twice.

Wrong letters are seen by people, not by programs, so the characters are listed.  One fault a program can see: a
text in UTF-8 that was read as Latin letters and written as UTF-8 once more, which makes ``Ã¼`` of ``ü``.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.model import Source
from orchestrator.source.opening import open_regular

BLOCK_BYTES: Final = 1_048_576
FREQUENT_MAX: Final = 15  # a line of a terminal; whoever needs more has the file
_CODES: Final = 0x110000
_LOST: Final = 0xFFFD

# What the bytes 0x80 to 0xBF are in Windows' Western encoding, and in Latin-1.
_FOLLOWING: Final = re.escape(bytes(range(0x80, 0xC0)).decode("cp1252", "ignore")) + "\x80-\xbf"
_TWICE: Final = re.compile(
    f"[ÂÃ][{_FOLLOWING}]|â[€‚\x80\x82][{_FOLLOWING}]|(?:[ÎÏÐÑ][{_FOLLOWING}]){{2,}}|(?:[ã-é][{_FOLLOWING}]{{2}}){{2,}}"
)
_GROUPS: Final = {
    "P": "punctuation",
    "S": "symbols",
    "Z": "spaces",
    "N": "numbers",
    "M": "marks",
    "C": "control and unassigned",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How often something is there."""

    what: str
    times: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """The characters beyond ASCII of all sources of an import."""

    characters: int
    groups: tuple[Count, ...]  # scripts of letters, and kinds of other characters; the most frequent first
    frequent: tuple[Count, ...]  # single characters, the most frequent first
    warnings: tuple[str, ...] = ()  # for people


def take(sources: Sequence[Source], check: Callable[[], None]) -> Inventory:
    """Read the sources, before a mapping changes them; ``check`` is called now and then, and may raise."""
    counts = np.zeros(_CODES, dtype=np.int64)
    warnings = [warning for source in sources for warning in _read(source, counts, check)]
    found = {chr(code): int(counts[code]) for code in np.flatnonzero(counts).tolist()}
    groups: Counter[str] = Counter()
    for character, times in found.items():
        groups[group_of(character)] += times
    return Inventory(
        characters=sum(found.values()),
        groups=tuple(Count(what=group, times=times) for group, times in groups.most_common()),
        frequent=tuple(Count(what=what, times=times) for what, times in Counter(found).most_common(FREQUENT_MAX)),
        warnings=tuple(warnings),
    )


def group_of(character: str) -> str:
    """Name the script of a letter, or the kind of another character."""
    category = unicodedata.category(character)
    if not category.startswith("L"):
        return _GROUPS[category[0]]
    script = unicodedata.name(character, "other").split()[0]
    return "CJK" if script == "CJK" else script.capitalize()


def _places(text: str, codes: NDArray[np.uint32]) -> Iterator[int]:
    """Yield where a text looks as if it was encoded twice; ``codes`` are its characters.

    The expression alone is slow where much is beyond ASCII, so it looks only where two characters may begin it.
    """
    classes = _CLASSES[np.minimum(codes, len(_CLASSES) - 1)]
    behind = 0
    for at in np.flatnonzero((classes[:-1] & _LEADS) & (classes[1:] >> 1)).tolist():
        found = _TWICE.match(text, at) if at >= behind else None
        if found is not None:
            behind = found.end()
            yield at


def _classes() -> NDArray[np.uint8]:
    """Return of every character up to the last one of interest whether it leads and follows in such a text."""
    leads, follows = set("ÂÃâÎÏÐÑãäåæçèé"), re.compile(f"[{_FOLLOWING}]")
    codes = range(max(ord(one) for one in bytes(range(0x80, 0xC0)).decode("cp1252", "ignore")) + 2)
    return np.array([(chr(code) in leads) | bool(follows.match(chr(code))) << 1 for code in codes], dtype=np.uint8)


_LEADS: Final = 1
_CLASSES: Final = _classes()


def _read(source: Source, counts: NDArray[np.int64], check: Callable[[], None]) -> list[str]:
    """Add the characters of one source to the counts; return what is odd about them."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
    lost_before = int(counts[_LOST])
    line_ends = twice = first_line = 0
    with open_regular(source.original.path if source.original else source.content) as file:
        while block := file.read(BLOCK_BYTES):
            check()
            if not block.isascii() or decoder.getstate()[0]:
                text = decoder.decode(block)
                codes = np.frombuffer(text.encode("utf-32-le", "replace"), dtype=np.uint32)
                some = np.bincount(codes[codes >= 0x80].astype(np.int64))
                counts[: len(some)] += some
                for start in _places(text, codes):
                    twice += 1
                    first_line = first_line or line_ends + text.count("\n", 0, start) + 1
            if not twice:
                line_ends += block.count(b"\n")
    warnings = []
    if twice:
        warnings.append(
            f"{source.path}: from line {first_line} on, {twice:,} place(s) look as if text in UTF-8 was read in another "
            "encoding and written as UTF-8 again, like Ã¼ in place of ü. Look there, and repair what wrote the file."
        )
    if lost := int(counts[_LOST]) - lost_before:
        warnings.append(
            f"{source.path}: {lost:,} times there is the sign for a character that was lost (U+FFFD) before the file "
            "came here. If it matters, have the file written anew."
        )
    return warnings
