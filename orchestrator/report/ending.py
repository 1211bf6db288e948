"""How a command about a job ends: its exit code, everything that speaks for one, and what to run next."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from types import MappingProxyType

from orchestrator.model import ExitCode, Job, JobState, OnUnknown

# Every word that may stand in a summary's exit reasons, and the code it speaks for.
REASONS = MappingProxyType(
    {
        "internal": ExitCode.INTERNAL,
        "denied": ExitCode.DENIED,
        "batches_failed": ExitCode.REFUSED,
        "job_refused": ExitCode.REFUSED,
        "source_refused": ExitCode.REFUSED,
        "source_changed": ExitCode.REFUSED,
        "usage": ExitCode.USAGE,
        "input_refused": ExitCode.INPUT_REFUSED,
        "held": ExitCode.ROWS_UNKNOWN,
        "rows_unknown": ExitCode.ROWS_UNKNOWN,
        "threshold": ExitCode.THRESHOLD,
        "quota_exhausted": ExitCode.THRESHOLD,
        "sigint": ExitCode.SIGINT,
        "sigterm": ExitCode.SIGTERM,
        "gave_up": ExitCode.INTERRUPTED,
        "report_unwritten": ExitCode.INTERRUPTED,
        "canary": ExitCode.INTERRUPTED,
        "paused": ExitCode.INTERRUPTED,
        "unfinished": ExitCode.INTERRUPTED,
        "rows_failed": ExitCode.ROWS_FAILED,
    }
)

# Which code stands for several: the first of these.
PRECEDENCE = (
    ExitCode.INTERNAL,
    ExitCode.DENIED,
    ExitCode.REFUSED,
    ExitCode.USAGE,
    ExitCode.INPUT_REFUSED,
    ExitCode.ROWS_UNKNOWN,
    ExitCode.THRESHOLD,
    ExitCode.SIGINT,
    ExitCode.SIGTERM,
    ExitCode.INTERRUPTED,
    ExitCode.ROWS_FAILED,
    ExitCode.OK,
)

# What follows from a job's state and its rows is found anew each time; the other words say why it stopped.
_FOUND = ("rows_unknown", "rows_failed", "paused", "unfinished")

_RESUMABLE = (
    ExitCode.INTERNAL,
    ExitCode.DENIED,
    ExitCode.THRESHOLD,
    ExitCode.SIGINT,
    ExitCode.SIGTERM,
    ExitCode.INTERRUPTED,
)


def exit_code(
    *,
    state: JobState,
    failed: int,
    unknown: int,
    unfinished: int,
    causes: Iterable[str] = (),
    failed_allowed: int = 0,
) -> tuple[ExitCode, tuple[str, ...]]:
    """Decide how a command about one job ends: the code, and everything that speaks for one.

    ``unknown`` counts rows whose outcome stays unknown, ``unfinished`` those unsent or under way, ``causes`` say
    why the job stopped; a word that is not in ``REASONS`` is an internal error.  The reasons returned are words,
    the deciding one first; there are none if the code is 0.
    """
    words = [cause for cause in dict.fromkeys(map(str, causes)) if cause not in _FOUND]
    if not words and state is JobState.FAILED:
        words.append("input_refused")
    if state is JobState.PAUSED:
        words.append("paused")
    if not words and unfinished and state is not JobState.CANCELLED:
        words.append("unfinished")
    if unknown:
        words.append("rows_unknown")
    if failed > failed_allowed:
        words.append("rows_failed")
    words.sort(key=lambda word: PRECEDENCE.index(_code(word)))
    return worst(_code(word) for word in words), tuple(words)


def worst(codes: Iterable[ExitCode]) -> ExitCode:
    """Return the one code that stands for several jobs or reasons; OK if there are none."""
    return min(codes, key=PRECEDENCE.index, default=ExitCode.OK)


def next_command(job: Job, code: ExitCode) -> str:
    """Return the command that a person should run next: correct the input, go on, or look."""
    return f"{job.options.helps or f'orchestrator {shlex.join(_next(job, code))}'}{job.options.flags}"


def decisions(following: str) -> tuple[tuple[str, str], ...]:
    """Return the commands that a next command stands for, if it decides about what is held, and what each of them does."""
    before, probe, behind = following.partition(" --on-unknown probe")
    if not probe:
        return ()
    cancel = before.replace("orchestrator resume", "orchestrator cancel", 1)
    return (
        (following, "looks for the batch, and sends again what it does not find"),
        (f"{before} --on-unknown resubmit{behind}", "sends the rows again"),
        (f"{cancel}{behind}", "ends the job, if you find the rows in Marketo"),
    )


def _next(job: Job, code: ExitCode) -> list[str]:
    if job.state is JobState.FAILED:
        return ["plan", *job.paths]
    if code is ExitCode.ROWS_UNKNOWN and job.state is JobState.INCOMPLETE and job.options.on_unknown is OnUnknown.HOLD:
        return ["resume", job.id, "--on-unknown", "probe"]
    if code in _RESUMABLE and job.state not in (JobState.CANCELLED, JobState.COMPLETE):
        return ["resume", job.id]
    return ["status", job.id]


def _code(word: str) -> ExitCode:
    return REASONS.get(word, ExitCode.INTERNAL)
