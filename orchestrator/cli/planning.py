"""``plan``: what an import would take; nothing is sent."""

from __future__ import annotations

import shlex
from collections.abc import Callable

from orchestrator.app import Orchestrator
from orchestrator.cli.common import Common
from orchestrator.cli.console import Console
from orchestrator.cli.session import execute, read_settings, same_flags
from orchestrator.cli.showing import eta_document, plain, source_words
from orchestrator.cli.words import between, day_end_words, duration, number, plural, rows, size
from orchestrator.clock import SystemClock
from orchestrator.forecast import Forecast, Seconds
from orchestrator.model import ExitCode
from orchestrator.report.eta import Eta
from orchestrator.requests import ImportRequest
from orchestrator.source.inventory import Inventory
from orchestrator.source.opened import shown_source

SECONDS_TOLD_MIN = 60  # a shorter import is not foretold to the second


def show_plan(common: Common, request: Callable[[], ImportRequest], *, offline: bool, flags: str) -> ExitCode:
    """Say what an import would take; ``flags`` are those that the import itself needs."""

    async def body(console: Console) -> ExitCode:
        settings = read_settings(common)
        wanted = request()
        async with Orchestrator.open(settings, subscription=common.subscription) as orchestrator:
            found = await orchestrator.plan(wanted, offline=offline)
            end = None if offline else orchestrator.end_of(await orchestrator.calls_today())
        if console.json:
            console.document({**plain(found), "eta": eta_document(eta_of(found, SystemClock().now_ms()))})
            return ExitCode.OK
        for line in plan_lines(found, None if end is None else day_end_words(end, SystemClock().wall_ms())):
            console.prose(line)
        command = f"import {shlex.join(map(shown_source, wanted.sources))}{flags}"
        if found.refused_for is not None:
            command = f"status {found.refused_for}"
        console.say(f"\nNothing was sent. Next: orchestrator {command}{same_flags(common)}")
        return ExitCode.OK

    return execute(common, body)


def eta_of(found: Forecast, now_ms: int) -> Eta:
    """Return when an import would end that begins now."""
    seconds = found.seconds
    p50_ms, p90_ms = (now_ms + round(1000 * taken) for taken in (seconds.p50, seconds.most))
    return Eta(p50_ms=p50_ms, p90_ms=p90_ms, basis=seconds.basis)


def plan_lines(found: Forecast, calls_end: str | None) -> list[str]:
    """Describe what an import would take; ``calls_end`` says when today's calls end, if that can be told."""
    conflicts = found.conflicts
    if not conflicts.examined:
        waiting = "not looked for: keys are said to be unique"
    elif not conflicts.chunks:
        waiting = "no two uploads shortly after one another share a key; of rows within one, the last one wins"
    else:
        waiting = (
            f"{number(conflicts.chunks)} of {plural(conflicts.examined, 'chunk')} share keys with one shortly before "
            "them, and wait until it is finished"
        )
    seconds = found.seconds
    return [
        *(source_words(source) for source in found.sources),
        f"  uploads        {plural(found.chunks, 'chunk')} of up to {rows(found.largest_chunk_rows)}; "
        f"{rows(found.rows)}, {size(found.source_bytes)} in all",
        f"  shared keys    {waiting}",
        f"  API calls      {number(found.calls_least)} to {number(found.calls_most)}, "
        f"of {number(found.calls_per_day)} a day" + (f"; {calls_end}" if calls_end else ""),
        f"  beyond recall  {_beyond_recall_words(found)}: Marketo cannot cancel imports",
        f"  time           {_time_words(seconds)} ({seconds.basis})",
        f"  planning       took {_took(seconds.planning)}",
        f"  characters     {inventory_words(found.inventory)}",
        *(f"  to know        {warning}" for warning in found.warnings),
    ]


def _beyond_recall_words(found: Forecast) -> str:
    usual, most = found.rows_beyond_recall, found.rows_beyond_recall_max
    if usual == most:
        return f"up to {rows(most)} at any moment"
    return f"usually up to {rows(usual)}, {number(most)} at most"


def _took(seconds: float) -> str:
    return duration(seconds) if round(seconds) else "less than a second"


def _time_words(seconds: Seconds) -> str:
    if seconds.most < SECONDS_TOLD_MIN:
        return "less than a minute"
    return between(seconds.least, seconds.most)


def inventory_words(found: Inventory) -> str:
    """Describe the characters of a text."""
    if not found.characters:
        return "ASCII only"
    groups = ", ".join(f"{number(group.times)} {group.what}" for group in found.groups)
    frequent = " ".join(f"{one.what if one.what.isprintable() else f'U+{ord(one.what):04X}'}" for one in found.frequent)
    return f"{number(found.characters)} beyond ASCII ({groups}); the most frequent: {frequent}"
