"""The commands, their flags and their help.

Each command's work is in a module that is imported when the command runs, so ``--help`` is instant.
"""

from __future__ import annotations

import glob
import re
import sys
from collections.abc import Sequence
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.common import Common, Output, takes
from orchestrator.errors import ConfigError, SourceError

if TYPE_CHECKING:
    from orchestrator.model import Target
    from orchestrator.requests import ImportRequest

app = typer.Typer(
    name="orchestrator",
    help="Import huge CSV files into Adobe Marketo Engage as fast as its limits allow, and account for every row.",
    rich_markup_mode=None,
    add_completion=True,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


class FileFormat(StrEnum):
    """What ``--format`` takes."""

    AUTO = "auto"
    CSV = "csv"
    TSV = "tsv"
    SSV = "ssv"


class OnRepeatedKey(StrEnum):
    """What ``--on-repeated-key`` takes."""

    ORDER = "order"
    IGNORE = "ignore"


def examples(*lines: str) -> str:
    """Return the end of a command's help: examples, each on its line."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


Files = Annotated[list[str], typer.Argument(help="Files to import, in this order.", metavar="FILE")]
Object = Annotated[str, typer.Option("--object", help="leads, custom:API_NAME or program-members.", metavar="OBJECT")]
LookupField = Annotated[str, typer.Option(help="Leads: the field that finds an existing person.", metavar="FIELD")]
ListId = Annotated[int | None, typer.Option(help="Leads: also add them to this static list.", min=1, metavar="ID")]
Partition = Annotated[str | None, typer.Option(help="Leads: the partition they belong to.", metavar="NAME")]
ProgramId = Annotated[int | None, typer.Option(help="Program members: the program.", min=1, metavar="ID")]
MemberStatus = Annotated[str | None, typer.Option(help="Program members: their status.", metavar="STATUS")]
FormatOption = Annotated[FileFormat, typer.Option("--format", help="How cells are separated.")]
Repeated = Annotated[
    OnRepeatedKey,
    typer.Option(help="order: the last row of a key wins. ignore: keys are unique; if not, duplicates arise."),
]
NoCheck = Annotated[bool, typer.Option("--no-check", help="Do not compare headers with Marketo's fields.")]
Name = Annotated[str | None, typer.Option(help="A name for the job.", metavar="TEXT")]
JobId = Annotated[str, typer.Argument(help="A job's id, or the beginning of it.", metavar="JOB")]


@app.callback(invoke_without_command=True)
def root(
    *,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.", is_eager=True)] = False,
) -> None:
    """Import huge CSV files into Adobe Marketo Engage as fast as its limits allow, and account for every row."""
    if version:
        sys.stdout.write(f"orchestrator {metadata.version('marketo-bulk-orchestrator')}\n")
        raise typer.Exit(0)


@app.command(
    "import",
    epilog=examples(
        "orchestrator import leads.csv",
        "orchestrator import leads-*.csv --out report --name spring",
        "orchestrator import leads.csv --json > events.jsonl",
    ),
)
@takes(Common)
def import_(
    common: Common,
    files: Files,
    object_: Object = "leads",
    lookup_field: LookupField = "email",
    list_id: ListId = None,
    partition: Partition = None,
    program_id: ProgramId = None,
    member_status: MemberStatus = None,
    format_: FormatOption = FileFormat.AUTO,
    on_repeated_key: Repeated = OnRepeatedKey.ORDER,
    no_check: NoCheck = False,
    name: Name = None,
    out: Annotated[Path | None, typer.Option(help="Directory of the report; default: ./JOB.", metavar="DIR")] = None,
) -> int:
    """Import files as one job: check, send, wait, report."""
    from orchestrator.cli.importing import import_files

    def request() -> ImportRequest:
        target = target_of(object_, lookup_field, list_id, partition, program_id, member_status)
        return request_of(files, target, format_, on_repeated_key, check=not no_check, name=name, out=out)

    return import_files(common, request)


@app.command(
    epilog=examples(
        "orchestrator plan leads.csv",
        "orchestrator plan leads.csv --offline --json",
    )
)
@takes(Common)
def plan(
    common: Common,
    files: Files,
    object_: Object = "leads",
    lookup_field: LookupField = "email",
    list_id: ListId = None,
    partition: Partition = None,
    program_id: ProgramId = None,
    member_status: MemberStatus = None,
    format_: FormatOption = FileFormat.AUTO,
    on_repeated_key: Repeated = OnRepeatedKey.ORDER,
    no_check: NoCheck = False,
    offline: Annotated[bool, typer.Option("--offline", help="Ask Marketo nothing.")] = False,
) -> int:
    """Say what an import would take: chunks, rows, calls, time. Nothing is sent."""
    from orchestrator.cli.showing import show_plan

    def request() -> ImportRequest:
        target = target_of(object_, lookup_field, list_id, partition, program_id, member_status)
        return request_of(files, target, format_, on_repeated_key, check=not no_check, name=None, out=None)

    return show_plan(common, request, offline=offline)


@app.command(epilog=examples("orchestrator jobs", "orchestrator jobs --json"))
@takes(Common)
def jobs(common: Common) -> int:
    """List all jobs that the journal knows."""
    from orchestrator.cli.showing import show_jobs

    return show_jobs(common)


@app.command(epilog=examples("orchestrator status", "orchestrator status 20260301 --json"))
@takes(Common)
def status(
    common: Common,
    job: Annotated[
        str | None, typer.Argument(help="A job's id, or its beginning; default: the latest.", metavar="[JOB]")
    ] = None,
) -> int:
    """Show one job: its chunks and batches, and what they wait for."""
    from orchestrator.cli.showing import show_status

    return show_status(common, job)


@app.command(epilog=examples("orchestrator resume", "orchestrator resume 20260301"))
@takes(Common)
def resume(
    common: Common,
    job: Annotated[
        list[str] | None, typer.Argument(help="Jobs to go on with; default: all that may.", metavar="[JOB]...")
    ] = None,
) -> int:
    """Go on with jobs that a crash, a signal or a passing cause stopped."""
    from orchestrator.cli.importing import resume_jobs

    return resume_jobs(common, job or [])


@app.command(epilog=examples("orchestrator report 20260301", "orchestrator report 20260301 --out report"))
@takes(Common)
def report(
    common: Common,
    job: JobId,
    out: Annotated[
        Path | None, typer.Option(help="Directory to write to; default: the job's own.", metavar="DIR")
    ] = None,
) -> int:
    """Write the report of a job again."""
    from orchestrator.cli.showing import write_report

    return write_report(common, job, out)


@app.command(
    epilog=examples(
        "orchestrator emulator",
        "orchestrator emulator --port 9000 --speed 60",
        """orchestrator emulator --fault '{"on": "create", "nth": 3, "do": "lose_answer_after_accept"}'""",
    )
)
@takes(Output)
def emulator(
    output: Output,
    host: Annotated[str, typer.Option(help="Address to listen at.", metavar="ADDRESS")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at; 0 chooses one.", min=0, max=65535)] = 8080,
    speed: Annotated[
        float | None, typer.Option(help="Emulated seconds per second.  [default: 1]", metavar="NUMBER")
    ] = None,
    rows_per_second: Annotated[
        float | None, typer.Option(help="Emulated speed of one import.  [default: 100]", metavar="NUMBER")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything drawn by chance.  [default: 1]")] = None,
    file: Annotated[Path | None, typer.Option(help="JSON file with all it should be.", metavar="FILE")] = None,
    fault: Annotated[
        list[str] | None, typer.Option(help="Something that goes wrong; repeatable.", metavar="JSON")
    ] = None,
    until_eof: Annotated[bool, typer.Option("--until-eof", hidden=True)] = False,
) -> int:
    """Run a local Marketo to try things against."""
    from orchestrator.cli.emulating import run_emulator

    values = {"speed": speed, "rows_per_second": rows_per_second, "seed": seed}
    return run_emulator(output, host=host, port=port, file=file, faults=fault or [], values=values, until_eof=until_eof)


@app.command(
    epilog=examples(
        "orchestrator demo",
        "orchestrator demo --rows 20000 --out demo",
    )
)
@takes(Output)
def demo(
    output: Output,
    size: Annotated[float, typer.Option(help="Size of the generated file, in MB.", min=0.001, max=10_000)] = 100.0,
    rows: Annotated[int | None, typer.Option(help="Its rows, in place of its size.", min=1)] = None,
    speed: Annotated[float, typer.Option(help="Speed of the local Marketo.", min=0.1, max=10_000)] = 150.0,
    out: Annotated[
        Path | None, typer.Option(help="Empty directory for it all; default: a temporary one.", metavar="DIR")
    ] = None,
) -> int:
    """Import a generated file into a local Marketo, and write the report."""
    from orchestrator.cli.demo import run_demo

    return run_demo(output, out=out, size_mb=size, row_count=rows, speed=speed)


# --- from flags to what the library takes ---------------------------------------------------------------


def target_of(
    object_: str,
    lookup_field: str,
    list_id: int | None,
    partition: str | None,
    program_id: int | None,
    member_status: str | None,
) -> Target:
    """Return the target that the flags describe; ConfigError names the flag that is missing or too much."""
    from orchestrator.model import CustomObjects, Leads, ProgramMembers

    leads = {"--lookup-field": lookup_field != "email", "--list-id": list_id, "--partition": partition}
    members = {"--program-id": program_id, "--member-status": member_status}
    too_much = [
        flag
        for flag, value in ({} if object_ == "leads" else leads).items()
        | ({} if object_ == "program-members" else members).items()
        if value
    ]
    if too_much:
        raise ConfigError(f"{', '.join(sorted(too_much))}: not for --object {object_}")
    if object_ == "leads":
        return Leads(lookup_field=lookup_field, list_id=list_id, partition=partition)
    if object_ == "program-members":
        if program_id is None or not member_status:
            raise ConfigError("--object program-members: give --program-id and --member-status, too")
        return ProgramMembers(program_id=program_id, member_status=member_status)
    kind, _, api_name = object_.partition(":")
    if kind != "custom" or not api_name:
        raise ConfigError(f"--object {object_}: must be leads, custom:API_NAME or program-members")
    return CustomObjects(api_name=api_name)


def request_of(
    files: Sequence[str],
    target: Target,
    format_: FileFormat,
    on_repeated_key: OnRepeatedKey,
    *,
    check: bool,
    name: str | None,
    out: Path | None,
) -> ImportRequest:
    """Return the request that the flags describe."""
    from orchestrator.model import Format, RepeatedKeys
    from orchestrator.requests import ImportRequest

    return ImportRequest(
        sources=expand(files),
        target=target,
        format=None if format_ is FileFormat.AUTO else Format(format_.value),
        name=name,
        on_repeated_key=RepeatedKeys(on_repeated_key.value),
        check=check,
        out_dir=out,
    )


def expand(files: Sequence[str]) -> list[str]:
    """Replace patterns by the files that match, in natural order; the name of an existing file is no pattern."""
    found: list[str] = []
    for file in files:
        is_pattern = any(character in file for character in "*?[") and not Path(file).exists()
        matches = sorted(glob.glob(file, recursive=True), key=_natural) if is_pattern else [file]  # noqa: PTH207  # as given
        if not matches:
            raise SourceError(f"{file}: no file matches; check the pattern")
        found += matches
    return found


def _natural(path: str) -> list[tuple[int, int, str]]:
    """Order file-2 before file-10."""
    parts = re.split(r"([0-9]+)", path)
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts]


def run(arguments: Sequence[str]) -> int:
    """Run the command line; return its exit code."""
    try:
        app(args=list(arguments), prog_name="orchestrator")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    return 0
