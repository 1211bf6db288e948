"""What the first bytes of a file say: its encoding, how its cells are separated, and its header record.

The delimiter is found by reading the first records once with each of the three.  One is certain if the header
has at least two cells and every record looked at has as many, or if no other separates anything in the header; CSV
wins if it is certain, and wherever nothing is, because a wrong guess in favour of a rarer format would be harder to
understand than a header that is checked and refused.  A first line ``sep=;``, as Excel has it, says it for sure; it
is a line of the file, and neither sent nor the header.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice

from orchestrator import records
from orchestrator.errors import EncodingError, HeaderError, UnterminatedQuote
from orchestrator.model import Format
from orchestrator.source.walk import State, walk

HEADER_BYTES_MAX = 1_048_576  # more is no header, but a file without line ends or with a quote left open
SAMPLE_RECORDS_MAX = 20  # enough to see a regular shape, few enough to be free
SAMPLE_BYTES_MAX = 65_536
SEPARATOR_LINE_BYTES_MAX = 16  # "sep=;", perhaps in quotes, with its line end
NUL_SEARCHED_BYTES = 2  # no text begins with one; a later one may be data

_SEPARATOR_LINE = re.compile(rb'"?sep=([^"\r\n]+)"?\r?\n', re.IGNORECASE)

_SIGNATURES = (
    (b"PK\x03\x04", "a ZIP archive within another"),
    (b"\x1f\x8b", "a gzip file within another"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file within another"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ\x00", "an xz file"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
    (b"%PDF-", "a PDF document"),
    (b"PAR1", "a Parquet file"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """What stands before the first data record."""

    format: Format
    header: bytes  # with its line end, without byte order mark and blank lines before it
    columns: tuple[str, ...]
    data_start: int  # byte offset behind the header
    lines: int  # physical lines before ``data_start``
    blank_lines: int  # among them


def examine(head: bytes, *, whole: bool, given: Format | None, name: str) -> Beginning:
    """Read the beginning of a file from its first bytes: `HEADER_BYTES_MAX` of them, or the ``whole`` file.

    ``given`` None means to detect the format.  Raises `EncodingError` for what is visibly no text, `UnterminatedQuote`
    and `HeaderError` for a header that does not end.
    """
    if 0 in head[:NUL_SEARCHED_BYTES]:
        raise EncodingError(f"{name}: it begins with a NUL byte, so it is no text. Save it as CSV and try again.")
    text_start = len(records.BOM) if head.startswith(records.BOM) else 0
    said, said_end = _separator_line(head[text_start : text_start + SEPARATOR_LINE_BYTES_MAX], name)
    text_start += said_end
    text = head[text_start:]
    chosen = given or said or detect_format(text, whole=whole)
    header_start, header_end = _header_range(text, ord(chosen.delimiter), whole=whole, name=name)
    header = text[header_start:header_end]
    columns = records.header_cells(header, chosen.delimiter)
    return Beginning(
        format=chosen,
        header=header,
        columns=columns,
        data_start=text_start + header_end,
        lines=(said_end > 0) + text.count(b"\n", 0, header_end),
        blank_lines=text.count(b"\n", 0, header_start),
    )


def _separator_line(start: bytes, name: str) -> tuple[Format | None, int]:
    """Understand the line by which Excel is told how cells are separated; return where it ends, 0 if there is none."""
    found = _SEPARATOR_LINE.match(start)
    if found is None:
        return None, 0
    for form in Format:
        if form.delimiter == found[1].decode(errors="replace"):
            return form, found.end()
    raise HeaderError(
        f"{name}: line 1 says that cells are separated by {found[1].decode(errors='replace')!r}; they have to be by "
        "comma, tab or semicolon. Write the file so, and correct the line or leave it out."
    )


def detect_format(text: bytes, *, whole: bool) -> Format:
    """Choose the format by the shape of the first records, else by the header alone; CSV if no other is certain."""
    whole = whole and len(text) <= SAMPLE_BYTES_MAX
    certain = [form for form in Format if _is_regular(text[:SAMPLE_BYTES_MAX], form.delimiter, whole=whole)]
    if certain:
        return certain[0] if len(certain) == 1 else Format.CSV
    header = text[:SAMPLE_BYTES_MAX]
    possible = [form for form in Format if len(records.header_cells(header, form.delimiter)) > 1]
    return possible[0] if len(possible) == 1 else Format.CSV


class NotUtf8(EncodingError):
    """A byte is no UTF-8; ``offset`` is its place in the file, ``place`` says it to people."""

    def __init__(self, message: str, offset: int, place: str) -> None:
        super().__init__(message)
        self.offset = offset
        self.place = place


def not_utf8(name: str, line: int, offset: int, byte: int) -> NotUtf8:
    """Build the error for a byte that is no UTF-8."""
    return NotUtf8(
        f"{name}: line {line} is not UTF-8: byte 0x{byte:02X} at offset {offset}. "
        "Repair it; or, if the file is in another encoding, give that with --encoding NAME.",
        offset,
        f"line {line}, byte 0x{byte:02X} at offset {offset}",
    )


def refuse_what_is_no_text(head: bytes, name: str) -> None:
    """Raise `EncodingError` if a file begins as something does that is no text."""
    for signature, what in _SIGNATURES:
        if head.startswith(signature):
            raise EncodingError(f"{name}: this is {what}, not text. Save it as a CSV file in UTF-8 and try again.")


def _header_range(text: bytes, delimiter: int, *, whole: bool, name: str) -> tuple[int, int]:
    """Find the first record that is no blank line."""
    if not text:
        raise HeaderError(f"{name}: there is no header record. Write the API names of the fields into the first line.")
    walked = walk(text, delimiter, State.START)
    start = 0
    for end in (walked.ends + 1).tolist():
        if text[start:end] not in (b"\n", b"\r\n"):
            return start, end
        start = end
    quote_line = None
    if walked.state is State.QUOTED and walked.opened_at is not None:
        quote_line = text.count(b"\n", 0, walked.opened_at) + 1
    if not whole:
        cause = "lines never end" if quote_line is None else f"a quote opened in line {quote_line} is never closed"
        raise HeaderError(
            f"{name}: the header record does not end within {HEADER_BYTES_MAX:,} bytes. "
            f"Either this is no delimited text, or {cause}."
        )
    if quote_line is not None:
        raise UnterminatedQuote(
            f"{name}: the quote that opens in line {quote_line}, in the header, is never closed. Close or remove it."
        )
    if text[start:] in (b"", b"\r"):
        raise HeaderError(f"{name}: there are only blank lines. Write the API names of the fields into the first line.")
    return start, len(text)


def _is_regular(sample: bytes, delimiter: str, *, whole: bool) -> bool:
    widths = [len(cells) for _, cells in islice(records.split(sample, delimiter), SAMPLE_RECORDS_MAX + 1)]
    if not whole or len(widths) > SAMPLE_RECORDS_MAX:
        widths = widths[:-1]  # the last one may be cut off
    return len(widths) > 0 and widths[0] > 1 and len(set(widths)) == 1
