"""Where a job belongs: it goes on only in the state directory where its result parts, spools and claims lie.

A journal on PostgreSQL is seen by several machines.  A host's name does not tell them apart well: a container has
a new one each time it is started, with the same state directory.  So the state directory has a number of its own,
made with it, which goes where the directory goes.  Host and directory are kept beside it for people to read.
"""

from __future__ import annotations

import os
import re
import socket
import tempfile
from contextlib import suppress
from pathlib import Path
from random import Random

from orchestrator.errors import PASSING, ConfigError, FileUnwritten
from orchestrator.model import Home, Job

FILE_NAME = "home"
_ID_BITS = 64
_ID = re.compile(r"[0-9a-f]{16}\n?")


def read_home(state_dir: Path, rng: Random) -> Home:
    """Return the home that a state directory is, giving it its number if it has none.

    Raises:
        ConfigError: the number cannot be read or written.
        FileUnwritten: not now, for there is no room, for example.

    """
    path = state_dir / FILE_NAME
    try:
        if not path.exists():
            _make(path, f"{rng.getrandbits(_ID_BITS):016x}\n")
        text = path.read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in PASSING:
            raise FileUnwritten(
                f"{path} cannot be used now: {error.strerror}; when that is mended, try again with the same directory"
            ) from error
        what = error.strerror if isinstance(error, OSError) else "it is not what this program wrote"
        raise ConfigError(
            f"{path} cannot be used: {what}; choose another directory with --set state.dir=DIR"
        ) from error
    if not _ID.fullmatch(text):
        raise ConfigError(
            f"{path} is not what this program wrote: restore it from a copy of the directory; without it, the jobs that "
            "were made here cannot be gone on with"
        )
    return Home(id=text.strip(), host=socket.gethostname(), directory=os.path.realpath(state_dir))


def not_at(home: Home, job: Job) -> str | None:
    """Say that a job was made in another state directory than this one, if so; only there it goes on."""
    if job.home is None or job.home.id == home.id:
        return None
    return f"it was made with the state directory {job.home}, and goes on only there (--set state.dir=DIR)"


def not_sent_to(host: str, subscription: str, job: Job) -> str | None:
    """Say that a job writes to another host than the subscription does, if so."""
    if job.host == host:
        return None
    return (
        f"it writes to {job.host}, but subscription {subscription} is {host}; choose another with --subscription NAME"
    )


def _make(path: Path, text: str) -> None:
    """Write a small file whole, under its name only when it is complete; another process's counts if it was first."""
    descriptor, made = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(made, path)
    finally:
        Path(made).unlink()
