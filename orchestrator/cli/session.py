"""What every command does around its own work: settings, logging, signals, and errors turned into exit codes."""

from __future__ import annotations

import asyncio
import errno
import gc
import io
import os
import re
import shlex
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from pathlib import Path

import structlog

from orchestrator import log
from orchestrator.app import Orchestrator
from orchestrator.cli.common import IS_PROCESS, Common, Output
from orchestrator.cli.console import Console
from orchestrator.cli.endings import tell_code
from orchestrator.cli.words import duration
from orchestrator.config import Settings, load
from orchestrator.errors import (
    DENIED,
    PASSING,
    AccessDenied,
    ConfigError,
    DailyQuotaExhausted,
    FileUnwritten,
    InvalidRequest,
    JobUnknown,
    JournalCorrupt,
    JournalForbidden,
    JournalStalled,
    JournalUnreachable,
    JournalUnusable,
    JournalVersionUnknown,
    MarketoError,
    NoRoom,
    NotDelivered,
    OrchestratorError,
    SourceError,
    SubscriptionBusy,
    first_of,
)
from orchestrator.following import JobHandle
from orchestrator.journal.location import SECRETS
from orchestrator.marketo.codes import PERMANENT_FAULTS
from orchestrator.model import ExitCode, Job

_PASSWORD = re.compile(rf"(?<=://)([^/@:]*):[^@]*(?=@)|(?<=[?&])(?:{'|'.join(SECRETS)})=[^&]*")  # of a journal's URL
_SECRET = re.compile(r"secret[\"']?\s*=", re.IGNORECASE)  # the setting itself, not the file or variable that has it

_TOLD = ("driver.fenced", "driver.cut_off", "quota.reached")  # what words tell to whoever follows a job

_DESCRIPTORS_MIN = 16  # the loop has 3, a journal 5, a call 1; the rest is for files that are read or written

# What codes mean if they end a command that has begun with nothing.
_NOTHING_BEGUN = {
    ExitCode.SIGINT: "stopped on request",
    ExitCode.INTERRUPTED: "stopped by something that passes; try again later",
}


ENDED_WITHIN_S = 10.0  # a command has told its end by then, and has closed everything


def read_settings(common: Common) -> Settings:
    """Read the settings that a command was given, and set logging up as they say."""
    flags = [("--journal", "journal.url", common.journal)] if common.journal else []
    settings = load(common.config, common.set, os.environ, flags=flags)
    configure_logging(common, settings)
    if any(_PASSWORD.search(text) for text in (common.journal or "", *common.set)):
        Console(common).say(
            "The journal's password stands in the command line, where everybody on this machine can read it: put it "
            "into ~/.pgpass, $PGPASSWORD or $ORCHESTRATOR_JOURNAL__URL instead.",
            "warn",
        )
    return settings


def configure_logging(output: Output, settings: Settings) -> None:
    """Log as the settings say.

    Where words tell what happens, on a terminal or without ``--json``, only warnings are logged unless the settings or
    ``--verbose`` ask for more; and what the words tell is not logged beside them.
    """
    console = Console(output)
    level, given = settings.log.level, settings.log.model_fields_set
    if output.verbose:
        level = "debug"
    elif output.quiet:
        level = "error"
    elif "level" not in given and (console.on_terminal or not (output.json or "format" in given)):
        level = "warning"
    log.configure(settings.log.format, level, color=console.color, told=() if output.json else _TOLD)


def execute(output: Output, body: Callable[[Console], Awaitable[ExitCode]]) -> ExitCode:
    """Run a command's asynchronous body; every error becomes words and an exit code."""
    console = Console(output)
    flags = ""
    is_process = IS_PROCESS.get()
    if is_process:
        _end_of_start()

    def told(error: BaseException) -> ExitCode:
        cause = first_of(error) if isinstance(error, BaseExceptionGroup) else error
        return explain(console, cause, next_command=_next_command(cause, flags))

    async def run() -> ExitCode:
        code = ExitCode.SIGINT
        try:
            code = await body(console)
        except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001  # told, before any thread is waited for
            code = told(error)
        finally:
            if is_process:
                _end_soon(code)
        return code

    try:
        flags = same_flags(output) if isinstance(output, Common) else ""
        _require_descriptors()
        code = asyncio.run(run())
        if code is ExitCode.OK and console.unwritten:
            code = ExitCode.INTERRUPTED
            tell_code(console, code, meaning="what was asked for could not be written to standard output")
        return code
    except (Exception, KeyboardInterrupt, asyncio.CancelledError) as error:  # noqa: BLE001  # told, not hidden
        return told(error)


