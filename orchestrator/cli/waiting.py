"""``wait``: be there until jobs end that other processes work on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from orchestrator.app import Orchestrator
from orchestrator.cli.common import Common
from orchestrator.cli.console import Console
from orchestrator.cli.endings import tell_code, tell_end
from orchestrator.cli.following import Followed, as_they_end
from orchestrator.cli.session import execute, find_job, further_flags, read_settings, same_flags
from orchestrator.cli.words import duration, number, rows
from orchestrator.clock import SystemClock
from orchestrator.following import JobHandle
from orchestrator.model import ExitCode
from orchestrator.report.ending import worst


def wait_for_jobs(common: Common, job_ids: Sequence[str], *, timeout_s: float | None) -> ExitCode:
    """Wait until jobs end, or until ``timeout_s`` seconds have passed; return the code of them all."""
    flags = same_flags(common)

    async def wait(console: Console) -> ExitCode:
        async with Orchestrator.open(read_settings(common), subscription=common.subscription) as orchestrator:
            handles = [await find_job(orchestrator, job_id) for job_id in dict.fromkeys(job_ids)]
            unique = {handle.id: handle for handle in handles}
            return await wait_for(console, list(unique.values()), timeout_s=timeout_s, flags=flags)

    return execute(common, wait)


async def wait_for(console: Console, handles: Sequence[JobHandle], *, timeout_s: float | None, flags: str) -> ExitCode:
    """Wait for jobs and tell how they ended; return the code of them all."""
    jobs = [Followed(handle, flags=flags) for handle in handles]
    for job in jobs:
        console.say(f"Waiting for job {job.handle.id}")
    try:
        await _see_off(jobs, console, timeout_s, flags)
    except asyncio.CancelledError:
        again = f"orchestrator wait {' '.join(handle.id for handle in handles)}{flags}"
        tell_code(console, ExitCode.SIGINT, again, meaning="no longer waited for; whoever sends goes on")
        return ExitCode.SIGINT
    total = worst(job.code for job in jobs if job.code is not None)
    if len(jobs) > 1:
        tell_code(console, total)
    return total


async def _see_off(jobs: Sequence[Followed], console: Console, timeout_s: float | None, flags: str) -> None:
    """Wait for jobs; tell of each when it has ended or nobody works on it, of the others when the time is up."""
    async with asyncio.TaskGroup() as tasks:
        watching = [tasks.create_task(job.watch(lambda event: None)) for job in jobs]
        waiting = {tasks.create_task(job.handle.settled()): job for job in jobs}
        async for job, task in as_they_end(waiting, console, SystemClock(), timeout_s=timeout_s):
            if task.exception() is None:  # else the group raises it
                job.code = await _tell(job, console, over=task.result(), timeout_s=timeout_s, flags=flags)
        for left in (*watching, *waiting):
            left.cancel()
    for job in waiting.values():
        job.code = await _tell(job, console, over=None, timeout_s=timeout_s, flags=flags)


async def _tell(job: Followed, console: Console, *, over: bool | None, timeout_s: float | None, flags: str) -> ExitCode:
    """Tell how a job ended or, False, that nobody works on it, or, None, that the time is up; return its code."""
    summary = await job.handle.summary()
    if console.json:
        console.line({"event": "job.summary", "summary": asdict(summary)})
    if over:
        settled = await job.handle.job()
        code = ExitCode(summary.exit_code)
        tell_end(console, summary, Path(settled.out_dir), code, further_flags(settled, flags), wish=settled.wish)
        return ExitCode(summary.exit_code)
    counts = summary.rows
    console.say()
    console.insist(
        f"Job {job.handle.id} is {summary.state}: {number(counts.accepted)} of {rows(counts.in_source)} accepted, "
        f"{number(counts.unsent)} unsent.",
        "warn",
    )
    if over is None:
        meaning = f"the job is not finished after {duration(timeout_s or 0)}"
        tell_code(console, ExitCode.INTERRUPTED, f"orchestrator wait {job.handle.id}{flags}", meaning=meaning)
    else:
        meaning = "no process works on the job any more; orchestrator resume goes on with it"
        tell_code(console, ExitCode.INTERRUPTED, f"orchestrator resume {job.handle.id}{flags}", meaning=meaning)
    return ExitCode.INTERRUPTED
