"""Pause and cancel: what one process asks of a job that another one may be driving.

A wish is written to the journal.  Whoever drives the subscription sees it within a second, sends no more of the job,
sees to their end the batches that are under way, and writes the job's end.  Where no process would heed a wish, the
end is written here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import anyio

from orchestrator import events
from orchestrator.errors import SubscriptionBusy
from orchestrator.finishing import Finisher
from orchestrator.following import UNFINISHED
from orchestrator.home import not_at
from orchestrator.journal.changes import Change, FindingAdded, JobChanged, JobValues, Told
from orchestrator.journal.values import ENDED
from orchestrator.keeping import Means
from orchestrator.model import Chunk, ExitCode, Finding, Job, JobId, JobState, Phase, Wish
from orchestrator.outcome import job_directory
from orchestrator.report.summary import moment_in_words
from orchestrator.schedule.messages import Stop

_STOPPED: Final = (JobState.INCOMPLETE, JobState.PAUSED)
AT_MARKETO: Final = (Phase.SUBMITTING, Phase.SUBMITTED, Phase.COLLECTING)
_UNSENT: Final = (Phase.READY, Phase.CANCELLED)
ANSWERED_WITHIN_S: Final = 3.0  # a driver looks every second, and writes then
_ANSWER_LOOKED_FOR_EVERY_S: Final = 0.05
_FINDINGS: Final = {Wish.PAUSE: "A pause", Wish.CANCEL: "A cancellation"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopping:
    """A job of which nothing more is to be sent, as it was when that was asked for; counts are rows."""

    job: Job
    changed: bool  # False: it had ended, or was stopping so already
    accepted: int
    failed: int
    importing: int  # at Marketo, or on the way there: nobody can call them back
    unknown: int  # sent, and their outcome is not known
    unsent: int
    heeded: bool  # False: what is asked for is done when somebody resumes the job in its state directory
    answered: bool  # False: a process that may still send of it has not said that it stops, so counts may change
    followed: bool  # some live process sees what is at Marketo to its end


class Control:
    """Writes wishes about jobs, and ends that nobody else would write."""

    def __init__(self, means: Means, *, wanted: Callable[[JobId], bool]) -> None:
        """Hold what is needed; ``wanted`` tells whether some live process waits for a job."""
        self._journal = means.journal
        self._offload = means.offload
        self._clock = means.clock
        self._state_dir = means.state_dir
        self._home = means.home
        self._wanted = wanted

    async def pause(self, job: Job, reason: str | None) -> Stopping:
        """Stop a job until it is resumed by its name; nothing if it has ended, is paused, or is being cancelled."""
        while (going := await self._pausing(job)) is not None and not await self._wish(job, Wish.PAUSE, reason, going):
            job = await self._journal.job(job.id)  # it changed meanwhile
        return await self._stopping(job.id, changed=going is not None)

    async def cancel(self, job: Job, reason: str | None) -> Stopping:
        """Stop a job for good; nothing if it has ended, or is being cancelled already."""
        while (going := await self._cancelling(job)) is not None and not await self._wish(
            job, Wish.CANCEL, reason, going
        ):
            job = await self._journal.job(job.id)
        ends = going is not None and going.get("state") is not JobState.CANCELLED
        if ends and not self._is_elsewhere(job) and not await self._attended(job):
            await self._end(job)
        return await self._stopping(job.id, changed=going is not None and job.wish is not Wish.CANCEL)

    async def _pausing(self, job: Job) -> JobValues | None:
        """Return what else changes of a job that is to be paused; None: nothing does, not even what is wanted."""
        if job.state in UNFINISHED and await self._attended(job):
            return {} if job.wish is None else None
        if job.state not in (*UNFINISHED, JobState.INCOMPLETE) or job.wish is Wish.CANCEL:
            return None
        return {
            "state": JobState.PAUSED,
            "finished_ms": self._clock.now_ms(),
            "exit_code": ExitCode.INTERRUPTED,
            "exit_reasons": (Stop.PAUSED,),
        }

    async def _cancelling(self, job: Job) -> JobValues | None:
        """Return what else changes of a job that is to be cancelled; None: nothing does, not even what is wanted."""
        if job.state in ENDED:
            return None
        if job.state in _STOPPED and job.started_ms is not None:  # it goes on, to its end
            return {"state": JobState.RUNNING, "finished_ms": None, "exit_code": None, "exit_reasons": ()}
        if job.state is JobState.RUNNING or await self._attended(job):
            return {}
        return {  # nothing of it was ever sent
            "state": JobState.CANCELLED,
            "finished_ms": self._clock.now_ms(),
            "exit_code": ExitCode.OK,
            "exit_reasons": (),
        }

    async def _attended(self, job: Job) -> bool:
        """Tell whether some live process works on a job, one of another state directory as far as is known here."""
        if self._wanted(job.id):
            return True
        return (job.options.detached or self._is_elsewhere(job)) and await self._is_driven(job)

    async def _is_driven(self, job: Job) -> bool:
        owner = await self._journal.owner(job.host)
        return owner is not None and owner.sends(job)

    def _is_elsewhere(self, job: Job) -> bool:
        return not_at(self._home, job) is not None

    async def _heeded(self, job: Job) -> bool:
        """Tell whether all that was asked for is done, or some live process will do it."""
        if job.state not in UNFINISHED or self._wanted(job.id):
            return True
        return job.state is JobState.RUNNING and await self._is_driven(job)

    async def _wish(self, job: Job, wish: Wish, reason: str | None, values: JobValues) -> bool:
        """Write a wish about a job, if it still is as it was read."""
        now_ms = self._clock.now_ms()
        wished: JobValues = {**values, "wish": wish, "wish_reason": reason, "wish_ms": now_ms}
        changes: list[Change] = [JobChanged(job_id=job.id, values=wished)]
        if job.wish is not wish:
            changes.append(Told(event=events.JobStopAsked(job_id=job.id, ts_ms=now_ms, wish=wish, reason=reason)))
        if reason is not None:
            finding = Finding(
                kind="stop_asked", message=f"{_FINDINGS[wish]} was asked for at {moment_in_words(now_ms)}: {reason}"
            )
            changes.append(FindingAdded(job_id=job.id, finding=finding))
        state, code = values.get("state"), values.get("exit_code")
        if state is not None and code is not None:
            changes.append(Told(event=events.JobFinished(job_id=job.id, ts_ms=now_ms, state=state, exit_code=code)))
        return await self._journal.write_unfenced(changes, as_of=job)

    async def _end(self, job: Job) -> None:
        """Cancel what is unsent, unless somebody drives the subscription, who then does."""
        try:
            lease = await self._journal.take_over(job.host, home=self._home)
        except SubscriptionBusy:
            return

        async def write(*changes: Change) -> None:
            await self._journal.write(lease, changes)

        finisher = Finisher(
            journal=self._journal, lease=lease, offload=self._offload, write=write, now_ms=self._clock.now_ms
        )
        try:
            job = await self._journal.job(job.id)
            if job.state is JobState.RUNNING:  # else somebody else ended it meanwhile
                await finisher.finish(job, job_directory(self._state_dir, job), (Stop.CANCELLED,))
        finally:
            with anyio.CancelScope(shield=True):
                await self._journal.release(lease)

    async def _answered(self, job_id: JobId) -> bool:
        """Wait a while until nobody sends of a job that is to be stopped; tell whether that is known."""
        with anyio.move_on_after(ANSWERED_WITHIN_S):
            while await self._may_be_sent(await self._journal.job(job_id)):  # noqa: ASYNC110  # the journal tells nobody
                await anyio.sleep(_ANSWER_LOOKED_FOR_EVERY_S)
            return True
        return False

    async def _may_be_sent(self, job: Job) -> bool:
        if job.state is not JobState.RUNNING or job.wish is None or not await self._heeded(job):
            return False
        return not await self._journal.stop_heeded(job.id)

    async def _stopping(self, job_id: JobId, *, changed: bool) -> Stopping:
        answered = await self._answered(job_id)
        chunks = await self._journal.chunks(job_id)
        done = [chunk for chunk in chunks if chunk.phase in (Phase.DONE, Phase.REFUSED)]
        job = await self._journal.job(job_id)
        return Stopping(
            job=job,
            heeded=await self._heeded(job),
            answered=answered,
            followed=self._wanted(job.id) or await self._is_driven(job),
            changed=changed,
            accepted=sum(chunk.accepted for chunk in done),
            failed=sum(chunk.failed for chunk in done),
            importing=_rows(chunks, AT_MARKETO),
            unknown=_rows(chunks, (Phase.UNKNOWN,)) + sum(chunk.unknown for chunk in done),
            unsent=_rows(chunks, _UNSENT),
        )


def _rows(chunks: Sequence[Chunk], phases: Sequence[Phase]) -> int:
    return sum(chunk.span.rows for chunk in chunks if chunk.phase in phases)
