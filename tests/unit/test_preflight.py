"""What is refused before anything is sent, asked of an emulated subscription over real sockets."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from orchestrator.directories import prepare_state_dir
from orchestrator.emulator.config import ChannelSpec, ProgramSpec
from orchestrator.errors import AccessDenied, ConfigError, HeaderError, InvalidRequest, SourceError, Unavailable
from orchestrator.marketo.reads import LOOKUP_FIELDS, OTHER_STANDARD_FIELDS, Field, Relationship, Schema
from orchestrator.model import CustomObjects, FileIdentity, Format, JobOptions, Leads, ProgramMembers, Source, Target
from orchestrator.preflight import HEADERS_SHOWN_MAX, Known, check_headers, locate, look_up, unasked
from orchestrator.source.split import Plan
from tests.contract.test_client import world

CAR, SEAT = CustomObjects(api_name="car_c"), CustomObjects(api_name="seat_c")
MEMBER = ProgramMembers(program_id=1044, member_status="Invited")
CALLS_MAX = 5
LOOKUP_CHOICE = (
    "choose email, id, cookies, twitterId, facebookId, linkedInId, sfdcAccountId, sfdcContactId, sfdcLeadId, "
    "sfdcLeadOwnerId, sfdcOpptyId, or a custom field of type string, email or integer."
)


def known(target: Target, *, check: bool = True, **settings: Any) -> tuple[Known, int]:
    """Return what is known of a target in a world, and the number of calls it took."""

    async def ask() -> tuple[Known, int]:
        async with world(**settings) as scenery:
            found = await look_up(scenery.client, target, check=check)
            assert set(scenery.calls) <= {"token", "describe"}
            return found, scenery.calls.count("describe")

    return asyncio.run(ask())


# --- targets that are there --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "key_columns", "calls"),
    [
        (Leads(), ("email",), 1),
        (Leads(lookup_field="customerId"), ("customerId",), 1),
        (Leads(lookup_field="id"), ("id",), 1),
        (Leads(lookup_field="cookies", list_id=1001, partition="Europe"), ("cookies",), 3),
        (CAR, ("vin",), 1),
        (SEAT, ("flight", "number"), 1),
        (MEMBER, ("email",), 4),
    ],
)
def test_a_target_that_is_there(target, key_columns, calls):
    found, made = known(target)
    assert found.schema is not None
    assert (found.key_columns, found.skipped, made) == (key_columns, (), calls)
    assert made <= CALLS_MAX


@pytest.mark.parametrize(
    "target",
    [Leads(lookup_field="nonsense", list_id=9, partition="Asia"), ProgramMembers(program_id=9, member_status="Lost")],
)
def test_without_the_check_marketo_is_not_asked(target):
    found, calls = known(target, check=False)
    assert (found, calls) == (unasked(target), 0)
    assert found.schema is None
    assert found.key_columns == ("nonsense" if isinstance(target, Leads) else "email",)


def test_without_the_check_a_custom_objects_key_is_asked_for_all_the_same():
    assert known(SEAT, check=False) == (Known(schema=None, key_columns=("flight", "number")), 1)
    assert unasked(SEAT).key_columns == ()
    (why,) = unasked(SEAT).skipped
    assert "seat_c" in why


# --- targets that are not ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            Leads(lookup_field="emial"),
            f"Marketo has no lookup field 'emial'. Did you mean 'email'? Else {LOOKUP_CHOICE}",
        ),
        (
            Leads(lookup_field="CustomerID"),
            f"Marketo has no lookup field 'CustomerID'. Did you mean 'customerId'? Else {LOOKUP_CHOICE}",
        ),
        (Leads(lookup_field="shoeSize"), f"Marketo has no lookup field 'shoeSize'. Else {LOOKUP_CHOICE}"),
        (
            Leads(lookup_field="company"),
            f"Marketo's import finds nobody by its own field 'company'; {LOOKUP_CHOICE}",
        ),
        (
            Leads(lookup_field="dateOfBirth"),
            f"Marketo's import finds nobody by 'dateOfBirth', a field of type date; {LOOKUP_CHOICE}",
        ),
        (
            Leads(list_id=9),
            "Marketo has no static list 9, or this API user may not see it. The id is the number in the address of "
            "the list in Marketo, between ST and A1; rows cannot be added to smart lists (SL).",
        ),
        (
            Leads(partition="europe"),
            "Marketo has no partition 'europe'. Did you mean 'Europe'? There are: 'Default', 'Europe'; choose another "
            "one, or let the API user have it.",
        ),
        (
            CustomObjects(api_name="cars_c"),
            "Marketo has no custom object 'cars_c'. Did you mean 'car_c'? There are: 'car_c', 'seat_c'; an object can "
            "be imported into once it is approved, and its API name often ends in _c.",
        ),
        (
            ProgramMembers(program_id=9, member_status="Invited"),
            "Marketo has no program 9, or this API user may not see it. The id is the number in the address of the "
            "program in Marketo, between its letters (PG, ME, NP or EBP) and A1.",
        ),
        (
            ProgramMembers(program_id=1044, member_status="invited"),
            "Marketo has no status 'invited' in program 1044 (channel 'Event'). Did you mean 'Invited'? There are: "
            "'Not in Program', 'Invited', 'Attended'; choose one of them.",
        ),
        (
            ProgramMembers(program_id=1044, member_status="Lost"),
            "Marketo has no status 'Lost' in program 1044 (channel 'Event'). There are: 'Not in Program', 'Invited', "
            "'Attended'; choose one of them.",
        ),
    ],
)
def test_a_target_that_is_not_there(target, message):
    with pytest.raises(SourceError) as error:
        known(target)
    assert str(error.value) == message


def test_an_unknown_custom_object_is_refused_even_without_the_check():
    with pytest.raises(SourceError, match="There are: none that this API user may see;"):
        known(CAR, check=False, custom_objects=())


def test_an_object_that_is_there_and_cannot_be_described_is_no_unknown_object():
    with pytest.raises(InvalidRequest, match="703"):
        known(CAR, faults=({"on": "describe", "nth": 1, "do": "code", "code": "703"},))


def test_only_the_first_of_many_names_are_told():
    statuses = tuple(f"Step {number}" for number in range(30))
    with pytest.raises(SourceError) as error:
        known(
            ProgramMembers(program_id=1, member_status="Lost"),
            channels=(ChannelSpec(id=1, name="Long", statuses=statuses),),
            programs=(ProgramSpec(id=1, name="Long", channel="Long"),),
        )
    assert "'Step 19' and 10 more;" in str(error.value)
    assert "Step 20" not in str(error.value)


def test_standard_fields_are_lookup_fields_or_not():
    assert not OTHER_STANDARD_FIELDS & set(LOOKUP_FIELDS)


# --- checks that cannot be made ----------------------------------------------------------------------


def test_the_right_to_read_assets_is_not_needed_for_an_import():
    found, calls = known(
        ProgramMembers(program_id=9, member_status="Lost"), permissions=("read-write lead", "read-write custom object")
    )
    (why,) = found.skipped
    assert why.startswith("not checked whether program 9 has the status 'Lost': Marketo refused program 9: 603 ")
    assert why.endswith("The check needs the permission Read-Only Assets; the import does not.")
    assert (found.key_columns, calls) == (("email",), 3)
    assert found.schema is not None


@pytest.mark.parametrize("fault", [{"do": "code", "code": "603"}, {"do": "code", "code": "703"}, {"do": "no_json"}])
def test_each_check_is_skipped_by_itself(fault):
    found, calls = known(Leads(list_id=9, partition="Asia"), faults=({"on": "read", **fault},))
    assert [why.partition(":")[0] for why in found.skipped] == [
        "not checked whether there is a static list 9",
        "not checked whether there is a partition 'Asia'",
    ]
    assert calls == 3


def test_a_channel_behind_many_others_is_not_looked_for():
    specs = tuple(ChannelSpec(id=number, name=f"Channel {number}", statuses=("On",)) for number in range(1, 700))
    found, calls = known(
        ProgramMembers(program_id=1, member_status="Off"),
        channels=specs,
        programs=(ProgramSpec(id=1, name="Late", channel="Channel 650"),),
    )
    assert found.skipped == (
        "not checked whether program 1 has the status 'Off': the statuses of its channel 'Channel 650' cannot be found.",
    )
    assert calls == 6


def test_a_passing_fault_is_not_taken_for_a_denied_check():
    with pytest.raises(Unavailable):
        known(Leads(list_id=1001), faults=({"on": "read", "do": "code", "code": "608"},))


def test_who_may_not_describe_may_not_import():
    with pytest.raises(AccessDenied):
        known(Leads(), permissions=("read-only assets",))


# --- headers -----------------------------------------------------------------------------------------


def planned(path: str, *columns: str) -> Plan:
    source = Source(
        index=0,
        path=path,
        absolute=f"/data/{path}",
        content=f"/data/{path}",
        identity=FileIdentity(device=1, inode=1, size_bytes=1, mtime_ns=1),
        sha256="",
        encoding="utf-8",
        format=Format.CSV,
        header=",".join(columns).encode(),
        columns=columns,
        rows=1,
        blank_lines=0,
    )
    return Plan(source=source, spans=(), warnings=())


def schema(**updateable: bool) -> Schema:
    fields = tuple(
        Field(name=name, display_name=name, data_type="string", length=255, updateable=can)
        for name, can in updateable.items()
    )
    link = Relationship(field="owner", related="Lead", related_field="email")
    return Schema(name="car_c", fields=fields, dedupe_fields=("vin",), relationships=(link,))


CARS = Known(schema=schema(vin=False, color=True, owner=False, createdAt=False), key_columns=("vin",))


def checked(plans: list[Plan], known: Known = CARS) -> None:
    check_headers(plans, known, CustomObjects(api_name="car_c"), JobOptions())


def test_keys_and_links_are_written_whatever_describe_says():
    checked([planned("a.csv", "vin", "color", "owner"), planned("b.csv", "color", "vin")])
    with pytest.raises(HeaderError, match="'createdAt': this field cannot be written"):
        checked([planned("a.csv", "vin", "createdAt")])


def test_a_blank_in_a_header_is_found():
    with pytest.raises(HeaderError) as error:
        checked([planned("cars.csv", "color", " vin")])
    assert str(error.value) == (
        "cars.csv: the header cannot be imported as it is; nothing was sent.\n"
        "  - column 2, ' vin': there are blanks around the name; remove them\n"
        "  - there is no column 'vin', by which records are found again; add it"
    )


def test_every_source_has_a_header_of_its_own_and_all_wrong_ones_are_told():
    plans = [planned("a.csv", "vin", "colour"), planned("b.csv", "vin", "color"), planned("c.csv", "color")]
    with pytest.raises(HeaderError) as error:
        checked(plans)
    assert [line for line in str(error.value).split("\n") if not line.startswith("  ")] == [
        "a.csv: the header cannot be imported as it is; nothing was sent.",
        "c.csv: the header cannot be imported as it is; nothing was sent.",
    ]
    assert "did you mean 'color'?" in str(error.value)


def test_of_many_wrong_headers_only_the_first_are_told():
    plans = [planned(f"{number}.csv", "color") for number in range(HEADERS_SHOWN_MAX + 3)]
    with pytest.raises(HeaderError) as error:
        checked(plans)
    assert f"{HEADERS_SHOWN_MAX - 1}.csv" in str(error.value)
    assert f"{HEADERS_SHOWN_MAX}.csv" not in str(error.value)
    assert str(error.value).endswith("The headers of 3 more file(s) are wrong.")


def test_without_a_schema_every_header_will_do():
    checked([planned("a.csv", "nonsense", "nonsense", "")], Known(schema=None, key_columns=("vin",)))


# --- the files that patterns mean ----------------------------------------------------------------------


def test_patterns_stand_for_files_in_natural_order(tmp_path: Path):
    names = ["part-1.csv", "part-2.csv", "part-2b.csv", "part-10.csv", "parts.csv"]
    for name in reversed(names):
        (tmp_path / name).write_text("email\n")
    (tmp_path / "part-3.csv").mkdir()

    located = locate([f"{tmp_path}/parts.csv", f"{tmp_path}/part-*.csv"])

    assert [Path(each.given).name for each in located] == ["parts.csv", *names[:-1]]


def test_equal_numbers_stand_in_the_order_of_their_digits_whatever_the_directory_says(tmp_path: Path):
    names = [f"part-{'0' * zeros}1.csv" for zeros in reversed(range(9))]
    for name in (*names[1::2], *names[::2]):
        (tmp_path / name).write_text("email\n")

    assert [Path(each.given).name for each in locate([f"{tmp_path}/*.csv"])] == names


def test_a_pattern_that_matches_no_file_is_told_of(tmp_path: Path):
    (tmp_path / "part-1").mkdir()
    for pattern in ("part-*", "other-*"):
        with pytest.raises(SourceError, match="no file matches"):
            locate([f"{tmp_path}/{pattern}"])


def test_one_file_is_not_taken_twice_whatever_it_is_called(tmp_path: Path):
    (tmp_path / "a.csv").write_text("email\nada@x.com\n")
    (tmp_path / "b.csv").symlink_to("a.csv")
    (tmp_path / "c.csv").hardlink_to(tmp_path / "a.csv")
    (tmp_path / "d.csv").write_text("email\nada@x.com\n")
    for name in ("b.csv", "c.csv", f"../{tmp_path.name}/a.csv"):
        with pytest.raises(ConfigError, match=r"same file as .*/a\.csv; its rows would be imported twice"):
            locate([f"{tmp_path}/a.csv", f"{tmp_path}/{name}"])
    with pytest.raises(ConfigError, match="named more than once"):
        locate([f"{tmp_path}/a.csv", f"{tmp_path}/[a].csv"])
    assert len(locate([f"{tmp_path}/a.csv", f"{tmp_path}/d.csv"])) == 2


@pytest.mark.parametrize(
    ("inside", "mode", "becomes"),
    [
        ((), 0o755, 0o700),
        (("home", "journal.db"), 0o755, 0o700),
        (("letters.txt",), 0o755, 0o755),  # somebody keeps other things there
        (("home",), 0o1777, 0o1777),  # a shared place
    ],
)
def test_a_state_directory_that_others_may_look_into_is_closed_to_them(tmp_path, inside, mode, becomes):
    place = tmp_path / "state"
    place.mkdir()
    for name in inside:
        (place / name).touch()
    place.chmod(mode)
    prepare_state_dir(place)
    assert place.stat().st_mode & 0o7777 == becomes
