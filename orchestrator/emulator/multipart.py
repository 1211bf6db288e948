"""Taking an upload's body apart.

Bodies are at most some 10 MB and are needed whole, so the parts are found by searching the body for its boundary:
one pass at the speed of ``bytes.find``, which is far faster than feeding a parser piece by piece.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message

from orchestrator.emulator.refusals import refusal
from orchestrator.marketo.wire import FILE_PART

PARTS_MAX = 100
FIELD_BYTES_MAX = 65_536  # of one part that is no file
_DISPOSITION = re.compile(rb"content-disposition:[ \t]*(form-data[^\r\n]*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A multipart body taken apart: the file, if there is one, and the fields beside it."""

    file: bytes | None
    filename: str
    fields: Mapping[str, str]


def read_form(content_type: str, body: bytes) -> Form:
    """Take a multipart body apart; refuses other kinds of bodies (612) and broken ones (613)."""
    header = Message()
    header["Content-Type"] = content_type.replace("\r", "").replace("\n", "")
    if header.get_content_type() != "multipart/form-data":
        raise refusal("612")
    boundary = header.get_boundary()
    if not boundary or not boundary.isascii():
        raise refusal("613")
    file: bytes | None = None
    filename = ""
    fields: dict[str, str] = {}
    for head, start, end in _parts(body, b"--" + boundary.encode("ascii")):
        found = _DISPOSITION.search(head)
        if found is None:
            raise refusal("613")
        part = Message()
        part["Content-Disposition"] = found.group(1).decode("utf-8", "replace")
        name = part.get_param("name", header="content-disposition")
        if name == FILE_PART:
            file, filename = body[start:end], part.get_filename() or ""
        elif isinstance(name, str):
            if end - start > FIELD_BYTES_MAX:
                raise refusal("613")
            fields[name] = body[start:end].decode("utf-8", "replace")
    return Form(file=file, filename=filename, fields=fields)


def _parts(body: bytes, mark: bytes) -> list[tuple[bytes, int, int]]:
    """Return head, start and end of every part; refuses a body that does not end as it must (613)."""
    at = 0 if body.startswith(mark) else body.find(b"\r\n" + mark)
    if at < 0:
        raise refusal("613")
    at = at if body.startswith(mark) else at + 2
    parts: list[tuple[bytes, int, int]] = []
    while True:
        at += len(mark)
        if body[at : at + 2] == b"--":
            return parts
        head_at = body.find(b"\r\n", at)
        head_end = body.find(b"\r\n\r\n", at)
        end = body.find(b"\r\n" + mark, max(head_end, 0))
        if head_at < 0 or body[at:head_at].strip() or head_end < 0 or end < 0 or len(parts) >= PARTS_MAX:
            raise refusal("613")
        if end < head_end + 4:  # the line end before the boundary is the one that ends the head: an empty part
            end = body.find(b"\r\n" + mark, head_end + 2)
        parts.append((body[head_at:head_end], head_end + 4, max(end, head_end + 4)))
        at = end + 2
