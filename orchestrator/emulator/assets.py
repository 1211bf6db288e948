"""What can be read beside imports: fields, types, programs, lists, usage, and records by their fields."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from orchestrator.emulator.catalog import is_lookup_field, lead_fields, member_fields, object_fields
from orchestrator.emulator.config import ClientSpec, FieldSpec, ObjectSpec, ProgramSpec
from orchestrator.emulator.engine import Engine
from orchestrator.emulator.fields import length_max
from orchestrator.emulator.limits import DAYS_KEPT
from orchestrator.emulator.refusals import refusal

FILTER_VALUES_MAX = 300  # in one call that reads records
PAGE_MAX = 300
CHANNELS_PAGE = 20  # unless the caller asks for another size
CHANNELS_PAGE_MAX = 200
PAGE_DIGITS_MAX = 9
_BORN = "2026-01-01T00:00:00Z"  # of everything the configuration declares
_BORN_ASSET = "2026-01-01T00:00:00Z+0000"  # assets write it like this

T = TypeVar("T")
Result = tuple[list[dict[str, Any]], dict[str, Any]]
Reader = Callable[[Engine, Mapping[str, str], Mapping[str, str], int], Result]


def read(
    engine: Engine, client: ClientSpec, does: str, names: Mapping[str, str], query: Mapping[str, str], now_ms: int
) -> Result:
    """Return the result of a call that only reads, and what stands in its envelope besides."""
    reader, needs_assets = _READERS[does]
    if needs_assets:
        engine.require(client, "read-only assets")
    elif does in ("describe_object", "objects", "object_records"):
        engine.require(client, "read-write custom object")
    elif does not in _FREE:
        engine.require(client, "read-write lead")
    return reader(engine, names, query, now_ms)


# --- fields and types ---------------------------------------------------------------------------------


def _described(spec: FieldSpec, **more: object) -> dict[str, Any]:
    told: dict[str, Any] = {"name": spec.name, "displayName": spec.label, "dataType": spec.data_type}
    length = length_max(spec)
    if length is not None:
        told["length"] = length
    return {**told, "updateable": spec.updateable, **more}


def _describe_leads(engine: Engine, names: Mapping[str, str], query: Mapping[str, str], now_ms: int) -> Result:
    fields = lead_fields(engine.config).all
    searchable = [[spec.name] for spec in fields if is_lookup_field(engine.config, spec)]
    told = [_described(spec, crmManaged=False) for spec in fields]
    return [{"name": "API Lead", "searchableFields": searchable, "fields": told}], {}


def _describe_leads_old(engine: Engine, names: Mapping[str, str], query: Mapping[str, str], now_ms: int) -> Result:
    told = []
    for number, spec in enumerate(lead_fields(engine.config).all, 1):
        one = _described(spec)
        del one["name"], one["updateable"]
        soap = spec.name[:1].upper() + spec.name[1:]
        kinds = {
            "rest": {"name": spec.name, "readOnly": not spec.updateable},
            "soap": {"name": soap, "readOnly": not spec.updateable},
        }
        told.append({"id": number, **one, **kinds})
    return told, {}


def _lead_schema(engine: Engine, names: Mapping[str, str], query: Mapping[str, str], now_ms: int) -> Result:
    custom = {spec.name for spec in engine.config.lead_fields}
    told = [
        _described(spec, isHidden=False, isHtmlEncodingInEmail=True, isSensitive=False, isCustom=spec.name in custom)
        for spec in lead_fields(engine.config).all
    ]
    return _page(told, query)


def _object_head(spec: ObjectSpec) -> dict[str, Any]:
    relationships = []
    if spec.link is not None:
        related = {"name": "Lead", "field": spec.link.lead_field}
        relationships.append({"field": spec.link.field, "type": "parent", "relatedTo": related})
    return {
        "name": spec.name,
        "displayName": spec.display_name or spec.name,
        "description": spec.description,
        "createdAt": _BORN,
        "updatedAt": _BORN,
        "idField": "marketoGUID",
        "dedupeFields": list(spec.dedupe_fields),
        "searchableFields": [list(spec.dedupe_fields), ["marketoGUID"]],
        "relationships": relationships,
    }


def _describe_object(engine: Engine, names: Mapping[str, str], query: Mapping[str, str], now_ms: int) -> Result:
    spec = engine.object_spec(names["api_name"])
    fields = [_described(one) for one in object_fields(engine.config, spec).all]
    return [{**_object_head(spec), "fields": fields}], {}


def _objects(engine: Engine, names: Mapping[str, str], query: Mapping[str, str], now_ms: int) -> Result:
    wanted = query["names"].split(",") if query.get("names") else None
    specs = engine.config.custom_objects
    return [_object_head(spec) for spec in specs if wanted is None or spec.name in wanted], {}


def _describe_members(engine: Engine, names: Mapping[str, str], query: Mapping[str, str], now_ms: int) -> Result:
    told = {
        "name": "API Program Membership",
        "description": "Members of programs",
        "createdAt": _BORN,
        "updatedAt": _BORN,
        "dedupeFields": ["leadId", "programId"],
        "searchableFields": [["leadId"], ["statusName"]],
        "fields": [_described(spec, crmManaged=False) for spec in member_fields(engine.config).all],
    }
    return [told], {}


# --- usage --------------------------------------------------------------------------------------------


def _usage_days(days: Mapping[str, Counter[str]]) -> list[dict[str, Any]]:
    return [
        {
            "date": day,
            "total": users.total(),
            "users": [{"userId": user, "count": count} for user, count in users.most_common()],
        }
        for day, users in reversed(list(days.items()))
    ]


def _error_days(days: Mapping[str, Counter[str]]) -> list[dict[str, Any]]:
    return [
        {
            "date": day,
            "total": codes.total(),
            "errors": [{"errorCode": code, "count": count} for code, count in codes.most_common()],
        }
        for day, codes in reversed(list(days.items()))
    ]


def _usage(engine: Engine, names: Mapping[str, str], query: Mapping[str, str], now_ms: int) -> Result:
    return _usage_days(engine.limits.usage(now_ms))[:1], {}


def _usage_week(engine: Engine, names: Mapping[str, str], query: Mapping[str, str], now_ms: int) -> Result:
    return _usage_days(engine.limits.usage(now_ms))[:DAYS_KEPT], {}


def _errors(engine: Engine, names: Mapping[str, str], query: Mapping[str, str], now_ms: int) -> Result:
    return _error_days(engine.limits.errors(now_ms))[:1], {}


def _errors_week(engine: Engine, names: Mapping[str, str], query: Mapping[str, str], now_ms: int) -> Result:
    return _error_days(engine.limits.errors(now_ms))[:DAYS_KEPT], {}


# --- lists, partitions, programs ------------------------------------------------------------------------


def _partitions(engine: Engine, names: Mapping[str, str], query: Mapping[str, str], now_ms: int) -> Result:
    told = enumerate(engine.config.partitions, 1)
    return [{"id": number, "name": name, "description": ""} for number, name in told], {}


def _list_told(list_id: int, name: str) -> dict[str, Any]:
    return {"id": list_id, "name": name, "workspaceName": "Default", "createdAt": _BORN, "updatedAt": _BORN}


def _lists(engine: Engine, names: Mapping[str, str], query: Mapping[str, str], now_ms: int) -> Result:
    wanted = query["name"].split(",") if query.get("name") else None
    lists = engine.config.lists
    return _page([_list_told(one.id, one.name) for one in lists if wanted is None or one.name in wanted], query)


def _list(engine: Engine, names: Mapping[str, str], query: Mapping[str, str], now_ms: int) -> Result:
    for one in engine.config.lists:
        if str(one.id) == names["list_id"]:
            return [_list_told(one.id, one.name)], {}
    raise refusal("1013")


def _list_leads(engine: Engine, names: Mapping[str, str], query: Mapping[str, str], now_ms: int) -> Result:
    [found], _ = _list(engine, names, query, now_ms)
    members, more = _page(list(engine.holdings.lists[found["id"]]), query)
    return [_person(engine, record, query) for record in members], more


def _program_told(program: ProgramSpec) -> dict[str, Any]:
    return {
        "id": program.id,
        "name": program.name,
        "description": "",
        "createdAt": _BORN_ASSET,
        "updatedAt": _BORN_ASSET,
        "type": "Default",
        "channel": program.channel,
        "status": "",
        "workspace": "Default",
    }


_ASSET_EXTRAS: dict[str, Any] = {"errors": [], "warnings": []}


def _program(engine: Engine, names: Mapping[str, str], query: Mapping[str, str], now_ms: int) -> Result:
    found = [one for one in engine.config.programs if str(one.id) == names["program_id"]]
    return _assets([_program_told(one) for one in found])


def _program_by_name(engine: Engine, names: Mapping[str, str], query: Mapping[str, str], now_ms: int) -> Result:
    found = [one for one in engine.config.programs if one.name == query.get("name")]
    return _assets([_program_told(one) for one in found])


def _channels(engine: Engine, names: Mapping[str, str], query: Mapping[str, str], now_ms: int) -> Result:
    offset = _number(query, "offset", 0)
    size = min(_number(query, "maxReturn", CHANNELS_PAGE), CHANNELS_PAGE_MAX)
    told = []
    for channel in engine.config.channels[offset : offset + size]:
        statuses = [
            {"name": name, "step": step * 10, "description": None, "hidden": False, "success": False}
            for step, name in enumerate(channel.statuses)
        ]
        told.append(
            {
                "id": channel.id,
                "name": channel.name,
                "description": "",
                "applicableProgramType": "program",
                "progressionStatuses": statuses,
            }
        )
    return _assets(told)


def _assets(found: list[dict[str, Any]]) -> Result:
    """Return assets; none at all is a success without a result and with a word of warning."""
    if found:
        return found, _ASSET_EXTRAS
    return [], {"errors": [], "warnings": ["No assets found for the given search criteria."]}


# --- records ------------------------------------------------------------------------------------------


def _person(engine: Engine, record: int, query: Mapping[str, str]) -> dict[str, Any]:
    people = engine.holdings.people
    about, values = people.about(record), people.values(record)
    whole: dict[str, Any] = {
        **values,
        "id": record,
        "createdAt": _instant(about["made_ms"]),
        "updatedAt": _instant(about["changed_ms"]),
    }
    fields = query.get("fields") or "id,email,updatedAt,createdAt,lastName,firstName"
    return {name: whole.get(name) or None for name in dict.fromkeys(["id", *fields.split(",")])}


def _leads(engine: Engine, names: Mapping[str, str], query: Mapping[str, str], now_ms: int) -> Result:
    field, values = _filter(query)
    spec = lead_fields(engine.config).get(field)
    if spec is None or not is_lookup_field(engine.config, spec):
        raise refusal("1003")
    people = engine.holdings.people
    if field == "id":
        found = [int(value) for value in values if value.isdecimal() and 1 <= int(value) <= len(people)]
    else:
        found = [record for value in values for record in engine.holdings.find_people(field, value)]
    records, more = _page(sorted(dict.fromkeys(found)), query)
    return [_person(engine, record, query) for record in records], more


def _object_records(engine: Engine, names: Mapping[str, str], query: Mapping[str, str], now_ms: int) -> Result:
    spec = engine.object_spec(names["api_name"])
    field, values = _filter(query)
    if field not in spec.dedupe_fields:
        raise refusal("1003")
    store = engine.holdings.objects[spec.name]
    wanted = query["fields"].split(",") if query.get("fields") else list(spec.dedupe_fields)
    told: list[dict[str, Any]] = []
    for record in store:
        cells = store.values(record)
        if cells.get(field) in values:
            about = store.about(record)
            cells = {**cells, "createdAt": _instant(about["made_ms"]), "updatedAt": _instant(about["changed_ms"])}
            told.append({"seq": len(told), **{name: cells.get(name) or None for name in wanted}})
    return _page(told, query)


def _filter(query: Mapping[str, str]) -> tuple[str, list[str]]:
    """Return which field is to have one of which values; refuses a call that does not say (1002, 1003)."""
    for name in ("filterType", "filterValues"):
        if not query.get(name):
            raise refusal("1002", name)
    values = query["filterValues"].split(",")
    if len(values) > FILTER_VALUES_MAX:
        raise refusal("1003")
    return query["filterType"], values


def _page(everything: list[T], query: Mapping[str, str]) -> tuple[list[T], dict[str, Any]]:
    """Return one page, and the token of the next one if there is one."""
    size = max(1, min(_number(query, "batchSize", PAGE_MAX), PAGE_MAX))
    start = _number(query, "nextPageToken", 0)
    more: dict[str, Any] = {"moreResult": start + size < len(everything)}
    if more["moreResult"]:
        more["nextPageToken"] = str(start + size)
    return everything[start : start + size], more


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= PAGE_DIGITS_MAX):
        raise refusal("1001", text, "integer")
    return int(text)


def _instant(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# what a call does -> how, and whether it needs the right to read assets
_READERS: dict[str, tuple[Reader, bool]] = {
    "describe_leads": (_describe_leads, False),
    "describe_leads_old": (_describe_leads_old, False),
    "lead_schema": (_lead_schema, False),
    "describe_object": (_describe_object, False),
    "objects": (_objects, False),
    "describe_members": (_describe_members, False),
    "usage": (_usage, False),
    "usage_week": (_usage_week, False),
    "errors": (_errors, False),
    "errors_week": (_errors_week, False),
    "partitions": (_partitions, False),
    "lists": (_lists, False),
    "list": (_list, False),
    "list_leads": (_list_leads, False),
    "leads": (_leads, False),
    "object_records": (_object_records, False),
    "program": (_program, True),
    "program_by_name": (_program_by_name, True),
    "channels": (_channels, True),
}
_FREE = ("usage", "usage_week", "errors", "errors_week")  # no right is needed
