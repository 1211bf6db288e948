"""What a running job looks like at a given moment; no clock and no terminal."""

from __future__ import annotations

import re

import pytest

from orchestrator import events
from orchestrator.blocking import Blocker, Why
from orchestrator.cli.progress import View, slip_words
from orchestrator.journal.values import Owner, Progress, Tally
from orchestrator.model import BatchId, ChunkId, JobId, JobState, Phase, Wish
from orchestrator.prospect import NOTHING, Behind, Prospect
from orchestrator.report.eta import Eta
from tests.contract.journal_kit import make_job

JOB = JobId("j1")
T0 = 1_767_225_600_000


@pytest.fixture(autouse=True)
def _utc(monkeypatch):
    monkeypatch.setattr("orchestrator.cli.progress.of_day", lambda ms: f"T+{(ms - T0) // 1000}")


def at(seconds: float) -> int:
    return T0 + int(seconds * 1000)


def counted(*, ready: int, submitted: int, done: int, **outcomes: int) -> Progress:
    """Chunks of 100 rows and 1,000 bytes."""
    phases = {Phase.READY: ready, Phase.SUBMITTED: submitted, Phase.DONE: done}
    return Progress(
        phases={
            phase: Tally(chunks=count, rows=100 * count, span_bytes=1000 * count) for phase, count in phases.items()
        },
        **outcomes,
    )


def submitted(chunk: int, batch: int, seconds: float) -> events.ChunkSubmitted:
    return events.ChunkSubmitted(
        job_id=JOB, ts_ms=at(seconds), chunk=chunk, batch_id=batch, rows=100, body_bytes=1200, attempt=1
    )


def started(chunk: int, batch: int, seconds: float) -> events.BatchStarted:
    return events.BatchStarted(job_id=JOB, ts_ms=at(seconds), chunk=chunk, batch_id=batch)


def completed(chunk: int, batch: int, seconds: float) -> events.BatchCompleted:
    return events.BatchCompleted(
        job_id=JOB, ts_ms=at(seconds), chunk=chunk, batch_id=batch, status="Complete", rows=100, accepted=100,
        failed=0, warned=0, unknown=0,
    )  # fmt: skip


def deferred(chunk: int, cause: str, seconds: float) -> events.ChunkDeferred:
    return events.ChunkDeferred(job_id=JOB, ts_ms=at(seconds), chunk=chunk, cause=cause, message="-")


def test_a_history_from_planning_to_the_end():
    view = View(label="j1")
    assert view.block(at(0)) == ["j1: reading the source ..."]
    assert view.line(at(0)) == "T+0 j1: reading the source"

    view.counted(counted(ready=4, submitted=0, done=0))
    assert view.block(at(1)) == [
        "j1  [------------------------------] 0%",
        "  rows      0 of 400",
        "  uploaded  0 bytes of 4.0 kB, 0 of 4 chunks",
        "  batches   0 finished, 0 importing, 0 queued",
    ]

    for event in (submitted(1, 7, 2), submitted(2, 8, 3), started(1, 7, 4)):
        view.saw(event)
    view.counted(counted(ready=2, submitted=2, done=0, importing=1, queued=1))
    assert view.block(at(9))[2:] == [
        "  uploaded  2.0 kB of 4.0 kB, 2 of 4 chunks",
        "  batches   0 finished, 1 importing, 1 queued",
        "  importer 1  batch 7, 100 rows, for 5 s",
    ]

    view.saw(completed(1, 7, 11))
    view.saw(started(2, 8, 11))
    view.counted(counted(ready=2, submitted=1, done=1, importing=1, accepted=98, failed=2, warned=3, unknown=0))
    block = view.block(at(11))
    assert block[0] == "j1  [#######-----------------------] 25%"
    assert block[1] == "  rows      100 of 400 (2 failed, 3 with a warning)"
    assert block[4:] == ["  importer 1  batch 8, 100 rows, for 0 s"]
    assert view.line(at(11)) == (
        "T+11 j1: 25%, 100 of 400 rows (2 failed, 3 with a warning); 2.0 kB of 4.0 kB uploaded; "
        "1 of 4 batches finished, 1 importing, 0 queued"
    )

    view.counted(counted(ready=0, submitted=0, done=4, accepted=398, failed=2))
    assert view.block(at(50))[:2] == ["j1  [##############################] 100%", "  forecast  writing the report"]


