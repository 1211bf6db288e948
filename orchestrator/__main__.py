"""``python -m orchestrator``, and what both console scripts call."""

from __future__ import annotations

import gc
import io
import os
import sys


def main() -> None:
    """Run the command line and exit with its code.

    Nothing that a start imports is garbage, so none is looked for until the command's own work begins.
    """
    gc.disable()
    _open_streams()
    from orchestrator.cli.common import IS_PROCESS
    from orchestrator.cli.main import run

    IS_PROCESS.set(True)
    sys.exit(run(sys.argv[1:]))


def _open_streams() -> None:
    """Make the standard streams ones that take whatever is written to them.

    A stream that was closed becomes one that nobody reads, so no file that is opened later takes its place.  What
    a stream's encoding does not know is written as an escape.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, os.O_RDWR), descriptor)
            setattr(sys, name, os.fdopen(descriptor, "w" if descriptor else "r", encoding="utf-8"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    main()
