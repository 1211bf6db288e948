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


@pytest.mark.parametrize(
    ("ending", "expected", "told"),
    [
        ("return session.ExitCode.INTERRUPTED", 5, ""),
        ("raise session.SourceError('the disk is gone')", 4, "Error: the disk is gone"),
        ("raise ExceptionGroup('', [session.SourceError('the disk is gone')])", 4, "Error: the disk is gone"),
        ("sys.stdout.close(); sys.stderr.close(); return session.ExitCode.INTERRUPTED", 5, ""),
    ],
)
def test_a_thread_that_hangs_for_good_does_not_keep_the_process(ending, expected, told):
    code = f"""
import asyncio, sys, threading
from orchestrator.cli import common, session
common.IS_PROCESS.set(True)
session.ENDED_WITHIN_S = 0.05
async def body(console):
    asyncio.get_running_loop().run_in_executor(None, threading.Event().wait)
    {ending}
raise SystemExit(session.execute(common.Output(), body))
"""
    done = subprocess.run([sys.executable, "-c", code], timeout=60, check=False, capture_output=True, text=True)
    assert done.returncode == expected
    assert told in done.stderr


def test_a_program_that_runs_a_command_goes_on_after_it(tmp_path):
    code = f"""
import gc, threading
gc.disable()  # by a host that measures times, for example
from orchestrator.cli.main import run
print(run(["jobs", "--set", "state.dir={tmp_path}"]), gc.isenabled(), *map(type, threading.enumerate()), sep="\\n")
"""
    done = subprocess.run([sys.executable, "-c", code], timeout=60, check=True, capture_output=True, text=True)
    assert "Timer" not in done.stdout  # which would end it
    assert done.stdout.splitlines()[-3:-1] == ["0", "False"]
