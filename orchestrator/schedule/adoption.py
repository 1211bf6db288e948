"""Which batches the uploads became whose answers were lost: what the evidence proves, and nothing more.

The theory
----------
Batch ids are one rising counter per subscription, shared with strangers, and uploads of one subscription go one
after another.  So between two ids of one's own that are known, the uploads in doubt became batches in the order in
which they were sent, or became none; the other ids there are strangers'.  Which is which is not told by anybody.

An *assignment* says of each upload which batch it became, if any.  It is possible if

* every batch it names fits its upload, and the order of both is the same;
* every upload of which Marketo holds rows that nobody else can have brought (it *landed*) has a batch;
* every batch that lists rows, all of them rows of an upload (it is *ours*), has an upload.

An upload is taken for a batch only if all possible assignments agree on that.  A stranger's batch of the same number
of rows makes two assignments possible, so nothing is taken for granted.  A batch that cannot be judged, because it
failed as a whole or its listing is gone, is possible, but never taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.model import BatchId, ChunkId


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubtful:
    """An upload whose answer was lost."""

    chunk: ChunkId
    landed: bool = False  # Marketo holds rows of it that came after it was sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A batch between two known ones."""

    batch_id: BatchId
    fits: frozenset[ChunkId]  # the uploads it may have been made of
    ours: bool = False  # it was made of one of them: it lists rows, and they stand in no other file
    certain: bool = True  # everything about it is known; else it is never taken for an upload's


def assign(doubtful: Sequence[Doubtful], found: Sequence[Found]) -> Mapping[ChunkId, BatchId]:
    """Return of which uploads it is certain which batch they became; both are given in their order."""
    before = _possible(doubtful, found)
    after = [row[::-1] for row in _possible(doubtful[::-1], found[::-1])[::-1]]
    if not before[-1][-1]:
        return {}  # the evidence contradicts itself
    certain: dict[ChunkId, BatchId] = {}
    for i, upload in enumerate(doubtful):
        none = not upload.landed and any(b and a for b, a in zip(before[i], after[i + 1], strict=True))
        matches = [
            batch
            for j, batch in enumerate(found)
            if upload.chunk in batch.fits and before[i][j] and after[i + 1][j + 1]
        ]
        if not none and len(matches) == 1 and matches[0].certain:
            certain[upload.chunk] = matches[0].batch_id
    return certain


def _possible(doubtful: Sequence[Doubtful], found: Sequence[Found]) -> list[list[bool]]:
    """Return of every pair of numbers whether so many first uploads and batches have a possible assignment."""
    table = [[False] * (len(found) + 1) for _ in range(len(doubtful) + 1)]
    for i in range(len(doubtful) + 1):
        for j in range(len(found) + 1):
            upload, batch = doubtful[i - 1] if i else None, found[j - 1] if j else None
            table[i][j] = (
                (upload is None and batch is None)
                or (upload is not None and not upload.landed and table[i - 1][j])
                or (batch is not None and not batch.ours and table[i][j - 1])
                or (upload is not None and batch is not None and upload.chunk in batch.fits and table[i - 1][j - 1])
            )
    return table
