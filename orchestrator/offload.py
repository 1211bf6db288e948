"""Work that would hold up the event loop, done in threads of one's own.

Reading, hashing, numpy and SQLite release the interpreter; the rest shares it with the loop, which still gets
its turn every few milliseconds.  The loop's default executor belongs to the embedding program, so nothing that computes
goes there: only single reads and writes of files, a quarter of a megabyte or one flush at a time, which wait for the
disk (the pieces of an upload, a result file on its way), and the wait for these threads to end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

import anyio

P = ParamSpec("P")
T = TypeVar("T")

LEFT_WITHIN_S = 30.0  # a thread that hangs for longer reads from a disk that is gone: nothing ends it but the process
THREADS = 2  # one for claims, one for result files; more would only wait for the interpreter


class Offload:
    """An async context manager that runs functions off the loop; leaving it waits a while for those that have begun."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="orchestrator")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        # Reading a large source takes minutes, in which the loop, and signals on it, must have their turn.
        with anyio.move_on_after(LEFT_WITHIN_S):
            await asyncio.to_thread(self._executor.shutdown, wait=True, cancel_futures=True)

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the function's result, or raise what it raised."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: function(*args, **kwargs))
