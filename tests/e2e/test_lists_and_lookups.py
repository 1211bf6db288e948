"""What else an import of people can say: a static list, a partition, and the field by which people are found."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import pytest

from tests.e2e import kit, leads, targets
from tests.e2e.kit import Place

SLOW = {"on": "batch", "do": "slow_import", "factor": 300.0}
LIST_BUSY = "1019 Import in progress"


def together(batches: list[dict[str, Any]]) -> list[tuple[int, int]]:
    """Return which batches held a slot at the same time."""
    pairs = combinations(sorted(batches, key=lambda batch: batch["batch_id"]), 2)
    return [(a["batch_id"], b["batch_id"]) for a, b in pairs if b["queued_ms"] < a["finished_ms"]]


def assert_members(marketo: kit.Emulator, number: int, mark: str, rows: list[leads.Row]) -> None:
    """Compare the members of a list with the rows: each person that was accepted, once."""
    emails = {record["id"]: record["values"]["email"].casefold() for record in targets.held(marketo, "leads", mark)}
    listed = marketo.ask(f"lists/{number}")
    assert sorted(emails[person] for person in listed) == sorted(targets.records_of(rows))


def test_rows_become_members_of_the_list_and_no_two_batches_of_it_meet(place: Place, mark: str) -> None:
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, 250))
    place.marketo.add(SLOW)

    ended = place.run("import", "leads.csv", "--list-id", "1001", "--out", "report")

    summary = leads.assert_complete(ended, place.directory / "report", rows)
    leads.assert_delivered(place.marketo, mark, rows)
    assert_members(place.marketo, 1001, mark, rows)
    assert summary["target"] == {"object": "leads", "lookup_field": "email", "list_id": 1001}
    batches = place.marketo.batches(summary["job_id"])
    assert len(batches) > 2
    assert together(batches) == []
    assert "list_busy" not in summary["waits"], "it needs no refusal to know of its own batches"


def test_two_imports_into_one_list_take_turns(place: Place, mark: str) -> None:
    first = leads.write(place.directory / "first.csv", leads.people(mark, 200))
    second = leads.write(place.directory / "second.csv", leads.people(mark, 200, first=1000))
    place.marketo.add(SLOW)
    before = len(place.marketo.creates())

    with place.start("import", "first.csv", "--list-id", "1002", "--out", "first", "--json") as one:
        with place.start("import", "second.csv", "--list-id", "1002", "--out", "second", "--json") as other:
            ended_second = other.end()
        ended_first = one.end()

    summaries = [
        leads.assert_complete(ended_first, place.directory / "first", first),
        leads.assert_complete(ended_second, place.directory / "second", second),
    ]
    assert_members(place.marketo, 1002, mark, [*first, *second])
    assert together([batch for summary in summaries for batch in place.marketo.batches(summary["job_id"])]) == []
    assert [one for one in place.marketo.creates()[before:] if one["batch_id"] is None] == []


def test_a_list_that_somebody_else_imports_into_is_waited_for(place: Place, mark: str) -> None:
    """The other one has a journal of its own: nothing but the code 1019 tells of it."""
    elsewhere = kit.place(place.directory.with_name("elsewhere"), place.marketo)
    first = leads.write(place.directory / "first.csv", leads.people(mark, 200))
    second = leads.write(elsewhere.directory / "second.csv", leads.people(mark, 200, first=1000))
    unlisted = leads.write(elsewhere.directory / "third.csv", leads.people(mark, 10, first=2000, troubled=False))
    place.marketo.add({"on": "batch", "nth": 1, "do": "slow_import", "factor": 300.0}, SLOW)
    before = len(place.marketo.creates())

    with place.start("import", "first.csv", "--list-id", "1003", "--out", "first", "--json") as one:
        one.see("chunk.submitted")
        with elsewhere.start("import", "second.csv", "--list-id", "1003", "--out", "second", "--json") as other:
            other.see("chunk.deferred")
            # Who waits for a list keeps nobody else waiting.
            leads.assert_complete(
                elsewhere.run("import", "third.csv", "--out", "third"), elsewhere.directory / "third", unlisted
            )
            place.marketo.finish()
            ended_second = other.end()
        ended_first = one.end()

    summaries = [
        leads.assert_complete(ended_first, place.directory / "first", first),
        leads.assert_complete(ended_second, elsewhere.directory / "second", second),
    ]
    assert_members(place.marketo, 1003, mark, [*first, *second])
    leads.assert_delivered(place.marketo, mark, [*first, *second, *unlisted])
    assert together([batch for summary in summaries for batch in place.marketo.batches(summary["job_id"])]) == []
    refused = [one["answer"] for one in place.marketo.creates()[before:] if one["batch_id"] is None]
    assert set(refused) == {LIST_BUSY}
    assert summaries[1]["waits"]["list_busy"]["count"] > 0
    assert summaries[1]["findings"] == []


def test_the_same_address_in_two_partitions_is_two_people(place: Place, mark: str) -> None:
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, 60, troubled=False))

    ended = place.run("import", "leads.csv", "--partition", "Europe", "--out", "report")
    here = place.run("import", "leads.csv")

    summary = leads.assert_complete(ended, place.directory / "report", rows)
    assert summary["target"]["partition"] == "Europe"
    assert here.code == 0
    held = targets.held(place.marketo, "leads", mark)
    assert {record["partition"] for record in held} == {"Europe", "Default"}
    for partition in ("Europe", "Default"):
        there = {record["values"]["email"]: record["values"] for record in held if record["partition"] == partition}
        assert there == targets.records_of(rows)
    assert len(held) == 2 * len(rows)


LOOKUPS: Mapping[str, tuple[type[targets.Judged], dict[str, str]]] = {
    "customerId": (targets.Customer, {"customerId": "C {n} é/{mark}"}),
    "memberNo": (targets.Numbered, {"memberNo": "{n}{number}"}),
}


@pytest.mark.parametrize("field", LOOKUPS)
def test_people_are_found_by_another_field(place: Place, mark: str, field: str) -> None:
    kind, key = LOOKUPS[field]
    number = mark.removeprefix("mark").removesuffix(".example").zfill(5)
    people = []
    for n in range(120):
        keys = {name: text.format(n=n, mark=mark, number=number) for name, text in key.items()}
        person = {"email": f"same{n % 3}@{mark}", "lastName": f"L{n}", "firstName": targets.TEXTS[n % 16], **keys}
        if n % 17 == 5:
            person[field] = ""
        if n % 19 == 7:
            person["email"] = f"no address {mark}"
        people.append(person)
        if n % 5 == 1:
            respelt = f"00{person[field]}" if field == "memberNo" else f"{person[field].upper()} "
            people.append({**person, field: respelt if person[field] else "", "lastName": f"again {n}"})
    rows = leads.write(
        place.directory / "leads.csv", people, columns=("lastName", field, "email", "firstName"), kind=kind
    )
    place.marketo.add(SLOW)

    ended = place.run("import", "leads.csv", "--lookup-field", field, "--out", "report")

    summary = leads.assert_complete(ended, place.directory / "report", rows)
    assert summary["target"] == {"object": "leads", "lookup_field": field}
    held = [record["values"] for record in targets.held(place.marketo, "leads", mark)]
    assert {kind("", 0, 0, values).key: values for values in held} == targets.records_of(rows)
    assert len(held) == len(targets.records_of(rows))
    assert len(summary["batches"]) > 1


def test_an_id_changes_people_and_makes_none(place: Place, mark: str) -> None:
    leads.write(place.directory / "leads.csv", leads.people(mark, 80, troubled=False))
    assert place.run("import", "leads.csv").code == 0
    people = {record["id"]: record["values"] for record in targets.held(place.marketo, "leads", mark)}
    everybody = len(place.marketo.records("leads"))
    no_id, nobody = "Value for lookup field 'id' not found", "Lead not found"
    lines: list[tuple[str, str, str | None]] = [(str(number), f"new {number}", None) for number in people]
    lines[10:10] = [
        ("", "without", no_id),
        ("x7", "no number", no_id),
        ("0", "nobody", nobody),
        ("99999999", "nobody", nobody),
    ]
    lines += [("99999999", "nobody", nobody), ("99999998", "nobody else", nobody), (lines[0][0], "newer", None)]
    columns = ("lastName", "id")
    rows = leads.write(
        place.directory / "ids.csv", [{"id": one, "lastName": name} for one, name, _ in lines], columns=columns
    )

    ended = place.run(
        "import", "ids.csv", "--lookup-field", "id", "--out", "report",
        env={"ORCHESTRATOR_LIMITS__BODY_BYTES_MAX": "1000"},
    )  # fmt: skip

    assert ended.code == 3, ended.err
    summary = leads.read_summary(place.directory / "report")
    assert (summary["rows"]["accepted"], summary["rows"]["failed"], summary["rows"]["unmatched"]) == (
        len(rows) - 6,
        6,
        0,
    )
    failed = [(row, reason) for row, (_, _, reason) in zip(rows, lines, strict=True) if reason]
    leads.assert_listed(place.directory / "report" / "failures.csv", failed, summary, "Import Failure Reason")
    assert len(place.marketo.records("leads")) == everybody
    names = {record["id"]: record["values"] for record in targets.held(place.marketo, "leads", mark)}
    wanted = {number: {**values, "lastName": f"new {number}"} for number, values in people.items()}
    wanted[int(lines[0][0])]["lastName"] = "newer"
    assert names == wanted
