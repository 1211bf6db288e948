from __future__ import annotations

import pytest

from orchestrator.emulator.fields import CHECKS, is_email, normal_integer_key, normal_key


@pytest.mark.parametrize(
    ("data_type", "good", "bad"),
    [
        (
            "integer",
            ["0", "-7", "+12", "9223372036854775807"],
            ["14.1", "9223372036854775808", "1 000", "٣", "x", " 1"],
        ),
        ("score", ["10"], ["TEXT_VALUE_IN_INTEGER_FIELD"]),
        ("percent", ["100"], ["100%"]),
        ("float", ["1", "1.5", ".5", "-2.", "1e3"], ["14c", "1,5", "nan", "inf", "."]),
        ("currency", ["1200.50"], ["$12", "1,200"]),
        ("boolean", ["true", "FALSE", "1", "0", "yes", "No"], ["other", "2"]),
        ("date", ["2026-02-28", "9/21/20", "12/31/1999"], ["2026-02-30", "20260228", "2026-W01-1", "yesterday"]),
        (
            "datetime",
            ["2020-08-30T05:49:48.000Z", "2020-08-30T05:49:48+02:00", "2020-08-30T05:49:48", "2020-08-30"],
            ["yesterday", "2020-08-30T25:00:00Z", "2020-08-30T"],
        ),
    ],
)
def test_what_each_type_takes_and_refuses(data_type, good, bad):
    check = CHECKS[data_type]
    assert [cell for cell in good if not check(cell)] == []
    assert [cell for cell in bad if check(cell)] == []


def test_addresses():
    assert all(map(is_email, ["a@b.co", "first.last+tag@sub.example.com", "o'neil@x.org"]))
    assert not any(map(is_email, ["INVALID_EMAIL", "a@b", "a@@b.co", "a b@c.de", "ä@b.co", "a@b.co ", "@b.co"]))


def test_keys_that_marketo_takes_for_one():
    assert normal_key(" Ann@X.com ") == normal_key("ann@x.COM")
    assert normal_integer_key("007") == normal_integer_key("+7") == "7"
    assert normal_integer_key("7a") == "7a"
