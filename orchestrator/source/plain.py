"""The normal form of keys, of all cells of a column in one block at once.

Nearly all keys are short, of ASCII, and quoted wholly or not at all.  Their normal form (`normal`) is a piece of the
block itself, in lower case, so only its borders are moved inwards: over quotes, blanks, a number's sign and its zeros.
A cell for which that does not do is *exact*: it is read by the record machine and normalised as text.  Cells are judged
by their bytes alone:

- A cell that begins in an earlier block, or has a byte beyond ASCII, is exact.
- Blanks at the cell's end go first; behind a closing quote they are text that normalising removes as well.
- A cell that begins with a quote loses that and the one at its end.  If there is none, or a third quote between them,
  it is exact.  Any other quote is text.
- Blanks on both sides go, for a few steps; a cell that has more is exact.
- A cell of more than 64 KiB is cut; all keys that begin like it match, but no field of Marketo holds such a key.
- What then begins with a digit or a sign, and ends with a digit or a point, may be a number.  Only digits and at most
  one point behind the sign make one; with a point, those that end with ``.`` or ``.0`` are dealt with here, others are
  exact.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Final

import numpy as np

from orchestrator import records
from orchestrator.source.bits import WORD_BITS, Bytes, Flags, Offsets, Tally, packed
from orchestrator.source.blocks import QUOTE, Block
from orchestrator.source.mixing import TEXT_BYTES_MAX, WORD_BYTES, Texts, shortened
from orchestrator.source.normal import ASCII_BLANKS, normalised

ASCII_END: Final = 0x80  # the first byte beyond ASCII
CELL_BYTES_MAX: Final = 65_536  # beside blanks in front; Marketo's longest fields hold 30,000, and the rest matches all
STEPS_MAX: Final = 24  # over blanks or zeros at one side of a cell
_POINT, _ZERO = b".0"
_LOWER: Final = bytes.maketrans(string.ascii_uppercase.encode(), string.ascii_lowercase.encode())


def _table(of: str) -> Flags:
    table = np.zeros(256, np.bool_)
    table[list(of.encode())] = True
    return table


_IS_BLANK, _IS_DIGIT, _IS_SIGN, _IS_ZERO = map(_table, (ASCII_BLANKS, string.digits, "+-", "0"))


class PlainBlock:
    """One block of a chunk in lower case, and what is counted in it."""

    def __init__(self, data: bytes, block: Block, delimiter: str) -> None:
        """Take a block of ``data``."""
        self._data = data
        self._offset = block.offset
        self._delimiter = delimiter
        lower = bytes(block.view[: block.words * WORD_BITS]).translate(_LOWER)
        self._values: Bytes = np.frombuffer(lower + bytes(WORD_BYTES), np.uint8)
        self._quotes = self._tally(self._values == QUOTE) if block.holds(QUOTE) else None
        self._foreign = None if block.is_ascii else self._tally(self._values >= ASCII_END)

    def normal(self, starts: Offsets, ends: Offsets) -> Texts:
        """Return the normal form of cells; an empty text for those that are no key."""
        cells = _Cells(self._values, starts.copy(), ends.copy())
        cells.give_up(np.flatnonzero(starts < 0))
        if self._foreign is not None:
            cells.give_up(np.flatnonzero(self._foreign.within(cells.starts, cells.ends)))
        cells.trim_end()
        if self._quotes is not None:
            cells.unquote(self._quotes)
            cells.trim_end()
        cells.trim_start()
        numbers = cells.like_numbers()
        if len(numbers):
            points = self._values == _POINT
            others = self._tally(~(_IS_DIGIT[self._values] | points))
            cells.simplify(numbers, self._tally(points), others)
        cells.give_up(np.flatnonzero(cells.ends - cells.starts > TEXT_BYTES_MAX))
        return self._with_exact(cells, np.flatnonzero(cells.is_exact), starts, ends)

    def _with_exact(self, cells: _Cells, exact: Offsets, starts: Offsets, ends: Offsets) -> Texts:
        """Put the texts of exact cells behind the block."""
        if len(exact) == 0:
            return self._values, cells.starts, cells.ends
        borders = [*zip((starts[exact] + self._offset).tolist(), (ends[exact] + self._offset).tolist(), strict=True)]
        texts = [shortened(text.encode("utf-8", "surrogatepass")) for text in normalised(self._texts(borders))]
        lengths = np.fromiter(map(len, texts), np.int64, len(exact))
        cells.ends[exact] = len(self._values) + np.cumsum(lengths)
        cells.starts[exact] = cells.ends[exact] - lengths
        behind = np.frombuffer(b"".join((*texts, bytes(WORD_BYTES))), np.uint8)
        return np.concatenate((self._values, behind)), cells.starts, cells.ends

    def _texts(self, borders: Sequence[tuple[int, int]]) -> list[str]:
        """Read cells with the record machine, all at once if none has to be cut.

        A delimiter in front keeps an empty one from being a blank line.  One that lacks its closing quote would take in
        those behind it, but either it is the data's last one, or it was cut.
        """
        mark = self._delimiter.encode()
        raw = [mark + self._raw(start, end) for start, end in borders]
        is_cut = any(end - start > CELL_BYTES_MAX for start, end in borders)
        pieces = raw if is_cut else [b"\n".join(raw)]
        return [cells[1] for piece in pieces for _, cells in records.split(piece, self._delimiter)]

    def _raw(self, start: int, end: int) -> bytes:
        if end - start <= CELL_BYTES_MAX:
            return self._data[start:end]
        quote = b'"' if self._data[start] == QUOTE else b""
        return quote + self._data[start + len(quote) : end].lstrip(ASCII_BLANKS.encode())[:CELL_BYTES_MAX]

    def _tally(self, flags: Flags) -> Tally:
        return Tally(packed(flags[:-WORD_BYTES]))


class _Cells:
    """Cells whose borders are moved inwards; one that is given up is exact, and empty here."""

    def __init__(self, values: Bytes, starts: Offsets, ends: Offsets) -> None:
        self.starts = starts
        self.ends = ends
        self.is_exact = np.zeros(len(starts), np.bool_)
        self._values = values

    def give_up(self, at: Offsets) -> None:
        self.is_exact[at] = True
        self.starts[at] = self.ends[at] = 0

    def trim_start(self) -> None:
        self._move_starts(np.arange(len(self.starts)), _IS_BLANK, least=0)

    def trim_end(self) -> None:
        at = np.flatnonzero(self.starts < self.ends)
        for _ in range(STEPS_MAX):
            at = at[_IS_BLANK[self._values[self.ends[at] - 1]]]
            if len(at) == 0:
                return
            self.ends[at] -= 1
            at = at[self.starts[at] < self.ends[at]]
        self.give_up(at)

    def unquote(self, quotes: Tally) -> None:
        """Take the quotes off cells that begin with one."""
        at = np.flatnonzero((self._values[self.starts] == QUOTE) & (self.starts < self.ends))
        starts, ends = self.starts[at] + 1, self.ends[at] - 1
        is_plain = (starts <= ends) & (self._values[ends] == QUOTE)
        is_plain &= quotes.within(starts, np.maximum(starts, ends)) == 0
        self.starts[at], self.ends[at] = starts, ends
        self.give_up(at[~is_plain])

    def like_numbers(self) -> Offsets:
        """Return the cells that begin and end as a whole number may."""
        at: Offsets = np.flatnonzero(self.starts < self.ends)
        first = self._values[self.starts[at]]
        at = at[_IS_DIGIT[first] | _IS_SIGN[first]]
        last = self._values[self.ends[at] - 1]
        return at.compress(_IS_DIGIT[last] | (last == _POINT))

    def simplify(self, at: Offsets, points: Tally, others: Tally) -> None:
        """Leave nothing of a whole number but its digits from the first on that counts; other cells as they are."""
        starts, ends = self.starts[at], self.ends[at]
        starts = starts + _IS_SIGN[self._values[starts]]
        with_points = points.within(starts, ends)
        is_number = (others.within(starts, ends) == 0) & (with_points <= 1)
        at, starts, ends, has_point = (each[is_number] for each in (at, starts, ends, with_points == 1))
        is_zero = self._values[ends - 1] == _ZERO
        ends = ends - has_point * (1 + is_zero.astype(np.int64))  # if that was not `.` or `.0`, there still is a point
        is_plain = (starts < ends) & (points.within(starts, np.maximum(starts, ends)) == 0)
        self.give_up(at[~is_plain])
        at = at[is_plain]
        self.starts[at], self.ends[at] = starts[is_plain], ends[is_plain]
        self._move_starts(at, _IS_ZERO, least=1)

    def _move_starts(self, at: Offsets, over: Flags, *, least: int) -> None:
        """Move starts behind certain bytes as long as so many bytes are left."""
        for _ in range(STEPS_MAX):
            at = at[self.ends[at] - self.starts[at] > least]
            at = at[over[self._values[self.starts[at]]]]
            if len(at) == 0:
                return
            self.starts[at] += 1
        self.give_up(at)