def test_a_batch_whose_result_is_being_fetched_is_finished():
    view = View(label="j1")
    view.counted(
        Progress(
            phases={Phase.COLLECTING: Tally(chunks=1, rows=100), Phase.DONE: Tally(chunks=1, rows=100)}, accepted=200
        )
    )
    assert view.block(at(0))[0].endswith("100%")
    assert view.block(at(0))[1] == "  forecast  fetching results"
    assert view.block(at(0))[4] == "  batches   2 finished, 0 importing, 0 queued"


def test_a_batch_whose_result_is_being_fetched_holds_no_importer():
    view = View(label="j1")
    for event in (submitted(1, 7, 0), submitted(2, 8, 0), started(1, 7, 0), started(2, 8, 5)):
        view.saw(event)
    view.counted(counted(ready=0, submitted=2, done=0, importing=1))
    assert view.block(at(9))[4:] == ["  importer 1  batch 8, 100 rows, for 4 s"]


def test_nothing_is_said_of_importers_at_which_no_batch_was_seen():
    view = View(label="j1")
    for chunk in range(1, 11):
        view.saw(submitted(chunk, chunk, 0))
    view.counted(counted(ready=0, submitted=10, done=0, queued=10))
    assert view.block(at(9))[-1] == "  batches   0 finished, 0 importing, 10 queued"


def test_a_forecast_is_promised_only_if_it_comes():
    view = View(label="j1")
    view.counted(counted(ready=4, submitted=1, done=1, accepted=100))
    assert view.block(at(0))[1] == "  forecast  when 4 batches are finished"
    view.counted(counted(ready=2, submitted=1, done=1, accepted=100))
    assert "forecast" not in view.line(at(0))


def test_a_forecast_is_a_range_with_its_basis():
    view = View(label="j1")
    view.counted(counted(ready=2, submitted=0, done=8, accepted=800))
    assert view.block(at(30))[1] == "  forecast  when some more batches are finished"
    eta = Eta(p50_ms=at(50), p90_ms=at(76), basis="the last 4 batches, 10 rows/s")
    view.foretold(Prospect(eta=eta, calls_end=None))
    assert view.block(at(30))[1] == "  forecast  20 to 46 s left"
    assert view.line(at(30)).endswith("; 20 to 46 s left, by the last 4 batches, 10 rows/s")
    view.foretold(NOTHING)
    assert view.block(at(60))[1] == "  forecast  when some more batches are finished"


def test_a_line_of_the_block_fits_eighty_columns():
    view = View(label="20260921-101530-k7rm")
    view.stands(make_job(name="the contacts of all the trade fairs in spring"))
    view.counted(counted(ready=2, submitted=0, done=8, accepted=800))
    other = JobId("20260921-101531-k7rn")
    view.blocked([Blocker(waiting=ChunkId(9), job_id=other, chunk=ChunkId(1), batch_id=BatchId(123_456), shared=True)])
    view.foretold(Prospect(eta=Eta(p50_ms=at(800), p90_ms=at(1799), basis="x" * 60), calls_end=None))
    assert max(map(len, view.block(at(0)))) <= 80


