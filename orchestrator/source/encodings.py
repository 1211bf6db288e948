"""Which encoding a text is in: as somebody says, as it says itself, or as it looks.

A byte order mark is certain, and bytes that are UTF-8 from the first to the last are UTF-8.  Everything else is a
guess, and told as one.  Guessed are those that the programs of this world write without a mark: Windows' Western
one, the two of Japan, and UTF-16.  What looks like something else is refused with the name it looks like, for a
wrong guess would put wrong names into Marketo without anybody noticing.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import BinaryIO, Final

import numpy as np

from orchestrator.errors import EncodingError
from orchestrator.source.detect import NotUtf8

UTF8: Final = "utf-8"
WINDOWS_BYTES: Final = 16_384  # one look into the file
WINDOWS_MAX: Final = 64  # looks, evenly spaced
SAMPLE_BYTES_MAX: Final = 65_536  # of lines that are not ASCII; more would not make a guess any better
_HEAD_BYTES: Final = 4_096
_NULS_LEAST: Final = 0.3  # of one half of the bytes: a header is names in Latin letters, whatever stands below it
_NULS_MOST: Final = 0.05  # of the other half
_DAMAGED_SHARE: Final = 4  # so many good characters to each bad byte, and it is UTF-8 with a fault in it
_NEARLY_ALL: Final = 0.9  # of the lines, and the others have faults in them
_RUN_LEAST: Final = 1.5  # characters of Chinese, Japanese and Korean stand together, letters with accents alone
_NOISE_ALIKE: Final = 0.03  # readings of a few characters differ by so much, whichever is right
_NOISE_MORE: Final = 0.1  # how much noisier than the best reading Windows' Western one may be, the usual one by far

_MARKS: Final = (  # longer ones before those they begin with
    (codecs.BOM_UTF8, UTF8),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_ENDIAN: Final = {"utf-16": "utf-16-le", "utf-32": "utf-32-le"}  # without a mark: as Windows writes it
_EAST_ASIAN: Final = ("cp932", "euc_jp", "gb18030", "big5", "cp949")  # in the order in which equals are taken
_WESTERN: Final = ("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1257", "mac_roman", "cp437")
SINGLE_BYTES: Final = ("cp1252",)  # of those that are guessed
_GUESSED: Final = ("cp932", "euc_jp", *SINGLE_BYTES)
_HALF_WIDTH: Final = re.compile("[\uff61-\uff9f]")
_BEYOND: Final = re.compile(r"[^\x00-\x7f]+")


class Basis(Enum):
    """How an encoding is known."""

    GIVEN = auto()
    MARK = auto()
    VALID = auto()
    GUESSED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """An encoding, by the name that Python knows it by, and how it is known."""

    name: str
    basis: Basis
    not_utf8_at: str = ""  # of a guess: where the first byte stands that is no UTF-8, for people

    @property
    def is_utf8(self) -> bool:
        """Whether the bytes are sent as they are."""
        return self.name == UTF8


def begin(head: bytes, given: str | None) -> Encoding:
    """Say what is known of an encoding from a file's first bytes; UTF-8 is then still to be proved."""
    marked = next((name for mark, name in _MARKS if head.startswith(mark)), None)
    if given is not None:
        matching = marked is not None and marked.startswith(given)
        name = marked if matching and marked is not None else _ENDIAN.get(given, given)
        return Encoding(name=name, basis=Basis.GIVEN)
    if marked is not None:
        return Encoding(name=marked, basis=Basis.MARK)
    unmarked = _unmarked(head[:_HEAD_BYTES])
    if unmarked is not None:
        return Encoding(name=unmarked, basis=Basis.GUESSED)
    return Encoding(name=UTF8, basis=Basis.VALID)


def _unmarked(head: bytes) -> str | None:
    """Recognise UTF-16 without a mark by the zeros in every other byte."""
    half = len(head) // 2
    if not half:
        return None
    even, odd = head[0::2].count(0) / half, head[1::2].count(0) / half
    if odd >= _NULS_LEAST and even <= _NULS_MOST:
        return "utf-16-le"
    if even >= _NULS_LEAST and odd <= _NULS_MOST:
        return "utf-16-be"
    return None


def guess(file: BinaryIO, size: int, *, refusal: NotUtf8, name: str) -> Encoding:
    """Look all over a file that is no UTF-8 for what it is.

    ``refusal`` says where that was seen; it is raised if it is UTF-8 all the same, but for some bytes.

    Raises:
        EncodingError: it cannot be told, or is nothing that is guessed.

    """
    sample = _sample(file, size, refusal.offset)
    if damaged(*utf8_counts(sample)):
        raise refusal
    found = _best(sample)
    if found not in _GUESSED:
        found = _nearly(sample) or found
    if found in _GUESSED:
        return Encoding(name=found, basis=Basis.GUESSED, not_utf8_at=refusal.place)
    if not found:
        raise EncodingError(
            f"{name}: it is not UTF-8 ({refusal.place}), and does not look like text. Is it the right file? If it is "
            "text, give its encoding with --encoding NAME."
        )
    raise EncodingError(
        f"{name}: it is not UTF-8 ({refusal.place}), and looks most like {found}, but that is too easily mistaken. Give "
        f"its encoding with --encoding NAME, for example --encoding {found}, and look at what orchestrator check shows."
    )


