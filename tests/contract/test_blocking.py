"""What a job's next rows wait for, as the journal and the claims on the disk tell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from orchestrator.blocking import find_blockers
from orchestrator.claims import file_of
from orchestrator.journal.changes import ChunkChanged, JobChanged
from orchestrator.model import Chunk, Job, JobState, Leads, Phase, Target
from orchestrator.offload import Offload
from orchestrator.outcome import job_directory
from tests.contract.journal_kit import HOST, NOW_MS, in_loop, make_job, opened, planned


def hold(state_dir: Path, job: Job, chunk: Chunk, *claims: int) -> Path:
    """Write the claims of a chunk where they are looked for."""
    file = file_of(job_directory(state_dir, job), chunk)
    file.parent.mkdir(parents=True, exist_ok=True)
    np.save(file, np.array(claims, dtype=np.uint64))
    return file


def share(theirs: Path) -> None:
    np.save(theirs, np.array([2, 3], dtype=np.uint64))


@pytest.mark.parametrize(
    ("happens", "target", "shared"),
    [
        (None, Leads(), []),
        (share, Leads(), [True]),
        (Path.unlink, Leads(), [None]),
        (lambda theirs: theirs.write_bytes(b"damaged"), Leads(), [None]),
        (None, Leads(list_id=7), [False]),
        (Path.unlink, Leads(list_id=7), [None]),
    ],
)
@in_loop
async def test_a_chunk_waits_for_what_is_under_way(
    tmp_path, happens: Callable[[Path], None] | None, target: Target, shared
):
    async with opened(f"sqlite:///{tmp_path / 'journal.db'}") as journal:
        lease = await journal.take_over(HOST)
        jobs = []
        for name in ("first", "second"):
            await planned(journal, lease, make_job(name, target=target))
            await journal.write(lease, [JobChanged(job_id=name, values={"state": JobState.RUNNING})])
            jobs.append(await journal.job(name))
        first, second = jobs
        (sent, *_), (waiting, *others) = await journal.chunks(first.id), await journal.chunks(second.id)
        await journal.write(
            lease, [ChunkChanged(chunk_id=sent.id, values={"phase": Phase.SUBMITTING, "submitted_ms": NOW_MS})]
        )
        theirs = hold(tmp_path, first, sent, 1, 2)
        hold(tmp_path, second, waiting, 3, 4)
        if happens is not None:
            happens(theirs)
        async with Offload() as offload:
            found = await find_blockers(journal, offload, tmp_path, second, (waiting, *others))
        assert [(each.shared, each.waiting, each.chunk) for each in found] == [
            (each, waiting.id, sent.id) for each in shared
        ]
