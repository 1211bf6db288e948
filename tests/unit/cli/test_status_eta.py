"""When a job is likely to end, as ``status`` tells it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.blocking import Blocker, Why
from orchestrator.cli.showing import latest, status_document, status_lines
from orchestrator.cli.words import moment
from orchestrator.errors import ConfigError
from orchestrator.following import JobStatus
from orchestrator.journal.values import Counters, Owner, Progress, Tally
from orchestrator.marketo.day import DayEnd
from orchestrator.model import BatchId, Chunk, ChunkId, Finding, JobId, JobState, Phase, Wish
from orchestrator.prospect import NOTHING, Behind, Prospect
from orchestrator.report.eta import Eta
from tests.contract.journal_kit import NOW_MS, make_job, make_spans

SPANS = make_spans(count=8)  # of ten rows each
MINUTE_MS = 60_000


ETA = Eta(p50_ms=NOW_MS + 3 * MINUTE_MS, p90_ms=NOW_MS + 5 * MINUTE_MS, basis="the last 4 batches, 10 rows/min")


def status(done: int, prospect: Prospect = NOTHING) -> JobStatus:
    """Return a running job of which some batches have ended."""
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
        prospect=prospect,
        attended=False,
        driver=None,
    )


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"shared": True, "batch_id": BatchId(1002)}, "chunk 8 for batch 1002 of job j-2: they share keys"),
        (
            {"shared": None, "batch_id": None},
            "chunk 8 for an upload of job j-2: its keys cannot be read here, so they may be the same",
        ),
        (
            {"shared": True, "batch_id": None, "why": Why.RESERVED, "since_ms": NOW_MS},
            f"chunk 8 for an upload of job j-2: it was passed over for long, so it reserves its keys since {moment(NOW_MS)}; "
            "they share keys",
        ),
        (
            {"shared": None, "batch_id": BatchId(1002), "why": Why.SLOW_START, "job_id": make_job().id},
            "chunk 8 for chunk 4, batch 1002: slow start, the second batch of the job waits until the first is complete",
        ),
    ],
)
def test_what_the_next_rows_wait_for_is_told(facts, words):
    blocker = Blocker(**{"waiting": ChunkId(7), "chunk": ChunkId(3), "job_id": JobId("j-2"), **facts})
    known = replace(status(8), blockers=(blocker,))
    assert f"  waits     {words}" in status_lines(known, "", now_ms=NOW_MS)
    assert status_document(known)["blockers"][0]["why"] == blocker.why


def test_what_is_foretold_is_told():
    known = status(4, Prospect(eta=ETA, calls_end=DayEnd(exhausted_ms=NOW_MS + MINUTE_MS, reset_ms=NOW_MS + 90_000)))
    document = status_document(known)
    assert document["eta"] == {
        "p50": "2023-11-14T22:16:20.000Z",
        "p90": "2023-11-14T22:18:20.000Z",
        "basis": "the last 4 batches, 10 rows/min",
    }
    assert document["calls"] == {"exhausted_at": "2023-11-14T22:14:20.000Z"}
    lines = status_lines(known, "", now_ms=NOW_MS)
    assert "  forecast  3 to 5 min left, by the last 4 batches, 10 rows/min" in lines
    (line,) = [line for line in lines if line.startswith("  day ")]
    assert line.startswith("  day       at this pace the day's calls end at ")


def test_the_latest_job_is_one_of_which_something_was_sent_if_there_is_any():
    refused, sent = (replace(status(4, NOTHING).job, state=state) for state in (JobState.FAILED, JobState.COMPLETE))
    assert latest([sent, refused]) is sent
    assert latest([refused]) is refused
    with pytest.raises(ConfigError, match="no jobs yet"):
        latest([])


def test_a_job_behind_another_one_says_what_it_waits_for():
    lines = status_lines(
        status(0, Prospect(eta=None, calls_end=None, behind=Behind(job_id=JobId("a"), stopped=True))), "", now_ms=NOW_MS
    )
    (line,) = [line for line in lines if line.startswith("  forecast")]
    assert line == "  forecast  waits for job a, which is stopped: orchestrator resume a (or cancel a)"


def test_every_batch_whose_outcome_is_not_fetched_has_a_deadline():
    known = status(3)
    open_ones = {3: Phase.COLLECTING, 4: Phase.SUBMITTED}
    chunks = [replace(chunk, batch_id=BatchId(100 + chunk.id), submitted_ms=NOW_MS) for chunk in known.chunks]
    for at, phase in open_ones.items():
        found = Chunk(id=ChunkId(at), job=known.job.id, span=SPANS[at], phase=phase, batch_id=BatchId(100 + at))
        chunks.append(replace(found, submitted_ms=NOW_MS + at * MINUTE_MS))
    known = replace(known, chunks=tuple(chunks))
    document = status_document(known)
    due = {chunk["batch_id"]: chunk["deadline_ms"] for chunk in document["chunks"]}
    week_ms = 7 * 86_400_000
    assert due == {100: None, 101: None, 102: None, 103: NOW_MS + 3 * MINUTE_MS + week_ms,
                   104: NOW_MS + 4 * MINUTE_MS + week_ms}  # fmt: skip
    lines = status_lines(known, "", now_ms=NOW_MS + 4 * MINUTE_MS)
    assert "DEADLINE" not in " ".join(lines), "it is far away, and one line says so"
    assert len([line for line in lines if line.startswith("  deadline") and line.endswith("became of batch 103")]) == 1
    near = status_lines(known, "", now_ms=NOW_MS + week_ms - 14 * 3_600_000)
    assert [line.rsplit("  ", 1)[1] for line in near[-7:-2]] == ["-", "-", "-", "in 14 h 3 min", "in 14 h 4 min"]
    assert "over" in " ".join(status_lines(known, "", now_ms=NOW_MS + 2 * week_ms))
    assert "DEADLINE" not in " ".join(status_lines(replace(known, chunks=tuple(chunks[:3])), "", now_ms=NOW_MS))


def test_where_nobody_can_tell_nothing_is_told():
    assert status_document(status(3))["eta"] is None
    assert status_document(status(3))["calls"] == {"exhausted_at": None}
    lines = status_lines(status(3), "", now_ms=NOW_MS)
    assert not [line for line in lines if line.startswith(("  forecast", "  day"))]


def test_rows_whose_answer_was_lost_are_told_as_such():
    known = status(3)
    phases = {**known.progress.phases, Phase.UNKNOWN: Tally(chunks=2, rows=83)}
    lines = status_lines(replace(known, progress=replace(known.progress, phases=phases)), "", now_ms=NOW_MS)
    (line,) = [line for line in lines if line.startswith("  rows ")]
    assert line.endswith(", 83 unknown (83 whose answer was lost)")


def test_rows_at_marketo_are_told_as_such():
    known = status(3)
    phases = {phase: Tally(chunks=1, rows=10) for phase in (Phase.SUBMITTING, Phase.SUBMITTED, Phase.COLLECTING)}
    lines = status_lines(replace(known, progress=replace(known.progress, phases=phases)), "", now_ms=NOW_MS)
    (line,) = [line for line in lines if line.startswith("  rows ")]
    assert line.endswith(" 0 unknown, 30 at Marketo")


def test_who_sends_a_job_is_told_and_what_to_do_next():
    alone = status(3)
    assert "  driver    nobody works on it" in status_lines(alone, " --x", now_ms=NOW_MS)
    assert status_lines(alone, " --x", now_ms=NOW_MS)[-1] == "Next: orchestrator resume j-1 --x"
    sent = replace(alone, attended=True, driver=Owner(pid=17, since_ms=NOW_MS))
    assert "  driver    process 17 sends it" in status_lines(sent, " --x", now_ms=NOW_MS)
    assert status_lines(sent, " --x", now_ms=NOW_MS)[-1] == "Next: orchestrator wait j-1 --x"
    assert status_document(sent)["driver"]["pid"] == 17
    far = replace(sent, driver=Owner(pid=17, since_ms=NOW_MS, machine="b"))
    assert "  driver    process 17 on b sends it" in status_lines(far, "", now_ms=NOW_MS)
    waiting = replace(alone, attended=True)
    assert "  driver    a process waits until it can be sent" in status_lines(waiting, "", now_ms=NOW_MS)
    ended = replace(alone, job=replace(alone.job, state=JobState.PAUSED))
    assert not [line for line in status_lines(ended, "", now_ms=NOW_MS) if line.startswith("  driver")]


def test_a_refused_job_has_no_share_of_no_rows_and_its_finding_keeps_its_column():
    finding = Finding(kind="input_refused", message="a.csv: the header is wrong\n  - column 2: there is no such field")
    refused = replace(status(3), progress=Progress(phases={}), findings=(finding,))
    lines = "\n".join(status_lines(refused, "", now_ms=NOW_MS)).splitlines()
    assert any(line.startswith("  rows      0 of 0: 0 accepted") for line in lines)
    at = lines.index("  finding   a.csv: the header is wrong")
    assert lines[at + 1] == f"{'':<14}- column 2: there is no such field"


def test_a_job_that_nobody_works_on_is_shown_so_beside_its_state():
    alone = status(3)
    assert status_lines(alone, "", now_ms=NOW_MS)[0] == "Job j-1: running (nobody works on it)"
    assert status_lines(replace(alone, attended=True), "", now_ms=NOW_MS)[0] == "Job j-1: running"
    paused = replace(alone, job=replace(alone.job, state=JobState.PAUSED))
    assert status_lines(paused, "", now_ms=NOW_MS)[0] == "Job j-1: paused"


@pytest.mark.parametrize(
    ("state", "word"),
    [(JobState.PAUSED, "paused"), (JobState.INCOMPLETE, "stopped"), (JobState.COMPLETE, "finished")],
)
def test_what_became_of_a_job_is_said_with_its_time(state, word):
    known = status(3)
    ended = replace(known, job=replace(known.job, state=state, finished_ms=NOW_MS + 1_000))
    (line,) = [line for line in status_lines(ended, "", now_ms=NOW_MS) if line.startswith("  times")]
    assert line == f"  times     created {moment(known.job.created_ms)}, {word} {moment(NOW_MS + 1_000)}"
    (line,) = [line for line in status_lines(known, "", now_ms=NOW_MS) if line.startswith("  times")]
    assert line == f"  times     created {moment(known.job.created_ms)}"


def test_a_wish_is_told_once():
    known = status(3)
    asked = [Finding(kind="stop_asked", message=f"A pause was asked for at T{at}: lunch") for at in (1, 2)]
    job = replace(known.job, wish=Wish.PAUSE, wish_ms=NOW_MS, wish_reason="lunch")
    lines = status_lines(replace(known, job=job, findings=tuple(asked)), "", now_ms=NOW_MS)
    assert [line for line in lines if "lunch" in line] == [
        f"  asked     to pause, {moment(NOW_MS)}: lunch",
        "  finding   A pause was asked for at T1: lunch",
    ]
