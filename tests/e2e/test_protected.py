"""Nothing is written to a protected subscription by mistake."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import kit, leads
from tests.e2e.kit import Ended, Place
from tests.e2e.terminal import Terminal

ID = "127"  # the first part of the host's name, 127.0.0.1


@pytest.fixture
def place(tmp_path: Path, marketo: kit.Emulator) -> Place:
    place = kit.place(tmp_path / "work", marketo)
    table = "rest_url = '{MARKETO_REST_URL}'\nclient_id = '{MARKETO_CLIENT_ID}'\nclient_secret = '{MARKETO_CLIENT_SECRET}'\n"
    table = table.format(**place.env)
    place.write("orchestrator.toml", f"[subscriptions.live]\n{table}protected = true\n[subscriptions.test]\n{table}")
    for name in [name for name in place.env if name.startswith("MARKETO_")]:
        del place.env[name]
    place.env["ORCHESTRATOR_LIMITS__BODY_BYTES_MAX"] = "4000"
    return place


@pytest.fixture
def nothing_sent(place: Place) -> Iterator[None]:
    before = len(place.marketo.creates())
    yield
    assert len(place.marketo.creates()) == before
    assert place.run("jobs", "--json").out == "[]\n"


def run(place: Place, *arguments: str) -> Ended:
    return place.run(*arguments, "--subscription", "live")


# --- where nobody can be asked -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("nothing_sent")
@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((), ("subscription live is protected", "--confirm MUNCHKIN_ID")),
        (("--confirm", "123-ABC-456"), ("--confirm is not the munchkin id of subscription live",)),
        (("--confirm", ""), ("--confirm is not the munchkin id",)),
    ],
)
def test_without_the_right_confirmation_nothing_is_sent(
    place: Place, mark: str, flags: tuple[str, ...], words: tuple[str, ...]
) -> None:
    leads.write(place.directory / "leads.csv", leads.people(mark, 20))
    calls = place.marketo.ask("calls")["by_kind"]
    for command in (("import", "leads.csv"), ("resume",)):
        ended = run(place, *command, *flags)
        assert ended.code == 2, ended.err
        for word in words:
            assert word in ended.err
    assert place.marketo.ask("calls")["by_kind"] == calls  # not even a token was asked for


def test_with_it_the_rows_go_in(place: Place, mark: str) -> None:
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, 20))
    ended = run(place, "import", "leads.csv", "--out", "report", "--confirm", ID)
    leads.assert_complete(ended, place.directory / "report", rows)


@pytest.mark.usefixtures("nothing_sent")
def test_who_confirms_another_subscription_is_told(place: Place, mark: str) -> None:
    leads.write(place.directory / "leads.csv", leads.people(mark, 20))
    ended = place.run("import", "leads.csv", "--subscription", "test", "--confirm", "123-ABC-456")
    assert ended.code == 2
    assert "--confirm is not the munchkin id of subscription test" in ended.err


def test_what_only_looks_needs_no_confirmation(place: Place, mark: str) -> None:
    leads.write(place.directory / "leads.csv", leads.people(mark, 20))
    for command in (("plan", "leads.csv"), ("jobs",), ("describe", "leads"), ("usage",), ("doctor",)):
        ended = run(place, *command)
        assert ended.code == 0, ended.err


def test_a_job_is_resumed_only_with_it(place: Place, mark: str) -> None:
    leads.write(place.directory / "leads.csv", [{"email": f"p{n}@{mark}", "leadScore": "many"} for n in range(50)])
    ended = run(place, "import", "leads.csv", "--canary", "10", "--json", "--confirm", ID)
    assert ended.code == 8, ended.err
    job = ended.summary["job_id"]
    assert run(place, "resume", job).code == 2
    assert len(place.marketo.batches(job)) == 1
    resumed = run(place, "resume", job, "--confirm", ID)
    assert resumed.code == 3, resumed.err
    assert sum(batch["rows"] for batch in place.marketo.batches(job)) == 50


# --- where somebody can --------------------------------------------------------------------------------------------


def test_on_a_terminal_the_munchkin_id_is_typed(place: Place, mark: str) -> None:
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, 20, troubled=False))
    with Terminal(place, "import", "leads.csv", "--out", "report", "--subscription", "live") as terminal:
        shown = terminal.read("to go on: ")
        assert place.run("jobs", "--json").out == "[]\n"
        terminal.type(f" {ID} ")
        code = terminal.end()
    assert code == 0, terminal.text
    assert "Writing to the emulator: subscription live, host 127.0.0.1" in shown
    leads.assert_delivered(place.marketo, mark, rows)


@pytest.mark.usefixtures("nothing_sent")
@pytest.mark.parametrize("answer", ["", "y", "live", "128"])
def test_on_a_terminal_another_answer_sends_nothing(place: Place, mark: str, answer: str) -> None:
    leads.write(place.directory / "leads.csv", leads.people(mark, 20))
    with Terminal(place, "import", "leads.csv", "--subscription", "live") as terminal:
        terminal.read("to go on: ")
        terminal.type(answer)
        code = terminal.end()
    assert code == 2, terminal.text
    assert "the answer is not the munchkin id of subscription live" in terminal.text


@pytest.mark.usefixtures("nothing_sent")
@pytest.mark.parametrize(("key", "code"), [("c", 130), ("d", 2)])
def test_on_a_terminal_no_answer_sends_nothing(place: Place, mark: str, key: str, code: int) -> None:
    leads.write(place.directory / "leads.csv", leads.people(mark, 20))
    with Terminal(place, "import", "leads.csv", "--subscription", "live") as terminal:
        terminal.read("to go on: ")
        terminal.press(key)
        assert terminal.end() == code, terminal.text
    assert json.loads(place.run("jobs", "--json").out) == []


def test_the_demo_asks_nothing(place: Place) -> None:
    with Terminal(place, "demo", "--rows", "3000", "--speed", "1000") as terminal:
        assert terminal.end() == 3, terminal.text
    assert "protected" not in terminal.text
