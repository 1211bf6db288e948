"""Sources as they were named, and as they can be planned.

Whatever a source is, it is opened first: what comes of it is a file that can be read at random and holds UTF-8
text whose records end with line feeds.  A file that is like that already is opened as it stands, and nothing is
copied.  That it is UTF-8 to its last byte is found out by planning it, which reads it anyway; only if it is not,
it is looked at again, and a copy is made.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from orchestrator.errors import EncodingError, SourceError
from orchestrator.model import Format
from orchestrator.source import containers, encodings
from orchestrator.source.detect import NotUtf8, refuse_what_is_no_text
from orchestrator.source.encodings import Basis, Encoding
from orchestrator.source.opening import identity_of, inspect, open_regular, still_written
from orchestrator.source.split import Plan, plan
from orchestrator.source.spool import Workspace
from orchestrator.source.transcode import BLOCK_BYTES, HEAD_BYTES, ends_with_returns, to_utf8

STDIN: Final = "-"  # as a source; a file of that name is ./-
STDIN_DESCRIPTOR: Final = 0


WITHHELD: Final = "?"  # at the end of a URL: there was more, which is a secret


def is_url(text: str) -> bool:
    """Tell whether a source is to be fetched."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None


def without_secrets(url: str) -> str:
    """Return a URL without credentials, query and fragment."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def shown_source(path: str | os.PathLike[str]) -> str:
    """Return a source as its user wrote it, a URL without its secrets."""
    given = os.fspath(path)
    return without_secrets(given) if is_url(given) else given


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """A source as the user named it, and where it is."""

    given: str  # what reports name
    absolute: str  # or `STDIN`
    live: bool = True  # whether it is named by this process, so that standard input is the one that was meant
    address: str | None = field(default=None, repr=False)  # of a URL, with its secrets; None: `absolute` is all of it
    fetched: str | None = None  # path of the copy of a URL

    @property
    def name(self) -> str:
        """What messages name."""
        return "standard input" if self.is_stdin else self.given

    @property
    def is_url(self) -> bool:
        """Whether it is to be fetched."""
        return is_url(self.absolute)

    @property
    def is_stdin(self) -> bool:
        """Whether it comes through standard input."""
        return self.absolute == STDIN

    @classmethod
    def at(cls, path: str | os.PathLike[str]) -> Located:
        """Return a file, standard input or a URL under the name that it was given, without secrets."""
        given = os.fspath(path)
        if is_url(given):
            shown = without_secrets(given)
            return cls(given=shown, absolute=shown if shown == given else shown + WITHHELD, address=given)
        return cls(given=given, absolute=STDIN if given == STDIN else str(Path(path).absolute()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A source as a file that can be planned."""

    index: int  # its place in the job
    located: Located
    content: str  # absolute path of the file that is planned, and later sent from
    encoding: Encoding  # of the source; ``content`` is UTF-8
    notes: tuple[str, ...] = ()  # for people: what is odd about the source, or was done to it


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How the sources of one job are read."""

    workspace: Workspace  # where copies are made
    part_bytes_max: int  # of header and records in one upload
    rows_max: int  # in one upload
    format: Format | None = None  # None: detected
    encoding: str | None = None  # None: detected
    allow_empty: bool = False


def plan_all(located: Sequence[Located], reading: Reading) -> tuple[Plan, ...]:
    """Open every source, read it and cut it into chunks; busy as long as reading takes.

    If it cannot be done, no copy is left.

    Raises:
        SourceError: a source cannot be imported as it is.
        Stopped: nobody waits for it any longer.

    """
    try:
        opened: list[Opened] = []
        plans: list[Plan] = []
        for index, each in enumerate(located):
            source, planned = _read(each, index, reading)
            opened.append(source)
            plans.append(planned)
        _refuse_disagreement(opened)
    except BaseException:
        reading.workspace.clear()
        raise
    return tuple(plans)


def _read(located: Located, index: int, reading: Reading) -> tuple[Opened, Plan]:
    path = _plain(located, index, reading)
    with io.BufferedReader(open_regular(path)) as file:
        head = file.read(HEAD_BYTES)
        refuse_what_is_no_text(head, located.name)
        encoding = encodings.begin(head, reading.encoding)
        try:
            opened = _as_utf8(located, path, index, reading, encoding, head)
            return opened, _plan(opened, reading)
        except NotUtf8 as error:
            if encoding.basis is not Basis.VALID:
                raise
            size = os.fstat(file.fileno()).st_size
            encoding = encodings.guess(file, size, refusal=error, name=located.name)
        opened = _as_utf8(located, path, index, reading, encoding, head)
        return opened, _plan(opened, reading)


def _plain(located: Located, index: int, reading: Reading) -> Path:
    """Return a file with the text of a source, as it is encoded there: itself, or what is in it."""
    name, workspace = located.name, reading.workspace
    path = Path(located.fetched or located.absolute)
    if located.is_stdin:
        if not located.live:
            raise SourceError(
                "standard input: the process that read it was stopped before it had all of it, and what it had is "
                "gone. Import it again, as a new job."
            )
        path = containers.received(STDIN_DESCRIPTOR, workspace=workspace, stem=str(index), name=name)
    inspect(path, given=name, allow_empty=reading.allow_empty)
    plain = containers.unpacked(path, workspace=workspace, stem=str(index), name=name)
    if plain != path:
        inspect(plain, given=name, allow_empty=reading.allow_empty)
        workspace.drop(path)
    return plain


def _plan(opened: Opened, reading: Reading) -> Plan:
    """Cut an opened source into chunks."""
    found = plan(
        opened.content,
        index=opened.index,
        given=opened.located.given,
        absolute=opened.located.absolute,
        encoding=opened.encoding.name,
        format=reading.format,
        part_bytes_max=reading.part_bytes_max,
        rows_max=reading.rows_max,
        allow_empty=reading.allow_empty,
    )
    return replace(found, warnings=(*opened.notes, *found.warnings))


def _as_utf8(located: Located, path: Path, index: int, reading: Reading, encoding: Encoding, head: bytes) -> Opened:
    """Open the text of a source as it is, if it can be sent so, else make a copy."""
    returns = ends_with_returns(head, encoding)
    opened = Opened(
        index=index,
        located=located,
        content=str(path),
        encoding=encoding,
        notes=tuple(_notes(located.name, encoding, returns=returns)),
    )
    if encoding.is_utf8 and not returns:
        return opened
    name = located.name
    with (
        open_regular(path) as file,
        reading.workspace.copy(f"{index}.utf8", of=name, bytes_expected=path.stat().st_size) as copy,
    ):
        identity = identity_of(os.fstat(file.fileno()))
        blocks = iter(lambda: file.read(BLOCK_BYTES), b"")
        for text in to_utf8(blocks, encoding, returns=returns, name=name):
            copy.write(text)
        if identity_of(os.fstat(file.fileno())) != identity:
            raise still_written(name)
    reading.workspace.drop(path)
    return replace(opened, content=str(copy.path))


def _notes(name: str, encoding: Encoding, *, returns: bool) -> Iterator[str]:
    if encoding.basis is Basis.GUESSED:
        yield (
            f"{name}: it does not say which encoding it is in; it is read as {encoding.name}, which is a guess. If "
            "names look wrong in what orchestrator check shows, give the right one with --encoding NAME."
        )
    if returns:
        yield f"{name}: its lines end with carriage returns alone; they are sent with line feeds."


def _refuse_disagreement(opened: Sequence[Opened]) -> None:
    """Refuse files of one job that seem to be in different encodings, of which a guess may be wrong."""
    unmarked = [each for each in opened if each.encoding.basis in (Basis.VALID, Basis.GUESSED)]
    names = {each.encoding.name for each in unmarked}
    if len(names) < 2:
        return
    first = next(each for each in unmarked if each.encoding.basis is Basis.GUESSED)
    for other in unmarked:
        if other.encoding.name != first.encoding.name and not (other.encoding.is_utf8 and _is_ascii(other.content)):
            raise EncodingError(
                f"{first.located.name} seems to be in {first.encoding.name}, but {other.located.name} in "
                f"{other.encoding.name}; files of one import are in one encoding. If they are, give it with "
                "--encoding NAME; else import them apart, or save them as UTF-8 with a byte order mark."
            )


def _is_ascii(path: str) -> bool:
    """Tell whether a file is the same in all encodings that ASCII is part of."""
    with open_regular(path) as file:
        return all(block.isascii() for block in iter(lambda: file.read(BLOCK_BYTES), b""))
