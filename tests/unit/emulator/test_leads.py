from __future__ import annotations

from itertools import pairwise

import pytest

from orchestrator.emulator.engine import Course
from orchestrator.emulator.queue import Failure
from orchestrator.errors import Refused
from orchestrator.marketo.wire import ResultKind
from orchestrator.model import BatchStatus, Format, Leads
from tests.unit.emulator.kit import HOUR_MS, World


def refused(world: World, text: str | bytes, target: Leads | None = None) -> tuple[str | None, str]:
    with pytest.raises(Refused) as caught:
        world.create(text, target)
    assert world.engine.queue.unfinished == len(world.engine.queue.batches) == 0
    return caught.value.code, str(caught.value)


def test_a_file_becomes_people_in_its_order():
    world = World()
    batch = world.create("email,firstName\na@x.com,Ann\nb@x.com,Bob\n")
    assert (batch.id, batch.status, world.people()) == (1001, BatchStatus.QUEUED, [])
    world.wait(999)
    assert (batch.status, world.counts(batch), world.people()) == (BatchStatus.IMPORTING, (1, 0, 0), [])
    world.wait(1)
    assert (batch.status, world.counts(batch)) == (BatchStatus.COMPLETE, (2, 0, 0))
    assert world.people() == [{"email": "a@x.com", "firstName": "Ann"}, {"email": "b@x.com", "firstName": "Bob"}]


def test_later_rows_of_a_key_win_and_every_row_counts():
    world = World()
    batch = world.done("email,firstName\na@x.com,1\nb@x.com,2\nA@X.COM,3\n")
    assert world.counts(batch) == (3, 0, 0)
    assert world.people() == [{"email": "A@X.COM", "firstName": "3"}, {"email": "b@x.com", "firstName": "2"}]
    assert world.engine.holdings.people.collisions == []


def test_empty_cells_leave_and_null_clears():
    world = World()
    world.done("email,firstName,city\na@x.com,Ann,Rome\nb@x.com,NULL,Paris\n")
    world.done("email,firstName,city,title\na@x.com,,NULL,CEO\nb@x.com,Bob,,\n")
    assert world.people() == [
        {"email": "a@x.com", "firstName": "Ann", "city": "", "title": "CEO"},
        {"email": "b@x.com", "firstName": "Bob", "city": "Paris", "title": ""},
    ]
    world.done("email,firstName,city,title\na@x.com,,Oslo,\n")
    assert world.people()[0] == {"email": "a@x.com", "firstName": "Ann", "city": "Oslo", "title": "CEO"}


def test_rows_that_fail_and_rows_that_warn():
    world = World()
    text = (
        "firstName,lastName,email,leadScore\n"
        "Aerys,Targaryen,a@x.com,TEXT_VALUE_IN_INTEGER_FIELD\n"
        "Jon,Snow,INVALID_EMAIL,3\n"
        "No,Key,,3\n"
        f"Too,{'L' * 256},l@x.com,3\n"
        "Fine,Row,f@x.com,\n"
    )
    batch = world.done(text)
    assert world.counts(batch) == (2, 3, 1)
    assert [one["email"] for one in world.people()] == ["INVALID_EMAIL", "f@x.com"]
    assert world.engine.result_file(batch, ResultKind.FAILURES) == (
        "firstName,lastName,email,leadScore,Import Failure Reason\n"
        "Aerys,Targaryen,a@x.com,TEXT_VALUE_IN_INTEGER_FIELD,Invalid data type in field Lead Score\n"
        "No,Key,,3,Value for lookup field 'email' not found\n"
        f"Too,{'L' * 256},l@x.com,3,Value of field Last Name is longer than 255 characters\n"
    )
    assert world.engine.result_file(batch, ResultKind.WARNINGS) == (
        "firstName,lastName,email,leadScore,Import Warning Reason\nJon,Snow,INVALID_EMAIL,3,Invalid email address\n"
    )


def test_a_length_just_within_the_limit_passes():
    world = World()
    assert world.counts(world.done(f"email,city\na@x.com,{'L' * 255}\n")) == (1, 0, 0)


def test_long_texts_are_measured_in_bytes():
    world = World()
    fits, too_long = "ü" * 15_000, "ü" * 15_001
    assert world.counts(world.done(f"email,address\na@x.com,{fits}\nb@x.com,{too_long}\n")) == (1, 1, 0)


def test_counters_only_rise_while_a_batch_is_imported():
    world = World()
    lines = [f"p{n}@x.com,{'x' if n % 3 == 0 else n}\n" if n % 5 else f"p{n},1\n" for n in range(1, 3001)]
    batch = world.create("email,leadScore\n" + "".join(lines))
    seen = []
    for _ in range(31):
        world.wait(100)
        seen.append(world.counts(batch))
    assert seen == sorted(seen)
    assert all(a <= b for before, after in pairwise(seen) for a, b in zip(before, after, strict=True))
    assert seen[0][0] > 0
    assert seen[-1] == (2200, 800, 600)


