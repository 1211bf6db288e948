"""The command killed after a write to the journal, any of them, and what `resume` makes of it.

By default after some writes, evenly spread; after every single one with `CRASH_POINTS=all`.
"""

from __future__ import annotations

import os
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests import postgres
from tests.e2e import kit, leads
from tests.e2e.kit import Emulator, Place, place

EVERY = os.environ.get("CRASH_POINTS") == "all"
POINTS = 20
POINTS_ON_POSTGRES = 50 if EVERY else 3
MORTAL = (str(Path(__file__).with_name("mortal.py")),)
ROWS = 66
QUICK = {
    "ORCHESTRATOR_LIMITS__BODY_BYTES_MAX": "1000",
    "ORCHESTRATOR_UNKNOWN__HOLD_SECONDS_MIN": "0.1",
    "ORCHESTRATOR_HTTP__TIMEOUT_SECONDS": "2",
}
SENT = ("submitted", "collecting", "done")

Ask = Callable[[str], list[tuple[Any, ...]]]


@dataclass(slots=True)
class Point:
    """One job in a journal of its own, killed once or more."""

    place: Place
    ask: Ask  # the journal, in SQL
    mark: str
    rows: list[leads.Row] = field(init=False)

    def __post_init__(self) -> None:
        self.rows = leads.write(self.place.directory / "leads.csv", leads.people(self.mark, ROWS))

    def run(self, *arguments: str, writes: int) -> int:
        """Run the command until it has written so often; return its exit code, -9 if it was killed."""
        env = {"MORTAL_WRITES": str(writes), "MORTAL_COUNT": str(self.place.directory / "count")}
        with self.place.start(*arguments, env=env, program=MORTAL) as command:
            return command.process.wait(kit.PATIENCE_S)

    @property
    def count(self) -> int:
        return int((self.place.directory / "count").read_text())

    def phases(self) -> dict[str, str]:
        """Return the phase of each chunk by the name of its file."""
        return {
            f"{job}-row-{first_row}.csv": phase
            for job, first_row, phase in self.ask("SELECT job_id, first_row, phase FROM chunks")
        }

    def imports(self) -> Counter[str]:
        """Return how often Marketo took each chunk."""
        (job_id,) = self.ask("SELECT id FROM jobs")[0]
        return Counter(batch["filename"] for batch in self.place.marketo.batches(job_id))


def killed_and_resumed(point: Point, writes: int, again: int) -> None:
    """Kill an import after some writes, its resumption too, and check all that must be true of the end."""
    assert point.run("import", "leads.csv", "--out", "report", writes=writes) == -signal.SIGKILL
    allowed: Counter[str] = Counter()
    finished: list[Counter[str]] = []
    for life in (again, 0):
        phases, before = point.phases(), point.imports()
        doubtful = [name for name, phase in phases.items() if phase == "submitting"]
        assert len(doubtful) <= 1  # uploads go one after another
        allowed.update(doubtful)
        finished.append(Counter({name: before[name] for name, phase in phases.items() if phase in SENT}))
        if life and point.run("resume", writes=life) != -signal.SIGKILL:
            break
    ended = point.place.run("resume") if point.run("resume", writes=0) != 3 else point.place.run("status")

    summary = leads.read_summary(point.place.directory / "report")
    assert (summary["state"], summary["exit_code"]) == ("complete", 3), ended.err
    assert summary["rows"]["unknown"] == summary["rows"]["unsent"] == summary["rows"]["unmatched"] == 0
    leads.assert_delivered(point.place.marketo, point.mark, point.rows)
    failed = [(row, row.failure) for row in point.rows if row.failure]
    leads.assert_listed(point.place.directory / "report" / "failures.csv", failed, summary, "Import Failure Reason")
    imports = point.imports()
    for seen in finished:
        assert {name: imports[name] for name in seen} == dict(seen), "a chunk that was sent is sent again"
    again_sent = {name: times - 1 for name, times in imports.items() if times > 1}
    assert all(times <= allowed[name] for name, times in again_sent.items()), "sent again without need"
    assert point.place.marketo.collisions(point.mark) == []
    assert point.place.marketo.ask("state")["unfinished_max"] <= 10


def writes_of(point: Point) -> int:
    """Return how often an import that nobody kills writes to the journal."""
    assert point.run("import", "leads.csv", "--out", "report", writes=0) == 3
    return point.count


def crash(make: Callable[[str], Point], writes: int, chance: Random) -> None:
    again = chance.choice((0, 0, chance.randint(1, 8)))
    try:
        killed_and_resumed(make(f"after-{writes}"), writes, again)
    except Exception as error:
        error.add_note(f"killed after write {writes}, and its resumption after {again or 'none'}")
        raise


# How often an import writes that nobody kills; what depends on time, such as polls, only adds to it.
_LAST: dict[str, int] = {}


def last_write(database: str, make: Callable[[str], Point]) -> int:
    if database not in _LAST:
        _LAST[database] = writes_of(make("whole")) - 2
    return _LAST[database]


@pytest.mark.timeout(3_600 if EVERY else 120)
@pytest.mark.parametrize("number", range(POINTS))
def test_killed_after_writes_to_a_journal_on_sqlite(tmp_path: Path, marketo: Emulator, mark: str, number: int) -> None:
    def make(name: str) -> Point:
        where = place(tmp_path / name, marketo, **QUICK)

        def ask(query: str) -> list[tuple[Any, ...]]:
            connection = sqlite3.connect(where.state / "journal.db")
            try:
                return connection.execute(query).fetchall()
            finally:
                connection.close()

        return Point(where, ask, f"{name}.{mark}")

    last = last_write("sqlite", make)
    points = range(1 + number, last + 1, POINTS) if EVERY else [1 + (last - 1) * number // (POINTS - 1)]
    for writes in points:
        crash(make, writes, Random(f"sqlite {writes}"))


@pytest.mark.parametrize("number", range(POINTS_ON_POSTGRES))
def test_killed_after_writes_to_a_journal_on_postgresql(
    tmp_path: Path, marketo: Emulator, mark: str, number: int
) -> None:
    def make(name: str) -> Point:
        url = postgres.new_schema()
        where = place(tmp_path / name, marketo, ORCHESTRATOR_JOURNAL__URL=url, **QUICK)
        return Point(where, lambda query: postgres.run(query, postgres.schema_of(url)), f"{name}.{mark}")

    chance = Random(f"postgresql {number}")
    crash(make, chance.randint(1, last_write("postgresql", make)), chance)
