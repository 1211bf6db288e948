"""The lock that says which process drives a subscription."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.errors import JournalStalled
from orchestrator.journal import lock
from orchestrator.journal.values import Owner

JOURNAL = Path("/state/journal.db")


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("123-abc-456.mktorest.com", "journal.db.123-abc-456.mktorest.com.lock"),
        ("127.0.0.1:8080", "journal.db.127.0.0.1_8080-b678fa77.lock"),
        ("../../etc/x", None),
        ("h" * 253, None),
        ("[::1]:80", None),
    ],
)
def test_a_host_makes_one_safe_file_name(host, name):
    path = lock.lock_path(JOURNAL, host)
    assert path.parent == JOURNAL.parent
    assert len(path.name) < 200
    assert name is None or path.name == name


def test_hosts_that_look_alike_have_locks_of_their_own():
    hosts = ["a:1", "a_1", "a/1", "A_1", "h" * 253, "h" * 252]
    assert len({lock.lock_path(JOURNAL, host) for host in hosts}) == len(hosts)


def test_a_lock_is_taken_once_and_given_back(tmp_path):
    path = tmp_path / "x.lock"
    assert lock.owner(path) is None
    assert not path.exists()  # asking makes nothing
    held = lock.take(path, now_ms=1234567890123)
    assert held is not None
    assert path.stat().st_mode & 0o777 == 0o600
    assert lock.owner(path) == Owner(pid=os.getpid(), since_ms=1234567890123)
    assert lock.take(path, now_ms=0) is None
    held.release()
    assert lock.owner(path) is None
    assert path.exists()
    again = lock.take(path, now_ms=5, home="0123456789012345")
    assert again is not None
    assert lock.owner(path) == Owner(pid=os.getpid(), since_ms=5, home="0123456789012345")
    again.release()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_a_file_that_cannot_be_used_now_is_told(tmp_path, monkeypatch, number):
    def fails(*args: object) -> None:
        raise OSError(number, os.strerror(number))

    path = tmp_path / "x.lock"
    told = f"the lock {path}: {os.strerror(number)}"
    for function, call in (("open", lock.owner), ("open", _take), ("pwrite", _take)):
        with monkeypatch.context() as patch:
            patch.setattr(lock.os, function, fails)
            with pytest.raises(JournalStalled, match=told):
                call(path)
    held = lock.take(path, now_ms=0)
    assert held is not None
    monkeypatch.setattr(lock.os, "ftruncate", fails)
    held.release()
    assert lock.owner(path) is None


def _take(path: Path) -> None:
    lock.take(path, now_ms=0)


def test_what_a_killed_process_left_is_not_believed(tmp_path):
    path = tmp_path / "x.lock"
    path.write_text(f"{os.getpid()} 99999999999999999999")
    assert lock.owner(path) is None
    held = lock.take(path, now_ms=7)
    assert held is not None
    assert lock.owner(path) == Owner(pid=os.getpid(), since_ms=7)
    held.release()


@pytest.mark.parametrize("content", ["", "x y", "1", "1 2 3"])
def test_an_owner_that_has_not_written_its_number_has_none(tmp_path, content):
    path = tmp_path / "x.lock"
    path.write_text(content)
    with path.open() as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        assert lock.owner(path) == Owner(pid=0, since_ms=0)


def test_being_asked_about_does_not_stop_a_taker(tmp_path):
    path = tmp_path / "x.lock"
    path.touch()
    ask = "import sys; from pathlib import Path; from orchestrator.journal import lock\n"
    ask += "print(flush=True)\nwhile True: lock.owner(Path(sys.argv[1]))"
    process = subprocess.Popen(
        [sys.executable, "-c", ask, str(path)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        for _ in range(50):
            held = lock.take(path, now_ms=1)
            assert held is not None
            held.release()
    finally:
        process.kill()
        process.communicate()