def test_no_files_before_the_end_nor_without_rows():
    world = World()
    batch = world.create("email\n\n,\nb@x.com\n")
    world.wait(500)
    assert batch.status is BatchStatus.IMPORTING
    assert world.engine.result_file(batch, ResultKind.FAILURES) is None
    world.wait()
    assert world.engine.result_file(batch, ResultKind.WARNINGS) is None


def test_what_is_refused_before_there_is_a_batch():
    world = World()
    assert refused(world, "") == ("1003", "Empty file")
    assert refused(world, "email,firstName\n\n") == ("1003", "Empty file")
    assert refused(world, "email,frstName\na@x.com,A\n") == ("1006", "Field 'frstName' not found")
    assert refused(world, "Email\na@x.com\n") == ("1006", "Field 'Email' not found")
    assert refused(world, b"\xef\xbb\xbfemail\na@x.com\n") == ("1006", "Field '\ufeffemail' not found")
    assert refused(world, "email,createdAt\na@x.com,x\n") == ("1006", "Field 'createdAt' not found")
    assert refused(world, "email,email\na,b\n") == ("1003", "Duplicate column 'email'")
    assert refused(world, "email\na@x.com\n", Leads(lookup_field="title")) == ("1011", "Field 'title' not supported")
    assert refused(world, "email\na@x.com\n", Leads(list_id=7)) == ("1013", "Object not found")
    assert refused(world, "email\na@x.com\n", Leads(partition="Mars"))[0] == "1008"


def test_columns_may_be_lenient():
    world = World(unknown_lead_columns="ignore", header_case_matters=False)
    batch = world.done("Row,EMAIL,firstname\n1,a@x.com,A\n2,,B\n")
    assert (world.people(), world.counts(batch)) == ([{"email": "a@x.com", "firstName": "A"}], (1, 1, 0))
    file = world.engine.result_file(batch, ResultKind.FAILURES)
    assert file is not None
    assert file.startswith("Row,EMAIL,firstname,Import Failure Reason\n2,,B,")


def test_a_header_without_the_lookup_field_fails_every_row():
    world = World()
    batch = world.done("firstName\nA\nB\n")
    assert (batch.status, world.counts(batch)) == (BatchStatus.COMPLETE, (0, 2, 0))


def test_the_queue_holds_ten():
    world = World()
    for n in range(10):
        world.create(f"email\n{n}@x.com\n")
    with pytest.raises(Refused) as caught:
        world.create("email\nx@x.com\n")
    assert str(caught.value) == "There are 10 imports currently being processed. Please try again later"
    assert caught.value.code == "1016"
    world.wait(1_000)  # two have ended
    world.create("email\nx@x.com\n")
    assert world.engine.queue.unfinished == 9


def test_imports_at_the_same_time_make_duplicates_and_later_ones_do_not():
    world = World()
    world.create("email,firstName\na@x.com,1\n")
    world.create("email,firstName\nA@x.com,2\n")
    world.wait()
    assert [one["firstName"] for one in world.people()] == ["1", "2"]
    [collision] = world.engine.holdings.people.collisions
    assert (collision.kind, collision.key, collision.records, collision.batches) == (
        "duplicate", "a@x.com", (1, 2), (1001, 1002),
    )  # fmt: skip
    world.done("email,firstName\na@x.com,3\n")
    assert [one["firstName"] for one in world.people()] == ["1", "3"]  # of several, the one that changed last
    assert len(world.engine.holdings.people.collisions) == 1


def test_an_import_that_starts_as_another_ends_sees_its_records():
    world = World(importers=1)
    world.create("email,firstName\na@x.com,1\n")
    world.create("email,firstName\na@x.com,2\n")
    world.wait()
    assert [one["firstName"] for one in world.people()] == ["2"]


def test_two_imports_that_change_one_record_at_the_same_time_are_a_race():
    world = World()
    world.done("email,firstName\na@x.com,0\n")
    world.create("email,firstName\na@x.com,1\n")
    world.create("email,firstName\na@x.com,2\n")
    world.wait()
    [collision] = world.engine.holdings.people.collisions
    assert (collision.kind, collision.batches, len(world.people())) == ("race", (1002, 1003), 1)


def test_duplicates_can_be_switched_off():
    world = World(concurrent_duplicates=False)
    world.create("email,firstName\na@x.com,1\n")
    world.create("email,firstName\na@x.com,2\n")
    world.wait()
    assert [one["firstName"] for one in world.people()] == ["2"]


def test_a_static_list_takes_one_import_at_a_time():
    world = World()
    world.create("email\na@x.com\n", Leads(list_id=1001))
    world.create("email\nb@x.com\n", Leads(list_id=1002))
    with pytest.raises(Refused) as caught:
        world.create("email\nc@x.com\n", Leads(list_id=1001))
    assert caught.value.code == "1019"
    world.wait()
    world.done("email\nc@x.com\na@x.com\n", Leads(list_id=1001))
    assert {number: list(members) for number, members in world.engine.holdings.lists.items()} == {
        1001: [1, 3],
        1002: [2],
    }


