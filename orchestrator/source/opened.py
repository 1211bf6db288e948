"""Sources as they were named, and as they can be planned.

Whatever a source is, it is opened first: what comes of it is a file that can be read at random and holds UTF-8
text whose records end with line feeds.  A file that is like that already is opened as it stands, so nothing is
copied of it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.model import Format
from orchestrator.source.split import Plan, plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """A source as the user named it, and where it is."""

    given: str  # what messages and reports name
    absolute: str

    @classmethod
    def at(cls, path: str | os.PathLike[str]) -> Located:
        """Return a file under the name that it was given."""
        return cls(given=os.fspath(path), absolute=str(Path(path).absolute()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A source as a file that can be planned."""

    index: int  # its place in the job
    located: Located
    content: str  # absolute path of the file that is planned, and later sent from
    encoding: str = "utf-8"  # of the source; ``content`` is UTF-8
    notes: tuple[str, ...] = ()  # for people: what is odd about the source, or was done to it


def open_source(located: Located, *, index: int) -> Opened:
    """Make a source one that can be planned."""
    return Opened(index=index, located=located, content=located.absolute)


def plan_all(
    located: Sequence[Located],
    *,
    format: Format | None,
    part_bytes_max: int,
    rows_max: int,
    allow_empty: bool = False,
) -> tuple[Plan, ...]:
    """Open every source, read it once and cut it into chunks; busy as long as reading takes.

    Raises:
        SourceError: a source cannot be imported as it is.

    """
    return tuple(
        _plan(
            open_source(each, index=index),
            format=format,
            part_bytes_max=part_bytes_max,
            rows_max=rows_max,
            allow_empty=allow_empty,
        )
        for index, each in enumerate(located)
    )


def _plan(opened: Opened, *, format: Format | None, part_bytes_max: int, rows_max: int, allow_empty: bool) -> Plan:
    """Cut an opened source into chunks; whatever else changes its content on the way stands before this."""
    found = plan(
        opened.content,
        index=opened.index,
        given=opened.located.given,
        absolute=opened.located.absolute,
        encoding=opened.encoding,
        format=format,
        part_bytes_max=part_bytes_max,
        rows_max=rows_max,
        allow_empty=allow_empty,
    )
    return replace(found, warnings=(*opened.notes, *found.warnings))
