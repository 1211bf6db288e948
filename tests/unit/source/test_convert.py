"""Conversions of single cells: what they make of them, what they refuse, and what they count."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.mapping import parse
from orchestrator.model import MappingFile
from orchestrator.source.convert import conversions

REFUSED = None


def converted(rule: str, cell: str) -> str | None:
    """Return what comes of a cell; `REFUSED` if it is left as it stands because it cannot be converted."""
    mapping = parse(MappingFile(name="map.toml", text=f"[columns.x]\n{rule}"))
    made = conversions("x", mapping.columns["x"])
    cells = [cell]
    for each in made:
        cells = list(each.apply(cells, [2]))
    failed = sum(each.failed for each in made)
    assert not failed or cells == [cell]
    return REFUSED if failed else cells[0]


@pytest.mark.parametrize(
    ("rule", "cell", "expected"),
    [
        ("trim = true", " \t\u00a0\ufeffa b\u200b\r\n", "a b"),
        ("trim = false", " a ", " a "),
        ('values = { DE = "Germany", "" = "-" }', "DE", "Germany"),
        ('values = { DE = "Germany", "" = "-" }', "", "-"),
        ('values = { DE = "Germany" }', "de", "de"),
        ('trim = true\nvalues = { DE = "Germany" }\nmax_length = 4', " DE ", "Germ"),
        ("max_length = 2", "äöü", "äö"),
        ('date = "%d.%m.%Y"', "31.12.2020", "2020-12-31"),
        ('date = "%d.%m.%Y"', "1.2.2020", "2020-02-01"),
        ('date = "%d.%m.%Y"', "30.02.2020", REFUSED),
        ('date = "%d.%m.%Y"', "2020-12-31", REFUSED),
        ('date = ["%d.%m.%Y", "%Y-%m-%d"]', "2020-12-31", "2020-12-31"),
        ('date = "%d.%m.%Y"', "", ""),
        ('date = "%d.%m.%Y"', " ", REFUSED),
        ('date = "%d.%m.%Y"', "1" * 200, REFUSED),
        ('date = "%d.%m.%Y %H:%M"\ntimezone = "Europe/Berlin"', "01.07.2020 12:30", "2020-07-01T12:30:00+02:00"),
        ('date = "%d.%m.%Y %H:%M"\ntimezone = "Europe/Berlin"', "01.01.2020 12:30", "2020-01-01T12:30:00+01:00"),
        ('date = "%d.%m.%Y %H:%M"\ntimezone = "Europe/Berlin"', "29.03.2020 02:30", REFUSED),  # clocks skipped it
        ('date = "%d.%m.%Y %H:%M"\ntimezone = "Europe/Berlin"', "25.10.2020 02:30", "2020-10-25T02:30:00+02:00"),
        ('date = "%d.%m.%Y %H:%M"\ntimezone = "Asia/Tokyo"', "01.01.0001 00:00", REFUSED),  # before the calendar
        ('date = "%Y-%m-%d %H:%M:%S%z"', "2020-07-01 12:30:00+0530", "2020-07-01T12:30:00+05:30"),
        ('number = "de"', "1.234,50", "1234.50"),
        ('number = "de"', "-1.234.567", "-1234567"),
        ('number = "de"', "+7", "7"),
        ('number = "de"', "1234,5", "1234.5"),
        ('number = "de"', ",5", "0.5"),
        ('number = "de"', "5,", "5"),
        ('number = "de"', "1.2", REFUSED),  # as likely one and a fifth
        ('number = "de"', "12.34.567", REFUSED),
        ('number = "de"', "1,234,567", REFUSED),
        ('number = "de"', ",", REFUSED),
        ('number = "de"', "-", REFUSED),
        ('number = "de"', "7 €", REFUSED),
        ('number = "de"', "", ""),
        ('number = "de"', "١", REFUSED),
        ('number = "en"', "1,234.5", "1234.5"),
        ('number = "fr"', "1 234,5", "1234.5"),
        ('number = "fr"', "1\u202f234\u202f567,5", "1234567.5"),
        ('number = "fr"', "1\u202f234 567", REFUSED),
        ('number = "ch"', "1’234.50", "1234.50"),
        ('number = { decimal = "," }', "1.234", REFUSED),
        ("boolean = true", "Yes", "true"),
        ("boolean = true", "0", "false"),
        ("boolean = true", "", ""),
        ("boolean = true", "ja", REFUSED),
        ('boolean = { true = ["JA"], false = ["nein", ""] }', "Ja", "true"),
        ('boolean = { true = ["JA"], false = ["nein", ""] }', "", "false"),
    ],
)
def test_a_cell_becomes(rule, cell, expected):
    assert converted(rule, cell) == expected


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12, places=3))
def test_a_number_means_the_same_in_every_style(value):
    plain = f"{value:,.3f}"
    german = plain.translate(str.maketrans(",.", ".,"))
    for style, written in (("en", plain), ("de", german), ("de", german.replace(".", ""))):
        sent = converted(f'number = "{style}"', written)
        assert sent is not None
        assert Decimal(sent) == value


@given(st.datetimes(min_value=datetime(1000, 1, 2), max_value=datetime(9999, 12, 30)))  # noqa: DTZ001
def test_a_moment_stays_the_same_moment(moment):
    written = moment.strftime("%d.%m.%Y %H:%M:%S")
    sent = converted('date = "%d.%m.%Y %H:%M:%S"\ntimezone = "America/New_York"', written)
    if sent is not None:  # else no clock there ever showed it
        assert datetime.fromisoformat(sent).replace(tzinfo=None) == moment.replace(microsecond=0)
        assert datetime.fromisoformat(sent).astimezone(UTC) is not None


def test_what_was_done_is_counted_with_the_line_of_the_first_cell_that_could_not_be():
    mapping = parse(MappingFile(name="map.toml", text='[columns.x]\ntrim = true\nnumber = "de"'))
    trim, number = conversions("x", mapping.columns["x"])
    for cells, lines in ((["1", " 2"], [2, 3]), ([" 3,5", "four", "five", ""], [4, 6, 7, 8])):
        cells = trim.apply(cells, lines)
        cells = number.apply(cells, lines)
    assert list(cells) == ["3.5", "four", "five", ""]
    assert (trim.changed, trim.failed) == (2, 0)
    assert (number.changed, number.failed, number.first_failed_line) == (1, 2, 6)
