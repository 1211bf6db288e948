"""What a command that sends does with errors that pass: the code says so, and the next command is named."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from typing import Any, cast

import pytest

from orchestrator import errors
from orchestrator.cli.common import Output
from orchestrator.cli.console import Console
from orchestrator.cli.session import Interruption


class Sender:
    def drain(self, reason: str) -> None:
        pass


def ended(error: Exception, *, sending: bool = True, signalled: bool = False) -> int:
    interruption = Interruption(Console(Output()), " --journal sqlite:///j.db")

    async def body() -> Any:
        if sending:
            interruption.sending(cast(Any, Sender()), drain_s=1)
        if signalled:
            os.kill(os.getpid(), signal.SIGTERM)
            await interruption.unless_stopped(asyncio.Event().wait())
        raise error

    return int(asyncio.run(interruption.over(body)))


@pytest.mark.parametrize(
    "error",
    [
        errors.JournalStalled("full"),
        errors.JournalUnreachable("away"),
        ExceptionGroup("", [errors.JournalStalled("x")]),
    ],
)
def test_what_passes_names_the_command_that_goes_on(error, capsys):
    assert ended(error) == 5
    told = capsys.readouterr().err
    assert "Exit code 5: stopped by something that passes" in told
    assert told.endswith("Next: orchestrator resume --journal sqlite:///j.db\n")


def test_after_a_signal_it_is_the_signal_that_counts(capsys):
    assert ended(errors.JournalUnreachable("away"), signalled=True) == 143
    assert "Error: away" in (told := capsys.readouterr().err)
    assert told.endswith("Next: orchestrator resume --journal sqlite:///j.db\n")


@pytest.mark.parametrize(
    ("error", "sending"), [(errors.JournalCorrupt("x"), True), (errors.JournalUnreachable("before"), False)]
)
def test_everything_else_is_raised(error, sending):
    with pytest.raises(type(error)):
        ended(error, sending=sending)


def test_a_signal_before_anything_is_sent_names_the_same_journal(capsys):
    async def body() -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()

    assert asyncio.run(Interruption(Console(Output()), " --journal sqlite:///j.db").over(body)) == 143
    assert capsys.readouterr().err.endswith("Next: orchestrator resume --journal sqlite:///j.db\n")


def test_a_thread_that_hangs_for_good_does_not_keep_the_process():
    code = """
import asyncio, gc, threading
gc.disable()  # as in a process that is the command
from orchestrator.cli import common, session
session.ENDED_WITHIN_S = 0.05
async def body(console):
    asyncio.get_running_loop().run_in_executor(None, threading.Event().wait)
    return session.ExitCode.INTERRUPTED
raise SystemExit(session.execute(common.Output(), body))
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 5
