r"""Where the records of one block of bytes end: bit masks where they suffice, the exact machine where not.

The grammar is the one of ``records.py``.  Between two blocks the machine is in one of four states (`State`),
and nothing else has to be carried over, so a file can be cut into blocks anywhere.

**Masks.**  For every character of interest numpy compares the whole block and packs the answer, one bit a
byte, 64 bytes to a word.  The running xor of the quote mask (each bit: is the number of quotes so far odd?)
says for every byte whether it lies inside quotes, if every quote opens or closes.  An escaped quote ``""``
closes and opens at once, which leaves the bytes around it right.  The line feeds outside are the records'
ends; counting bits counts records.

**Soundness.**  Not every quote opens or closes: in ``12" pipe`` it is text, and one such quote would turn
inside and outside around for the rest of the file.  So the masks are believed only if

- every opening quote stands behind a delimiter, a line feed or a closing quote (the second of an escaped
  pair), or at the block's start in a state that lets a cell begin or a quoted one go on; and
- every closing quote stands before a delimiter, a line end, another quote, or the block's end.

By induction over the bytes a block that meets both is read by the machine exactly as by the masks: a quote
at a cell's start opens, inside quotes the next one closes, and after a closing quote only those four can
follow.  A carriage return may follow a closing quote and may not precede an opening one, because alone it is
text; before a line feed it does no harm.

**Fallback.**  The first byte that breaks a rule is known exactly, since all before it is sound.  Such a
block is given to `walk`, which jumps from quoted cell to quoted cell with a regular expression: several times
slower, never wrong, and only for the blocks that need it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
Offsets = NDArray[np.int64]

QUOTE, LINE_FEED, CARRIAGE_RETURN = b'"\n\r'
_WORD_BITS = 64
_LITTLE_ENDIAN_WORD = np.dtype("<u8")  # bit k of word w is byte 64 w + k, on any machine
_TOP_BIT = np.uint64(63)


class State(Enum):
    """Where the machine stands between two bytes."""

    START = "start"  # a cell begins
    PLAIN = "plain"  # inside a cell, outside quotes, quotes are text
    QUOTED = "quoted"  # inside quotes
    CLOSING = "closing"  # behind a quote inside quotes: it closed, or it is the first of an escaped pair


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What one block holds; the masks have one bit a byte."""

    line_feeds: Words
    carriage_returns: Words | None  # None: there is none
    ends: Words  # the line feeds outside quotes
    state: State  # behind the block's last byte
    literal_at: int | None  # the first byte where a quote, or what follows one, had to be taken as text


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """What the exact machine saw of one block."""

    ends: Offsets  # of the line feeds outside quotes
    state: State
    opened_at: int | None  # where the last quoted cell that began in this block begins


def scan(block: bytes, delimiter: int, state: State) -> Scan:
    """Find the record ends of a block that is not empty and begins in ``state``."""
    values = np.frombuffer(block, np.uint8)
    line_feeds = _mask(values, LINE_FEED)
    carriage_returns = _mask(values, CARRIAGE_RETURN) if CARRIAGE_RETURN in block else None
    if QUOTE not in block and state is not State.CLOSING:
        inside = state is State.QUOTED
        return Scan(
            line_feeds=line_feeds,
            carriage_returns=carriage_returns,
            ends=np.zeros_like(line_feeds) if inside else line_feeds,
            state=state if inside else _outside_state(block, delimiter),
            literal_at=None,
        )
    quotes = _mask(values, QUOTE)
    inside_quotes = _running_xor(quotes, odd=state is State.QUOTED)
    opening, closing = quotes & inside_quotes, quotes & ~inside_quotes
    separators = _mask(values, delimiter) | line_feeds
    may_follow = separators | quotes if carriage_returns is None else separators | quotes | carriage_returns
    misplaced = opening & ~_shifted(separators | closing, carry=state in (State.START, State.CLOSING))
    misplaced |= _shifted(closing, carry=state is State.CLOSING) & ~may_follow
    literal_at = _first_bit(misplaced)
    if literal_at is not None and literal_at < len(block):  # behind the last byte the next block decides
        walked = walk(block, delimiter, state)
        ends, end_state = _mask_of(walked.ends, len(line_feeds)), walked.state
    else:
        literal_at = None
        ends = line_feeds & ~inside_quotes
        if _bit(inside_quotes, len(block) - 1):
            end_state = State.QUOTED
        else:
            end_state = State.CLOSING if block[-1] == QUOTE else _outside_state(block, delimiter)
    return Scan(
        line_feeds=line_feeds,
        carriage_returns=carriage_returns,
        ends=ends,
        state=end_state,
        literal_at=literal_at,
    )


