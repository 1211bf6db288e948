"""Which process this is, so that another one on the same machine can tell for certain that it is dead.

A number of a process means something only among the processes that see the same numbers: within one boot of one
kernel and, where there are containers, within one of them.  And numbers are used again, so the moment at which a
process began belongs to it.  Only Linux tells all this; elsewhere nobody is known to be dead.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_STATE, _STARTED = 0, 19  # places in /proc/PID/stat behind the name in brackets
_DEAD = ("Z", "X")  # not yet buried by its parent, but it runs no more


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process, told apart from all others."""

    host: str  # for people
    boot: str  # whose numbers of processes are meant; empty: nobody can tell
    pid: int
    started: int  # in ticks since the machine started


def this_process() -> Process:
    """Return the process that asks."""
    pid = os.getpid()
    seen = _look(pid)
    boot, started = ("", 0) if seen is None else (_boot(), seen[1])
    return Process(host=socket.gethostname(), boot=boot, pid=pid, started=started)


def is_dead(process: Process) -> bool:
    """Tell whether a process is dead for certain; never of one on another machine.

    Files of another user's process may be hidden, whether it lives or not: see ``hidepid`` of proc(5).
    """
    if not process.boot or process.boot != _boot():
        return False
    try:
        os.kill(process.pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # it lives, and is another user's; or it is no number of a process
        pass
    seen = _look(process.pid)
    return seen is not None and (seen[0] in _DEAD or seen[1] != process.started)


def _boot() -> str:
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink(_PROC / 'self/ns/pid')}"  # noqa: PTH115  # it is no path
    except (OSError, ValueError):
        return ""


def _look(pid: int) -> tuple[str, int] | None:
    """Return the state of a process and when it began; None if nobody tells."""
    try:
        fields = (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
        return fields[_STATE].decode("ascii"), int(fields[_STARTED])
    except (OSError, ValueError, IndexError):
        return None
