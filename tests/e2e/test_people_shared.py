"""The same people in several imports at the same time, as leads and as members, found by one field or another.

Marketo does not see that two batches which it imports at the same time are about one person, and makes two.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence

import pytest

from tests.e2e import leads, targets
from tests.e2e.kit import Command, Ended, Place

HELD = {"on": "batch", "nth": 1, "do": "delay_start", "ms": 36_000_000}  # whatever is queued waits behind it
SLOW = {"on": "batch", "do": "slow_import", "factor": 300.0}

COLUMNS = ("email", "customerId", "lastName", "company")
BY_EMAIL = ()
BY_CUSTOMER = ("--lookup-field", "customerId")
IN_ONE = ("--object", "program-members", "--program-id", "2002", "--member-status", "Invited")
IN_OTHER = ("--object", "program-members", "--program-id", "2003", "--member-status", "Attended")
CAR = ("--object", "custom:car_c")
PAIRS = {
    "leads and members": (BY_EMAIL, IN_ONE),
    "two programs": (IN_ONE, IN_OTHER),
    "two lookup fields": (BY_EMAIL, BY_CUSTOMER),
}
PEOPLE = 40
DEEP = {"ORCHESTRATOR_LIMITS__QUEUE_DEPTH": "10"}  # so that nobody waits for want of room


def write(place: Place, mark: str, name: str, count: int = PEOPLE) -> None:
    """Write a file about so many people; it says nothing that another one of them would contradict."""
    people = [{"email": f"p{n}@{mark}", "customerId": f"c{n}.{mark}", "lastName": f"L{n}"} for n in range(count)]
    leads.write(place.directory / name, people, columns=COLUMNS)


def assert_arrived(ended: Ended, rows: int = PEOPLE) -> None:
    assert ended.code == 0, ended.err
    assert (ended.summary["rows"]["accepted"], ended.summary["rows"]["unknown"]) == (rows, 0)


def test_nobody_becomes_two(place: Place, mark: str) -> None:
    count = 150  # two uploads for each import
    place.marketo.add(HELD, SLOW)
    place.write("car.csv", f"vin,color\nV/{mark},red\n")
    with contextlib.ExitStack() as stack:

        def start(name: str, *flags: str) -> Command:
            write(place, mark, name, count)
            return stack.enter_context(place.start("import", name, "--json", *flags, env=DEEP))

        commands = [start("0.csv", *IN_ONE)]
        commands[0].see("chunk.submitted", 2)
        commands += [start(f"{n}.csv", *flags) for n, flags in enumerate((BY_EMAIL, IN_OTHER, BY_CUSTOMER), 1)]
        jobs = [command.see("job.planned")[0]["job_id"] for command in commands]
        car = stack.enter_context(place.start("import", "car.csv", "--json", *CAR))
        car.see("chunk.submitted")  # it came last and may pass them: each had its chance before
        assert [job for job in jobs if place.marketo.batches(job)] == jobs[:1]
        place.marketo.finish()
        for command in commands:
            assert_arrived(command.end(), count)
        assert car.end().code == 0

    assert place.marketo.collisions(mark) == []
    by_id = {str(record["id"]): record["values"]["email"] for record in targets.held(place.marketo, "leads", mark)}
    assert sorted(by_id.values()) == sorted(f"p{n}@{mark}" for n in range(count))
    for program, status in (("2002", "Invited"), ("2003", "Attended")):
        found = targets.members(place.marketo, program, by_id)
        assert found == {email: {"statusName": status} for email in by_id.values()}


@pytest.mark.parametrize(("first", "second"), PAIRS.values(), ids=PAIRS.keys())
def test_people_do_become_two_when_repeated_keys_are_ignored(
    place: Place, mark: str, first: Sequence[str], second: Sequence[str]
) -> None:
    write(place, mark, "first.csv")
    write(place, mark, "second.csv")
    place.marketo.add(HELD, SLOW)
    with place.start("import", "first.csv", "--json", "--on-repeated-key", "ignore", *first) as driving:
        driving.see("chunk.submitted")
        with place.start("import", "second.csv", "--json", "--on-repeated-key", "ignore", *second) as following:
            following.see("chunk.submitted")
            place.marketo.finish()
            ended_second = following.end()
        ended_first = driving.end()

    for ended in (ended_first, ended_second):
        assert_arrived(ended)  # Marketo says nothing of it
        assert [finding["kind"] for finding in ended.summary["findings"]] == ["keys_not_compared"]
    emails = Counter(person["email"] for person in place.marketo.people(mark))
    assert emails == {f"p{n}@{mark}": 2 for n in range(PEOPLE)}
    assert {one["kind"] for one in place.marketo.collisions(mark)} == {"duplicate"}
