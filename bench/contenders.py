"""The planner, and what it is measured against: each reads one file and returns how many seconds it took."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Final

from bench.files import Made

PLANNER: Final = "planner"


def warm(path: Path) -> None:
    """Bring a file into the page cache."""
    with path.open("rb", buffering=0) as file:
        while file.read(2**20):
            pass


def interleaved(
    contenders: Mapping[str, Callable[[Made], float]], made: Made, repeats: int
) -> dict[str, tuple[float, ...]]:
    """Let everyone run in turn, round after round, so that whatever drifts hits all alike."""
    warm(made.path)
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, run in contenders.items():
            seconds[name].append(run(made))
    return {name: tuple(values) for name, values in seconds.items()}


def ratios(theirs: Sequence[float], ours: Sequence[float]) -> tuple[float, ...]:
    """How many times as fast we are, round by round."""
    return tuple(their / our for their, our in zip(theirs, ours, strict=True))


def environment(state: Path) -> dict[str, str]:
    """Return an environment in which only the defaults and this state directory hold."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ORCHESTRATOR_", "MARKETO_"))}
    return {**kept, "ORCHESTRATOR_STATE__DIR": str(state)}


def planner(made: Made) -> float:
    """Plan with the command as users have it; the time is the one that it reports.

    It begins when the command has started and includes everything up to the last chunk.
    """
    with tempfile.TemporaryDirectory(dir=made.path.parent) as state:
        command = [sys.executable, "-m", "orchestrator", "plan", "--json", "--offline", "--on-repeated-key", "ignore"]
        ran = subprocess.run(
            [*command, str(made.path)], check=True, stdout=subprocess.PIPE, cwd=state, env=environment(Path(state))
        )
    found = json.loads(ran.stdout)
    assert found["rows"] == made.rows, f"{found['rows']} rows were planned of {made.rows}"
    return float(found["seconds"]["planning"])


def wc(made: Made) -> float:
    """Count line feeds."""
    return _timed([_tool("wc"), "-l", str(made.path)])


def split(made: Made) -> float:
    """Copy a file into files of whole lines and at most 10 MiB, next to it."""
    with tempfile.TemporaryDirectory(dir=made.path.parent) as parts:
        return _timed([_tool("split"), "-C", "10M", str(made.path), f"{parts}/"])


def csv_reader(made: Made) -> float:
    """Count rows with Python's csv."""
    begun = perf_counter()
    with made.path.open(encoding="utf-8", newline="") as file:
        rows = sum(1 for _ in csv.reader(file)) - 1
    seconds = perf_counter() - begun
    assert rows == made.rows, f"csv.reader found {rows} rows of {made.rows}"
    return seconds


def _tool(name: str) -> str:
    """Find a program of GNU; on macOS, coreutils puts a g before it."""
    found = shutil.which(f"g{name}") or shutil.which(name)
    assert found is not None, f"there is no {name}; install coreutils"
    return found


def _timed(command: Sequence[str]) -> float:
    begun = perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return perf_counter() - begun
