"""What is at Marketo, or may be, of jobs that are not driven here.

A job that was cancelled may have left an upload whose answer was lost, and a job of another state directory may have
batches under way.  Nothing more of them is sent, and nobody here brings them to their end.  But Marketo may be at
work on their rows, so until it can be no longer, they take slots, and no upload may share a key with them.
"""

from __future__ import annotations

from pathlib import Path

import structlog

from orchestrator.desk import Desk, DrivenJob, space_of
from orchestrator.home import not_at
from orchestrator.journal.values import ENDED
from orchestrator.model import BATCH_LIFE_MS, Home, Job, Phase
from orchestrator.outcome import job_directory
from orchestrator.schedule import messages as m
from orchestrator.schedule.core import Scheduler
from orchestrator.uploads import Uploads

JUDGED_BY_MS = 30 * 86_400_000  # batches of so long ago tell how long one may take


class Occupants:
    """Tells the heart of a subscription about them before it decides for the first time.

    Later there are no new ones: whatever is sent meanwhile is sent by the jobs that are driven here.
    """

    def __init__(
        self,
        desk: Desk,
        *,
        uploads: Uploads,
        scheduler: Scheduler,
        state_dir: Path,
        home: Home,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        """Begin with none; ``state_dir`` and ``home`` are where jobs are driven here."""
        self._desk = desk
        self._uploads = uploads
        self._scheduler = scheduler
        self._state_dir = state_dir
        self._home = home
        self._log = log

    async def take_in(self, host: str) -> None:
        """Take in what is younger than Marketo's memory, and how long to reckon with it; raises `JournalError`."""
        now_ms = self._desk.clock.now_ms()
        longest_ms = await self._desk.journal.longest_batch_ms(host, since_ms=now_ms - JUDGED_BY_MS)
        self._scheduler.apply(m.BatchesTook(longest_ms=longest_ms), now_ms)
        for job in await self._desk.journal.occupying(host, since_ms=now_ms - BATCH_LIFE_MS):
            elsewhere = not_at(self._home, job) is not None
            if elsewhere or job.state in ENDED:
                await self._take_in(job, elsewhere=elsewhere)

    async def _take_in(self, job: Job, *, elsewhere: bool) -> None:
        chunks = await self._desk.journal.chunks(job.id)
        driven = DrivenJob(
            job=job,
            sources=await self._desk.journal.sources(job.id),
            directory=job_directory(self._state_dir, job),
            chunks={chunk.id: chunk for chunk in chunks},
            elsewhere=elsewhere,
        )
        self._desk.jobs[job.id] = driven
        arrived = m.JobArrived(
            job=job.id,
            space=space_of(job),
            chunks=tuple(driven.seen(chunk) for chunk in chunks),
            sends=False,
            occupies=True,
            on_unknown=job.options.on_unknown,
        )
        self._scheduler.apply(arrived, self._desk.clock.now_ms())
        for chunk in chunks:
            if chunk.phase is Phase.SUBMITTING:
                await self._uploads.note_lost(driven, chunk)
        self._log.info("job.occupies", job_id=job.id, elsewhere=elsewhere)
