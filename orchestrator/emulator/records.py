"""The records of one kind, kept small: a million people fit into a few hundred megabytes.

A record is one ``bytes`` object, its cells joined by a character that none of them holds, beside a number that
tells which columns these are (its shape).  Everything else about it stands in parallel arrays.  Records are
numbered from 1 in the order they were made and never go away.

Imports that run at the same time do not see each other's records.  So a record carries the time at which the
import that made it ended, and an import that began before that looks through it: it makes another record with
the same key, which is a duplicate.  Records made by the import itself are always seen.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from orchestrator.emulator.table import absent_character

FULL, HOLES = 0, 1  # whether a staged row has cells that say nothing

Key = str | int


@dataclass(frozen=True, slots=True)
class Shape:
    """Which columns a record's cells are, and what joins them."""

    columns: tuple[str, ...]
    separator: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """The import that looks for records and changes them."""

    batch: int
    started_ms: int
    ended_ms: int
    sees_concurrent: bool  # False: what other imports made after `started_ms` is not there for this one


@dataclass(frozen=True, slots=True, kw_only=True)
class Collision:
    """Two imports at overlapping times had the same key.

    ``duplicate``: a second record came of it.  ``race``: both changed one record, in no promised order.
    """

    kind: str
    key: str
    records: tuple[int, ...]  # the one that was there (or the one that was changed), then the new one
    batches: tuple[int, int]  # the earlier one to end, the later one


