"""What is told about the journal while jobs are followed."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from orchestrator.cli import following
from orchestrator.cli.common import Output
from orchestrator.cli.console import Console
from orchestrator.cli.words import of_day
from orchestrator.clock import SystemClock
from orchestrator.journal.values import Away

UNTIL = "The journal does not answer; it is waited for until "


def test_a_journal_that_does_not_answer_and_a_process_that_takes_over_are_told_once(monkeypatch, capsys):
    monkeypatch.setattr(following, "LOOK_SECONDS", 0.0)
    found = [None, Away(left_ms=30_000), Away(left_ms=29_000), None, None, Away(left_ms=None)]

    async def play() -> None:
        over = asyncio.Event()

        def away() -> Away | None:
            if len(found) == 1:
                over.set()
            return found[0] if len(found) == 1 else found.pop(0)

        handle = SimpleNamespace(id="j1", journal_away=away, overtaken=lambda: int(len(found) < 3))
        jobs = [following.Followed(handle, flags="")]  # type: ignore[arg-type]
        watching = asyncio.create_task(following._watch(jobs, Console(Output()), SystemClock()))
        await over.wait()
        watching.cancel()

    asyncio.run(play())
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(";")[0] for line in told] == [
        "The journal does not answer",
        "The journal answers again.",
        "Another process took over",
        "The journal does not answer",
    ]


def test_it_is_told_until_when_a_journal_is_waited_for():
    assert following.away_words(Away(left_ms=30_000), 1_000).startswith(f"{UNTIL}{of_day(31_000)}. ")
    assert "until" not in following.away_words(Away(left_ms=None), 1_000)
