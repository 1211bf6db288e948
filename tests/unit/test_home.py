"""A state directory has a number of its own, and a job goes on only in the one it was made in."""

from __future__ import annotations

import errno
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest

from orchestrator import home
from orchestrator.errors import ConfigError, FileUnwritten
from orchestrator.home import not_at, read_home
from tests.contract.journal_kit import make_job


def test_the_number_stays(tmp_path):
    first = read_home(tmp_path, Random(1))
    assert read_home(tmp_path, Random(2)) == first
    assert first.directory == str(tmp_path.resolve())
    assert (tmp_path / "home").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_the_number_goes_with_the_directory(tmp_path):
    (tmp_path / "a").mkdir()
    made = read_home(tmp_path / "a", Random(1))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert read_home(tmp_path / "b", Random(2)).id == made.id


def test_makers_at_the_same_time_agree(tmp_path):
    with ThreadPoolExecutor(8) as threads:
        homes = list(threads.map(lambda seed: read_home(tmp_path, Random(seed)), range(32)))
    assert len({home.id for home in homes}) == 1


@pytest.mark.parametrize("content", [b"", b"0123456789abcde", b"0123456789ABCDEF\n", b"\xff" * 16, b"../../etc/passwd"])
def test_another_programs_file_is_refused(tmp_path, content):
    (tmp_path / "home").write_bytes(content)
    with pytest.raises(ConfigError, match="is not what this program wrote"):
        read_home(tmp_path, Random(1))


def test_a_directory_that_cannot_be_written(tmp_path):
    with pytest.raises(ConfigError, match="cannot be used: No such file or directory; choose another directory"):
        read_home(tmp_path / "missing", Random(1))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE])
def test_a_disk_that_is_full_is_no_reason_to_choose_another_directory(tmp_path, monkeypatch, number):
    def full(*args: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(home.tempfile, "mkstemp", full)
    with pytest.raises(FileUnwritten, match="try again with the same directory"):
        read_home(tmp_path, Random(1))


def test_a_job_of_another_directory_is_named_with_it(tmp_path):
    for name in "ab":
        Path(tmp_path / name).mkdir()
    here, there = read_home(tmp_path / "a", Random(1)), read_home(tmp_path / "b", Random(2))
    assert not_at(here, make_job(home=here)) is None
    assert not_at(here, make_job()) is None
    assert f"{tmp_path.resolve()}/b on {there.host}" in (not_at(here, make_job(home=there)) or "")
