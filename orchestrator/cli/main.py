"""The commands, their flags and their help.

Each command's work is in a module that is imported when the command runs, so ``--help`` is instant.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.common import Common, Output, takes
from orchestrator.cli.flags import Confirm, DraftFlags, ImportFlags, OnUnknownAnswer, TakeOver
from orchestrator.cli.refusals import Commands

app = typer.Typer(
    name="orchestrator",
    cls=Commands,
    help="Import huge CSV files into Adobe Marketo Engage as fast as its limits allow, and account for every row.",
    rich_markup_mode=None,
    add_completion=True,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def examples(*lines: str) -> str:
    """Return the end of a command's help: examples, each on its line."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


Files = Annotated[
    list[str],
    typer.Argument(
        help="Files to import, in this order; patterns in natural order; - is standard input; https:// is fetched.",
        metavar="FILE",
    ),
]
JobId = Annotated[str, typer.Argument(help="A job's id, or the beginning of it.", metavar="JOB")]


@app.callback(invoke_without_command=True)
def root(
    *,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.", is_eager=True)] = False,
) -> None:
    """Import huge CSV files into Adobe Marketo Engage as fast as its limits allow, and account for every row."""
    if version:
        from importlib import metadata

        sys.stdout.write(f"orchestrator {metadata.version('marketo-bulk-orchestrator')}\n")
        raise typer.Exit(0)


# --- jobs -----------------------------------------------------------------------------------------------


@app.command(
    "import",
    epilog=examples(
        "orchestrator import leads.csv",
        "orchestrator import 'leads-*.csv' --out report --name spring --label team=emea",
        "orchestrator import leads.csv --canary 500 --max-failed 5%",
        "orchestrator import cars.csv --object custom:car_c --accept-failed 10",
        "orchestrator import guests.csv --object program-members --program-id 1044 --member-status Invited",
        "orchestrator import leads.csv.gz --encoding cp1252",
        "orchestrator import leads.csv --map mapping.toml --on-repeated-key last",
        "orchestrator import leads.csv --json > events.jsonl",
    ),
)
@takes(ImportFlags, Common)
def import_(flags: ImportFlags, common: Common, files: Files) -> int:
    """Import files as one job: check, send, wait, report."""
    from orchestrator.cli.importing import import_files

    return import_files(common, lambda: flags.request(files), take_over=flags.take_over, confirmed=flags.confirm)


@app.command(
    epilog=examples(
        "orchestrator plan leads.csv",
        "orchestrator plan leads.csv --offline --json",
    )
)
@takes(ImportFlags, Common)
def plan(
    flags: ImportFlags,
    common: Common,
    files: Files,
    offline: Annotated[bool, typer.Option("--offline", help="Ask Marketo nothing.")] = False,
) -> int:
    """Say what an import would take: chunks, rows, calls, time. Nothing is sent.

    It takes all flags of import, to stand in its place; those that are about sending have no effect.
    """
    from orchestrator.cli.planning import show_plan

    return show_plan(common, lambda: flags.request(files), offline=offline, flags=flags.words())


@app.command(
    epilog=examples(
        "orchestrator check leads.csv",
        "orchestrator check 'leads-*.csv' --offline --json",
    )
)
@takes(ImportFlags, Common)
def check(
    flags: ImportFlags,
    common: Common,
    files: Files,
    offline: Annotated[bool, typer.Option("--offline", help="Ask Marketo nothing.")] = False,
) -> int:
    """Check files and target as an import does first. Nothing is sent.

    It takes all flags of import, to stand in its place; those that are about sending have no effect.
    """
    from orchestrator.cli.checking import check_files

    return check_files(common, lambda: flags.request(files), offline=offline, flags=flags.words())


@app.command(
    "map",
    epilog=examples(
        "orchestrator map leads.csv",
        "orchestrator map cars.csv --object custom:car_c --out cars.toml",
    ),
)
@takes(DraftFlags, Common)
def map_(flags: DraftFlags, common: Common, files: Files) -> int:
    """Draft a mapping of columns to fields, for import --map. Nothing is sent."""
    from orchestrator.cli.drafting import draft_mapping

    return draft_mapping(common, flags, files)


@app.command(epilog=examples("orchestrator jobs", "orchestrator jobs --json"))
@takes(Common)
def jobs(common: Common) -> int:
    """List all jobs that the journal knows."""
    from orchestrator.cli.jobs import show_jobs

    return show_jobs(common)


@app.command(epilog=examples("orchestrator status", "orchestrator status 20260301-0910 --json"))
@takes(Common)
def status(
    common: Common,
    job: Annotated[
        str | None, typer.Argument(help="A job's id, or its beginning; default: the latest.", metavar="JOB")
    ] = None,
) -> int:
    """Show one job: its chunks and batches, and what they wait for."""
    from orchestrator.cli.showing import show_status

    return show_status(common, job)


@app.command(
    epilog=examples("orchestrator wait 20260301", "orchestrator wait 20260301-0910 20260301-0915 --timeout 3600")
)
@takes(Common)
def wait(
    common: Common,
    job: Annotated[list[str], typer.Argument(help="Jobs to wait for: ids, or beginnings of them.", metavar="JOB")],
    timeout: Annotated[
        float | None, typer.Option(help="Wait no longer than this; then exit 5.", min=0, metavar="SECONDS")
    ] = None,
) -> int:
    """Wait until jobs end, and end with their exit code. Other processes work on them; this one sends nothing."""
    from orchestrator.cli.waiting import wait_for_jobs

    return wait_for_jobs(common, job, timeout_s=timeout)


