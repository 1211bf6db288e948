"""``journal check``: it reads everything, and changes nothing."""

from __future__ import annotations

from dataclasses import asdict
from random import SystemRandom

from orchestrator.auditing import audit
from orchestrator.cli.common import Common
from orchestrator.cli.console import Console
from orchestrator.cli.session import execute, read_settings
from orchestrator.cli.words import plural
from orchestrator.clock import SystemClock
from orchestrator.directories import prepare_state_dir
from orchestrator.home import read_home
from orchestrator.journal.journal import Journal
from orchestrator.model import ExitCode


def check_journal(common: Common) -> ExitCode:
    """Say what is wrong with the journal; 1 if anything is."""

    async def body(console: Console) -> ExitCode:
        settings = read_settings(common)
        state_dir = settings.state.dir.expanduser().absolute()
        prepare_state_dir(state_dir)
        home = read_home(state_dir, SystemRandom())
        async with Journal.open(settings.journal_url, now_ms=SystemClock().now_ms) as journal:
            jobs, flaws = await audit(journal, state_dir, home)
        if console.json:
            console.document({"jobs": jobs, "flaws": [asdict(flaw) for flaw in flaws]})
        for flaw in flaws if not console.json else ():
            console.data(f"{flaw.what}  {flaw.where}: {flaw.message}")
        console.say(
            f"{plural(jobs, 'job')} read, " + (plural(len(flaws), "flaw") if flaws else "nothing is wrong") + "."
        )
        return ExitCode.INTERNAL if flaws else ExitCode.OK

    return execute(common, body)