def utf8_counts(data: bytes) -> tuple[int, int]:
    """Count the characters of UTF-8 beyond ASCII, and the bytes beyond ASCII that are part of none."""
    found = np.frombuffer(data + b"\0\0\0", dtype=np.uint8)
    beyond = np.flatnonzero(found >= 0x80)
    lead = found[beyond]
    follow = [(found[beyond + place] & 0xC0) == 0x80 for place in (1, 2, 3)]
    twos = np.count_nonzero((lead >= 0xC2) & (lead <= 0xDF) & follow[0])
    threes = np.count_nonzero((lead >= 0xE0) & (lead <= 0xEF) & follow[0] & follow[1])
    fours = np.count_nonzero((lead >= 0xF0) & (lead <= 0xF4) & follow[0] & follow[1] & follow[2])
    return int(twos + threes + fours), int(len(beyond) - 2 * twos - 3 * threes - 4 * fours)


def damaged(characters: int, bad_bytes: int) -> bool:
    """Tell whether a text is UTF-8 but for some bytes."""
    return characters >= _DAMAGED_SHARE * bad_bytes


def mixed(characters: int, bad_bytes: int) -> bool:
    """Tell whether a text that is taken for one of single bytes has characters of UTF-8 in it."""
    return characters * 100 > bad_bytes


def _sample(file: BinaryIO, size: int, bad_offset: int) -> bytes:
    """Return lines that are not ASCII, from where the first one is and from all over the file."""
    step = max(WINDOWS_BYTES, size // WINDOWS_MAX)
    offsets = [max(0, bad_offset - WINDOWS_BYTES // 2), *range(0, size, step)]
    lines: dict[bytes, None] = {}
    taken = 0
    for offset in offsets:
        file.seek(offset)
        window = file.read(WINDOWS_BYTES)
        if window.isascii():
            continue
        # The first and the last line may be cut within a character.
        start = window.find(b"\n") + 1 if offset else 0
        stop = window.rfind(b"\n") + 1 if offset + len(window) < size else len(window)
        for line in window[start:stop].splitlines() or [_aligned(window, bad_offset - offset)]:
            if not line.isascii() and line not in lines and taken < SAMPLE_BYTES_MAX:
                lines[line] = None
                taken += len(line)
    return b"\n".join(lines)


def _aligned(window: bytes, bad_at: int) -> bytes:
    """Return what stands around a bad byte in a window without a line end, from the first whole character on."""
    return window[bad_at:] if 0 <= bad_at < len(window) else window


def _best(sample: bytes) -> str | None:
    """Return the encoding that makes most sense of a sample."""
    together = [name for name in _EAST_ASIAN if _stands_together(sample, name)]
    if not together and _only_signs(sample):
        return "cp1252"
    noise = _noise(sample, [*together, *_WESTERN])
    if not noise:
        return None
    bearable = min(noise.values()) + _NOISE_ALIKE
    for name in together:
        if noise.get(name, 1.0) <= bearable:
            return name
    best = min(noise, key=lambda name: noise[name])
    return "cp1252" if noise.get("cp1252", 1.0) <= noise[best] + _NOISE_MORE else best


def _nearly(sample: bytes) -> str | None:
    """Return the encoding of nearly all lines of a sample; what is wrong with the others, reading them will tell."""
    lines = sample.split(b"\n")
    for name in _GUESSED:
        good = [line for line in lines if _is_in(name, line)]
        if len(good) >= _NEARLY_ALL * len(lines) and _best(b"\n".join(good)) == name:
            return name
    return None


def _is_in(encoding: str, line: bytes) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _only_signs(sample: bytes) -> bool:
    """Tell whether what is not ASCII are signs like quotes and currencies, which tell nothing of a language."""
    return not any(character.isalpha() for character in "".join(_BEYOND.findall(sample.decode("cp1252", "replace"))))


def _stands_together(sample: bytes, encoding: str) -> bool:
    """Tell whether a sample is text in runs in an encoding of East Asia."""
    try:
        text = sample.decode(encoding)
    except UnicodeDecodeError:
        return False
    runs = _BEYOND.findall(text)
    characters = sum(map(len, runs))
    if encoding == "cp932" and 2 * len(_HALF_WIDTH.findall(text)) > characters:
        return False  # what half-width letters look like is EUC-JP, or single bytes
    return characters >= _RUN_LEAST * len(runs)


def _noise(sample: bytes, names: list[str]) -> dict[str, float]:
    """Return how unlikely each of some readings of a sample is; those that are no text are left out."""
    from charset_normalizer import from_bytes  # imported only where it is needed: it takes 30 ms

    found = from_bytes(sample, steps=10, chunk_size=2_048, cp_isolation=names, preemptive_behaviour=False)
    alike = {}
    for match in found:
        alike.update(dict.fromkeys(match.could_be_from_charset, match.chaos))
    return {name: alike[name] for name in names if name in alike}
