"""Where the cells of some columns stand, of all records of a chunk, block by block.

The scanner of the planner says which delimiters and line feeds stand outside quotes, exactly, whatever the quotes are
like.  Those are the borders of cells.  A record's borders stand together, its last one is its end, and the one before
its first is the end of the record before; so counting borders finds any cell of any record, for all records at once.
What a block has behind its last record is carried into the next one, as far as a column that is wanted reaches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from orchestrator.source.bits import Offsets, offsets
from orchestrator.source.blocks import LINE_FEED, Block, blocks_of
from orchestrator.source.masks import Scanner
from orchestrator.source.walk import FILE_STARTS, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The cells of those records that end in one block and have all columns that are wanted.

    Starts and ends are offsets in the block, one pair of arrays a column.  A cell that starts in an earlier block has a
    negative start.
    """

    block: Block  # good until the next one is asked for
    records: int
    cells: list[tuple[Offsets, Offsets]]


def columns_of(data: bytes, delimiter: str, indexes: tuple[int, ...], block_bytes: int) -> Iterator[Columns]:
    """Find the cells of columns, counted from 0, in whole records; a blank line is a record of one empty cell."""
    scanner = Scanner(ord(delimiter), min(block_bytes, len(data)))
    width = max(indexes) + 1
    state = State.START
    borders = np.array([-1])  # the end before the record under way, and then its own as far as they are wanted
    for block in blocks_of(data, 0, block_bytes):
        seen = scanner.scan(block, state, FILE_STARTS)
        state = seen.state
        found = offsets(seen.ends | seen.delimiters)
        is_end = block.values[found] == LINE_FEED
        ends = np.flatnonzero(is_end) + len(borders)
        borders = np.concatenate((borders, found))
        is_last = block.offset + block.size == len(data)
        if is_last and not (len(ends) and borders[ends[-1]] == block.size - 1):  # no line end behind the last record
            ends = np.append(ends, len(borders))
            borders = np.append(borders, block.size)
        yield _columns(block, borders, ends, indexes, width)
        under_way = ends[-1] if len(ends) else 0
        borders = borders[under_way : under_way + width + 1] - block.size


def _columns(block: Block, borders: Offsets, ends: Offsets, indexes: tuple[int, ...], width: int) -> Columns:
    """Take the cells out of borders of which some are records' ends."""
    before = np.concatenate((np.zeros(min(1, len(ends)), np.int64), ends[:-1]))
    whole = ends - before >= width
    if not whole.all():
        before = before[whole]
    return Columns(
        block=block,
        records=len(before),
        cells=[(borders[before + index] + 1, borders[before + (index + 1)]) for index in indexes],
    )
