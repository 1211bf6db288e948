"""Every row of the failure matrix names a test, and the test exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "failure-matrix.md"
ROWS = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if re.match(r"\| (?!---)", line)]


@pytest.mark.parametrize("row", [row for row in ROWS if not row.endswith("| test |")])
def test_a_row_names_a_test_that_exists(row: str) -> None:
    named = re.fullmatch(r"\|.*\| `(tests/[a-z0-9_/]+\.py)::(test_\w+)` \|", row)
    assert named is not None, "the last cell is no test"
    tree = ast.parse((ROOT / named[1]).read_text(encoding="utf-8"))
    assert named[2] in [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_the_matrix_has_rows() -> None:
    assert len(ROWS) > 20