def test_partitions_keep_people_apart():
    world = World()
    world.done("email\na@x.com\n")
    world.done("email,city\na@x.com,Rome\n", Leads(partition="Europe"))
    world.done("email,city\na@x.com,Oslo\n", Leads(partition="Europe"))
    assert [(one["partition"], one["values"].get("city")) for one in world.read("leads")] == [
        ("Default", None),
        ("Europe", "Oslo"),
    ]


def test_updating_by_id_makes_nobody():
    world = World()
    world.done("email,firstName\na@x.com,A\nb@x.com,B\n")
    batch = world.done(
        "id,email,firstName\n2,new@x.com,New\n3,BAD,C\nx,,D\n,,E\n1,,NULL\n0,,F\n", Leads(lookup_field="id")
    )
    assert world.counts(batch) == (2, 4, 0)
    assert world.people() == [{"email": "a@x.com", "firstName": ""}, {"email": "new@x.com", "firstName": "New"}]
    file = world.engine.result_file(batch, ResultKind.FAILURES)
    assert file is not None
    assert "3,BAD,C,Lead not found\n" in file
    assert "0,,F,Lead not found\n" in file
    world.done("email,firstName\nnew@x.com,Found\n")  # the index of addresses knows of the change
    assert world.people()[1] == {"email": "new@x.com", "firstName": "Found"}


def test_other_lookup_fields_find_people_that_came_in_by_email():
    world = World()
    world.done("email,customerId\na@x.com,007\nb@x.com,8\n")
    world.done("customerId,firstName\n7,Seven\n9,Nine\n", Leads(lookup_field="customerId"))
    assert [(one.get("email"), one["customerId"], one.get("firstName")) for one in world.people()] == [
        ("a@x.com", "7", "Seven"),
        ("b@x.com", "8", None),
        (None, "9", "Nine"),
    ]
    world.done("email,firstName\nb@x.com,Bob\n")
    assert len(world.people()) == 3


@pytest.mark.parametrize("form", list(Format))
def test_all_formats(form):
    world = World()
    line = form.delimiter.join
    text = f"{line(['email', 'firstName'])}\n{line(['a@x.com', chr(34) + 'x' + form.delimiter + chr(34)])}\n{line(['', 'B'])}\n"
    batch = world.done(text, form=form)
    assert world.people() == [{"email": "a@x.com", "firstName": "x" + form.delimiter}]
    expected = [line(["email", "firstName", "Import Failure Reason"])]
    expected.append(line(["", "B", "Value for lookup field 'email' not found"]))
    assert world.engine.result_file(batch, ResultKind.FAILURES) == "\n".join(expected) + "\n"


def test_a_batch_may_fail_as_a_whole_or_after_a_part():
    world = World()
    text = "email\n" + "".join(f"{n}@x.com\n" for n in range(10))
    batch = world.done(text, course=Course(failure=Failure(message="boom", applied=0.3)))
    assert (batch.status, world.counts(batch), len(world.people())) == (BatchStatus.FAILED, (3, 0, 0), 3)
    at_once = world.create(text, course=Course(failure=Failure(message="boom"), failed_at_once=True))
    assert (at_once.status, world.engine.queue.unfinished) == (BatchStatus.FAILED, 0)
    assert world.engine.result_file(batch, ResultKind.FAILURES) is None


def test_strangers_take_slots_and_leave_nothing():
    world = World()
    assert world.engine.occupy(4, 5_000, world.now_ms) == [1001, 1002, 1003, 1004]
    batch = world.create("email\na@x.com\n")
    world.wait(10_000)
    assert (batch.id, batch.status, world.engine.queue.unfinished) == (1005, BatchStatus.IMPORTING, 1)
    assert len(world.engine.occupy(99, 5_000, world.now_ms)) == 9
    world.wait()
    assert len(world.people()) == 1
    assert world.engine.counts(world.engine.batch(Leads, 1001, world.now_ms), world.now_ms).processed == 1_000


def test_batches_are_forgotten_after_seven_days():
    world = World()
    batch = world.done("email\na@x.com\n")
    world.wait(7 * 24 * HOUR_MS - HOUR_MS)
    assert world.engine.batch(Leads, batch.id, world.now_ms) is batch
    world.wait(2 * HOUR_MS)
    with pytest.raises(Refused) as caught:
        world.engine.batch(Leads, batch.id, world.now_ms)
    assert caught.value.code == "1013"


def test_the_same_seed_gives_the_same_times():
    def times(seed: int) -> list[tuple[int, int | None]]:
        world = World(seed=seed, jitter=0.5, start_delay_ms_min=0, start_delay_ms_max=9_000)
        batches = [world.create("email\n" + f"{n}@x.com\n" * 5_000) for n in range(5)]
        world.wait()
        return [(batch.eligible_ms, batch.ended_ms) for batch in batches]

    assert times(1) == times(1) != times(2)
