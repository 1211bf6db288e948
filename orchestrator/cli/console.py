"""Where a command's words go: data to standard output, everything else, questions too, to standard error."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import termios
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, TextIO

from orchestrator.cli.common import Output
from orchestrator.cli.fitting import wrapped
from orchestrator.cli.words import printable

ANSWER_BYTES_MAX = 4096  # what a terminal hands over as one line

_STYLES = {"good": "32", "bad": "31", "warn": "33", "dim": "2", "bold": "1"}


class Console:
    """The one place that prints."""

    def __init__(self, output: Output) -> None:
        self.json = output.json
        self.quiet = output.quiet
        self.verbose = output.verbose
        self._color = not output.no_color and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._listening = True
        self.unwritten = False  # whether what was asked for could not be written, though somebody waits for it
        self.input_is_data = False  # whether standard input is read as a source, and so has no answers

    @property
    def color(self) -> bool:
        """Whether standard error may be colored."""
        return self._color and self.on_terminal

    @property
    def on_terminal(self) -> bool:
        """Whether a person watches standard error."""
        return sys.stderr.isatty()

    @property
    def asks(self) -> bool:
        """Whether there is a person who can be asked."""
        return not self.input_is_data and sys.stdin is not None and sys.stdin.isatty() and self.on_terminal

    async def ask(self, question: str, *, hidden: bool = False) -> str | None:
        """Ask whoever `asks`; return the answer without spaces around it, None if there is none (Ctrl-D).

        It can be cancelled like anything else, and other tasks go on meanwhile.  What is ``hidden`` is not shown.
        """
        descriptor = sys.stdin.fileno()
        line = b""
        try:
            with _without_echo(descriptor) if hidden else nullcontext():
                sys.stderr.write(printable(question))
                sys.stderr.flush()
                line = await _next_line(descriptor)
        finally:
            if hidden or not line.endswith(b"\n"):
                sys.stderr.write("\n")
        return line.decode(errors="replace").strip() if line else None

    async def agrees(self, question: str) -> bool:
        """Ask whoever `asks` a question that only an explicit yes answers with yes."""
        answer = await self.ask(f"{question} [y/N] ")
        return (answer or "").lower() in ("y", "yes")

    def data(self, text: str, *, mark: str = "", style: str | None = None) -> None:
        """Write what was asked for, behind a mark that may be colored."""
        colored = style is not None and self._color and sys.stdout.isatty()
        self._write((_styled(mark, style) if colored and style else mark) + printable(text) + "\n", asked=True)

    def prose(self, text: str) -> None:
        """Write what was asked for, in lines that a terminal shows whole."""
        self._write(wrapped(printable(text), self.width) + "\n")

    @property
    def width(self) -> int | None:
        """How wide the terminal is that shows standard output; None if none does."""
        return _width_of(sys.stdout)

    def line(self, value: Mapping[str, Any]) -> None:
        """Write one JSON value on one line."""
        self._write(json.dumps(value, ensure_ascii=_narrow()) + "\n")

    def document(self, value: object) -> None:
        """Write one JSON value for people and programs."""
        self._write(json.dumps(value, ensure_ascii=_narrow(), indent=2) + "\n", asked=True)

    def say(self, text: str = "", style: str | None = None) -> None:
        """Tell something to whoever watches, unless they want quiet."""
        if not self.quiet:
            self.insist(text, style)

    def insist(self, text: str = "", style: str | None = None) -> None:
        """Tell something that matters even to those who want quiet."""
        text = wrapped(printable(text), _width_of(sys.stderr))
        try:
            sys.stderr.write((_styled(text, style) if style and self.color else text) + "\n")
            sys.stderr.flush()
        except OSError:  # nobody listens any more; that is no reason to stop working
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())

    def _write(self, text: str, *, asked: bool = False) -> None:
        """Write to standard output; once its reader is gone, the command goes on without it.

        An answer that was ``asked`` for is all that a command is there for; events go along with its work.
        """
        if not self._listening:
            return
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except OSError as error:
            self._listening = False
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it ends
            if not isinstance(error, BrokenPipeError):
                self.unwritten = asked
                self.insist(f"Error: standard output cannot be written to: {error.strerror}", "bad")


def _width_of(stream: TextIO) -> int | None:
    try:
        return os.get_terminal_size(stream.fileno()).columns or None if stream.isatty() else None
    except (OSError, ValueError):
        return None


def _narrow() -> bool:
    """Tell whether standard output cannot take every character."""
    return sys.stdout.encoding.lower() not in ("utf-8", "utf8")


def _styled(text: str, style: str) -> str:
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"


async def _next_line(descriptor: int) -> bytes:
    """Wait for a line of a terminal, without keeping anything else from running."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)
    return os.read(descriptor, ANSWER_BYTES_MAX)


@contextmanager
def _without_echo(descriptor: int) -> Iterator[None]:
    """Let a terminal not show what is typed."""
    before = termios.tcgetattr(descriptor)
    silent = termios.tcgetattr(descriptor)
    silent[3] &= ~termios.ECHO
    termios.tcsetattr(descriptor, termios.TCSAFLUSH, silent)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSAFLUSH, before)
