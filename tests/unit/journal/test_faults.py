"""What SQLite and the file system raise, as a person reads it; the faults are real ones."""

from __future__ import annotations

import json
import os
import re
import resource
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import StatementError

from orchestrator.errors import (
    JournalCorrupt,
    JournalError,
    JournalForbidden,
    JournalLocked,
    JournalStalled,
    JournalUnusable,
)
from orchestrator.journal.faults import explained

PATH = Path("/state/journal.db")


@pytest.fixture
def connection(tmp_path):
    connection = sqlite3.connect(tmp_path / "x.db", isolation_level=None, timeout=0)
    connection.execute("CREATE TABLE t (a PRIMARY KEY)")
    yield connection
    connection.close()


def explanation(error: type[JournalError] = JournalError):
    return pytest.raises(error, match=f"the journal {re.escape(str(PATH))}")


def test_a_full_disk(connection):
    connection.execute("PRAGMA max_page_count = 3")
    with explanation() as caught, explained(PATH):
        connection.execute("INSERT INTO t VALUES (zeroblob(100000))")
    assert "the disk is full: free some space there, then resume" in str(caught.value)
    assert type(caught.value) is JournalStalled


def test_a_locked_file(connection, tmp_path):
    other = sqlite3.connect(tmp_path / "x.db", isolation_level=None, timeout=0)
    other.execute("BEGIN IMMEDIATE")
    with explanation() as caught, explained(PATH):
        connection.execute("BEGIN IMMEDIATE")
    other.close()
    assert "another process keeps it locked" in str(caught.value)
    assert type(caught.value) is JournalLocked


def test_a_file_that_may_not_be_written(connection, tmp_path):
    reader = sqlite3.connect(f"file:{tmp_path / 'x.db'}?mode=ro", uri=True)
    with explanation() as caught, explained(PATH):
        reader.execute("INSERT INTO t VALUES (1)")
    reader.close()
    assert "may not be written: check the permissions" in str(caught.value)
    assert type(caught.value) is JournalForbidden


def test_a_file_that_cannot_be_opened(tmp_path):
    with explanation() as caught, explained(PATH):
        sqlite3.connect(tmp_path / "missing" / "x.db")
    assert type(caught.value) is JournalUnusable  # the directory of the journal itself is missing, too
    with pytest.raises(JournalForbidden, match="cannot be opened: check that the path is right"), explained(tmp_path):
        sqlite3.connect(tmp_path / "missing" / "x.db")


def _to_log(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")


def test_a_file_that_cannot_be_opened_for_want_of_descriptors(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    path = tmp_path / "x.db"
    filled = [os.dup(0) for _ in range(8)]  # enough of one's own, wherever there were gaps
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(filled) + 1, hard))
    try:
        with suppress(OSError):
            while True:
                filled.append(os.dup(0))
        for _ in range(2):  # for no file at all, and for the database without its log
            with pytest.raises(JournalStalled, match=r"Too many open files.*ulimit -n"), explained(path):
                _to_log(path)
            os.close(filled.pop())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in filled:
            os.close(descriptor)


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "x.db").write_bytes(b"not a database" * 1000)
    garbage = sqlite3.connect(tmp_path / "x.db")
    with explanation(JournalCorrupt) as caught, explained(PATH):
        garbage.execute("SELECT * FROM sqlite_master")
    garbage.close()
    assert ".recover" in str(caught.value)


def test_a_contradiction_through_the_engine_tells_no_values(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path}/y.db", hide_parameters=True)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (a PRIMARY KEY)"))
        connection.execute(text("INSERT INTO t VALUES (:a)"), {"a": "secret"})
    with explanation() as caught, explained(PATH), engine.begin() as connection:
        connection.execute(text("INSERT INTO t VALUES (:a)"), {"a": "secret"})
    engine.dispose()
    assert "contradicts what is there" in str(caught.value)
    assert "secret" not in str(caught.value) + str(caught.value.__cause__)


def test_a_mistake_in_a_statement_says_what_sqlite_says(connection):
    with explanation() as caught, explained(PATH):
        connection.execute("SELECT * FROM missing")
    assert "no such table: missing" in str(caught.value)


@pytest.mark.parametrize("value", [2**63, "\ud800"])
def test_a_value_that_does_not_fit(connection, value):
    with explanation() as caught, explained(PATH):
        connection.execute("INSERT INTO t VALUES (?)", (value,))
    assert "a value cannot be stored in it" in str(caught.value)


def test_a_value_that_is_no_json():
    with explanation() as caught, explained(PATH):
        raise StatementError("Object of type X", "INSERT", None, TypeError("secret"))
    assert "secret" not in str(caught.value)
    with explanation(JournalCorrupt), explained(PATH):
        json.loads("{")


def test_a_directory_that_is_denied(tmp_path):
    with explanation() as caught, explained(PATH):
        (tmp_path / "missing" / "x").mkdir()
    assert str(caught.value).endswith(f"No such file or directory: {tmp_path}/missing/x")


def test_everything_else_passes():
    with pytest.raises(ZeroDivisionError), explained(PATH):
        _ = 1 / 0
    with pytest.raises(JournalCorrupt, match=r"^as it is$"), explained(PATH):
        raise JournalCorrupt("as it is")
