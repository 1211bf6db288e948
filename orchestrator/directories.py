"""The directories that this program writes to, made before anything depends on them."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from orchestrator.errors import ConfigError
from orchestrator.home import FILE_NAME


def prepare_state_dir(path: Path) -> None:
    """Make the state directory, its owner's alone; one that others may look into is closed to them.

    Unless it is another user's, or has something else in it than the state: then it is left as it is.

    Raises:
        ConfigError: it cannot be made.

    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
        if status.st_mode & 0o077 and status.st_uid == os.geteuid() and _is_state(path):
            with suppress(OSError):  # on a disk that may only be read; where it may be written, it is closed
                path.chmod(status.st_mode & 0o700)
    except OSError as error:
        raise ConfigError(
            f"the state directory {path} cannot be made: {error.strerror or error}; "
            "choose another one with --set state.dir=DIR"
        ) from error


def _is_state(path: Path) -> bool:
    """Tell whether a directory is one that this program uses alone: empty, or marked as a home and no shared place."""
    return not path.stat().st_mode & stat.S_ISVTX and ((path / FILE_NAME).exists() or not any(path.iterdir()))


def prepare_out_dir(path: Path) -> None:
    """Make sure that the report can be written later, before hours of work depend on it.

    Raises:
        ConfigError: the directory cannot be made, or not written to.

    """
    probe = path / ".orchestrator-probe"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)  # rows of customers will lie there
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError(
            f"cannot write the report to {path}: {error.strerror or error}; choose another directory with --out DIR"
        ) from error
