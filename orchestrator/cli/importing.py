"""``import`` and ``resume``: send, follow, and tell how it ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from orchestrator import preflight
from orchestrator.app import Orchestrator
from orchestrator.cli.common import Common
from orchestrator.cli.console import Console
from orchestrator.cli.endings import explain_skipped, tell_code, tell_end
from orchestrator.cli.following import follow
from orchestrator.cli.session import Interruption, execute, find_job, read_settings, same_flags
from orchestrator.cli.words import plural, size
from orchestrator.clock import SystemClock
from orchestrator.config import Settings
from orchestrator.following import JobHandle
from orchestrator.model import ExitCode, JobState
from orchestrator.report.ending import worst
from orchestrator.requests import Destination, ImportRequest


def import_files(common: Common, request: Callable[[], ImportRequest]) -> ExitCode:
    """Import files as one job."""

    async def body(console: Console) -> ExitCode:
        settings = read_settings(common)
        return await run_import(console, settings, common.subscription, request(), flags=same_flags(common))

    return execute(common, body)


async def run_import(
    console: Console, settings: Settings, subscription: str | None, request: ImportRequest, *, flags: str
) -> ExitCode:
    """Import files as one job with these settings; ``flags`` are those that a next command needs."""
    interruption = Interruption(console)

    async def body() -> ExitCode:
        preflight.locate(request.sources)
        async with Orchestrator.open(settings, subscription=subscription) as orchestrator:
            tell_destination(console, await orchestrator.connect())
            console.say(f"Reading {plural(len(request.sources), 'file')}, {size(_bytes(request))} ...")
            handle = await orchestrator.submit(request)
            interruption.sending(orchestrator)
            return await _see_through(console, settings, [handle], interruption, flags)

    return await interruption.over(body)


def _bytes(request: ImportRequest) -> int:
    return sum(Path(source).stat().st_size for source in request.sources)


def resume_jobs(common: Common, job_ids: Sequence[str]) -> ExitCode:
    """Go on with jobs that stopped."""

    async def go_on(console: Console) -> ExitCode:
        settings = read_settings(common)
        interruption = Interruption(console)

        async def body() -> ExitCode:
            async with Orchestrator.open(settings, subscription=common.subscription) as orchestrator:
                destination = await orchestrator.connect()
                resumed = await orchestrator.resume([(await find_job(orchestrator, one)).id for one in job_ids])
                explain_skipped(console, resumed.skipped)
                if not resumed.jobs:
                    console.say("Nothing to resume.")
                    return ExitCode.OK
                interruption.sending(orchestrator)
                tell_destination(console, destination)
                return await _see_through(console, settings, resumed.jobs, interruption, same_flags(common))

        return await interruption.over(body)

    return execute(common, go_on)


def tell_destination(console: Console, destination: Destination) -> None:
    """Say where rows are written to."""
    kind = "the emulator" if destination.emulator else "Marketo"
    console.insist(
        f"Writing to {kind}: subscription {destination.subscription}, host {destination.host}, "
        f"API user {destination.api_user}",
        "bold",
    )


async def _see_through(
    console: Console, settings: Settings, handles: Sequence[JobHandle], interruption: Interruption, flags: str
) -> ExitCode:
    """Follow jobs to their ends and tell of each."""
    for handle in handles:
        console.say(f"Job {handle.id}")
    summaries = await follow(handles, console, SystemClock(), importers=settings.limits.importers)
    codes = []
    for handle, summary in zip(handles, summaries, strict=True):
        unfinished = summary.state not in (JobState.COMPLETE, JobState.CANCELLED)
        if unfinished and interruption.code is not None:
            summary = await handle.report()  # as far as it is
        code = interruption.code if unfinished and interruption.code is not None else ExitCode(summary.exit_code)
        codes.append(code)
        job = (await handle.status()).job
        if console.json:
            console.line({"event": "job.summary", "summary": asdict(summary)})
        tell_end(console, summary, Path(job.out_dir), code, flags)
    total = worst(codes)
    if len(codes) > 1:
        tell_code(console, total)
    return total