def walk(block: bytes, delimiter: int, state: State) -> Walk:
    """Run the exact machine over a block that is not empty and begins in ``state``."""
    first_cell, further_cells = _QUOTED_STRETCHES[delimiter]
    begins: list[int] = []
    stops: list[int] = []
    opened_at: int | None = None
    end_state: State | None = None
    found: re.Match[bytes] | None = None
    opens = block[0] == QUOTE
    if state is State.QUOTED or (opens and state in (State.START, State.CLOSING)):
        found = first_cell.match(block, 0 if state is State.QUOTED else 1)
    if found is not None:
        opened_at = 0 if state is State.START else None
        begins.append(0)
        stops.append(found.end())
        if found.start(2) > 0:
            opened_at = found.start(2) - 1
    for found in further_cells.finditer(block, stops[0] if stops else 0):
        begins.append(found.start())
        stops.append(found.end())
        opened_at = (found.start(1) if found[2] is None else found.start(2)) - 1
    if found is not None and not found[3]:
        end_state = State.QUOTED
    elif stops and stops[-1] == len(block):
        end_state = State.CLOSING
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == LINE_FEED)
    if begins:  # a line feed is outside if as many quoted stretches have stopped as have begun before it
        begun = np.searchsorted(np.array(begins), ends, side="right")
        ends = ends[begun == np.searchsorted(np.array(stops), ends, side="right")]
    return Walk(ends=ends, state=end_state or _outside_state(block, delimiter), opened_at=opened_at)


def blank_ends(seen: Scan, *, record_starts: bool, carriage_return_starts: bool) -> Words:
    """Mark those record ends that end a blank line.

    ``record_starts``: the block's first byte starts a record.  ``carriage_return_starts``: the record that
    reaches into this block has, so far, one carriage return and nothing else.
    """
    starts = _shifted(seen.ends, carry=record_starts)
    blank = seen.ends & starts
    if seen.carriage_returns is not None or carriage_return_starts:
        lone = starts & seen.carriage_returns if seen.carriage_returns is not None else np.zeros_like(starts)
        blank |= seen.ends & _shifted(lone, carry=carriage_return_starts)
    return blank


def count(words: Words) -> int:
    """Count the bits that are set."""
    return int(np.bitwise_count(words).sum(dtype=np.int64))


def last_offset(words: Words) -> int | None:
    """Return the offset of the last bit that is set, if any is."""
    reversed_index = int((words[::-1] != 0).argmax())
    index = len(words) - 1 - reversed_index
    word = int(words[index])
    return index * _WORD_BITS + word.bit_length() - 1 if word else None


def offsets(words: Words) -> Offsets:
    """Return the offsets of all bits that are set, rising."""
    return np.flatnonzero(
        np.unpackbits(words.astype(_LITTLE_ENDIAN_WORD, copy=False).view(np.uint8), bitorder="little")
    )


def _quoted_stretches(delimiter: int) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """Return what continues a quoted cell, and what finds the next one, up to the record's last quoted cell.

    A stretch holds no line feed outside quotes: it goes on behind a closing quote over the rest of that cell
    and over plain cells to the next opening quote of the same record, so most records cost one match.  Groups:
    1 the first cell's inside, 2 the last further one's, 3 the closing quote (empty if the block ends first).
    The second pattern begins with the quote and looks back from there, because the engine finds a literal
    much faster than a class of characters.
    """
    mark = re.escape(bytes([delimiter]))
    inside = rb'([^"]*+(?:""[^"]*+)*+)'
    plain_cell = rb'(?:(?!")[^' + mark + rb"\n]*+" + mark + rb")"
    stretch = inside + rb'(?:"[^' + mark + rb"\n]*+" + mark + plain_cell + rb'*+"' + inside + rb')*+("?)'
    return re.compile(stretch), re.compile(rb'"(?<=[\n' + mark + rb']")' + stretch)


_QUOTED_STRETCHES = {delimiter: _quoted_stretches(delimiter) for delimiter in b",;\t"}


def _outside_state(block: bytes, delimiter: int) -> State:
    return State.START if block[-1] in (delimiter, LINE_FEED) else State.PLAIN


def _mask(values: NDArray[np.uint8], value: int) -> Words:
    packed = np.packbits(values == value, bitorder="little")
    if missing := -len(packed) % 8:
        packed = np.concatenate((packed, np.zeros(missing, np.uint8)))
    return _words(packed)


def _mask_of(positions: Offsets, words: int) -> Words:
    flags = np.zeros(words * _WORD_BITS, bool)
    flags[positions] = True
    return _words(np.packbits(flags, bitorder="little"))


def _words(packed: NDArray[np.uint8]) -> Words:
    return packed.view(_LITTLE_ENDIAN_WORD).astype(np.uint64, copy=False)


def _shifted(words: Words, *, carry: bool) -> Words:
    """Move every bit to the next byte; ``carry`` becomes the first bit."""
    moved = np.left_shift(words, np.uint64(1))
    moved[1:] |= words[:-1] >> _TOP_BIT
    if carry:
        moved[0] |= np.uint64(1)
    return moved


def _running_xor(words: Words, *, odd: bool) -> Words:
    """Set every bit to the parity of the bits up to and including it, after ``odd`` or even before them."""
    parity = words.copy()
    for distance in (1, 2, 4, 8, 16, 32):
        parity ^= parity << distance
    before = np.empty_like(parity)
    before[0] = odd
    before[1:] = np.bitwise_xor.accumulate(parity[:-1] >> _TOP_BIT) ^ np.uint64(odd)
    parity ^= np.negative(before)  # minus one is all ones
    return parity


def _bit(words: Words, offset: int) -> bool:
    return bool(int(words[offset // _WORD_BITS]) >> offset % _WORD_BITS & 1)


def _first_bit(words: Words) -> int | None:
    index = int((words != 0).argmax())
    word = int(words[index])
    return index * _WORD_BITS + (word & -word).bit_length() - 1 if word else None
