"""From what people type to a subscription, and to files that keep what was there."""

from __future__ import annotations

import errno
import tomllib
from pathlib import Path

import pytest

from orchestrator import onboarding
from orchestrator.config import load
from orchestrator.errors import ConfigError
from orchestrator.onboarding import place_of, subscription_of, write

SECRET = "Qq7vXn2LrT0sWm5KbE8yJc3HdU6gFa1P"


@pytest.mark.parametrize(
    ("address", "munchkin_id", "rest_url"),
    [
        (" 123-abc-456 ", "123-ABC-456", None),
        ("123-ABC-456.mktorest.com", "123-ABC-456", None),
        ("https://123-ABC-456.mktorest.com/rest", "123-ABC-456", None),
        ("https://123-ABC-456.mktorest.com/identity", "123-ABC-456", None),
        ("marketo.example.com", None, "https://marketo.example.com"),
        ("http://127.0.0.1:8080/rest", None, "http://127.0.0.1:8080/rest"),
    ],
)
def test_addresses_as_people_paste_them(address, munchkin_id, rest_url):
    found = subscription_of(address, " id ", SECRET, None)
    assert (found.munchkin_id, found.rest_url, found.client_id) == (munchkin_id, rest_url, "id")
    assert found.read_secret() == SECRET


@pytest.mark.parametrize(
    ("address", "client_id", "words"),
    [("my marketo", "id", "address"), ("ftp://x", "id", "rest_url"), ("123-ABC-456", " ", "client_id")],
)
def test_what_cannot_be_right_is_named_without_the_secret(address, client_id, words):
    with pytest.raises(ConfigError) as caught:
        subscription_of(address, client_id, SECRET, None)
    assert words in str(caught.value)
    assert SECRET not in str(caught.value)


def test_names_and_places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert place_of(None, "eu", {}).config == tmp_path / "orchestrator.toml"
    assert place_of(None, "eu", {"ORCHESTRATOR_CONFIG": "b.toml"}).config == tmp_path / "b.toml"
    assert place_of(Path("c.toml"), "eu", {"ORCHESTRATOR_CONFIG": "b.toml"}).config == tmp_path / "c.toml"
    assert place_of(None, "eu", {}).secret_file == tmp_path / "orchestrator.eu.secret"
    for config, name, words in (
        (None, "e u", "letters, digits"),
        (None, "../eu", "letters, digits"),
        (Path("no/c.toml"), "eu", "is no directory"),
    ):
        with pytest.raises(ConfigError, match=words):
            place_of(config, name, {})


def test_a_new_file_can_be_loaded(tmp_path):
    place = place_of(tmp_path / "o.toml", "eu", {})
    written = write(place, subscription_of("123-ABC-456", 'i"d', SECRET, None))
    assert written == (tmp_path / "o.toml", tmp_path / "o.eu.secret")
    found = load(tmp_path / "o.toml", (), {}).subscription("eu")
    assert (found.munchkin_id, found.client_id, found.read_secret()) == ("123-ABC-456", 'i"d', SECRET)
    assert SECRET not in (tmp_path / "o.toml").read_text()
    assert {oct(path.stat().st_mode & 0o777) for path in written} == {"0o600"}


@pytest.mark.parametrize(
    "before", ["", "# only words\n", "[limits]\nslots = 3", "[subscriptions.us]\nmunchkin_id = '1'\n\n\n"]
)
def test_a_file_keeps_what_it_says(tmp_path, before):
    path = tmp_path / "o.toml"
    path.write_text(before)
    write(place_of(path, "eu", {}), subscription_of("123-ABC-456", "id", None, tmp_path / "s"))
    text = path.read_text()
    assert text.startswith(before.rstrip())
    parsed = tomllib.loads(text)
    assert parsed["subscriptions"]["eu"] == {"munchkin_id": "123-ABC-456", "client_id": "id", "client_secret_file": "s"}
    assert parsed | tomllib.loads(before) | {"subscriptions": 0} == parsed | {"subscriptions": 0}
    with pytest.raises(ConfigError, match="has a subscription eu already"):
        place_of(path, "eu", {})


def test_a_file_that_cannot_get_one_more_table_stays_as_it_is(tmp_path):
    path = tmp_path / "o.toml"
    path.write_text("subscriptions = {us = {client_id = 'x'}}\n")
    with pytest.raises(ConfigError, match="by hand"):
        write(place_of(path, "eu", {}), subscription_of("123-ABC-456", "id", None, tmp_path / "s"))
    assert path.read_text() == "subscriptions = {us = {client_id = 'x'}}\n"
    assert [each.name for each in tmp_path.iterdir()] == ["o.toml"]


def test_a_full_disk_leaves_the_file_as_it_is(tmp_path, monkeypatch):
    path = tmp_path / "o.toml"
    path.write_text("[limits]\n")
    place = place_of(path, "eu", {})

    def full(source: object, target: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    monkeypatch.setattr(onboarding.shutil, "copymode", full)
    with pytest.raises(ConfigError, match=r"o\.toml cannot be written: No space left on device"):
        write(place, subscription_of("123-ABC-456", "id", None, tmp_path / "s"))
    assert path.read_text() == "[limits]\n"
    assert [each.name for each in tmp_path.iterdir()] == ["o.toml"]
