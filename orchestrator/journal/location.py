"""From the journal's URL to the place it names; what is shown of it never has the password."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sqlalchemy import make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

from orchestrator.errors import JournalError

FORMS: Final = "sqlite:///PATH or postgresql+psycopg://USER@HOST/DATABASE"
_POSTGRES: Final = ("postgres", "postgresql", "postgresql+psycopg")


@dataclass(frozen=True, slots=True)
class Database:
    """A PostgreSQL database; what the URL leaves out, libpq finds as it always does (PGHOST, ~/.pgpass)."""

    url: URL = field(repr=False)

    def __str__(self) -> str:
        host = self.url.host or self.url.query.get("host") or "the default host"
        port = f":{self.url.port}" if self.url.port else ""
        return f"{self.url.database or 'the default database'} on {host}{port}"


def locate(url: str) -> Path | Database:
    """Return the file or the database of a journal URL; raises `JournalError` for anything else."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise JournalError(f"the journal's URL cannot be read; write it as {FORMS}") from error
    if parsed.drivername in _POSTGRES:
        return Database(parsed.set(drivername="postgresql+psycopg"))
    if parsed.get_backend_name() != "sqlite":
        raise JournalError(f"no journal on {parsed.drivername}: write its URL as {FORMS}")
    if not parsed.database or parsed.database == ":memory:" or parsed.query:
        raise JournalError("the journal must survive a crash, so it needs a file: write its URL as sqlite:///PATH")
    return Path(parsed.database).absolute()
