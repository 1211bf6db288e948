"""Copies of sources with other records than their own: some changed, or some left out.

Where the rows of such a copy stood in the source is written beside it, and kept as long as anything of the job is,
because reports tell rows by their places in the source.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from orchestrator.model import MappedColumns, Original, Source
from orchestrator.source.opened import Reading
from orchestrator.source.places import ENTRY_BYTES, Places
from orchestrator.source.split import Plan, plan
from orchestrator.source.spool import Copy, Workspace


class Rewritten:
    """The copy of one source while it is written, and when it is planned."""

    def __init__(self, source: Source, content: Copy, places: Copy) -> None:
        self._source = source
        self._content = content
        self._places = places

    def write(self, data: bytes) -> None:
        """Append to the content."""
        self._content.write(data)

    def place(self, places: Places) -> None:
        """Say where the next rows stood in the original."""
        self._places.write(places.tobytes())

    def planned(self, reading: Reading, *, mapped: MappedColumns | None, superseded: int = 0) -> Plan:
        """Cut the finished copy into chunks of the source that it stands for."""
        source = self._source
        found = plan(
            self._content.path,
            index=source.index,
            given=source.path,
            absolute=source.absolute,
            encoding=source.encoding,
            format=source.format,
            part_bytes_max=reading.part_bytes_max,
            rows_max=reading.rows_max,
            allow_empty=True,
        )
        original = source.original or Original(path=source.content, identity=source.identity, places="")
        sent = replace(
            found.source,
            sha256=source.sha256,
            columns=source.columns,
            mapped=mapped,
            rows=source.rows,
            superseded=superseded,
            blank_lines=source.blank_lines,
            original=replace(original, places=str(self._places.path)),
        )
        return replace(found, source=sent)


@contextmanager
def rewriting(workspace: Workspace, source: Source, kind: str) -> Iterator[Rewritten]:
    """Write a copy of a source; when the block ends, it is on the disk whole, or not there at all.

    Raises:
        SourceError: there is no room for it, or it cannot be written.
        Stopped: nobody waits for it any longer.

    """
    name = f"{source.index}.{kind}"
    places = workspace.kept / "places" / name
    with (
        workspace.copy(name, of=source.path, bytes_expected=source.identity.size_bytes) as content,
        Copy(workspace, places, source.path, source.rows * ENTRY_BYTES) as entries,
    ):
        yield Rewritten(source, content, entries)


def remove_copy(source: Source) -> None:
    """Remove the copy that a source would have been sent from; another one was made of it."""
    if source.original is not None:
        for path in (source.content, source.original.places):
            with suppress(OSError):
                Path(path).unlink()
