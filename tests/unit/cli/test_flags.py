"""From flags to what the library takes, and the help that explains them."""

from __future__ import annotations

import shlex

import pytest
import typer.main

from orchestrator.cli import main
from orchestrator.cli.main import FileFormat, OnRepeatedKey, expand, request_of, target_of
from orchestrator.errors import ConfigError, SourceError
from orchestrator.model import CustomObjects, Format, Leads, ProgramMembers, RepeatedKeys

COMMANDS = ("import", "plan", "jobs", "status", "resume", "report", "emulator", "demo")
ON_EVERY_COMMAND = ("--json", "--quiet", "--verbose", "--no-color", "--help")
ON_COMMANDS_WITH_SETTINGS = ("--config", "--journal", "--set", "--subscription")


def run(capsys, *arguments: str) -> tuple[int, str]:
    code = main.run(arguments)
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def test_targets():
    assert target_of("leads", "email", None, None, None, None) == Leads()
    assert target_of("leads", "id", 7, "EU", None, None) == Leads(lookup_field="id", list_id=7, partition="EU")
    assert target_of("custom:car_c", "email", None, None, None, None) == CustomObjects(api_name="car_c")
    assert target_of("program-members", "email", None, None, 5, "On List") == ProgramMembers(
        program_id=5, member_status="On List"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cars", "email", None, None, None, None), "--object cars: must be leads, custom:API_NAME or program-members"),
        (("custom:", "email", None, None, None, None), "--object custom:: must be"),
        (("program-members", "email", None, None, 5, None), "give --program-id and --member-status"),
        (("leads", "email", None, None, 5, None), "--program-id: not for --object leads"),
        (("custom:x", "id", 3, None, None, None), "--list-id, --lookup-field: not for --object custom:x"),
    ],
)
def test_flags_that_do_not_fit_the_object_are_refused(arguments, message):
    with pytest.raises(ConfigError) as caught:
        target_of(*arguments)
    assert message in str(caught.value)


def test_requests(tmp_path):
    request = request_of(["a.csv"], Leads(), FileFormat.TSV, OnRepeatedKey.IGNORE, check=False, name="n", out=tmp_path)
    assert (request.format, request.on_repeated_key, request.check) == (Format.TSV, RepeatedKeys.IGNORE, False)
    assert (request.name, request.out_dir, list(request.sources)) == ("n", tmp_path, ["a.csv"])
    assert request_of([], Leads(), FileFormat.AUTO, OnRepeatedKey.ORDER, check=True, name=None, out=None).format is None


def test_patterns_match_in_natural_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("part-10.csv", "part-2.csv", "part-1.csv", "odd[1].csv"):
        (tmp_path / name).touch()
    assert expand(["part-*.csv", "odd[1].csv", "no.csv"]) == [
        "part-1.csv",
        "part-2.csv",
        "part-10.csv",
        "odd[1].csv",
        "no.csv",
    ]
    with pytest.raises(SourceError, match="no file matches"):
        expand(["nothing-*.csv"])


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(capsys, command):
    code, text = run(capsys, command, "--help")
    assert code == 0
    flat = " ".join(text.split())
    for flag in ON_EVERY_COMMAND + (() if command in ("emulator", "demo") else ON_COMMANDS_WITH_SETTINGS):
        assert flag in flat
    assert "Examples:" in text
    examples = [line.strip() for line in text.partition("Examples:")[2].splitlines() if line.strip()]
    assert examples
    for example in examples:
        program, name, *_ = shlex.split(example)
        assert (program, name) == ("orchestrator", command)


def test_the_examples_of_the_help_are_understood(capsys):
    """Parsed, not run: every flag of them exists."""
    group = typer.main.get_command(main.app)
    for command in COMMANDS:
        _, text = run(capsys, command, "--help")
        for line in text.partition("Examples:")[2].splitlines():
            words = shlex.split(line.partition(">")[0])
            if words:
                group.commands[command].make_context(command, words[2:])


def test_every_command_is_in_the_list(capsys):
    code, text = run(capsys, "--help")
    assert code == 0
    assert all(f"\n  {command} " in text for command in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["imprt"], "Did you mean 'import'?"),
        (["import", "a.csv", "--nmae", "x"], "No such option: --nmae"),
        (["import"], "Missing argument"),
        (["import", "a.csv", "--format", "xml"], "xml"),
    ],
)
def test_wrong_usage_ends_with_2(capsys, arguments, message):
    code, text = run(capsys, *arguments)
    assert code == 2
    assert message in text


def test_the_version(capsys):
    code, text = run(capsys, "--version")
    assert code == 0
    assert text.startswith("orchestrator ")
