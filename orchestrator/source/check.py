"""The pre-flight check of a header against the fields Marketo knows.

Only what would make Marketo refuse or misread the whole file is an error here; single records are Marketo's to
judge.  Column names are compared exactly, because Marketo compares them exactly and trims nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from orchestrator.errors import HeaderError
from orchestrator.model import Format, Source

PROBLEMS_SHOWN_MAX = 20  # of one header; a person reads no more
NAME_CHARS_SHOWN_MAX = 64  # of a column name; what is longer is hardly a name

SIMILARITY_MIN = 0.75  # difflib's ratio: one or two letters of a name


def check_header(source: Source, *, fields: Mapping[str, bool], key_columns: tuple[str, ...]) -> None:
    """Raise `HeaderError`, naming all problems at once, unless the header fits the target.

    ``fields`` says of every field by API name whether it can be written; the key's columns must be there and
    need not be writable.
    """
    columns = source.sent_columns
    if not any(column.strip() in (*fields, *key_columns) or similar(column, fields) for column in columns):
        # Probably no header at all, but data: its cells must not get into a message.
        raise HeaderError(
            f"{source.path}: none of the {len(columns)} column(s) in its first record is a field of the target. "
            f"Does the file begin with a header of API names?{_format_hint(source)}"
        )
    problems = [
        *_column_problems(columns, fields, key_columns),
        *_repeated(columns),
        *_missing_keys(columns, key_columns),
    ]
    if problems:
        told = problems[:PROBLEMS_SHOWN_MAX]
        if more := len(problems) - len(told):
            told.append(f"and {more} more")
        heading = f"{source.path}: the header cannot be imported as it is; nothing was sent."
        raise HeaderError("\n  - ".join([heading, *told]))


def _column_problems(columns: tuple[str, ...], fields: Mapping[str, bool], key_columns: tuple[str, ...]) -> list[str]:
    problems = []
    for number, column in enumerate(columns, 1):
        name = shown(column)
        if column in key_columns:
            continue
        if column in fields:
            if not fields[column]:
                problems.append(f"column {number}, {name}: this field cannot be written; remove the column")
        elif not column.strip():
            problems.append(f"column {number} has no name; name it, or remove it")
        elif column.strip() in fields or column.strip() in key_columns:
            problems.append(f"column {number}, {name}: there are blanks around the name; remove them")
        elif meant := similar(column, fields):
            problems.append(f"column {number}, {name}: there is no such field; did you mean {shown(meant)}?")
        else:
            problems.append(f"column {number}, {name}: there is no such field; rename or remove the column")
    return problems


def _repeated(columns: tuple[str, ...]) -> list[str]:
    return [
        f"{shown(column)} is the name of {times} columns; remove or rename all but one"
        for column, times in Counter(columns).items()
        if times > 1 and column.strip()
    ]


def _missing_keys(columns: tuple[str, ...], key_columns: tuple[str, ...]) -> list[str]:
    return [
        f"there is no column {shown(key)}, by which records are found again; add it"
        for key in key_columns
        if key not in columns
    ]


def similar(name: str, names: Iterable[str]) -> str | None:
    """Find the name that was probably meant: the same in another case, or nearly the same."""
    by_folded_name = {each.casefold(): each for each in names}
    wanted = name.strip().casefold()
    if wanted in by_folded_name:
        return by_folded_name[wanted]
    if len(wanted) > NAME_CHARS_SHOWN_MAX:
        return None
    close = get_close_matches(wanted, by_folded_name, n=1, cutoff=SIMILARITY_MIN)
    return by_folded_name[close[0]] if close else None


def _format_hint(source: Source) -> str:
    """Suggest the format whose delimiter is in the header, if another one was read."""
    header = source.header.decode("utf-8", "replace")
    for other in Format:
        if other is not source.format and other.delimiter in header:
            return f" If its cells are separated otherwise, give the format: --format {other.value}"
    return ""


def shown(name: str) -> str:
    """Quote a name for a message, cut if it is too long to be one."""
    return repr(name if len(name) <= NAME_CHARS_SHOWN_MAX else name[:NAME_CHARS_SHOWN_MAX] + "…")
