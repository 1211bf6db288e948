"""The journal's file: made private, local, with a write-ahead log; refused when it is damaged, newer or foreign."""

from __future__ import annotations

import asyncio
import gc
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.errors import Fenced, JournalCorrupt, JournalError, JournalUnusable, JournalVersionUnknown
from orchestrator.journal import lock, opening
from orchestrator.journal.changes import ChunkChanged
from orchestrator.journal.sqlite import SqliteStore
from orchestrator.model import JobId
from tests.contract.journal_kit import HOST, in_loop, make_job, opened, planned

ROOT = Path(__file__).parents[3]
PAGE_BYTES = 4096


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "journal.db"


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


async def filled(path: Path, jobs: int = 50) -> None:
    async with opened(url_of(path)) as journal:
        for number in range(jobs):
            await journal.add_job(make_job(f"j-{number}"))


def open_files(path: Path) -> list[str]:
    """Return what this process has open beside the journal."""
    gc.collect()
    if not Path("/proc/self/fd").exists():
        return []  # only Linux tells
    targets = [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()]
    return [target for target in targets if target.startswith(str(path.parent))]


# --- the file -----------------------------------------------------------------------------------------


@in_loop
async def test_nobody_else_can_read_it(path):
    mask = os.umask(0)
    try:
        async with opened(url_of(path)) as journal:
            await journal.add_job(make_job())
            await journal.take_over(HOST)
            modes = {file.name: oct(file.stat().st_mode & 0o777) for file in path.parent.iterdir()}
    finally:
        os.umask(mask)
    assert oct(path.parent.stat().st_mode & 0o777) == "0o700"
    assert sorted(modes) == [
        "journal.db",
        "journal.db-shm",
        "journal.db-wal",
        f"journal.db.{HOST}.lock",
        "journal.db.setup",
    ]
    assert set(modes.values()) == {"0o600"}


@in_loop
async def test_a_file_that_others_could_read_is_made_private(path):
    await filled(path)
    path.chmod(0o644)
    other = sqlite3.connect(path)
    other.execute("SELECT * FROM jobs").fetchone()  # so there are its log and its index, which are as open as it is
    async with opened(url_of(path)):
        modes = {oct(file.stat().st_mode & 0o777) for file in path.parent.glob("journal.db*")}
    other.close()
    assert modes == {"0o600"}


@in_loop
async def test_a_commit_is_on_the_disk_and_waits_for_others(path):
    store = SqliteStore(path)
    store.open(0)

    def pragma(name: str) -> object:
        return store.read(lambda connection: connection.exec_driver_sql(f"PRAGMA {name}").scalar())

    assert pragma("journal_mode") == "wal"
    assert pragma("synchronous") == 2  # FULL
    assert pragma("foreign_keys") == 1
    assert pragma("fullfsync") == 1
    assert pragma("busy_timeout") == opening.BUSY_TIMEOUT_MS
    store.close()


@in_loop
async def test_a_write_waits_for_another_processs_write_even_if_its_caller_is_gone(path):
    async with opened(url_of(path)) as journal:
        lease = await journal.take_over(HOST)
        (chunk, *_) = await planned(journal, lease)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        write = asyncio.create_task(journal.write(lease, [ChunkChanged(chunk_id=chunk.id, values={"polls": 1})]))
        await asyncio.sleep(0)
        write.cancel()
        with pytest.raises(asyncio.CancelledError):
            await write
        assert other.execute("SELECT polls FROM chunks WHERE id = ?", (chunk.id,)).fetchone() == (0,)
        other.execute("COMMIT")
        other.close()
        assert (await journal.chunks(chunk.job))[0].polls == 1


@in_loop
async def test_opening_it_twice_in_one_process_keeps_its_locks(path):
    async with opened(url_of(path)) as journal:
        await journal.add_job(make_job())
        async with opened(url_of(path)):
            pass
        # SQLite locks the file as long as it is open; a closed descriptor of the same file would have dropped that.
        script = (
            f"import sqlite3; c = sqlite3.connect({str(path)!r}, timeout=0)\n"
            "try: c.execute('PRAGMA journal_mode = DELETE')\n"
            "except sqlite3.OperationalError as error: print(error)\n"
            "c.close()"
        )
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=subprocess.PIPE)
        answer, _ = await process.communicate()
        assert answer == b"database is locked\n"


@in_loop
async def test_a_lock_file_removed_by_hand_leaves_the_epoch(path):
    async with opened(url_of(path)) as first, opened(url_of(path)) as second:
        stale = await first.take_over(HOST)
        (chunk, *_) = await planned(first, stale)
        lock.lock_path(path, HOST).unlink()
        fresh = await second.take_over(HOST)
        with pytest.raises(Fenced, match=r"epoch 2, ours was 1"):
            await first.write(stale, [ChunkChanged(chunk_id=chunk.id, values={"polls": 1})])
        await second.write(fresh, [ChunkChanged(chunk_id=chunk.id, values={"polls": 2})])
        assert (await first.chunks(chunk.job))[0].polls == 2


# --- refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://user:secret@host/db", "no journal on mysql"),
        ("postgresql+asyncpg://user:secret@host/db", r"no journal on postgresql\+asyncpg"),
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
        ("sqlite:////x/journal.db?mode=ro", "needs a file"),
        ("/x/secret.db", "cannot be read"),
        ("", "cannot be read"),
    ],
)
@in_loop
async def test_what_is_no_url_of_a_file(url, message):
    with pytest.raises(JournalError, match=message) as caught:
        async with opened(url):
            pass
    assert "sqlite:///PATH" in str(caught.value)
    assert "secret" not in str(caught.value)


