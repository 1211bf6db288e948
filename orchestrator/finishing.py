"""Writing a job's end: its state, its exit code, its report."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from shutil import rmtree

from orchestrator import events
from orchestrator.errors import OrchestratorError
from orchestrator.journal.changes import Change, FindingAdded, JobChanged, Told, UnsentCancelled
from orchestrator.journal.journal import Journal
from orchestrator.journal.values import OVER, Lease
from orchestrator.model import Chunk, ExitCode, Finding, Job, JobState, Phase, Wish
from orchestrator.offload import Offload
from orchestrator.outcome import gather, remove_copies, report_job, summarise_job
from orchestrator.report.ending import worst
from orchestrator.schedule.messages import Stop
from orchestrator.schedule.state import FINAL, IN_FLIGHT

_PAUSES = (Stop.THRESHOLD, Stop.CANARY, Stop.PAUSED)


class Finisher:
    """Writes the ends of jobs of one subscription, by its lease."""

    def __init__(
        self,
        *,
        journal: Journal,
        lease: Lease,
        offload: Offload,
        write: Callable[..., Awaitable[object]],
        now_ms: Callable[[], int],
    ) -> None:
        """Begin with nothing; ``write`` makes changes durable by the lease, and what was counted with them."""
        self._journal = journal
        self._lease = lease
        self._offload = offload
        self._write = write
        self._now_ms = now_ms

    async def finish(self, job: Job, directory: Path, stops: Sequence[Stop]) -> Job | None:
        """Write the end and the report; return the job as it is then.

        None if it has not ended: of what is left of it somebody wants something else by now than when it stopped.

        A report that cannot be made is no reason not to end.  Of a cancelled job, what is unsent stays so for good;
        if batches of it are under way, it is incomplete until somebody resumes it to collect them.
        """
        cancelled: tuple[Change, ...] = (UnsentCancelled(job_id=job.id),) if Stop.CANCELLED in stops else ()
        await self._write(*cancelled)  # and the calls made so far, so that the report counts every one
        chunks = await self._journal.chunks(job.id)
        state = state_at_end(chunks, stops)
        ended = replace(job, state=state, finished_ms=self._now_ms())
        causes = () if state is JobState.CANCELLED else [stop for stop in stops if stop is not Stop.CANCELLED]
        code: int = ExitCode.INTERNAL
        reasons: tuple[str, ...] = ("internal",)
        findings: list[FindingAdded] = []
        try:
            known = await gather(self._offload, self._journal, ended, directory)
            summary = await summarise_job(self._offload, known, causes)
            code, reasons = summary.exit_code, summary.exit_reasons
            await report_job(self._offload, known, summary, Path(job.out_dir))
        except OrchestratorError as error:
            finding = Finding(kind="report_unwritten", message=str(error))
            findings.append(FindingAdded(job_id=job.id, finding=finding))
            state = JobState.INCOMPLETE  # to be resumed when what is missing is there again
            if code != ExitCode.INTERNAL:
                reasons = ("report_unwritten", *reasons)
                code = worst((ExitCode(code), ExitCode.INTERRUPTED))
        changed = JobChanged(
            job_id=job.id,
            values={"state": state, "finished_ms": ended.finished_ms, "exit_code": code, "exit_reasons": reasons},
        )
        told = events.JobFinished(job_id=job.id, ts_ms=self._now_ms(), state=state, exit_code=code)
        over = all(chunk.phase in FINAL for chunk in chunks)  # whatever anybody wants
        stopped = None if over else replace(job, wish=_wish_of(stops))
        if not await self._journal.write(self._lease, [*findings, changed, Told(event=told)], as_of=stopped):
            return None
        if not any(chunk.phase in IN_FLIGHT for chunk in chunks):  # else whoever drives later compares with them
            await self._offload.run(rmtree, directory / "claims", ignore_errors=True)
        if state in OVER and over:  # nothing is sent any more
            await self._offload.run(remove_copies, directory)
        return replace(ended, state=state, exit_code=code, exit_reasons=reasons)


def _wish_of(stops: Sequence[Stop]) -> Wish | None:
    """Return what somebody wanted of a job when it stopped for these reasons."""
    if Stop.CANCELLED in stops:
        return Wish.CANCEL
    return Wish.PAUSE if Stop.PAUSED in stops else None


def state_at_end(chunks: Sequence[Chunk], stops: Sequence[Stop]) -> JobState:
    """Return the state of a job of which nothing more happens in this run."""
    left = [chunk for chunk in chunks if chunk.phase not in FINAL]
    cancelled = any(chunk.phase is Phase.CANCELLED for chunk in chunks)
    if not left:
        return JobState.CANCELLED if cancelled else JobState.COMPLETE
    if Stop.CANCELLED in stops:  # what is in doubt stays so; what is at Marketo has an outcome to be fetched
        in_doubt = all(chunk.phase is Phase.UNKNOWN for chunk in left)
        return JobState.CANCELLED if in_doubt else JobState.INCOMPLETE
    return JobState.PAUSED if any(stop in _PAUSES for stop in stops) else JobState.INCOMPLETE
