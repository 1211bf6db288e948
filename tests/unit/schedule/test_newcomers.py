"""A small job behind a huge one of the same priority has its first batch at Marketo within one batch's duration."""

from __future__ import annotations

import pytest

from bench import queue
from bench.queue_peers import _Shell
from bench.queue_world import Piece, World, run
from orchestrator.model import ChunkId, JobId
from orchestrator.schedule import messages as m
from orchestrator.schedule.state import Limits

SMALL = ChunkId(1_000_000)


class Late(_Shell):
    """A driver of a huge job, to which a small one comes later."""

    comes_ms: int
    there_ms: int

    def _arrive(self) -> None:
        super()._arrive()
        self._later(self.comes_ms, self._come)

    def _come(self) -> m.Fact:
        self.pieces[SMALL] = Piece(job=99, number=0, rows=5_000, duration_ms=30_000)
        seen = m.ChunkSeen(id=SMALL, source=0, first_row=0, rows=5_000, body_bytes=5_000_000)
        space = m.Space(entity="person", key_field="email", compared=False)
        return m.JobArrived(job=JobId("late"), space=space, chunks=(seen,), trusted=True)

    def _sent(self, chunk: ChunkId) -> m.Fact:
        fact = super()._sent(chunk)
        if chunk == SMALL and isinstance(fact, m.ChunkAccepted):
            self.there_ms = self.remote.now_ms
        return fact


@pytest.mark.parametrize("duration_ms", [5_000, 60_000, 600_000])
def test_a_small_job_waits_for_one_batch_at_the_most_whenever_it_comes(duration_ms):
    for comes_ms in (137 + duration_ms * sevenths // 7 for sevenths in range(3, 60, 4)):
        world = World(name="late", pieces=queue._job([duration_ms] * 60))
        shells: list[Late] = []

        def actors(remote, comes_ms=comes_ms, shells=shells):
            shells.append(Late(remote, Limits(), lambda now_ms, piece: None))
            shells[0].comes_ms = comes_ms
            return [shells[0].run()]

        run(world, actors)
        assert shells[0].there_ms - comes_ms <= duration_ms, comes_ms
