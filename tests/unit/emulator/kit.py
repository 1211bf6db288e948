"""A subscription to import into, on a clock that the test moves."""

from __future__ import annotations

from typing import Any

from orchestrator.emulator.config import (
    ChannelSpec,
    EmulatorConfig,
    FieldSpec,
    LinkSpec,
    ListSpec,
    ObjectSpec,
    ProgramSpec,
)
from orchestrator.emulator.engine import Course, Engine, Upload
from orchestrator.emulator.queue import Batch
from orchestrator.model import Format, Leads, Target

CAR = ObjectSpec(
    name="car_c",
    display_name="Car",
    fields=(
        FieldSpec(name="vin", display_name="VIN", length=255, updateable=False),
        FieldSpec(name="color", display_name="Color"),
        FieldSpec(name="make", display_name="Make"),
        FieldSpec(name="model", display_name="Model"),
        FieldSpec(name="owner", display_name="Owner", data_type="email"),
        FieldSpec(name="doors", display_name="Doors", data_type="integer"),
    ),
    dedupe_fields=("vin",),
    link=LinkSpec(field="owner", lead_field="email"),
)
SEAT = ObjectSpec(
    name="seat_c",
    fields=(
        FieldSpec(name="flight"),
        FieldSpec(name="number", data_type="integer"),
        FieldSpec(name="guest"),
    ),
    dedupe_fields=("flight", "number"),
)

HOUR_MS = 3_600_000


def config(**settings: Any) -> EmulatorConfig:
    """No delay, no jitter, a thousand rows a second: one second for every import of up to 1,000 rows."""
    usual: dict[str, Any] = {
        "rows_per_second": 1_000.0,
        "jitter": 0.0,
        "start_delay_ms_min": 0,
        "start_delay_ms_max": 0,
        "custom_objects": (CAR, SEAT),
        "member_fields": (FieldSpec(name="registrationCode", length=100),),
        "channels": (ChannelSpec(id=3, name="Event", statuses=("Not in Program", "Invited", "Attended")),),
        "programs": (
            ProgramSpec(id=1044, name="Launch", channel="Event"),
            ProgramSpec(id=1045, name="Fair", channel="Event"),
        ),
        "lists": (ListSpec(id=1001, name="Newsletter"), ListSpec(id=1002, name="Customers")),
        "partitions": ("Default", "Europe"),
        "lead_fields": (FieldSpec(name="customerId", display_name="Customer Id", data_type="integer"),),
    }
    return EmulatorConfig(**{**usual, **settings})


class World:
    """An engine and what tests do with it."""

    def __init__(self, **settings: Any) -> None:
        self.engine = Engine(config(**settings))
        self.now_ms = 1_700_000_000_000

    def create(
        self, text: str | bytes, target: Target | None = None, form: Format = Format.CSV, course: Course | None = None
    ) -> Batch:
        data = text.encode() if isinstance(text, str) else text
        upload = Upload(target=target or Leads(), format=form, filename="x.csv", data=data, body_bytes=len(data))
        client = self.engine.config.clients[0]
        return self.engine.create(upload, client, self.now_ms, lambda: course or Course())

    def wait(self, ms: int = HOUR_MS) -> None:
        self.now_ms += ms
        self.engine.advance(self.now_ms)

    def done(self, text: str | bytes, target: Target | None = None, **more: Any) -> Batch:
        batch = self.create(text, target, **more)
        self.wait()
        return batch

    def counts(self, batch: Batch) -> tuple[int, int, int]:
        counts = self.engine.counts(batch, self.now_ms)
        return counts.processed, counts.failed, counts.warned

    def people(self) -> list[dict[str, str]]:
        return [one["values"] for one in self.read("leads")]

    def read(self, name: str) -> list[dict[str, Any]]:
        return list(self.engine.records(name, self.now_ms))
