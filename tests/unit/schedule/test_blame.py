"""Batches that fail as a whole: few bad rows cost nobody their job, and whoever resumes one gets further."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from orchestrator.model import Phase
from orchestrator.schedule import messages as m
from tests.unit.schedule.story import Story, chunk, play

ROWS = 64  # of a chunk


def _hold(*rows: int) -> Callable[[m.ChunkSeen], bool]:
    return lambda seen: any(seen.first_row <= row < seen.first_row + seen.rows for row in rows)


def _chunks(count: int) -> list[m.ChunkSeen]:
    return [chunk(at, rows=ROWS, row=at * ROWS) for at in range(count)]


def _end(*bad: int, count: int = 10) -> tuple[list[int], list[str]]:
    """Return which rows are given up of a job where some break their batch, and why it stops."""
    story, chunks = Story(), _chunks(count)
    story.job(*chunks)
    _, given_up, reasons = play(story, _hold(*bad), *chunks)
    return sorted(row for one in given_up for row in range(one.first_row, one.first_row + one.rows)), reasons


@pytest.mark.parametrize("bad", [1, 2, 3, 5])
def test_few_bad_rows_stop_a_job_only_if_its_first_batches_fail(bad):
    rng = Random(bad)
    for _ in range(40):
        rows = sorted(rng.sample(range(10 * ROWS), bad))
        told = ([], ["batches_failed"]) if _hold(*rows)(chunk(0, rows=2 * ROWS, row=0)) else (rows, [])
        given_up, reasons = _end(*rows)
        assert (given_up, reasons) in ((rows, []), told), rows


@pytest.mark.parametrize("first", range(ROWS, 2 * ROWS - 1, 7))
def test_two_bad_rows_beside_each_other_in_the_last_chunk_are_found(first):
    assert _end(first, first + 1, count=2) == ([first, first + 1], [])


def _resumed(story: Story, done: m.ChunkSeen) -> tuple[Story, list[m.ChunkSeen]]:
    """Return the job of a story that ended, as a new process takes it over."""
    job = story.heart.known.jobs[m.JobId("a")]
    left = [
        chunk(c.id, rows=c.rows, row=c.first_row, depth=c.depth, failures=c.failures) for c in [*job.ready, *job.moving]
    ]
    anew = Story()
    anew.job(done, *left)
    return anew, [done, *left]


def _all_failed(rows: int, count: int) -> tuple[Story, m.ChunkSeen]:
    """Return a job that was left when Marketo failed everything behind its first batch."""
    done, *others = [chunk(at, rows=rows, row=at * rows) for at in range(count + 1)]
    done = chunk(0, rows=rows, row=0, phase=Phase.DONE)
    story = Story()
    story.job(done, *others)
    assert play(story, lambda _: True, done, *others)[1:] == ([], ["batches_failed"])
    return story, done


SHAPES = pytest.mark.parametrize(("rows", "count"), [(1, 2), (1, 30), (2, 2), (8, 3), (250_000, 25)])


@SHAPES
def test_a_job_resumed_after_an_outage_gets_through(rows, count):
    story, seen = _resumed(*_all_failed(rows, count))
    assert play(story, lambda _: False, *seen) == (0, [], [])


@SHAPES
def test_a_job_resumed_after_an_outage_finds_the_bad_row_that_it_has(rows, count):
    story, seen = _resumed(*_all_failed(rows, count))
    _, given_up, reasons = play(story, _hold(rows), *seen)
    assert reasons == []
    assert all(_hold(rows)(one) and one.rows <= -(-rows // 4096) for one in given_up)
    assert len(given_up) == 1


@pytest.mark.parametrize(("rows", "count"), [(1, 2), (1, 30), (2, 2), (8, 3)])
def test_a_job_whose_last_rows_are_all_bad_gets_through_when_it_is_resumed(rows, count):
    story, done = _all_failed(rows, count)
    lost, reasons = 0, ["batches_failed"]
    for _ in range(12):  # each time 20 more failures are borne, and what they cut stays cut
        story, seen = _resumed(story, done)
        _, given_up, reasons = play(story, lambda _: True, *seen)
        lost += sum(one.rows for one in given_up)
        if not reasons:
            break
    assert (lost, reasons) == (rows * count, [])


def test_a_job_resumed_while_marketo_still_fails_everything_blames_no_row_that_failed_but_once_before():
    story, done = _all_failed(256, 3)
    story, seen = _resumed(story, done)
    assert play(story, lambda _: True, *seen)[1:] == ([], ["batches_failed"])