@app.command(
    epilog=examples(
        "orchestrator resume", "orchestrator resume 20260301", "orchestrator resume 20260301 --on-unknown resubmit"
    )
)
@takes(Common)
def resume(
    common: Common,
    job: Annotated[
        list[str] | None, typer.Argument(help="Jobs to go on with; default: all that may.", metavar="JOB")
    ] = None,
    on_unknown: Annotated[
        OnUnknownAnswer | None,
        typer.Option(help="From now on, for uploads whose answer is lost; default: as the import was told."),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source",
            help="A source of the job that was moved; its content is compared. Repeatable.",
            metavar="OLD=NEW",
        ),
    ] = None,
    take_over: TakeOver = False,
    confirm: Confirm = None,
) -> int:
    """Go on with jobs that stopped for a cause that passes. A paused one, or one stopped for good, has to be named."""
    from orchestrator.cli.importing import resume_jobs

    return resume_jobs(
        common, job or [], on_unknown=on_unknown, moved=source or [], take_over=take_over, confirmed=confirm
    )


Reason = Annotated[str | None, typer.Option(help="Why; it is told to whoever follows the job.", metavar="TEXT")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until the job has stopped, and end with its exit code.")]


@app.command(epilog=examples("orchestrator pause 20260301", "orchestrator pause 20260301 --reason 'campaign at noon'"))
@takes(Common)
def pause(common: Common, job: JobId, reason: Reason = None, wait: Wait = False) -> int:  # Typer
    """Send no more of a job until it is resumed. What Marketo has is imported in any case; it has no way to cancel."""
    from orchestrator.cli.controlling import stop_job
    from orchestrator.model import Wish

    return stop_job(common, job, Wish.PAUSE, reason=reason, wait=wait)


@app.command(epilog=examples("orchestrator cancel 20260301", "orchestrator cancel 20260301 --wait"))
@takes(Common)
def cancel(common: Common, job: JobId, reason: Reason = None, wait: Wait = False) -> int:  # Typer
    """Send no more of a job, for good. What Marketo has is imported in any case, and stands in the report."""
    from orchestrator.cli.controlling import stop_job
    from orchestrator.model import Wish

    return stop_job(common, job, Wish.CANCEL, reason=reason, wait=wait)


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


# --- Marketo, and the way to it ----------------------------------------------------------------------------


@app.command(
    epilog=examples(
        "orchestrator describe leads",
        "orchestrator describe custom:car_c --json",
    )
)
@takes(Common)
def describe(
    common: Common,
    target: Annotated[str, typer.Argument(help="leads, program-members or custom:API_NAME.", metavar="TARGET")],
) -> int:
    """List the fields that the columns of a file may be named after."""
    from orchestrator.cli.asking import show_fields

    return show_fields(common, target)


@app.command(epilog=examples("orchestrator usage", "orchestrator usage --json"))
@takes(Common)
def usage(common: Common) -> int:
    """Show the API calls of today, by user. They are those of everybody who uses the subscription."""
    from orchestrator.cli.asking import show_usage

    return show_usage(common)


@app.command(epilog=examples("orchestrator doctor", "orchestrator doctor --subscription sandbox --json"))
@takes(Common)
def doctor(common: Common) -> int:
    """Look for what could keep imports from working. Credentials, permissions, clock, quota, journal and disk."""
    from orchestrator.cli.asking import show_doctor

    return show_doctor(common)


journal_app = typer.Typer(help="Look after the journal.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(journal_app, name="journal")


@journal_app.command("check", epilog=examples("orchestrator journal check", "orchestrator journal check --json"))
@takes(Common)
def journal_check(common: Common) -> int:
    """Read the whole journal and what lies beside it, and say what cannot be as it is. It changes nothing."""
    from orchestrator.cli.auditing import check_journal

    return check_journal(common)


@app.command(
    epilog=examples(
        "orchestrator init",
        "orchestrator init --munchkin-id 123-ABC-456 --client-id 0000-1111 --secret-file /run/secrets/marketo",
        "orchestrator init --subscription sandbox",
    )
)
@takes(Common)
def init(
    common: Common,
    munchkin_id: Annotated[
        str | None, typer.Option(help="Of the Marketo instance; asked for if not given.", metavar="ID")
    ] = None,
    rest_url: Annotated[
        str | None, typer.Option(help="Instead of it: the REST endpoint, if it is none of Marketo's.", metavar="URL")
    ] = None,
    client_id: Annotated[
        str | None, typer.Option(help="Of the custom service; asked for if not given.", metavar="ID")
    ] = None,
    secret_file: Annotated[
        Path | None,
        typer.Option(help="A file that holds the client secret; it is used where it is.", metavar="FILE"),
    ] = None,
) -> int:
    """Ask for credentials, test them, write them down. In a settings file and, the secret, in one of its own."""
    from orchestrator.cli.initial import run_init

    return run_init(common, munchkin_id=munchkin_id, rest_url=rest_url, client_id=client_id, secret_file=secret_file)


# --- a local Marketo ----------------------------------------------------------------------------------------


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
    """Import a generated file into a local Marketo."""
    from orchestrator.cli.demo import run_demo

    return run_demo(output, out=out, size_mb=size, row_count=rows, speed=speed)


def run(arguments: Sequence[str]) -> int:
    """Run the command line; return its exit code."""
    try:
        app(args=list(arguments), prog_name="orchestrator")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    return 0
