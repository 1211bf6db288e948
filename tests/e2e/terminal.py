"""The command at a terminal, with somebody who reads what it asks and types answers."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import termios
import time
from collections.abc import Mapping

from tests.e2e.kit import LOOK_EVERY_S, NEVER_SAID, PATIENCE_S, Place

# The terminal becomes that of the new session, so that Ctrl-C is a signal.
_AT_ITS_TERMINAL = """
import fcntl, runpy, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
runpy.run_module("orchestrator", run_name="__main__", alter_sys=True)
"""
_STEERING = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A run of the command whose standard streams are one terminal; leaving it kills what is left of it."""

    def __init__(self, place: Place, *arguments: str, env: Mapping[str, str | None] | None = None) -> None:
        self._master, end = pty.openpty()
        termios.tcsetwinsize(end, (40, 120))
        os.set_blocking(self._master, False)
        changed = {**place.env, "TERM": "xterm", **(env or {})}
        self.process = subprocess.Popen(
            [sys.executable, "-c", _AT_ITS_TERMINAL, *arguments],
            stdin=end,
            stdout=end,
            stderr=end,
            cwd=place.directory,
            env={name: value for name, value in changed.items() if value is not None},
            start_new_session=True,
        )
        os.close(end)
        self._raw = b""
        self._read_to = 0

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *failure: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)

    @property
    def text(self) -> str:
        """Everything that was shown, without what only steers the terminal."""
        return _STEERING.sub("", self._raw.decode(errors="replace")).replace("\r\n", "\n")

    def _take_in(self) -> bool:
        """Take in what is there; tell whether more can come."""
        try:
            piece = os.read(self._master, 65_536)
        except BlockingIOError:
            return True
        except OSError:  # how a terminal says that nobody writes to it any more
            return False
        self._raw += piece
        return bool(piece)

    def read(self, words: str) -> str:
        """Wait until this is shown behind what was read before; return what is shown up to its end."""
        deadline = time.monotonic() + PATIENCE_S
        while (at := self.text.find(words, self._read_to)) < 0:
            more = self._take_in()
            assert more or words in self.text[self._read_to :], f"ended without {words!r}\n{self.text}"
            assert time.monotonic() < deadline, f"not shown: {words!r}\n{self.text}"
            time.sleep(LOOK_EVERY_S)
        shown = self.text[self._read_to : at + len(words)]
        self._read_to = at + len(words)
        return shown

    def type(self, line: str) -> None:
        """Type a line."""
        os.write(self._master, f"{line}\n".encode())

    def press(self, key: str) -> None:
        """Press Ctrl and a key."""
        os.write(self._master, bytes([ord(key.upper()) - 64]))

    def end(self) -> int:
        """Wait for its end; return its exit code."""
        deadline = time.monotonic() + PATIENCE_S
        while self._take_in():
            assert time.monotonic() < deadline, f"did not end\n{self.text}"
            time.sleep(LOOK_EVERY_S)
        code = self.process.wait(PATIENCE_S)
        for words in NEVER_SAID:
            assert words not in self.text, self.text
        return code
