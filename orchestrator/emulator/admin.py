"""What tests and people may ask the emulator about itself, and change about it while it runs.

Everything is under ``/_emulator/``, needs no token, counts as no call, and answers this machine only.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import asdict
from typing import Any

from aiohttp import web

from orchestrator.emulator.answers import plain_json
from orchestrator.emulator.clock import EmulatedClock
from orchestrator.emulator.engine import STRANGER, STRANGERS_ROWS
from orchestrator.emulator.queue import Batch
from orchestrator.emulator.service import Service
from orchestrator.errors import ConfigError

LINES_AT_ONCE = 2_000  # of a stream, between two looks at other requests
SKIP_MS_MAX = 400 * 24 * 3_600_000

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Admin:
    """The handlers of ``/_emulator/``."""

    def __init__(self, service: Service, clock: EmulatedClock) -> None:
        self._service = service
        self._engine = service.engine
        self._clock = clock

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Enter the addresses into a router."""
        for method, path, handler in (
            ("GET", "health", self._health),
            ("GET", "state", self._state),
            ("GET", "records/{store}", self._records),
            ("GET", "lists/{list_id}", self._list),
            ("GET", "batches", self._batches),
            ("GET", "calls", self._calls),
            ("GET", "duplicates", self._duplicates),
            ("GET", "faults", self._faults),
            ("POST", "faults", self._add_faults),
            ("DELETE", "faults", self._remove_faults),
            ("DELETE", "faults/{number}", self._remove_faults),
            ("POST", "occupy", self._occupy),
            ("POST", "skip", self._skip),
        ):
            router.add_route(method, f"/_emulator/{path}", _here_only(handler))

    def _now(self) -> int:
        now_ms = self._clock.now_ms()
        self._engine.advance(now_ms)
        return now_ms

    async def _health(self, request: web.Request) -> web.StreamResponse:
        config = self._service.config
        return _answer(
            {"status": "ok", "munchkin_id": config.munchkin_id, "speed": config.speed, "now_ms": self._clock.now_ms()}
        )

    async def _state(self, request: web.Request) -> web.StreamResponse:
        now_ms = self._now()
        engine = self._engine
        return _answer(
            {
                "now_ms": now_ms,
                "records": {name: len(store) for name, store in engine.holdings.stores.items()},
                "lists": {str(number): len(members) for number, members in engine.holdings.lists.items()},
                "unfinished": engine.queue.unfinished,
                "unfinished_max": engine.queue.unfinished_max,
                "next_step_ms": engine.queue.next_step_ms(),
                "batches": len(engine.batches),
                "collisions": sum(len(store.collisions) for store in engine.holdings.stores.values()),
            }
        )

    async def _records(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["store"]
        if name not in self._engine.holdings.stores:
            return _answer({"error": f"no store {name}: there are {', '.join(self._engine.holdings.stores)}"}, 404)
        return await _stream(request, self._engine.records(name, self._now()))

    async def _list(self, request: web.Request) -> web.StreamResponse:
        self._now()
        for number, members in self._engine.holdings.lists.items():
            if str(number) == request.match_info["list_id"]:
                return _answer(list(members))
        return _answer({"error": "no such list"}, 404)

    async def _batches(self, request: web.Request) -> web.StreamResponse:
        now_ms = self._now()
        return _answer([self._told(batch, now_ms) for batch in self._engine.batches.values()])

    def _told(self, batch: Batch, now_ms: int) -> dict[str, Any]:
        return {
            "batch_id": batch.id,
            "object": type(batch.target).__name__,
            "target": asdict(batch.target),
            "stranger": batch.user == STRANGER,
            "status": batch.status.value,
            "rows": batch.rows,
            **asdict(self._engine.counts(batch, now_ms)),
            "format": batch.format.value,
            "filename": batch.filename,
            "body_bytes": batch.body_bytes,
            "queued_ms": batch.queued_ms,
            "started_ms": batch.started_ms,
            "finished_ms": None if batch.unfinished else batch.ended_ms,
        }

    async def _calls(self, request: web.Request) -> web.StreamResponse:
        now_ms = self._now()
        limits = self._engine.limits
        return _answer(
            {
                "by_kind": dict(self._engine.calls),
                "in_flight_max": limits.in_flight_max,
                "in_window_max": limits.in_window_max,
                "usage": {day: dict(users) for day, users in limits.usage(now_ms).items()},
                "errors": {day: dict(codes) for day, codes in limits.errors(now_ms).items()},
                "creates": self._engine.creates,
            }
        )

    async def _duplicates(self, request: web.Request) -> web.StreamResponse:
        self._now()
        stores = self._engine.holdings.stores
        return _answer(
            [{"store": name, **asdict(one)} for name, store in stores.items() for one in store.collisions],
        )

    async def _faults(self, request: web.Request) -> web.StreamResponse:
        return _answer(self._service.faults.listing())

    async def _add_faults(self, request: web.Request) -> web.StreamResponse:
        given = await _given(request)
        rules = given if isinstance(given, list) else [given]
        if not all(isinstance(rule, dict) for rule in rules):
            raise ConfigError("give one fault as a JSON object, or several as a list of objects")
        return _answer({"numbers": self._service.faults.extend(rules)}, 201)

    async def _remove_faults(self, request: web.Request) -> web.StreamResponse:
        number = request.match_info.get("number")
        if number is not None and not number.isdecimal():
            raise ConfigError("faults are removed by their number")
        return _answer({"removed": self._service.faults.remove(None if number is None else int(number))})

    async def _occupy(self, request: web.Request) -> web.StreamResponse:
        given = await _given(request)
        slots, duration_ms = _whole(given, "slots", 1, 1_000), _whole(given, "duration_ms", 1, SKIP_MS_MAX)
        rows = _whole({"rows": STRANGERS_ROWS, **given}, "rows", 0, 1_000_000_000)
        return _answer({"batch_ids": self._engine.occupy(slots, duration_ms, self._now(), rows=rows)}, 201)

    async def _skip(self, request: web.Request) -> web.StreamResponse:
        self._clock.skip(_whole(await _given(request), "ms", 0, SKIP_MS_MAX))
        return _answer({"now_ms": self._now()})


def _here_only(handler: Handler) -> Handler:
    """Turn away other machines, and answer wrong input with what is wrong about it."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        if not _is_here(request.remote):
            return _answer({"error": "this address answers only the machine it runs on"}, 403)
        try:
            return await handler(request)
        except ConfigError as error:
            return _answer({"error": str(error)}, 400)

    return guarded


def _is_here(remote: str | None) -> bool:
    try:
        return remote is None or ipaddress.ip_address(remote).is_loopback
    except ValueError:
        return True  # no network address at all: in-memory transports of simulations


async def _given(request: web.Request) -> Any:
    try:
        return json.loads(await request.read())
    except ValueError as error:
        raise ConfigError(f"the body is no JSON: {error}") from error


def _whole(given: Any, name: str, least: int, most: int) -> int:
    value = given.get(name) if isinstance(given, dict) else None
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ConfigError(f"{name} must be a whole number from {least} to {most}")
    return value


def _answer(value: object, status: int = 200) -> web.Response:
    return web.Response(body=plain_json(value), content_type="application/json", status=status)


async def _stream(request: web.Request, values: Iterable[object]) -> web.StreamResponse:
    """Send values as lines of JSON, a bounded number of them in memory."""
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    async for piece in _pieces(values):
        await response.write(piece)
    await response.write_eof()
    return response


async def _pieces(values: Iterable[object]) -> AsyncIterator[bytes]:
    held: list[bytes] = []
    for value in values:
        held.append(plain_json(value) + b"\n")
        if len(held) >= LINES_AT_ONCE:
            yield b"".join(held)
            held.clear()
    yield b"".join(held)
