"""Mappings: what is done to the columns of a source before it is sent, as a person writes it in TOML.

::

    trim = true                     # of every column: blanks at both ends of a cell are removed
    timezone = "Europe/Berlin"      # of every date with a time of day that says nothing of its own
    unlisted = "keep"               # columns that are not named below: "keep" them, or "drop" them

    [columns."E-Mail"]              # the name in the file's header, exactly
    to = "email"                    # the name that is sent

    [columns.Birthday]
    to = "dateOfBirth"
    date = "%d.%m.%Y"               # or several: ["%d.%m.%Y", "%Y-%m-%d"]; the first that fits counts

    [columns.Revenue]
    number = "de"                   # 1.234,50 becomes 1234.50; or { decimal = ",", thousands = "." }

    [columns.Newsletter]
    boolean = true                  # the usual English words; or { true = ["ja"], false = ["nein", ""] }

    [columns.Country]
    values = { DE = "Germany" }     # whole cells; others stay as they are
    max_length = 64                 # characters; what is longer is cut

    [columns.Notes]
    drop = true

    [constants]                     # columns that the file does not have, with the same cell in every row
    leadSource = "Trade fair"

Within a column the order is: trim, values, then one of date, number and boolean, then max_length.  An empty cell
is no date, number or boolean that went wrong: it stays empty, unless values or boolean say what it means.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping as Table
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

from orchestrator.errors import ConfigError
from orchestrator.model import MappingFile

MAPPING_BYTES_MAX = 1_048_576  # a mapping that a person wrote, with long lists of values, is far below
NAME_CHARS_SHOWN_MAX = 64  # of a name in a message

BOOLEAN_WORDS = {"true": ("true", "t", "yes", "y", "on", "1"), "false": ("false", "f", "no", "n", "off", "0")}
NUMBER_STYLES = {  # of a locale: the decimal mark, and the marks that may group thousands
    "en": (".", ","),
    "de": (",", "."),
    "fr": (",", " \u00a0\u202f"),
    "ch": (".", "'’"),
}
_SAMPLES = (  # a format that tells these apart tells any two days apart
    datetime(2003, 11, 28, 13, 47, 58, tzinfo=UTC),
    datetime(2012, 4, 5, 1, 2, 3, tzinfo=UTC),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DateFormat:
    """One way to write a date, in the directives of ``strptime``."""

    text: str
    timed: bool  # it has a time of day, so what is sent has one too
    zoned: bool  # it says how far it is from UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberStyle:
    """How numbers are written: the decimal mark, and the marks that may group thousands."""

    decimal: str
    thousands: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BooleanWords:
    """The words for true and for false, in folded case."""

    true: tuple[str, ...]
    false: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """What is done to one column."""

    to: str | None = None  # None: it keeps its name
    drop: bool = False
    trim: bool = False
    values: Table[str, str] = field(default_factory=dict)
    dates: tuple[DateFormat, ...] = ()
    timezone: str | None = None
    number: NumberStyle | None = None
    boolean: BooleanWords | None = None
    max_length: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """What is done to the columns of every source of a job."""

    name: str  # of its file, for messages
    columns: Table[str, Column]  # by the source's names
    others: Column  # what is done to columns that are not named
    constants: Table[str, str]


def read_mapping(path: str | os.PathLike[str]) -> MappingFile:
    """Read a mapping from a file; what it says is looked at by `parse`.

    Raises:
        ConfigError: it cannot be read, or is no TOML that a person wrote.

    """
    name = os.fspath(path)
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAPPING_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"{name}: the mapping cannot be read: {error.strerror or error}. Check the path.") from error
    if len(data) > MAPPING_BYTES_MAX:
        raise ConfigError(f"{name}: this is no mapping; it has more than {MAPPING_BYTES_MAX:,} bytes")
    try:
        return MappingFile(name=name, text=data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: byte {error.start} is not UTF-8; save the mapping as UTF-8") from None


def parse(file: MappingFile) -> Mapping:
    """Return what a mapping says.

    Raises:
        ConfigError: it is wrong; file and key are named.

    """
    try:
        document = tomllib.loads(file.text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{file.name}: this is no TOML: {error}") from None
    return _Reader(file.name).mapping(document)


class _Reader:
    """Reads the tables of one mapping, and knows its name when one of them is wrong."""

    def __init__(self, name: str) -> None:
        self._name = name

    def mapping(self, document: Table[str, Any]) -> Mapping:
        self._only(document, "", ("trim", "timezone", "unlisted", "columns", "constants"))
        trim = self._flag(document, "", "trim", default=False)
        zone = self._zone(document, "")
        unlisted = document.get("unlisted", "keep")
        if unlisted not in ("keep", "drop"):
            self._wrong("unlisted", 'must be "keep" or "drop"')
        columns = {
            name: self._column(self._table(table, key), key, trim=trim, zone=zone)
            for name, table in self._table(document.get("columns", {}), "columns").items()
            for key in [f"columns.{shown_key(name)}"]
        }
        constants = {
            name: self._constant(value, f"constants.{shown_key(name)}")
            for name, value in self._table(document.get("constants", {}), "constants").items()
        }
        others = Column(drop=unlisted == "drop", trim=trim)
        return Mapping(name=self._name, columns=columns, others=others, constants=constants)

    def _column(self, table: Table[str, Any], key: str, *, trim: bool, zone: str | None) -> Column:
        known = ("to", "drop", "trim", "values", "date", "timezone", "number", "boolean", "max_length")
        self._only(table, key, known)
        if self._flag(table, key, "drop", default=False):
            if len(table) > 1:
                self._wrong(key, f"is dropped, so {', '.join(each for each in table if each != 'drop')} has no effect")
            return Column(drop=True)
        kinds = [kind for kind in ("date", "number", "boolean") if kind in table]
        if len(kinds) > 1:
            self._wrong(key, f"can be only one of {' and '.join(kinds)}")
        dates = self._dates(table["date"], f"{key}.date") if "date" in table else ()
        own_zone = self._zone(table, key)
        timed = [each for each in dates if each.timed]
        if own_zone and not timed:
            self._wrong(f"{key}.timezone", "has no effect without a date that has a time of day")
        if any(not each.zoned for each in timed) and not (own_zone or zone):
            self._wrong(
                f"{key}.date", 'has a time of day; say in which timezone, for example timezone = "Europe/Berlin"'
            )
        return Column(
            to=self._text(table["to"], f"{key}.to") if "to" in table else None,
            trim=self._flag(table, key, "trim", default=trim),
            values=self._values(table.get("values", {}), f"{key}.values"),
            dates=dates,
            timezone=own_zone or zone,
            number=self._number(table["number"], f"{key}.number") if "number" in table else None,
            boolean=self._boolean(table["boolean"], f"{key}.boolean") if "boolean" in table else None,
            max_length=self._length(table["max_length"], f"{key}.max_length") if "max_length" in table else None,
        )

    # --- values of single keys ---------------------------------------------------------------------------

    def _dates(self, value: object, key: str) -> tuple[DateFormat, ...]:
        texts = value if isinstance(value, list) and value else [value]
        return tuple(self._date(text, key) for text in texts)

    def _date(self, text: object, key: str) -> DateFormat:
        advice = 'must say year, month and day in the directives of strptime, for example "%d.%m.%Y"'
        if not isinstance(text, str):
            self._wrong(key, advice)
        try:
            seen = [datetime.strptime(sample.strftime(text), text) for sample in _SAMPLES]  # noqa: DTZ007  # may be
        except ValueError:
            self._wrong(key, f"{shown_key(text)} {advice}")
        if any(one.date() != sample.date() for one, sample in zip(seen, _SAMPLES, strict=True)):
            self._wrong(key, f"{shown_key(text)} {advice}")
        timed = any((one.hour, one.minute, one.second) != (0, 0, 0) for one in seen)
        return DateFormat(text=text, timed=timed, zoned=seen[0].tzinfo is not None)

    def _zone(self, table: Table[str, Any], key: str) -> str | None:
        if "timezone" not in table:
            return None
        name = table["timezone"]
        try:
            ZoneInfo(name)
        except (ValueError, OSError, KeyError, TypeError, AttributeError):  # as the name may be anything
            where = f"{key}.timezone".removeprefix(".")
            self._wrong(where, 'must be the name of a time zone, for example "Europe/Berlin" or "UTC"')
        return str(name)

    def _number(self, value: object, key: str) -> NumberStyle:
        styles = ", ".join(shown_key(style) for style in NUMBER_STYLES)
        advice = f'must be one of {styles}, or a table like {{ decimal = ",", thousands = "." }}'
        if isinstance(value, str) and value in NUMBER_STYLES:
            decimal, thousands = NUMBER_STYLES[value]
            return NumberStyle(decimal=decimal, thousands=thousands)
        if not isinstance(value, dict):
            self._wrong(key, advice)
        self._only(value, key, ("decimal", "thousands"))
        decimal, thousands = value.get("decimal", "."), value.get("thousands", "")
        if not isinstance(decimal, str) or not isinstance(thousands, str) or len(decimal) != 1:
            self._wrong(key, advice)
        if decimal in thousands or any(mark.isalnum() or mark in "+-" for mark in decimal + thousands):
            self._wrong(key, "the marks must differ from each other, and be no letters, digits or signs")
        return NumberStyle(decimal=decimal, thousands=thousands)

    def _boolean(self, value: object, key: str) -> BooleanWords:
        if value is True:
            return BooleanWords(true=BOOLEAN_WORDS["true"], false=BOOLEAN_WORDS["false"])
        advice = 'must be true, or a table like { true = ["ja"], false = ["nein"] }'
        if not isinstance(value, dict):
            self._wrong(key, advice)
        self._only(value, key, ("true", "false"))
        words = {}
        for truth in ("true", "false"):
            listed = value.get(truth, [])
            if not isinstance(listed, list) or not all(isinstance(word, str) for word in listed):
                self._wrong(key, advice)
            words[truth] = tuple(word.casefold() for word in listed)
        if not words["true"] + words["false"]:
            self._wrong(key, advice)
        if set(words["true"]) & set(words["false"]):
            self._wrong(key, "has a word that means both true and false")
        return BooleanWords(true=words["true"], false=words["false"])

    def _values(self, value: object, key: str) -> dict[str, str]:
        table = self._table(value, key)
        return {old: self._constant(new, f"{key}.{shown_key(old)}") for old, new in table.items()}

    def _length(self, value: object, key: str) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            self._wrong(key, "must be a number of characters, 1 or more")
        return value

    def _constant(self, value: object, key: str) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, int):
            return str(value)
        if not isinstance(value, str):
            self._wrong(key, "must be a text, a whole number, true or false")
        return value

    def _text(self, value: object, key: str) -> str:
        if not isinstance(value, str) or not value.strip():
            self._wrong(key, "must be the name of a field")
        return value

    def _flag(self, table: Table[str, Any], key: str, name: str, *, default: bool) -> bool:
        value = table.get(name, default)
        if not isinstance(value, bool):
            self._wrong(f"{key}.{name}".removeprefix("."), "must be true or false")
        return value

    def _table(self, value: object, key: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            self._wrong(key, "must be a table")
        return value

    def _only(self, table: Table[str, Any], key: str, known: tuple[str, ...]) -> None:
        for name in table:
            if name not in known:
                where = f"{key}.{shown_key(name)}" if key else shown_key(name)
                self._wrong(where, f"there is no such key; known are {', '.join(known)}")

    def _wrong(self, key: str, why: str) -> NoReturn:
        raise ConfigError(f"{self._name}: {key}: {why}")


def shown_key(name: str) -> str:
    """Write a name as `toml_key` does, cut if it is too long to be one."""
    return toml_key(name if len(name) <= NAME_CHARS_SHOWN_MAX else name[:NAME_CHARS_SHOWN_MAX] + "…")


def toml_key(name: str) -> str:
    """Write a name as a key of TOML."""
    bare = name.isascii() and name.replace("_", "").replace("-", "").isalnum()
    return name if bare else toml_string(name)


def toml_string(text: str) -> str:
    """Write a text as a basic string of TOML."""
    plain = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in plain) + '"'
