"""Every kind of target: files for it, and what Marketo must make of each row, found without code of the product."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from tests.e2e import leads
from tests.e2e.kit import Emulator

LONG = "y" * 256  # one character more than most fields take
INTEGER = re.compile(r"[+-]?[0-9]{1,19}")

# What is easily broken on the way: delimiters of all formats, line ends, quotes, blanks, what is not ASCII.
TEXTS = (
    "Żółć", "李小龍", "Zoë \U0001f600", 'Robert "Bob" Tables', "two\nlines", "comma, here", "semi; colon", "tab\there",
    '12" pipe', " blanks around ", "line\r\nends", "old\rmac", '"quoted"', "a;b,c\td", "'", "-",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Judged(leads.Row):
    """A row that is judged by what a target declares; of several reasons the first one counts, in this order."""

    KEY: ClassVar[Sequence[str]]
    NO_KEY: ClassVar[str]
    NUMBERS: ClassVar[Mapping[str, str]]  # columns of whole numbers, and what people call them
    LIMITED: ClassVar[Mapping[str, str]]  # columns of at most 255 characters, and what people call them
    EMAIL: ClassVar[str]  # the column whose cells should be addresses

    @property
    def key(self) -> str:
        parts = [_normal(self.cells.get(column, ""), number=column in self.NUMBERS) for column in self.KEY]
        return "\x1f".join(parts) if all(parts) else ""

    @property
    def failure(self) -> str | None:
        if not self.key:
            return self.NO_KEY
        for column, name in self.NUMBERS.items():
            cell = self.cells.get(column, "")
            if cell not in ("", "NULL") and not INTEGER.fullmatch(cell):
                return f"Invalid data type in field {name}"
        for column, name in self.LIMITED.items():
            if len(self.cells.get(column, "")) > 255:
                return f"Value of field {name} is longer than 255 characters"
        return None

    @property
    def warning(self) -> str | None:
        address = self.cells.get(self.EMAIL, "")
        fine = address in ("", "NULL") or ("@" in address and " " not in address)
        return None if self.failure or fine else leads.NO_ADDRESS


def _normal(cell: str, *, number: bool) -> str:
    text = cell.strip()
    return str(int(text)) if number and INTEGER.fullmatch(text) else text.casefold()


class Person(Judged):
    KEY = ("email",)
    NO_KEY = leads.NO_KEY
    NUMBERS = {"leadScore": "Lead Score"}  # noqa: RUF012
    LIMITED = {"firstName": "First Name", "lastName": "Last Name", "title": "Job Title"}  # noqa: RUF012
    EMAIL = "email"


class Member(Person):
    NUMBERS = {"leadScore": "Lead Score", "seats": "Seats"}  # noqa: RUF012
    LIMITED = {"lastName": "Last Name"}  # noqa: RUF012


class Customer(Person):
    KEY = ("customerId",)
    NO_KEY = "Value for lookup field 'customerId' not found"
    LIMITED = {}  # noqa: RUF012


class Numbered(Person):
    KEY = ("memberNo",)
    NO_KEY = "Value for lookup field 'memberNo' not found"
    NUMBERS = {"memberNo": "Member No"}  # noqa: RUF012


class Car(Judged):
    KEY = ("vin",)
    NO_KEY = "missing.dedupe.fields"
    NUMBERS = {"year": "Year Built"}  # noqa: RUF012
    LIMITED = {"color": "Color", "make": "Make", "model": "Model"}  # noqa: RUF012
    EMAIL = "ownerEmail"


class OrderLine(Judged):
    KEY = ("orderId", "sku")
    NO_KEY = "missing.dedupe.fields"
    NUMBERS = {"orderId": "Order Id", "quantity": "Quantity"}  # noqa: RUF012
    LIMITED = {"contact": "Contact"}  # noqa: RUF012
    EMAIL = "contact"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One kind of target, and how a file for it is made."""

    flags: tuple[str, ...]
    summary: Mapping[str, Any]  # what the report says it is
    row: type[Judged]
    store: str
    columns: tuple[str, ...]  # the last one is often empty
    clean: Callable[[str, int], dict[str, str]]  # mark, number -> cells
    number: str  # a column that takes whole numbers only
    marked: str  # the key column that holds the mark
    respelt: Callable[[dict[str, str]], dict[str, str]]  # the same key, written otherwise


