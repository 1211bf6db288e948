r"""Where the records of one block of bytes end: bit masks where they suffice, the exact machine where not.

The grammar is the one of ``records.py``.  Between two blocks the machine is in one of few states (`State`), and
nothing else has to be carried over, so a file can be cut into blocks anywhere.

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

**Repair.**  The first byte that breaks a rule is known exactly, since all before it is sound: there the machine
is in the middle of a cell, outside quotes, and the quotes in the rest of that cell are text.  They are taken out of
the mask, and the words from there on are computed again.

**Fallback.**  A block that needs many repairs is given to the exact machine (`walk`), and so are the blocks after
it for a while, because such blocks come together; then the masks are tried again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from orchestrator.source.bits import (
    WORD_BITS,
    Words,
    clear,
    first_offset,
    is_set,
    mask,
    packed,
    running_xor,
    set_,
    set_from,
    shifted,
)
from orchestrator.source.blocks import CARRIAGE_RETURN, LINE_FEED, QUOTE, Block
from orchestrator.source.oddities import Oddity
from orchestrator.source.walk import State, Walk, behind_quote, cell_end, in_text, walk

REPAIRS_MAX: Final = 24  # of one block; more cost as much as the exact machine
BLOCKS_WALKED: Final = 8  # with the exact machine, once it was needed

Odd = list[tuple[int, Oddity]]


@dataclass(slots=True, kw_only=True)
class Scan:
    """What one block holds; the masks have one bit a byte, and are good until the next block is scanned."""

    line_feeds: Words
    ends: Words  # the line feeds outside quotes
    delimiters: Words  # those outside quotes
    carriage_returns: Words | None  # those outside quotes; None: the block holds none at all
    state: State  # behind the block's last byte
    odd: Odd  # the first byte that makes a cell odd, once a cell


class Scanner:
    """Scans blocks of one file in arrays that are made once."""

    def __init__(self, delimiter: int, bytes_max: int) -> None:
        """Make room for blocks of so many bytes."""
        words = -(-bytes_max // WORD_BITS)
        self._delimiter = delimiter
        self._flags = np.empty(words * WORD_BITS, np.bool_)
        self._rooms = np.empty((6, words), np.uint64)
        self._walks_left = 0

    def scan(self, block: Block, state: State, before: bytes) -> Scan:
        """Find the record ends of a block that begins in ``state``, behind the bytes ``before``."""
        values, flags = block.values[: block.words * WORD_BITS], self._flags[: block.words * WORD_BITS]
        line_feeds = block.line_feeds
        delimiters = mask(values, self._delimiter, flags)
        carriage_returns = mask(values, CARRIAGE_RETURN, flags) if block.holds(CARRIAGE_RETURN) else None
        seen = Scan(
            line_feeds=line_feeds,
            ends=line_feeds,
            delimiters=delimiters,
            carriage_returns=carriage_returns,
            state=state,
            odd=[],
        )
        if state is not State.CLOSING and not block.holds(QUOTE):
            if state is State.QUOTED:
                seen.ends = seen.delimiters = np.zeros_like(line_feeds)
                seen.carriage_returns = None if carriage_returns is None else seen.ends
            else:
                seen.state = self._state_outside(block, seen, odd=state is State.ODD)
            return seen
        if self._walks_left:
            self._walks_left -= 1
        elif self._repair(block, seen, mask(values, QUOTE, flags), state, before):
            return seen
        else:
            self._walks_left = BLOCKS_WALKED
        self._take(seen, walk(block.data[: block.size], self._delimiter, state, before))
        return seen

    def _take(self, seen: Scan, walked: Walk) -> None:
        """Take over what the exact machine saw."""
        flags = self._flags[: len(seen.line_feeds) * WORD_BITS]
        flags[:] = False
        turns = np.array(walked.begins + walked.stops, np.int64)
        flags[turns[turns < len(flags)]] = True
        inside = running_xor(packed(flags), 0, *self._rooms[:2, : len(seen.line_feeds)])
        np.bitwise_not(inside, out=inside)
        seen.ends = seen.line_feeds & inside
        seen.delimiters = seen.delimiters & inside
        if seen.carriage_returns is not None:
            seen.carriage_returns = seen.carriage_returns & inside
        seen.state, seen.odd = walked.state, walked.odd

    def _repair(self, block: Block, seen: Scan, quotes: Words, state: State, before: bytes) -> bool:
        """Find the record ends with masks, repairing them if need be; False if they need too much of it."""
        inside, closing, behind_closing, wrong, may_open, may_follow = self._rooms[:, : block.words]
        np.bitwise_or(seen.delimiters, seen.line_feeds, out=may_follow)
        shifted(may_follow, state is State.START, may_open)
        if seen.carriage_returns is not None:
            may_follow |= seen.carriage_returns
        np.bitwise_or(may_follow, quotes, out=may_follow)
        set_from(may_follow, block.size)  # behind the last byte the next block decides
        data, size = block.data, block.size
        odd_until = -1
        if state is State.ODD:
            odd_until = self._clear(block, quotes, 0)
        at, odd, carry = 0, state is State.QUOTED, state is State.CLOSING
        for _ in range(REPAIRS_MAX):
            here = slice(at, None)
            running_xor(quotes[here], odd, inside[here], wrong[here])
            np.bitwise_and(quotes[here], inside[here], out=wrong[here])
            np.bitwise_xor(quotes[here], wrong[here], out=closing[here])
            shifted(closing[here], carry, behind_closing[here])
            wrong[here] &= ~(may_open[here] | behind_closing[here])
            wrong[here] |= behind_closing[here] & ~may_follow[here]
            first = first_offset(wrong[here])
            if first is None:
                break
            offset = at * WORD_BITS + first
            if is_set(behind_closing, offset):
                seen.odd.append((offset, behind_quote(data, offset, before)))
                set_(may_follow, offset)
            else:
                seen.odd.append((offset, in_text(data, offset, self._delimiter, before)))
            odd_until = self._clear(block, quotes, offset)
            at = offset // WORD_BITS
            if at:
                odd = is_set(inside, at * WORD_BITS - 1)
                carry = is_set(closing, at * WORD_BITS - 1)
        else:
            seen.odd = []
            return False
        if is_set(inside, size - 1):
            seen.state = State.QUOTED
        elif is_set(quotes, size - 1):
            seen.state = State.CLOSING
        elif data[size - 1] in (self._delimiter, LINE_FEED):
            seen.state = State.START
        else:
            seen.state = State.ODD if odd_until == size else State.PLAIN
        np.bitwise_not(inside, out=inside)
        seen.ends = np.bitwise_and(seen.line_feeds, inside, out=closing)
        seen.delimiters &= inside
        if seen.carriage_returns is not None:
            seen.carriage_returns &= inside
        return True

    def _clear(self, block: Block, quotes: Words, start: int) -> int:
        """Take the quotes out that are text in the rest of a cell; return where that ends."""
        stop = min(cell_end(block.data, start, self._delimiter), block.size)
        quote = block.data.find(QUOTE, start, stop)
        while quote >= 0:
            clear(quotes, quote)
            quote = block.data.find(QUOTE, quote + 1, stop)
        return stop

    def _state_outside(self, block: Block, seen: Scan, *, odd: bool) -> State:
        if block.data[block.size - 1] in (self._delimiter, LINE_FEED):
            return State.START
        return State.ODD if odd and not seen.line_feeds.any() and not seen.delimiters.any() else State.PLAIN


def blank_ends(seen: Scan, *, record_starts: bool, carriage_return_starts: bool) -> Words:
    """Mark those record ends that end a blank line.

    ``record_starts``: the block's first byte starts a record.  ``carriage_return_starts``: the record that
    reaches into this block has, so far, one carriage return and nothing else.
    """
    starts = shifted(seen.ends, record_starts, np.empty_like(seen.ends))
    if seen.carriage_returns is None and not carriage_return_starts:
        return np.bitwise_and(starts, seen.ends, out=starts)
    blank = starts & seen.ends
    lone = np.zeros_like(starts) if seen.carriage_returns is None else starts & seen.carriage_returns
    blank |= seen.ends & shifted(lone, carry=carriage_return_starts, out=np.empty_like(lone))
    return blank
