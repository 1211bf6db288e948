"""Run the migrations with Alembic, which is imported here and nowhere else in this package."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from orchestrator.errors import JournalVersionUnknown
from orchestrator.journal.location import Database


def configuration() -> Config:
    """Return Alembic's configuration; there is no alembic.ini, for the package is its own place."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config


def upgrade(place: Path | Database, connection: Connection) -> None:
    """Bring the tables behind a connection up to the newest revision, within the transaction it is in.

    Raises `JournalVersionUnknown` for a revision that is none of ours, and so one of a newer version.
    """
    config = configuration()
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise JournalVersionUnknown(
            f"the journal {place} was written by a newer version of this program ({error}): "
            "use that version, or give another journal with --journal URL"
        ) from error


def head() -> str | None:
    """Return the newest revision among the files."""
    return ScriptDirectory.from_config(configuration()).get_current_head()
