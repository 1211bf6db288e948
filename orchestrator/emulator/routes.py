"""Which address is which call; those of imports come from the one list that the client uses, too."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.marketo.reads import (
    CHANNELS_PATH,
    CUSTOM_OBJECTS_PATH,
    LIST_PATH,
    PARTITIONS_PATH,
    PROGRAM_PATH,
    USAGE_PATH,
)
from orchestrator.marketo.wire import CUSTOM_OBJECTS, LEADS, PROGRAM_MEMBERS, TOKEN_PATH, Paths
from orchestrator.model import CustomObjects, Leads, ProgramMembers, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One address: its template, the kind of call it is for counting, and what it does."""

    template: str
    call: str  # one of faults.CALLS
    does: str
    methods: tuple[str, ...] = ("GET",)
    target: type[Target] | None = None


def _imports(paths: Paths, target: type[Target]) -> tuple[Route, ...]:
    return (
        Route(template=paths.create, call="create", does="create", methods=("POST",), target=target),
        Route(template=paths.status, call="status", does="status", target=target),
        Route(template=paths.failures, call="failures", does="failures", target=target),
        Route(template=paths.warnings, call="warnings", does="warnings", target=target),
    )


def _read(template: str, does: str) -> Route:
    return Route(template=template, call="read", does=does)


ROUTES: tuple[Route, ...] = (
    Route(template=TOKEN_PATH, call="token", does="token", methods=("GET", "POST")),
    *_imports(LEADS, Leads),
    *_imports(CUSTOM_OBJECTS, CustomObjects),
    *_imports(PROGRAM_MEMBERS, ProgramMembers),
    Route(template=LEADS.describe, call="describe", does="describe_leads"),
    Route(template="/rest/v1/leads/describe.json", call="describe", does="describe_leads_old"),
    Route(template="/rest/v1/leads/schema/fields.json", call="describe", does="lead_schema"),
    Route(template=CUSTOM_OBJECTS.describe, call="describe", does="describe_object"),
    Route(template=CUSTOM_OBJECTS_PATH, call="describe", does="objects"),
    Route(template=PROGRAM_MEMBERS.describe, call="describe", does="describe_members"),
    Route(template="/rest/v1/program/members/describe.json", call="describe", does="describe_members"),
    Route(template=USAGE_PATH, call="usage", does="usage"),
    Route(template="/rest/v1/stats/usage/last7days.json", call="usage", does="usage_week"),
    Route(template="/rest/v1/stats/errors.json", call="usage", does="errors"),
    Route(template="/rest/v1/stats/errors/last7days.json", call="usage", does="errors_week"),
    _read("/rest/v1/leads.json", "leads"),
    _read(PARTITIONS_PATH, "partitions"),
    _read("/rest/v1/lists.json", "lists"),
    _read(LIST_PATH, "list"),
    _read("/rest/v1/lists/{list_id}/leads.json", "list_leads"),
    _read("/rest/v1/customobjects/{api_name}.json", "object_records"),
    _read("/rest/asset/v1/program/byName.json", "program_by_name"),
    _read(PROGRAM_PATH, "program"),
    _read(CHANNELS_PATH, "channels"),
)
