"""Who is told to fill the import queue, and when."""

from __future__ import annotations

from orchestrator.crowding import Crowd
from orchestrator.marketo.reads import Usage
from orchestrator.model import JobId

NOON_MS = 1_781_110_800_000  # 2026-06-10T12:00 in US Central Time
MINUTE_MS = 60_000
A, B = JobId("a"), JobId("b")


def usage(*users: tuple[str, int], date: str = "2026-06-10") -> Usage:
    return Usage(date=date, total=sum(calls for _, calls in users), users=users)


def told(crowd: Crowd, *minutes: int, job: JobId = A, own: str | None = "me@x.invalid") -> list[str | None]:
    """Return what is told at refusals at these minutes."""
    found = [crowd.refused(job, own, now_ms=minute * MINUTE_MS, wall_ms=NOON_MS) for minute in minutes]
    assert {each.kind for each in found if each} <= {"queue_taken"}
    return [each and each.message for each in found]


def test_it_is_told_once_per_job_after_more_than_ten_minutes():
    crowd = Crowd()
    early, late, again = told(crowd, 0, 5, 10)[2], *told(crowd, 11, 12)
    assert (early, again) == (None, None)
    assert late == "Imports of others left no room in Marketo's queue for 11 minutes; it is waited for."
    assert told(crowd, 13, 14, job=B)[0] is not None
    assert told(crowd, 15, job=B) == [None]


def test_an_upload_that_found_room_begins_anew_and_so_does_a_long_gap():
    crowd = Crowd()
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
        crowd = Crowd()
        crowd.note_usage(usage(*users, date=date))
        message = told(crowd, 0, 6, 11, own=own)[2]
        assert message is not None
        assert (name or "waited for.") in message
        assert ("most calls" in message) is (name is not None)
