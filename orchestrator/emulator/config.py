"""What an emulated subscription looks like and how fast it is.

One frozen value describes all of it, so that a run is repeatable from its configuration and its seed.  Times
are the emulator's own: with ``speed`` 60 an emulated minute passes in a real second.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from orchestrator.errors import ConfigError

BODY_BYTES_MAX = 10 * 1024 * 1024  # whole upload body; "10 MB" read in its larger sense
DAY_MS = 24 * 60 * 60 * 1000

DataType = Literal[
    "string", "text", "email", "phone", "url", "integer", "score", "percent", "float", "currency", "boolean", "date",
    "datetime", "reference",
]  # fmt: skip
Permission = Literal["read-write lead", "read-write custom object", "read-only assets"]
ALL_PERMISSIONS: tuple[Permission, ...] = ("read-write lead", "read-write custom object", "read-only assets")


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSpec:
    """One field of an object type; ``length`` is in characters, for ``text`` in bytes of UTF-8."""

    name: str
    display_name: str = ""  # empty: the name itself
    data_type: DataType = "string"
    length: int | None = None  # None: the limit of the data type
    updateable: bool = True

    @property
    def label(self) -> str:
        """The name that people see, which is also the one in row failures."""
        return self.display_name or self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSpec:
    """How records of a custom object find the person they belong to."""

    field: str  # of the custom object
    lead_field: str  # of the person


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectSpec:
    """One custom object type."""

    name: str
    display_name: str = ""
    description: str = ""
    fields: tuple[FieldSpec, ...]
    dedupe_fields: tuple[str, ...]
    link: LinkSpec | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSpec:
    """A channel: the statuses that members of its programs can have, in the order of their steps."""

    id: int
    name: str
    statuses: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramSpec:
    """One program."""

    id: int
    name: str
    channel: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListSpec:
    """One static list."""

    id: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSpec:
    """One custom service: its credentials, its API-only user and what that user may do."""

    client_id: str
    client_secret: str
    user: str = "api@emulator.invalid"
    permissions: tuple[Permission, ...] = ALL_PERMISSIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatorConfig:
    """Everything that can be chosen about an emulated subscription."""

    munchkin_id: str = "000-EMU-000"
    client_id: str = "emulator"
    client_secret: str = "emulator-secret"  # noqa: S105  # opens nothing but this emulator
    api_user: str = "api@emulator.invalid"
    permissions: tuple[Permission, ...] = ALL_PERMISSIONS
    other_clients: tuple[ClientSpec, ...] = ()
    seed: int = 1
    speed: float = 1.0  # emulated seconds per real second

    # the import queue
    slots: int = 10  # unfinished imports, those being imported included
    importers: int = 2
    rows_per_second: float = 100.0  # of one import
    jitter: float = 0.2  # an import takes up to this share more or less
    start_delay_ms_min: int = 1_000  # between being queued and being fit to start
    start_delay_ms_max: int = 10_000
    batch_id_first: int = 1001
    batch_life_ms: int = 7 * DAY_MS  # after its end a batch can be asked for this long

    # calls
    calls_per_window: int = 100
    window_ms: int = 20_000
    concurrent_calls: int = 10
    calls_per_day: int = 50_000
    body_bytes_max: int = BODY_BYTES_MAX
    token_life_ms: int = 3_600_000
    legacy_access_token: bool = False  # take the token from the query, too

    # how rows are judged
    concurrent_duplicates: bool = True  # imports at overlapping times do not see each other's records
    trailing_empty_columns_cut: bool = True  # in result files
    unknown_lead_columns: Literal["reject", "ignore"] = "reject"
    unknown_object_columns: Literal["reject", "ignore"] = "ignore"
    header_case_matters: bool = True

    # what the subscription holds
    lead_fields: tuple[FieldSpec, ...] = ()  # beside the standard ones
    custom_objects: tuple[ObjectSpec, ...] = ()
    member_fields: tuple[FieldSpec, ...] = ()
    channels: tuple[ChannelSpec, ...] = ()
    programs: tuple[ProgramSpec, ...] = ()
    lists: tuple[ListSpec, ...] = ()
    partitions: tuple[str, ...] = ("Default",)  # the first one is the primary partition

    faults: tuple[Mapping[str, Any], ...] = ()  # see faults.py

    def __post_init__(self) -> None:
        """Refuse what could not work."""
        for name in ("slots", "importers", "calls_per_window", "window_ms", "concurrent_calls", "body_bytes_max"):
            if getattr(self, name) < 1:
                raise ConfigError(f"emulator setting {name} is {getattr(self, name)}; it must be at least 1")
        for name in ("speed", "rows_per_second"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"emulator setting {name} is {getattr(self, name)}; it must be above 0")
        if not 0 <= self.jitter < 1:
            raise ConfigError(f"emulator setting jitter is {self.jitter}; it must be from 0 to below 1")
        if not 0 <= self.start_delay_ms_min <= self.start_delay_ms_max:
            raise ConfigError("emulator settings start_delay_ms_min and start_delay_ms_max must rise from 0")
        if not self.partitions:
            raise ConfigError("emulator setting partitions is empty; name at least the primary partition")
        self._check_references()

    def _check_references(self) -> None:
        """Refuse names that point to nothing, and names given twice."""
        channels = {channel.name for channel in self.channels}
        for program in self.programs:
            if program.channel not in channels:
                raise ConfigError(
                    f"emulator program {program.id} names channel {program.channel!r}, which is not there"
                )
        for spec in self.custom_objects:
            names = {field.name for field in spec.fields}
            wanted = (*spec.dedupe_fields, *((spec.link.field,) if spec.link else ()))
            missing = [name for name in wanted if name not in names]
            if missing or not spec.dedupe_fields:
                raise ConfigError(
                    f"emulator custom object {spec.name}: "
                    + (f"no field named {missing[0]!r}" if missing else "dedupe_fields is empty")
                )
        for what, names_given in (
            ("custom_objects", [spec.name for spec in self.custom_objects]),
            ("programs", [str(program.id) for program in self.programs]),
            ("lists", [str(one.id) for one in self.lists]),
            ("clients", [client.client_id for client in self.clients]),
        ):
            if len(set(names_given)) != len(names_given):
                raise ConfigError(f"emulator setting {what} names one of its entries twice")

    @property
    def clients(self) -> tuple[ClientSpec, ...]:
        """All custom services, the usual one first."""
        usual = ClientSpec(
            client_id=self.client_id,
            client_secret=self.client_secret,
            user=self.api_user,
            permissions=self.permissions,
        )
        return (usual, *self.other_clients)


def config_from(values: Mapping[str, Any], *, origin: str = "emulator configuration") -> EmulatorConfig:
    """Build a configuration from plain values, as JSON holds them; ConfigError names the wrong one."""
    from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config  # heavy, and only files need it

    strict = with_config(ConfigDict(extra="forbid"))
    for kind in (FieldSpec, LinkSpec, ObjectSpec, ChannelSpec, ProgramSpec, ListSpec, ClientSpec, EmulatorConfig):
        strict(kind)
    try:
        return TypeAdapter(EmulatorConfig).validate_python(dict(values))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{origin}: {where}: {first['msg']}") from error


def read_config(path: Path) -> EmulatorConfig:
    """Read a configuration from a JSON file; ConfigError names the file."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: is no JSON: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: must hold one JSON object")
    return config_from(values, origin=str(path))
