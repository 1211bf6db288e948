"""Reads a whole journal and what lies beside it, and says what cannot be as it is; nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from orchestrator.home import not_at
from orchestrator.journal.audit import ILLEGIBLE, Flaw
from orchestrator.journal.journal import Journal
from orchestrator.model import Chunk, Home, Job, JobId, Phase
from orchestrator.outcome import job_directory, part_path

FILES_SHOWN_MAX = 100  # of each kind of finding about files


async def audit(journal: Journal, state_dir: Path, home: Home) -> tuple[int, list[Flaw]]:
    """Return how many jobs there are, and every flaw found; raises `JournalError` if it cannot be read at all."""
    flaws = await journal.flaws()
    job_ids = await journal.legible_jobs()
    for job_id in map(JobId, job_ids):
        found = await journal.flaws(job_id)
        flaws += found
        if any(flaw.what == ILLEGIBLE for flaw in found):
            continue
        job = await journal.job(job_id)
        if not_at(home, job) is None:
            flaws += _missing(job_directory(state_dir, job), job, await journal.chunks(job_id))
    flaws += _beside(state_dir, set(job_ids))
    return len(job_ids), flaws


def _missing(directory: Path, job: Job, chunks: tuple[Chunk, ...]) -> Iterator[Flaw]:
    """Yield the parts that are gone; what failed or was warned of is kept until its job is forgotten."""
    for chunk in chunks:
        path = part_path(directory, chunk.id)
        if chunk.phase in (Phase.DONE, Phase.REFUSED) and chunk.failed + chunk.warned and not path.exists():
            yield Flaw(what="part_gone", where=f"job {job.id}", message=f"{path} is gone; restore it from a backup")


def _beside(state_dir: Path, known: set[str]) -> list[Flaw]:
    """Return files that others may read, and directories of jobs that this journal does not know."""
    flaws: list[Flaw] = []
    root = [state_dir] if state_dir.exists() else []
    open_to_others = (path for path in (*root, *sorted(state_dir.rglob("*"))) if path.lstat().st_mode & 0o077)
    for path in open_to_others:
        if len(flaws) < FILES_SHOWN_MAX and not path.is_symlink():
            flaws.append(Flaw(what="open_to_others", where=str(path), message=f"run chmod go-rwx {path}"))
    for directory in sorted((state_dir / "jobs").glob("*")):
        if directory.name not in known:
            message = "no job of this journal; of another journal's, or left behind: remove it if it is nobody's"
            flaws.append(Flaw(what="unknown_directory", where=str(directory), message=message))
    return flaws
