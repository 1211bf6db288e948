"""Taking jobs in: from a wish to a job in the journal whose sources are read, checked and cut into chunks.

A job is written to the journal before its sources are read, so that a crash while reading leaves a trace and
`resume` reads them again.  Whoever reads them has a directory of its own for the copies it makes; those count whose
plan is in the journal first.  Nothing is sent here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random

from anyio import CancelScope

from orchestrator import preflight
from orchestrator.canary import with_canary
from orchestrator.clock import Clock
from orchestrator.connection import Connection
from orchestrator.desk import CallCounts, part_bytes_max
from orchestrator.draft import draft
from orchestrator.errors import AlreadyGiven, ConfigError, JobUnknown, JournalError, NoRoom, SourceError
from orchestrator.fetching import fetch
from orchestrator.journal.changes import FindingAdded, JobChanged, JobPlanned, JobValues
from orchestrator.journal.journal import Journal
from orchestrator.ledger import Ledger, fingerprint_of
from orchestrator.mapping import parse
from orchestrator.model import (
    CustomObjects,
    ExitCode,
    Finding,
    Job,
    JobId,
    JobOptions,
    JobState,
    Leads,
    RepeatedKeys,
    Source,
    Span,
    Target,
)
from orchestrator.offload import Offload
from orchestrator.outcome import copies_directory, job_directory, plans_directory
from orchestrator.scratch import Claimed, abandoned, claim
from orchestrator.source.changed import plan_sources, settle_repeated
from orchestrator.source.inventory import take
from orchestrator.source.opened import WITHHELD, Located, Reading, plan_all
from orchestrator.source.split import Plan
from orchestrator.source.spool import LISTING_FILE, Workspace, make_private
from orchestrator.tables import Http

LOOKS_MAX = 10  # at the ledger: each but the first because somebody else planned the same job meanwhile
KEYS_NOT_COMPARED = Finding(
    kind="keys_not_compared",
    message="Keys were not compared, because repeated ones are to be ignored. Where one stands twice, in this import "
    "or in another one at the same time, Marketo may have made two records of it.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Sources that can be imported as they are."""

    plans: tuple[Plan, ...]
    known: preflight.Known
    canaries: tuple[int, ...] = ()  # which of the spans are sent before all others
    notes: tuple[Finding, ...] = ()  # what was done to the sources
    planning_ms: int  # from opening the first source to knowing all spans

    @property
    def spans(self) -> tuple[Span, ...]:
        """What will be sent, in order."""
        return tuple(span for plan in self.plans for span in plan.spans)