class Store:
    """All records of one kind, found by keys."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.collisions: list[Collision] = []
        self._cells: list[bytes] = []
        self._shape = array("I")
        self._made_ms = array("q")
        self._made_by = array("i")
        self._changed_ms = array("q")
        self._changed_by = array("i")
        self._space = array("H")  # the partition
        self._shapes: list[Shape] = []
        self._shape_numbers: dict[Shape, int] = {}
        self._indexes: dict[str, dict[Key, int | list[int]]] = {}
        self._stale: dict[str, bool] = {}

    def __len__(self) -> int:
        return len(self._cells)

    # --- shapes and cells ---

    def shape(self, columns: tuple[str, ...], separator: str) -> int:
        """Return the number of a shape."""
        shape = Shape(columns, separator)
        number = self._shape_numbers.get(shape)
        if number is None:
            number = self._shape_numbers[shape] = len(self._shapes)
            self._shapes.append(shape)
        return number

    def values(self, record: int) -> dict[str, str]:
        """Return the cells of a record by column."""
        shape = self._shapes[self._shape[record - 1]]
        return dict(zip(shape.columns, self._cells[record - 1].decode().split(shape.separator), strict=True))

    def about(self, record: int) -> dict[str, int]:
        """Return when and by which imports a record was made and last changed, and its partition's number."""
        at = record - 1
        return {
            "made_ms": self._made_ms[at],
            "made_by": self._made_by[at],
            "changed_ms": self._changed_ms[at],
            "changed_by": self._changed_by[at],
            "space": self._space[at],
        }

    # --- indexes ---

    def index(self, field: str, normal: Callable[[str], str]) -> dict[Key, int | list[int]]:
        """Return the index of a field, built anew if imports by other keys may have changed it."""
        if self._stale.get(field, True):
            found: dict[Key, int | list[int]] = {}
            for record in range(1, len(self._cells) + 1):
                cell = normal(self.values(record).get(field, ""))
                if cell:
                    _put(found, spaced(self._space[record - 1], cell), record)
            self._indexes[field] = found
            self._stale[field] = False
        return self._indexes[field]

    def changes(self, columns: tuple[str, ...], *, kept: str) -> None:
        """Say that an import writes these columns and keeps the index of only one of them."""
        for field in self._indexes:
            if field != kept and field in columns:
                self._stale[field] = True

    def own_index(self, name: str) -> dict[Key, int | list[int]]:
        """Return an index that its user alone keeps, for keys that are more than one column."""
        self._stale[name] = False
        return self._indexes.setdefault(name, {})

    # --- finding ---

    def sees(self, writer: Writer, record: int) -> bool:
        """Tell whether an import sees a record."""
        at = record - 1
        return writer.sees_concurrent or self._made_ms[at] <= writer.started_ms or self._made_by[at] == writer.batch

    def find(self, hit: int | list[int] | None, writer: Writer) -> int | None:
        """Return the record of an index entry that an import would change: the one it sees that changed last."""
        if hit is None:
            return None
        if isinstance(hit, int):
            return hit if self.sees(writer, hit) else None
        seen = [record for record in hit if self.sees(writer, record)]
        return max(seen, key=lambda record: (self._changed_ms[record - 1], record)) if seen else None

    # --- writing ---

    def write(
        self,
        index: dict[Key, int | list[int]],
        key: Key,
        writer: Writer,
        shape: int,
        cells: bytes,
        holes: int,
        space: int = 0,
    ) -> int:
        """Change the record that has this key, or make it; return its number."""
        hit = index.get(key)
        if hit is not None:
            record = self.find(hit, writer)
            if record is not None:
                self.change(record, key, writer, shape, cells, holes)
                return record
        record = self._make(writer, shape, cells, holes, space)
        if hit is None:
            index[key] = record
        else:
            _put(index, key, record)
            other = hit if isinstance(hit, int) else hit[-1]
            self._collide("duplicate", key, (other, record), self._made_by[other - 1], writer)
        return record

    def _make(self, writer: Writer, shape: int, cells: bytes, holes: int, space: int) -> int:
        if holes:
            separator = self._shapes[shape].separator
            cells = separator.join("" if cell == "NULL" else cell for cell in cells.decode().split(separator)).encode()
        self._cells.append(cells)
        self._shape.append(shape)
        self._made_ms.append(writer.ended_ms)
        self._made_by.append(writer.batch)
        self._changed_ms.append(writer.ended_ms)
        self._changed_by.append(writer.batch)
        self._space.append(space)
        return len(self._cells)

    def change(self, record: int, key: Key, writer: Writer, shape: int, cells: bytes, holes: int) -> None:
        """Write the cells that say something over those of a record."""
        at = record - 1
        if self._changed_ms[at] > writer.started_ms and self._changed_by[at] != writer.batch:
            self._collide("race", key, (record,), self._changed_by[at], writer)
        if holes or self._shape[at] != shape:
            self._merge(at, shape, cells)
        else:
            self._cells[at] = cells
        self._changed_ms[at] = writer.ended_ms
        self._changed_by[at] = writer.batch

    def _merge(self, at: int, shape: int, cells: bytes) -> None:
        """Lay new cells over old ones: an empty cell changes nothing, ``NULL`` clears."""
        values = self.values(at + 1)
        new = self._shapes[shape]
        for column, cell in zip(new.columns, cells.decode().split(new.separator), strict=True):
            if cell == "NULL":
                values[column] = ""
            elif cell or column not in values:
                values[column] = cell
        separator = absent_character("".join(values.values()))
        self._shape[at] = self.shape(tuple(values), separator)
        self._cells[at] = separator.join(values.values()).encode()

    def _collide(self, kind: str, key: Key, records: tuple[int, ...], earlier: int, writer: Writer) -> None:
        self.collisions.append(
            Collision(kind=kind, key=str(key), records=records, batches=(earlier, writer.batch)),
        )

    def __iter__(self) -> Iterator[int]:
        """Yield the numbers of all records, oldest first."""
        return iter(range(1, len(self._cells) + 1))


def _put(index: dict[Key, int | list[int]], key: Key, record: int) -> None:
    """Enter a record into an index."""
    hit = index.get(key)
    if hit is None:
        index[key] = record
    elif isinstance(hit, int):
        index[key] = [hit, record]
    else:
        hit.append(record)


def spaced(space: int, key: str) -> Key:
    """Return a key that counts in one partition only; the primary one's are left as they are."""
    return f"{space}\x00{key}" if space else key
