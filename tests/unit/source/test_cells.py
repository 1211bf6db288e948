"""Whether the short ways to see that all rows are right see every row that is not."""

from collections import Counter
from random import Random

import numpy as np
import pytest

from orchestrator.source import bits
from orchestrator.source.blocks import blocks_of
from orchestrator.source.cells import CellCount
from orchestrator.source.masks import Scanner
from orchestrator.source.walk import FILE_STARTS, State

COMMA = ord(",")
ROWS = 30


def verdicts(data, columns, block_bytes):
    """Say of each block whether the short ways took it, and of how many rows in it the long one found fault."""
    scanner, cells = Scanner(COMMA, block_bytes), CellCount(columns)
    state, found = State.START, []
    for block in blocks_of(data, 0, block_bytes):
        seen = scanner.scan(block, state, FILE_STARTS)
        state = seen.state
        ends = np.bitwise_count(seen.ends)
        records = bits.total(ends)
        taken = cells.are_right(seen, ends, records, (bits.last_offset(seen.ends) or -1) + 1 if records else 0)
        wrong = None if taken else cells.compare(seen, np.zeros_like(seen.ends))
        deviations = [each.count for each in (wrong.missing, wrong.left_over) if each] if wrong else []
        found.append((taken, sum(deviations)))
    return found


def row(random, delimiters):
    """Return a row of cells that are short, or longer than a word."""
    longest = random.choice([0, 0, 1, 1, 2, 300])
    return b",".join(b"x" * random.randrange(longest + 1) for _ in range(delimiters + 1)) + b"\n"


@pytest.mark.parametrize("columns", [2, 3, 4, 10, 256, 257, 300])
@pytest.mark.parametrize("block_bytes", [64, 200, 4096])
@pytest.mark.parametrize("seed", range(5))
def test_rows_that_are_right_are_taken_and_no_others(columns, block_bytes, seed):
    random = Random(f"{columns} {block_bytes} {seed}")
    wrong = [columns - 2, columns, columns - 1 + 256, columns - 1 + 2**9]
    rows = [columns - 1] * ROWS
    for at in random.sample(range(ROWS), seed):
        rows[at] = random.choice(wrong)
    expected = Counter()
    data = b""
    for delimiters in rows:
        data += row(random, delimiters)
        expected[(len(data) - 1) // block_bytes] += delimiters != columns - 1
    found = verdicts(data, columns, block_bytes)
    assert [count for _, count in found] == [expected[number] for number in range(len(found))]
    if not expected.total() and columns not in (3, 4):  # of these, the ends may stand too close together
        assert all(taken for taken, _ in found)


def test_rows_that_are_wrong_in_turn_are_told():
    """Together they have as many delimiters as they should."""
    assert verdicts(b"a,b,c\nab\n" * 10, 2, 4096) == [(False, 20)]
    assert verdicts(b"a,b,c,d\na,b\n" * 10, 3, 4096) == [(False, 20)]


def test_cells_longer_than_words_are_taken():
    assert verdicts(b"a," + b"x" * 200 + b"\n" + b"a,b\n" * 30, 2, 4096) == [(True, 0)]
