"""What was measured, what was demanded of it, and the one file in which it stands.

A benchmark is a module ``bench/NAME.py`` with a function ``measure(run: Run) -> list[Row]``; its name is added to
`bench.__main__.NAMES`, and everything else (the table, ``results.json``, the README, the exit code) follows.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
RESULTS: Final = ROOT / "bench" / "results.json"
PACKAGES: Final = ("marketo-bulk-orchestrator", "numpy", "sqlalchemy", "psycopg", "duckdb", "polars", "pyarrow")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a benchmark is given."""

    directory: Path  # empty, on a disk with room, removed afterwards
    full: bool = False  # take the time that it takes
    trial: bool = False  # small and quick, to see that it works; the figures mean nothing
    say: Callable[[str], None]  # tells people what is going on


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure: ``what`` was measured names the line of the table, ``figure`` its column."""

    what: str
    figure: str
    values: tuple[float, ...]  # one for each repeat
    unit: str = ""  # behind the numbers; none for ratios
    at_least: float | None = None  # demanded of what is judged
    at_most: float | None = None
    each: bool = False  # the worst value is judged, not the median
    note: str = ""

    @property
    def judged(self) -> float:
        """The figure itself: the median, or the worst value."""
        if not self.each:
            return median(self.values)
        return max(self.values) if self.at_most is not None else min(self.values)

    @property
    def demanded(self) -> str:
        """What is demanded, as it is printed; empty if nothing is."""
        if self.at_least is not None:
            return f"≥ {self.at_least:g}"
        return "" if self.at_most is None else f"≤ {self.at_most:g}"

    @property
    def met(self) -> bool:
        """Whether the figure is as demanded."""
        return (self.at_least is None or self.judged >= self.at_least) and (
            self.at_most is None or self.judged <= self.at_most
        )

    @property
    def verdict(self) -> str:
        """Say ``met`` or ``not met``, or nothing if nothing is demanded."""
        return ("met" if self.met else "not met") if self.demanded else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one benchmark found, and where."""

    date: str
    full: bool
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    rows: tuple[Row, ...] = field(default_factory=tuple)


def part_of(rows: Iterable[Row], *, full: bool) -> Part:
    """Add to some rows what is known of here and now, and leave out digits that mean nothing."""
    return Part(
        date=time.strftime("%Y-%m-%d", time.gmtime()),
        full=full,
        machine=machine(),
        versions=versions(),
        rows=tuple(replace(row, values=tuple(float(f"{value:.4g}") for value in row.values)) for row in rows),
    )


def machine() -> dict[str, Any]:
    """Describe this machine without naming it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "system": platform.system(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(memory / 2**30),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def versions() -> dict[str, str]:
    """Return the versions of what is compared, as far as it is installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def load(path: Path = RESULTS) -> dict[str, Part]:
    """Read all results; none if there is no file yet."""
    if not path.exists():
        return {}
    document = json.loads(path.read_text(encoding="utf-8"))
    return {name: _part(value) for name, value in document["benchmarks"].items()}


def _part(value: Mapping[str, Any]) -> Part:
    rows = tuple(Row(**{**row, "values": tuple(row["values"])}) for row in value["rows"])
    return Part(**{**value, "rows": rows})


def save(name: str, part: Part, path: Path = RESULTS) -> None:
    """Replace one benchmark's part of the results, and leave the others."""
    parts = {**load(path), name: part}
    document = {"benchmarks": {each: asdict(parts[each]) for each in sorted(parts)}}
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
