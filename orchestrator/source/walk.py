"""The exact machine over a piece of text: slower than masks, never wrong.

A regular expression jumps from cell to cell that has a quote in it.  Every match ends where that cell ends, so the
next quote found is in another cell: at its beginning, where it opens, or further on, where it is text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from orchestrator.source.bits import Offsets
from orchestrator.source.blocks import CARRIAGE_RETURN, LINE_FEED, QUOTE
from orchestrator.source.oddities import Oddity

_BLANK, _BACKSLASH = b" \\"
BEFORE_BYTES = 2  # how far back one must see to tell one oddity from another
FILE_STARTS = b"\n\n"  # what may stand before the first byte of all


class State(Enum):
    """Where the machine stands between two bytes."""

    START = "start"  # a cell begins
    PLAIN = "plain"  # inside a cell, outside quotes, quotes are text
    ODD = "odd"  # the same, in a cell that is known to be odd
    QUOTED = "quoted"  # inside quotes
    CLOSING = "closing"  # behind a quote inside quotes: it closed, or it is the first of an escaped pair


@dataclass(slots=True, kw_only=True)
class Walk:
    """What the exact machine saw of one block."""

    block: bytes | bytearray
    state: State  # behind the block's last byte
    begins: list[int] = field(
        default_factory=list
    )  # of quoted stretches: their quotes, or 0 if the block begins inside
    stops: list[int] = field(default_factory=list)  # of each: behind the closing quote, or the block's end
    odd: list[tuple[int, Oddity]] = field(default_factory=list)  # the first byte that makes a cell odd, once a cell
    opened_at: int | None = None  # where the last quoted cell that began in this block begins

    @property
    def ends(self) -> Offsets:
        """The line feeds outside quotes: as many quoted stretches have stopped as have begun before one."""
        ends: Offsets = np.flatnonzero(np.frombuffer(self.block, np.uint8) == LINE_FEED)
        begun = np.searchsorted(np.array(self.begins, np.int64), ends, side="right")
        outside = begun == np.searchsorted(np.array(self.stops, np.int64), ends, side="right")
        return ends.compress(outside)


def walk(block: bytes | bytearray, delimiter: int, state: State, before: bytes = FILE_STARTS) -> Walk:
    """Run the machine over a block that is not empty, begins in ``state`` and stands behind ``before``."""
    first_cell, next_cell = _CELLS[delimiter]
    walked = Walk(block=block, state=State.START if block[-1] in (delimiter, LINE_FEED) else State.PLAIN)
    at = 0
    if state is State.QUOTED or (block[0] == QUOTE and state in (State.START, State.CLOSING)):
        if state is State.START:
            walked.opened_at = 0
        at = _take_quoted(walked, 0, first_cell, 0 if state is State.QUOTED else 1, before)
    elif state is State.ODD or (state is State.CLOSING and block[0] not in (delimiter, LINE_FEED, CARRIAGE_RETURN)):
        if state is State.CLOSING:
            walked.odd.append((0, behind_quote(block, 0, before)))
        at = cell_end(block, 0, delimiter)
        if at == len(block):
            walked.state = State.ODD
    for found in next_cell.finditer(block, at):
        if found["quote"] is None:
            walked.odd.append((found.start(), in_text(block, found.start(), delimiter, before)))
            if found.end() == len(block):
                walked.state = State.ODD
        else:
            walked.opened_at = found.start()
            _take(walked, found.start(), found, before)
    return walked


def _take_quoted(walked: Walk, begin: int, pattern: re.Pattern[bytes], inside: int, before: bytes) -> int:
    """Take the quoted cell that the block begins with; return where it ends."""
    found = pattern.match(walked.block, inside)
    assert found is not None  # it matches anything
    _take(walked, begin, found, before)
    return found.end()


def _take(walked: Walk, begin: int, found: re.Match[bytes], before: bytes) -> None:
    """Take a quoted cell, or what is left of it."""
    block, stop = walked.block, found.end("quote")
    walked.begins.append(begin)
    walked.stops.append(stop)
    at_end = found.end() == len(block)
    if not found["quote"]:
        walked.state = State.QUOTED
    elif stop == found.end():
        if at_end:
            walked.state = State.CLOSING
    else:
        if block[stop] != CARRIAGE_RETURN:
            walked.odd.append((stop, behind_quote(block, stop, before)))
        elif (quote := block.find(QUOTE, stop, found.end())) >= 0:
            walked.odd.append((quote, Oddity.QUOTE_IN_TEXT))
        else:
            return
        if at_end:
            walked.state = State.ODD


def cell_end(block: bytes | bytearray, start: int, delimiter: int) -> int:
    """Return where a cell ends that goes on at ``start``, outside quotes: at a delimiter, a line feed, or the end."""
    line_end = block.find(LINE_FEED, start)
    stop = line_end if line_end >= 0 else len(block)
    end = block.find(delimiter, start, stop)
    return end if end >= 0 else stop


def in_text(block: bytes | bytearray, offset: int, delimiter: int, before: bytes) -> Oddity:
    """Tell what a quote means that does not begin its cell."""
    far, near = _before(block, offset, before)
    return Oddity.BLANK_BEFORE_QUOTE if near == _BLANK and far in (delimiter, LINE_FEED) else Oddity.QUOTE_IN_TEXT


def behind_quote(block: bytes | bytearray, offset: int, before: bytes) -> Oddity:
    """Tell what text behind a closing quote means."""
    far, _ = _before(block, offset, before)
    return Oddity.BACKSLASH_BEFORE_QUOTE if far == _BACKSLASH else Oddity.TEXT_BEHIND_QUOTE


def _before(block: bytes | bytearray, offset: int, before: bytes) -> bytes:
    """Return the two bytes that stand before one."""
    start = offset - BEFORE_BYTES
    return bytes(block[start:offset]) if start >= 0 else (before + bytes(block[:offset]))[-BEFORE_BYTES:]


def _cells(delimiter: int) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """Return what the rest of a quoted cell is, and what finds the next cell with a quote in it.

    The second one begins with the quote and looks back from there, because the engine finds a literal much faster
    than a class of characters.
    """
    mark = re.escape(bytes([delimiter]))
    rest = rb"[^" + mark + rb"\n]*+"
    quoted = rb'[^"]*+(?:""[^"]*+)*+(?P<quote>"?)' + rest
    return re.compile(quoted), re.compile(rb'"(?:(?<=[\n' + mark + rb']")' + quoted + rb"|" + rest + rb")")


_CELLS = {delimiter: _cells(delimiter) for delimiter in b",;\t"}
