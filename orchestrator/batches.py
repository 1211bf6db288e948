"""Following batches at Marketo: how they are doing, what became of their rows.

Each method carries out one command of the heart and returns the fact it made.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path

from orchestrator import events
from orchestrator.desk import CAUSES, Desk, DrivenJob, span_data
from orchestrator.errors import AccessDenied, InvalidRequest, MalformedResponse, MarketoError, OrchestratorError
from orchestrator.journal.changes import ChunkValues, FindingAdded, Told
from orchestrator.marketo import codes
from orchestrator.marketo.client import Client
from orchestrator.marketo.wire import BatchReport, ResultKind
from orchestrator.model import BATCH_LIFE_MS, BatchStatus, Chunk, ChunkId, Phase, Source
from orchestrator.offload import Offload
from orchestrator.report.account import account
from orchestrator.report.attribute import Attribution, attribute
from orchestrator.schedule import messages as m
from orchestrator.schedule.messages import Cause
from orchestrator.source.places import restore

# Findings worth another fetch; a row that fits nothing may be one that was cut off in the middle.
FAULTY_FILE = ("result_file_missing", "result_file_differs", "result_file_damaged", "rows_unmatched")
UNUSABLE = (MalformedResponse, InvalidRequest)  # answers in place of a result file that waiting need not mend
FETCHES_MAX = 3  # of a faulty result file; then the difference is reported as unmatched
MISSED_MS_MAX = 600_000  # how long a batch that Marketo does not know is asked for again, before it is given up


class Batches:
    """Carries out the commands about batches."""

    def __init__(self, desk: Desk, *, client: Client, offload: Offload) -> None:
        """Begin with nothing polled or fetched."""
        self._desk = desk
        self._client = client
        self._offload = offload
        self._faulty: Counter[ChunkId] = Counter()  # how often result files came that cannot be right
        self._polls: Counter[ChunkId] = Counter()
        self._missed_ms: dict[ChunkId, int] = {}  # since when Marketo says that it does not know a batch

    async def poll(self, command: m.PollBatch) -> m.Fact:
        """Ask how a batch is doing."""
        driven, chunk, _ = self._desk.find(command.chunk)
        self._polls[chunk.id] += 1
        try:
            with self._desk.calls.on_behalf_of(driven.job.id):
                report = await self._client.status(driven.job.target, command.batch_id)
        except MarketoError as error:
            if isinstance(error, InvalidRequest) and codes.is_gone(error):
                return await self._batch_missed(driven, chunk)
            return await self._call_failed(driven, chunk, error)
        self._missed_ms.pop(chunk.id, None)
        if report.status is BatchStatus.COMPLETE:
            await self._batch_completed(driven, chunk, report)
        elif report.status is BatchStatus.FAILED:
            await self._batch_failed(driven, chunk, report)
        elif report.status is BatchStatus.IMPORTING and chunk.status is not BatchStatus.IMPORTING:
            started = events.BatchStarted(
                job_id=driven.job.id, ts_ms=self._desk.clock.now_ms(), chunk=chunk.id, batch_id=command.batch_id
            )
            await self._desk.update(driven, chunk, {"status": report.status}, Told(event=started))
        return m.BatchPolled(chunk=chunk.id, status=report.status, failed=report.failed)

    async def _batch_completed(self, driven: DrivenJob, chunk: Chunk, report: BatchReport) -> None:
        outcome = account(
            batch_id=report.batch_id,
            rows=chunk.span.rows,
            processed=report.processed,
            failed=report.failed,
            warned=report.warned,
        )
        values: ChunkValues = {
            "phase": Phase.COLLECTING,
            "status": report.status,
            "message": report.message,
            "completed_ms": self._desk.clock.now_ms(),
            "took_ms": self._took_ms(chunk),
            "accepted": outcome.accepted,
            "failed": outcome.failed,
            "warned": outcome.warned,
            "unknown": outcome.unknown,
            "polls": chunk.polls + self._polls.pop(chunk.id, 0),
        }
        found = [FindingAdded(job_id=driven.job.id, finding=finding) for finding in outcome.findings]
        await self._desk.update(driven, chunk, values, *found)

    async def _batch_failed(self, driven: DrivenJob, chunk: Chunk, report: BatchReport) -> None:
        """Note that Marketo failed a batch as a whole; the chunk is unsent again."""
        message = f"Marketo failed batch {report.batch_id} as a whole: {report.message or '(no message)'}"
        values: ChunkValues = {
            "phase": Phase.READY,
            "status": report.status,
            "message": report.message,
            "batch_id": None,
            "took_ms": self._took_ms(chunk),
            "batch_failures": chunk.batch_failures + 1,
            "polls": chunk.polls + self._polls.pop(chunk.id, 0),
        }
        told = events.BatchFailed(
            job_id=driven.job.id,
            ts_ms=self._desk.clock.now_ms(),
            chunk=chunk.id,
            batch_id=report.batch_id,
            message=report.message,
        )
        await self._desk.update(
            driven, chunk, values, *self._desk.found(driven, "batch_failed", message, chunk), Told(event=told)
        )

    def _took_ms(self, chunk: Chunk) -> int | None:
        """Return how long a batch that is finished now took, None if it may have been finished for long."""
        watched = self._desk.known.chunk(chunk.id).watched and chunk.submitted_ms is not None
        return self._desk.clock.now_ms() - (chunk.submitted_ms or 0) if watched else None

    async def _call_failed(self, driven: DrivenJob, chunk: Chunk, error: MarketoError) -> m.Fact:
        """Tell whether a failed call about a batch is worth repeating."""
        if isinstance(error, AccessDenied):
            await self._desk.write(*self._desk.found(driven, "access_denied", str(error)))
            return m.AccessLost(chunk=chunk.id, of_one_target=codes.of_one_target(error))
        cause = CAUSES.get(type(error), Cause.TRANSIENT)
        return m.CallFailed(chunk=chunk.id, cause=cause, retry_at_ms=self._desk.retry_at_ms(cause))

    async def _batch_missed(self, driven: DrivenJob, chunk: Chunk) -> m.Fact:
        """Tell what it means that Marketo does not know a batch.

        It forgets batches, but not young ones: of those it is asked for a while whether it means that.  A slip that
        is believed frees the batch's slot and keys while it is imported, and the next batch may double its people.
        """
        now_ms = self._desk.clock.now_ms()
        missed_ms = self._missed_ms.setdefault(chunk.id, now_ms)
        if now_ms - (chunk.submitted_ms or 0) < BATCH_LIFE_MS and now_ms - missed_ms < MISSED_MS_MAX:
            return m.BatchPolled(chunk=chunk.id, status=None)
        del self._missed_ms[chunk.id]
        message = (
            f"Marketo does not know batch {chunk.batch_id}, so the outcome of its {chunk.span.rows} rows is unknown. "
            "It forgets batches after seven days. Look for the rows in Marketo, and import those that are missing."
        )
        values: ChunkValues = {
            "phase": Phase.DONE,
            "unknown": chunk.span.rows,
            "completed_ms": self._desk.clock.now_ms(),
            "polls": chunk.polls + self._polls.pop(chunk.id, 0),
        }
        await self._desk.update(driven, chunk, values, *self._desk.found(driven, "batch_gone", message, chunk))
        return m.BatchGone(chunk=chunk.id)

    async def collect(self, command: m.CollectBatch) -> m.Fact:
        """Fetch a finished batch's result files and find the source rows they list."""
        driven, chunk, source = self._desk.find(command.chunk)
        directory = driven.directory / "results"
        files = {
            ResultKind.FAILURES: directory / f"{chunk.id}.failures",
            ResultKind.WARNINGS: directory / f"{chunk.id}.warnings",
        }
        wanted = {ResultKind.FAILURES: chunk.failed, ResultKind.WARNINGS: chunk.warned}
        attribution = None
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            there = {
                kind: path
                for kind, path in files.items()
                if wanted[kind] and await self._fetch(driven, chunk, kind, path)
            }
            if any(wanted.values()):
                attribution = await self._offload.run(_attribute, driven, chunk, source, there)
        except MarketoError as error:
            self._faulty[chunk.id] += isinstance(error, UNUSABLE)
            return await self._call_failed(driven, chunk, error)
        except (OrchestratorError, OSError) as error:  # of the disk; it says so, and may have room again
            await self._desk.write(*self._desk.found(driven, "results_unwritten", str(error), chunk))
            return m.CallFailed(chunk=chunk.id, cause=Cause.TRANSIENT)
        if attribution is not None:
            faulty = any(finding.kind in FAULTY_FILE for finding in attribution.findings)
            if faulty and not self._is_last(chunk):
                self._faulty[chunk.id] += 1
                return m.CallFailed(chunk=chunk.id, cause=Cause.TRANSIENT)
        await self._collected(driven, chunk, attribution)
        self._faulty.pop(chunk.id, None)
        if attribution is None or not attribution.findings:  # else a finding tells where to look
            for path in there.values():
                path.unlink(missing_ok=True)
        return m.BatchCollected(chunk=chunk.id)

    async def _fetch(self, driven: DrivenJob, chunk: Chunk, kind: ResultKind, path: Path) -> bool:
        """Fetch a result file; False if there is none, or after several tries none that can be used.

        Raises:
            MarketoError: it is worth another try.

        """
        assert chunk.batch_id is not None  # a collected chunk is a batch
        try:
            with self._desk.calls.on_behalf_of(driven.job.id):
                return await self._client.fetch(kind, driven.job.target, chunk.batch_id, path)
        except UNUSABLE:
            if not self._is_last(chunk):
                raise
            return False

    def _is_last(self, chunk: Chunk) -> bool:
        """Tell whether result files are taken as they are now; calls that failed in passing do not count."""
        return self._faulty[chunk.id] + 1 >= FETCHES_MAX

    async def _collected(self, driven: DrivenJob, chunk: Chunk, attribution: Attribution | None) -> None:
        findings = () if attribution is None else attribution.findings
        values: ChunkValues = {
            "phase": Phase.DONE,
            "unmatched": 0 if attribution is None else attribution.failed_unmatched,
        }
        told = events.BatchCompleted(
            job_id=driven.job.id,
            ts_ms=self._desk.clock.now_ms(),
            chunk=chunk.id,
            batch_id=chunk.batch_id or 0,
            status=chunk.status or "",
            rows=chunk.span.rows,
            accepted=chunk.accepted,
            failed=chunk.failed,
            warned=chunk.warned,
            unknown=chunk.unknown,
        )
        found = [FindingAdded(job_id=driven.job.id, finding=finding) for finding in findings]
        await self._desk.update(driven, chunk, values, *found, Told(event=told))


def _attribute(driven: DrivenJob, chunk: Chunk, source: Source, files: dict[ResultKind, Path]) -> Attribution:
    assert chunk.batch_id is not None  # a collected chunk is a batch
    return attribute(
        data=span_data(source, chunk.span),
        source=source,
        restore=partial(restore, source),
        span=chunk.span,
        batch_id=chunk.batch_id,
        key_columns=driven.job.key_columns,
        failures=files.get(ResultKind.FAILURES),
        warnings=files.get(ResultKind.WARNINGS),
        failed_expected=chunk.failed,
        warned_expected=chunk.warned,
        part=driven.part(chunk.id),
    )
