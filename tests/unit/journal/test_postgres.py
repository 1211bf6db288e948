"""What only PostgreSQL can do to a journal: writers side by side, leases that grow stale, connections that break."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from orchestrator.errors import (
    Fenced,
    JournalCorrupt,
    JournalError,
    JournalForbidden,
    JournalUnreachable,
    JournalUnusable,
    JournalVersionUnknown,
)
from orchestrator.journal import machine, patience, reading, writing
from orchestrator.journal.changes import ChunkChanged, Told
from orchestrator.journal.journal import Journal
from orchestrator.journal.location import Database, locate
from orchestrator.journal.machine import Process, is_dead, this_process
from orchestrator.journal.postgres import PostgresStore
from orchestrator.journal.values import SILENT_MS, Away, Owner
from tests import postgres
from tests.contract.journal_kit import HOST, NOW_MS, in_loop, make_job, opened, planned, started

SECRET = "hunter2-hunter2"


@pytest.fixture
def url():
    """The URL of a journal that does not exist yet."""
    return postgres.new_schema()


def sql(url: str, statement: str) -> list[tuple[Any, ...]]:
    return postgres.run(statement, postgres.schema_of(url))


def store(url: str) -> PostgresStore:
    place = locate(url)
    assert isinstance(place, Database)
    opened = PostgresStore(place)
    opened.open(NOW_MS)
    return opened


def waits_or_is_done(url: str, call: Future[Any]) -> bool:
    """Return True as soon as a transaction waits for a lock, False if the call ends without."""
    while not call.done():
        if postgres.run("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
            return True
    return False


class Held:
    """A function within a transaction that is kept open until `go`."""

    def __init__(self, function: Callable[[Connection], object]) -> None:
        self._function = function
        self.inside = threading.Event()
        self.go = threading.Event()

    def __call__(self, connection: Connection) -> None:
        self._function(connection)
        self.inside.set()
        assert self.go.wait(30)


# --- side by side -------------------------------------------------------------------------------------


def test_events_are_seen_in_the_order_of_their_numbers(url):
    first, second = store(url), store(url)
    job = make_job()
    first.write(writing.add_job, job, NOW_MS)

    def tell(batch_id: int) -> Callable[[Connection], object]:
        event = started(_Chunk, batch_id, ts_ms=NOW_MS + batch_id)
        return lambda connection: writing.write_unfenced(connection, [Told(event=event)], NOW_MS)

    def follow(after: int) -> list[int]:
        return [event.seq for event in second.read(reading.job_events, job.id, after, 100)]

    held = Held(tell(1))
    seen = follow(0)
    with ThreadPoolExecutor(2) as threads:
        slow = threads.submit(first.write, held)
        assert held.inside.wait(30)
        third = store(url)
        quick = threads.submit(third.write, tell(2))
        assert waits_or_is_done(url, quick)
        seen += follow(seen[-1])
        held.go.set()
        slow.result()
        quick.result()
    seen += follow(seen[-1])
    assert seen == follow(0)
    assert len(seen) == 3
    for each in (first, second, third):
        each.close()


def test_nobody_takes_over_within_a_write(url):
    first, second = store(url), store(url)
    lease = first.take_over(HOST, NOW_MS, force=False)
    held = Held(lambda connection: writing.write(connection, lease, [], NOW_MS))
    with ThreadPoolExecutor(2) as threads:
        write = threads.submit(first.write, held)
        assert held.inside.wait(30)
        taking = threads.submit(second.take_over, HOST, NOW_MS, force=True)
        assert waits_or_is_done(url, taking)
        held.go.set()
        write.result()
        taking.result()
    with pytest.raises(Fenced):
        first.write(writing.write, lease, [], NOW_MS)
    first.close()
    second.close()


def test_writers_of_different_jobs_do_not_wait_for_each_other(url):
    first, second = store(url), store(url)
    held = Held(lambda connection: writing.add_job(connection, make_job("j-1"), NOW_MS))
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(first.write, held)
        assert held.inside.wait(30)
        second.write(writing.add_job, make_job("j-2"), NOW_MS)
        held.go.set()
        slow.result()
    first.close()
    second.close()


# --- leases -------------------------------------------------------------------------------------------


@in_loop
async def test_a_lease_grows_stale(url):
    elsewhere = json.dumps({"host": "web-2", "boot": "another", "pid": 7, "started": 1})
    async with opened(url) as first, opened(url) as second:
        lease = await first.take_over(HOST)
        (chunk, *_) = await planned(first, lease)
        sql(url, f"UPDATE leases SET process = '{elsewhere}'")
        assert await second.owner(HOST) == Owner(pid=7, since_ms=NOW_MS, machine="web-2")
        with pytest.raises(JournalError, match=rf"{HOST} is driven by process 7 on web-2 since 2023-11-14"):
            await second.take_over(HOST)
        sql(url, f"UPDATE leases SET renewed_ms = renewed_ms - {SILENT_MS - 5_000}")
        assert await second.owner(HOST) is not None
        await first.confirm(lease)
        sql(url, f"UPDATE leases SET renewed_ms = renewed_ms - {SILENT_MS}")
        assert await second.owner(HOST) is None
        await first.write(lease, [ChunkChanged(chunk_id=chunk.id, values={"polls": 1})])  # until somebody takes it
        await second.take_over(HOST)
        for refused in (first.confirm(lease), first.write(lease, [])):
            with pytest.raises(Fenced):
                await refused


@in_loop
async def test_a_lease_is_renewed_as_long_as_it_is_held(url, monkeypatch):
    monkeypatch.setattr(PostgresStore, "renewal_s", 0.01)

    async def is_fresh() -> bool:
        ((age,),) = sql(url, "SELECT extract(epoch FROM clock_timestamp()) * 1000 - renewed_ms FROM leases")
        return bool(age < SILENT_MS)

    async with opened(url) as journal:
        lease = await journal.take_over(HOST)
        for _ in range(3):
            sql(url, f"UPDATE leases SET renewed_ms = renewed_ms - {2 * SILENT_MS}")
            async with asyncio.timeout(30):
                while not await is_fresh():  # noqa: ASYNC110  # the database tells nobody
                    await asyncio.sleep(0.01)
        await journal.release(lease)
        assert sql(url, "SELECT * FROM leases") == []


@in_loop
async def test_an_answer_that_took_too_long_is_asked_for_again(url):
    times = iter([0, 0, 60_000, 60_000, 60_001])  # the take-over; asked, and stopped for a minute; asked again
    async with opened(url) as other:
        await other.jobs()
    store_opened = store(url)
    journal = Journal(store_opened, now_ms=lambda: next(times), token_bytes=bytes)
    lease = await journal.take_over(HOST)
    await journal.confirm(lease)
    assert list(times) == []
    await journal.release(lease)
    store_opened.close()


def test_a_process_is_dead_only_if_this_machine_knows():
    alive = this_process()
    assert not is_dead(alive)
    if not alive.boot:
        pytest.skip("this system does not tell one boot from another")
    known = {"host": alive.host, "boot": alive.boot, "pid": alive.pid, "started": alive.started}
    assert is_dead(Process(**{**known, "pid": 2**22 + 1}))
    assert is_dead(Process(**{**known, "started": alive.started + 1}))  # the number was given to another one
    assert not is_dead(Process(**{**known, "pid": 2**22 + 1, "boot": "another"}))
    assert not is_dead(Process(**{**known, "pid": 2**22 + 1, "boot": ""}))


def test_a_process_of_which_nothing_can_be_read_may_live(tmp_path, monkeypatch):
    (tmp_path / "sys/kernel/random").mkdir(parents=True)
    (tmp_path / "sys/kernel/random/boot_id").write_text("a-boot\n", encoding="ascii")
    (tmp_path / "self/ns").mkdir(parents=True)
    (tmp_path / "self/ns/pid").symlink_to("pid:[1]")
    monkeypatch.setattr(machine, "_PROC", tmp_path)  # what other users see of it with hidepid=2
    hidden = Process(host="h", boot="a-boot pid:[1]", pid=os.getpid(), started=7)
    assert not is_dead(hidden)
    assert is_dead(replace(hidden, pid=2**22 + 1))
    assert not is_dead(replace(hidden, pid=2**70))
    assert this_process().boot == ""  # nobody could tell it from another one of its number


# --- connections --------------------------------------------------------------------------------------


def cut(url: str) -> None:
    """End every connection of a journal but the one that asks."""
    postgres.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'orchestrator'")


@in_loop
async def test_a_connection_that_was_cut_is_made_anew(url):
    async with opened(url) as journal:
        lease = await journal.take_over(HOST)
        cut(url)
        (chunk, *_) = await planned(journal, lease)
        cut(url)
        await journal.write(lease, [ChunkChanged(chunk_id=chunk.id, values={"polls": 1})])
        cut(url)
        assert (await journal.chunks(chunk.job))[0].polls == 1


def test_a_read_that_broke_is_made_again_and_a_write_is_not(url):
    opened = store(url)
    calls = []

    def broken_once(connection: Connection) -> int:
        calls.append(1)
        if len(calls) == 1:
            cut(url)
        return len(reading.job_list(connection, None, None))

    assert opened.read(broken_once) == 0
    assert len(calls) == 2
    calls.clear()
    with pytest.raises(JournalUnreachable, match="when it is there again, resume"):
        opened.write(broken_once)
    assert len(calls) == 1
    opened.write(writing.add_job, make_job(), NOW_MS)
    opened.close()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "[::1]:1"])
@in_loop
async def test_a_server_that_is_not_there(address):
    with pytest.raises(
        JournalUnreachable, match=r"db on .*:1 cannot be reached: see whether the server runs"
    ) as caught:
        async with opened(f"postgresql+psycopg://user:{SECRET}@{address}/db"):
            pass
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__


@in_loop
async def test_a_server_that_takes_the_call_and_says_nothing():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"127.0.0.1:{silent.getsockname()[1]}/db?connect_timeout=2"  # the driver's least
        with pytest.raises(JournalUnreachable, match=r"cannot be reached: .*connection timeout expired"):
            async with opened(f"postgresql+psycopg://user:{SECRET}@{place}"):
                pass


@pytest.fixture
def locked(monkeypatch):
    """The name of a user that needs a password."""
    ((path,),) = postgres.run("SHOW hba_file")
    rules = Path(path).read_text(encoding="utf-8")
    if "locked" not in rules:
        Path(path).write_text(f"local all locked scram-sha-256\n{rules}", encoding="utf-8")
        postgres.run(f"CREATE ROLE locked LOGIN PASSWORD '{SECRET}'")
        postgres.run("SELECT pg_reload_conf()")
    monkeypatch.delenv("PGPASSWORD", raising=False)
    return "locked"


@in_loop
async def test_a_password_that_is_wrong_right_or_elsewhere(url, locked, monkeypatch):
    for password in ("", ":wrong-wrong"):
        with pytest.raises(JournalForbidden, match=r"postgres on .*lets nobody in so: check the user") as caught:
            async with opened(url.replace("postgres@", f"{locked}{password}@")):
                pass
        assert "wrong-wrong" not in str(caught.value)
    postgres.run(f"GRANT ALL ON SCHEMA {postgres.schema_of(url)} TO {locked}")
    async with opened(url.replace("postgres@", f"{locked}:{SECRET}@")) as journal:
        assert await journal.jobs() == []
    monkeypatch.setenv("PGPASSWORD", SECRET)
    async with opened(url.replace("postgres@", f"{locked}@")) as journal:
        assert await journal.jobs() == []


@in_loop
async def test_a_user_without_rights(url, locked):
    with pytest.raises(JournalUnusable, match=r"no schema to make tables in|may not do that there"):
        async with opened(url.replace("postgres@", f"{locked}:{SECRET}@")):
            pass


@in_loop
async def test_a_database_that_does_not_exist(url):
    with pytest.raises(JournalForbidden, match=r"nowhere on .*check the user, the password and the database"):
        async with opened(url.replace("/postgres?", "/nowhere?")):
            pass


@in_loop
async def test_without_psycopg(url, monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(JournalUnusable, match=r"needs psycopg .*pip install '\.\[postgres\]'"):
        async with opened(url):
            pass


# --- what is there already ----------------------------------------------------------------------------


@in_loop
async def test_a_schema_of_another_program(url):
    sql(url, "CREATE TABLE photos (id int)")
    with pytest.raises(JournalUnusable, match=r"no journal of this program .*photos.*search_path"):
        async with opened(url):
            pass
    for statement in ("CREATE TABLE alembic_version (version_num text)", "INSERT INTO alembic_version VALUES ('0001')"):
        sql(url, statement)
    with pytest.raises(JournalUnusable, match=r"no journal of this program .*photos"):
        async with opened(url):
            pass


@in_loop
async def test_a_journal_of_a_newer_version_and_one_that_forgot_its_own(url):
    async with opened(url):
        pass
    sql(url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(JournalVersionUnknown, match=r"newer version .*9999"):
        async with opened(url):
            pass
    sql(url, "DELETE FROM alembic_version")
    with pytest.raises(JournalCorrupt, match="does not say which version"):
        async with opened(url):
            pass


@in_loop
async def test_a_stored_value_that_is_no_json(url):
    async with opened(url) as journal:
        await journal.add_job(make_job())
        sql(url, "UPDATE jobs SET paths = '[' ")
        with pytest.raises(JournalCorrupt, match="no JSON"):
            await journal.jobs()


def test_what_is_shown_of_a_place_has_no_password():
    place = locate(f"postgres://user:{SECRET}@db.example.com:5433/imports?sslmode=require")
    assert str(place) == "imports on db.example.com:5433"
    assert SECRET not in repr(place)


class _Chunk:
    job, id = make_job().id, 1


# --- a server that does not answer -------------------------------------------------------------------


@in_loop
async def test_nobody_waits_for_a_server_that_does_not_answer_once_the_process_is_to_end(url, monkeypatch):
    monkeypatch.setattr(patience, "HURRIED_S", 0.05)
    async with opened(url) as journal:
        lease = await journal.take_over(HOST)
        hangs = asyncio.create_task(journal._write(_sleep_for_ever))
        behind = asyncio.create_task(journal.jobs())
        await asyncio.to_thread(_until_asleep, url)
        assert not hangs.done()
        assert journal.away() is None  # a call may take a while
        monkeypatch.setattr(patience, "UNANSWERED_MS", 0)
        assert journal.away() == Away(left_ms=None)
        journal.hurry()
        journal.hurry()
        with pytest.raises(JournalUnreachable, match="cannot be reached"):
            await hangs
        with pytest.raises(JournalUnreachable, match="does not answer"):
            await behind
        with pytest.raises(JournalUnreachable):
            await journal.release(lease)


@in_loop
async def test_a_server_that_cannot_be_reached_is_waited_for_by_all_calls_together(url, monkeypatch):
    role = f"of_{postgres.schema_of(url)}"  # can be shut out, which superusers cannot
    postgres.run(f"CREATE ROLE {role} LOGIN IN ROLE postgres")
    async with opened(url.replace("postgres@", f"{role}@")) as journal:
        assert await journal.jobs() == []
        assert journal.away() is None
        postgres.run(f"ALTER ROLE {role} CONNECTION LIMIT 0")
        postgres.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'")
        first, second = (asyncio.create_task(journal.jobs()) for _ in range(2))

        def left() -> int:
            while (away := journal.away()) is None:
                pass
            assert away.left_ms is not None
            return away.left_ms

        assert 20_000 < await asyncio.to_thread(left) <= 30_000
        monkeypatch.setattr(journal._store._patience, "_until_ms", 0)  # type: ignore[attr-defined]  # time is over
        for failed in (first, second):  # the second one does not wait anew
            with pytest.raises(JournalUnreachable):
                await failed
        assert journal.away() == Away(left_ms=0)
        postgres.run(f"ALTER ROLE {role} CONNECTION LIMIT -1")
        assert await journal.jobs() == []
        assert journal.away() is None


@in_loop
async def test_a_server_that_answers_is_asked_to_the_end(url):
    async with opened(url) as journal:
        await journal.jobs()
        journal.hurry()
        await journal.add_job(make_job())
        assert len(await journal.jobs()) == 1


def _sleep_for_ever(connection: Connection) -> None:
    connection.exec_driver_sql("SELECT pg_sleep(3600)")


def _until_asleep(url: str) -> None:
    while not postgres.run("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"):
        pass
