"""When a job is told to end much later than was foretold, and for what reason."""

from __future__ import annotations

from itertools import pairwise

import pytest

from orchestrator import events
from orchestrator.model import JobId
from orchestrator.report.outlook import TELL_EVERY_MS, Outlook, Way

MINUTE_MS = 60_000
JOB = JobId("j")
ROWS = 100


class Story:
    """A job of batches of 100 rows; four of them have ended, one a minute, and so the first forecast is made."""

    def __init__(self, batches: int = 24, *, minute_ms: int = MINUTE_MS) -> None:
        self.minute_ms = minute_ms
        self.outlook = Outlook()
        self.left = batches
        self.of_others = 0
        self.at: list[tuple[int, int]] = []  # when batches ended
        self.tell(events.JobAccepted, 0)
        for minute in (1, 2, 3, 4):
            assert self.ends(minute) is None

    def tell(self, kind: type[events.Event], minute: float, **values: object) -> events.EtaSlipped | None:
        event = kind(job_id=JOB, ts_ms=round(minute * self.minute_ms), **values)
        if isinstance(event, events.BatchCompleted):
            self.left -= 1
            self.at.append((event.ts_ms, ROWS))
        way = Way(ends=self.at, rows=self.left * ROWS + self.of_others, of_others=self.of_others)
        return self.outlook.saw(event, lambda: way)

    def ends(self, minute: float) -> events.EtaSlipped | None:
        return self.tell(
            events.BatchCompleted, minute, chunk=self.left, batch_id=self.left, status="Complete", rows=ROWS,
            accepted=ROWS, failed=0, warned=0, unknown=0,
        )  # fmt: skip

    def deferred(self, minute: float, cause: str) -> None:
        self.tell(events.ChunkDeferred, minute, chunk=1, cause=cause, message="-")

    def submitted(self, minute: float) -> None:
        self.tell(events.ChunkSubmitted, minute, chunk=1, batch_id=99, rows=ROWS, body_bytes=1, attempt=1)


def test_more_than_a_fifth_of_the_whole_duration_is_told_and_no_less():
    # 20 batches are left at minute 4: foretold is minute 24, so a fifth is 4.8 minutes.
    # The fifth batch ends `late`, and the 19 left take (late + 1) / 6 minutes each.
    story = Story()
    assert story.ends(6.1) is None  # minute 28.6, 4.6 later
    story = Story()
    told = story.ends(6.2)
    assert told is not None
    assert (told.p50_before_ms, told.p50_after_ms) == (24 * MINUTE_MS, 29 * MINUTE_MS)
    assert (told.job_id, told.ts_ms, told.reason) == (JOB, round(6.2 * MINUTE_MS), "slower_batches")


@pytest.mark.parametrize("stood", [0, 90])
def test_another_process_goes_on_from_what_was_told_as_if_it_had_not_stood_still(stood):
    before = Story()
    told = events.EtaForetold(job_id=JOB, ts_ms=4 * MINUTE_MS, p50_ms=24 * MINUTE_MS, rows_of_others=0)
    assert before.outlook.told_p50_ms == told.p50_ms
    for late, slips in ((6.1, False), (6.2, True)):
        story = Story()
        story.at = [(at_ms + stood * MINUTE_MS, count) for at_ms, count in story.at]
        story.outlook = Outlook()
        story.outlook.recall(told, begun_ms=0, slipped_ms=None, stood_ms=stood * MINUTE_MS)
        assert (story.ends(stood + late) is not None) is slips


def test_a_minute_is_not_told():
    assert Story(minute_ms=6_000).ends(6.5) is None  # half a minute in all, though more than a fifth
    assert Story(minute_ms=6_000).ends(8) is not None


def test_a_slow_slip_is_told_once_it_adds_up():
    story, at, told = Story(batches=104), 4.0, []
    for number in range(60):
        at += 1 + number / 20
        slipped = story.ends(at)
        told += [slipped] if slipped else []
    assert len(told) > 1
    assert all(one.p50_after_ms == other.p50_before_ms for one, other in pairwise(told))
    assert all(other.ts_ms - one.ts_ms >= TELL_EVERY_MS for one, other in pairwise(told))


def test_it_is_told_once_in_ten_minutes_at_most():
    story = Story()
    assert story.ends(8) is not None
    assert [story.ends(minute) for minute in (12, 17.9)] == [None, None]
    assert story.ends(22) is not None


def test_an_earlier_end_is_not_told_and_measured_from():
    story = Story()
    assert [story.ends(4 + number / 10) for number in range(1, 8)] == [None] * 7
    told = story.ends(10)
    assert told is not None
    assert told.p50_before_ms < 24 * MINUTE_MS


@pytest.mark.parametrize("cause", ["queue_full", "list_busy", "rate_limited", "quota_exhausted", "transient"])
def test_what_uploads_waited_for_is_the_reason(cause):
    story = Story()
    story.deferred(4.5, cause)
    story.deferred(6, cause)  # once more: it waits since the first time
    story.submitted(7)
    assert story.ends(9).reason == cause


def test_the_longest_wait_is_the_reason_and_a_short_one_is_none():
    story = Story()
    story.deferred(4.5, "transient")
    story.deferred(5, "queue_full")
    assert story.ends(9).reason == "queue_full"
    story = Story()
    story.deferred(4.5, "transient")
    story.submitted(4.6)
    assert story.ends(9).reason == "slower_batches"


def test_other_jobs_that_came_are_the_reason():
    story = Story()
    story.deferred(4.1, "queue_full")  # as always
    story.of_others = 20 * ROWS
    assert story.ends(5).reason == "other_jobs"
    story = Story()
    story.of_others = 2 * ROWS  # a tenth of what is left; the batches are what takes longer
    assert story.ends(9).reason == "slower_batches"


@pytest.mark.parametrize("goes_on", [8, 9.5])
def test_what_was_told_of_before_is_no_reason_again(goes_on):
    story = Story(batches=40)
    story.deferred(4.5, "queue_full")
    if goes_on < 9:
        story.submitted(goes_on)
    assert story.ends(9).reason == "queue_full"
    if goes_on > 9:
        story.submitted(goes_on)
    assert story.ends(26).reason == "slower_batches"


def test_lost_answers_spent_calls_and_failed_batches_are_reasons():
    story = Story()
    story.tell(events.ChunkDeliveryUnknown, 4.5, chunk=1, hold_until_ms=0)
    assert story.ends(9).reason == "answer_lost"
    story = Story()
    story.tell(events.QuotaReached, 4.5, until_ms=0)
    story.submitted(8)
    assert story.ends(9).reason == "quota_exhausted"
    story = Story()
    story.tell(events.QuotaReached, 4.5, until_ms=0)
    story.submitted(4.6)
    assert story.ends(9).reason == "slower_batches"
    story = Story()
    story.tell(events.BatchFailed, 5, chunk=1, batch_id=1, message="-")
    assert story.ends(9).reason == "batch_failed"
