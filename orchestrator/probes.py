"""Finding the batch of a chunk whose answer was lost: asking Marketo, and drawing no more than the answers prove.

What an answer would have told can be found out afterwards, for batch ids are one rising counter.  All ids between
the last one known before the upload and the first one of a later upload are asked for their status; if nothing was
uploaded later, all up to a run of ids that Marketo does not know.  What is finished and has as many rows may be it.
The rows that such a batch lists, and records that are read back, tell more (`report.evidence`), and
`schedule.adoption` decides.  While anything between is unfinished, or an upload is under way whose id might be
among them, nothing is decided.

A call that asks costs as much of the quota as any other, so there is a limit on them, for each set of chunks that
are in doubt together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from orchestrator import events
from orchestrator.desk import CAUSES, Desk, DrivenJob, span_data
from orchestrator.errors import AccessDenied, FileUnwritten, InvalidRequest, MalformedResponse, MarketoError
from orchestrator.inquiry import (
    Inquiry,
    Interval,
    Match,
    between,
    candidate,
    compare,
    kind_of,
    landed,
    name_of,
    proof_of,
    question,
    upload,
)
from orchestrator.journal.changes import ChunkValues, Told
from orchestrator.marketo import codes
from orchestrator.marketo.client import Client
from orchestrator.marketo.wire import BatchReport, ResultKind
from orchestrator.model import BatchId, BatchStatus, Chunk, ChunkId, OnUnknown, Phase, Target
from orchestrator.offload import Offload
from orchestrator.report import evidence
from orchestrator.report.evidence import Content, Reading
from orchestrator.report.part import RowKind
from orchestrator.schedule import messages as m
from orchestrator.schedule.adoption import Doubtful, assign
from orchestrator.schedule.state import Limits

GAP_IDS = 10  # so many ids in a row that Marketo does not know are the end of its counter
AGE_MS_MAX = 6 * 86_400_000  # after seven days Marketo forgets batches, and those that are left would mislead
AGAIN_MS_MAX = 600_000
FINISHED = (BatchStatus.COMPLETE, BatchStatus.FAILED)
KINDS = {ResultKind.FAILURES: RowKind.FAILURE, ResultKind.WARNINGS: RowKind.WARNING}


class _LaterError(Exception):
    """It cannot be known yet."""


class _NeverError(Exception):
    """Nothing more can be found out; the words say why."""


class Probes:
    """Carries out the command to look for batches."""

    def __init__(self, desk: Desk, *, client: Client, offload: Offload, host: str, limits: Limits) -> None:
        """Begin with nothing asked."""
        self._desk = desk
        self._client = client
        self._offload = offload
        self._host = host
        self._limits = limits
        self._inquiries: dict[tuple[tuple[ChunkId, int], ...], Inquiry] = {}
        self._first_looks_ms: dict[tuple[ChunkId, int], int] = {}

    async def seek(self, command: m.SeekBatch) -> m.Fact:
        """Find out which batches the chunks became that were lost together with this one."""
        driven, chunk, _ = self._desk.find(command.chunk)
        now_ms = self._desk.clock.now_ms()
        again_ms = self._next_look_ms(chunk, now_ms)
        group: tuple[Chunk, ...] = (chunk,)
        adopted: Mapping[ChunkId, BatchId] = {}
        try:
            interval = await self._interval(chunk)
            group = interval.chunks
            with self._desk.calls.on_behalf_of(driven.job.id):
                adopted = await self._resolve(interval, now_ms)
        except _NeverError as why:
            await self._give_up(group, str(why))
        except AccessDenied as error:
            await self._give_up(group, str(error))
        except (_LaterError, MarketoError, FileUnwritten, OSError) as error:
            if isinstance(error, (FileUnwritten, OSError)):  # it says so, and may have room again
                await self._desk.write(*self._desk.found(driven, "results_unwritten", str(error)))
            cause = CAUSES.get(type(error)) if isinstance(error, MarketoError) else None
            return m.BatchSought(
                chunk=chunk.id,
                chunks=tuple(each.id for each in group),
                again_ms=again_ms,
                cause=cause,
                retry_at_ms=None if cause is None else self._desk.retry_at_ms(cause),
            )
        self._close(group)
        return m.BatchSought(
            chunk=chunk.id, chunks=tuple(each.id for each in group), adopted=tuple(sorted(adopted.items()))
        )

    def _next_look_ms(self, chunk: Chunk, now_ms: int) -> int:
        """Return when it is looked again: at first soon, then more and more seldom.

        It counts from the first look that this process took, or from the upload if that is later: after a pause of
        hours, what keeps a batch from being found at the first look may pass within seconds.
        """
        first_ms = self._first_looks_ms.setdefault((chunk.id, chunk.attempts), now_ms)
        since_ms = max(chunk.submitted_ms or 0, first_ms - self._limits.settle_ms)
        return now_ms + min(AGAIN_MS_MAX, max(self._limits.poll_min_ms, (now_ms - since_ms) // 2))

    # --- what is in doubt --------------------------------------------------------------------------------

    async def _interval(self, chunk: Chunk) -> Interval:
        """Return the set of chunks in doubt that one of them belongs to."""
        known = self._desk.known
        if chunk.last_batch_id is None:
            raise _NeverError("no batch of this subscription was known when it was sent")
        if self._desk.clock.now_ms() - (chunk.submitted_ms or 0) > AGE_MS_MAX:
            raise _NeverError("it was sent too long ago: Marketo forgets batches after seven days")
        submissions = await self._desk.journal.submissions(self._host, chunk.last_batch_id)
        later = [each.batch_id for each in submissions if each.batch_id and each.batch_id > chunk.last_batch_id]
        in_doubt = [each for each in submissions if each.phase in (Phase.UNKNOWN, Phase.SUBMITTING)]
        busy = known.lane.busy
        if not later and busy is not None:
            raise _LaterError  # its batch would be one of those that are asked for
        together = [each for each in in_doubt if each.last_batch_id == chunk.last_batch_id and each.id != busy]
        blind = [each for each in in_doubt if each.last_batch_id is None and each.id != busy]
        if any(
            (each.submitted_ms or 0) >= (chunk.submitted_ms or 0) for each in blind
        ):  # else it is none behind a batch
            raise _NeverError("another upload is in doubt, of which nothing is known")
        if any(each.job not in self._desk.jobs for each in together):
            raise _NeverError("another upload is in doubt, of a job that is not driven here")
        return Interval(
            after=chunk.last_batch_id,
            before=min(later, default=None),
            chunks=tuple(together),
            jobs={each.job: self._desk.jobs[each.job] for each in together},
        )

    def _is_open(self, interval: Interval, chunk: Chunk) -> bool:
        """Tell whether a chunk is looked for still: its job goes on, and it was not given up before."""
        if self._desk.jobs.get(chunk.job) is not interval.job_of(chunk):
            return False
        return self._desk.known.chunk(chunk.id).seek_ms is not None

    # --- asking ------------------------------------------------------------------------------------------

    def _spend(self, inquiry: Inquiry) -> None:
        if inquiry.calls >= self._limits.probe_calls_max:
            raise _NeverError(f"unknown.probe_calls_max ({self._limits.probe_calls_max}) calls were made to find it")
        inquiry.calls += 1

    async def _scan(self, interval: Interval, inquiry: Inquiry) -> dict[BatchId, dict[str, BatchReport]]:
        """Return what Marketo knows of the ids in question, by the kind of import that it was asked for."""
        targets = {kind_of(target): target for target in map(interval.target_of, interval.chunks)}
        if interval.before is not None:
            calls = (interval.before - interval.after - 1) * len(targets)
            if calls > self._limits.probe_calls_max:
                raise _NeverError(
                    f"to ask for all batches between {interval.after} and {interval.before} takes {calls} calls, more "
                    f"than unknown.probe_calls_max ({self._limits.probe_calls_max})"
                )
        found: dict[BatchId, dict[str, BatchReport]] = {}
        number, absent = BatchId(interval.after + 1), 0
        while number != interval.before and (interval.before is not None or absent < GAP_IDS):
            reports = {kind: await self._ask(target, number, inquiry) for kind, target in targets.items()}
            found[number] = {kind: report for kind, report in reports.items() if report is not None}
            absent = 0 if found[number] else absent + 1
            number = BatchId(number + 1)
        return {number: reports for number, reports in found.items() if reports}

    async def _ask(self, target: Target, number: BatchId, inquiry: Inquiry) -> BatchReport | None:
        """Return the status of a batch; None if Marketo does not know it as one of this kind."""
        key = (kind_of(target), number)
        if key in inquiry.reports:
            return inquiry.reports[key]
        self._spend(inquiry)
        report: BatchReport | None = None
        try:
            report = await self._client.status(target, number)
        except InvalidRequest as error:
            if not codes.is_gone(error):
                raise
        if report is None or report.status in FINISHED:
            inquiry.reports[key] = report
        return report

    async def _fetch(self, driven: DrivenJob, report: BatchReport, inquiry: Inquiry) -> dict[RowKind, Path]:
        """Return the result files of a batch, those that there are."""
        key = (kind_of(driven.job.target), report.batch_id)
        if key not in inquiry.files:
            files: dict[RowKind, Path] = {}
            directory = driven.directory / "results"
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            for kind, count in ((ResultKind.FAILURES, report.failed), (ResultKind.WARNINGS, report.warned)):
                path = directory / f"sought-{report.batch_id}.{kind}"
                if count:
                    self._spend(inquiry)
                    if await self._client.fetch(kind, driven.job.target, report.batch_id, path):
                        files[KINDS[kind]] = path
            inquiry.files[key] = files
        return inquiry.files[key]

    async def _match(self, driven: DrivenJob, chunk: Chunk, report: BatchReport, inquiry: Inquiry) -> Match:
        """Compare a batch with a chunk."""
        if report.status is BatchStatus.FAILED:
            return Match(fits=True, certain=False)
        if report.processed + report.failed != chunk.span.rows:
            return Match(fits=False)
        if not report.failed + report.warned:
            return Match(fits=True)
        files = await self._fetch(driven, report, inquiry)
        return await self._offload.run(compare, driven, chunk, report, files)

    async def _read_back(
        self, driven: DrivenJob, chunk: Chunk, without: Sequence[Content], inquiry: Inquiry
    ) -> Reading | None:
        """Read records back by keys of a chunk; None if that can prove nothing."""
        source, keys = driven.sources[chunk.span.source], driven.job.key_columns
        if chunk.marketo_ms is None or len(keys) != 1 or keys[0] not in source.sent_columns or keys[0] == "id":
            return None
        data = await self._offload.run(span_data, source, chunk.span)
        if data is None:
            return None
        asked = await self._offload.run(question, data, driven, chunk, keys[0], tuple(without))
        if not asked.keys:
            return None
        self._spend(inquiry)
        try:
            records = await self._client.records(
                driven.job.target, keys[0], asked.keys, (keys[0], "createdAt", *asked.columns)
            )
        except (InvalidRequest, MalformedResponse, AccessDenied):  # a column that is no field, or no right to read
            return None
        return evidence.judge(asked, records, keys[0], after_ms=chunk.marketo_ms)

    # --- deciding ----------------------------------------------------------------------------------------

    async def _resolve(self, interval: Interval, now_ms: int) -> Mapping[ChunkId, BatchId]:
        """Decide about a set of chunks; write down what is certain, and why about the others."""
        for chunk in interval.chunks:
            if now_ms < (self._desk.known.chunk(chunk.id).seek_ms or 0):
                raise _LaterError  # it was lost just now
        return await self._weigh(interval, self._inquiries.setdefault(name_of(interval.chunks), Inquiry()))

    def _close(self, group: Sequence[Chunk]) -> None:
        """Forget what was asked about a set of chunks."""
        inquiry = self._inquiries.pop(name_of(group), Inquiry())
        for one in name_of(group):
            self._first_looks_ms.pop(one, None)
        for files in inquiry.files.values():
            for path in files.values():
                path.unlink(missing_ok=True)

    async def _weigh(self, interval: Interval, inquiry: Inquiry) -> Mapping[ChunkId, BatchId]:
        reports = await self._scan(interval, inquiry)
        if any(report.status not in FINISHED for each in reports.values() for report in each.values()):
            raise _LaterError
        matches: dict[tuple[ChunkId, BatchId], Match] = {}
        for number, by_kind in reports.items():
            for chunk in interval.chunks:
                report = by_kind.get(kind_of(interval.target_of(chunk)))
                if report is None:
                    continue
                match = await self._match(interval.job_of(chunk), chunk, report, inquiry)
                if match.fits:
                    matches[chunk.id, number] = match
        readings: dict[ChunkId, Reading | None] = {}
        for chunk in interval.chunks:
            own = [match for (lost, _), match in matches.items() if lost == chunk.id]
            readings[chunk.id] = None
            driven = interval.job_of(chunk)
            if own and driven.job.options.on_unknown is OnUnknown.PROBE:
                without = [row for match in own for row in match.listed]
                readings[chunk.id] = await self._read_back(driven, chunk, without, inquiry)
        certain = assign(
            [Doubtful(chunk=chunk.id, landed=landed(readings[chunk.id])) for chunk in interval.chunks],
            [candidate(number, interval.chunks, matches) for number in sorted(reports)],
        )
        if await self._interval(interval.chunks[0]) != interval:
            raise _LaterError  # something was sent meanwhile
        return await self._conclude(interval, reports, matches, readings, certain)

    async def _conclude(
        self,
        interval: Interval,
        reports: Mapping[BatchId, Mapping[str, BatchReport]],
        matches: Mapping[tuple[ChunkId, BatchId], Match],
        readings: Mapping[ChunkId, Reading | None],
        certain: Mapping[ChunkId, BatchId],
    ) -> Mapping[ChunkId, BatchId]:
        adopted: dict[ChunkId, BatchId] = {}
        for chunk in interval.chunks:
            if interval.job_of(chunk).job.options.on_unknown is not OnUnknown.PROBE:
                continue
            number = certain.get(chunk.id)
            if not self._is_open(interval, chunk):
                continue  # it may be sent again at any moment
            if number is not None:
                listed = len(matches[chunk.id, number].listed)
                await self._adopt(chunk, number, proof_of(interval, len(reports), listed, readings[chunk.id]))
                adopted[chunk.id] = number
                continue
            fitting = sum(lost == chunk.id for lost, _ in matches)
            why = f"of {len(reports)} imports {between(interval)}, {fitting} may be it"
            if fitting and not landed(readings[chunk.id]):
                why += ", and nothing proves that its rows arrived"
            await self._give_up((chunk,), why)
        return adopted

    async def _adopt(self, chunk: Chunk, number: BatchId, proof: str) -> None:
        driven = self._desk.jobs[chunk.job]
        self._desk.note_batch(number)
        values: ChunkValues = {"phase": Phase.SUBMITTED, "batch_id": number, "hold_until_ms": None, "adopted": True}
        told = events.ChunkAdopted(
            job_id=chunk.job, ts_ms=self._desk.clock.now_ms(), chunk=chunk.id, batch_id=number, evidence=proof
        )
        message = f"The answer to {upload(driven, chunk)} was lost. It became batch {number}: {proof}."
        current = driven.chunks[chunk.id]
        found = self._desk.found(driven, "batch_adopted", message)
        await self._desk.update(driven, current, values, Told(event=told), *found)

    async def _give_up(self, chunks: Sequence[Chunk], why: str) -> None:
        """Note that it cannot be found out what became of chunks."""
        for chunk in chunks:
            driven = self._desk.jobs.get(chunk.job)
            if driven is not None and driven.job.options.on_unknown is OnUnknown.PROBE:
                message = (
                    f"The answer to {upload(driven, chunk)} was lost, and it is not certain what became of it: {why}. "
                    "It is sent again when it can no longer be at work."
                )
                await self._desk.write(*self._desk.found(driven, "batch_not_found", message))
