"""The SHA-256 of every source: computed after planning, beside everything else, for it takes a reading of its own."""

from __future__ import annotations

import asyncio

import anyio
import structlog

from orchestrator.desk import Desk, DrivenJob
from orchestrator.errors import SourceError
from orchestrator.journal.changes import SourceHashed
from orchestrator.model import JobId
from orchestrator.offload import Offload
from orchestrator.source.opening import sha256_of


class Hashing:
    """Hashes the sources of the jobs that are driven here, of each job once."""

    def __init__(self, desk: Desk, *, offload: Offload, log: structlog.typing.FilteringBoundLogger) -> None:
        """Begin with nothing hashed."""
        self._desk = desk
        self._offload = offload
        self._log = log
        self._done: dict[JobId, asyncio.Event] = {}  # set when the hashes are known, or cannot be

    def begin(self, tasks: anyio.abc.TaskGroup) -> None:
        """Let the sources of new jobs be hashed by tasks of a group."""
        for job, driven in self._desk.jobs.items():
            if job not in self._done and not driven.elsewhere:
                self._done[job] = asyncio.Event()
                tasks.start_soon(self._hash, driven, self._done[job])

    async def ended(self, job: JobId) -> None:
        """Return when the hashes of a job's sources stand in the journal, or it is known that there are none."""
        await self._done[job].wait()

    def forget(self, job: JobId) -> None:
        """Hash the sources of a job anew if it comes back, those that have no hash then."""
        del self._done[job]

    async def _hash(self, driven: DrivenJob, done: asyncio.Event) -> None:
        """Write the SHA-256 of each source; one that has changed meanwhile has none, the uploads tell the rest."""
        for source in driven.sources:
            if source.sha256 is None:
                try:
                    sha256 = await sha256_of(source, self._offload)
                except SourceError as error:
                    self._log.info("source.not_hashed", job_id=driven.job.id, reason=str(error))
                else:
                    await self._desk.write(SourceHashed(job_id=driven.job.id, index=source.index, sha256=sha256))
        done.set()
