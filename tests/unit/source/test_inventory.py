"""The characters of a text, counted, and what is odd about them."""

from __future__ import annotations

import pytest

from orchestrator.source import inventory
from orchestrator.source.inventory import Count, group_of
from orchestrator.source.spool import Stopped
from tests.unit.source.test_opened import Place


@pytest.fixture
def place(tmp_path) -> Place:
    return Place(tmp_path)


def taken(place: Place, *texts: str):
    plans = place.plans(*[text.encode() for text in texts], encoding="utf-8")
    return inventory.take([plan.source for plan in plans], place.workspace.check)


@pytest.mark.parametrize("block_bytes", [1, 3, 64, 1_048_576])
def test_characters_are_counted_by_script_and_by_themselves(place, monkeypatch, block_bytes):
    monkeypatch.setattr(inventory, "BLOCK_BYTES", block_bytes)
    found = taken(place, "\ufeffemail,name\n1,Zoë Müller\n2,山田\n", "email,näme\n3,Иван 5 € ü 😀\n")
    assert found.characters == 12
    assert found.groups == (
        Count(what="Latin", times=4),
        Count(what="Cyrillic", times=4),
        Count(what="symbols", times=2),
        Count(what="CJK", times=2),
    )
    assert found.frequent[0] == Count(what="ü", times=2)
    assert {one.what: one.times for one in found.frequent} == dict.fromkeys("ëä山田Иван€😀", 1) | {"ü": 2}
    assert found.warnings == ()


def test_a_text_in_ascii_has_none(place):
    found = taken(place, "email\n1\n")
    assert (found.characters, found.groups, found.frequent, found.warnings) == (0, (), (), ())


def test_of_many_characters_the_most_frequent_are_named(place):
    text = "".join(chr(0x4E00 + n) * (n % 50 + 1) for n in range(2_000))
    found = taken(place, f"email\n{text}\n")
    assert found.characters == len(text)
    assert len(found.frequent) == inventory.FREQUENT_MAX
    assert {one.times for one in found.frequent} == {50}


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
@pytest.mark.parametrize("name", ["Müller", "Größe", "don’t", "5 €", "Иван", "Αθήνα", "山田太郎", "20°"])
def test_a_text_that_was_encoded_twice_is_told_with_its_first_line(place, name, encoding):
    twice = "".join(chr(byte) if byte < 0x80 else bytes([byte]).decode(encoding, "ignore") or chr(byte)
                    for byte in name.encode())  # fmt: skip
    found = taken(place, f'email,name\n1,Müller\n"2\n3",{twice}\n4,{twice}\n')
    assert len(found.warnings) == 1
    assert found.warnings[0].startswith(f"0.csv: from line 4 on, {2 + 2 * (name == 'Größe')} place(s) look as if")
    assert name not in found.warnings[0]


@pytest.mark.parametrize(
    "name",
    [
        "Müller Größe Zoë",
        "« Été…” – “É!”",
        "山田太郎",
        "Иван Петров",
        "Ελλάδα",
        "ÂME ÎLE",
        "São João",
        "Ähnlich »Ä«",
        "Ðạt Ã Â",
    ],
)
def test_a_text_as_it_should_be_is_no_such(place, name):
    assert taken(place, f"email,name\n1,{name}\n").warnings == ()


def test_characters_that_were_lost_are_told(place):
    found = taken(place, "email\nM\ufffdller\nZo\ufffd\n")
    assert found.warnings[0].startswith("0.csv: 2 times there is the sign for a character that was lost")


def test_it_stops_when_nobody_waits_for_it(place):
    place.workspace.stop()
    (plan,) = place.plans("email\nMüller\n".encode())
    with pytest.raises(Stopped):
        inventory.take([plan.source], place.workspace.check)


def test_groups():
    assert [group_of(one) for one in "ü山あ한я€٣«\u00a0\u0301\x80"] == [
        "Latin", "CJK", "Hiragana", "Hangul", "Cyrillic", "symbols", "numbers", "punctuation", "spaces", "marks",
        "control and unassigned",
    ]  # fmt: skip
