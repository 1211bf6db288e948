"""The one place where faults of PostgreSQL become errors of the journal; no message has a password.

What the server says once there is a connection has a code.  Of a connection that could not be made, libpq tells only
words: one line for each way that was tried, and behind the name of the server either what this machine met on the way
or, after ``FATAL:``, what the server said.  Names of servers, paths, users and databases stand among the words and
may be any, so only the beginning of what was said is judged.  What is not known, in another language for example,
counts as something that may pass: then the words are shown, and the server is asked again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from sqlalchemy.exc import DBAPIError, OperationalError, StatementError

from orchestrator.errors import (
    PASSING,
    JournalCorrupt,
    JournalError,
    JournalForbidden,
    JournalLocked,
    JournalStalled,
    JournalUnreachable,
    JournalUnusable,
)
from orchestrator.journal.location import SECRETS, Database
from orchestrator.journal.rows import NotUnderstood

_REFUSED: Final = (
    "its server lets nobody in so: check the user, the password and the database in the journal's URL, PGPASSWORD and "
    "~/.pgpass, and pg_hba.conf of the server"
)
_MISTAKEN: Final = "the journal's URL has an option that cannot be: correct it, or the PG* variable that says so"
_ADVICE: Final = {
    "28": _REFUSED,
    "3D000": _REFUSED,
    "3F000": "there is no schema to make tables in: create one, and let the user's search_path name it",
    "42501": "the user may not do that there: it needs the right to create and use tables in its schema",
    "25006": "it may only be read: give the URL of the primary server",
    "53100": "its disk is full: free some space there, then resume",
    "53200": "the server has no memory left; try again later",
    "55P03": "another process keeps it locked: wait for it or end it, then try again",
    "57014": "it took too long to answer; look at the server's load, then try again",
    "57P04": "the database is gone: make it anew from a copy of your own, or give another one",
    "58": "the server cannot read or write its files: look at its log and its disk, then resume",
    "40P01": "two processes waited for each other; nothing was written, try again",
    "40001": "two processes got in each other's way; nothing was written, try again",
    "22": "a value cannot be stored in it",
    "23": "what was to be written contradicts what is there; nothing of it was written",
}
# The connection is gone or could not be made, for a reason that may pass: 08 connection, 53300 too many of them,
# 57P01 to 57P03 the server is going down or coming up, 57P05, 25P03 and 25P04 it or a transaction was idle or took
# too long.
_LOST: Final = ("08", "53300", "57P01", "57P02", "57P03", "57P05", "25P03", "25P04")
_KINDS: Final[Mapping[type[JournalError], tuple[str, ...]]] = {
    JournalLocked: ("55P03",),
    JournalStalled: ("53", "57014", "40", "58"),
    JournalForbidden: ("28", "42501", "25006"),
    JournalUnusable: ("3D000", "3F000", "57P04"),
    JournalCorrupt: ("XX001", "XX002", "42P01", "42703"),  # data, or a table or column that every journal has
}

_WAY: Final = re.compile(
    r"(?:- host: .*?, hostaddr: (?:None|'[^']*'): )?"  # psycopg's, if there were several
    r"(?:connection (?:failed|is bad): )?"
    r'(?:connection to server (?:at|on socket) "[^"]*"(?: \([^)]*\))?(?:, port \S+)? failed: )?'
)
_LETS_NOBODY_IN: Final = re.compile(
    r"""
    FATAL:\s+(?:
        \S+[ ]authentication[ ]failed
        | (?:role|database|user)[ ]".*"[ ](?:does[ ]not[ ]exist|is[ ]not[ ](?:permitted|currently[ ]accepting))
        | no[ ]such[ ](?:database|user)  # a pool of connections says so
        | no[ ]pg_hba\.conf[ ]entry | pg_hba\.conf[ ]rejects | permission[ ]denied[ ]for[ ]database
    )
    | fe_sendauth: | Permission[ ]denied
    """,
    re.VERBOSE,
)
_WRONG_OPTION: Final = re.compile(
    r"""
    FATAL:\s+(?:
        unrecognized[ ]configuration[ ]parameter | invalid[ ]value[ ]for[ ]parameter | parameter[ ]".*"[ ]cannot
        | permission[ ]denied[ ]to[ ]set[ ]parameter | unsupported[ ]startup[ ]parameter
        | invalid[ ]command-line[ ]argument
    )
    | invalid[ ] | definition[ ]of[ ]service | service[ ]file | weak[ ]sslmode | \w+[ ]value[ ]"
    | could[ ]not[ ](?:match[ ]\d|(?:load|read)[ ](?:root[ ])?(?:certificate|private)) | bad[ ]value[ ]for
    | (?:root[ ])?certificate[ ]file | private[ ]key[ ]file | server[ ]certificate[ ]for
    | server[ ]does[ ]not[ ]support[ ]SSL,[ ]but | SSL[ ]error:[ ]certificate
    """,
    re.VERBOSE,
)
_FAULTS: Final = (StatementError, OSError, OverflowError, UnicodeEncodeError, json.JSONDecodeError, NotUnderstood)


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
        return isinstance(error, OperationalError) and _said_of_all_ways(error) is None
    return code.startswith(_LOST)


def _said_of_all_ways(error: DBAPIError) -> tuple[type[JournalError], str] | None:
    """Return the kind of a connection's failure and what helps, if each way to the server is closed for good."""
    if sqlstate(error) is not None or not isinstance(error, DBAPIError):
        return None
    lines = str(error.orig).splitlines()
    said = [
        line[way.end() :] for line in lines if (way := _WAY.match(line)) is not None and (way[0] or line is lines[0])
    ]
    if said and all(_WRONG_OPTION.match(each) for each in said):
        return JournalUnusable, _MISTAKEN
    if said and all(_LETS_NOBODY_IN.match(each) or _WRONG_OPTION.match(each) for each in said):
        return JournalForbidden, _REFUSED
    return None


