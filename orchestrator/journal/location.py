"""From the journal's URL to the place it names; what is shown of it never has the password."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sqlalchemy import make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

from orchestrator.errors import JournalUnusable

FORMS: Final = "sqlite:///PATH or postgresql+psycopg://USER@HOST/DATABASE"
SECRETS: Final = ("password", "sslpassword", "oauth_client_secret")  # options in a URL that nobody else may see
_POSTGRES: Final = ("postgres", "postgresql", "postgresql+psycopg")


@dataclass(frozen=True, slots=True)
class Database:
    """A PostgreSQL database; what the URL leaves out, libpq finds as it always does (PGHOST, ~/.pgpass)."""

    url: URL = field(repr=False)

    def __str__(self) -> str:
        hosts = self.url.host or self.url.query.get("host") or "the default host"
        host = hosts if isinstance(hosts, str) else " or ".join(hosts)
        port = f":{self.url.port}" if self.url.port else ""
        return f"{self.url.database or 'the default database'} on {host}{port}"


def locate(url: str) -> Path | Database:
    """Return the file or the database of a journal URL; raises `JournalUnusable` for anything else."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise JournalUnusable(
            f"the journal's URL cannot be read; write it as {FORMS}. A port is a number; several servers stand in "
            "?host=ONE:PORT&host=TWO:PORT behind the database"
        ) from error
    if parsed.drivername in _POSTGRES:
        return Database(parsed.set(drivername="postgresql+psycopg"))
    if parsed.get_backend_name() != "sqlite":
        raise JournalUnusable(f"no journal on {parsed.drivername}: write its URL as {FORMS}")
    if not parsed.database or parsed.database == ":memory:" or parsed.query:
        raise JournalUnusable("the journal must survive a crash, so it needs a file: write its URL as sqlite:///PATH")
    return Path(parsed.database).absolute()
