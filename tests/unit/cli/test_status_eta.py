"""When a job is likely to end, as ``status`` tells it."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.cli.showing import eta_document, eta_of, status_lines
from orchestrator.following import JobStatus
from orchestrator.journal.values import Counters, Progress, Tally
from orchestrator.model import Chunk, ChunkId, JobState, Phase
from tests.contract.journal_kit import NOW_MS, make_job, make_spans

SPANS = make_spans(count=8)  # of ten rows each
MINUTE_MS = 60_000


def status(done: int) -> JobStatus:
    """Return a job of which a batch ends each minute, of the first chunk now or later."""
    chunks = tuple(
        Chunk(id=ChunkId(at), job=make_job().id, span=span, phase=Phase.DONE, completed_ms=NOW_MS + at * MINUTE_MS)
        for at, span in enumerate(SPANS[:done])
    )
    left = len(SPANS) - done - 1
    phases = {Phase.DONE: done, Phase.REFUSED: 1, Phase.READY: left}
    return JobStatus(
        job=make_job(state=JobState.RUNNING),
        sources=(),
        chunks=chunks,
        findings=(),
        blockers=(),
        counters=Counters(api_calls={}, waits={}),
        progress=Progress(phases={phase: Tally(chunks=count, rows=10 * count) for phase, count in phases.items()}),
    )


def test_a_running_job_of_which_batches_have_ended_has_a_forecast():
    now_ms = NOW_MS + 3 * MINUTE_MS
    eta = eta_of(status(4), now_ms)
    assert eta is not None
    assert (eta.p50_ms - now_ms, eta.p90_ms - now_ms) == (3 * MINUTE_MS, 3 * MINUTE_MS)
    assert eta_document(eta) == {
        "p50": "2023-11-14T22:19:20.000Z",
        "p90": "2023-11-14T22:19:20.000Z",
        "basis": "the last 4 batches, 10 rows/min",
    }
    (line,) = [line for line in status_lines(status(4), "", now_ms=now_ms) if line.startswith("  forecast")]
    assert line == "  forecast  about 3 min 0 s left, by the last 4 batches, 10 rows/min"


def test_where_nobody_can_tell_nothing_is_told():
    now_ms = NOW_MS + 3 * MINUTE_MS
    finished = replace(status(4), job=make_job(state=JobState.COMPLETE))
    for known in (status(3), finished):
        assert eta_document(eta_of(known, now_ms)) is None
        assert not [line for line in status_lines(known, "", now_ms=now_ms) if line.startswith("  forecast")]
