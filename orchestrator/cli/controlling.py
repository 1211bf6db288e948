"""``pause`` and ``cancel``: ask for a job to be stopped, whichever process drives it."""

from __future__ import annotations

from orchestrator.app import Orchestrator
from orchestrator.cli.common import Common
from orchestrator.cli.console import Console
from orchestrator.cli.endings import tell_code
from orchestrator.cli.session import execute, find_job, read_settings, same_flags
from orchestrator.cli.waiting import wait_for
from orchestrator.cli.words import number, table
from orchestrator.control import Stopping
from orchestrator.model import ExitCode, JobState, Wish

_ENDED_BEFORE = (JobState.COMPLETE, JobState.FAILED)  # by themselves, not by a wish


def stop_job(common: Common, job_id: str, wish: Wish, *, reason: str | None, wait: bool) -> ExitCode:
    """Ask for a job to be paused or cancelled; with ``wait`` return its exit code when it has stopped."""

    async def body(console: Console) -> ExitCode:
        flags = same_flags(common)
        async with Orchestrator.open(read_settings(common), subscription=common.subscription) as orchestrator:
            handle = await find_job(orchestrator, job_id)
            ask = orchestrator.pause if wish is Wish.PAUSE else orchestrator.cancel
            asked = await ask(handle.id, reason)
            _tell(console, asked, wish)
            if wait:
                return await wait_for(console, [handle], timeout_s=None, flags=flags)
        tell_code(console, ExitCode.OK, _next(asked, flags), meaning=_meaning(asked, wish))
        return ExitCode.OK

    return execute(common, body)


def _tell(console: Console, asked: Stopping, wish: Wish) -> None:
    """Say what is accepted, still importing and never sent."""
    job = asked.job
    rows = {name: getattr(asked, name) for name in ("accepted", "failed", "importing", "unknown", "unsent")}
    if console.json:
        console.line(
            {"event": "job.stopping", "job_id": job.id, "state": job.state, "wish": job.wish, "reason": job.wish_reason,
             "changed": asked.changed, "answered": asked.answered, "rows": rows}
        )  # fmt: skip
        return
    console.insist(_headline(asked, wish), "bold")
    if job.started_ms is None:
        console.data("  Its files were not read to their end, so its rows are not counted yet; none was sent.")
        return
    names = {"importing": "at Marketo"}
    notes = {"importing": "(which cannot cancel imports)", "unsent": _unsent(asked, wish)}
    always = ("accepted", "unsent") if job.state in _ENDED_BEFORE else ("accepted", "importing", "unsent")
    shown = [(f"  {names.get(name, name)}", number(count), notes.get(name, "")) for name, count in rows.items()
             if count or name in always]  # fmt: skip
    for line in table(shown, right=(1,)):
        console.data(line)


def _headline(asked: Stopping, wish: Wish) -> str:
    job = asked.job
    name = f"Job {job.id}"
    if job.state in _ENDED_BEFORE:
        return f"{name} has ended before ({job.state}); there is nothing to stop."
    if job.state is JobState.CANCELLED:
        return f"{name} is cancelled{'' if asked.changed else ' already'}."
    if job.state is JobState.PAUSED:
        alone = " Nobody asks after what is at Marketo until it is resumed."
        return f"{name} is paused{'' if asked.changed else ' already'}.{alone if _left_alone(asked) else ''}"
    if job.wish is Wish.CANCEL and wish is Wish.PAUSE:
        return f"{name} is being cancelled, so it is not paused."
    if job.state is JobState.INCOMPLETE:
        return f"{name} sends nothing more. Resume it to fetch the outcome of what is at Marketo; then it is cancelled."
    if not asked.heeded:
        word = "cancelled" if job.wish is Wish.CANCEL else "paused"
        return (
            f"{name} is to be {word}, but no process works on it that does so: resume it where its state directory is "
            f"({job.home}); then it is {word}, and what is at Marketo is seen to its end."
        )
    word = "cancelled" if wish is Wish.CANCEL else "paused"
    if _may_be_sent(asked):
        return (
            f"{name} is being {word}, but the process that drives it has not answered yet: some of what is unsent may "
            "still be sent."
        )
    if job.wish is Wish.CANCEL and job.started_ms is not None and not asked.unsent:
        return (
            f"{name}: everything was sent before, so nothing is left to cancel; what is at Marketo is seen to its end."
        )
    return f"{name} is being {word}: nothing more is sent, and what is at Marketo is seen to its end."


def _may_be_sent(asked: Stopping) -> bool:
    return bool(asked.unsent) and not asked.answered


def _left_alone(asked: Stopping) -> bool:
    return bool(asked.importing) and not asked.followed


def _meaning(asked: Stopping, wish: Wish) -> str:
    """Say what is as it was asked for."""
    job = asked.job
    if job.state in _ENDED_BEFORE or job.wish is not wish:
        return "nothing was changed"
    word = "cancelled" if wish is Wish.CANCEL else "paused"
    if job.state in (JobState.PAUSED, JobState.CANCELLED):
        return f"the job is {word}"
    if job.state is JobState.INCOMPLETE:
        return "nothing more of the job is sent"
    return f"the job is {word} as soon as {'what is at Marketo has ended' if asked.heeded else 'somebody resumes it'}"


def _unsent(asked: Stopping, wish: Wish) -> str:
    if not asked.unsent or asked.job.state in _ENDED_BEFORE:
        return ""
    if _may_be_sent(asked):
        return "at most: the process that drives may still send of it until it answers"
    for_good = Wish.CANCEL in (asked.job.wish, wish)
    return "never sent, for good" if for_good else "not sent until the job is resumed"


def _next(asked: Stopping, flags: str) -> str:
    job = asked.job
    if job.state in (JobState.PAUSED, JobState.INCOMPLETE):
        return f"orchestrator resume {job.id}{flags}"
    if job.state in (JobState.PLANNING, JobState.RUNNING):
        return f"orchestrator wait {job.id}{flags}"
    return f"orchestrator status {job.id}{flags}"
