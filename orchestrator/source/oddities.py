"""What may be odd about a file that can be read all the same, and how it is told: once a kind, with line and count.

Each kind has its line in ``docs/how-to/malformed-files.md``.  No message holds anything of a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Oddity(Enum):
    """A kind of oddity; the value says what was found, and what is made of it."""

    QUOTE_IN_TEXT = "cell(s) hold a quote without beginning with one; it is read as text"
    BLANK_BEFORE_QUOTE = (
        "cell(s) have a blank before their first quote, so their quotes are text and enclose nothing; "
        "remove the blank if they should"
    )
    TEXT_BEHIND_QUOTE = (
        "cell(s) go on behind their closing quote; what follows is read as text of the cell. "
        "Inside quotes, a quote is written twice"
    )
    BACKSLASH_BEFORE_QUOTE = (
        "cell(s) seem to escape a quote with a backslash; here a backslash is text, and the quote behind it closes "
        "the cell. Write such a quote twice"
    )
    CELLS_MISSING = "row(s) have fewer cells than the header; they are sent as they stand; a mapping adds empty cells"
    CELLS_LEFT_OVER = (
        "row(s) have more cells than the header; they are sent as they stand; a mapping leaves the surplus out. "
        "A cell with the delimiter in it needs quotes around it"
    )
    OTHER_LINE_END = "line(s) end otherwise than the header does (LF or CRLF); both ends are understood"
    LONE_CARRIAGE_RETURN = (
        "carriage return(s) outside quotes have no line feed behind them; they are read as text of the cell and end no "
        "row. Write line ends as LF"
    )
    BLANK_LINE = "line(s) are blank; they are no rows"
    NUL = "NUL byte(s) stand in the data; they are sent as they stand"


@dataclass(slots=True)
class _Seen:
    line: int
    count: int


class Oddities:
    """A count of each kind, and the line where it was seen first."""

    def __init__(self) -> None:
        """Begin with nothing odd."""
        self._seen: dict[Oddity, _Seen] = {}

    def __contains__(self, kind: Oddity) -> bool:
        """Tell whether a kind was seen, so that its first line is known."""
        return kind in self._seen

    def note(self, kind: Oddity, count: int, *, line: int) -> None:
        """Count a kind; ``line`` is that of the first of these and ignored if one was seen before."""
        self._seen.setdefault(kind, _Seen(line, 0)).count += count

    def count(self, kind: Oddity) -> int:
        """Return how often a kind was seen."""
        return self._seen[kind].count if kind in self._seen else 0

    def told(self, name: str, *, lines: int) -> tuple[str, ...]:
        """Return one warning for each kind that was seen, of a file of this name and so many lines.

        A single blank line that is the last of all is too common to be told.
        """
        blank = self._seen.get(Oddity.BLANK_LINE)
        untold = Oddity.BLANK_LINE if blank == _Seen(line=lines, count=1) else None
        return tuple(
            f"{name}: from line {self._seen[kind].line} on, {self._seen[kind].count:,} {kind.value}."
            for kind in Oddity
            if kind in self._seen and kind is not untold
        )
