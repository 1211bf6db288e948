"""``check``: what would keep an import from starting, and what a person should know before it."""

from __future__ import annotations

import shlex
from collections.abc import Callable

from orchestrator.app import Orchestrator
from orchestrator.cli.common import Common
from orchestrator.cli.console import Console
from orchestrator.cli.planning import inventory_words
from orchestrator.cli.session import execute, read_settings, same_flags
from orchestrator.cli.showing import plain, source_words, target_words
from orchestrator.cli.words import number, rows
from orchestrator.model import ExitCode, Target
from orchestrator.preview import Checked
from orchestrator.requests import ImportRequest
from orchestrator.source.opened import shown_source

COLUMNS_SHOWN_MAX = 12  # of one source; --json has all


def check_files(common: Common, request: Callable[[], ImportRequest], *, offline: bool, flags: str) -> ExitCode:
    """Make the checks of an import; ``flags`` are those that the import itself needs."""

    async def body(console: Console) -> ExitCode:
        settings = read_settings(common)
        wanted = request()
        async with Orchestrator.open(settings, subscription=common.subscription) as orchestrator:
            found = await orchestrator.check(wanted, offline=offline)
        if console.json:
            console.document(plain(found))
            return ExitCode.OK
        for line in check_lines(found, wanted.target):
            console.prose(line)
        files = shlex.join(map(shown_source, wanted.sources))
        console.say(f"\nNothing was sent. Next: orchestrator import {files}{flags}{same_flags(common)}")
        return ExitCode.OK

    return execute(common, body)


def check_lines(found: Checked, target: Target) -> list[str]:
    """Describe what was found."""
    lines = []
    for source in found.sources:
        shown = ", ".join(source.columns[:COLUMNS_SHOWN_MAX])
        more = len(source.columns) - COLUMNS_SHOWN_MAX
        lines += [source_words(source), f"  columns        {shown}{f' and {number(more)} more' if more > 0 else ''}"]
    compared = "as Marketo has them" if found.compared else "not compared with Marketo"
    return [
        *lines,
        f"  target         {target_words(target)}; columns {compared}",
        f"  keys           {', '.join(found.key_columns) or 'not known'}",
        f"  in all         {rows(found.rows)}",
        f"  characters     {inventory_words(found.inventory)}",
        *(f"  to know        {warning}" for warning in found.warnings),
    ]
