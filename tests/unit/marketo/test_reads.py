from __future__ import annotations

import json

import pytest

from orchestrator.errors import AccessDenied, InvalidRequest, MalformedResponse
from orchestrator.marketo import reads
from orchestrator.marketo.reads import Channel, Field, ObjectType, Program, Relationship, StaticList

JSON = "application/json;charset=UTF-8"


def ok(*result, **more):
    return json.dumps({"requestId": "d01f#15d672f8560", "success": True, "result": list(result), **more}).encode()


def no(code, message=""):
    errors = [{"code": code, "message": message}]
    return json.dumps({"requestId": "e42b#14272d07d78", "success": False, "errors": errors}).encode()


NO_ASSETS = (
    b'{"success":true,"errors":[],"requestId":"a1#15d672f8560",'
    b'"warnings":["No assets found for the given search criteria."]}'
)


# --- fields and types --------------------------------------------------------------------------------


def test_the_fields_of_leads():
    body = (
        b'{"requestId":"x#1","success":true,"result":[{"name":"API Lead","searchableFields":[["email"],["id"]],"fields":'
        b'[{"name":"email","displayName":"Email Address","dataType":"email","length":255,"updateable":true,'
        b'"crmManaged":false},{"name":"id","displayName":"Id","dataType":"integer","updateable":false,'
        b'"crmManaged":false}]}]}'
    )
    schema = reads.parse_describe_leads(200, JSON, body)
    assert schema == reads.Schema(
        name="API Lead",
        fields=(
            Field(name="email", display_name="Email Address", data_type="email", length=255, updateable=True),
            Field(name="id", display_name="Id", data_type="integer", length=None, updateable=False),
        ),
        dedupe_fields=(),
        searchable_fields=(("email",), ("id",)),
    )


def test_the_fields_of_a_custom_object():
    body = (
        b'{"requestId":"46ff#15a686e66de","success":true,"result":[{"name":"car_c","displayName":"Car","idField":'
        b'"marketoGUID","dedupeFields":["vin"],"searchableFields":[["vin"],["marketoGUID"]],"relationships":[{"field":'
        b'"siebelId","type":"parent","relatedTo":{"name":"Lead","field":"siebelId"}}],"fields":[{"name":"vin",'
        b'"displayName":"VIN","dataType":"string","length":255,"updateable":true},{"name":"createdAt","dataType":'
        b'"datetime","displayName":"Created At","updateable":false}]}]}'
    )
    schema = reads.parse_describe_custom_object(200, JSON, body)
    assert (schema.name, schema.dedupe_fields) == ("car_c", ("vin",))
    assert [each.name for each in schema.fields] == ["vin", "createdAt"]
    assert (
        reads.parse_describe_custom_object(200, JSON, body.replace(b'"name":"car_c"', b'"apiName":"car_c"')) == schema
    )


def test_the_fields_of_members():
    field = {"name": "registrationCode", "dataType": "string", "length": 100, "updateable": True}
    result = {"name": "API Program Membership", "dedupeFields": ["leadId", "programId"], "fields": [field, {}, 7]}
    schema = reads.parse_describe_members(200, JSON, ok(result))
    assert schema.dedupe_fields == ("leadId", "programId")
    assert [(each.name, each.display_name) for each in schema.fields] == [("registrationCode", "registrationCode")]


@pytest.mark.parametrize("body", [ok(), ok({"name": "x"}), ok({"fields": []}), ok({"fields": "all"}), b"{}"])
def test_a_description_without_fields_is_none(body):
    with pytest.raises(MalformedResponse):
        reads.parse_describe_leads(200, JSON, body)


def test_members_are_people_too():
    def field(name, updateable):
        return reads.Field(name=name, display_name=name, data_type="string", length=None, updateable=updateable)

    leads = reads.Schema(name="Lead", fields=(field("email", True), field("id", False)), dedupe_fields=())
    members = reads.Schema(
        name="Membership",
        fields=(field("email", False), field("code", True), field("id", True)),
        dedupe_fields=("leadId", "programId"),
    )
    merged = reads.member_schema(members, leads)
    assert {each.name: each.updateable for each in merged.fields} == {"email": True, "code": True, "id": True}
    assert merged.dedupe_fields == ("email",)


@pytest.mark.parametrize("end", ["relatedTo", "object"])
def test_a_custom_object_says_how_it_is_linked(end):
    link = {"field": "siebelId", "type": "parent", end: {"name": "Lead", "field": "siebelId"}}
    odd = [{"field": "x"}, {"field": 7, end: {}}, {end: {"name": "Lead"}}, None, {"field": "x", end: "Lead"}]
    body = ok({"name": "car_c", "fields": [{"name": "vin"}], "relationships": [*odd, link]})
    linked = Relationship(field="siebelId", related="Lead", related_field="siebelId")
    assert reads.parse_describe_custom_object(200, JSON, body).relationships == (linked,)


