"""Judging the rows of an upload before any of them is applied.

All that can be said of a row without looking at the records is said when the upload arrives: which rows fail, which
are imported with a warning, and what remains of the others, as keys and small byte strings ready to be stored.
The rows are applied in the order of the file, so the last of several rows with one key wins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

from orchestrator.emulator.catalog import Fields, is_lookup_field, lead_fields, member_fields, object_fields
from orchestrator.emulator.config import EmulatorConfig, FieldSpec, ObjectSpec
from orchestrator.emulator.fields import CHECKS, NULL, Check, is_email, is_integer, length_max, normaliser
from orchestrator.emulator.records import FULL, HOLES, Key, spaced
from orchestrator.emulator.refusals import invalid_data, refusal
from orchestrator.emulator.table import Judged, Table

INVALID_EMAIL = "Invalid email address"
MISSING_DEDUPE_FIELDS = "missing.dedupe.fields"
NOBODY = -1  # stands for the id 0, which is a key like any other that nobody has

KeyOf = Callable[[list[str]], Key | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How the rows of one upload are judged; numbers are positions in the header."""

    key_of: KeyOf
    no_key: str  # the reason of a row without one
    columns: tuple[str, ...]  # of the record, by name
    at: tuple[int, ...]
    own_columns: tuple[str, ...] = ()  # of the membership
    own_at: tuple[int, ...] = ()
    typed: tuple[tuple[int, Check, str], ...] = ()  # position, check, what people call the field
    limited: tuple[tuple[int, int, bool, str], ...] = ()  # position, limit, in bytes, what people call the field
    emails: tuple[int, ...] = ()
    links: tuple[int, ...] = ()  # the position of the link field, if there is one
    update_only: bool = False


@dataclass(slots=True, kw_only=True)
class Staged:
    """An upload whose rows are judged; the lists run in parallel, in the order of the file."""

    header: tuple[str, ...]
    separator: str
    delimiter: str
    rules: Rules
    rows: int = 0
    keys: list[Key] = field(default_factory=list)
    cells: list[bytes] = field(default_factory=list)
    holes: bytearray = field(default_factory=bytearray)
    own_cells: list[bytes] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    whole: list[Judged] = field(default_factory=list)  # only for updates, which may fail later
    failures: list[Judged] = field(default_factory=list)
    warnings: list[Judged] = field(default_factory=list)

    def drop(self) -> None:
        """Forget what is applied; the rows that failed or warned stay."""
        for applied in (self.keys, self.cells, self.own_cells, self.links, self.whole):
            applied.clear()
        self.holes = bytearray()


# --- the rules of each object type ---------------------------------------------------------------------


def _refuse_repeated(header: Sequence[str]) -> None:
    seen: set[str] = set()
    for cell in header:
        if cell in seen:
            raise invalid_data(f"Duplicate column '{cell}'")
        seen.add(cell)


def _judgements(found: Sequence[tuple[int, FieldSpec]]) -> dict[str, tuple[tuple[object, ...], ...]]:
    """Return the checks that the cells of these fields must pass."""
    typed: list[tuple[object, ...]] = []
    limited: list[tuple[object, ...]] = []
    for at, spec in found:
        check = CHECKS.get(spec.data_type)
        if check is not None:
            typed.append((at, check, spec.label))
        limit = length_max(spec)
        if limit is not None:
            limited.append((at, limit, spec.data_type == "text", spec.label))
    return {"typed": tuple(typed), "limited": tuple(limited)}


def lead_rules(config: EmulatorConfig, header: Sequence[str], *, lookup_field: str, space: int) -> Rules:
    """Return the rules for people; refuses a lookup field or a column that is none (1011, 1006)."""
    fields = lead_fields(config)
    lookup = fields.get(lookup_field)
    if lookup is None or not is_lookup_field(config, lookup):
        raise refusal("1011", lookup_field)
    _refuse_repeated(header)
    found = _known(fields, header, reject=config.unknown_lead_columns == "reject", also=lookup.name)
    return Rules(
        key_of=_single_key(found, lookup, space),
        no_key=f"Value for lookup field '{lookup.name}' not found",
        columns=tuple(spec.name for _, spec in found if spec.name != "id"),
        at=tuple(at for at, spec in found if spec.name != "id"),
        emails=tuple(at for at, spec in found if spec.data_type == "email"),
        update_only=lookup.name == "id",
        **_judgements(found),  # type: ignore[arg-type]  # typed by construction, three lines above
    )


def object_rules(config: EmulatorConfig, spec: ObjectSpec, header: Sequence[str]) -> Rules:
    """Return the rules for records of one custom object type."""
    _refuse_repeated(header)
    fields = object_fields(config, spec)
    found = _known(fields, header, reject=config.unknown_object_columns == "reject", also=spec.dedupe_fields)
    return Rules(
        key_of=_compound_key(found, spec.dedupe_fields),
        no_key=MISSING_DEDUPE_FIELDS,
        columns=tuple(one.name for _, one in found),
        at=tuple(at for at, _ in found),
        emails=tuple(at for at, one in found if one.data_type == "email"),
        links=tuple(at for at, one in found if spec.link is not None and one.name == spec.link.field),
        **_judgements(found),  # type: ignore[arg-type]  # as above
    )


