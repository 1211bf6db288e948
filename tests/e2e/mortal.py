"""The command, killed by its own hand right after a certain write to the journal: a crash where a test wants it.

`MORTAL_WRITES` says after how many writes; 0 is never.  The number of those that were made is left in the file
`MORTAL_COUNT` when the process ends by itself.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator.cli.main import run
from orchestrator.journal.postgres import PostgresStore
from orchestrator.journal.sqlite import SqliteStore

NUMBERS = itertools.count(1)


def mortal(write: Callable[..., Any], after: int) -> Callable[..., Any]:
    """Return a store's method that commits and then, at its last time, kills the process."""

    def committed(*args: Any, **kwargs: Any) -> Any:
        result = write(*args, **kwargs)
        if next(NUMBERS) == after:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return committed


if __name__ == "__main__":
    for store in (SqliteStore, PostgresStore):
        store.write = mortal(store.write, int(os.environ["MORTAL_WRITES"]))  # type: ignore[method-assign]
    code = run(sys.argv[1:])
    Path(os.environ["MORTAL_COUNT"]).write_text(str(next(NUMBERS) - 1))
    sys.exit(code)
