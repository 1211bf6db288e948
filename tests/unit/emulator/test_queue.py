from __future__ import annotations

import random

from orchestrator.emulator.queue import Batch, ImportQueue
from orchestrator.model import BatchStatus, Leads
from tests.unit.emulator.kit import config


def batch(number: int, eligible_ms: int, duration_ms: int) -> Batch:
    return Batch(
        id=number, target=Leads(), rows=10, queued_ms=0, eligible_ms=eligible_ms, duration_ms=duration_ms
    )  # fmt: skip


def history(queue: ImportQueue, times: list[int]) -> list[tuple[str, int, int]]:
    told = []
    for now_ms in times:
        for what, one in queue.due(now_ms):
            told.append((what, one.id, one.started_ms if what == "started" else one.ended_ms))
    return told


def filled() -> ImportQueue:
    queue = ImportQueue(config())
    for number, (eligible_ms, duration_ms) in enumerate([(100, 1000), (50, 200), (900, 400), (0, 100)], 1):
        queue.add(batch(number, eligible_ms, duration_ms))
    return queue


def test_first_in_first_out_two_at_a_time():
    assert history(filled(), [10_000]) == [
        ("started", 1, 100),
        ("started", 2, 100),  # fit since 50, but not before its predecessor
        ("ended", 2, 300),
        ("started", 3, 900),
        ("ended", 1, 1100),
        ("started", 4, 1100),
        ("ended", 4, 1200),
        ("ended", 3, 1300),
    ]


def test_it_makes_no_difference_how_often_time_is_looked_at():
    at_once = history(filled(), [10_000])
    rng = random.Random(1)
    for _ in range(50):
        assert history(filled(), [*sorted(rng.randrange(2_000) for _ in range(20)), 10_000]) == at_once


def test_next_step_and_slots():
    queue = filled()
    assert (queue.next_step_ms(), queue.unfinished, queue.unfinished_max) == (100, 4, 4)
    list(queue.due(200))
    assert (queue.next_step_ms(), queue.unfinished) == (300, 4)
    list(queue.due(10_000))
    assert (queue.next_step_ms(), queue.unfinished, queue.unfinished_max) == (None, 0, 4)


def test_a_batch_that_comes_late_does_not_start_in_the_past():
    queue = ImportQueue(config())
    list(queue.due(5_000))
    queue.add(batch(1, 0, 100))
    assert history(queue, [9_000]) == [("started", 1, 5_000), ("ended", 1, 5_100)]


def test_rows_done_rise_from_none_to_all():
    one = batch(1, 100, 1_000)
    queue = ImportQueue(config())
    queue.add(one)
    seen = []
    for now_ms in (0, 100, 349, 600, 1_099, 1_100, 2_000):
        list(queue.due(now_ms))
        seen.append((one.status, one.rows_done(now_ms)))
    assert seen == [
        (BatchStatus.QUEUED, 0),
        (BatchStatus.IMPORTING, 0),
        (BatchStatus.IMPORTING, 2),
        (BatchStatus.IMPORTING, 5),
        (BatchStatus.IMPORTING, 9),
        (BatchStatus.COMPLETE, 10),
        (BatchStatus.COMPLETE, 10),
    ]
