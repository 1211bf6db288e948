"""How a command ends: what happened, numbers that add up, where the reports are, and what to do next."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli.console import Console
from orchestrator.cli.words import number, printable, rows, table
from orchestrator.journal.values import OVER
from orchestrator.model import ExitCode, JobState, Wish
from orchestrator.report.ending import decisions

if TYPE_CHECKING:
    from orchestrator.report.summary import Summary

REASONS_SHOWN_MAX = 5
FINDINGS_SHOWN_MAX = 5

_LOOKED_AT = (ExitCode.OK, ExitCode.ROWS_FAILED, ExitCode.THRESHOLD)  # of a job that has ended: its report tells all
_OF_ROWS = (ExitCode.OK, ExitCode.ROWS_FAILED, ExitCode.ROWS_UNKNOWN)  # codes that tell of nothing but rows

MEANINGS = {
    ExitCode.OK: "every row was accepted",
    ExitCode.INTERNAL: "this program failed; if the message above is no help, please report it",
    ExitCode.USAGE: "wrong usage or settings; nothing was sent",
    ExitCode.ROWS_FAILED: "finished; Marketo refused some rows, and failures.csv has each of them with its reason",
    ExitCode.INPUT_REFUSED: "the input was refused before anything was sent",
    ExitCode.INTERRUPTED: "stopped by something that passes; orchestrator resume goes on with what was begun",
    ExitCode.DENIED: "Marketo refuses the credentials, or their user lacks a permission",
    ExitCode.ROWS_UNKNOWN: "finished, except rows whose outcome Marketo does not tell",
    ExitCode.THRESHOLD: "stopped by a limit: of rows that may fail, or of the API calls of a day",
    ExitCode.REFUSED: "Marketo refused for good after some rows were sent; what it accepted is in the report",
    ExitCode.SIGINT: "stopped on request; orchestrator resume goes on with what was begun",
    ExitCode.SIGTERM: "stopped on request; orchestrator resume goes on with what was begun",
}


def tell_end(
    console: Console, summary: Summary, out_dir: Path, code: ExitCode, flags: str = "", *, wish: Wish | None = None
) -> None:
    """Say how one job ended; ``flags`` are those that the next command needs besides those it has.

    ``wish`` is what somebody wanted of the job.
    """
    style = {ExitCode.OK: "good", ExitCode.ROWS_FAILED: "warn"}.get(code, "bad")
    console.say()
    console.insist(_headline(summary, wish), style)
    for line in (*_numbers(summary), *_reasons(summary), *_findings(summary)):
        console.say(line)
    console.say()
    if "report_unwritten" in summary.exit_reasons:
        console.say(
            f"Report: not written to {out_dir}; orchestrator report {summary.job_id} --out DIR writes it elsewhere"
        )
    else:
        console.say(f"Report: {out_dir / 'report.html'}")
        console.say(f"        {_files(summary)}")
    tell_code(
        console, code, _following(summary, out_dir, code) or summary.next + flags, meaning=_meaning(summary, code)
    )


def tell_canary(console: Console, summary: Summary) -> None:
    """Say what became of the rows that were sent first, for somebody who decides about the others."""
    counts = summary.rows
    console.insist()
    console.insist(f"The canary is through: {rows(counts.read - counts.unsent)} of {number(counts.in_source)}.", "bold")
    lines = [
        ("accepted", counts.accepted, f"{number(counts.warned)} with a warning" if counts.warned else ""),
        ("failed", counts.failed, f"{number(counts.unmatched)} without a source row" if counts.unmatched else ""),
        *([("unknown", counts.unknown, "")] if counts.unknown else []),
    ]
    for line in (*_count_table(lines), *_reasons(summary), *_findings(summary)):
        console.insist(line)
    console.insist()


def tell_code(console: Console, code: ExitCode, next_command: str | None = None, *, meaning: str | None = None) -> None:
    """Say what the exit code means, here or in general, and what to do next."""
    console.insist(f"Exit code {int(code)}: {meaning or MEANINGS[code]}.")
    if next_command:
        for line in next_lines(next_command):
            console.insist(line)


def next_lines(command: str) -> list[str]:
    """Say which command is next, or which there are to choose from."""
    choices = decisions(command)
    if not choices:
        return [f"Next: {_as_started(command)}"]
    lines = [line for each, does in choices for line in (f"      {_as_started(each)}", f"        {does}")]
    return ["Next:", *lines]


def _following(summary: Summary, out_dir: Path, code: ExitCode) -> str | None:
    """Return how to open what a person looks at next, if nothing is left to be done with the job itself."""
    if summary.state not in OVER or code not in _LOOKED_AT:
        return None
    name = "failures.csv" if summary.rows.failed else "report.html"
    return f"open {shlex.quote(str(out_dir / name))}"


def _as_started(command: str) -> str:
    """Return a command that finds this program as it was started, if the shell would not find it by its name."""
    started = Path(sys.argv[0])
    if (
        not command.startswith("orchestrator ")
        or started.name != "orchestrator"
        or shutil.which("orchestrator") is not None
    ):
        return command
    return f"{shlex.quote(str(started))} {command.removeprefix('orchestrator ')}"


def _meaning(summary: Summary, code: ExitCode) -> str | None:
    """Return what a code means for this job, if that can be said better than in general."""
    failed, unsent = summary.rows.failed, rows(summary.rows.unsent)
    if summary.state == JobState.CANCELLED and code in _OF_ROWS:
        return _cancelled(summary)
    match code:
        case ExitCode.OK if failed:
            return f"finished; {rows(failed)} failed, which --accept-failed allows"
        case ExitCode.OK if not summary.rows.in_source:
            return "there were no rows to import"
        case ExitCode.ROWS_UNKNOWN if "held" in summary.exit_reasons:
            return (
                f"finished, except uploads whose answer is lost; look for their {rows(summary.rows.unknown)} in Marketo, "
                "then decide"
            )
        case ExitCode.INTERRUPTED if "canary" in summary.exit_reasons:
            return f"paused behind the canary; a resume sends the other {unsent}"
        case ExitCode.INTERRUPTED if summary.state == JobState.PAUSED:
            return f"paused on request; a resume sends the other {unsent}"
        case ExitCode.THRESHOLD if "threshold" in summary.exit_reasons and summary.state == JobState.COMPLETE:
            return "finished, but more rows failed than --max-failed allows; failures.csv has each of them"
        case ExitCode.THRESHOLD if "threshold" in summary.exit_reasons:
            return f"paused because more rows failed than --max-failed allows; a resume sends the other {unsent}"
        case ExitCode.THRESHOLD if "quota_exhausted" in summary.exit_reasons:
            return (
                "the API calls of the day are used up, but for those left to others; after midnight in US Central Time, "
                "a resume goes on"
            )
    return None


def _cancelled(summary: Summary) -> str:
    counts = summary.rows
    parts = [f"{rows(counts.unsent)} will never be sent"]
    if counts.failed:
        parts.append(f"Marketo refused {number(counts.failed)}, and failures.csv has them")
    if counts.unknown:
        parts.append(f"what became of {number(counts.unknown)} is not known")
    return f"cancelled on request; {', '.join(parts)}"


def _headline(summary: Summary, wish: Wish | None) -> str:
    counts = summary.rows
    of = f"{number(counts.accepted)} of {rows(counts.in_source)} accepted"
    name = f"Job {summary.job_id}" + (f" ({printable(summary.name)})" if summary.name else "")
    match summary.state:
        case JobState.COMPLETE:
            return f"{name} is complete: {of}{'; nothing was left to cancel' if wish is Wish.CANCEL else ''}."
        case JobState.CANCELLED:
            return f"{name} is cancelled: {of}."
        case JobState.PAUSED:
            return f"{name} is paused: {of}."
        case JobState.FAILED:
            return f"{name} was refused: nothing was sent."
    return f"{name} is not finished: {of}."


def _numbers(summary: Summary) -> list[str]:
    counts = summary.rows
    lines = [
        ("rows in the sources" if len(summary.sources) > 1 else "rows in the source", counts.in_source, ""),
        ("accepted", counts.accepted, f"{number(counts.warned)} with a warning" if counts.warned else ""),
        ("failed", counts.failed, f"{number(counts.unmatched)} without a source row" if counts.unmatched else ""),
        ("unsent", counts.unsent, ""),
        ("unknown", counts.unknown, _of_unknown(summary)),
    ]
    if counts.skipped.superseded:
        lines.insert(1, ("skipped", counts.skipped.superseded, "a later row of the same key was sent"))
    return _count_table(lines)


def _of_unknown(summary: Summary) -> str:
    if not summary.rows.unknown or summary.state != JobState.INCOMPLETE:
        return ""
    return "held: you decide" if "held" in summary.exit_reasons else "at Marketo or on the way; resume finds out"


def _count_table(lines: Sequence[tuple[str, int, str]]) -> list[str]:
    cells = [(f"  {name}", number(value), f"({note})" if note else "") for name, value, note in lines]
    return ["", *table(cells, right=(1,))]


def _reasons(summary: Summary) -> list[str]:
    found = summary.reasons
    if not found:
        return []
    cells = [
        (f"  {one.id}", one.kind, number(one.rows), printable(one.reason), _example(one.example_row))
        for one in found[:REASONS_SHOWN_MAX]
    ]
    more = len(found) - REASONS_SHOWN_MAX
    return [
        "",
        "What Marketo said of rows:",
        *table(cells, right=(2,)),
        *([f"  and {more} more in the report"] if more > 0 else []),
    ]


def _example(row: int | None) -> str:
    return f"(row {number(row)})" if row is not None else ""


def _findings(summary: Summary) -> list[str]:
    found = [one.message for one in summary.findings]
    more = len(found) - FINDINGS_SHOWN_MAX
    shown = [f"  - {printable(text)}" for text in found[:FINDINGS_SHOWN_MAX]]
    return ["", "To know:", *shown, *([f"  and {more} more in the report"] if more > 0 else [])] if found else []


def _files(summary: Summary) -> str:
    counts = summary.rows
    left_out = f", superseded.csv ({rows(counts.skipped.superseded)})" if counts.skipped.superseded else ""
    return (
        f"failures.csv ({rows(counts.failed)}), warnings.csv ({rows(counts.warned)}){left_out} and summary.json "
        "are beside it"
    )


def explain_skipped(console: Console, skipped: Sequence[tuple[str, str]]) -> None:
    """Say which jobs were left alone, and why."""
    for job_id, why in skipped:
        console.insist(f"Skipped {job_id}: {why}", "warn")
