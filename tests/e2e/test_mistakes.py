"""Mistakes as a new user makes them: each one is told in words that say what to do, and nothing is sent."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.e2e import kit, leads
from tests.e2e.kit import CLIENT_SECRET, Ended, Place

GOOD = "email,firstName\nada@mistakes.example,Ada\n"


@pytest.fixture
def place(tmp_path: Path, marketo: kit.Emulator) -> Iterator[Place]:
    """A place where nothing is ever sent from."""
    before = len(marketo.creates())
    place = kit.place(tmp_path / "work", marketo)
    place.write("leads.csv", GOOD)
    yield place
    assert len(marketo.creates()) == before


def assert_told(ended: Ended, code: int, *words: str) -> None:
    """Check that a mistake was told of: the code, in words, and what can be done about it."""
    assert ended.code == code, ended.err
    assert ended.err.count("Error: ") == 1, ended.err
    for word in words:
        assert word in ended.err, ended.err
    assert f"Exit code {code}: " in ended.err
    assert ended.out == ""
    assert CLIENT_SECRET not in ended.err


# --- who and where -----------------------------------------------------------------------------------------


def test_a_wrong_secret(place: Place) -> None:
    ended = place.run("import", "leads.csv", env={"MARKETO_CLIENT_SECRET": "of-another-service-0123456789"})

    assert_told(ended, 6, "client id and secret", "LaunchPoint")
    assert "of-another-service" not in ended.err
    assert not [path for path in place.directory.iterdir() if path.name not in ("leads.csv", "state")]


def test_an_unknown_client_id(place: Place) -> None:
    assert_told(place.run("import", "leads.csv", env={"MARKETO_CLIENT_ID": "nobody"}), 6, "client id", "LaunchPoint")


def test_a_user_without_the_permission(place: Place) -> None:
    reader = {"MARKETO_CLIENT_ID": kit.READER["client_id"], "MARKETO_CLIENT_SECRET": kit.READER["client_secret"]}
    assert_told(place.run("import", "leads.csv", env=reader), 6, "permission")


def test_an_unknown_host(place: Place) -> None:
    ended = place.run("import", "leads.csv", env={"MARKETO_REST_URL": "https://123-abc-456.mktorest.invalid"})
    assert_told(ended, 2, "123-abc-456.mktorest.invalid", "munchkin id")


def test_a_host_that_refuses_connections(place: Place) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, but nobody listens
        address = {"MARKETO_REST_URL": f"http://127.0.0.1:{unused.getsockname()[1]}"}
        ended = place.run("import", "leads.csv", env={**address, "ORCHESTRATOR_BACKOFF__GIVE_UP_SECONDS": "0.1"})
    assert_told(ended, 5, "refuses connections")


def test_plain_http_to_another_machine(place: Place) -> None:
    ended = place.run("import", "leads.csv", env={"MARKETO_REST_URL": "http://marketo.example"})
    assert_told(ended, 2, "https")


@pytest.mark.parametrize(
    ("env", "words"),
    [
        (
            {"MARKETO_REST_URL": None, "MARKETO_CLIENT_ID": None, "MARKETO_CLIENT_SECRET": None},
            ("MARKETO_MUNCHKIN_ID", "orchestrator.toml"),
        ),
        ({"MARKETO_CLIENT_SECRET": None}, ("MARKETO_CLIENT_SECRET",)),
        ({"MARKETO_REST_URL": None, "MARKETO_MUNCHKIN_ID": "123-ABC"}, ("123-ABC-456", "MARKETO_MUNCHKIN_ID")),
    ],
    ids=["none", "no-secret", "half-a-munchkin-id"],
)
def test_credentials_that_are_missing_or_malformed(
    place: Place, env: Mapping[str, str | None], words: tuple[str, ...]
) -> None:
    assert_told(place.run("import", "leads.csv", env=env), 2, *words)


# --- settings and flags --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "env", "words"),
    [
        (["--set", "limits.slot=3"], {}, ("limits.slot", "did you mean limits.slots")),
        ([], {"ORCHESTRATOR_POLLING__INTERVAL": "3"}, ("ORCHESTRATOR_POLLING__INTERVAL",)),
        ([], {"ORCHESTRATOR_LIMITS__SLOTS": "99"}, ("ORCHESTRATOR_LIMITS__SLOTS", "99", "from 1 to 10")),
        (["--config", "nowhere.toml"], {}, ("nowhere.toml", "--config")),
        (["--object", "contacts"], {}, ("contacts", "leads")),
    ],
    ids=[
        "misspelt-set",
        "misspelt-variable",
        "too-large",
        "no-file",
        "no-object",
    ],
)
def test_wrong_settings(place: Place, arguments: list[str], env: dict[str, str], words: tuple[str, ...]) -> None:
    assert_told(place.run("import", "leads.csv", *arguments, env=env), 2, *words)


def test_a_misspelt_setting_in_a_file_is_told_with_its_line(place: Place) -> None:
    place.write("orchestrator.toml", "[limits]\nslots = 3\n\n[poling]\ninterval_seconds_min = 1\n")
    assert_told(place.run("import", "leads.csv"), 2, "orchestrator.toml", "line 4", "polling")


def test_an_unknown_flag(place: Place) -> None:
    ended = place.run("import", "leads.csv", "--lookup", "email")
    assert ended.code == 2
    assert "--lookup" in ended.err
    assert "--lookup-field" in ended.err


def test_a_job_that_is_not_there(place: Place) -> None:
    assert_told(place.run("resume", "20200101"), 2, "20200101")


# --- files ---------------------------------------------------------------------------------------------------


def test_a_missing_file(place: Place) -> None:
    assert_told(place.run("import", "laeds.csv"), 4, "laeds.csv", "no such file")
    assert not place.state.exists()  # not even a journal was made


def test_a_pattern_without_a_match(place: Place) -> None:
    assert_told(place.run("import", "2026-*.csv"), 4, "2026-*.csv", "no file matches")


def test_an_empty_name(place: Place) -> None:
    assert_told(place.run("import", ""), 2, "name of a file is empty")


def test_a_name_that_no_report_could_hold(place: Place) -> None:
    (place.directory / "\udcff.csv").write_text(GOOD)
    assert_told(place.run("import", "\udcff.csv"), 4, "UTF-8", "rename")


def test_a_directory_in_place_of_a_file(place: Place) -> None:
    (place.directory / "exports").mkdir()
    assert_told(place.run("import", "exports"), 4, "exports", "directory")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ("empty",)),
        (b"email,firstName\n", ("no record below",)),
        (GOOD.encode() + b'grace@mistakes.example,"Grace\nHopper,1\nmore,2\n', ("line 3", "quot")),
        (GOOD.encode() + "zoe@mistakes.example,Zoë Żółć".encode() + b"\xe9\n", ("line 3", "0xE9", "--encoding")),
        (GOOD.replace("firstName", "fristName").encode(), ("fristName", "firstName")),
        (b"firstName,lastName\nAda,Lovelace\n", ("no column 'email'",)),
        (GOOD.encode() + b"big@mistakes.example," + b"x" * 5_000 + b"\n", ("line 3", "5,022 bytes", "3,472")),
    ],
    ids=[
        "empty",
        "header-only",
        "open-quote",
        "no-utf-8",
        "misspelt-column",
        "no-key-column",
        "record-too-large",
    ],
)
def test_files_that_cannot_be_imported(place: Place, content: bytes, words: tuple[str, ...]) -> None:
    place.write("wrong.csv", content)
    ended = place.run("import", "leads.csv", "wrong.csv", "--out", "report")
    assert_told(ended, 4, "wrong.csv", *words)
    assert "mistakes.example" not in ended.err  # no row is shown


# --- where to write ------------------------------------------------------------------------------------------


def test_a_report_that_could_not_be_written_is_noticed_first(place: Place) -> None:
    ended = place.run("import", "leads.csv", "--out", "leads.csv/report")
    assert_told(ended, 2, "leads.csv/report", "--out")


def test_a_state_directory_that_cannot_be_made(place: Place) -> None:
    journal = f"sqlite:///{place.directory / 'journal.db'}"
    for arguments in ((), ("--journal", journal)):
        ended = place.run("import", "leads.csv", *arguments, env={"ORCHESTRATOR_STATE__DIR": "/proc/state"})
        assert_told(ended, 2, "/proc/state", "state.dir")


def test_a_journal_that_is_none(place: Place) -> None:
    place.write("journal.db", b"this is no database, and it must not be overwritten" * 200)
    ended = place.run("import", "leads.csv", "--journal", f"sqlite:///{place.directory / 'journal.db'}")
    assert_told(ended, 2, "journal.db")
    assert (place.directory / "journal.db").read_bytes().startswith(b"this is no database")


def test_a_job_of_another_subscription_is_not_resumed_into_this_one(place: Place, mark: str) -> None:
    leads.write(place.directory / "leads.csv", leads.people(mark, 60))
    place.marketo.add({"on": "describe", "do": "code", "code": "603"})
    assert place.run("import", "leads.csv").code == 6
    place.marketo.heal()
    (job,) = [line.split()[0] for line in place.run("jobs").out.splitlines()[1:]]
    with kit.emulator(place.directory / "other", munchkin_id="999-OTH-999") as other:
        ended = place.run("resume", job, env={"MARKETO_REST_URL": other.url})
        assert other.creates() == []
    assert_told(ended, 2, job, place.marketo.url.removeprefix("http://"), "--subscription")
