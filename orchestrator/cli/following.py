"""Showing running jobs until they end: a live block on a terminal, a line now and then elsewhere, or JSON lines."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from orchestrator.cli.console import Console
from orchestrator.cli.progress import View, slip_words
from orchestrator.cli.words import moment, of_day
from orchestrator.clock import Clock
from orchestrator.events import EtaSlipped, Event, JobStopAsked, QuotaReached
from orchestrator.journal.values import Away
from orchestrator.model import ExitCode
from orchestrator.report.summary import iso

if TYPE_CHECKING:
    from orchestrator.following import JobHandle

BLOCK_SECONDS = 0.5  # between two drawings of the live block
LINE_SECONDS = 30.0  # between two lines where nobody watches
LOOK_SECONDS = 1.0  # between two looks whether the journal's server answers
FORETOLD_EVERY_MS = 5_000  # it takes a look at all batches of late

T = TypeVar("T")


class Followed:
    """A job that is shown, and how far it was shown already."""

    def __init__(self, handle: JobHandle, *, flags: str) -> None:
        """Begin with nothing shown; ``flags`` are those that a next command needs."""
        self.handle = handle
        self.view = View(label=handle.id, flags=flags)
        self.code: ExitCode | None = None  # of its end, once that was told
        self._seen = 0

    async def watch(self, tell: Callable[[Event], None]) -> None:
        """Take in what happens to the job until it ends or stops; ``tell`` gets each event once."""
        async for event in self.handle.events(after=self._seen):
            self._seen = event.seq
            if isinstance(event, JobStopAsked) and (await self.handle.job()).wish != event.wish:
                continue  # it was taken back by a resume
            self.view.saw(event)
            tell(event)


async def follow(
    jobs: Sequence[Followed], console: Console, clock: Clock, ended: Callable[[Followed], Awaitable[None]]
) -> None:
    """Show the jobs until each has ended or stopped; ``ended`` gets each when it has, while nothing is shown."""

    def tell(event: Event) -> None:
        if console.json:
            console.line(event_line(event))
        elif isinstance(event, QuotaReached):
            console.insist(
                f"Job {event.job_id}: the API calls of today are used up, but for those left to others. Nothing more is "
                f"sent before {moment(event.until_ms)}.",
                "warn",
            )
        elif isinstance(event, EtaSlipped):
            console.say(f"Job {event.job_id}: {slip_words(event)}.")
        elif isinstance(event, JobStopAsked):
            why = f" ({event.reason})" if event.reason else ""
            console.insist(f"Job {event.job_id}: somebody asks to {event.wish} it{why}; nothing more is sent.", "warn")

    async with asyncio.TaskGroup() as tasks:
        running = {tasks.create_task(job.watch(tell)): job for job in jobs}
        async for job, task in as_they_end(running, console, clock):
            if task.exception() is None:  # else the group raises it
                await ended(job)


async def as_they_end(
    running: dict[asyncio.Task[T], Followed], console: Console, clock: Clock, *, timeout_s: float | None = None
) -> AsyncIterator[tuple[Followed, asyncio.Task[T]]]:
    """Show jobs; take each whose task is done out of ``running`` and yield both, until none is left or time is up.

    Nothing is shown while the caller has one of them, so what it says of the job stands still on a terminal.
    """
    loop = asyncio.get_running_loop()
    until = None if timeout_s is None else loop.time() + timeout_s
    while running:
        left_s = None if until is None else max(0.0, until - loop.time())
        async with _shown(list(running.values()), console, clock):
            done, _ = await asyncio.wait(running, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            return
        for task in [each for each in running if each in done]:
            yield running.pop(task), task


@asynccontextmanager
async def _shown(jobs: Sequence[Followed], console: Console, clock: Clock) -> AsyncIterator[None]:
    """Show how far the jobs are, meanwhile."""
    async with asyncio.TaskGroup() as tasks:
        showing = [tasks.create_task(_show(jobs, console, clock)), tasks.create_task(_watch(jobs, console, clock))]
        yield
        for task in showing:
            task.cancel()


async def _watch(jobs: Sequence[Followed], console: Console, clock: Clock) -> None:
    """Say when another process takes over, when the server of the journal does not answer, and when it does again.

    While it does not, nothing else that is shown goes on.
    """
    silent, handle = False, jobs[0].handle
    overtaken = handle.overtaken()
    while True:
        if handle.overtaken() > overtaken and not console.json:
            console.insist("Another process took over; this one only follows now.", "warn")
        overtaken = handle.overtaken()
        away = handle.journal_away()
        if away is not None and not silent:
            console.insist(away_words(away, clock.now_ms()), "warn")
        elif away is None and silent:
            console.insist("The journal answers again.")
        silent = away is not None
        await asyncio.sleep(LOOK_SECONDS)


def away_words(away: Away, now_ms: int) -> str:
    """Say that the server of the journal does not answer, and how long it is waited for."""
    if away.left_ms is None:
        return "The journal does not answer; it is waited for. Once it does, everything goes on."
    return (
        f"The journal does not answer; it is waited for until {of_day(now_ms + away.left_ms)}. If it is back by then, "
        "everything goes on, else this command ends, and orchestrator resume goes on."
    )


def event_line(event: Event) -> dict[str, Any]:
    """Return an event as it stands on a line of ``--json``."""
    return {"event": event.name, "ts": iso(event.ts_ms), "job_id": event.job_id, **event.data()}


async def _show(jobs: Sequence[Followed], console: Console, clock: Clock) -> None:
    foretold_ms: int | None = None

    async def count() -> int:
        nonlocal foretold_ms
        now_ms = clock.now_ms()
        due = foretold_ms is None or now_ms - foretold_ms >= FORETOLD_EVERY_MS
        for job in jobs:
            job.view.counted(await job.handle.progress())
            job.view.stands(await job.handle.job())
            if due:
                job.view.foretold(await job.handle.prospect())
                job.view.blocked(await job.handle.blockers() if job.view.stalled else ())
        foretold_ms = now_ms if due else foretold_ms
        return now_ms

    views = [job.view for job in jobs]

    if console.quiet:
        return
    if console.on_terminal and not console.json:
        await _draw(views, console, count)
    else:
        await _print(views, console, count)


async def _print(views: Sequence[View], console: Console, count: Callable[[], Any]) -> None:
    while True:
        await asyncio.sleep(LINE_SECONDS)
        now_ms = await count()
        for view in views:
            console.say(view.line(now_ms))
        views = [view for view in views if not view.over]  # its end was told


async def _draw(views: Sequence[View], console: Console, count: Callable[[], Any]) -> None:
    from rich.console import Console as Terminal
    from rich.live import Live
    from rich.text import Text

    terminal = Terminal(file=sys.stderr, no_color=not console.color, highlight=False)
    with Live(console=terminal, auto_refresh=False, transient=True, redirect_stdout=False) as live:
        while True:
            now_ms = await count()
            lines = [line for view in views for line in view.block(now_ms)]
            live.update(Text("\n".join(lines), no_wrap=True, overflow="ellipsis"), refresh=True)
            await asyncio.sleep(BLOCK_SECONDS)
