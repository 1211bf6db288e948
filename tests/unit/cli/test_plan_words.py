"""What ``plan`` says of an import that was looked at."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.cli.planning import plan_lines
from orchestrator.forecast import Conflicts, Forecast, Seconds
from orchestrator.prospect import assumed_speed, learned_speed
from orchestrator.source.inventory import Inventory
from tests.contract.journal_kit import make_job


def lines(*, conflicts: int = 0, most: float = 300.0, usual: int = 400, greatest: int = 1_000) -> dict[str, str]:
    found = Forecast(
        sources=(), chunks=1, rows=5, source_bytes=100, largest_chunk_rows=5,
        conflicts=Conflicts(chunks=conflicts, examined=3), calls_least=3, calls_most=15, calls_per_day=50_000,
        rows_beyond_recall=usual, rows_beyond_recall_max=greatest,
        seconds=Seconds(planning=0.1, least=most / 3, p50=most / 2, most=most, basis="a guess"),
        inventory=Inventory(characters=0, groups=(), frequent=(), warnings=()), refused_for=None, warnings=(),
    )  # fmt: skip
    return {line[2:17].strip(): line[17:] for line in plan_lines(found, None)}


@pytest.mark.parametrize(
    ("most", "told"), [(0.1, "less than a minute"), (59, "less than a minute"), (300, "2 to 5 min")]
)
def test_a_short_import_is_not_foretold_to_the_second(most, told):
    assert lines(most=most)["time"] == f"{told} (a guess)"


def test_what_is_beyond_recall_is_told_as_usual_and_at_most():
    assert lines()["beyond recall"] == "usually up to 400 rows, 1,000 at most: Marketo cannot cancel imports"
    assert lines(greatest=400)["beyond recall"].startswith("up to 400 rows at any moment: ")


def test_a_lonely_upload_keeps_one_importer_busy():
    one, two = assumed_speed(1), assumed_speed(2)
    assert (one.slow_rows_per_second, two.slow_rows_per_second) == (50, 100)
    assert one.basis.endswith("assumed are 50 to 500 rows/s")
    assert two.basis.endswith("assumed are 50 to 500 rows/s for each of 2 importers")


@pytest.mark.parametrize(
    ("seconds", "told"),
    [((60, 60), "60 rows/s"), ((60, 120), "30 to 60 rows/s"), ((60_000, 60_000), "4 rows/min")],
)
def test_earlier_jobs_of_one_speed_are_no_range(seconds, told):
    finished = [(replace(make_job(), started_ms=0, finished_ms=1_000 * each), 3_600) for each in seconds]
    speed = learned_speed(finished, 1)
    assert speed is not None
    assert speed.basis == f"2 finished jobs into this target at {told}"


def test_keys_are_told_to_be_looked_at_across_uploads():
    assert lines()["shared keys"].startswith("no two uploads shortly after one another share a key; ")
    assert lines(conflicts=2)["shared keys"].startswith("2 of 3 chunks share keys ")