def test_the_custom_objects_there_are():
    body = ok(
        {"name": "car_c", "displayName": "Car", "dedupeFields": ["vin"], "relationships": []},
        {"apiName": "boat_c", "dedupeFields": ["hull", "year"]},
        {"displayName": "nameless"},
    )
    assert reads.parse_custom_objects(200, JSON, body) == (
        ObjectType(name="car_c", display_name="Car", dedupe_fields=("vin",), relationships=()),
        ObjectType(name="boat_c", display_name="boat_c", dedupe_fields=("hull", "year"), relationships=()),
    )
    assert reads.parse_custom_objects(200, JSON, ok()) == ()


# --- lists, partitions, programs ---------------------------------------------------------------------


def test_a_static_list():
    body = ok({"id": 1001, "name": "Newsletter", "programName": "News", "workspaceName": "Default"})
    assert reads.parse_static_list(200, JSON, body, list_id=1001) == StaticList(id=1001, name="Newsletter")
    assert reads.parse_static_list(200, JSON, ok(), list_id=1001) is None


@pytest.mark.parametrize("item", [{"id": 1002, "name": "x"}, {"name": "x"}, {"id": True}, {"id": None}])
def test_an_answer_about_something_else_says_nothing_about_what_was_asked(item):
    with pytest.raises(MalformedResponse, match="static list 1001"):
        reads.parse_static_list(200, JSON, ok(item), list_id=1001)
    with pytest.raises(MalformedResponse, match="program 1001"):
        reads.parse_program(200, JSON, ok(item), program_id=1001)


def test_partitions():
    body = ok({"id": 1, "name": "Default", "description": ""}, {"id": 2, "name": "Europe "}, {"id": 3}, {"name": ""})
    assert reads.parse_partitions(200, JSON, body) == ("Default", "Europe ")


def test_a_program():
    body = ok({"id": 1107, "name": "Launch", "type": "Event", "channel": "Trade Show", "status": ""}, warnings=[])
    assert reads.parse_program(200, JSON, body, program_id=1107) == Program(
        id=1107, name="Launch", channel="Trade Show"
    )
    assert reads.parse_program(200, JSON, ok({"id": "1107", "name": "Launch"}), program_id=1107) == Program(
        id=1107, name="Launch", channel=""
    )
    assert reads.parse_program(200, JSON, NO_ASSETS, program_id=1107) is None


def test_channels_and_their_statuses():
    steps = [
        {"name": "Not in Program", "step": 0, "description": None, "hidden": False, "success": False},
        {"name": "Visited Booth", "step": 20, "description": None, "hidden": True, "success": True},
        {"step": 30},
        "Influenced",
    ]
    body = ok({"id": 3, "name": "Blog", "progressionStatuses": steps}, {"id": 4, "name": "Empty"}, {"id": 5})
    assert reads.parse_channels(200, JSON, body) == (
        Channel(name="Blog", statuses=("Not in Program", "Visited Booth")),
        Channel(name="Empty", statuses=()),
    )
    assert reads.parse_channels(200, JSON, NO_ASSETS) == ()


@pytest.mark.parametrize(
    "parse",
    [
        reads.parse_custom_objects,
        reads.parse_partitions,
        reads.parse_channels,
        lambda *answer: reads.parse_static_list(*answer, list_id=1),
        lambda *answer: reads.parse_program(*answer, program_id=1),
    ],
)
def test_a_refusal_is_no_answer(parse):
    with pytest.raises(AccessDenied) as error:
        parse(200, JSON, no("603", "Access denied"))
    assert error.value.code == "603"
    with pytest.raises(InvalidRequest):
        parse(200, JSON, no("1013", "Object not found"))
    with pytest.raises(MalformedResponse):
        parse(200, "text/html", b"<html>")


# --- usage -------------------------------------------------------------------------------------------


def test_the_usage_of_a_day():
    body = (
        b'{"requestId":"5f7f#17d7d8f2b6f","success":true,"result":[{"date":"2015-10-17","total":1120,"users":[{"userId":'
        b'"some.body@yahoo.com","count":200}]}]}'
    )
    usage = reads.parse_usage(200, JSON, body)
    assert usage == reads.Usage(date="2015-10-17", total=1120, users=(("some.body@yahoo.com", 200),))
    assert reads.parse_usage(200, JSON, ok()).total == 0
    with pytest.raises(MalformedResponse):
        reads.parse_usage(200, JSON, ok({"date": "2015-10-17"}))