def explain(place: Database, error: BaseException) -> JournalError:
    """Return the journal's error for a fault of PostgreSQL, of the way to it, or of a value's range."""
    if isinstance(error, json.JSONDecodeError | NotUnderstood):
        return corrupt(place, str(error) if isinstance(error, NotUnderstood) else "a stored value is no JSON")
    if isinstance(error, OSError):
        kind = JournalStalled if error.errno in PASSING else JournalError
        return kind(f"the journal {place} cannot be asked: {error.strerror or error}")
    if not isinstance(error, DBAPIError):
        return JournalError(f"the journal {place}: a value cannot be stored in it ({type(error).__name__})")
    words = _without_password(place, str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else "")
    if is_lost(error):
        return JournalUnreachable(
            f"the journal {place} cannot be reached: see whether the server runs and lets this machine in ({words}); "
            "when it is there again, resume"
        )
    if (closed := _said_of_all_ways(error)) is not None:
        kind, advice = closed
        return kind(f"the journal {place}: {advice} ({words})")
    code = sqlstate(error) or ""
    found = next((kind for kind, codes in _KINDS.items() if code.startswith(codes)), JournalError)
    if found is JournalCorrupt:
        return corrupt(place, words)
    said = _ADVICE.get(code) or _ADVICE.get(code[:2])
    return found(f"the journal {place}: " + (f"{said} ({words})" if said else words))


def corrupt(place: Database, what: str) -> JournalCorrupt:
    """Return the error that says what a person can do about a damaged journal."""
    return JournalCorrupt(
        f"the journal {place} is damaged ({what}). Keep the database, it knows what was already sent. `orchestrator "
        "journal check` names every damaged row; restore a copy of your own, then resume. Starting with an empty "
        "journal and the same sources sends their rows again"
    )


def _without_password(place: Database, words: str) -> str:
    for secret in (place.url.password, *(place.url.query.get(name) for name in SECRETS)):
        words = words.replace(str(secret), "***") if secret else words
    return words


@contextmanager
def explained(place: Database) -> Iterator[None]:
    """Raise whatever PostgreSQL or an unfit value raises as an error of the journal at `place`."""
    try:
        yield
    except _FAULTS as error:
        raise explain(place, error) from None  # the original may hold the password