def _require_descriptors() -> None:
    """Raise what the system says if this process may not open as many files as any command needs."""
    opened: list[int] = []
    try:
        while len(opened) < _DESCRIPTORS_MIN:
            opened.append(os.dup(sys.stderr.fileno()))
    except io.UnsupportedOperation:  # no file of the system is behind it: somebody else's program
        pass
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _is_nowhere() -> bool:
    """Tell whether the working directory was removed."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def _end_of_start() -> None:
    """Look for garbage from now on, and never among what was imported, not even when the process ends.

    That is a quarter of the time that a short command takes.
    """
    gc.freeze()
    gc.enable()


def _end_soon(code: ExitCode) -> None:
    """End the process with its code in a while, for a thread that hangs for good would keep it alive."""

    def end() -> None:
        with suppress(OSError, ValueError):  # whoever read it has gone, or it is closed
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)

    timer = threading.Timer(ENDED_WITHIN_S, end)
    timer.daemon = True
    timer.start()


def _next_command(error: BaseException, flags: str) -> str | None:
    """Return the command that helps somebody who sees an error, if there is one."""
    match error:
        case AccessDenied():
            return f"orchestrator doctor{flags}"
        case SourceError(next_command=str() as command):
            return command + flags
    return None


def explain(
    console: Console, error: BaseException, *, code: ExitCode | None = None, next_command: str | None = None
) -> ExitCode:
    """Say what went wrong and what to do next, and return the exit code for it, unless another one is given."""
    code = exit_code_of(error) if code is None else code
    if isinstance(error, OrchestratorError):
        console.insist(f"Error: {log.redact_text(str(error))}", "bad")
    elif isinstance(error, OSError) and code in (ExitCode.INTERRUPTED, ExitCode.USAGE):
        console.insist(f"Error: {error.strerror}: {_advice(error)}", "bad")
    elif code is ExitCode.INTERNAL:
        console.insist(f"Error: unexpected {type(error).__name__}; --verbose shows where", "bad")
        if console.verbose:
            structlog.get_logger().error("command.failed", exc_info=error)
    if console.json:
        console.line({"event": "command.failed", "error": type(error).__name__, "exit_code": int(code)})
    meaning = None if next_command is not None else _NOTHING_BEGUN.get(code)
    if isinstance(error, JournalCorrupt):
        meaning = "the journal is damaged; nothing is sent until it is whole again"
    elif isinstance(error.__cause__, JobUnknown):  # of a command that only reads, what is sent is not the question
        meaning = "wrong usage"
    elif isinstance(error, JournalForbidden):
        meaning = "access to the journal is denied; once it is given, orchestrator resume goes on with what was begun"
    elif isinstance(error, JournalUnusable):
        meaning = "there is no journal where it is said to be"
    tell_code(console, code, next_command, meaning=meaning)
    return code


def _advice(error: OSError) -> str:
    """Say what helps against a fault of the operating system that no other place has put into words."""
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return "let this process open more files (ulimit -n), then try again"
    if error.errno == errno.ENOENT:
        return "the working directory was removed; change to one that exists"
    if error.errno in DENIED:
        return f"give this user access to {error.filename or 'state.dir and the directory of the reports'}"
    return "make room where state.dir and the reports are"


async def find_job(orchestrator: Orchestrator, job_id: str) -> JobHandle:
    """Return the job with this id or beginning; ConfigError if there is none, or more than one."""
    try:
        return await orchestrator.job(job_id)
    except JobUnknown as error:
        raise ConfigError(str(error)) from None


def same_flags(common: Common) -> str:
    """Return the flags that a next command needs to find the same journal and subscription; empty or with a space.

    They stand in reports, too, so they hold no secrets.
    """
    config = None if common.config is None else common.config.absolute()
    journal = None if common.journal is None else _PASSWORD.sub(r"\1", common.journal)
    flags = [("--config", config), ("--journal", journal), ("--subscription", common.subscription)]
    given = [text for flag, value in flags if value is not None for text in (flag, str(value))]
    shown = [_PASSWORD.sub(r"\1", value) for value in common.set if not _SECRET.search(value)]
    given += [text for value in shown for text in ("--set", value)]
    return f" {shlex.join(given)}" if given else ""


def further_flags(job: Job, flags: str) -> str:
    """Return those of these flags that the next command in a job's summary needs besides its own."""
    return "" if job.options.flags else flags


