"""The tables of settings, each key with its default, what it may be, and what it means.

A table's docstring and a key's description are also the reference that users read.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self

import platformdirs
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

APP_NAME = "marketo-bulk-orchestrator"

CALLS_LEFT_MIN = 10  # for imports, of a day's calls: what a batch takes, and what is asked before the first
_SECONDS_MAX = 30 * 86_400.0  # longer waits are mistakes: nobody waits a month


def _no_boolean(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("true and false are no numbers")  # noqa: TRY004  # pydantic collects ValueError
    return value


def _empty_is_none(value: object) -> object:
    return None if value == "" else value


Whole = Annotated[int, BeforeValidator(_no_boolean)]
Real = Annotated[float, BeforeValidator(_no_boolean)]
OptionalText = Annotated[str | None, BeforeValidator(_empty_is_none)]
OptionalPath = Annotated[Path | None, BeforeValidator(_empty_is_none)]


class Table(BaseModel):
    """One table: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


def in_order(table: BaseModel, low: str, high: str) -> None:
    """Raise ValueError if the value of one key is above that of another."""
    if getattr(table, low) > getattr(table, high):
        raise ValueError(f"{low} ({getattr(table, low):g}) must not be above {high} ({getattr(table, high):g})")


class Limits(Table):
    """How much of a subscription this program uses; Marketo's limits are shared with everybody else."""

    slots: Whole = Field(10, ge=1, le=10, description="own jobs unfinished at Marketo, at most")
    queue_depth: Literal["auto"] | Annotated[Whole, Field(ge=1, le=10)] = Field(
        "auto", description="how many of them to keep there; what is queued cannot be recalled"
    )
    importers: Whole = Field(2, ge=1, le=10, description="jobs that Marketo imports at a time")
    body_bytes_max: Whole = Field(9_500_000, ge=1_000, le=10_000_000, description="whole upload body, in bytes")
    rows_per_chunk_max: Whole = Field(250_000, ge=1, le=250_000, description="rows in one upload, at most")
    calls_per_window: Whole = Field(50, ge=1, le=100, description="API calls in one window; Marketo allows 100")
    window_seconds: Real = Field(20.0, ge=0.01, le=3600, description="length of that window")
    concurrent_calls: Whole = Field(5, ge=1, le=10, description="API calls under way at a time; Marketo allows 10")
    calls_per_day: Whole = Field(50_000, ge=1, le=1_000_000_000, description="the subscription's daily quota")
    calls_reserved: Whole = Field(5_000, ge=0, le=1_000_000_000, description="part of that quota left to others")


def leave_calls(limits: Limits) -> None:
    """Raise ValueError if so many calls are reserved for others that no batch could ever be sent."""
    left = limits.calls_per_day - limits.calls_reserved
    if left < CALLS_LEFT_MIN:
        raise ValueError(
            f"calls_reserved ({limits.calls_reserved}) must leave at least {CALLS_LEFT_MIN} of calls_per_day "
            f"({limits.calls_per_day}): with fewer nothing could be imported on any day"
        )


class Schedule(Table):
    """In which order and how eagerly chunks are sent."""

    slow_start: bool = Field(
        True,
        description=(
            "a job's second batch waits until the first is complete, unless rows of the same columns went well into the "
            "same target within 30 days"
        ),
    )
    lookahead_chunks: Whole = Field(16, ge=1, le=64, description="unsent chunks of a job that are candidates")


class Polling(Table):
    """How often an unfinished batch is asked for."""

    interval_seconds_min: Real = Field(5.0, ge=0.01, le=3600, description="shortest time between two questions")
    interval_seconds_max: Real = Field(
        30.0, ge=0.01, le=3600, description="the longest while somebody waits for the answer"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        in_order(self, "interval_seconds_min", "interval_seconds_max")
        return self


class Backoff(Table):
    """How long to wait after a refusal that passes."""

    seconds_min: Real = Field(5.0, ge=0.01, le=86_400, description="first wait; each further one is longer")
    seconds_max: Real = Field(300.0, ge=0.01, le=86_400, description="longest wait")
    give_up_seconds: Real = Field(
        86_400.0, ge=0.01, le=_SECONDS_MAX, description="a cause that lasts longer stops the job, resumable"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        in_order(self, "seconds_min", "seconds_max")
        return self


class Http(Table):
    """How Marketo is reached."""

    timeout_seconds: Real = Field(900.0, ge=0.1, le=86_400, description="longest duration of one call")
    idle_seconds: Real = Field(60.0, ge=0.1, le=86_400, description="longest time without a byte moving")
    proxy: OptionalText = Field(None, description="URL of an HTTP proxy")
    ca_file: OptionalPath = Field(None, description="PEM file of certificate authorities to trust")
    trust_env: bool = Field(True, description="take a proxy from HTTPS_PROXY and the like")
    insecure: bool = Field(False, description="allow plain http to hosts other than this machine")


class Unknown(Table):
    """What happens to a chunk that was sent and whose answer is lost."""

    settle_seconds: Real = Field(30.0, ge=0, le=86_400, description="wait before looking for its batch")
    hold_seconds_min: Real = Field(600.0, ge=0, le=_SECONDS_MAX, description="wait before it is sent again, at least")
    probe_calls_max: Whole = Field(
        50, ge=0, le=1_000, description="API calls to look for its batch, or for those of several lost together"
    )


class Isolate(Table):
    """How a failed batch is taken apart."""

    depth_max: Whole = Field(12, ge=0, le=30, description="halvings before its rows count as failed")


class Claims(Table):
    """How long keys stay reserved."""

    paused_hold_seconds: Real = Field(
        3600.0,
        ge=0,
        le=_SECONDS_MAX,
        description="how long keys stay reserved for a job that is paused or that nobody works on, at most",
    )


class State(Table):
    """What is kept on this machine."""

    dir: Path = Field(
        default_factory=lambda: platformdirs.user_state_path(APP_NAME, appauthor=False),
        description="journal, spools, claims, result files and locks; mode 0700",
    )
    keep_days: Whole = Field(
        30, ge=1, le=36_500, description="finished jobs, and everything stored of them, are forgotten after it"
    )


class Drain(Table):
    """How a process that is told to stop leaves."""

    seconds: Real = Field(
        60.0, ge=0, le=_SECONDS_MAX, description="how long an upload under way is waited for after SIGINT or SIGTERM"
    )


class JournalSettings(Table):
    """Where the journal is."""

    url: OptionalText = Field(
        None,
        repr=False,  # it may hold a password
        description="SQLite file or PostgreSQL database (postgresql+psycopg://…); default: journal.db in state.dir",
    )

    @model_validator(mode="after")
    def _supported(self) -> Self:
        if self.url is not None and not re.fullmatch(r"(sqlite:///|postgres(ql(\+psycopg)?)?://).+", self.url):
            raise ValueError(
                "journal.url must look like sqlite:////absolute/path/journal.db or "
                "postgresql+psycopg://USER@HOST/DATABASE"
            )
        return self


class Log(Table):
    """What the command logs, on standard error."""

    format: Literal["auto", "console", "json"] = Field("auto", description="auto: console on a terminal, else json")
    level: Literal["debug", "info", "warning", "error"] = Field(
        "info",
        description="least severity shown; unless given, warning where words tell what happens: on a terminal or without --json",
    )
