"""The machine fails as soon as one thing that the heart keeps to is taken out of it.

Three are taken out each time; ``MACHINE_EXAMPLES=80 pytest tests/unit/schedule/test_machine_sees.py`` does it with all,
and so does ``make exhaustive``.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import Phase as Stage
from hypothesis.stateful import run_state_machine_as_test

from orchestrator.model import ChunkId, OnUnknown, Priority
from orchestrator.schedule import messages as m
from orchestrator.schedule import turns
from orchestrator.schedule.budget import Budget
from orchestrator.schedule.calling import Calls
from orchestrator.schedule.cap import UploadCap
from orchestrator.schedule.core import Scheduler
from orchestrator.schedule.lane import Lane
from orchestrator.schedule.line import Line
from orchestrator.schedule.messages import Cause
from orchestrator.schedule.shares import Shares
from orchestrator.schedule.turns import Turns
from tests.unit.schedule.test_machine import STEPS, Heart

EXAMPLES = 300

TAKEN_OUT = {
    "priorities": (turns, "_RANK", {priority: -rank for priority, rank in turns._RANK.items()}),
    "fairness": (Shares, "of", lambda self, job: 0),
    "reservations": (Turns, "reserved", lambda self, now_ms: []),
    "the window": (Turns, "window", lambda self, job: job.queue if job.sending and not job.finishing else []),
    "the ceiling": (Lane, "fits", lambda self, at_marketo, now_ms: True),
    "the reserve of calls for what is under way": (Scheduler, "short_of_calls", property(lambda self: False)),
    "the end of the day's calls": (Budget, "spent", property(lambda self: False)),
    "polling the oldest alone": (Line, "settle", lambda self, batches: list(batches)),
}


SEEN_AT_ONCE = ("priorities", "fairness", "polling the oldest alone")  # the others take minutes in all
SAFEGUARDS = TAKEN_OUT if "MACHINE_EXAMPLES" in os.environ else SEEN_AT_ONCE


@pytest.mark.timeout(600)
@pytest.mark.parametrize("safeguard", SAFEGUARDS)
def test_the_machine_misses(safeguard, monkeypatch):
    monkeypatch.setattr(*TAKEN_OUT[safeguard])
    monkeypatch.setattr(turns, "PASSED_OVER_MAX", 1)  # so that few examples show what patience does
    with pytest.raises(Exception):  # noqa: B017, PT011
        run(examples=EXAMPLES)


def run(examples):
    run_state_machine_as_test(
        Heart,
        settings=settings(
            max_examples=examples,
            derandomize=True,
            database=None,
            stateful_step_count=STEPS,
            deadline=None,
            phases=[Stage.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_the_machine_misses_nothing_when_nothing_is_taken_out(monkeypatch):
    monkeypatch.setattr(turns, "PASSED_OVER_MAX", 1)
    run(examples=30)


def test_halving_without_waiting_for_another_batch_is_seen(monkeypatch):
    monkeypatch.setattr(Scheduler, "_is_to_blame", lambda self, chunk: True)
    with pytest.raises(AssertionError, match="another one may show that it is not to blame"):
        fail_one_twice(Heart())


def test_halving_waits_for_another_batch():
    heart = Heart()
    fail_one_twice(heart)
    assert not [kind for kind, _ in heart.work if kind == "split"]


def test_sending_while_calls_are_held_is_seen(monkeypatch):
    monkeypatch.setattr(Calls, "hold", lambda self, cause, until_ms: None)
    with pytest.raises(AssertionError, match="calls are held"):
        play(Heart(), {"submit": "accepted", "poll": Cause.RATE_LIMITED}, times=20)


def test_learning_no_limit_is_seen(monkeypatch):
    monkeypatch.setattr(UploadCap, "recall", lambda self, bytes_max, learned_ms: None)
    with pytest.raises(AssertionError):
        play(Heart(), {"submit": "too large"}, times=20)


def play(heart, answers, times):
    """Give a job's commands the same answers some times."""
    arrive(heart, row_bytes=3_000_000)
    for _ in range(times):
        heart.everything_is_right()
        for work in list(heart.work):
            heart._answer(work, answers.get(work[0], "done"))
        heart.now_ms += 5_000


def arrive(heart, row_bytes):
    heart.a_job_arrives(
        space=m.Space(entity="person", key_field="email", compared=False),
        keys=[list(range(1, 13))],
        rows=2,
        row_bytes=row_bytes,
        canary=False,
        trusted=True,
        on_unknown=OnUnknown.PROBE,
        priority=Priority.NORMAL,
        waits_for_quota=True,
    )


def fail_one_twice(heart):
    """Let the first batch of a job be complete, and the second one fail twice while others are under way."""
    arrive(heart, row_bytes=1_000)
    answers = {1: "complete", 2: "failed"}
    for _ in range(100):
        heart.everything_is_right()
        if heart.shadow.chunks[ChunkId(2)].failures == 2:
            return
        for kind, number in list(heart.work):
            if kind == "submit":
                heart._answer((kind, number), "accepted")
            elif kind == "poll":
                heart._answer((kind, number), answers.get(number, "importing"))
            elif kind == "collect":
                heart._answer((kind, number), "done")
        heart.now_ms += 60_000
    raise RuntimeError("it never failed twice")
