"""Showing running jobs until they end: a live block on a terminal, a line now and then elsewhere, or JSON lines."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.cli.console import Console
from orchestrator.cli.progress import View
from orchestrator.clock import Clock
from orchestrator.events import Event
from orchestrator.report.summary import Summary, iso

if TYPE_CHECKING:
    from orchestrator.following import JobHandle

BLOCK_SECONDS = 0.5  # between two drawings of the live block
LINE_SECONDS = 30.0  # between two lines where nobody watches


async def follow(handles: Sequence[JobHandle], console: Console, clock: Clock, *, importers: int) -> list[Summary]:
    """Show the jobs until each has ended or stopped; return what became of them, in their order."""
    views = [View(label=handle.id, importers=importers) for handle in handles]
    async with asyncio.TaskGroup() as tasks:
        showing = tasks.create_task(_show(handles, views, console, clock))
        watching = [
            tasks.create_task(_watch(handle, view, console)) for handle, view in zip(handles, views, strict=True)
        ]
        summaries = [await task for task in watching]
        showing.cancel()
    return summaries


async def _watch(handle: JobHandle, view: View, console: Console) -> Summary:
    async for event in handle.events():
        view.saw(event)
        if console.json:
            console.line(event_line(event))
    return await handle.summary()


def event_line(event: Event) -> dict[str, Any]:
    """Return an event as it stands on a line of ``--json``."""
    return {"event": event.name, "ts": iso(event.ts_ms), "job_id": event.job_id, **event.data()}


async def _show(handles: Sequence[JobHandle], views: Sequence[View], console: Console, clock: Clock) -> None:
    async def count() -> int:
        now_ms = clock.now_ms()
        for handle, view in zip(handles, views, strict=True):
            view.counted(await handle.progress(), now_ms)
        return now_ms

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
