from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.model import BatchId
from orchestrator.report.account import account

COUNT = st.integers(-5, 50) | st.integers(-(2**40), 2**40)


@pytest.mark.parametrize(
    ("processed", "failed", "warned", "outcome", "kinds"),
    [
        (10, 0, 0, (10, 0, 0, 0), []),
        (7, 3, 2, (7, 3, 2, 0), []),
        (0, 10, 0, (0, 10, 0, 0), []),
        (5, 3, 0, (5, 3, 0, 2), ["rows_unexplained"]),
        (0, 0, 0, (0, 0, 0, 10), ["rows_unexplained"]),
        (10, 3, 0, (7, 3, 0, 0), ["counters_impossible"]),
        (0, 11, 0, (0, 10, 0, 0), ["counters_impossible"]),
        (4, 6, 5, (4, 6, 4, 0), ["counters_impossible"]),
        (-1, -2, -3, (0, 0, 0, 10), ["counters_impossible", "rows_unexplained"]),
    ],
)
def test_ten_rows_are_divided_by_the_counters(processed, failed, warned, outcome, kinds):
    result = account(batch_id=BatchId(7), rows=10, processed=processed, failed=failed, warned=warned)
    assert (result.accepted, result.failed, result.warned, result.unknown) == outcome
    assert [finding.kind for finding in result.findings] == kinds
    assert all(finding.batch_id == 7 and "Batch 7" in finding.message for finding in result.findings)


@given(st.integers(0, 50), COUNT, COUNT, COUNT)
def test_the_law_holds_for_any_counters(rows, processed, failed, warned):
    result = account(batch_id=BatchId(7), rows=rows, processed=processed, failed=failed, warned=warned)
    assert result.accepted + result.failed + result.unknown == rows
    assert min(result.accepted, result.failed, result.unknown, result.warned) >= 0
    assert result.warned <= result.accepted
    explained = (processed, failed, warned) == (result.accepted, result.failed, result.warned) and not result.unknown
    assert bool(result.findings) is not explained