def exit_code_of(error: BaseException) -> ExitCode:
    """Return the exit code of a command that an error ends before its job has an outcome."""
    match error:
        case KeyboardInterrupt() | asyncio.CancelledError():
            return ExitCode.SIGINT
        case NoRoom() | FileUnwritten() | JournalStalled():
            return ExitCode.INTERRUPTED
        case OSError() if error.errno in PASSING:
            return ExitCode.INTERRUPTED
        case OSError() if error.errno in DENIED:
            return ExitCode.USAGE
        case FileNotFoundError() if _is_nowhere():
            return ExitCode.USAGE
        case ConfigError() | JournalVersionUnknown() | JournalUnusable():
            return ExitCode.USAGE
        case SourceError() | InvalidRequest():
            return ExitCode.INPUT_REFUSED
        case AccessDenied():
            return ExitCode.DENIED
        case DailyQuotaExhausted():
            return ExitCode.THRESHOLD
        case NotDelivered() if error.code in PERMANENT_FAULTS:
            return ExitCode.USAGE
        case MarketoError() | SubscriptionBusy() | JournalUnreachable():
            return ExitCode.INTERRUPTED
    return ExitCode.INTERNAL


class Interruption:
    """What SIGINT and SIGTERM ask of a command that sends.

    The first one lets the upload under way finish, the second one does not, and a third one ends the process.
    Before anything is sent, the first one stops and the second one ends the process.  Whatever happens, the
    journal stays one that can be resumed.
    """

    def __init__(self, console: Console, flags: str) -> None:
        """Begin before anything is sent; a next command needs these flags."""
        self._console = console
        self._orchestrator: Orchestrator | None = None
        self._drain_s = 0.0
        self._flags = flags
        self._task: asyncio.Task[object] | None = None
        self._steps: list[Callable[[], None]] = []
        self._received: signal.Signals | None = None
        self._stopped = asyncio.Event()

    @property
    def code(self) -> ExitCode | None:
        """The exit code for the signal that came, if one came."""
        if self._received is None:
            return None
        return ExitCode.SIGINT if self._received is signal.SIGINT else ExitCode.SIGTERM

    async def over(self, body: Callable[[], Awaitable[ExitCode]]) -> ExitCode:
        """Run a body; signals stop it step by step."""
        self._task = asyncio.current_task()
        self._steps = [self._cancel, self._end]
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._take, number)
        try:
            return await body()
        except asyncio.CancelledError:
            if self.code is None:
                raise
            tell_code(self._console, self.code, f"orchestrator resume{self._flags}")
            return self.code
        except (OrchestratorError, OSError, BaseExceptionGroup) as error:
            cause = first_of(error) if isinstance(error, BaseExceptionGroup) else error
            code = exit_code_of(cause)
            if self._orchestrator is None or code is not ExitCode.INTERRUPTED:
                raise
            return explain(
                self._console, cause, code=self.code or code, next_command=f"orchestrator resume{self._flags}"
            )
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    def sending(self, orchestrator: Orchestrator, *, drain_s: float) -> None:
        """From now on there may be an upload under way; it is waited for so long."""
        self._orchestrator = orchestrator
        self._drain_s = drain_s
        self._steps = [self._drain, self._abandon, self._end]

    async def unless_stopped(self, question: Coroutine[None, None, bool]) -> bool:
        """Return the answer to a question; no, if a signal comes before it."""
        asking = asyncio.create_task(question)
        stopping = asyncio.create_task(self._stopped.wait())
        try:
            await asyncio.wait((asking, stopping), return_when=asyncio.FIRST_COMPLETED)
            return asking.done() and asking.result()
        finally:
            for task in (asking, stopping):
                task.cancel()
            await asyncio.wait((asking, stopping))

    def _take(self, number: signal.Signals) -> None:
        self._received = self._received or number
        self._stopped.set()
        self._steps.pop(0)()

    def _cancel(self) -> None:
        self._console.insist("Stopping; nothing is sent.", "warn")
        if self._task is not None:
            self._task.cancel()

    def _drain(self) -> None:
        self._console.insist(
            "Stopping: nothing more is sent, an upload under way is finished if that takes no longer than "
            f"{duration(self._drain_s)}.",
            "warn",
        )
        self._console.insist("Once more stops at once.", "warn")
        if self._orchestrator is not None and self._received is not None:
            self._orchestrator.drain(self._received.name.lower())

    def _abandon(self) -> None:
        self._console.insist(
            "Stopping at once: an upload under way is broken off; if all of it has left, its outcome is unknown.",
            "warn",
        )
        if self._orchestrator is not None:
            self._orchestrator.abandon()

    def _end(self) -> None:
        sys.stderr.flush()
        os._exit(self.code or ExitCode.INTERNAL)
