"""The emulated subscription itself, without sockets and without a clock.

Every method that depends on time takes ``now_ms``, the emulator's own time, and moves everything up to it first;
times given must not fall.  What Marketo would refuse is raised as `Refused` with Marketo's code.  The same calls
at the same times give the same answers: chance comes from streams that are named after the configured seed.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, assert_never

from orchestrator.emulator.config import ClientSpec, EmulatorConfig, ObjectSpec, Permission
from orchestrator.emulator.holdings import Holdings
from orchestrator.emulator.identity import Identity
from orchestrator.emulator.limits import Limits
from orchestrator.emulator.queue import Batch, Failure, ImportQueue
from orchestrator.emulator.refusals import invalid_data, refusal
from orchestrator.emulator.rows import Rules, Staged, lead_rules, member_rules, object_rules, stage
from orchestrator.emulator.table import FAILURE_COLUMN, WARNING_COLUMN, Table, read_table, result_file
from orchestrator.marketo.wire import ResultKind
from orchestrator.model import BatchStatus, CustomObjects, Format, Leads, ProgramMembers, Target

IMPORT_MS_MIN = 1_000  # not even one row is imported faster
CREATES_KEPT = 10_000  # lines of the list of creates
STRANGER = "stranger@emulator.invalid"  # the API user of imports that are nobody's here
STRANGERS_ROWS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How far a batch is; the numbers only rise."""

    processed: int
    failed: int
    warned: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """One file that is to be imported."""

    target: Target
    format: Format
    filename: str
    data: bytes
    body_bytes: int  # of the whole request, for the record


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How a batch deviates from the usual course."""

    failure: Failure | None = None
    failed_at_once: bool = False  # it is Failed already in the answer to its upload
    slower: float = 1.0
    later_ms: int = 0


USUAL = Course()


class Engine:
    """One subscription."""

    def __init__(self, config: EmulatorConfig) -> None:
        self.config = config
        self.identity = Identity(config, self.stream("tokens"))
        self.limits = Limits(config)
        self.queue = ImportQueue(config)
        self.holdings = Holdings(config)
        self.batches: dict[int, Batch] = {}
        self.calls: Counter[str] = Counter()  # by kind, refused ones included
        self.creates: list[dict[str, Any]] = []
        self._rng = self.stream("imports")
        self._next_id = config.batch_id_first
        self._objects = {spec.name: spec for spec in config.custom_objects}
        self._statuses = {channel.name: channel.statuses for channel in config.channels}
        self._programs = {program.id: program for program in config.programs}

    @property
    def batches_made(self) -> int:
        """How many batches were made so far."""
        return self._next_id - self.config.batch_id_first

    def stream(self, name: str) -> random.Random:
        """Return a source of chance of its own, which the seed and its name decide."""
        return random.Random(f"{self.config.seed}:{name}")

    # --- time ---

    def advance(self, now_ms: int) -> None:
        """Move the import queue to this time and apply the batches that ended."""
        for what, batch in self.queue.due(now_ms):
            if what == "started":
                self.holdings.resolve(batch)
            else:
                self._end(batch)

    def _end(self, batch: Batch) -> None:
        staged = batch.staged
        if staged is None:
            return
        good = len(staged.keys)
        rows = good if batch.failure is None else int(good * batch.failure.applied)
        self.holdings.apply(batch, rows)
        batch.processed = rows
        staged.drop()

    # --- importing ---

    def create(
        self, upload: Upload, client: ClientSpec, now_ms: int, course_of: Callable[[], Course] = lambda: USUAL
    ) -> Batch:
        """Take a file into the queue; refuses what Marketo refuses: rights, parameters, file, queue, in this order.

        ``course_of`` is asked once it is certain that there will be a batch.
        """
        self.advance(now_ms)
        self.require(
            client, "read-write custom object" if isinstance(upload.target, CustomObjects) else "read-write lead"
        )
        self._check_target(upload.target)
        staged = self._stage(upload)
        self._check_queue(upload.target)
        course = course_of()
        batch = self._new_batch(upload.target, now_ms, rows=staged.rows, course=course)
        batch.filename, batch.body_bytes = upload.filename, upload.body_bytes
        batch.format, batch.staged, batch.user = upload.format, staged, client.user
        batch.failure = course.failure
        self.batches[batch.id] = batch
        if course.failed_at_once:
            batch.status = BatchStatus.FAILED
            batch.started_ms = batch.ended_ms = now_ms
            staged.drop()
        else:
            self.queue.add(batch)
        return batch

    def occupy(self, slots: int, duration_ms: int, now_ms: int, *, rows: int = STRANGERS_ROWS) -> list[int]:
        """Let strangers queue imports of people, as far as there are slots; return their batch ids.

        They hold slots and importers and can be asked for like all others, but leave no records.
        """
        self.advance(now_ms)
        ids: list[int] = []
        for _ in range(min(slots, self.queue.slots - self.queue.unfinished)):
            batch = self._new_batch(Leads(), now_ms, rows=rows, course=USUAL)
            batch.duration_ms, batch.user = max(1, duration_ms), STRANGER
            self.batches[batch.id] = batch
            self.queue.add(batch)
            ids.append(batch.id)
        return ids

    def _new_batch(self, target: Target, now_ms: int, *, rows: int, course: Course) -> Batch:
        config = self.config
        factor = 1 + config.jitter * self._rng.uniform(-1, 1)
        delay_ms = self._rng.randint(config.start_delay_ms_min, config.start_delay_ms_max)
        batch = Batch(
            id=self._next_id,
            target=target,
            rows=rows,
            queued_ms=now_ms,
            eligible_ms=now_ms + delay_ms + course.later_ms,
            duration_ms=max(IMPORT_MS_MIN, int(rows * 1000 / config.rows_per_second * factor * course.slower)),
        )
        self._next_id += 1
        return batch

    def require(self, client: ClientSpec, permission: Permission) -> None:
        """Refuse a call that this client has no right to (603)."""
        if permission not in client.permissions:
            raise refusal("603")

    def _check_target(self, target: Target) -> None:
        match target:
            case Leads():
                if target.list_id is not None and target.list_id not in self.holdings.lists:
                    raise refusal("1013")
                if target.partition is not None and target.partition not in self.config.partitions:
                    raise refusal("1008", target.partition)
            case CustomObjects():
                self.object_spec(target.api_name)
            case ProgramMembers():
                program = self._programs.get(target.program_id)
                if program is None:
                    raise refusal("1013")
                if target.member_status not in self._statuses[program.channel]:
                    raise refusal("1025")
            case _:
                assert_never(target)

    def object_spec(self, api_name: str) -> ObjectSpec:
        """Return a custom object type by its name; refuses one that is not there (1013)."""
        spec = self._objects.get(api_name)
        if spec is None:
            raise refusal("1013")
        return spec

    def _stage(self, upload: Upload) -> Staged:
        delimiter = upload.format.delimiter
        table = read_table(upload.data, delimiter)
        if table is None:
            raise invalid_data("Empty file")
        staged = stage(table, self._rules(upload.target, table), delimiter=delimiter)
        if not staged.rows:
            raise invalid_data("Empty file")
        return staged

    def _rules(self, target: Target, table: Table) -> Rules:
        match target:
            case Leads():
                space = self.holdings.space_of(target.partition)
                return lead_rules(self.config, table.header, lookup_field=target.lookup_field, space=space)
            case CustomObjects():
                return object_rules(self.config, self.object_spec(target.api_name), table.header)
            case ProgramMembers():
                return member_rules(self.config, table.header)
            case _:
                assert_never(target)

    def _check_queue(self, target: Target) -> None:
        if isinstance(target, Leads) and target.list_id is not None:
            for other in self.queue.batches:
                if isinstance(other.target, Leads) and other.target.list_id == target.list_id:
                    raise refusal("1019")
        if self.queue.unfinished >= self.queue.slots:
            raise refusal("1016", self.queue.slots)

    # --- asking ---

    def batch(self, target: type[Target], batch_id: int, now_ms: int, *, api_name: str | None = None) -> Batch:
        """Return a batch of this kind; refuses one that is not there, or no longer (1013)."""
        self.advance(now_ms)
        batch = self.batches.get(batch_id)
        if batch is None or not isinstance(batch.target, target):
            raise refusal("1013")
        if isinstance(batch.target, CustomObjects) and batch.target.api_name != api_name:
            raise refusal("1013")
        if batch.ended_ms is not None and now_ms >= batch.ended_ms + self.config.batch_life_ms:
            raise refusal("1013")
        return batch

    def counts(self, batch: Batch, now_ms: int) -> Counts:
        """Return how far a batch is at this time."""
        staged = batch.staged
        if batch.status is BatchStatus.QUEUED:
            return Counts(processed=0, failed=0, warned=0)
        if staged is None:
            return Counts(processed=batch.rows_done(now_ms), failed=0, warned=0)
        if batch.failure is not None or batch.status is BatchStatus.FAILED:
            return Counts(processed=batch.processed, failed=0, warned=0)
        done = batch.rows_done(now_ms)
        failed = bisect_right(staged.failures, done, key=lambda one: one.row)
        warned = bisect_right(staged.warnings, done, key=lambda one: one.row)
        return Counts(processed=done - failed, failed=failed, warned=warned)

    def result_file(self, batch: Batch, kind: ResultKind) -> str | None:
        """Return the failure or warning file of a batch, or None if there is none."""
        staged = batch.staged
        if staged is None or batch.status is not BatchStatus.COMPLETE:
            return None
        judged = staged.failures if kind is ResultKind.FAILURES else staged.warnings
        if not judged:
            return None
        return result_file(
            judged,
            header=staged.header,
            separator=staged.separator,
            delimiter=staged.delimiter,
            column=FAILURE_COLUMN if kind is ResultKind.FAILURES else WARNING_COLUMN,
            cut_trailing_empty=self.config.trailing_empty_columns_cut,
        )

    def records(self, name: str, now_ms: int) -> Iterator[dict[str, Any]]:
        """Yield the records of a store; see `Holdings.read`."""
        self.advance(now_ms)
        return self.holdings.read(name)

    def note_create(self, line: dict[str, Any]) -> None:
        """Keep a line about an upload for those who test."""
        if len(self.creates) < CREATES_KEPT:
            self.creates.append(line)
