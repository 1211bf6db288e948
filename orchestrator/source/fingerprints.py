"""Which rows are followed by a row with the same key, of any number of rows, in little memory; no look at files' text.

Every row is a 128-bit fingerprint of its key and a number.  They are dealt out to files by the fingerprint, so that
all rows of one key come into one file, in their order, and each file holds few enough keys to be looked at in
memory.  A file is read from its end in pieces of fixed size: the first row of a key that is met is its last one, and
all that are met later were replaced by it.  So it does not matter if one key stands in all rows.  What is found is
dealt out once more, by the number of the row, and comes back in the order of the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from orchestrator.source.opening import read_range

FINGERPRINT_BYTES = 16  # of keys in a lifetime no two collide, and only then a row could be lost
BYTES_PER_ROW_MAX = 40  # of disk: a key and its row, and at the end the row and the one that replaced it
PIECE_ROWS = 131_072  # of a file in memory at a time: 3 MB, and as much again for each of a few copies of it
FILES_MAX = 65_536  # enough for 8 thousand million keys

Entries = NDArray[np.uint64]  # of a row: upper and lower half of the fingerprint, number of the row
Pairs = NDArray[np.int64]  # of a row: its number, and the number of the row that replaced it
_COLUMNS = 3


class RepeatedRows:
    """Rows by the fingerprints of their keys; numbers of rows begin with 0 and must come rising."""

    def __init__(self, directory: Path, *, rows: int) -> None:
        """Use an empty directory, for as many rows as there can be."""
        self._keys = _Buckets(directory, "keys", _COLUMNS)
        self._found = _Buckets(directory, "rows", 2)
        wanted = max(1, -(-rows // PIECE_ROWS))
        self._bits = min((wanted - 1).bit_length(), FILES_MAX.bit_length() - 1)

    def add(self, digests: bytes, numbers: NDArray[np.int64]) -> None:
        """Take the next rows: their digests one after the other, and their numbers."""
        entries = np.empty((len(numbers), _COLUMNS), np.uint64)
        entries[:, :2] = np.frombuffer(digests, ">u8").reshape(-1, 2)
        entries[:, 2] = numbers
        self._keys.deal(entries, (entries[:, 0] >> np.uint64(64 - self._bits)) if self._bits else None)

    def settle(self) -> int:
        """Look for repeated keys once all rows are there; return how many rows were replaced by a later one."""
        count = 0
        for bucket in self._keys.buckets():
            last = np.empty((0, _COLUMNS), np.uint64)
            for piece in self._keys.pieces_backward(bucket):
                last, replaced = _settle(piece, last)
                count += len(replaced)
                self._found.deal(replaced, replaced[:, 0].astype(np.uint64) // np.uint64(PIECE_ROWS))
            self._keys.drop(bucket)
        return count

    def replaced(self, first: int, count: int) -> Pairs:
        """Return which of ``count`` rows from the number ``first`` on were replaced, in order."""
        found = [np.empty((0, 2), np.int64)]
        for bucket in range(first // PIECE_ROWS, (first + max(count, 1) - 1) // PIECE_ROWS + 1):
            for piece in self._found.pieces_backward(bucket):
                pairs = piece.view(np.int64)
                found.append(pairs[(pairs[:, 0] >= first) & (pairs[:, 0] < first + count)])
        pairs = np.concatenate(found)
        return pairs[np.argsort(pairs[:, 0])]


def _settle(earlier: Entries, last: Entries) -> tuple[Entries, NDArray[np.uint64]]:
    """Return the last row of every key known now, and pairs of the rows of ``earlier`` that are none."""
    rows = np.concatenate((earlier, last))
    rows = rows[np.lexsort((rows[:, 2], rows[:, 1], rows[:, 0]))]
    is_last = np.ones(len(rows), bool)
    is_last[:-1] = (rows[1:, :2] != rows[:-1, :2]).any(axis=1)
    ends = np.flatnonzero(is_last)
    replaced = np.flatnonzero(~is_last)
    by = ends[np.searchsorted(ends, replaced)]
    pairs = np.stack((rows[replaced, 2], rows[by, 2]), axis=1)
    return rows[is_last], pairs


class _Buckets:
    """Lines of numbers in many files; each file keeps them in the order in which they came."""

    def __init__(self, directory: Path, name: str, columns: int) -> None:
        self._directory = directory
        self._name = name
        self._columns = columns

    def deal(self, lines: NDArray[np.uint64], buckets: NDArray[np.uint64] | None) -> None:
        """Append each line to the file of its bucket; all to the first one if there is only one."""
        if not len(lines):
            return
        if buckets is None:
            self._append(0, lines)
            return
        order = np.argsort(buckets, kind="stable")
        sorted_buckets = buckets[order]
        starts = np.flatnonzero(np.concatenate(([True], sorted_buckets[1:] != sorted_buckets[:-1])))
        for start, stop in zip(starts, [*starts[1:], len(lines)], strict=True):
            self._append(int(sorted_buckets[start]), lines[order[start:stop]])

    def buckets(self) -> Iterator[int]:
        """Yield the buckets that have lines, in order."""
        prefix = f"{self._name}-"
        yield from sorted(
            int(path.name.removeprefix(prefix)) for path in self._directory.iterdir() if path.name.startswith(prefix)
        )

    def pieces_backward(self, bucket: int) -> Iterator[NDArray[np.uint64]]:
        """Yield the lines of a bucket in pieces, the last ones first."""
        path = self._path(bucket)
        if not path.exists():
            return
        line_bytes = self._columns * 8
        with path.open("rb", buffering=0) as file:
            stop = path.stat().st_size
            while stop:
                start = max(0, stop - PIECE_ROWS * line_bytes)
                yield np.frombuffer(read_range(file.fileno(), start, stop), np.uint64).reshape(-1, self._columns)
                stop = start

    def drop(self, bucket: int) -> None:
        """Remove the file of a bucket."""
        self._path(bucket).unlink()

    def _append(self, bucket: int, lines: NDArray[np.uint64]) -> None:
        with self._path(bucket).open("ab", buffering=0) as file:
            file.write(lines.tobytes())

    def _path(self, bucket: int) -> Path:
        return self._directory / f"{self._name}-{bucket}"
