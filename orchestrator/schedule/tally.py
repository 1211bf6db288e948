"""How many of a job's rows failed in this run, and whether those are more than the user allows."""

from __future__ import annotations

from orchestrator.model import Share

PERCENTAGE_ROWS_MIN = 1_000  # of fewer rows a percentage says little; the rows of a canary are chosen to say something


class Tally:
    """Counts of rows whose outcome is known."""

    def __init__(self, failed_max: Share | None) -> None:
        self._failed_max = failed_max
        self._rows = 0
        self._failed = 0

    def restart(self) -> None:
        """Begin anew: who resumes a job that failed too much knows what was counted before."""
        self._rows = self._failed = 0

    def count(self, rows: int, failed: int) -> None:
        """Add a batch."""
        self._rows += rows
        self._failed += failed

    def exceeded(self, *, canary: bool = False) -> bool:
        """Tell whether more rows failed than are allowed; of a canary's rows, few are enough to say so."""
        most = self._failed_max
        if most is None or (most.percent is not None and not canary and self._rows < PERCENTAGE_ROWS_MIN):
            return False
        return self._failed > most.of(self._rows)
