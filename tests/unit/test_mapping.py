"""Mappings as people write them: what they mean, and what is said of wrong ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import mapping
from orchestrator.errors import ConfigError
from orchestrator.mapping import BooleanWords, Column, DateFormat, NumberStyle, parse, read_mapping, toml_string
from orchestrator.model import MappingFile


def parsed(text: str) -> mapping.Mapping:
    return parse(MappingFile(name="map.toml", text=text))


def column(text: str) -> Column:
    return parsed(f"[columns.x]\n{text}").columns["x"]


def test_a_mapping_says_what_is_done_to_each_column():
    found = parsed(
        """
        trim = true
        timezone = "Europe/Berlin"
        unlisted = "drop"
        [columns."E-Mail"]
        to = "email"
        [columns.Notes]
        drop = true
        [columns.Born]
        date = ["%d.%m.%Y", "%d.%m.%Y %H:%M"]
        trim = false
        [columns.Country]
        values = { DE = "Germany", "" = "unknown", 7 = 8 }
        max_length = 3
        [constants]
        leadSource = "Trade fair"
        unsubscribed = false
        leadScore = 7
        """
    )
    assert found.columns == {
        "E-Mail": Column(to="email", trim=True, timezone="Europe/Berlin"),
        "Notes": Column(drop=True),
        "Born": Column(
            dates=(
                DateFormat(text="%d.%m.%Y", timed=False, zoned=False),
                DateFormat(text="%d.%m.%Y %H:%M", timed=True, zoned=False),
            ),
            timezone="Europe/Berlin",
        ),
        "Country": Column(
            trim=True, values={"DE": "Germany", "": "unknown", "7": "8"}, max_length=3, timezone="Europe/Berlin"
        ),
    }
    assert found.others == Column(drop=True, trim=True)
    assert found.constants == {"leadSource": "Trade fair", "unsubscribed": "false", "leadScore": "7"}


def test_an_empty_mapping_changes_nothing():
    assert parsed("") == mapping.Mapping(name="map.toml", columns={}, others=Column(), constants={})


def test_numbers_and_booleans_have_names_and_tables():
    assert column('number = "de"').number == NumberStyle(decimal=",", thousands=".")
    assert column('number = { decimal = ",", thousands = "." }').number == NumberStyle(decimal=",", thousands=".")
    assert column("boolean = true").boolean == BooleanWords(
        true=("true", "t", "yes", "y", "on", "1"), false=("false", "f", "no", "n", "off", "0")
    )
    assert column('boolean = { true = ["Ja"], false = ["Nein", ""] }').boolean == BooleanWords(
        true=("ja",), false=("nein", "")
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = ", "map.toml: this is no TOML"),
        ("colums = 1", "map.toml: colums: there is no such key; known are trim, timezone, unlisted, columns"),
        ("columns = 1", "map.toml: columns: must be a table"),
        ("[columns]\nx = 1", "map.toml: columns.x: must be a table"),
        ('[columns."E Mail"]\nrename = "x"', 'map.toml: columns."E Mail".rename: there is no such key; known are to,'),
        ("[columns.x]\nto = 5", "map.toml: columns.x.to: must be the name of a field"),
        ("[columns.x]\ntrim = 1", "map.toml: columns.x.trim: must be true or false"),
        ("trim = 1", "map.toml: trim: must be true or false"),
        ('unlisted = "no"', 'map.toml: unlisted: must be "keep" or "drop"'),
        ('[columns.x]\ndrop = true\nto = "y"', "map.toml: columns.x: is dropped, so to has no effect"),
        ('[columns.x]\ndate = "%d.%m.%Y"\nnumber = "de"', "map.toml: columns.x: can be only one of date and number"),
        ('[columns.x]\ndate = "%d.%m."', 'map.toml: columns.x.date: "%d.%m." must say year, month and day'),
        ('[columns.x]\ndate = "%Q"', 'map.toml: columns.x.date: "%Q" must say'),
        ('[columns.x]\ndate = "31.12.2020"', 'map.toml: columns.x.date: "31.12.2020" must say'),
        ("[columns.x]\ndate = []", "map.toml: columns.x.date: must say year"),
        ('[columns.x]\ndate = "%d.%m.%Y %H:%M"', "map.toml: columns.x.date: has a time of day; say in which timezone"),
        (
            '[columns.x]\ntimezone = "UTC"\ndate = "%d.%m.%Y"',
            "map.toml: columns.x.timezone: has no effect without a date that has a time",
        ),
        ('timezone = "Mars/Olympus"', "map.toml: timezone: must be the name of a time zone"),
        ('timezone = "../../etc/passwd"', "map.toml: timezone: must be the name of a time zone"),
        ('[columns.x]\nnumber = "xx"', "map.toml: columns.x.number: must be one of en, de, fr, ch, or a table"),
        ('[columns.x]\nnumber = { decimal = "," , thousands = "," }', "map.toml: columns.x.number: the marks must"),
        ('[columns.x]\nnumber = { decimal = "1" }', "map.toml: columns.x.number: the marks must"),
        ('[columns.x]\nnumber = { comma = "," }', "map.toml: columns.x.number.comma: there is no such key"),
        ("[columns.x]\nboolean = false", "map.toml: columns.x.boolean: must be true, or a table"),
        ("[columns.x]\nboolean = {}", "map.toml: columns.x.boolean: must be true, or a table"),
        (
            '[columns.x]\nboolean = { true = ["A"], false = ["a"] }',
            "map.toml: columns.x.boolean: has a word that means",
        ),
        ("[columns.x]\nvalues = { a = 1.5 }", "map.toml: columns.x.values.a: must be a text, a whole number, true"),
        ("[columns.x]\nmax_length = 0", "map.toml: columns.x.max_length: must be a number of characters"),
        ("[columns.x]\nmax_length = true", "map.toml: columns.x.max_length: must be a number of characters"),
        ("[constants]\nx = 1.5", "map.toml: constants.x: must be a text, a whole number, true or false"),
    ],
)
def test_a_wrong_mapping_is_told_with_its_file_and_key(text, message):
    with pytest.raises(ConfigError) as raised:
        parsed(text)
    assert str(raised.value).startswith(message)


def test_a_file_that_is_no_mapping_is_told_by_its_name(tmp_path, monkeypatch):
    path = tmp_path / "map.toml"
    with pytest.raises(ConfigError, match=r"map\.toml: the mapping cannot be read: No such file"):
        read_mapping(path)
    path.write_bytes(b"x = '\xff'")
    with pytest.raises(ConfigError, match=r"map\.toml: byte 5 is not UTF-8"):
        read_mapping(path)
    monkeypatch.setattr(mapping, "MAPPING_BYTES_MAX", 3)
    with pytest.raises(ConfigError, match="more than 3 bytes"):
        read_mapping(path)


def test_a_byte_order_mark_is_no_part_of_a_mapping(tmp_path):
    path = tmp_path / "map.toml"
    path.write_bytes(b"\xef\xbb\xbftrim = true\n")
    assert read_mapping(path) == MappingFile(name=str(path), text="trim = true\n")


@given(st.text())
def test_any_text_is_written_so_that_toml_reads_it_back(text):
    assert parsed(f"[constants]\nx = {toml_string(text)}").constants == {"x": text}
