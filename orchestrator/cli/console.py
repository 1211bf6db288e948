"""Where a command's words go: data to standard output, everything else to standard error."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from orchestrator.cli.common import Output
from orchestrator.cli.words import printable

_STYLES = {"good": "32", "bad": "31", "warn": "33", "dim": "2", "bold": "1"}


class Console:
    """The one place that prints."""

    def __init__(self, output: Output) -> None:
        self.json = output.json
        self.quiet = output.quiet
        self.verbose = output.verbose
        self._color = not output.no_color and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._listening = True

    @property
    def color(self) -> bool:
        """Whether standard error may be colored."""
        return self._color and self.on_terminal

    @property
    def on_terminal(self) -> bool:
        """Whether a person watches standard error."""
        return sys.stderr.isatty()

    def data(self, text: str) -> None:
        """Write what was asked for."""
        self._write(printable(text) + "\n")

    def line(self, value: Mapping[str, Any]) -> None:
        """Write one JSON value on one line."""
        self._write(json.dumps(value, ensure_ascii=False) + "\n")

    def document(self, value: object) -> None:
        """Write one JSON value for people and programs."""
        self._write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")

    def say(self, text: str = "", style: str | None = None) -> None:
        """Tell something to whoever watches, unless they want quiet."""
        if not self.quiet:
            self.insist(text, style)

    def insist(self, text: str, style: str | None = None) -> None:
        """Tell something that matters even to those who want quiet."""
        text = printable(text)
        sys.stderr.write((f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if style and self.color else text) + "\n")
        sys.stderr.flush()

    def _write(self, text: str) -> None:
        """Write to standard output; once its reader is gone, the command goes on without it."""
        if not self._listening:
            return
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except BrokenPipeError:
            self._listening = False
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it ends
