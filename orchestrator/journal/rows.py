"""Values of the model to rows of the tables and back, exactly.

A value that this version does not know (a target, a phase or an event of a later one, or damage) is an error that
says so: dropping it would make the journal lie.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import Integer, LargeBinary, String, Table

from orchestrator.events import Event, revive
from orchestrator.journal.machine import Process
from orchestrator.journal.schema import chunks, events, findings, jobs, metadata, sources
from orchestrator.model import (
    BatchId,
    BatchStatus,
    Chunk,
    CustomObjects,
    FileIdentity,
    Finding,
    Format,
    Home,
    IfKnown,
    Job,
    JobId,
    JobOptions,
    JobState,
    Leads,
    MappedColumns,
    MappingFile,
    OnUnknown,
    Original,
    Phase,
    Priority,
    ProgramMembers,
    RepeatedKeys,
    Source,
    Span,
    Target,
    Wish,
)

_TARGETS: Mapping[str, type[Leads] | type[CustomObjects] | type[ProgramMembers]] = {
    "leads": Leads,
    "custom": CustomObjects,
    "program-members": ProgramMembers,
}


class NotUnderstood(Exception):  # it becomes a `JournalCorrupt` or a `JournalVersionUnknown`
    """A row is read, and it is nothing that this version writes: damaged, or written by a newer one."""


# What a value of each plain column is.  SQLite holds any kind of value in any column.
_KINDS: Final[Mapping[type, type]] = {Integer: int, String: str, LargeBinary: bytes}
_WORDS: Final[Mapping[type, str]] = {int: "whole number", str: "text", bytes: "binary value"}
_PLAIN: Final[Mapping[str, tuple[tuple[str, type, bool], ...]]] = {
    table.name: tuple(
        (column.name, kind, bool(column.nullable))
        for column in table.columns
        for sort, kind in _KINDS.items()
        if isinstance(column.type, sort)
    )
    for table in metadata.sorted_tables
}


def _check_kinds(table: Table, row: Mapping[str, Any]) -> None:
    for name, kind, may_be_empty in _PLAIN[table.name]:
        value = row[name]
        if not isinstance(value, kind) and not (value is None and may_be_empty):
            raise TypeError(f"{name} is no {_WORDS[kind]}")


def whole(value: Any, what: str) -> int:
    """Return a number that the database has computed: of what is no whole number, SQLite makes one with a point."""
    if isinstance(value, float | str | bytes):
        raise NotUnderstood(f"{what} is no whole number")
    return int(value)


def unpack_plain(table: Table, row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the row of a table of which nothing but the kinds of its values is to be understood."""
    with _known(f"a row of {table.name}"):
        _check_kinds(table, row)
        return row


@contextmanager
def _known(what: str) -> Iterator[None]:
    """Turn the failure to understand a stored value into the error that names it."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise NotUnderstood(f"{what}: {error}") from error


def pack_target(target: Target) -> dict[str, Any]:
    """Return a target as JSON, with the name of its kind under `object`."""
    name = next(name for name, kind in _TARGETS.items() if isinstance(target, kind))
    return {"object": name, **asdict(target)}


def _unpack_target(data: Mapping[str, Any]) -> Target:
    fields = dict(data)
    return _TARGETS[fields.pop("object")](**fields)


def _unpack_options(data: Mapping[str, Any]) -> JobOptions:
    """Return the options; those that are newer than the row have their defaults."""
    fields = dict(data)
    if fields.get("format") is not None:
        fields["format"] = Format(fields["format"])
    if "if_known" in fields:
        fields["if_known"] = IfKnown(fields["if_known"])
    if fields.get("mapping") is not None:
        fields["mapping"] = MappingFile(**fields["mapping"])
    if "on_repeated_key" in fields:
        fields["on_repeated_key"] = RepeatedKeys(fields["on_repeated_key"])
    if "on_unknown" in fields:
        fields["on_unknown"] = OnUnknown(fields["on_unknown"])
    if "priority" in fields:
        fields["priority"] = Priority(fields["priority"])
    return JobOptions(**fields)


# --- jobs --------------------------------------------------------------------------------------------


def pack_job(job: Job) -> dict[str, Any]:
    """Return the row of a job."""
    row = {name: getattr(job, name) for name in Job.__dataclass_fields__}
    row["target"] = pack_target(job.target)
    row["options"] = asdict(job.options)
    row["home"] = None if job.home is None else asdict(job.home)
    return row


def pack_job_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of a job that changed."""
    columns = dict(values)
    if "options" in columns:
        columns["options"] = asdict(columns["options"])
    return columns


def unpack_job(row: Mapping[str, Any]) -> Job:
    """Return the job of a row."""
    with _known(f"a job ({row['id']})"):
        _check_kinds(jobs, row)
        fields = dict(row)
        del fields["pruned_ms"]  # of a job that is there, it is empty
        fields["target"] = _unpack_target(row["target"])
        fields["options"] = _unpack_options(row["options"])
        fields["labels"] = tuple((key, value) for key, value in row["labels"])
        for name in ("paths", "absolute_paths", "key_columns", "exit_reasons"):
            fields[name] = tuple(row[name])
        fields["state"] = JobState(row["state"])
        fields["home"] = None if row["home"] is None else Home(**row["home"])
        fields["wish"] = None if row["wish"] is None else Wish(row["wish"])
        return Job(**fields)


