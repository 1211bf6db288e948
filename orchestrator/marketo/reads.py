"""What a subscription tells of itself beside its imports: addresses, values, and how its answers are read.

Pure, like ``wire`` and ``answers``; the emulator takes its addresses from here, too.  What is not said in an answer
is taken to be allowed: an import that is let through wrongly is judged again by Marketo, one that is held up wrongly
by nobody.  A thing that is not there is None where Marketo answers with success and nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from orchestrator.errors import MalformedResponse
from orchestrator.marketo.answers import (
    COUNT_MAX,
    ID_MAX,
    clean,
    items_of,
    names_of,
    read_envelope,
    request_words,
    whole_number,
)
from orchestrator.marketo.wire import MEMBER_KEY, query_string
from orchestrator.model import CustomObjects, Target

LEADS_PATH = "/rest/v1/leads.json"
CUSTOM_OBJECT_PATH = "/rest/v1/customobjects/{api_name}.json"
USAGE_PATH = "/rest/v1/stats/usage.json"
CUSTOM_OBJECTS_PATH = "/rest/v1/customobjects.json"
LIST_PATH = "/rest/v1/lists/{list_id}.json"
PARTITIONS_PATH = "/rest/v1/leads/partitions.json"
PROGRAM_PATH = "/rest/asset/v1/program/{program_id}.json"  # assets need a permission of their own
CHANNELS_PATH = "/rest/asset/v1/channels.json"
CHANNELS_PAGE = 200  # the most that Marketo gives at a time

# By which of Marketo's own fields its import finds people; of those that a customer added it takes these types.
LOOKUP_FIELDS = (
    "email", "id", "cookies", "twitterId", "facebookId", "linkedInId", "sfdcAccountId", "sfdcContactId", "sfdcLeadId",
    "sfdcLeadOwnerId", "sfdcOpptyId",
)  # fmt: skip
LOOKUP_TYPES = ("string", "email", "integer")
# Marketo's other own fields, by which it finds nobody; describe does not tell them from a customer's.
OTHER_STANDARD_FIELDS = frozenset((
    "address", "anonymousIP", "billingCity", "billingCountry", "billingPostalCode", "billingState", "billingStreet",
    "city", "company", "country", "department", "doNotCallReason", "emailInvalidCause", "externalCompanyId",
    "externalSalesPersonId", "fax", "firstName", "industry", "inferredCity", "inferredCompany", "inferredCountry",
    "inferredMetropolitanArea", "inferredPhoneAreaCode", "inferredPostalCode", "inferredStateRegion",
    "jigsawContactId", "jigsawContactStatus", "lastName", "leadRole", "leadScore", "leadSource", "leadStatus",
    "mainPhone", "middleName", "mobilePhone", "numberOfEmployees", "phone", "postalCode", "priority", "rating",
    "relativeScore", "salutation", "sicCode", "site", "state", "title", "unsubscribedReason", "urgency", "website",
))  # fmt: skip


# --- values ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One column that a target knows."""

    name: str  # the REST API name, which headers use
    display_name: str
    data_type: str
    length: int | None
    updateable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Relationship:
    """How the records of a custom object find what they belong to."""

    field: str  # of the custom object; a column of it is what links
    related: str  # the kind of record, ``Lead`` for example
    related_field: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """The columns of a target."""

    name: str
    fields: tuple[Field, ...]
    dedupe_fields: tuple[str, ...]  # the columns that find a row's record; every import must have them
    searchable_fields: tuple[tuple[str, ...], ...] = ()
    relationships: tuple[Relationship, ...] = ()


