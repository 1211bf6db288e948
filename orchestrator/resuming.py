"""Which jobs may go on, and making them go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from orchestrator.errors import AlreadyGiven, ConfigError, SourceError
from orchestrator.following import UNFINISHED
from orchestrator.holds import Holds
from orchestrator.home import not_at, not_sent_to
from orchestrator.intake import Intake
from orchestrator.journal.changes import Change, FindingAdded, JobChanged, JobValues
from orchestrator.journal.values import Owner
from orchestrator.keeping import Keeper, Means
from orchestrator.model import Finding, Job, JobId, JobState, OnUnknown, Wish
from orchestrator.moving import move
from orchestrator.report.summary import moment_in_words
from orchestrator.requests import Destination

_STOPPED = (JobState.INCOMPLETE, JobState.PAUSED)
_RESUMABLE = (*UNFINISHED, *_STOPPED)
_UNASKED = frozenset({"gave_up", "report_unwritten", "unfinished", "sigint", "sigterm", "internal"})  # causes that pass


class Resumption:
    """Makes jobs that stopped ones that this process waits for."""

    def __init__(self, means: Means, keeper: Keeper, holds: Holds, intake: Intake) -> None:
        """Hold what is needed."""
        self._journal = means.journal
        self._offload = means.offload
        self._calls = means.calls
        self._clock = means.clock
        self._home = means.home
        self._log = means.log
        self._keeper = keeper
        self._holds = holds
        self._intake = intake

    async def resume(
        self,
        job_ids: Sequence[str],
        destination: Destination,
        on_unknown: OnUnknown | None,
        places: Mapping[str, str],
        *,
        flags: str | None,
        take_over: bool,
    ) -> tuple[list[JobId], list[tuple[JobId, str]]]:
        """Return the jobs that go on, and those that do not with the reason why; without ids, all that may go on.

        ``on_unknown`` decides anew what is done with lost answers; None leaves that as it is.  ``places`` has the new
        path of each source of the one named job that was moved.  ``flags`` are those that next commands need from now on;
        None leaves them.  With ``take_over`` those that others work on go on, too.

        Raises:
            JournalError: a job is not in the journal.
            ConfigError: a named job belongs to another subscription or state directory.
            SourceError: a source of a named job that was never planned cannot be imported as it is, or a moved one is
                not the one that was planned.

        """
        named = [await self._journal.job(job_id) for job_id in job_ids]
        for job in named:
            elsewhere = self._why_not_here(job, destination)
            if elsewhere is not None:
                raise ConfigError(f"job {job.id}: {elsewhere}")
        if places:
            await self._move(named, places)
        owner = await self._journal.owner(destination.host)
        jobs = named or [
            job
            for job in await self._journal.jobs(states=_RESUMABLE)
            if destination.host == job.host or destination.subscription == job.subscription
        ]
        asked = {"on_unknown": on_unknown, "flags": flags}
        decided = {name: value for name, value in asked.items() if value is not None}
        going: list[JobId] = []
        skipped: list[tuple[JobId, str]] = []
        for job in jobs:
            why_not = self._why_not_here(job, destination) or self._why_not(
                job, owner, by_name=bool(named), take_over=take_over
            )
            if why_not is None:
                try:
                    await self._revive(job, decided, take_over=take_over)
                except (SourceError, ConfigError) as error:
                    if named:
                        raise
                    why_not = str(error)  # the other jobs go on all the same
            if why_not is None:
                going.append(job.id)
            else:
                skipped.append((job.id, why_not))
        return going, skipped

    async def _move(self, named: Sequence[Job], places: Mapping[str, str]) -> None:
        if len(named) != 1:
            raise ConfigError("--source: name the one job whose sources were moved")
        if self._holds.wanted(named[0].id):
            raise ConfigError(f"job {named[0].id}: another process works on it; stop that one before you move sources")
        await move(self._journal, self._offload, named[0], places)

    def _why_not_here(self, job: Job, destination: Destination) -> str | None:
        return not_sent_to(destination.host, destination.subscription, job) or not_at(self._home, job)

    def _why_not(self, job: Job, owner: Owner | None, *, by_name: bool, take_over: bool) -> str | None:
        if job.state not in _RESUMABLE:
            return f"it is {job.state}"
        left = self._keeper.failed and job.id in self._holds.all  # by the driving that a fault ended here
        if not by_name and not take_over and not left and self._holds.wanted(job.id):
            if owner is not None and owner.hangs:
                return (
                    f"another process waits for it; {owner.name} drives, but has done nothing for "
                    f"{owner.silent_ms // 1000:,} s: orchestrator resume --take-over takes its place"
                )
            return "another process works on it"
        if not by_name and (job.state is JobState.PAUSED or job.wish is Wish.PAUSE):
            why = job.wish_reason if job.wish is Wish.PAUSE else ", ".join(job.exit_reasons)
            return f"it is paused{f' ({why})' if why else ''}; orchestrator resume {job.id} goes on with it"
        if not by_name and job.state is JobState.INCOMPLETE and not _UNASKED & set(job.exit_reasons):
            causes = ", ".join(job.exit_reasons)
            return f"it stopped for a lasting cause ({causes}); orchestrator resume {job.id} goes on all the same"
        return None

    async def _revive(self, job: Job, decided: Mapping[str, Any], *, take_over: bool) -> None:
        """Make an unfinished job one that this process waits for; ``decided`` are options of it that are others now."""
        self._calls.adopt(job.id)
        options = replace(job.options, **decided)
        if options != job.options:
            await self._journal.write_unfenced([JobChanged(job_id=job.id, values={"options": options})])
        while (going := self._going(job)) and not await self._journal.write_unfenced(going, as_of=job):
            job = await self._journal.job(job.id)  # it changed meanwhile
        job = await self._journal.job(job.id)
        self._holds.hold(job.id)  # only now: a job that has ended is let go of
        try:
            await self._plan(job, take_over=take_over)
        except BaseException:
            self._holds.let_go(job.id)
            raise

    async def _plan(self, job: Job, *, take_over: bool) -> None:
        """Plan a job that is not planned, or wait until the process has done so that was the first to hold it."""
        told = False
        while job.state is JobState.PLANNING and not self._may_plan(job, take_over=take_over):
            if not told:
                self._log.info(
                    "job.planned_elsewhere",
                    job_id=job.id,
                    hint="another process reads its files; this one waits for it, unless --take-over is given",
                )
                told = True
            await self._keeper.next_change()()
            job = await self._journal.job(job.id)
        if job.state is not JobState.PLANNING:
            return
        try:
            instead = await self._intake.plan_job(job)
        except AlreadyGiven as error:
            await self._intake.refuse(job, error)
            raise
        if instead is not None and instead.id != job.id:
            known = SourceError(
                f"job {job.id}: this is job {instead.id}, which is {instead.state}; none is made of it",
                next_command=f"orchestrator status {instead.id}",
            )
            await self._intake.refuse(job, known)
            raise known

    def _may_plan(self, job: Job, *, take_over: bool) -> bool:
        return (self._holds.hold(job.id) or take_over) and not self._intake.is_planning(job.id)

    def _going(self, job: Job) -> list[Change]:
        """Return what has to be changed of a job so that it goes on; a pause is taken back, a cancellation is not."""
        going: JobValues = {}
        more: list[Change] = []
        if job.state in _STOPPED:
            state = JobState.PLANNING if job.started_ms is None else JobState.RUNNING
            going = {"state": state, "finished_ms": None, "exit_code": None, "exit_reasons": ()}
        if job.state in _RESUMABLE and job.wish is Wish.PAUSE:
            going = {**going, "wish": None, "wish_reason": None, "wish_ms": None}
            if job.wish_reason is not None:  # there is a finding of the pause
                finding = Finding(kind="resumed", message=f"Resumed at {moment_in_words(self._clock.now_ms())}")
                more = [FindingAdded(job_id=job.id, finding=finding)]
        return [JobChanged(job_id=job.id, values=going), *more] if going else []
