"""What PostgreSQL, its client and the way between them raise: what may pass, and what somebody has to mend."""

from __future__ import annotations

import errno
import os

import psycopg
import pytest
from psycopg import errors
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError

from orchestrator.errors import (
    JournalCorrupt,
    JournalError,
    JournalForbidden,
    JournalLocked,
    JournalStalled,
    JournalUnreachable,
    JournalUnusable,
)
from orchestrator.journal.location import Database, locate
from orchestrator.journal.pgfaults import explain, explained, is_lost

SECRET = "hunter2-hunter2"
TCP = 'connection failed: connection to server at "{host}" (10.0.0.9), port 5432 failed: '
SOCKET = 'connection failed: connection to server on socket "{host}/.s.PGSQL.5432" failed: '
NO_USER = 'FATAL:  role "ada" does not exist'
DOWN = "Connection refused\n\tIs the server running on that host and accepting TCP/IP connections?"
STARTING = "FATAL:  the database system is starting up"


def place() -> Database:
    found = locate(f"postgresql://ada:{SECRET}@h/d?sslpassword=key-{SECRET}")
    assert isinstance(found, Database)
    return found


def raised(original: psycopg.Error) -> DBAPIError:
    dialect = create_engine("postgresql+psycopg://u@h/d").dialect
    error = DBAPIError.instance("SELECT", {}, original, psycopg.Error, dialect=dialect)
    assert isinstance(error, DBAPIError)
    return error


def kind(original: psycopg.Error) -> type[JournalError]:
    error = raised(original)
    told = explain(place(), error)
    assert is_lost(error) is (type(told) is JournalUnreachable)
    assert SECRET not in str(told)
    return type(told)


def several(*failures: str) -> str:
    """Return what psycopg says if it has tried several addresses: the last failure, and then all of them."""
    each = [f"- host: 'h', port: None, hostaddr: '10.0.0.{number}': {text}" for number, text in enumerate(failures)]
    return "\n".join((failures[-1], "Multiple connection attempts failed. All failures were:", *each))


@pytest.mark.parametrize(
    "said",
    [
        NO_USER,
        'FATAL:  password authentication failed for user "ada"',
        'FATAL:  Peer authentication failed for user "ada"',
        "FATAL:  SASL authentication failed",
        'FATAL:  database "d" does not exist',
        'FATAL:  database "d" is not currently accepting connections',
        'FATAL:  role "ada" is not permitted to log in',
        'FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "ada", database "d", no encryption',
        'FATAL:  permission denied for database "d"\nDETAIL:  User does not have CONNECT privilege.',
        "FATAL:  no such database: d",
        "fe_sendauth: no password supplied",
        "Permission denied\n\tIs the server running locally and accepting connections on that socket?",
    ],
)
def test_a_server_that_lets_nobody_in(said):
    for way in (TCP.format(host="db"), SOCKET.format(host="/run/pg"), "connection failed: "):
        assert kind(psycopg.OperationalError(way + said)) is JournalForbidden
    twice = TCP.format(host="db") + said.splitlines()[0] + "\n" + TCP.format(host="db")[19:] + said
    assert kind(psycopg.OperationalError(twice)) is JournalForbidden  # with and without encryption
    assert kind(psycopg.OperationalError(several(TCP.format(host="db") + said, twice))) is JournalForbidden


@pytest.mark.parametrize(
    "said",
    [
        'connection is bad: invalid sslmode value: "bogus"',
        'connection is bad: invalid port number: "99999"',
        'connection is bad: definition of service "x" not found',
        "connection is bad: could not match 2 port numbers to 3 hosts",
        TCP.format(host="db") + 'FATAL:  unrecognized configuration parameter "bogus"',
        TCP.format(host="db") + "FATAL:  unsupported startup parameter: options",
        TCP.format(host="db") + 'root certificate file "/x" does not exist\nEither provide the file',
        TCP.format(host="db") + "server does not support SSL, but SSL was required",
    ],
)
def test_an_option_that_cannot_be(said):
    assert kind(psycopg.OperationalError(said)) is JournalUnusable