# --- sources -----------------------------------------------------------------------------------------


def pack_source(job_id: JobId, source: Source) -> dict[str, Any]:
    """Return the row of a job's source."""
    row = {name: getattr(source, name) for name in Source.__dataclass_fields__ if name != "index"}
    nested = {
        "identity": asdict(source.identity),
        "sha256": source.sha256 or "",
        "mapped": None if source.mapped is None else asdict(source.mapped),
        "original": None if source.original is None else asdict(source.original),
    }
    return {**row, **nested, "job_id": job_id, "position": source.index}


def unpack_source(row: Mapping[str, Any]) -> Source:
    """Return the source of a row."""
    with _known(f"a source of job {row['job_id']}"):
        _check_kinds(sources, row)
        fields = dict(row)
        del fields["job_id"]
        fields["index"] = fields.pop("position")
        fields["identity"] = FileIdentity(**row["identity"])
        fields["format"] = Format(row["format"])
        fields["columns"] = tuple(row["columns"])
        fields["sha256"] = row["sha256"] or None
        fields["content"] = row["content"] or row["absolute"]  # before there were copies, it was the source itself
        fields["superseded"] = row["superseded"] or 0
        if row["mapped"] is not None:
            names, origins = (tuple(row["mapped"][name]) for name in ("names", "origins"))
            fields["mapped"] = MappedColumns(names=names, origins=origins)
        if row["original"] is not None:
            identity = FileIdentity(**row["original"]["identity"])
            fields["original"] = Original(**{**row["original"], "identity": identity})
        return Source(**fields)


# --- chunks ------------------------------------------------------------------------------------------

_SPAN_COLUMNS = {
    "source": "source",
    "start": "start_byte",
    "end": "end_byte",
    "first_row": "first_row",
    "rows": "rows",
    "first_line": "first_line",
    "crc32": "crc32",
}


def pack_chunk(fresh: Chunk) -> dict[str, Any]:
    """Return the row of a chunk that nothing has happened to yet, without its id: the database numbers it."""
    row = {column: getattr(fresh.span, name) for name, column in _SPAN_COLUMNS.items()}
    state = {name: getattr(fresh, name) for name in Chunk.__dataclass_fields__ if name not in ("id", "job", "span")}
    return {**row, **state, "job_id": fresh.job}


def unpack_span(row: Mapping[str, Any]) -> Span:
    """Return the span of a chunk's row."""
    return Span(**{name: row[column] for name, column in _SPAN_COLUMNS.items()})


def unpack_chunk(row: Mapping[str, Any]) -> Chunk:
    """Return the chunk of a row."""
    with _known(f"a chunk of job {row['job_id']}"):
        _check_kinds(chunks, row)
        fields = {name: value for name, value in row.items() if name not in _SPAN_COLUMNS.values()}
        fields["job"] = fields.pop("job_id")
        fields["span"] = unpack_span(row)
        fields["phase"] = Phase(row["phase"])
        fields["status"] = None if row["status"] is None else BatchStatus(row["status"])
        fields["adopted"] = bool(row["adopted"])
        fields["resent"] = row["resent"] or 0  # None: written before there was this column
        fields["too_large"] = bool(row["too_large"])
        return Chunk(**fields)


# --- findings and events -----------------------------------------------------------------------------


def pack_finding(job_id: JobId, finding: Finding) -> dict[str, Any]:
    """Return the row of a finding."""
    return {"job_id": job_id, "kind": finding.kind, "message": finding.message, "batch_id": finding.batch_id}


def unpack_finding(row: Mapping[str, Any]) -> Finding:
    """Return the finding of a row."""
    with _known(f"a finding of job {row['job_id']}"):
        _check_kinds(findings, row)
        batch_id = None if row["batch_id"] is None else BatchId(row["batch_id"])
        return Finding(kind=row["kind"], message=row["message"], batch_id=batch_id)


def pack_event(event: Event) -> dict[str, Any]:
    """Return the row of an event; the database numbers it."""
    return {"job_id": event.job_id, "ts_ms": event.ts_ms, "name": event.name, "data": event.data()}


def unpack_event(row: Mapping[str, Any]) -> Event:
    """Return the event of a row."""
    with _known(f"an event of job {row['job_id']}"):
        _check_kinds(events, row)
        return revive(row["name"], row["job_id"], row["ts_ms"], row["seq"], row["data"])


# --- leases ------------------------------------------------------------------------------------------


def pack_process(process: Process, home: str | None) -> dict[str, Any]:
    """Return the process that holds a lease as JSON, with the home that it goes on in."""
    return {**asdict(process), "home": home}


def unpack_process(host: str, data: Mapping[str, Any]) -> tuple[Process, str | None]:
    """Return the process that holds a lease of a subscription, and the home that it goes on in."""
    with _known(f"the lease of {host}"):
        fields = dict(data)
        home = fields.pop("home", None)
        process = Process(**fields)
        texts, numbers = (process.host, process.boot, home or ""), (process.pid, process.started)
        if any(type(each) is not str for each in texts) or any(type(each) is not int for each in numbers):
            raise TypeError("a value of its process is of another kind")
        return process, home
