"""From a request to a job in the journal that is planned, or to the earlier job that is the same."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from shutil import rmtree

from orchestrator import preflight
from orchestrator.directories import prepare_out_dir
from orchestrator.errors import AlreadyGiven
from orchestrator.holds import Holds
from orchestrator.intake import Intake
from orchestrator.journal.changes import JobWithdrawn
from orchestrator.keeping import Means
from orchestrator.model import Job, JobId, JobState
from orchestrator.outcome import job_directory
from orchestrator.requests import Destination, ImportRequest


class Submission:
    """Makes jobs of requests."""

    def __init__(self, means: Means, holds: Holds, intake: Intake) -> None:
        """Hold what is needed."""
        self._journal = means.journal
        self._offload = means.offload
        self._clock = means.clock
        self._rng = means.rng
        self._calls = means.calls
        self._state_dir = means.state_dir
        self._home = means.home
        self._holds = holds
        self._intake = intake

    async def submit(
        self, request: ImportRequest, connect: Callable[[], Awaitable[Destination]]
    ) -> tuple[Job, Job | None]:
        """Write a job to the journal and plan it; return it, and the earlier job that it turned out to be, if so.

        Then nothing is left of the new one, nor if it is refused for that.  Raises what `Orchestrator.submit` raises.
        """
        located = await self._offload.run(preflight.locate, request.sources, allow_empty=request.allow_empty)
        job_id = self._new_job_id()
        destination = await connect()
        options = replace(request.options(), after=await self._intake.predecessor(request.after, destination.host))
        out_dir = Path(job_id if request.out_dir is None else request.out_dir).absolute()
        prepare_out_dir(out_dir)
        job = Job(
            id=job_id,
            host=destination.host,
            subscription=destination.subscription,
            api_user=destination.api_user,
            emulator=destination.emulator,
            name=request.name,
            target=request.target,
            paths=tuple(each.given for each in located),
            absolute_paths=tuple(each.absolute for each in located),
            labels=tuple(request.labels.items()),
            options=options,
            out_dir=str(out_dir),
            home=self._home,
            key=request.key,
            state=JobState.PLANNING,
            created_ms=self._clock.now_ms(),
        )
        try:
            await self._journal.add_job(job)
            self._calls.adopt(job.id)
            self._holds.hold(job.id)
            instead = await self._intake.plan_job(job, located)
        except AlreadyGiven:
            await self._withdraw(job, request)
            raise
        except BaseException:  # cancelled, too: nobody waits for it any longer, or it was never written
            self._forget(job, request)
            raise
        if request.detach:
            self._holds.let_go(job.id)
        if instead is None or instead.id == job.id:  # planned, by whichever process
            return job, None
        await self._withdraw(job, request)
        return job, instead

    async def _withdraw(self, job: Job, request: ImportRequest) -> None:
        """Leave nothing of a job that is not planned, unless another process did something with it meanwhile."""
        self._calls.disown(job.id)
        gone = await self._journal.write_unfenced([JobWithdrawn(job_id=job.id)], only_from=(JobState.PLANNING,))
        self._forget(job, request)
        if gone:
            await self._offload.run(rmtree, job_directory(self._state_dir, job), ignore_errors=True)

    def _forget(self, job: Job, request: ImportRequest) -> None:
        self._holds.let_go(job.id)
        if request.out_dir is None:
            with suppress(OSError):
                Path(job.out_dir).rmdir()

    def _new_job_id(self) -> JobId:
        moment = datetime.fromtimestamp(self._clock.wall_ms() / 1000, tz=UTC)
        letters = "".join(self._rng.choice("abcdefghjkmnpqrstvwxyz23456789") for _ in range(4))
        return JobId(f"{moment:%Y%m%d-%H%M%S}-{letters}")
