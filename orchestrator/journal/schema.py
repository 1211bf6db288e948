"""The journal's tables.

Rules of the file:

* What this program makes itself (ids, phases, kinds of calls) and everything that SQL counts or compares
  stands in plain columns.  What comes from outside (paths, names, Marketo's words) stands as JSON text, for
  such text may hold NUL characters, halves of surrogate pairs (a file name that is no UTF-8 becomes one) and
  numbers wider than 64 bits (inodes of some file systems), which databases refuse or bend.
* Times are milliseconds since the Unix epoch.
* A row of ``events``, ``chunks`` or ``findings`` gets a number that was never used before, even after rows
  were deleted: who follows a job by number can neither miss an event nor see one twice.
* A change to these tables, or to the words that stand in them, goes with a new file in ``migrations/versions`` and a
  new `REVISION`; a file made from here and one brought up by the migrations are alike.
"""

from __future__ import annotations

import json
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

REVISION: Final = "0003"  # of the newest file in migrations/versions


class Json(TypeDecorator[Any]):
    """A value of JSON as text that is the same for equal values: sorted keys, ASCII, no spaces."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Return the text to store; None stays NULL."""
        return None if value is None else json.dumps(value, sort_keys=True, separators=(",", ":"))

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Return the value that was stored."""
        return None if value is None else json.loads(value)


# SQLite numbers rows by itself only in a column declared INTEGER, which holds 64 bits there.
_RowId = BigInteger().with_variant(Integer(), "sqlite")

metadata = MetaData()

# Whose turn it is to write for a subscription (the epoch), what its fingerprints are salted with, and how large an upload
# it was found to take.
subscriptions = Table(
    "subscriptions",
    metadata,
    Column("host", String, primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("salt", LargeBinary),
    Column("generation", BigInteger),  # of its lock file beside a journal on SQLite; empty is the first
    Column("upload_bytes_max", BigInteger),  # learned from a refusal; empty if none was refused
    Column("upload_learned_ms", BigInteger),  # when
)

# Which process drives a subscription, where no lock of the kernel can tell: on PostgreSQL.
leases = Table(
    "leases",
    metadata,
    Column("host", ForeignKey("subscriptions.host"), primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("process", Json, nullable=False),
    Column("since_ms", BigInteger, nullable=False),
    Column("renewed_ms", BigInteger, nullable=False),  # by the database's clock
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String, primary_key=True),
    Column("host", String, nullable=False),
    Column("subscription", Json, nullable=False),
    Column("api_user", Json),
    Column("emulator", Boolean, nullable=False),
    Column("name", Json),
    Column("labels", Json, nullable=False),
    Column("parent", String),
    Column("target", Json, nullable=False),
    Column("paths", Json, nullable=False),
    Column("absolute_paths", Json, nullable=False),
    Column("options", Json, nullable=False),
    Column("out_dir", Json, nullable=False),
    Column("key_columns", Json, nullable=False),
    Column("state", String, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("started_ms", BigInteger),
    Column("finished_ms", BigInteger),
    Column("exit_code", Integer),
    Column("exit_reasons", Json, nullable=False),
    Column("home", Json),
    Column("key", Json),
    Column("fingerprint", String),
    Column("wish", String),
    Column("wish_reason", Json),
    Column("wish_ms", BigInteger),
    Column("pruned_ms", BigInteger),  # since when it is being removed; nobody finds it any longer
    Index("jobs_by_host", "host", "created_ms"),
)

sources = Table(
    "sources",
    metadata,
    Column("job_id", ForeignKey("jobs.id"), nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("path", Json, nullable=False),
    Column("absolute", Json, nullable=False),
    Column("identity", Json, nullable=False),
    Column("sha256", String, nullable=False),  # empty until it is computed
    Column("encoding", String, nullable=False),
    Column("format", String, nullable=False),
    Column("header", LargeBinary, nullable=False),
    Column("columns", Json, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("blank_lines", BigInteger, nullable=False),
    Column("content", Json),
    Column("superseded", BigInteger),
    Column("mapped", Json),
    Column("original", Json),
    PrimaryKeyConstraint("job_id", "position"),
)

chunks = Table(
    "chunks",
    metadata,
    Column("id", _RowId, primary_key=True),
    Column("job_id", ForeignKey("jobs.id"), nullable=False),
    Column("source", BigInteger, nullable=False),
    Column("start_byte", BigInteger, nullable=False),
    Column("end_byte", BigInteger, nullable=False),
    Column("first_row", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("first_line", BigInteger, nullable=False),
    Column("crc32", BigInteger, nullable=False),
    Column("phase", String, nullable=False),
    Column("parent", ForeignKey("chunks.id")),
    Column("depth", Integer, nullable=False),
    Column("canary", Boolean, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("batch_failures", Integer, nullable=False),
    Column("batch_id", BigInteger),
    Column("status", String),
    Column("message", Json, nullable=False),
    Column("submitted_ms", BigInteger),
    Column("completed_ms", BigInteger),
    Column("hold_until_ms", BigInteger),
    Column("polls", BigInteger, nullable=False),
    Column("accepted", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("warned", BigInteger, nullable=False),
    Column("unknown", BigInteger, nullable=False),
    Column("unmatched", BigInteger, nullable=False),
    Column("last_batch_id", BigInteger),
    Column("marketo_ms", BigInteger),
    Column("adopted", Boolean),
    Column("resent", BigInteger),
    Column("too_large", Boolean),
    Column("took_ms", BigInteger),
    ForeignKeyConstraint(["job_id", "source"], ["sources.job_id", "sources.position"]),
    # No record is in two chunks of one depth: the last line of defence against planning a job twice.
    UniqueConstraint("job_id", "source", "depth", "start_byte"),
    Index("chunks_by_parent", "parent"),
    sqlite_autoincrement=True,
)

findings = Table(
    "findings",
    metadata,
    Column("id", _RowId, primary_key=True),
    Column("job_id", ForeignKey("jobs.id"), nullable=False),
    Column("kind", String, nullable=False),
    Column("message", Json, nullable=False),
    Column("batch_id", BigInteger),
    Index("findings_by_job", "job_id"),
    sqlite_autoincrement=True,
)

events = Table(
    "events",
    metadata,
    Column("seq", _RowId, primary_key=True),
    Column("job_id", ForeignKey("jobs.id"), nullable=False),
    Column("ts_ms", BigInteger, nullable=False),
    Column("name", String, nullable=False),
    Column("data", Json, nullable=False),
    Index("events_by_job", "job_id", "seq"),
    Index("events_by_time", "job_id", "ts_ms"),
    sqlite_autoincrement=True,
)

# API calls: the quota is counted per subscription and day, the report per job; no job is the empty id.
calls = Table(
    "calls",
    metadata,
    Column("host", String, nullable=False),
    Column("day", String, nullable=False),
    Column("job_id", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("count", BigInteger, nullable=False),
    PrimaryKeyConstraint("host", "day", "job_id", "kind"),
    Index("calls_by_job", "job_id"),
)

waits = Table(
    "waits",
    metadata,
    Column("job_id", ForeignKey("jobs.id"), nullable=False),
    Column("cause", String, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("job_id", "cause"),
)

# Where Alembic keeps the revision of the tables; apart, for Alembic makes it by itself.
versions = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
