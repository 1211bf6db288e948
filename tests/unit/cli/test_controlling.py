"""What ``pause`` and ``cancel`` say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.cli.controlling import _headline, _meaning, _unsent
from orchestrator.control import Stopping
from orchestrator.model import JobState, Wish
from tests.contract.journal_kit import NOW_MS, make_job


def asked(state: JobState, wish: Wish | None, **changes) -> Stopping:
    job = make_job(state=state, wish=wish, started_ms=NOW_MS)
    rows = {"accepted": 0, "failed": 0, "importing": 20, "unknown": 0, "unsent": 10}
    known = Stopping(job=job, changed=True, **rows, heeded=True, answered=True, followed=True)
    return replace(known, **changes)


@pytest.mark.parametrize(
    ("known", "meaning"),
    [
        (asked(JobState.PAUSED, Wish.PAUSE), "the job is paused"),
        (asked(JobState.RUNNING, Wish.PAUSE), "the job is paused as soon as what is at Marketo has ended"),
        (asked(JobState.RUNNING, Wish.PAUSE, heeded=False), "the job is paused as soon as somebody resumes it"),
        (asked(JobState.INCOMPLETE, Wish.PAUSE), "nothing more of the job is sent"),
        (asked(JobState.RUNNING, Wish.CANCEL), "nothing was changed"),
        (asked(JobState.COMPLETE, Wish.PAUSE), "nothing was changed"),
    ],
)
def test_the_exit_code_is_explained_by_what_is_now(known, meaning):
    assert _meaning(known, Wish.PAUSE) == meaning


def test_who_pauses_a_job_that_nobody_drives_is_told_that_nobody_asks_after_what_is_at_marketo():
    paused = asked(JobState.PAUSED, Wish.PAUSE, followed=False)
    assert _headline(paused, Wish.PAUSE) == (
        "Job j-1 is paused. Nobody asks after what is at Marketo until it is resumed."
    )
    for followed in (replace(paused, followed=True), replace(paused, importing=0)):
        assert _headline(followed, Wish.PAUSE) == "Job j-1 is paused."


def test_who_cancels_when_everything_was_sent_is_told_so():
    cancelled = asked(JobState.RUNNING, Wish.CANCEL, unsent=0)
    assert "nothing is left to cancel" in _headline(cancelled, Wish.CANCEL)
    assert "nothing is left to cancel" not in _headline(replace(cancelled, unsent=1), Wish.CANCEL)


@pytest.mark.parametrize("wish", list(Wish))
def test_nobody_is_told_that_nothing_more_is_sent_before_the_process_that_drives_says_so(wish):
    answered = asked(JobState.RUNNING, wish)
    assert "nothing more is sent" in _headline(answered, wish)
    silent = replace(answered, answered=False)
    assert "has not answered yet: some of what is unsent may still be sent" in _headline(silent, wish)
    assert _unsent(silent, wish).startswith("at most")
    assert "at most" not in _unsent(answered, wish)
