"""Directories that do not outlive their process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from orchestrator.scratch import scratch, sweep

ROOT = Path(__file__).parents[2]


def test_a_directory_is_removed_whatever_happened_in_it(tmp_path):
    def use() -> None:
        with scratch(tmp_path, rng=Random(1), now_ms=0) as directory:
            (directory / "below").mkdir(parents=True)
            (directory / "below" / "file").touch()
            sweep(tmp_path, now_ms=0)
            assert (directory / "below" / "file").exists(), "it is in use"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        use()
    assert list((tmp_path / "scratch").iterdir()) == []


def test_two_at_a_time_do_not_share_one(tmp_path):
    with scratch(tmp_path, rng=Random(1), now_ms=0) as one, scratch(tmp_path, rng=Random(1), now_ms=0) as other:
        assert one != other
    assert list((tmp_path / "scratch").iterdir()) == []


def test_what_a_killed_process_left_is_swept(tmp_path):
    script = f"""
import os, random, pathlib
from orchestrator.scratch import scratch
with scratch(pathlib.Path({str(tmp_path)!r}), rng=random.Random(), now_ms=0) as directory:
    directory.mkdir()
    (directory / "copy").touch()
    os._exit(0)
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
    assert len(list((tmp_path / "scratch").rglob("*"))) == 3
    sweep(tmp_path, now_ms=0)
    assert list((tmp_path / "scratch").iterdir()) == []
    sweep(tmp_path / "nowhere", now_ms=0)
