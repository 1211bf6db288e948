"""Fitting words and tables into the width of a terminal; where nobody looks, everything stays as it is."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

from orchestrator.cli.words import table

WIDTH_MIN = 40  # a narrower terminal wraps by itself

_GLUE = "\x00"  # a space where a line does not end
# What is copied and typed: a command with the words behind it up to a comma or the like, and all its flags.
_COMMAND = re.compile(
    r"\borchestrator [a-z][\w.-]*(?: (?:[A-Z]+\b|--?\w[\w-]*(?:[ =](?!-)(?:'[^']*'|[^\s',;]+))?|\d{8}-[\w-]+))*"
    r"|--set \S+|pip install \S+|\S*://\S+"
)
_LABEL = re.compile(r"\s*(?:- |\S+(?: \S+)?\s{2,})?")  # what later lines are indented by
_VERBATIM = re.compile(r"\s*(?:Next:|Nothing was sent|Report:|orchestrator |open |export |\$ |\S+$)")


def wrapped(text: str, width: int | None) -> str:
    """Break lines at words, with a hanging indent; commands and addresses stay whole.  None: leave them."""
    if width is None or width < WIDTH_MIN:
        return text
    return "\n".join(_folded(line, width) for line in text.split("\n"))


def _folded(line: str, width: int) -> str:
    if len(line) <= width or _VERBATIM.match(line):
        return line
    label = _LABEL.match(line)
    indent = " " * min(len(label[0]) if label else 0, width // 2)
    glued = _COMMAND.sub(lambda found: found[0].replace(" ", _GLUE), line)
    lines = textwrap.wrap(
        glued, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, expand_tabs=False
    )
    return "\n".join(lines).replace(_GLUE, " ")


def fitted(
    lines: Sequence[Sequence[str]], width: int | None, *, right: Sequence[str] = (), spare: Sequence[str] = ()
) -> list[str]:
    """Lay out a table whose first line has the names of the columns; leave those to ``spare`` out until it fits.

    ``right`` names the columns that are flush right.
    """
    made: list[str] = []
    for count in range(len(spare) + 1):
        kept = [place for place, name in enumerate(lines[0]) if name not in spare[:count]]
        flush = tuple(at for at, place in enumerate(kept) if lines[0][place] in right)
        made = table([[line[place] for place in kept] for line in lines], right=flush)
        if width is None or max(map(len, made)) <= width:
            return made
    return made