class Intake:
    """Reads and checks what jobs of one subscription are made of."""

    def __init__(
        self,
        *,
        journal: Journal,
        offload: Offload,
        clock: Clock,
        calls: CallCounts,
        connection: Connection,
        state_dir: Path,
        http: Http,
        rng: Random,
    ) -> None:
        """Hold what is needed; ``connection`` is used only if Marketo has to be asked."""
        self._state_dir = state_dir
        self._http = http
        self._rng = rng
        self._planning: set[JobId] = set()
        self._journal = journal
        self._offload = offload
        self._clock = clock
        self._calls = calls
        self._connection = connection
        self._ledger = Ledger(journal, offload)

    async def predecessor(self, after: str | None, host: str | None) -> JobId | None:
        """Return the job behind whose end one begins that goes to a host; ConfigError if there is none such."""
        if after is None:
            return None
        try:
            job = await self._journal.job(after)
        except JobUnknown as error:
            raise ConfigError(f"--after: {error}") from None
        if host not in (None, job.host):
            raise ConfigError(f"--after {job.id}: that job writes to {job.host}, this one to {host}")
        return job.id

    async def prepare(
        self,
        located: Sequence[Located],
        target: Target,
        options: JobOptions,
        *,
        workspace: Workspace,
        offline: bool = False,
    ) -> Prepared:
        """Look at the target, read and check the sources; copies are made of those that cannot be sent as they are.

        Raises:
            SourceError: a source, or the target, is not as it must be.
            MarketoError: Marketo cannot be asked.

        """
        known = preflight.unasked(target)
        if not offline and (options.check or isinstance(target, CustomObjects)):
            client = await self._connection.client()
            known = await self._connection.patiently(partial(preflight.look_up, client, target, check=options.check))
        started_ms = self._clock.now_ms()
        try:
            plans, notes = await self._read(located, target, known, options, workspace)
        except BaseException:  # cancelled: the thread goes on until it is told
            workspace.stop()
            workspace.clear()
            raise
        if not options.canary_rows:
            return Prepared(plans=plans, known=known, notes=notes, planning_ms=self._clock.now_ms() - started_ms)
        spans, canaries = await self._offload.run(
            with_canary, plans, rows=options.canary_rows, key_columns=known.key_columns
        )
        cut = tuple(
            replace(plan, spans=tuple(span for span in spans if span.source == plan.source.index)) for plan in plans
        )
        planning_ms = self._clock.now_ms() - started_ms
        return Prepared(plans=cut, known=known, canaries=canaries, notes=notes, planning_ms=planning_ms)

    async def _read(
        self,
        located: Sequence[Located],
        target: Target,
        known: preflight.Known,
        options: JobOptions,
        workspace: Workspace,
    ) -> tuple[tuple[Plan, ...], tuple[Finding, ...]]:
        """Plan and check what is sent of the sources; return it, and what was done to them."""
        reading = self._reading(options, workspace)
        mapping = None if options.mapping is None else parse(options.mapping)
        here = [await self._fetched(each, index, workspace) for index, each in enumerate(located)]
        plans, changed = await self._offload.run(plan_sources, here, mapping, reading)
        notes = [Finding(kind="cells_changed", message=message) for message in changed]
        preflight.check_headers(plans, known, target, options)
        preflight.check_rows(plans, rows_min=options.rows_min)
        if options.strict:
            inventory = await self._offload.run(take, [plan.source for plan in plans], workspace.check)
            warnings = [warning for plan in plans for warning in plan.warnings]
            preflight.check_warnings([*warnings, *inventory.warnings])
        mode = options.on_repeated_key
        if mode in (RepeatedKeys.LAST, RepeatedKeys.FAIL):
            plans = await self._offload.run(settle_repeated, plans, known.key_columns, mode, reading)
            notes += [_superseded(plan.source) for plan in plans if plan.source.superseded]
        return plans, tuple(notes)

    def _reading(self, options: JobOptions, workspace: Workspace) -> Reading:
        limits = self._connection.limits()
        return Reading(
            workspace=workspace,
            part_bytes_max=part_bytes_max(limits.body_bytes_max),
            rows_max=limits.rows_per_chunk_max,
            format=options.format,
            encoding=options.encoding,
            allow_empty=options.allow_empty,
        )

    async def draft(
        self, located: Sequence[Located], target: Target, options: JobOptions, *, workspace: Workspace
    ) -> str:
        """Return a mapping of the columns of sources to the fields of a target, for a person to look over.

        Raises:
            SourceError: a source cannot be read, or there is no such target.
            MarketoError: Marketo cannot be asked.

        """
        schema = await preflight.describe(await self._connection.client(), target)
        here = [await self._fetched(each, index, workspace) for index, each in enumerate(located)]
        plans = await self._offload.run(plan_all, here, self._reading(options, workspace))
        columns = [column for plan in plans for column in plan.source.columns]
        keys = (target.lookup_field,) if isinstance(target, Leads) else schema.dedupe_fields
        return draft(columns, schema, keys)

    async def _fetched(self, located: Located, index: int, workspace: Workspace) -> Located:
        """Return a source that is on this machine; a URL is fetched."""
        if not located.is_url:
            return located
        name = located.name
        if located.address is None and located.absolute.endswith(WITHHELD):
            raise SourceError(
                f"{name}: the job was stopped before this was fetched, and its query or credentials are not kept. "
                "Import it again, as a new job."
            )
        path = await fetch(
            located.address or located.absolute,
            name=name,
            workspace=workspace,
            stem=str(index),
            http=self._http,
            offload=self._offload,
        )
        return replace(located, fetched=str(path))

    def is_planning(self, job_id: JobId) -> bool:
        """Tell whether a job is being planned here."""
        return job_id in self._planning

    async def plan_job(self, job: Job, located: Sequence[Located] | None = None) -> Job | None:
        """Read the sources of a journalled job and write what they are cut into; it runs from then on.

        ``located`` are its sources, if it is this process that was given them.
        Return None, or the job that is to be gone on with and of which nothing was written here: an earlier one that
        is the same, or this one, as another process made it meanwhile.

        Raises:
            SourceError: a source, or the target, is not as it must be; the journal has the job as failed.
            AlreadyGiven: it was given before, and is refused for that; nothing is written of it.
            NoRoom: a copy of a source cannot be made now; the job can be resumed.
            MarketoError: Marketo cannot be asked.

        """
        if located is None:
            named = zip(job.paths, job.absolute_paths, strict=True)
            located = [Located(given=given, absolute=absolute, live=False) for given, absolute in named]
        own = await self._offload.run(self._own_directory, job)
        self._planning.add(job.id)
        workspace = Workspace(copies_directory(own.directory))
        instead: Job | None = job
        try:
            await self._sweep(job)
            with self._calls.on_behalf_of(job.id):
                prepared = await self.prepare(located, job.target, job.options, workspace=workspace)
            instead = await self._write_plan(job, prepared)
        except (NoRoom, AlreadyGiven):  # the one passes, and the job is planned anew; of the other one there is no job
            raise
        except (SourceError, ConfigError) as error:
            if await self.refuse(job, error) or (instead := await self._journal.job(job.id)).state is JobState.FAILED:
                raise
        finally:
            self._planning.discard(job.id)
            with CancelScope(shield=True):
                await self._offload.run(own.remove if instead is not None else own.keep)
        return instead

    def _own_directory(self, job: Job) -> Claimed:
        parent = plans_directory(job_directory(self._state_dir, job))
        make_private(parent)
        return claim(parent, rng=self._rng, now_ms=self._clock.now_ms())

    async def _sweep(self, job: Job) -> None:
        """Remove what processes left that were killed while they planned a job; nothing if one of them had done it."""
        parent = plans_directory(job_directory(self._state_dir, job))
        left = await self._offload.run(abandoned, parent, now_ms=self._clock.now_ms())
        unplanned = (await self._journal.job(job.id)).state is JobState.PLANNING  # asked when nobody else has them
        for each in left:
            await self._offload.run(each.remove if unplanned else each.keep)

    async def _write_plan(self, job: Job, prepared: Prepared) -> Job | None:
        """Write a plan; return None, or the job that is to be gone on with instead."""
        odd = [Finding(kind="source_odd", message=warning) for plan in prepared.plans for warning in plan.warnings]
        skipped = [Finding(kind="check_skipped", message=why) for why in prepared.known.skipped]
        ignored = [KEYS_NOT_COMPARED] if job.options.on_repeated_key is RepeatedKeys.IGNORE else []
        sources = tuple(plan.source for plan in prepared.plans)
        fingerprint = fingerprint_of(job.target, sources, prepared.spans, job_id=job.id)
        planned = JobPlanned(
            job_id=job.id,
            sources=sources,
            spans=prepared.spans,
            key_columns=prepared.known.key_columns,
            canaries=prepared.canaries,
            fingerprint=fingerprint,
        )
        found = [
            FindingAdded(job_id=job.id, finding=finding) for finding in (*ignored, *skipped, *prepared.notes, *odd)
        ]
        unlike: set[JobId] = set()
        for _ in range(LOOKS_MAX):
            now = await self._journal.job(job.id)
            if now.state is not JobState.PLANNING:
                return now
            earlier = await self._ledger.find(job, sources, fingerprint, unlike)
            if earlier is not None:
                await self._ledger.lend(earlier, sources)
                return earlier
            if await self._journal.plan_once(planned, found, unlike):
                return None
        raise JournalError(
            f"job {job.id}: the journal has its key or content, and at the next look it has not, {LOOKS_MAX} times. "
            "Other imports of it may come and go; try again when they have ended."
        )

    async def given(self, host: str, target: Target, prepared: Prepared) -> Job | None:
        """Return the job of the same content and target, the latest of several; None if there is none."""
        return await self._ledger.given(host, target, [plan.source for plan in prepared.plans], prepared.spans)

    async def refuse(self, job: Job, error: Exception) -> bool:
        """Write that a job was refused before anything of it was sent; False if another process was sooner."""
        ended: JobValues = {
            "state": JobState.FAILED,
            "finished_ms": self._clock.now_ms(),
            "exit_code": ExitCode.INPUT_REFUSED,
            "exit_reasons": ("input_refused",),
            "options": replace(job.options, helps=getattr(error, "next_command", None)),
        }
        finding = Finding(kind="input_refused", message=str(error))
        return await self._journal.write_unfenced(
            [FindingAdded(job_id=job.id, finding=finding), JobChanged(job_id=job.id, values=ended)],
            only_from=(JobState.PLANNING,),  # else another process that resumed it was sooner, and could plan it
        )


def _superseded(source: Source) -> Finding:
    return Finding(
        kind="rows_superseded",
        message=f"{source.path}: rows that are not sent, because a later one has the same key: {source.superseded:,}; "
        f"the report lists them in {LISTING_FILE}.",
    )
