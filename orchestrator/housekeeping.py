"""Forgets finished jobs after their time, with everything that is stored of them, while a subscription is driven.

It works in small steps with pauses between them, so that what is driven meanwhile does not notice.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import anyio
from structlog.typing import FilteringBoundLogger

from orchestrator.clock import Clock
from orchestrator.journal.journal import Journal
from orchestrator.journal.values import Lease
from orchestrator.model import Home
from orchestrator.offload import Offload
from orchestrator.outcome import directory_of

FIRST_SECONDS = 5.0  # a driver has more important things to do when it starts
PAUSE_SECONDS = 0.2  # between two steps
AGAIN_SECONDS = 3_600.0
AT_END_SECONDS = 1.0  # whoever drove is about to go


class Housekeeping:
    """Keeps the journal and the state directory of a driven subscription small."""

    def __init__(
        self,
        *,
        journal: Journal,
        lease: Lease,
        offload: Offload,
        clock: Clock,
        state_dir: Path,
        home: Home,
        keep_ms: int,
        log: FilteringBoundLogger,
    ) -> None:
        """Do nothing yet; ``keep_ms`` is how long a job is kept after its end."""
        self._journal = journal
        self._lease = lease
        self._offload = offload
        self._clock = clock
        self._state_dir = state_dir
        self._home = home
        self._keep_ms = keep_ms
        self._log = log
        self._begun = False

    async def run(self) -> None:
        """Forget what is to be forgotten, and look again every hour; raises `JournalError`."""
        await anyio.sleep(FIRST_SECONDS)
        self._begun = True
        while True:
            while await self.forget_one():  # noqa: ASYNC110  # a pause, no wait
                await anyio.sleep(PAUSE_SECONDS)
            await anyio.sleep(AGAIN_SECONDS)

    async def at_end(self) -> None:
        """Forget what can be forgotten in a moment, if the drive was too short for `run`; raises `JournalError`."""
        if not self._begun:
            with anyio.move_on_after(AT_END_SECONDS):
                while await self.forget_one():
                    pass

    async def forget_one(self) -> bool:
        """Forget one job; return False if there was none, or if it could not be removed.

        Raises:
            Fenced: another process has taken the subscription over.
            JournalError: the journal cannot be used.

        """
        before_ms = self._clock.now_ms() - self._keep_ms
        job_id = await self._journal.condemn(self._lease, self._home, before_ms)
        if job_id is None:
            return False
        try:
            await self._offload.run(_remove, directory_of(self._state_dir, job_id))
        except OSError as error:
            self._log.warning("job.unremovable", job_id=job_id, path=error.filename, reason=error.strerror)
            return False
        while not await self._journal.prune(self._lease, job_id):  # noqa: ASYNC110  # a pause, no wait
            await anyio.sleep(PAUSE_SECONDS)
        self._log.info("job.pruned", job_id=job_id)
        return True


def _remove(directory: Path) -> None:
    """Remove a job's directory; harmless if it is gone already."""
    if directory.exists():
        shutil.rmtree(directory)
