"""What a cell of each data type may hold.

The matrix follows what the sync API is seen to take and to refuse; the words of the failures are those of the
bulk import, which names fields as people see them.  An empty cell and the literal ``NULL`` suit every type.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime

from orchestrator.emulator.config import DataType, FieldSpec

Check = Callable[[str], bool]

NULL = "NULL"  # as a whole cell: clear the stored value

STRING_LENGTH_MAX = 255  # characters
TEXT_BYTES_MAX = 30_000  # UTF-8
_INTEGER_MAX = 2**63 - 1  # signed 64 bit

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}").fullmatch
_FLOAT = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?").fullmatch
_BOOLEANS = frozenset({"true", "false", "1", "0", "yes", "no", "t", "f", "y", "n"})
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}").fullmatch
_US_DATE = re.compile(r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4}|[0-9]{2})").fullmatch
_DATETIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?"
).fullmatch
_EMAIL = re.compile(r"[!-?A-~]+@[0-9A-Za-z](?:[0-9A-Za-z.-]*[0-9A-Za-z])?\.[0-9A-Za-z-]*[0-9A-Za-z]").fullmatch


def is_integer(cell: str) -> bool:
    """Tell whether the cell is a whole number of 64 bits."""
    return _INTEGER(cell) is not None and -_INTEGER_MAX - 1 <= int(cell) <= _INTEGER_MAX


def is_float(cell: str) -> bool:
    """Tell whether the cell is a plain decimal number, without symbol or grouping."""
    return _FLOAT(cell) is not None


def is_boolean(cell: str) -> bool:
    """Tell whether the cell is one of the words for true and false."""
    return cell.lower() in _BOOLEANS


def is_date(cell: str) -> bool:
    """Tell whether the cell is a day, as ``2026-09-21`` or as ``9/21/26``."""
    try:
        if _DATE(cell):
            date.fromisoformat(cell)
            return True
        parts = _US_DATE(cell)
        if parts is None:
            return False
        month, day, year = (int(part) for part in parts.groups())
        date(year + 2000 if year < 100 else year, month, day)
    except ValueError:
        return False
    return True


def is_datetime(cell: str) -> bool:
    """Tell whether the cell is an instant in ISO 8601, or a day."""
    if _DATETIME(cell) is None:
        return is_date(cell)
    try:
        datetime.fromisoformat(cell)
    except ValueError:
        return False
    return True


def is_email(cell: str) -> bool:
    """Tell whether the cell looks like an address; Marketo takes ASCII only."""
    return _EMAIL(cell) is not None


# Types that are not here hold any text; an e-mail address that looks wrong is a warning, not a failure.
CHECKS: dict[DataType, Check] = {
    "integer": is_integer,
    "score": is_integer,
    "percent": is_integer,
    "float": is_float,
    "currency": is_float,
    "boolean": is_boolean,
    "date": is_date,
    "datetime": is_datetime,
}


def length_max(field: FieldSpec) -> int | None:
    """Return how long a cell of this field may be, or None where its type alone decides."""
    if field.length is not None:
        return field.length
    if field.data_type == "text":
        return TEXT_BYTES_MAX
    if field.data_type in CHECKS:
        return None
    return STRING_LENGTH_MAX


def normal_key(cell: str) -> str:
    """Return what two cells have in common when Marketo takes them for the same key."""
    return cell.strip().casefold()


def normal_integer_key(cell: str) -> str:
    """Return the same for a key that is a whole number: ``007`` is ``7``."""
    text = cell.strip()
    return str(int(text)) if is_integer(text) else text.casefold()


def normaliser(data_type: DataType) -> Callable[[str], str]:
    """Return the normalisation that suits keys of this type."""
    return normal_integer_key if CHECKS.get(data_type) is is_integer else normal_key
