"""From flags to what the library takes, and the help that explains them."""

from __future__ import annotations

import shlex

import pytest
import typer.main

from orchestrator.cli import main
from orchestrator.cli.common import parameters
from orchestrator.cli.flags import LABELS_MAX, FileFormat, ImportFlags, OnRepeatedKey
from orchestrator.cli.importing import places_of
from orchestrator.errors import ConfigError
from orchestrator.model import CustomObjects, Format, Leads, ProgramMembers, RepeatedKeys, Share
from orchestrator.requests import FAILED_MAX, ImportRequest

COMMANDS = (
    "import", "plan", "jobs", "status", "wait", "resume", "pause", "cancel", "report", "describe", "usage", "doctor", "init", "emulator",
    "demo",
)  # fmt: skip
ON_EVERY_COMMAND = ("--json", "--quiet", "--verbose", "--no-color", "--help")
ON_COMMANDS_WITH_SETTINGS = ("--config", "--journal", "--set", "--subscription")


def run(capsys, *arguments: str) -> tuple[int, str]:
    code = main.run(arguments)
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def test_targets():
    assert ImportFlags().target() == Leads()
    flags = ImportFlags(lookup_field="id", list_id=7, partition="EU")
    assert flags.target() == Leads(lookup_field="id", list_id=7, partition="EU")
    assert ImportFlags(object="custom:car_c").target() == CustomObjects(api_name="car_c")
    flags = ImportFlags(object="program-members", program_id=5, member_status="On List")
    assert flags.target() == ProgramMembers(program_id=5, member_status="On List")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"object": "cars"}, "--object cars: must be leads, custom:API_NAME or program-members"),
        ({"object": "custom:"}, "--object custom:: must be"),
        ({"object": "program-members", "program_id": 5}, "give --program-id and --member-status"),
        ({"program_id": 5}, "--program-id: not for --object leads"),
        (
            {"object": "custom:x", "lookup_field": "id", "list_id": 3},
            "--list-id, --lookup-field: not for --object custom:x",
        ),
    ],
)
def test_flags_that_do_not_fit_the_object_are_refused(flags, message):
    with pytest.raises(ConfigError) as caught:
        ImportFlags(**flags).target()
    assert message in str(caught.value)


def test_requests_without_flags_are_those_of_the_library():
    assert ImportFlags().request(["a.csv"]) == ImportRequest(sources=["a.csv"])
    assert ImportFlags().request(["a.csv"]).failed_max == FAILED_MAX == Share(percent=50)


def test_requests(tmp_path):
    request = ImportFlags(
        format=FileFormat.TSV,
        on_repeated_key=OnRepeatedKey.IGNORE,
        canary=20,
        max_failed="7",
        accept_failed="2.5%",
        min_rows=9,
        allow_empty=True,
        no_check=True,
        name="n",
        label=("a=1", "b = x=y "),
        out=tmp_path,
    ).request(["a.csv", "b.csv"])
    assert request == ImportRequest(
        sources=["a.csv", "b.csv"],
        format=Format.TSV,
        on_repeated_key=RepeatedKeys.IGNORE,
        canary_rows=20,
        failed_max=Share(rows=7),
        failed_accepted=Share(percent=2.5),
        rows_min=9,
        allow_empty=True,
        check=False,
        name="n",
        labels={"a": "1", "b": "x=y"},
        out_dir=tmp_path,
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"label": ("a",)}, "--label a: write it as NAME=VALUE"),
        ({"label": ("=a",)}, "--label =a: write it as NAME=VALUE"),
        ({"label": ("a=1", "a=2")}, "--label a: is given twice"),
        ({"label": tuple(f"a{n}=1" for n in range(LABELS_MAX + 1))}, "too many"),
        ({"max_failed": "many"}, "--max-failed: 'many' is neither a number of rows"),
        ({"accept_failed": "200%"}, "--accept-failed: '200%' is below 0 or above 100%"),
    ],
)
def test_flags_that_mean_nothing_are_refused(flags, message):
    with pytest.raises(ConfigError) as caught:
        ImportFlags(**flags).request(["a.csv"])
    assert message in str(caught.value)


def test_flags_can_be_given_again(tmp_path):
    assert ImportFlags().words() == ""
    flags = ImportFlags(object="custom:car c", canary=5, label=("a=1", "b=x y"), no_check=True, out=tmp_path / "a b")
    group = typer.main.get_command(main.app)
    context = group.commands["import"].make_context("import", ["a.csv", *shlex.split(flags.words())])
    given = {name: value for name, value in context.params.items() if name in {p.name for p in parameters(ImportFlags)}}
    assert ImportFlags(**{**given, "label": tuple(given["label"])}) == flags


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


@pytest.mark.parametrize(
    ("text", "sources", "old", "new"),
    [
        ("a.csv=b.csv", ["a.csv"], "a.csv", "b.csv"),
        ("year=2026/l.csv=moved.csv", ["year=2026/l.csv"], "year=2026/l.csv", "moved.csv"),
        ("l.csv=year=2026/l.csv", ["l.csv"], "l.csv", "year=2026/l.csv"),
        ("year=2026/l.csv=year=2027/l.csv", ["x.csv", "./year=2026/l.csv"], "year=2026/l.csv", "year=2027/l.csv"),
        ("absent=2026/l.csv=b.csv", ["l.csv"], "absent", "2026/l.csv=b.csv"),
    ],
)
def test_the_place_of_a_moved_source_is_told_from_its_old_one_by_what_the_job_has(text, sources, old, new):
    assert places_of([text], sources) == {old: new}


@pytest.mark.parametrize("text", ["a.csv", "=b.csv", "a.csv=", "="])
def test_a_moved_source_is_given_with_both_places(text):
    with pytest.raises(ConfigError, match="write it as OLD=NEW"):
        places_of([text], ["a.csv"])


def test_a_moved_source_that_may_be_one_or_another_is_refused():
    with pytest.raises(ConfigError, match="the job has both a or a=b"):
        places_of(["a=b=c"], ["a", "a=b"])


def test_a_key_that_is_empty_is_no_key():
    assert ImportFlags(key=" ").request(["a.csv"]).key == " "
    with pytest.raises(ConfigError, match=r"the job's key is empty.*\(--key\)"):
        ImportFlags(key="").request(["a.csv"])
