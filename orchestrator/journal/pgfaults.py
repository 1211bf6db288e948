"""The one place where faults of PostgreSQL become errors of the journal; no message has a password."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy.exc import DBAPIError, OperationalError, StatementError

from orchestrator.errors import JournalCorrupt, JournalError, JournalLocked, JournalStalled, JournalUnreachable
from orchestrator.journal.location import Database
from orchestrator.journal.rows import NotUnderstood

_ADVICE: Final = {
    "3F000": "there is no schema to make tables in: create one, and let the user's search_path name it",
    "42501": "the user may not do that there: it needs the right to create and use tables in its schema",
    "25006": "it may only be read: give the URL of the primary server",
    "53100": "its disk is full: free some space there, then resume",
    "53200": "the server has no memory left; try again later",
    "55P03": "another process keeps it locked: wait for it or end it, then try again",
    "57014": "it took too long to answer; look at the server's load, then try again",
    "40P01": "two processes waited for each other; nothing was written, try again",
    "40001": "two processes got in each other's way; nothing was written, try again",
    "22": "a value cannot be stored in it",
    "23": "what was to be written contradicts what is there; nothing of it was written",
    "XX001": "its data is damaged: look at the server's log, and restore a copy of your own",
    "XX002": "its data is damaged: look at the server's log, and restore a copy of your own",
}
# The connection is gone or could not be made, for a reason that may pass: 08 connection, 53300 too many of them,
# 57P01 to 57P03 the server is going down or coming up, 25P03 the transaction was idle for too long.
_LOST: Final = ("08", "53300", "57P01", "57P02", "57P03", "25P03")
_LOCKED: Final = "55P03"
_PASSING: Final = ("53", "57014", "40")
_REFUSED: Final = (
    "its server lets nobody in so: check the user, the password and the database in the journal's URL, PGPASSWORD and "
    "~/.pgpass, and pg_hba.conf of the server"
)
_REFUSALS: Final = ("password", "authentication", "does not exist", "pg_hba.conf", "permission denied", "not permitted")
_FAULTS: Final = (StatementError, OverflowError, UnicodeEncodeError, json.JSONDecodeError, NotUnderstood)


def sqlstate(error: BaseException) -> str | None:
    """Return PostgreSQL's code for an error, None if the server has not sent one."""
    original = error.orig if isinstance(error, DBAPIError) else error
    return getattr(original, "sqlstate", None)


def is_lost(error: BaseException) -> bool:
    """Tell whether an error means that the server cannot be reached now."""
    if not isinstance(error, DBAPIError):
        return False
    code = sqlstate(error)
    if code is None:
        return isinstance(error, OperationalError) and not _is_refused(error)
    return code.startswith(_LOST)


def _is_refused(error: DBAPIError) -> bool:
    """Tell whether the server answered and lets nobody in; of a failed connection, only words are known."""
    return sqlstate(error) is None and any(word in str(error.orig) for word in _REFUSALS)


def explain(place: Database, error: BaseException) -> JournalError:
    """Return the journal's error for a fault of PostgreSQL, of the way to it, or of a value's range."""
    if isinstance(error, json.JSONDecodeError | NotUnderstood):
        what = str(error) if isinstance(error, NotUnderstood) else "a stored value is no JSON"
        return JournalCorrupt(
            f"the journal {place} is damaged ({what}). Keep the database, it knows what was already sent. `orchestrator "
            "journal check` names every damaged row; restore a copy of your own, then resume. Starting with an empty "
            "journal and the same sources sends their rows again"
        )
    if not isinstance(error, DBAPIError):
        return JournalError(f"the journal {place}: a value cannot be stored in it ({type(error).__name__})")
    words = _without_password(place, str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else "")
    if is_lost(error):
        return JournalUnreachable(
            f"the journal {place} cannot be reached: see whether the server runs and lets this machine in ({words}); "
            "when it is there again, resume"
        )
    code = sqlstate(error) or ""
    advice = _REFUSED if _is_refused(error) else _ADVICE.get(code) or _ADVICE.get(code[:2])
    kind = JournalLocked if code == _LOCKED else JournalStalled if code.startswith(_PASSING) else JournalError
    return kind(f"the journal {place}: " + (f"{advice} ({words})" if advice else words))


def _without_password(place: Database, words: str) -> str:
    password = place.url.password
    return words.replace(str(password), "***") if password else words


@contextmanager
def explained(place: Database) -> Iterator[None]:
    """Raise whatever PostgreSQL or an unfit value raises as an error of the journal at `place`."""
    try:
        yield
    except _FAULTS as error:
        raise explain(place, error) from None  # the original may hold the password
