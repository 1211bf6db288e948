"""Everything that takes requests in and reads their sources; it is imported when the first one comes."""

from __future__ import annotations

from orchestrator.config import Settings
from orchestrator.connection import Connection
from orchestrator.holds import Holds
from orchestrator.intake import Intake
from orchestrator.keeping import Keeper, Means
from orchestrator.preview import Preview
from orchestrator.resuming import Resumption
from orchestrator.submitting import Submission


class Reception:
    """Looks at requests, makes jobs of them, and goes on with jobs."""

    def __init__(self, means: Means, keeper: Keeper, holds: Holds, connection: Connection, settings: Settings) -> None:
        intake = Intake(
            journal=means.journal,
            offload=means.offload,
            clock=means.clock,
            calls=means.calls,
            connection=connection,
            state_dir=means.state_dir,
            http=settings.http,
            rng=means.rng,
        )
        self.preview = Preview(
            settings=settings,
            journal=means.journal,
            offload=means.offload,
            clock=means.clock,
            rng=means.rng,
            connection=connection,
            intake=intake,
            state_dir=means.state_dir,
        )
        self.submission = Submission(means, holds, intake)
        self.resumption = Resumption(means, keeper, holds, intake)
