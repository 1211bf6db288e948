"""A mistake in flags, settings or files ends with its exit code, and with words that say what to do."""

from __future__ import annotations

import logging
import os

import pytest
import structlog

from orchestrator.cli import main
from orchestrator.cli.sample import write_leads

CREDENTIALS = {
    "MARKETO_REST_URL": "http://127.0.0.1:1/rest",
    "MARKETO_CLIENT_ID": "client",
    "MARKETO_CLIENT_SECRET": "hush",
}


@pytest.fixture(autouse=True)
def _a_place_of_its_own(tmp_path, monkeypatch):
    """The command sets logging up; a process ends afterwards, a test does not."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("ORCHESTRATOR_", "MARKETO_"))]:
        monkeypatch.delenv(name)
    for name, value in {**CREDENTIALS, "ORCHESTRATOR_STATE__DIR": str(tmp_path / "state")}.items():
        monkeypatch.setenv(name, value)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    write_leads(tmp_path / "leads.csv", rows=10)
    (tmp_path / "empty.csv").touch()
    (tmp_path / "bad.toml").write_text("[limits]\nslotz = 1\n", encoding="utf-8")
    (tmp_path / "bad.json").write_text('{"speed": 0}', encoding="utf-8")
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["import", "missing.csv"], 4, "missing.csv: there is no such file"),
        (["import", "missing-*.csv"], 4, "missing-*.csv: no file matches"),
        (["import", "."], 4, "this is a directory"),
        (["plan", "empty.csv", "--offline"], 4, "empty.csv: the file is empty"),
        (["import", "leads.csv"], 5, "127.0.0.1:1 refuses connections"),
        (["import", "leads.csv", "--set", "limits.slots=0"], 2, "--set limits.slots: limits.slots is '0', but must be"),
        (["import", "leads.csv", "--set", "limits.slotz=1"], 2, "did you mean limits.slots?"),
        (["import", "leads.csv", "--config", "bad.toml"], 2, "bad.toml, line 2: there is no setting limits.slotz"),
        (["import", "leads.csv", "--config", "none.toml"], 2, "none.toml (named by --config) does not exist"),
        (["import", "leads.csv", "--journal", "mysql://x"], 2, "--journal: journal: journal.url must look like sqlite"),
        (["import", "leads.csv", "--subscription", "eu"], 2, "no subscription 'eu'; there is default"),
        (["import", "leads.csv", "--object", "cars"], 2, "--object cars: must be leads, custom:API_NAME or"),
        (["import", "leads.csv", "--program-id", "5"], 2, "--program-id: not for --object leads"),
        (["import", "leads.csv", "leads.csv"], 2, "leads.csv is named more than once"),
        (["import", "leads.csv", "--label", "x"], 2, "--label x: write it as NAME=VALUE"),
        (["import", "leads.csv", "--confirm", "123-ABC-456"], 2, "--confirm is not the munchkin id of subscription"),
        (["resume", "--confirm", "123-ABC-456"], 2, "--confirm is not the munchkin id of subscription default"),
        (["wait", "nosuch"], 2, "no job 'nosuch'"),
        (["describe", "cars"], 2, "describe cars: must be leads, custom:API_NAME or program-members"),
        (["init"], 2, "no terminal to ask at; give --munchkin-id (or --rest-url), --client-id, --secret-file, too"),
        (["status"], 2, "the journal has no jobs yet; orchestrator import FILE makes one"),
        (["status", "nosuch"], 2, "no job 'nosuch'"),
        (["report", "nosuch"], 2, "no job 'nosuch'"),
        (["emulator", "--fault", "{"], 2, "--fault {: is no JSON"),
        (["emulator", "--fault", "[]"], 2, "--fault []: write it as"),
        (["emulator", "--fault", '{"on": "create"}'], 2, "do is missing"),
        (["emulator", "--file", "missing.json"], 2, "missing.json: cannot be read"),
        (["emulator", "--file", "bad.json"], 2, "speed"),
        (["demo", "--out", "leads.csv"], 2, "--out leads.csv: "),
        (["demo", "--out", "."], 2, "--out .: is not empty"),
    ],
)
def test_a_mistake_is_told_with_what_to_do(capsys, arguments, code, message):
    found = main.run(arguments)
    captured = capsys.readouterr()
    assert (found, captured.out) == (code, ""), captured.err
    assert message in captured.err
    assert f"Exit code {code}: " in captured.err
    assert "Traceback" not in captured.err
    assert "hush" not in captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["import", "x.csv", "--priority", "urgent"], "'--priority': 'urgent' is not one of 'low', 'normal', 'high'"),
        (
            ["plan", "x.csv", "--on-unknown", "ask"],
            "'--on-unknown': 'ask' is not one of 'probe', 'resubmit', 'hold'",
        ),
        (["resume", "--on-unknown", "ask"], "'--on-unknown': 'ask' is not one of 'probe', 'resubmit', 'hold'"),
        (
            ["import", "x.csv", "--if-known", "no"],
            "'--if-known': 'no' is not one of 'resume', 'skip', 'refuse', 'again'",
        ),
        (
            ["check", "x.csv", "--on-repeated-key", "first"],
            "'--on-repeated-key': 'first' is not one of 'order', 'last', 'fail', 'ignore'",
        ),
        (["map", "x.csv", "--format", "xml"], "'--format': 'xml' is not one of 'auto', 'csv', 'tsv', 'ssv'"),
        (["import", "x.csv", "--list-id", "five"], "'--list-id': 'five' is not a whole number"),
        (["import", "x.csv", "--canary", "0"], "'--canary': '0' is less than 1"),
        (["import", "x.csv", "--list-id", "9" * 5_000], f"'--list-id': '{'9' * 50}' is too large"),
        (["wait", "j", "--timeout", "soon"], "'--timeout': 'soon' is not a number"),
        (["wait", "j", "--timeout", "-1"], "'--timeout': '-1' is less than 0"),
        (["emulator", "--port", "99999"], "'--port': '99999' is more than 65535"),
    ],
)
def test_a_wrong_value_is_told_with_what_is_allowed(capsys, arguments, message):
    assert main.run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"Error: Invalid value for {message}\n" in captured.err


@pytest.mark.parametrize("missing", ["MARKETO_REST_URL", "MARKETO_CLIENT_ID", "MARKETO_CLIENT_SECRET"])
def test_a_missing_credential_is_named(capsys, monkeypatch, missing):
    monkeypatch.delenv(missing)
    assert main.run(["import", "leads.csv"]) == 2
    assert missing in capsys.readouterr().err.partition("missing:")[2]


def test_no_credentials_at_all(capsys, monkeypatch):
    for name in CREDENTIALS:
        monkeypatch.delenv(name)
    assert main.run(["import", "leads.csv"]) == 2
    assert "or write orchestrator.toml with a table [subscriptions.NAME]" in capsys.readouterr().err


def test_verbose_logs_where_an_unexpected_error_came_from(capsys, monkeypatch):
    def broken(*arguments, **options):
        raise RuntimeError("alice@example.com")

    monkeypatch.setattr("orchestrator.preflight.locate", broken)
    assert main.run(["import", "leads.csv", "--no-color"]) == 1
    assert "unexpected RuntimeError; --verbose shows where" in capsys.readouterr().err
    assert main.run(["import", "leads.csv", "--verbose"]) == 1
    assert "in broken" in capsys.readouterr().err
