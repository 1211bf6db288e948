"""Marketo says once, or for good, that it does not know a batch it has just taken."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from orchestrator.batches import MISSED_MS_MAX
from orchestrator.model import Leads
from tests.e2e.holdings import HOLDINGS
from tests.simulation.kit import simulate
from tests.simulation.plans import HOUR_MS, Plan, Row, SimJob
from tests.simulation.world import Seen, live

SOURCES, ROWS = 4, 5


def _seen(directory: Path, trouble: dict[str, Any]) -> Seen:
    """Import the same few people again and again, a chunk each time, and live with one trouble."""
    rows = tuple(
        tuple(Row(key=f"p{number}@ours.example", value=f"v{source}.{number}", number="7") for number in range(ROWS))
        for source in range(SOURCES)
    )
    plan = Plan(
        seed=4,
        jobs=(SimJob(target=Leads(), sources=rows, starts_ms=0),),
        lives=(),
        troubles=(trouble,),
        refused=0.0,
        occupations=(),
        heals_ms=HOUR_MS,
        emulator={"seed": 4, "rows_per_second": 0.1, "start_delay_ms_min": 0, "start_delay_ms_max": 0, **HOLDINGS},
        body_bytes_max=100_000,
    )
    return simulate(4, partial(live, plan, directory, watch=lambda _: None))


@pytest.mark.parametrize("code", ["610", "702", "1013"])
def test_a_slip_frees_neither_slot_nor_keys(tmp_path, code):
    seen = _seen(tmp_path, {"on": "status", "do": "code", "code": code, "nth": 2})
    (ended,) = seen.jobs
    assert (ended.summary["rows"]["accepted"], ended.summary["rows"]["unknown"]) == (SOURCES * ROWS, 0)
    assert set(Counter(record["values"]["email"] for record in seen.records["leads"]).values()) == {1}
    ends = [upload.finished_ms for upload in seen.uploads]
    assert all(upload.at_ms >= end for upload, end in zip(seen.uploads[1:], ends, strict=False))


def test_what_is_said_for_long_is_believed(tmp_path):
    seen = _seen(tmp_path, {"on": "status", "do": "code", "code": "1013"})
    (ended,) = seen.jobs
    assert (ended.summary["rows"]["accepted"], ended.summary["rows"]["unknown"]) == (0, SOURCES * ROWS)
    assert {finding["kind"] for finding in ended.summary["findings"]} == {"batch_gone"}
    gaps = [after.at_ms - before.at_ms for before, after in zip(seen.uploads, seen.uploads[1:], strict=False)]
    assert all(MISSED_MS_MAX <= gap <= 2 * MISSED_MS_MAX for gap in gaps)
