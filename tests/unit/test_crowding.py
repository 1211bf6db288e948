"""Who is told to fill the import queue, and when."""

from __future__ import annotations

from orchestrator.crowding import Crowd
from orchestrator.marketo.reads import Usage
from orchestrator.model import JobId
from orchestrator.schedule.state import Limits

NOON_MS = 1_781_110_800_000  # 2026-06-10T12:00 in US Central Time
MINUTE_MS = 60_000
A, B = JobId("a"), JobId("b")


def usage(*users: tuple[str, int], date: str = "2026-06-10") -> Usage:
    return Usage(date=date, total=sum(calls for _, calls in users), users=users)


def told(
    crowd: Crowd, *minutes: int, job: JobId = A, own: str | None = "me@x.invalid", batches: int = 0
) -> list[str | None]:
    """Return what is told at refusals at these minutes."""
    found = [crowd.refused(job, own, own=batches, now_ms=each * MINUTE_MS, wall_ms=NOON_MS) for each in minutes]
    assert {each.kind for each in found if each} <= {"queue_taken"}
    return [each and each.message for each in found]


def test_it_is_told_once_per_job_after_more_than_ten_minutes():
    crowd = Crowd(Limits())
    early, late, again = told(crowd, 0, 5, 10)[2], *told(crowd, 11, 12)
    assert (early, again) == (None, None)
    assert late == "Imports of others left no room in Marketo's queue for 11 minutes; it is waited for."
    assert told(crowd, 13, 14, job=B)[0] is not None
    assert told(crowd, 15, job=B) == [None]


def test_a_queue_that_lets_a_few_in_is_told_later():
    crowd = Crowd(Limits())
    for minute in range(0, 35, 5):
        assert told(crowd, minute, batches=1) == [None]
        crowd.let_in()
    found = told(crowd, 35, 40, batches=1)
    assert found == [
        "Imports of others left room for 7 of our uploads only in Marketo's queue for 35 minutes; it is waited for.",
        None,
    ]


def test_a_queue_with_as_many_of_ours_as_we_keep_there_is_not_taken():
    crowd = Crowd(Limits())
    assert told(crowd, *range(0, 180, 5), batches=4) == [None] * 36


def test_a_queue_that_is_seldom_tried_is_told_all_the_same():
    crowd = Crowd(Limits(backoff_max_ms=600_000))
    assert told(crowd, 0, 12)[1] is not None  # with the jitter of a quarter, and the time of a call


def test_after_a_long_gap_it_begins_anew():
    crowd = Crowd(Limits())
    told(crowd, 0, 9)
    crowd.let_in()
    assert told(crowd, 11, 20, 21) == [None] * 3
    assert told(crowd, 32, 42) == [None] * 2
    assert told(crowd, 43) != [None]


def test_the_user_is_named_who_called_most_today_besides_our_own():
    for users, own, date, name in (
        ([("ME@x.invalid", 900), ("crm", 20), ("web", 30)], "me@x.invalid", "2026-06-10", "web made the most calls today, 30:"),
        ([("me@x.invalid", 900), ("", 40), ("web", 0)], "me@x.invalid", "2026-06-10", None),
        ([("me@x.invalid", 900), ("web", 30)], None, "2026-06-10", None),  # nobody knows which is our own
        ([("me@x.invalid", 900), ("web", 30)], "me@x.invalid", "2026-06-09", None),  # of another day
    ):  # fmt: skip
        crowd = Crowd(Limits())
        crowd.note_usage(usage(*users, date=date))
        message = told(crowd, 0, 6, 11, own=own)[2]
        assert message is not None
        assert (name or "waited for.") in message
        assert ("most calls" in message) is (name is not None)
