"""A loop with a clock of its own, and a network that is two queues in memory.

Everything between the library's public API and the emulator's HTTP handlers runs as it is: driver, journal on a
real file, aiohttp's client and server.  Only three things are put in their place.

* **Time.**  The loop's selector never waits.  Asked to wait, it moves the clock; asked to wait for ever, it raises
  `Deadlock`: nothing is ready, nothing is due, so every task waits for another one.
* **Threads.**  Work for an executor is done at once, in the order in which it was asked for, and its result is
  delivered a little later.  So the order of journal writes is that of the real thread, and the time in which a
  result is there but not yet known exists here, too.
* **The network.**  A connection is a pair of transports that hand bytes to each other after a delay.

All chance comes from one seed, by streams that are named after their use, so a run repeats exactly.

A `Process` is one life of the program.  It can be killed between any two steps: from then on nothing it asks a
thread for is done, its connections break, and its tasks are cancelled.  What it had written stays.
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
import selectors
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any, TypeVar

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import BaseConnector

EPOCH_MS = 1_782_000_000_000  # a day in June of 2026: no time of the year is special to the quota's day
LATENCY_S = (0.001, 0.080)  # of a piece on the wire, one way
THREAD_S = (0.000_1, 0.020)  # between the end of a thread's work and the loop's knowing it

T = TypeVar("T")


class Deadlock(Exception):
    """Nothing is ready and nothing is due: every task waits for another one."""


class Killed(BaseException):
    """The process that asks was killed."""


# --- time and threads ------------------------------------------------------------------------------------


class _Selector(selectors.BaseSelector):
    """Waits for nothing, and moves the clock instead."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._keys: dict[Any, selectors.SelectorKey] = {}

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Deadlock
        self.now_s += max(0.0, timeout)
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        self._keys[fileobj] = selectors.SelectorKey(fileobj, 0, events, data)
        return self._keys[fileobj]

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def get_map(self) -> Any:
        return self._keys


class Loop(asyncio.SelectorEventLoop):
    """An event loop on virtual time."""

    def __init__(self, seed: object) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)
        self._clock_resolution = 1e-9
        self._threads = Random(f"{seed}:threads")

    def time(self) -> float:
        return self._virtual.now_s

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        process = PROCESS.get()
        if process is not None:
            process.ask(func)
        done: asyncio.Future[T] = self.create_future()
        try:
            result = func(*args)
        except Exception as error:  # noqa: BLE001  # whatever a thread raises is its caller's
            self._later(done, partial(done.set_exception, error))
        else:
            self._later(done, partial(done.set_result, result))
        if process is not None:
            process.asked(func)
        return done

    def _later(self, done: asyncio.Future[Any], deliver: Callable[[], None]) -> None:
        def unless_cancelled() -> None:
            if not done.done():
                deliver()

        self.call_later(self._threads.uniform(*THREAD_S), unless_cancelled)


class VirtualClock:
    """The loop's time as the product asks for it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def now_ms(self) -> int:
        return EPOCH_MS + int(self._loop.time() * 1000)

    wall_ms = now_ms


# --- processes -------------------------------------------------------------------------------------------


class Process:
    """One life of the program."""

    def __init__(self, *, killed_after_writes: int | None = None) -> None:
        self.alive = True
        self.writes = 0  # to the journal
        self._killed_after_writes = killed_after_writes
        self._task: asyncio.Task[Any] | None = None
        self._pipes: list[Pipe] = []

    async def run(self, program: Callable[[], Awaitable[T]]) -> T | None:
        """Run a program in this process; None if it is killed before the program's end."""
        context = contextvars.copy_context()
        context.run(PROCESS.set, self)
        self._task = asyncio.get_running_loop().create_task(_awaited(program), context=context)
        try:
            return await self._task
        except BaseException:
            if self.alive:
                raise
            return None

    def kill(self) -> None:
        """End it here and now."""
        if self.alive:
            self.alive = False
            for pipe in self._pipes:
                pipe.abort()
            if self._task is not None:
                self._task.get_loop().call_soon(self._task.cancel)

    def holds(self, pipe: Pipe) -> None:
        """Remember an end of a connection, which breaks with the process."""
        self._pipes = [each for each in self._pipes if not each.is_closing()]
        self._pipes.append(pipe)

    def ask(self, func: Callable[..., Any]) -> None:
        """Refuse work for a process that is dead; the system still closes its files."""
        if not self.alive and _name(func) != "close":
            raise Killed

    def asked(self, func: Callable[..., Any]) -> None:
        """Count writes to the journal, and die of the one that was agreed on."""
        if _name(func) == "write":
            self.writes += 1
            if self.writes == self._killed_after_writes:
                self.kill()


PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


async def _awaited(program: Callable[[], Awaitable[T]]) -> T:
    return await program()


def _name(func: Callable[..., Any]) -> str:
    while isinstance(func, partial):
        func = func.func
    return getattr(func, "__name__", "")


# --- the network -----------------------------------------------------------------------------------------


class Pipe(asyncio.Transport):
    """One end of a connection: what is written here arrives at the other end, in order, a little later."""

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: Any, chance: Random) -> None:
        super().__init__({"peername": ("198.51.100.1", 1), "sockname": ("198.51.100.2", 2)})
        self._loop = loop
        self._protocol = protocol
        self._chance = chance
        self._closing = False
        self._last_s = 0.0
        self.context = contextvars.copy_context()
        self.peer: Pipe | None = None

    def get_protocol(self) -> Any:
        return self._protocol

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return True

    def pause_reading(self) -> None:
        """Go on: what is under way is small."""

    def resume_reading(self) -> None:
        """Go on."""

    def get_write_buffer_size(self) -> int:
        return 0

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return 0, 65_536

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is ever held back."""

    def write(self, data: Any) -> None:
        if not self._closing and data:
            self._send("received", bytes(data))

    def received(self, data: bytes) -> None:
        if not self._closing:
            self._protocol.data_received(data)

    def lost(self, error: Exception | None) -> None:
        if not self._closing:
            self._closing = True
            self._protocol.connection_lost(error)

    def close(self) -> None:
        self._end(None)

    def abort(self) -> None:
        self._end(ConnectionResetError(errno.ECONNRESET, "reset"))

    def _end(self, error: Exception | None) -> None:
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._protocol.connection_lost, None, context=self.context)
            self._send("lost", error)

    def _send(self, what: str, value: Any) -> None:
        assert self.peer is not None
        # Timers that are due at the same moment run in any order; pieces must not.
        self._last_s = max(self._last_s + 1e-6, self._loop.time() + self._chance.uniform(*LATENCY_S))
        self._loop.call_at(self._last_s, getattr(self.peer, what), value, context=self.peer.context)


class Network(BaseConnector):
    """A connector of aiohttp's for whom the whole network is one server."""

    allowed_protocol_schema_set = frozenset({"http", "https", ""})

    def __init__(self, server: Callable[[], Any], chance: Random, *, refuses: Callable[[], bool]) -> None:
        """Connect to the ``server`` that makes a protocol for each connection, unless it ``refuses`` this one."""
        super().__init__(force_close=True, limit=0)
        self._server = server
        self._chance = chance
        self._refuses = refuses

    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> ResponseHandler:
        await asyncio.sleep(self._chance.uniform(*LATENCY_S))
        if self._refuses():
            raise aiohttp.ClientConnectorError(req.connection_key, OSError(errno.ECONNREFUSED, "refused"))
        here = self._factory()
        elsewhere = contextvars.Context()  # the server knows nothing of the process that calls
        near = Pipe(self._loop, here, self._chance)
        there = elsewhere.run(self._server)
        far = elsewhere.run(Pipe, self._loop, there, self._chance)
        near.peer, far.peer = far, near
        process = PROCESS.get()
        if process is not None:
            process.holds(near)
        far.context.run(there.connection_made, far)
        here.connection_made(near)
        return here


def simulate(seed: object, main: Callable[[Loop], Awaitable[T]]) -> T:
    """Run a program on a loop of its own, and leave nothing behind."""
    loop = Loop(seed)
    loop.set_exception_handler(_unless_killed)
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(main(loop))
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        with suppress(Deadlock):
            loop.run_until_complete(asyncio.sleep(1))
        asyncio.set_event_loop(None)
        loop.close()


def _unless_killed(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Report what nobody caught, unless the process it belonged to was killed."""
    if not isinstance(context.get("exception"), Killed | asyncio.CancelledError):
        loop.default_exception_handler(context)
