"""A file that was made for something else: the world's airports, as records of a custom object."""

from __future__ import annotations

import csv
import hashlib
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import pytest

from tests.e2e import leads
from tests.e2e.kit import Place

AIRPORTS_MIN = 20_000


@pytest.fixture(scope="module")
def airports() -> Path:
    """The table as it lies in the wheel; the package itself is not imported."""
    spec = find_spec("airportsdata")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "airports.csv"


def test_the_records_equal_the_file(place: Place, airports: Path) -> None:
    with airports.open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file, strict=True))
    count = len(table)
    assert count == len({row["icao"] for row in table}) > AIRPORTS_MIN, "the test itself: another file"
    place.marketo.add({"on": "batch", "do": "slow_import", "factor": 20.0})  # so that batches overlap

    ended = place.run(
        "import", str(airports), "--object", "custom:airport_c", "--out", "report",
        env={"ORCHESTRATOR_LIMITS__BODY_BYTES_MAX": "200000"},
    )  # fmt: skip

    assert ended.code == 0, ended.err
    held = [record["values"] for record in place.marketo.records("airport_c")]
    assert sorted(held, key=lambda values: values["icao"]) == sorted(table, key=lambda row: row["icao"])
    summary = leads.read_summary(place.directory / "report")
    assert (summary["rows"]["accepted"], summary["state"]) == (count, "complete")
    assert summary["chunks"]["done"] == len(summary["batches"]) > 10
    assert summary["sources"][0]["sha256"] == hashlib.sha256(airports.read_bytes()).hexdigest()
    assert summary["findings"] == []
    batches = place.marketo.batches(summary["job_id"])
    assert sum(batch["rows"] for batch in batches) == count
    overlaps = [later for earlier, later in pairwise(batches) if later["started_ms"] < earlier["finished_ms"]]
    assert overlaps, "the test itself: two at a time is what Marketo does"
    assert [one for one in place.marketo.ask("duplicates") if one["store"] == "airport_c"] == []
