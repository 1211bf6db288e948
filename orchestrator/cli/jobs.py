"""``jobs``: all that the journal has, one on a line."""

from __future__ import annotations

from orchestrator.app import Orchestrator
from orchestrator.cli.common import Common
from orchestrator.cli.console import Console
from orchestrator.cli.fitting import fitted
from orchestrator.cli.session import execute, read_settings
from orchestrator.cli.showing import of_subscription, plain, state_words, target_words
from orchestrator.cli.words import moment
from orchestrator.model import ExitCode, Job


def show_jobs(common: Common) -> ExitCode:
    """List all jobs."""

    async def body(console: Console) -> ExitCode:
        async with Orchestrator.open(read_settings(common), subscription=common.subscription) as orchestrator:
            jobs = of_subscription(common.subscription, await orchestrator.jobs())
            found = [(job, await orchestrator.handle(job.id).attended()) for job in jobs]
        if console.json:
            console.document([{**plain(job), "attended": attended} for job, attended in found])
        elif not found:
            console.say("The journal has no jobs yet.")
        else:
            header = ("JOB", "STATE", "EXIT", "CREATED", "TARGET", "HOST", "NAME")
            lines = [header, *(_job_line(job, attended=attended) for job, attended in found)]
            for line in fitted(lines, console.width, spare=("HOST", "TARGET", "CREATED")):
                console.data(line)
        return ExitCode.OK

    return execute(common, body)


def _job_line(job: Job, *, attended: bool) -> tuple[str, ...]:
    code = "-" if job.exit_code is None else str(job.exit_code)
    state = state_words(job.state, attended=attended)
    return (job.id, state, code, moment(job.created_ms), target_words(job.target), job.host, job.name or "")
