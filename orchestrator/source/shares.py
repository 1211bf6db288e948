"""Equal parts: records are cut into as few parts as hold them, and none is much smaller than the others.

Who fills part after part up to the limit leaves a rest behind the last one, and a rest of a few records costs as many
API calls and as much of Marketo's time as an upload begins with as a full part does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from orchestrator.source.blocks import BLOCK_BYTES, blocks_of
from orchestrator.source.masks import Scanner
from orchestrator.source.walk import BEFORE_BYTES, FILE_STARTS, State

Offsets = NDArray[np.int64]


def record_ends(data: bytes, delimiter: int) -> Offsets:
    """Return where the records of some data end, its last byte among them; a blank line counts as a record."""
    scanner = Scanner(delimiter, BLOCK_BYTES)
    state, before = State.START, FILE_STARTS
    found = []
    for block in blocks_of(data, 0):
        seen = scanner.scan(block, state, before)
        marks = np.unpackbits(seen.ends.astype("<u8", copy=False).view(np.uint8), bitorder="little")
        found.append(np.flatnonzero(marks) + (block.offset + 1))
        state = seen.state
        before = (before + bytes(block.view[max(0, block.size - BEFORE_BYTES) : block.size]))[-BEFORE_BYTES:]
    ends = np.concatenate(found)
    return ends if len(ends) and ends[-1] == len(data) else np.append(ends, len(data))


def shares(ends: Offsets, bytes_max: int) -> list[int]:
    """Return where the parts end of records that end at ``ends``: as few parts as fit into ``bytes_max`` each.

    Each is within one record of its equal share, unless that would bring one above the limit.  A record that alone is
    above it is a part by itself, and what stands before and behind it is shared out apart.
    """
    bounds = np.concatenate((np.zeros(1, np.int64), ends))
    cuts: list[int] = []
    first = 0
    for large in [*np.flatnonzero(np.diff(bounds) > bytes_max).tolist(), len(ends)]:
        if first < large:
            cuts += _equal(bounds[first : large + 1], bytes_max)
        if large < len(ends):
            cuts.append(int(bounds[large + 1]))
        first = large + 1
    return cuts


def _equal(bounds: Offsets, bytes_max: int) -> list[int]:
    """Share out records between the first bound and the last, each of which fits."""
    begins = [len(bounds) - 1]  # by how many parts there are from there on: the first bound where these may begin
    while begins[-1] > 0:
        begins.append(int(np.searchsorted(bounds, bounds[begins[-1]] - bytes_max)))
    count, at = len(begins) - 1, 0
    cuts = []
    for number in range(1, count):
        ideal = bounds[0] + (bounds[-1] - bounds[0]) * number // count
        behind = int(np.searchsorted(bounds, ideal))
        nearest = behind if bounds[behind] - ideal < ideal - bounds[behind - 1] else behind - 1
        last = int(np.searchsorted(bounds, bounds[at] + bytes_max, side="right")) - 1
        at = min(max(nearest, begins[count - number]), last)
        cuts.append(int(bounds[at]))
    return [*cuts, int(bounds[-1])]
