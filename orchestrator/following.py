"""A job as callers hold it: followed through the journal, whichever process does the work."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.blocking import Blocker, find_blockers
from orchestrator.directories import prepare_out_dir
from orchestrator.events import Event
from orchestrator.journal.journal import Journal
from orchestrator.journal.values import Away, Counters, Owner, Progress
from orchestrator.model import Chunk, Finding, Job, JobId, JobState, Phase, Source
from orchestrator.offload import Offload
from orchestrator.outcome import Gathered, by_original, gather, job_directory, report_job, summarise_job
from orchestrator.prospect import Prospect, Prospects
from orchestrator.report.doubt import still_true
from orchestrator.report.summary import Summary
from orchestrator.schedule.state import FINAL

UNFINISHED = (JobState.PLANNING, JobState.RUNNING)
LOOKS_BEFORE_ABANDONED = 4  # a second apart: whoever takes a job over from a process that died needs one or two

_WATCHED = (Phase.SUBMITTED, Phase.COLLECTING)  # brought to its end by whoever drives the subscription


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """Everything the journal knows of one job."""

    job: Job
    sources: tuple[Source, ...]
    chunks: tuple[Chunk, ...]
    findings: tuple[Finding, ...]
    counters: Counters
    progress: Progress
    blockers: tuple[Blocker, ...]
    prospect: Prospect
    attended: bool  # some live process works on it, or waits until it can
    driver: Owner | None  # the one that sends it; None: nobody does


class JobHandle:
    """One job, followed through the journal."""

    def __init__(
        self,
        job_id: JobId,
        *,
        journal: Journal,
        offload: Offload,
        state_dir: Path,
        next_change: Callable[[], Callable[[], Awaitable[None]]],
        wanted: Callable[[JobId], bool],
        stopped: Callable[[], bool],
        overtaken: Callable[[], int],
        prospects: Prospects,
        known: bool = False,
    ) -> None:
        """Follow a job; ``known`` if an import was found to be the same as it.

        ``next_change`` returns something to wait with for the journal's next change, ``wanted`` tells whether some
        live process waits for a job, ``stopped`` whether this process was told to wait no longer, ``overtaken`` how often another
        one took the subscription from it.
        """
        self.id = job_id
        self.known = known
        self._journal = journal
        self._offload = offload
        self._state_dir = state_dir
        self._next_change = next_change
        self._wanted = wanted
        self._stopped = stopped
        self.overtaken = overtaken
        self._prospects = prospects

    async def events(self, *, after: int = 0) -> AsyncIterator[Event]:
        """Yield what happens to the job, from the event behind number ``after`` on, until it ends or stops.

        It also ends when this process was told to stop; another one that waits for the job may go on with it.

        Raises what ended the driving task, if this process drives and failed.
        """
        while True:
            change = self._next_change()
            over = self._stopped() or (await self._journal.job(self.id)).state not in UNFINISHED
            found = await self._journal.events(self.id, after=after)
            for event in found:
                after = event.seq
                yield event
            if not found:
                if over:
                    return
                await change()

    async def wait(self) -> Summary:
        """Wait until the job ends or stops, or this process does; return what became of it so far.

        Raises what ended the driving task, if this process drives and failed.
        """
        while True:
            change = self._next_change()
            if self._stopped() or (await self._journal.job(self.id)).state not in UNFINISHED:
                return await self.summary()
            await change()

    async def settled(self) -> bool:
        """Wait until the job ends or stops, True, or until no live process works on it, False."""
        looks = 0
        while looks < LOOKS_BEFORE_ABANDONED:
            change = self._next_change()
            job = await self._journal.job(self.id)
            if job.state not in UNFINISHED:
                return True
            looks = 0 if await self.attended() else looks + 1
            await change()
        return False

    async def attended(self) -> bool:
        """Tell whether some live process brings the job to its end; not if it has ended, or stopped.

        If nobody waits for it, whoever drives the subscription still does, unless something of it is unsent.
        """
        job = await self._journal.job(self.id)
        if job.state not in UNFINISHED:
            return False
        if self._wanted(job.id):
            return True
        owner = await self._journal.owner(job.host)
        if owner is None or not owner.sends(job):
            return False
        if job.options.detached and job.state is JobState.RUNNING:
            return True
        phases = (await self._journal.progress(job.id)).phases
        left = [phase for phase, tally in phases.items() if tally.chunks and phase not in FINAL]
        return bool(left) and all(phase in _WATCHED for phase in left)

    async def job(self) -> Job:
        """Return the job as it stands in the journal."""
        return await self._journal.job(self.id)

    def journal_away(self) -> Away | None:
        """Tell at once whether the server of the journal does not answer; None: it does."""
        return self._journal.away()

    async def summary(self) -> Summary:
        """Return what became of the job so far."""
        return await summarise_job(self._offload, await self._gather())

    async def _gather(self) -> Gathered:
        job = await self._journal.job(self.id)
        return await gather(self._offload, self._journal, job, job_directory(self._state_dir, job))

    async def progress(self) -> Progress:
        """Return how far the job is."""
        return await self._journal.progress(self.id)

    async def prospect(self) -> Prospect:
        """Foretell when the job ends, and whether the day's calls suffice."""
        job = await self._journal.job(self.id)
        return await self._prospects.of(job, attended=await self.attended())

    async def status(self) -> JobStatus:
        """Return everything that is known of the job."""
        sources = await self._journal.sources(self.id)
        chunks = await self._journal.chunks(self.id)
        job = await self._journal.job(self.id)
        attended = await self.attended()
        owner = await self._journal.owner(job.host) if attended else None
        return JobStatus(
            job=job,
            sources=sources,
            chunks=await self._offload.run(by_original, sources, chunks),
            findings=still_true(await self._journal.findings(self.id), job, chunks),
            counters=await self._journal.counters(self.id),
            progress=await self._journal.progress(self.id),
            blockers=await self._blockers(job, sources, chunks),
            prospect=await self._prospects.of(job, attended=attended),
            attended=attended,
            driver=owner if owner is not None and owner.sends(job) else None,
        )

    async def blockers(self) -> tuple[Blocker, ...]:
        """Return what the job's next rows wait for."""
        sources, chunks = await self._journal.sources(self.id), await self._journal.chunks(self.id)
        return await self._blockers(await self._journal.job(self.id), sources, chunks)

    async def _blockers(self, job: Job, sources: Sequence[Source], chunks: Sequence[Chunk]) -> tuple[Blocker, ...]:
        proving = await self._prospects.proving(job, sources, chunks)
        return await find_blockers(self._journal, self._offload, self._state_dir, job, chunks, proving=proving)

    async def report(self, out_dir: str | os.PathLike[str] | None = None) -> Summary:
        """Write the report as far as the job is, into its own directory or another one.

        Raises:
            ConfigError: the directory cannot be written to.
            JournalError: a part of the report is gone.

        """
        job = await self._journal.job(self.id)
        target = Path(job.out_dir) if out_dir is None else Path(out_dir).absolute()
        prepare_out_dir(target)
        known = await self._gather()
        summary = await summarise_job(self._offload, known)
        await report_job(self._offload, known, summary, target)
        return summary