def test_a_job_behind_another_says_so_in_place_of_a_forecast():
    view = View(label="j1")
    view.counted(counted(ready=4, submitted=0, done=0))
    view.foretold(Prospect(eta=None, calls_end=None, behind=Behind(job_id=JobId("a"), stopped=False)))
    assert view.block(at(1))[1] == "  forecast  waits for job a"
    view.foretold(Prospect(eta=None, calls_end=None, behind=Behind(job_id=JobId("a"), stopped=True)))
    told = "waits for job a, which is stopped: orchestrator resume a (or cancel a)"
    assert view.block(at(1))[1] == f"  forecast  {told}"
    assert view.line(at(1)).endswith(f"; {told}")


def waiting(view: View, seconds: float) -> list[str]:
    return [line for line in view.block(at(seconds)) if line.startswith("  waiting")]


def test_waits_are_told_with_their_cause_until_they_end():
    view = View(label="j1")
    view.counted(counted(ready=4, submitted=0, done=0))
    view.saw(deferred(1, "queue_full", 1))
    view.saw(deferred(1, "queue_full", 9))
    assert waiting(view, 10) == ["  waiting   Marketo's import queue is full, since T+1"]
    assert view.line(at(10)).endswith("; waiting: Marketo's import queue is full, since T+1")
    view.saw(deferred(1, "something_new", 12))
    assert waiting(view, 12) == ["  waiting   something new, since T+12"]
    view.saw(submitted(1, 7, 13))
    assert waiting(view, 13) == []


def test_a_lost_answer_is_told_with_its_deadline():
    view = View(label="j1")
    view.counted(counted(ready=4, submitted=0, done=0))
    view.saw(events.ChunkDeliveryUnknown(job_id=JOB, ts_ms=at(1), chunk=1, hold_until_ms=at(600)))
    assert waiting(view, 2) == ["  waiting   the answer to 1 upload was lost; sent again at T+600 at the earliest"]
    later = "  waiting   the answer to 1 upload was lost; sent again when Marketo cannot have it under way any more"
    assert waiting(view, 601) == [later]
    view.saw(submitted(1, 7, 602))
    assert waiting(view, 602) == []


def test_every_cause_the_scheduler_knows_has_words():
    from orchestrator.cli.progress import CAUSES
    from orchestrator.schedule.messages import Cause

    assert set(CAUSES) == {str(cause) for cause in Cause}
    assert all(re.search(r"\w", text) for text in CAUSES.values())


def test_a_slip_is_told_with_its_reason(monkeypatch):
    monkeypatch.setattr("orchestrator.cli.progress.moment", lambda ms: f"T+{(ms - T0) // 1000}")
    slipped = events.EtaSlipped(
        job_id=JOB, ts_ms=at(0), p50_before_ms=at(600), p50_after_ms=at(900), reason="queue_full"
    )
    later = "likely to end at T+900, 5 min 0 s later than was foretold"
    assert slip_words(slipped) == f"{later}: Marketo's import queue is full"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"state": JobState.CANCELLED}, "cancelled, report written; 810 of 1,000 rows (10 failed)"),
        ({"state": JobState.COMPLETE}, "complete, report written; 810 of 1,000 rows (10 failed)"),
        (
            {"state": JobState.CANCELLED, "exit_reasons": ("report_unwritten",)},
            "cancelled; 810 of 1,000 rows (10 failed)",
        ),
        ({"state": JobState.PAUSED}, "paused; 810 of 1,000 rows (10 failed)"),
    ],
)
def test_a_job_that_ended_is_shown_so(changes, words):
    view = View(label="j1")
    view.foretold(Prospect(eta=Eta(p50_ms=at(60), p90_ms=at(90), basis="x"), calls_end=None))
    view.counted(counted(ready=2, submitted=0, done=8, accepted=800, failed=10))
    view.stands(make_job(**{"started_ms": T0, **changes}))
    assert view.over
    assert view.block(at(1)) == [f"j1  {words}"]
    assert view.line(at(1)) == f"T+1 j1: {words}"