@in_loop
async def test_a_file_of_garbage(path):
    await filled(path)
    path.write_bytes(b"\xff" * 20_000)
    with pytest.raises(JournalCorrupt, match=f"{path} is damaged .*not a database.*recover"):
        await filled(path)
    assert path.read_bytes() == b"\xff" * 20_000
    assert open_files(path) == []


@in_loop
async def test_damage_in_the_middle_is_found_before_anything_is_driven(path):
    await filled(path)
    connection = sqlite3.connect(path)
    (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'jobs'").fetchone()
    connection.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * PAGE_BYTES)
        file.write(b"\xff" * PAGE_BYTES)
    async with opened(url_of(path)) as journal:
        with pytest.raises(JournalCorrupt, match=r"Keep the file"):
            await journal.take_over(HOST)
        assert await journal.owner(HOST) is None
        with pytest.raises(JournalCorrupt):
            await journal.jobs()


@in_loop
async def test_a_journal_of_a_newer_version(path):
    await filled(path)
    change(path, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(JournalVersionUnknown, match=r"newer version .*9999"):
        await filled(path)
    assert open_files(path) == []


@in_loop
async def test_a_journal_that_forgot_its_version(path):
    await filled(path)
    change(path, "DELETE FROM alembic_version")
    with pytest.raises(JournalCorrupt, match="does not say which version"):
        await filled(path)


def _database(path: Path, statements: str) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(statements)
    connection.close()


_STRANGERS = {
    "another program's database": (lambda path: _database(path, "CREATE TABLE photos (id)"), "has the table photos"),
    "one that Alembic knows as well": (
        lambda path: _database(
            path,
            "CREATE TABLE alembic_version (version_num); INSERT INTO alembic_version VALUES ('0003');"
            "CREATE TABLE photos (id); PRAGMA journal_mode = WAL;",
        ),
        "has the table photos",
    ),
    "no database": (lambda path: path.write_text("email\n" * 100), "no journal of this program and no database"),
    "a pipe": (os.mkfifo, "is a device, a pipe or a socket"),
    "a directory": (Path.mkdir, "is a directory"),
}


@pytest.mark.parametrize("stranger", _STRANGERS)
@in_loop
async def test_what_is_no_journal_is_left_as_it_is(path, stranger):
    make, message = _STRANGERS[stranger]
    path.parent.mkdir()
    make(path)
    path.chmod(0o666)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(JournalUnusable, match=message):
        await filled(path)
    assert path.stat().st_mode & 0o777 == 0o666
    assert (path.read_bytes() if path.is_file() else None) == before
    assert list(path.parent.iterdir()) == [path]


@in_loop
async def test_a_path_that_cannot_be_a_file(path):
    path.parent.mkdir()
    path.write_text("")
    for below in ("journal.db", "directory/journal.db"):
        with pytest.raises(JournalUnusable, match=r"(Not a directory|File exists)"):
            await filled(path / below)
    path.unlink()
    path.symlink_to("nothing")
    with pytest.raises(JournalUnusable, match="No such file"):
        await filled(path)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no table of mounts to read")
@in_loop
async def test_a_network_file_system(path, tmp_path, monkeypatch):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda1 / ext4 rw 0 0\nnas:/x {path.parent} nfs4 rw 0 0\n")
    monkeypatch.setattr(opening, "_MOUNTS", mounts)
    with pytest.raises(JournalError, match=r"network file system \(nfs4\).*--set state.dir=DIR"):
        await filled(path)
    assert not path.parent.exists()
    await filled(tmp_path / "local" / "journal.db")


@in_loop
async def test_a_journal_that_another_process_sets_up(path, monkeypatch):
    monkeypatch.setattr(opening, "_SETUP_TRIES", 1)
    path.parent.mkdir()
    guard = lock.take(path.with_name("journal.db.setup"), now_ms=0)
    assert guard is not None
    with pytest.raises(JournalError, match="is being set up by another process"):
        await filled(path)
    guard.release()
    await filled(path)


@in_loop
async def test_an_empty_file_is_a_new_journal(path):
    path.parent.mkdir()
    path.touch()
    await filled(path)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE jobs SET state = 'sleeping'",
        """UPDATE jobs SET target = '{"object":"moon"}'""",
        """UPDATE jobs SET target = '{"object":"leads","orbit":1}'""",
        """UPDATE jobs SET options = '{"format":"csv","orbit":1}'""",
    ],
)
@in_loop
async def test_a_value_that_is_damaged_or_of_a_later_version_is_not_guessed(path, damage):
    await filled(path, jobs=1)
    change(path, damage)
    async with opened(url_of(path)) as journal:
        with pytest.raises(JournalCorrupt, match=r"damaged \(a job \(j-0\).*Keep the file.*journal check"):
            await journal.jobs()
        change(path, "UPDATE alembic_version SET version_num = '9999'")
        with pytest.raises(JournalVersionUnknown, match=r"a job \(j-0\).* newer version"):
            await journal.jobs()


@in_loop
async def test_an_event_that_nobody_wrote_is_not_guessed(path):
    await filled(path, jobs=1)
    change(path, "UPDATE events SET name = 'job.dreamt'")
    async with opened(url_of(path)) as journal:
        with pytest.raises(JournalCorrupt, match=r"an event of job j-0"):
            await journal.events(JobId("j-0"))


@in_loop
async def test_options_that_are_newer_than_the_row_have_their_defaults(path):
    await filled(path, jobs=1)
    change(path, "UPDATE jobs SET options = '{}'")
    async with opened(url_of(path)) as journal:
        assert await journal.job("j-0") == make_job("j-0")


@in_loop
async def test_a_closed_journal_says_so(path):
    async with opened(url_of(path)) as journal:
        pass
    with pytest.raises(JournalError, match="the journal is closed"):
        await journal.jobs()
    assert open_files(path) == []


def change(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement)
    connection.close()