def member_schema(members: Schema, leads: Schema) -> Schema:
    """Return what an import of program members may hold: the fields of people and those of memberships."""
    fields = {each.name: each for each in members.fields}
    fields |= {each.name: each for each in leads.fields if each.name not in fields or each.updateable}
    return Schema(name=members.name, fields=tuple(fields.values()), dedupe_fields=(MEMBER_KEY,))


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectType:
    """One custom object type, without its fields."""

    name: str  # the API name, which targets use
    display_name: str
    dedupe_fields: tuple[str, ...]
    relationships: tuple[Relationship, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticList:
    """One static list."""

    id: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One program."""

    id: int
    name: str
    channel: str  # its name


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One channel: the statuses that members of its programs can have, in their order."""

    name: str
    statuses: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """The API calls of one day, of the whole subscription and of each user."""

    date: str
    total: int
    users: tuple[tuple[str, int], ...]


# --- fields and types --------------------------------------------------------------------------------


def parse_describe_leads(status: int, content_type: str, body: bytes) -> Schema:
    """Read the fields of leads; any of several may be the key of an import, so none is named."""
    return _schema("the description of leads", status, content_type, body)


def parse_describe_custom_object(status: int, content_type: str, body: bytes) -> Schema:
    """Read the fields of a custom object type; its dedupe fields are the key."""
    return _schema("the description of the custom object", status, content_type, body)


def parse_describe_members(status: int, content_type: str, body: bytes) -> Schema:
    """Read the fields that members of programs have besides those of leads."""
    return _schema("the description of program members", status, content_type, body)


def _schema(what: str, status: int, content_type: str, body: bytes) -> Schema:
    envelope = read_envelope(what, status, content_type, body)
    if not envelope.result:
        raise MalformedResponse(f"{what.capitalize()} is empty{request_words(envelope.request_id)}.")
    data = envelope.result[0]
    fields = tuple(_field(item) for item in _dicts(data.get("fields")) if _name(item))
    if not fields:
        raise MalformedResponse(f"{what.capitalize()} names no fields{request_words(envelope.request_id)}.")
    return Schema(
        name=clean(data.get("name") or data.get("apiName")),
        fields=fields,
        dedupe_fields=names_of(data.get("dedupeFields")),
        searchable_fields=tuple(names for item in items_of(data.get("searchableFields")) if (names := names_of(item))),
        relationships=_relationships(data),
    )


def _field(item: Mapping[str, Any]) -> Field:
    name = _name(item)
    return Field(
        name=name,
        display_name=clean(item.get("displayName")) or name,
        data_type=clean(item.get("dataType")) or "string",
        length=whole_number(item.get("length"), COUNT_MAX),
        updateable=item.get("updateable") is not False,
    )


def _relationships(data: Mapping[str, Any]) -> tuple[Relationship, ...]:
    """Return the relationships that say both ends; what they lead to is called one thing or another."""
    found = []
    for item in _dicts(data.get("relationships")):
        related = item.get("relatedTo") or item.get("object")
        if names_of([item.get("field")]) and isinstance(related, dict):
            named = Relationship(
                field=item["field"], related=clean(related.get("name")), related_field=clean(related.get("field"))
            )
            found.append(named)
    return tuple(found)


def parse_custom_objects(status: int, content_type: str, body: bytes) -> tuple[ObjectType, ...]:
    """Read which custom object types there are."""
    envelope = read_envelope("the list of custom objects", status, content_type, body)
    return tuple(
        ObjectType(
            name=name,
            display_name=clean(item.get("displayName")) or name,
            dedupe_fields=names_of(item.get("dedupeFields")),
            relationships=_relationships(item),
        )
        for item in envelope.result
        if (name := _name(item) or _name(item, "apiName"))
    )


# --- lists, partitions, programs ---------------------------------------------------------------------


def parse_static_list(status: int, content_type: str, body: bytes, *, list_id: int) -> StaticList | None:
    """Read a static list."""
    item = _single(f"static list {list_id}", list_id, status, content_type, body)
    return None if item is None else StaticList(id=list_id, name=clean(item.get("name")))


def parse_partitions(status: int, content_type: str, body: bytes) -> tuple[str, ...]:
    """Read the names of the lead partitions."""
    envelope = read_envelope("the list of partitions", status, content_type, body)
    return tuple(name for item in envelope.result if (name := _name(item)))


def parse_program(status: int, content_type: str, body: bytes, *, program_id: int) -> Program | None:
    """Read a program; a channel that is not named is an empty text."""
    item = _single(f"program {program_id}", program_id, status, content_type, body)
    if item is None:
        return None
    return Program(id=program_id, name=clean(item.get("name")), channel=_name(item, "channel"))


def parse_channels(status: int, content_type: str, body: bytes) -> tuple[Channel, ...]:
    """Read one page of channels; behind the last one it is empty."""
    envelope = read_envelope("the list of channels", status, content_type, body)
    return tuple(
        Channel(
            name=name,
            statuses=tuple(word for each in _dicts(item.get("progressionStatuses")) if (word := _name(each))),
        )
        for item in envelope.result
        if (name := _name(item))
    )


def _single(what: str, number: int, status: int, content_type: str, body: bytes) -> Mapping[str, Any] | None:
    """Return the one thing an answer is about, None if it is about nothing."""
    envelope = read_envelope(what, status, content_type, body)
    if not envelope.result:
        return None
    item = envelope.result[0]
    if whole_number(item.get("id"), ID_MAX) != number:
        raise MalformedResponse(f"Asked for {what}, Marketo answered otherwise{request_words(envelope.request_id)}.")
    return item


# --- records -----------------------------------------------------------------------------------------


def records_path(target: Target, key_field: str, keys: Sequence[str], fields: Sequence[str]) -> str:
    """Return where records are read by their keys, as many as fit one page; members of programs are people."""
    path = LEADS_PATH
    if isinstance(target, CustomObjects):
        path = CUSTOM_OBJECT_PATH.format(api_name=quote(target.api_name, safe=""))
    query = {"filterType": key_field, "filterValues": ",".join(keys), "fields": ",".join(fields)}
    return f"{path}?{query_string(query)}"


def parse_records(status: int, content_type: str, body: bytes) -> tuple[Mapping[str, Any], ...]:
    """Read one page of records."""
    return read_envelope("the records asked for", status, content_type, body).result


# --- usage -------------------------------------------------------------------------------------------


def parse_usage(status: int, content_type: str, body: bytes) -> Usage:
    """Read today's calls; a day without any is 0."""
    envelope = read_envelope("the usage of the API", status, content_type, body)
    if not envelope.result:
        return Usage(date="", total=0, users=())
    day = envelope.result[0]
    total = whole_number(day.get("total"), COUNT_MAX)
    if total is None:
        raise MalformedResponse(f"The usage of the API names no total{request_words(envelope.request_id)}.")
    users = (
        (clean(user.get("userId")), whole_number(user.get("count"), COUNT_MAX) or 0)
        for user in _dicts(day.get("users"))
    )
    return Usage(date=clean(day.get("date")), total=total, users=tuple(users))


def _dicts(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in items_of(value) if isinstance(item, dict)]


def _name(item: Mapping[str, Any], key: str = "name") -> str:
    """Return a name as it is, for names are compared exactly; empty if there is none that can be used."""
    return next(iter(names_of([item.get(key)])), "")
