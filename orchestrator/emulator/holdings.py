"""What a subscription holds, and how the rows of a batch become part of it.

A batch is applied in one go when it ends, in the order of its file.  What it may see was settled when it began
(see `records`), so for the records it makes no difference that real importers go row by row.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, assert_never

from orchestrator.emulator.catalog import lead_fields
from orchestrator.emulator.config import EmulatorConfig
from orchestrator.emulator.fields import normal_key, normaliser
from orchestrator.emulator.queue import Batch
from orchestrator.emulator.records import HOLES, Key, Store, Writer, spaced
from orchestrator.emulator.rows import Staged
from orchestrator.emulator.table import Judged
from orchestrator.model import CustomObjects, Leads, ProgramMembers

PEOPLE = "leads"
MEMBERS = "members"
LEAD_NOT_FOUND = "Lead not found"
_MEMBER_KEY = "leadId+programId"
_DEDUPE_KEY = "dedupe"

Index = dict[Key, int | list[int]]


class Holdings:
    """People, custom objects, memberships and static lists."""

    def __init__(self, config: EmulatorConfig) -> None:
        self._config = config
        self._fields = lead_fields(config)
        self._concurrent = not config.concurrent_duplicates
        self.people = Store(PEOPLE)
        self.members = Store(MEMBERS)
        self.objects = {spec.name: Store(spec.name) for spec in config.custom_objects}
        self.lists: dict[int, dict[int, None]] = {one.id: {} for one in config.lists}  # list -> people, in order
        self._links: dict[str, dict[int, int]] = {spec.name: {} for spec in config.custom_objects}
        self._links_of = {spec.name: spec.link for spec in config.custom_objects if spec.link is not None}
        self._steps = {
            program.id: {name: step for step, name in enumerate(channel.statuses)}
            for program in config.programs
            for channel in config.channels
            if channel.name == program.channel
        }

    @property
    def stores(self) -> dict[str, Store]:
        """Every store by the name under which it is read."""
        return {PEOPLE: self.people, MEMBERS: self.members, **self.objects}

    # --- a batch begins ---

    def resolve(self, batch: Batch) -> None:
        """Fail the rows that may only change a record and find none."""
        staged = batch.staged
        if staged is None or not staged.rules.update_only:
            return
        writer = self._writer(batch)
        keys, cells, holes = staged.keys, staged.cells, staged.holes
        staged.keys, staged.cells, staged.holes = [], [], bytearray()
        for key, one, hole, whole in zip(keys, cells, holes, staged.whole, strict=True):
            if isinstance(key, int) and 1 <= key <= len(self.people) and self.people.sees(writer, key):
                staged.keys.append(key)
                staged.cells.append(one)
                staged.holes.append(hole)
            else:
                staged.failures.append(Judged(whole.row, whole.cells, LEAD_NOT_FOUND))
        failed = {one.row for one in staged.failures}
        staged.warnings = [one for one in staged.warnings if one.row not in failed]
        staged.failures.sort(key=lambda one: one.row)

    # --- a batch ends ---

    def apply(self, batch: Batch, rows: int) -> None:
        """Make records of the first rows of a batch that are left to be imported."""
        staged, target = batch.staged, batch.target
        if staged is None:
            return
        if rows < len(staged.keys):
            del staged.keys[rows:]
        match target:
            case Leads():
                self._apply_people(batch, staged, target)
            case CustomObjects():
                self._apply_objects(batch, staged, target)
            case ProgramMembers():
                self._apply_members(batch, staged, target)
            case _:
                assert_never(target)

    def _writer(self, batch: Batch, *, sees_concurrent: bool | None = None) -> Writer:
        if batch.started_ms is None or batch.ended_ms is None:
            raise AssertionError("a batch is applied only after it has started")
        return Writer(
            batch=batch.id,
            started_ms=batch.started_ms,
            ended_ms=batch.ended_ms,
            sees_concurrent=self._concurrent if sees_concurrent is None else sees_concurrent,
        )

    def _apply_people(self, batch: Batch, staged: Staged, target: Leads) -> None:
        people, writer = self.people, self._writer(batch)
        shape = people.shape(staged.rules.columns, staged.separator)
        members = self.lists.get(target.list_id) if target.list_id is not None else None
        if staged.rules.update_only:
            people.changes(staged.rules.columns, kept="")
            for key, cells, hole in zip(staged.keys, staged.cells, staged.holes, strict=False):
                if isinstance(key, int):
                    people.change(key, key, writer, shape, cells, hole)
                    if members is not None:
                        members[key] = None
            return
        index = self._people_by(target.lookup_field)
        people.changes(staged.rules.columns, kept=target.lookup_field)
        space = self.space_of(target.partition)
        write = people.write
        for key, cells, hole in zip(staged.keys, staged.cells, staged.holes, strict=False):
            record = write(index, key, writer, shape, cells, hole, space)
            if members is not None:
                members[record] = None

    def _apply_objects(self, batch: Batch, staged: Staged, target: CustomObjects) -> None:
        store, writer = self.objects[target.api_name], self._writer(batch)
        shape = store.shape(staged.rules.columns, staged.separator)
        index = store.own_index(_DEDUPE_KEY)
        link, links = self._links_of.get(target.api_name), self._links[target.api_name]
        for at, (key, cells, hole) in enumerate(zip(staged.keys, staged.cells, staged.holes, strict=False)):
            record = store.write(index, key, writer, shape, cells, hole)
            if link is not None and staged.links and staged.links[at]:
                person = self._person(link.lead_field, staged.links[at], writer)
                if person is not None:
                    links[record] = person

    def _apply_members(self, batch: Batch, staged: Staged, target: ProgramMembers) -> None:
        people, members, writer = self.people, self.members, self._writer(batch)
        by_email = self._people_by("email")
        people.changes(staged.rules.columns, kept="email")
        shape = people.shape(staged.rules.columns, staged.separator)
        own_shape = members.shape(("leadId", "programId", "statusName", *staged.rules.own_columns), staged.separator)
        own_index = members.own_index(_MEMBER_KEY)
        own_writer = self._writer(batch, sees_concurrent=True)  # a person is in a program once, come what may
        steps = self._steps[target.program_id]
        for at, (key, cells, hole) in enumerate(zip(staged.keys, staged.cells, staged.holes, strict=False)):
            record = people.write(by_email, key, writer, shape, cells, hole)
            own_key = f"{record}\x00{target.program_id}"
            status = target.member_status
            hit = members.find(own_index.get(own_key), own_writer)
            if hit is not None and steps.get(members.values(hit)["statusName"], -1) > steps[status]:
                status = ""  # members do not go back: the cell says nothing
            own = [str(record), str(target.program_id), status]
            joined = staged.separator.join(own).encode()
            if staged.own_cells:
                joined += staged.separator.encode() + staged.own_cells[at]
            members.write(own_index, own_key, own_writer, own_shape, joined, HOLES)

    def space_of(self, partition: str | None) -> int:
        """Return the number of a partition; the primary one is 0."""
        return self._config.partitions.index(partition) if partition is not None else 0

    def _people_by(self, field: str) -> Index:
        spec = self._fields.get(field)
        return self.people.index(field, normaliser(spec.data_type) if spec is not None else normal_key)

    def _person(self, field: str, cell: str, writer: Writer) -> int | None:
        """Return the person that a link leads to: the one that changed last, in any partition."""
        if field == "id":
            return int(cell) if cell.isdecimal() and 1 <= int(cell) <= len(self.people) else None
        return self.people.find(self.find_people(field, cell), writer)

    # --- reading ---

    def find_people(self, field: str, cell: str) -> list[int]:
        """Return the people whose field has this value, oldest first, in all partitions."""
        spec = self._fields.get(field)
        normal = normaliser(spec.data_type) if spec is not None else normal_key
        index, key = self._people_by(field), normal(cell)
        found: list[int] = []
        for space in range(len(self._config.partitions)):
            hit = index.get(spaced(space, key))
            if hit is not None:
                found.extend([hit] if isinstance(hit, int) else hit)
        return sorted(found)

    def read(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield every record of a store, oldest first, as plain values."""
        store = self.stores[name]
        links = self._links.get(name)
        for record in store:
            about = store.about(record)
            out: dict[str, Any] = {"id": record, "values": store.values(record)}
            if name == PEOPLE:
                out["partition"] = self._config.partitions[about.pop("space")]
            else:
                del about["space"]
            if links is not None:
                out["lead_id"] = links.get(record)
            yield {**out, **about}
