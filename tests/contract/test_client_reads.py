"""What a subscription tells of itself: the client against the emulator over real sockets."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from orchestrator.emulator.config import ChannelSpec, ProgramSpec
from orchestrator.errors import AccessDenied
from orchestrator.marketo import client as client_module
from orchestrator.marketo.reads import Channel, ObjectType, Program, Relationship, StaticList
from orchestrator.model import CustomObjects, ProgramMembers
from tests.contract.test_client import World, world

EVENT = Channel(name="Event", statuses=("Not in Program", "Invited", "Attended"))
OWNER = Relationship(field="owner", related="Lead", related_field="email")


def asked(question, **settings: Any):
    """Return what a client answers in a world, and the calls it took."""

    async def ask():
        async with world(**settings) as scenery:
            await scenery.client.authenticate()
            scenery.calls.clear()
            return await question(scenery), tuple(scenery.calls)

    return asyncio.run(ask())


def test_custom_objects_are_listed_with_their_keys_and_links():
    async def question(world: World):
        return await world.client.custom_objects()

    assert asked(question) == (
        (
            ObjectType(name="car_c", display_name="Car", dedupe_fields=("vin",), relationships=(OWNER,)),
            ObjectType(name="seat_c", display_name="seat_c", dedupe_fields=("flight", "number"), relationships=()),
        ),
        ("describe",),
    )


def test_a_custom_object_is_described_with_its_key_and_its_link():
    async def question(world: World):
        return await world.client.describe(CustomObjects(api_name="car_c"))

    schema, calls = asked(question)
    fields = {field.name: field for field in schema.fields}
    assert (schema.dedupe_fields, schema.relationships, calls) == (("vin",), (OWNER,), ("describe",))
    assert (fields["vin"].updateable, fields["doors"].data_type) == (False, "integer")


def test_members_have_the_fields_of_people_and_their_own():
    async def question(world: World):
        return await world.client.describe(ProgramMembers(program_id=1044, member_status="Invited"))

    schema, calls = asked(question)
    updateable = {field.name: field.updateable for field in schema.fields}
    assert calls == ("describe", "describe")
    assert schema.dedupe_fields == ("email",)
    assert {name: updateable[name] for name in ("firstName", "customerId", "registrationCode", "statusName", "id")} == {
        "firstName": True,  # of all people
        "customerId": True,  # of this subscription's people
        "registrationCode": True,  # of its members
        "statusName": False,
        "id": False,
    }


def test_what_is_asked_for_by_its_id_is_there_or_not():
    async def question(world: World):
        client = world.client
        lists = [await client.static_list(list_id) for list_id in (1001, 9)]
        return lists, [await client.program(program_id) for program_id in (1044, 9)]

    lists = [StaticList(id=1001, name="Newsletter"), None]
    programs = [Program(id=1044, name="Launch", channel="Event"), None]
    assert asked(question) == ((lists, programs), ("describe",) * 4)


def test_partitions_have_names():
    async def question(world: World):
        return await world.client.partitions()

    assert asked(question) == (("Default", "Europe"), ("describe",))


# --- channels ----------------------------------------------------------------------------------------


def channels(count: int) -> dict[str, Any]:
    specs = tuple(ChannelSpec(id=number, name=f"Channel {number}", statuses=("On",)) for number in range(1, count + 1))
    programs = (ProgramSpec(id=1, name="Only", channel="Channel 1"),)
    return {"channels": specs, "programs": programs, "calls_per_window": 1000}


@pytest.mark.parametrize(
    ("count", "until", "found", "calls"),
    [
        (5, None, 5, 2),  # the second page is empty
        (5, "Channel 5", 5, 1),
        (450, "Channel 1", 200, 1),
        (450, "Channel 201", 400, 2),
        (450, "Channel 450", 450, 3),
        (450, "no such channel", 450, 3),
        (700, "Channel 700", 600, 3),  # of very many, the first ones
    ],
)
def test_channels_are_read_no_further_than_needed(count, until, found, calls):
    async def question(world: World):
        return await world.client.channels(until)

    answer, made = asked(question, **channels(count))
    assert [channel.name for channel in answer] == [f"Channel {number}" for number in range(1, found + 1)]
    assert made == ("describe",) * calls


def test_short_pages_are_not_taken_for_the_last(monkeypatch):
    monkeypatch.setattr("orchestrator.emulator.assets.CHANNELS_PAGE_MAX", 2)

    async def question(world: World):
        return await world.client.channels("Channel 5")

    answer, calls = asked(question, **channels(5))
    assert (answer[-1], len(answer)) == (Channel(name="Channel 5", statuses=("On",)), 5)
    assert len(calls) == client_module.CHANNEL_PAGES_MAX


def test_a_channel_has_its_statuses_in_their_order():
    async def question(world: World):
        return await world.client.channels("Event")

    assert asked(question) == ((EVENT,), ("describe",))


# --- rights ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("permissions", "denied"),
    [
        (("read-write lead",), {"custom_objects", "program", "channels"}),
        (("read-write lead", "read-write custom object"), {"program", "channels"}),
        (("read-only assets",), {"custom_objects", "static_list", "partitions"}),
    ],
)
def test_what_the_api_user_may_not_read_is_denied(permissions, denied):
    async def question(world: World):
        client = world.client
        questions = {
            "custom_objects": client.custom_objects,
            "static_list": lambda: client.static_list(9),
            "partitions": client.partitions,
            "program": lambda: client.program(9),
            "channels": client.channels,
        }
        refused = set()
        for name, ask in questions.items():
            try:
                await ask()
            except AccessDenied as error:
                assert (error.code, error.subscription) == ("603", "default")  # noqa: PT017 - the others are no errors
                refused.add(name)
        await client.usage()  # needs no right at all
        return refused

    assert asked(question, permissions=permissions)[0] == denied
