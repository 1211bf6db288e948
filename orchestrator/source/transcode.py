"""From any encoding to UTF-8, and from carriage returns to line feeds, in one pass over a stream.

Every record and every line of the source is one of the copy, so rows and lines are counted in either.  A file
whose records end with carriage returns alone is one in which every line does, those within quotes too; where a
line feed follows, or stands by itself, it stays as it is.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

from orchestrator.errors import EncodingError
from orchestrator.source import encodings
from orchestrator.source.detect import not_utf8
from orchestrator.source.encodings import Basis, Encoding

BLOCK_BYTES: Final = 1_048_576  # a few milliseconds of work, after which the event loop has its turn
HEAD_BYTES: Final = 1_048_576  # a header ends within it, or is none

_CR, _LF = 0x0D, 0x0A
_SHIFT_JIS: Final = "cp932"
_PRIVATE: Final = re.compile("[\x80\uf8f0-\uf8f3]")  # what Python makes of bytes that are not of Shift-JIS


def to_utf8(blocks: Iterable[bytes], encoding: Encoding, *, returns: bool, name: str) -> Iterator[bytes]:
    """Yield a text as UTF-8 without byte order mark; with ``returns``, lone carriage returns become line feeds.

    Raises:
        EncodingError: a byte is not of the encoding, with its line and offset in the source; or a guess was wrong.

    """
    texts = _decode(_watched(blocks, encoding, name) if _may_be_mixed(encoding) else blocks, encoding, name)
    return _with_line_feeds(texts) if returns else texts


def ends_with_returns(head: bytes, encoding: Encoding) -> bool:
    """Tell whether the first line that ends outside quotes does so with a carriage return alone."""
    text = codecs.getincrementaldecoder(encoding.name)("replace").decode(head).lstrip("\ufeff")
    quoted = False
    for at, character in enumerate(text):
        if character == '"':
            quoted = not quoted if quoted or at == 0 or text[at - 1] in ',;\t\r\n"' else False
        elif not quoted and character in "\r\n":
            return character == "\r" and text[at + 1 : at + 2] != "\n"
    return False


def _may_be_mixed(encoding: Encoding) -> bool:
    return encoding.basis is Basis.GUESSED and encoding.name in encodings.SINGLE_BYTES


def _watched(blocks: Iterable[bytes], encoding: Encoding, name: str) -> Iterator[bytes]:
    """Hand blocks on; raise at the end if there were characters of UTF-8 among those of single bytes."""
    characters = bad_bytes = 0
    for block in blocks:
        if not block.isascii():
            more, worse = encodings.utf8_counts(block)
            characters, bad_bytes = characters + more, bad_bytes + worse
        yield block
    if encodings.mixed(characters, bad_bytes):
        raise EncodingError(
            f"{name}: some of it is UTF-8 and some is not: {characters:,} character(s) are, {bad_bytes:,} byte(s) are "
            f"not, the first of them in {encoding.not_utf8_at}. Write it anew in one encoding; or, if you know the one "
            "it is in, give it with --encoding NAME."
        )


def _decode(blocks: Iterable[bytes], encoding: Encoding, name: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding.name)("strict")
    offset = line_ends = 0
    first, after_return = True, False
    for block, final in _and_the_end(blocks):
        try:
            held = decoder.getstate()[0] if encoding.name == _SHIFT_JIS else b""
            text = decoder.decode(block, final)
            if encoding.name == _SHIFT_JIS:
                _refuse_private(text, held + block)
        except UnicodeDecodeError as error:
            bad_at = offset + len(block) - len(error.object) + error.start  # what was kept of earlier blocks included
            before = codecs.getincrementaldecoder(encoding.name)("replace").decode(error.object[: error.start])
            line = line_ends + _line_ends(before) + 1
            if encoding.is_utf8:
                raise not_utf8(name, line, bad_at, error.object[error.start]) from None
            raise _undecodable(name, encoding, line, bad_at, error) from None
        offset += len(block)
        if first and text:
            text = text.removeprefix("\ufeff")
            first = False
        line_ends += _line_ends(text) - (after_return and text.startswith("\n"))
        after_return = text.endswith("\r") if text else after_return
        yield text.encode()


def _refuse_private(text: str, data: bytes) -> None:
    """Raise `UnicodeDecodeError` if a text has what Python makes of single bytes that are not of Shift-JIS."""
    found = _PRIVATE.search(text)
    if found is not None:
        start = len(text[: found.start()].encode(_SHIFT_JIS))
        raise UnicodeDecodeError(_SHIFT_JIS, data, start, start + 1, "no character")


def _and_the_end(blocks: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    for block in blocks:
        yield block, False
    yield b"", True


def _line_ends(text: str) -> int:
    """Count lines as an editor does."""
    return text.count("\n") + text.count("\r") - text.count("\r\n")


def _undecodable(name: str, encoding: Encoding, line: int, offset: int, error: UnicodeDecodeError) -> EncodingError:
    """Build the error for bytes that are not of an encoding; this is never UTF-8, which is not assumed but proved."""
    found = " ".join(f"0x{byte:02X}" for byte in error.object[error.start : error.end][:4])
    known = {
        Basis.GIVEN: "as --encoding says",
        Basis.MARK: "as its byte order mark says",
        Basis.GUESSED: "as was guessed",
    }[encoding.basis]
    return EncodingError(
        f"{name}: line {line} is not {encoding.name}, {known}: {found} at offset "
        f"{offset} is no character of it. Repair the file, or give its encoding with --encoding NAME."
    )


def _with_line_feeds(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Turn carriage returns without a line feed behind them into line feeds."""
    held = b""  # a carriage return whose successor is not known yet
    for block in blocks:
        data = np.frombuffer(bytearray(held + block), dtype=np.uint8)
        held = b""
        if len(data) and data[-1] == _CR:
            data, held = data[:-1], b"\r"
        returns = data == _CR
        returns[:-1] &= data[1:] != _LF
        data[returns] = _LF
        yield data.tobytes()
    if held:
        yield b"\n"
