from __future__ import annotations

import pytest

from orchestrator.errors import Refused
from orchestrator.marketo.wire import ResultKind
from orchestrator.model import BatchStatus, CustomObjects, Format, Leads, ProgramMembers
from tests.unit.emulator.kit import World

CAR = CustomObjects(api_name="car_c")
SEAT = CustomObjects(api_name="seat_c")


def invited(program_id: int = 1044, status: str = "Invited") -> ProgramMembers:
    return ProgramMembers(program_id=program_id, member_status=status)


# --- custom objects ---


def test_records_are_found_by_their_dedupe_field():
    world = World()
    batch = world.done("vin,color,doors\nv1,red,4\nV1,blue,5\nv2,green,\n", CAR)
    assert world.counts(batch) == (3, 0, 0)
    world.done("vin,color\nv2,white\n", CAR)
    assert [one["values"] for one in world.read("car_c")] == [
        {"vin": "V1", "color": "blue", "doors": "5"},
        {"vin": "v2", "color": "white", "doors": ""},
    ]


def test_compound_keys_are_found_by_all_their_parts():
    world = World()
    text = "flight,number,guest\nLH1,1,Ann\nLH1,2,Bob\nlh1,02,Cid\nLH1,,Dan\n,3,Eve\n"
    batch = world.done(text, SEAT)
    assert world.counts(batch) == (3, 2, 0)
    assert [one["values"]["guest"] for one in world.read("seat_c")] == ["Ann", "Cid"]
    file = world.engine.result_file(batch, ResultKind.FAILURES)
    assert file == (
        "flight,number,guest,Import Failure Reason\nLH1,,Dan,missing.dedupe.fields\n,3,Eve,missing.dedupe.fields\n"
    )


def test_a_header_cell_with_a_space_fails_every_row_and_comes_back_as_it_was():
    world = World()
    text = "color,make,model, vin\nred,bmw,2002,W1\nblue,bmw,320,W2\n"
    batch = world.done(text, CAR)
    assert (batch.status, world.counts(batch), world.read("car_c")) == (BatchStatus.COMPLETE, (0, 2, 0), [])
    assert world.engine.result_file(batch, ResultKind.FAILURES) == (
        "color,make,model, vin,Import Failure Reason\n"
        "red,bmw,2002,W1,missing.dedupe.fields\nblue,bmw,320,W2,missing.dedupe.fields\n"
    )


def test_columns_that_no_type_knows_are_left_out_or_refused():
    world = World()
    world.done("note,vin,color,createdAt\nx,v1,red,now\n", CAR)
    assert [one["values"] for one in world.read("car_c")] == [{"vin": "v1", "color": "red"}]
    with pytest.raises(Refused) as caught:
        World(unknown_object_columns="reject").create("note,vin\nx,v1\n", CAR)
    assert (caught.value.code, str(caught.value)) == ("1006", "Field 'note' not found")


def test_objects_are_linked_to_the_person_that_changed_last():
    world = World()
    world.create("email\na@x.com\n")
    world.create("email\na@x.com\n")  # at the same time: a duplicate
    world.wait()
    world.done("email,city\na@x.com,Rome\n")
    world.done("vin,owner\nv1,A@x.com\nv2,nobody@x.com\nv3,\n", CAR)
    assert [one["lead_id"] for one in world.read("car_c")] == [2, None, None]


def test_objects_of_imports_at_the_same_time_are_duplicates():
    world = World()
    world.create("vin,color\nv1,red\n", CAR)
    world.create("vin,color\nV1,blue\n", CAR)
    world.create("flight,number\nv1,1\n", SEAT)
    world.wait()
    assert len(world.read("car_c")) == 2
    assert [one.key for one in world.engine.holdings.objects["car_c"].collisions] == ["v1"]
    assert world.engine.holdings.objects["seat_c"].collisions == []


def test_types_and_batches_of_other_types_are_not_found():
    world = World()
    with pytest.raises(Refused) as caught:
        world.create("vin\nv\n", CustomObjects(api_name="boat_c"))
    assert caught.value.code == "1013"
    batch = world.done("vin\nv\n", CAR)
    assert world.engine.batch(CustomObjects, batch.id, world.now_ms, api_name="car_c") is batch
    for kind, api_name in ((CustomObjects, "seat_c"), (Leads, None), (ProgramMembers, None)):
        with pytest.raises(Refused) as caught:
            world.engine.batch(kind, batch.id, world.now_ms, api_name=api_name)
        assert caught.value.code == "1013"


# --- members of programs ---


def members(world: World) -> list[tuple[str, str, str]]:
    return [
        (one["values"]["leadId"], one["values"]["programId"], one["values"]["statusName"])
        for one in world.read("members")
    ]


def test_members_are_people_with_a_status():
    world = World()
    world.done("email,firstName\na@x.com,Ann\n")
    text = "registrationCode;email;firstName\nR1;A@x.com;\nR2;b@x.com;Bob\n;;Nobody\n"
    batch = world.done(text, invited(), form=Format.SSV)
    assert world.counts(batch) == (2, 1, 0)
    assert [(one["email"], one["firstName"]) for one in world.people()] == [("A@x.com", "Ann"), ("b@x.com", "Bob")]
    assert members(world) == [("1", "1044", "Invited"), ("2", "1044", "Invited")]
    assert [one["values"]["registrationCode"] for one in world.read("members")] == ["R1", "R2"]
    file = world.engine.result_file(batch, ResultKind.FAILURES)
    assert file == (
        "registrationCode;email;firstName;Import Failure Reason\n;;Nobody;Value for lookup field 'email' not found\n"
    )


def test_members_go_forward_in_their_status_and_not_back():
    world = World()
    for status in ("Invited", "Attended", "Invited"):
        batch = world.done("email,registrationCode\na@x.com,R-" + status[0] + "\n", invited(status=status))
        assert world.counts(batch) == (1, 0, 0)
    assert members(world) == [("1", "1044", "Attended")]
    assert world.read("members")[0]["values"]["registrationCode"] == "R-I"


def test_two_programs_at_the_same_time_make_a_person_twice_but_only_new_ones():
    world = World()
    world.done("email\nold@x.com\n")
    world.create("email\nold@x.com\nnew@x.com\n", invited(1044))
    world.create("email\nold@x.com\nnew@x.com\n", invited(1045))
    world.wait()
    assert [one["email"] for one in world.people()] == ["old@x.com", "new@x.com", "new@x.com"]
    assert [(one.kind, one.key) for one in world.engine.holdings.people.collisions] == [
        ("race", "old@x.com"),
        ("duplicate", "new@x.com"),
    ]
    assert members(world) == [(person, program, "Invited") for person, program in [
        ("1", "1044"), ("2", "1044"), ("1", "1045"), ("3", "1045"),
    ]]  # fmt: skip


@pytest.mark.parametrize(
    ("target", "header", "code"),
    [
        (invited(7), "email", "1013"),
        (invited(status="Sleeping"), "email", "1025"),
        (invited(), "email,programId", "1006"),
        (invited(), "email,nonsense", "1006"),
        (invited(), "email,leadId", "1006"),
    ],
)
def test_what_is_refused_of_members(target, header, code):
    with pytest.raises(Refused) as caught:
        World().create(f"{header}\n{header}\n", target)
    assert caught.value.code == code


def test_types_of_both_kinds_of_fields_are_checked():
    world = World()
    text = f"email,leadScore,registrationCode\na@x.com,x,R\nb@x.com,1,{'R' * 101}\nbad,1,R\n"
    batch = world.done(text, invited())
    assert world.counts(batch) == (1, 2, 1)
