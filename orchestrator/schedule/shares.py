"""Fair shares: how far each job has got with sending, compared with the others of its priority.

The job goes next that has got least far.  A job that begins to send, new or after a rest, begins where those of its
priority stand at that moment: it owes nothing and is owed nothing.  Where they stand moves on with all that is sent,
by its bytes divided among the jobs that have something to send.  So who comes later begins further on, and waiting
counts: between two turns of a job that can be sent each other one sends about as much as it does, however many small
jobs come meanwhile and whatever their batches' sizes.

A job that cannot be sent for long, because others' keys are in its way or its static list is busy, is owed two batches
at most; or it would keep all others waiting afterwards.
"""

from __future__ import annotations

from orchestrator.model import Priority
from orchestrator.schedule.state import TrackedJob

OWED_BYTES_MAX = 20_000_000  # two of the largest uploads; Marketo: "less than 10 MB"
TURN_BYTES_MIN = 1_000_000  # what a batch counts for at least: it takes a slot and an importer, however small it is


class Shares:
    """What the jobs of each priority have sent, as far as it matters for whose turn it is."""

    def __init__(self) -> None:
        self._reached = dict.fromkeys(Priority, 0)  # where jobs of a priority begin now, in bytes

    def of(self, job: TrackedJob) -> int:
        """Return how far a job has got, in bytes; the job that has got least far goes next."""
        reached = self._reached[job.priority]
        job.sent_bytes = reached if job.sent_bytes is None else max(job.sent_bytes, reached - OWED_BYTES_MAX)
        return job.sent_bytes

    def count(self, job: TrackedJob, body_bytes: int, *, among: int, in_turn: bool) -> None:
        """Count an upload of a job, one ``among`` so many of its priority; ``in_turn``: no other one could go."""
        begun, sent_bytes = self.of(job), max(body_bytes, TURN_BYTES_MIN)
        job.sent_bytes = begun + sent_bytes
        reached = self._reached[job.priority]
        moved = min(reached + sent_bytes // among, job.sent_bytes)
        self._reached[job.priority] = max(reached, moved, begun if in_turn else 0)