@pytest.mark.parametrize(("wish", "word"), [(Wish.PAUSE, "paused"), (Wish.CANCEL, "cancelled")])
def test_nothing_is_foretold_of_a_job_that_is_to_stop(wish, word):
    view = View(label="j1")
    view.foretold(Prospect(eta=Eta(p50_ms=at(60), p90_ms=at(90), basis="x"), calls_end=None))
    view.counted(counted(ready=2, submitted=1, done=7, accepted=700))
    view.stands(make_job(state=JobState.RUNNING, wish=wish))
    assert not view.over
    assert view.block(at(1))[1] == f"  forecast  being {word}: what is at Marketo is seen to its end"
    view.stands(make_job(state=JobState.RUNNING))  # it was taken back
    assert view.block(at(1))[1].endswith(" left")


def test_a_driver_that_does_nothing_is_named_with_what_to_do_and_no_forecast():
    view = View(label="j1", flags=" --x")
    view.counted(counted(ready=3, submitted=1, done=0))
    hung = Owner(pid=4_194_304, since_ms=0, silent_ms=59 * 60_000)
    view.foretold(Prospect(eta=None, calls_end=None, hung=hung))
    assert "  forecast  none meanwhile" in view.block(at(0))
    assert view.block(at(0))[-2:] == [
        "  waiting   process 4194304 drives, but has done nothing for 59 min 0 s",
        "            orchestrator resume --take-over --x takes its place",
    ]
    assert view.line(at(0)).endswith(
        "; process 4194304 drives, but has done nothing for 59 min 0 s; orchestrator resume --take-over --x takes its place"
    )


def test_of_several_jobs_each_is_shown_with_its_name():
    view = View(label="j1")
    view.stands(make_job(name="trade fair"))
    assert view.block(at(0)) == ["j1 (trade fair): reading the source ..."]
    view.counted(counted(ready=2, submitted=0, done=2, accepted=200))
    assert view.block(at(0))[0].startswith("j1 (trade fair)  [###")
    assert view.line(at(0)).startswith("T+0 j1 (trade fair): 50%")


def test_what_was_uploaded_is_told_in_the_measure_of_the_files():
    view = View(label="j1")
    view.saw(events.JobPlanned(job_id=JOB, ts_ms=at(0), sources=1, chunks=4, rows=400, source_bytes=4_100))
    view.counted(counted(ready=2, submitted=2, done=0))
    assert "  uploaded  2.0 kB of 4.1 kB, 2 of 4 chunks" in view.block(at(0))
    view.counted(counted(ready=0, submitted=4, done=0))
    assert "  uploaded  4.1 kB of 4.1 kB, 4 of 4 chunks" in view.block(at(0))
    assert "; 4.1 kB of 4.1 kB uploaded; " in view.line(at(0))


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"shared": True, "batch_id": BatchId(7)}, ["for batch 7 of job j2", "the next rows share keys with it"]),
        (
            {"shared": None, "batch_id": None},
            ["for an upload of job j2 whose answer is not known", "the next rows may share keys with it"],
        ),
        (
            {"shared": True, "batch_id": None, "why": Why.RESERVED, "since_ms": 0},
            ["for rows of job j2 that were passed over for long", "the next rows share keys with it"],
        ),
        (
            {"shared": False, "batch_id": BatchId(7)},
            ["for batch 7 of job j2", "both have the same static list, or another lookup field"],
        ),
    ],
)
def test_a_job_that_stands_still_says_what_its_rows_wait_for(facts, words):
    view = View(label="j1")
    view.blocked([Blocker(waiting=ChunkId(3), job_id=JobId("j2"), chunk=ChunkId(1), **facts)])
    view.counted(counted(ready=2, submitted=0, done=2, accepted=200))
    assert view.block(at(0))[-2:] == [f"  waiting   {words[0]}", f"            {words[1]}"]
    assert f"; waiting {words[0]}; {words[1]}" in view.line(at(0))
    view.counted(counted(ready=1, submitted=1, done=2, accepted=200))  # something of it is at Marketo
    assert "waiting" not in view.line(at(0))
