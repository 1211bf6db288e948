"""Which jobs anybody waits for.

A job is wanted as long as some process waits for it.  The kernel knows that by a lock on a file of the job's,
which it drops when the process dies.  The unsent rows of a job that nobody wants are not sent: its process may
have been killed because its rows were wrong.
"""

from __future__ import annotations

from pathlib import Path

from orchestrator.clock import Clock
from orchestrator.errors import DENIED, ConfigError, JournalError
from orchestrator.journal import lock
from orchestrator.model import JobId


def is_held(state_dir: Path, job_id: JobId) -> bool:
    """Tell whether some live process waits for a job."""
    return lock.owner(_path(state_dir, job_id)) is not None


def _path(state_dir: Path, job_id: JobId) -> Path:
    return state_dir / "jobs" / job_id / "wanted.lock"


class Holds:
    """The jobs that this process waits for, and what it sees of others' that do."""

    def __init__(self, state_dir: Path, clock: Clock) -> None:
        """Begin with none."""
        self._state_dir = state_dir
        self._clock = clock
        self._holds: dict[JobId, lock.Lock | None] = {}  # None: another process that waits for it has the lock
        self._others: set[JobId] = set()  # other processes waited for them at the last look

    @property
    def all(self) -> list[JobId]:
        """The jobs this process waits for, in the order in which it began to."""
        return list(self._holds)

    @property
    def first(self) -> list[JobId]:
        """Those of them that no other process waited for before."""
        return [job_id for job_id, held in self._holds.items() if held is not None]

    def hold(self, job_id: JobId) -> bool:
        """Let everybody know that this process waits for a job; return whether it is the first that does.

        Raises:
            ConfigError: the state directory may not be written.
            JournalStalled: it cannot be written now.

        """
        if self._holds.get(job_id) is None:
            path = _path(self._state_dir, job_id)
            try:
                for directory in (path.parent.parent, path.parent):  # mkdir makes parents readable for everybody
                    directory.mkdir(mode=0o700, exist_ok=True)
                free = lock.owner(path) is None
                self._holds[job_id] = lock.take(path, now_ms=self._clock.now_ms()) if free else None
            except OSError as error:
                if error.errno not in DENIED:
                    raise
                raise ConfigError(
                    f"the state directory {self._state_dir} may not be written ({error.strerror}), so nothing can be sent"
                ) from error
        return self._holds[job_id] is not None

    def let_go(self, job_id: JobId) -> None:
        """Wait for a job no longer."""
        self._others.discard(job_id)
        held = self._holds.pop(job_id, None)
        if held is not None:
            held.release()

    def wanted(self, job_id: JobId) -> bool:
        """Tell whether this or another live process waits for a job; if nobody can tell, whether one did before."""
        if job_id in self._holds:
            return True
        try:
            held = is_held(self._state_dir, job_id)
        except (JournalError, OSError):  # too many open files, for example
            return job_id in self._others
        (self._others.add if held else self._others.discard)(job_id)
        return held