@pytest.mark.parametrize(
    "said",
    [
        DOWN,
        STARTING,
        "FATAL:  canceling authentication due to timeout",
        "FATAL:  sorry, too many clients already",
        'FATAL:  could not open file "base/1": Permission denied',
        "FATAL:  Passwort-Authentifizierung für Benutzer »ada« fehlgeschlagen",
        "FATAL:  server login has been failing, try again later (server_login_retry)",
        "server closed the connection unexpectedly\n\tThis probably means the server terminated abnormally",
        "timeout expired",
        "No such file or directory\n\tIs the server running locally and accepting connections on that socket?",
    ],
)
@pytest.mark.parametrize(
    "name", ["db", "authentication", "permission denied", "password does not exist", "pg_hba.conf", "invalid"]
)
def test_a_server_that_cannot_be_reached_whatever_its_name(said, name):
    for way in (TCP, SOCKET):
        assert kind(psycopg.OperationalError(way.format(host=f"/tmp/{name}") + said)) is JournalUnreachable


@pytest.mark.parametrize("other", [DOWN, STARTING])
def test_of_several_servers_one_that_may_come_back_is_enough(other):
    refused, away = TCP.format(host="a") + NO_USER, TCP.format(host="b") + other
    for said in (several(refused, away), several(away, refused), f"{refused}\n{away[19:]}", f"{away}\n{refused[19:]}"):
        assert kind(psycopg.OperationalError(said)) is JournalUnreachable
    assert kind(errors.ConnectionTimeout(several(refused, "connection timeout expired"))) is JournalUnreachable


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (errors.ConnectionTimeout("connection timeout expired"), JournalUnreachable),
        (
            psycopg.OperationalError("failed to resolve host 'invalid': [Errno -2] Name or service not known"),
            JournalUnreachable,
        ),
        (psycopg.OperationalError("the connection is closed"), JournalUnreachable),
        (errors.AdminShutdown("x"), JournalUnreachable),
        (errors.CannotConnectNow("x"), JournalUnreachable),
        (errors.TooManyConnections("x"), JournalUnreachable),
        (errors.IdleInTransactionSessionTimeout("x"), JournalUnreachable),
        (errors.IdleSessionTimeout("x"), JournalUnreachable),
        (errors.TransactionTimeout("x"), JournalUnreachable),
        (errors.LockNotAvailable("x"), JournalLocked),
        (errors.QueryCanceled("x"), JournalStalled),
        (errors.DiskFull("x"), JournalStalled),
        (errors.DeadlockDetected("x"), JournalStalled),
        (errors.IoError("x"), JournalStalled),
        (errors.UndefinedFile("x"), JournalStalled),
        (errors.InvalidPassword("x"), JournalForbidden),
        (errors.InvalidAuthorizationSpecification("x"), JournalForbidden),
        (errors.InsufficientPrivilege("x"), JournalForbidden),
        (errors.ReadOnlySqlTransaction("x"), JournalForbidden),
        (errors.InvalidCatalogName("x"), JournalUnusable),
        (errors.InvalidSchemaName("x"), JournalUnusable),
        (errors.DatabaseDropped("x"), JournalUnusable),
        (errors.DataCorrupted("x"), JournalCorrupt),
        (errors.IndexCorrupted("x"), JournalCorrupt),
        (errors.UndefinedTable("x"), JournalCorrupt),
        (errors.UniqueViolation("x"), JournalError),
    ],
)
def test_what_a_server_says_with_a_code(error, told):
    assert kind(error) is told


@pytest.mark.parametrize(("number", "told"), [(errno.EMFILE, JournalStalled), (errno.EBADF, JournalError)])
def test_what_this_machine_says(number, told):
    with pytest.raises(told, match=os.strerror(number)) as caught, explained(place()):
        raise OSError(number, os.strerror(number))
    assert type(caught.value) is told


def test_no_secret_of_the_url_is_told():
    error = psycopg.OperationalError(f"connection is bad: invalid x: {SECRET} key-{SECRET}")
    assert kind(error) is JournalUnusable