def member_rules(config: EmulatorConfig, header: Sequence[str]) -> Rules:
    """Return the rules for members: fields of people and of memberships side by side, found by e-mail."""
    _refuse_repeated(header)
    people, own = lead_fields(config), member_fields(config)
    own_found = [(at, spec) for at, cell in enumerate(header) if (spec := own.get(cell)) is not None]
    own_at = tuple(at for at, spec in own_found if spec.updateable)
    found = _known(people, header, reject=config.unknown_lead_columns == "reject", also="email", skip=own_at)
    email = people.get("email")
    if email is None:
        raise AssertionError("every subscription has the field email")
    return Rules(
        key_of=_single_key(found, email, 0),
        no_key="Value for lookup field 'email' not found",
        columns=tuple(spec.name for _, spec in found),
        at=tuple(at for at, _ in found),
        own_columns=tuple(spec.name for at, spec in own_found if at in own_at),
        own_at=own_at,
        emails=tuple(at for at, spec in (*found, *own_found) if spec.data_type == "email"),
        **_judgements([*found, *((at, spec) for at, spec in own_found if at in own_at)]),  # type: ignore[arg-type]
    )


def _known(
    fields: Fields, header: Sequence[str], *, reject: bool, also: str | Sequence[str], skip: Sequence[int] = ()
) -> list[tuple[int, FieldSpec]]:
    """Return the columns that can be imported; refuses the first one that cannot, or leaves it out (1006)."""
    wanted = (also,) if isinstance(also, str) else also
    found: list[tuple[int, FieldSpec]] = []
    for at, cell in enumerate(header):
        if at in skip:
            continue
        spec = fields.get(cell)
        if spec is not None and (spec.updateable or spec.name in wanted):
            found.append((at, spec))
        elif reject:
            raise refusal("1006", cell)
    return found


def _single_key(found: Sequence[tuple[int, FieldSpec]], lookup: FieldSpec, space: int) -> KeyOf:
    at = next((at for at, spec in found if spec.name == lookup.name), None)
    if at is None:
        return lambda cells: None
    if lookup.name == "id":
        return lambda cells: (int(cells[at]) or NOBODY) if is_integer(cells[at]) else None
    normal = normaliser(lookup.data_type)
    if not space:
        return lambda cells: normal(cells[at])
    return lambda cells: spaced(space, key) if (key := normal(cells[at])) else None


def _compound_key(found: Sequence[tuple[int, FieldSpec]], names: Sequence[str]) -> KeyOf:
    by_name = {spec.name: (at, normaliser(spec.data_type)) for at, spec in found}
    if any(name not in by_name for name in names):
        return lambda cells: None
    parts = [by_name[name] for name in names]

    def key_of(cells: list[str]) -> Key | None:
        values = [normal(cells[at]) for at, normal in parts]
        return "\x00".join(values) if all(values) else None

    return key_of


# --- judging ------------------------------------------------------------------------------------------


def stage(table: Table, rules: Rules, *, delimiter: str) -> Staged:
    """Judge every row of an upload."""
    staged = Staged(header=table.header, separator=table.separator, delimiter=delimiter, rules=rules)
    separator, key_of, emails = table.separator, rules.key_of, rules.emails
    everything = rules.at == tuple(range(len(table.header)))
    pick, own_pick = _picker(rules.at), _picker(rules.own_at)
    shortest = min((limit // 4 if in_bytes else limit for _, limit, in_bytes, _ in rules.limited), default=1 << 62)
    add_key, add_cells, add_hole = staged.keys.append, staged.cells.append, staged.holes.append
    row = 0
    for row, cells in enumerate(table.rows(), 1):  # the last number is the count
        joined = separator.join(cells)
        key = key_of(cells)
        reason = _wrong(cells, rules, lengths=len(joined) > shortest) if key else rules.no_key
        if reason or not key:
            staged.failures.append(Judged(row, joined, reason or rules.no_key))
            continue
        for at in emails:
            if cells[at] and cells[at] != NULL and not is_email(cells[at]):
                staged.warnings.append(Judged(row, joined, INVALID_EMAIL))
                break
        add_key(key)
        add_cells(joined.encode() if everything else separator.join(pick(cells)).encode())
        add_hole(HOLES if "" in cells or NULL in cells else FULL)
        if rules.own_at:
            staged.own_cells.append(separator.join(own_pick(cells)).encode())
        if rules.links:
            staged.links.append(cells[rules.links[0]])
        if rules.update_only:
            staged.whole.append(Judged(row, joined, ""))
    staged.rows = row
    return staged


def _picker(at: tuple[int, ...]) -> Callable[[list[str]], Sequence[str]]:
    if len(at) > 1:
        return itemgetter(*at)
    return lambda cells: [cells[one] for one in at]


def _wrong(cells: list[str], rules: Rules, *, lengths: bool) -> str | None:
    """Return why a row cannot be imported, or None; lengths are looked at only if one may be too long."""
    for at, check, label in rules.typed:
        cell = cells[at]
        if cell and not check(cell) and cell != NULL:
            return f"Invalid data type in field {label}"
    if lengths:
        for at, limit, in_bytes, label in rules.limited:
            size = len(cells[at].encode()) if in_bytes else len(cells[at])
            if size > limit:
                return f"Value of field {label} is longer than {limit} {'bytes' if in_bytes else 'characters'}"
    return None
