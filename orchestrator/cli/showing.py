"""``jobs``, ``status`` and ``report``: they read, and write nothing to Marketo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from textwrap import indent
from typing import Any

from orchestrator.app import Orchestrator
from orchestrator.blocking import Blocker, Why
from orchestrator.cli.batches import batch_lines, chunk_names
from orchestrator.cli.common import Common
from orchestrator.cli.console import Console
from orchestrator.cli.endings import next_lines
from orchestrator.cli.progress import behind_words, eta_words, hung_words
from orchestrator.cli.session import execute, find_job, further_flags, read_settings, same_flags
from orchestrator.cli.words import day_end_words, duration, moment, number, percent, plural, rows, size
from orchestrator.clock import SystemClock
from orchestrator.control import AT_MARKETO
from orchestrator.errors import ConfigError
from orchestrator.following import UNFINISHED, JobStatus
from orchestrator.journal.values import OVER
from orchestrator.model import (
    Chunk,
    ChunkId,
    CustomObjects,
    ExitCode,
    Job,
    JobId,
    JobState,
    Leads,
    OnUnknown,
    Phase,
    Priority,
    Source,
    Target,
)
from orchestrator.report.ending import next_command
from orchestrator.report.eta import Eta
from orchestrator.report.summary import iso

_ENDED = "finished"  # what became of a job at ``finished_ms``, unless it only
_STOOD = {JobState.PAUSED: "paused", JobState.INCOMPLETE: "stopped"}


def of_subscription(subscription: str | None, found: Sequence[Job]) -> list[Job]:
    """Return the jobs of a subscription, if one is named."""
    return [job for job in found if subscription is None or job.subscription == subscription]


def show_status(common: Common, job_id: str | None) -> ExitCode:
    """Show one job; the latest one unless named."""

    async def body(console: Console) -> ExitCode:
        async with Orchestrator.open(read_settings(common), subscription=common.subscription) as orchestrator:
            chosen = job_id
            if chosen is None:
                chosen = latest(of_subscription(common.subscription, await orchestrator.jobs())).id
            status = await (await find_job(orchestrator, chosen)).status()
        if console.json:
            console.document(status_document(status))
        else:
            now_ms = SystemClock().now_ms()
            for line in status_lines(status, same_flags(common), now_ms=now_ms, width=console.width):
                console.prose(line)
        return ExitCode.OK

    return execute(common, body)


def latest(found: Sequence[Job]) -> Job:
    """Return the latest job, if possible one that was not refused before anything was sent; ConfigError if none is there."""
    if not found:
        raise ConfigError("the journal has no jobs yet; orchestrator import FILE makes one")
    return next((job for job in reversed(found) if job.state is not JobState.FAILED), found[-1])


def status_document(status: JobStatus) -> dict[str, Any]:
    """Describe one job as ``--json`` has it."""
    deadlines = [{"deadline_ms": chunk.deadline_ms} for chunk in status.chunks]
    document: dict[str, Any] = plain(status)
    document["chunks"] = [each | more for each, more in zip(document["chunks"], deadlines, strict=True)]
    prospect = document.pop("prospect")
    end = prospect["calls_end"] or {"exhausted_ms": None}
    return document | {
        "eta": eta_document(status.prospect.eta),
        "calls": {"exhausted_at": iso(end["exhausted_ms"])},
    }


def eta_document(eta: Eta | None) -> dict[str, str | None] | None:
    """Return a forecast as ``--json`` has it: two times in ISO 8601, and what they are judged by."""
    return None if eta is None else {"p50": iso(eta.p50_ms), "p90": iso(eta.p90_ms), "basis": eta.basis}


def status_lines(status: JobStatus, flags: str, *, now_ms: int, width: int | None = None) -> list[str]:
    """Describe one job; tables are no wider than ``width``, if it is given."""
    names = chunk_names(status.chunks)
    eta, calls_end, behind = status.prospect.eta, status.prospect.calls_end, status.prospect.behind
    job, progress = status.job, status.progress
    total = progress.total
    done = progress.accepted + progress.failed + progress.unknown
    in_doubt = sum(tally.rows for phase, tally in progress.phases.items() if phase is Phase.UNKNOWN)
    at_marketo = sum(tally.rows for phase, tally in progress.phases.items() if phase in AT_MARKETO)
    lines = [
        f"Job {job.id}{f' ({job.name})' if job.name else ''}: {state_words(job.state, attended=status.attended)}",
        f"  target    {target_words(job.target)} of {job.subscription} at {job.host}, API user {job.api_user or '-'}",
        *([f"  labels    {', '.join(f'{name}={value}' for name, value in job.labels)}"] if job.labels else []),
        f"  times     created {moment(job.created_ms)}"
        f"{f', {_STOOD.get(job.state, _ENDED)} {moment(job.finished_ms)}' if job.finished_ms else ''}",
        *(
            [f"  asked     to {job.wish}, {moment(job.wish_ms)}{f': {job.wish_reason}' if job.wish_reason else ''}"]
            if job.wish
            else []
        ),
        *([f"  driver    {_driver_words(status, flags)}"] if job.state in UNFINISHED else []),
        *([f"  priority  {job.options.priority}"] if job.options.priority is not Priority.NORMAL else []),
        *([f"  after     job {job.options.after}: nothing is sent before its end"] if job.options.after else []),
        *(f"  source    {source_words(source)}" for source in status.sources),
        f"  rows      {number(done)} of {number(total.rows)}{f' ({percent(done, total.rows)})' if total.rows else ''}: "
        f"{number(progress.accepted)} accepted"
        f"{f' ({number(progress.warned)} with a warning)' if progress.warned else ''}, "
        f"{number(progress.failed)} failed, {number(progress.unknown + in_doubt)} unknown"
        f"{f' ({number(in_doubt)} whose answer was lost)' if in_doubt else ''}"
        f"{f', {number(at_marketo)} at Marketo' if at_marketo else ''}",
        *([f"  forecast  {behind_words(behind)}"] if behind else []),
        *([f"  forecast  {eta_words(eta, now_ms)}"] if eta else []),
        f"  chunks    {_phase_words(status)}",
        f"  calls     {_pairs(status.counters.api_calls) or 'none'}",
        *([f"  day       {day_end_words(calls_end, now_ms)}"] if calls_end else []),
    ]
    lines += [
        f"  waited    {cause.replace('_', ' ')}: {plural(wait.count, 'time')}, {duration(wait.ms / 1000)}"
        for cause, wait in status.counters.waits.items()
    ]
    asked = [finding for finding in status.findings if finding.kind == "stop_asked"][-1:] if job.wish_reason else []
    found = [finding for finding in status.findings if finding not in asked]  # else it would be told twice
    lines += [f"  finding   {indent(finding.message, ' ' * 12).lstrip()}" for finding in found]
    lines += [f"  waits     {_blocker_words(blocker, job.id, names)}" for blocker in status.blockers]
    lines += [f"  held      {_rows_words(status, chunk)} (chunk {names[chunk.id]}), whose answer was lost, {_held_words(status, chunk)}"
              for chunk in status.chunks if chunk.phase is Phase.UNKNOWN]  # fmt: skip
    lines += _deadline_lines(status)
    lines += batch_lines(status.chunks, now_ms=now_ms, width=width)
    if job.state not in OVER:
        command = next_command(job, ExitCode(job.exit_code or ExitCode.INTERRUPTED)) + further_flags(job, flags)
        if status.attended:
            command = f"orchestrator {'resume --take-over' if status.prospect.hung else f'wait {job.id}'}{flags}"
        lines += ["", *next_lines(command)]
    return lines


def state_words(state: JobState, *, attended: bool) -> str:
    """Say the state of a job, and if it is to go on though no process works on it."""
    return state if attended or state not in UNFINISHED else f"{state} (nobody works on it)"


def _driver_words(status: JobStatus, flags: str) -> str:
    if status.prospect.hung is not None:
        return hung_words(status.prospect.hung, flags)
    if status.driver is not None:
        return f"{status.driver.name} sends it"
    return "a process waits until it can be sent" if status.attended else "nobody works on it"


def _deadline_lines(status: JobStatus) -> list[str]:
    """Say until when Marketo tells what became of the oldest batch whose outcome is not fetched yet."""
    found = [(chunk.deadline_ms, chunk.batch_id) for chunk in status.chunks if chunk.deadline_ms is not None]
    if not found:
        return []
    until_ms, batch_id = min(found, key=lambda each: each[0])
    return [f"  deadline  {moment(until_ms)}: until then Marketo tells what became of batch {batch_id}"]


def _blocker_words(blocker: Blocker, job_id: JobId, names: Mapping[ChunkId, str]) -> str:
    waiting = names.get(blocker.waiting, str(blocker.waiting))
    batch = "" if blocker.batch_id is None else f"batch {blocker.batch_id}"
    if blocker.job_id == job_id:
        what = f"chunk {names.get(blocker.chunk, str(blocker.chunk))}{f', {batch}' if batch else ''}"
    else:  # chunks of other jobs have no names here
        what = f"{batch or 'an upload'} of job {blocker.job_id}"
    if blocker.why is Why.SLOW_START:
        return f"chunk {waiting} for {what}: slow start, the second batch of the job waits until the first is complete"
    why = "they share keys" if blocker.shared else "the same static list, or another lookup field"
    if blocker.shared is None:
        why = "its keys cannot be read here, so they may be the same"
    if blocker.why is Why.RESERVED:
        why = f"it was passed over for long, so it reserves its keys since {moment(blocker.since_ms)}; {why}"
    return f"chunk {waiting} for {what}: {why}"


def _rows_words(status: JobStatus, chunk: Chunk) -> str:
    path = status.sources[chunk.span.source].path
    return f"{rows(chunk.span.rows)} from row {number(chunk.span.first_row)} of {path} on"


def _held_words(status: JobStatus, chunk: Chunk) -> str:
    if status.job.options.on_unknown is OnUnknown.HOLD:
        return "until you decide about it"
    return (
        f"until {moment(chunk.hold_until_ms)} at the earliest: "
        "then when a batch sent after it has finished, or when Marketo's queue can hold it no more"
    )


def source_words(source: Source) -> str:
    """Describe one source."""
    blank = f", {plural(source.blank_lines, 'blank line')}" if source.blank_lines else ""
    text = size((source.original or source).identity.size_bytes)
    return f"{source.path}: {rows(source.rows)}{blank}, {text}, {source.format}, {source.encoding}"


def _phase_words(status: JobStatus) -> str:
    found = {phase: tally.chunks for phase, tally in status.progress.phases.items() if tally.chunks}
    return _pairs({str(phase): count for phase, count in found.items()}) or "none"


def _pairs(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number(count)} {name}" for name, count in counts.items() if count)


def write_report(common: Common, job_id: str, out: Path | None) -> ExitCode:
    """Write the report of a job again."""

    async def body(console: Console) -> ExitCode:
        async with Orchestrator.open(read_settings(common), subscription=common.subscription) as orchestrator:
            handle = await find_job(orchestrator, job_id)
            summary = await handle.report(out)
            directory = out.absolute() if out is not None else Path((await handle.status()).job.out_dir)
        if console.json:
            console.document(asdict(summary))
        else:
            left_out = ["superseded.csv"] if summary.rows.skipped.superseded else []
            for name in ("report.html", "failures.csv", "warnings.csv", *left_out, "summary.json"):
                console.data(str(directory / name))
        return ExitCode.OK

    return execute(common, body)


def target_words(target: Target) -> str:
    """Name a target as the flags do."""
    match target:
        case Leads():
            return f"leads by {target.lookup_field}"
        case CustomObjects():
            return f"custom:{target.api_name}"
    return f"members of program {target.program_id}"


def plain(value: object) -> Any:
    """Return a value of the library as JSON has it: dataclasses as objects, bytes left out."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items() if not isinstance(item, bytes)}
    if isinstance(value, str | int | float) or value is None:
        return value
    if isinstance(value, Sequence):
        return [plain(item) for item in value]
    fields: Any = getattr(value, "__dataclass_fields__", {})
    return {name: plain(getattr(value, name)) for name in fields if not isinstance(getattr(value, name), bytes)}