def _text(n: int, shift: int = 0) -> str:
    return TEXTS[(n + shift) % len(TEXTS)]


def _person(mark: str, n: int) -> dict[str, str]:
    return {
        "email": f"p{n}@{mark}",
        "firstName": _text(n),
        "lastName": f"L{n}",
        "leadScore": str(n),
        "title": _text(n, 5),
    }


def _member(mark: str, n: int) -> dict[str, str]:
    person = {"email": f"p{n}@{mark}", "leadScore": str(n), "lastName": _text(n)}
    return {"registrationCode": f"R {n}; {_text(n, 3)}", **person, "seats": str(n % 4)}


def _car(mark: str, n: int) -> dict[str, str]:
    car = {"color": _text(n), "make": f"make {n}", "vin": f"V{n}/{mark}", "model": _text(n, 7), "year": str(1950 + n)}
    return {**car, "ownerEmail": f"p{n}@{mark}"}


def _order_line(mark: str, n: int) -> dict[str, str]:
    line = {"note": _text(n), "sku": f"é{n % 7},{mark}", "quantity": str(n), "orderId": str(1 + n // 7)}
    return {**line, "contact": f"p{n}@{mark}"}


TARGETS: Mapping[str, Target] = {
    "leads": Target(
        flags=(),
        summary={"object": "leads", "lookup_field": "email"},
        row=Person,
        store="leads",
        columns=("email", "firstName", "lastName", "leadScore", "title"),
        clean=_person,
        number="leadScore",
        marked="email",
        respelt=lambda cells: {**cells, "email": f" {cells['email'].upper()}"},
    ),
    "object": Target(
        flags=("--object", "custom:car_c"),
        summary={"object": "custom:car_c"},
        row=Car,
        store="car_c",
        columns=("color", "vin", "make", "model", "year", "ownerEmail"),
        clean=_car,
        number="year",
        marked="vin",
        respelt=lambda cells: {**cells, "vin": f"{cells['vin'].lower()} "},
    ),
    "object with two keys": Target(
        flags=("--object", "custom:orderLine_c"),
        summary={"object": "custom:orderLine_c"},
        row=OrderLine,
        store="orderLine_c",
        columns=("note", "sku", "quantity", "orderId", "contact"),
        clean=_order_line,
        number="quantity",
        marked="sku",
        respelt=lambda cells: {**cells, "sku": cells["sku"].upper(), "orderId": f"00{cells['orderId']}"},
    ),
    "members": Target(
        flags=("--object", "program-members", "--program-id", "2001", "--member-status", "Registered"),
        summary={"object": "program-members", "program_id": 2001, "member_status": "Registered"},
        row=Member,
        store="leads",
        columns=("registrationCode", "email", "leadScore", "lastName", "seats"),
        clean=_member,
        number="leadScore",
        marked="email",
        respelt=lambda cells: {**cells, "email": f"{cells['email'].upper()} "},
    ),
}

MEMBER_COLUMNS = ("registrationCode", "seats")  # of the membership; the others are of the person


def rows(target: Target, mark: str, count: int) -> list[dict[str, str]]:
    """Return rows about so many records: some fail, some warn, some come again, near and far, spelt otherwise."""
    placed: list[tuple[float, dict[str, str]]] = []
    for n in range(count):
        cells = target.clean(mark, n)
        if n % 3:
            cells[target.columns[-1]] = ""
        placed.append((n, cells))
        if n % 17 == 5:
            cells[target.row.KEY[n // 17 % len(target.row.KEY)]] = (" ", "")[n % 2]
        elif n % 19 == 7:
            cells[target.number] = f"{n}.5"
        elif n % 29 == 11:
            cells[next(iter(target.row.LIMITED))] = f"{LONG} {mark}"
        elif n % 13 == 9:
            cells[target.row.EMAIL] = f"no address {n} {mark}"
        elif n % 6 == 0:
            again = target.respelt(cells) if n % 4 else dict(cells)
            again[target.number] = ("", "NULL", "7")[n // 6 % 3]
            again[target.columns[0 if target.columns[0] not in target.row.KEY else 1]] = f"again {n}"
            placed.append((n + (0.5, 25.5, 70.5)[n // 6 % 3], again))
    nothing = dict.fromkeys(target.columns, "") | {target.number: "1"}
    placed += [(count / 2, nothing), (count / 2, nothing)]  # they fail, and nothing tells them apart
    return [cells for _, cells in sorted(placed, key=lambda place: place[0])]


# --- what Marketo holds ------------------------------------------------------------------------------------


def records_of(written: Iterable[leads.Row]) -> dict[str, dict[str, str]]:
    """Return the records that importing these rows one after the other makes; an empty cell says nothing."""
    found: dict[str, dict[str, str]] = {}
    for row in written:
        if row.failure is not None:
            continue
        record = found.setdefault(row.key, {})
        for column, cell in row.cells.items():
            if cell == "NULL":
                record.pop(column, None)
            elif cell:
                record[column] = cell
    return found


def held(marketo: Emulator, store: str, mark: str) -> list[dict[str, Any]]:
    """Return the records of a store that hold this mark, their cells without those that say nothing."""
    found = [record for record in marketo.records(store) if mark in "".join(record["values"].values()).casefold()]
    return [{**record, "values": _said(record["values"])} for record in found]


def _said(values: Mapping[str, str]) -> dict[str, str]:
    return {column: cell for column, cell in values.items() if cell}


def assert_delivered(marketo: Emulator, target: Target, mark: str, written: Sequence[leads.Row]) -> None:
    """Compare what Marketo holds with the source, record by record; none is there twice."""
    wanted = records_of(written)
    there = held(marketo, target.store, mark)
    keys = [target.row("", 0, 0, record["values"]).key for record in there]
    assert sorted(keys) == sorted(wanted)
    own = MEMBER_COLUMNS if target.row is Member else ()
    for key, record in zip(keys, there, strict=True):
        assert record["values"] == {column: cell for column, cell in wanted[key].items() if column not in own}
    if target.row is Member:
        by_id = {str(record["id"]): key for record, key in zip(there, keys, strict=True)}
        program = target.flags[target.flags.index("--program-id") + 1]
        status = target.flags[-1]
        assert members(marketo, program, by_id) == {
            key: {"statusName": status} | {column: wanted[key][column] for column in own if column in wanted[key]}
            for key in wanted
        }


def members(marketo: Emulator, program: str, people: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return which of these people (id -> name) are in a program, once each, and what the membership says."""
    found: dict[str, dict[str, str]] = {}
    for record in marketo.records("members"):
        values = _said(record["values"])
        person = people.get(values.pop("leadId"))
        if values.pop("programId") == program and person is not None:
            assert person not in found
            found[person] = values
    return found


def assert_result_files(
    marketo: Emulator, summary: Mapping[str, Any], written: Sequence[leads.Row], delimiter: str
) -> None:
    """Compare Marketo's own files of failed and warned rows with the source: all of them, in the job's delimiter."""
    told = {batch["batch_id"]: batch for batch in marketo.batches(summary["job_id"])}
    for batch in summary["batches"]:
        sent = [row for row in written if batch["first_row"] <= row.row < batch["first_row"] + batch["rows"]]
        for kind, column, reasons in (
            ("failures", "Import Failure Reason", [row.failure for row in sent]),
            ("warnings", "Import Warning Reason", [row.warning for row in sent]),
        ):
            wanted = [[*row.cells.values(), reason] for row, reason in zip(sent, reasons, strict=True) if reason]
            text = marketo.result_file(told[batch["batch_id"]], kind)
            if text is None:
                assert wanted == []
                continue
            header, *listed = _table(text, delimiter)
            width = max(n for cells in wanted for n, cell in enumerate(cells[:-1], 1) if cell)
            assert header == [*list(sent[0].cells)[:width], column]  # columns that are empty at the end are missing
            assert listed == [[*cells[:width], cells[-1]] for cells in wanted]


def _table(text: str, delimiter: str) -> list[list[str]]:
    """Read records whose lines end with line feeds; a carriage return alone is a character like any other."""
    lines = io.StringIO(text.replace("\r\n", "\0").replace("\r", "\1").replace("\0", "\r\n"), newline="")
    read = csv.reader(lines, delimiter=delimiter, strict=True)
    return [[cell.replace("\1", "\r") for cell in cells] for cells in read]
