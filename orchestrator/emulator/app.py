"""The emulator on real sockets: aiohttp around `Service`, which knows everything.

Uploads are read whole, as Marketo's gateway does it, and judged when they are there; only what is too large is
turned away at once.  All waiting is on emulated time.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum

from aiohttp import web

from orchestrator.clock import SystemClock
from orchestrator.emulator.admin import Admin
from orchestrator.emulator.answers import Envelopes, Reply, html
from orchestrator.emulator.clock import EmulatedClock
from orchestrator.emulator.config import EmulatorConfig
from orchestrator.emulator.engine import Engine
from orchestrator.emulator.refusals import refusal
from orchestrator.emulator.routes import ROUTES, Route
from orchestrator.emulator.service import Pending, Request, Service
from orchestrator.errors import ConfigError

STOP_SECONDS_MAX = 0.1  # how long answers under way may take when the emulator stops
SMALL_BODY_BYTES_MAX = 1_048_576  # of every call that is no upload
ADDRESS_BYTES_MAX = 8_192
HEAD_BYTES_MAX = 16_384  # room for addresses above the limit, which have an answer of their own
_API_PREFIXES = ("/rest/", "/bulk/", "/identity/")


class _Cut(Enum):
    """Why a body was not read to its end."""

    RESET = "the connection is to break"
    TOO_LARGE = "it is larger than allowed"


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Front:
    """Brings requests to the service and its answers back."""

    def __init__(self, service: Service, clock: EmulatedClock) -> None:
        self._service = service
        self._clock = clock
        self._envelopes = Envelopes(service.engine.stream("strays"))

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Enter every address into a router, and an answer for all others."""
        for route in ROUTES:
            handler = self._handler(route)
            for method in route.methods:
                router.add_route(method, route.template, handler)
            router.add_route("*", route.template, self._wrong_method)
        router.add_route("*", "/{stray:.*}", self._stray)

    def _handler(self, route: Route) -> Handler:
        upload = route.does == "create"
        most = self._service.config.body_bytes_max if upload else SMALL_BODY_BYTES_MAX

        async def handle(request: web.Request) -> web.StreamResponse:
            if len(request.raw_path) > ADDRESS_BYTES_MAX:
                return _response(html(414))
            head = Request(
                route=route,
                names=dict(request.match_info),
                query=dict(request.query),
                authorization=request.headers.get("Authorization"),
                content_type=request.headers.get("Content-Type", ""),
            )
            if (request.content_length or 0) > most:
                return _response(self._service.too_large(head, request.content_length or 0, self._clock.now_ms()))
            pending = self._service.arrive(head, self._clock.now_ms())
            try:
                return await self._answer(request, pending, most)
            finally:
                self._service.leave(pending)

        return handle

    async def _answer(self, request: web.Request, pending: Pending, most: int) -> web.StreamResponse:
        body = await _body(request, most, pending.reset_after_bytes)
        if body is _Cut.RESET:
            self._service.broken(pending, pending.reset_after_bytes or 0, self._clock.now_ms())
            return _reset(request)
        if body is _Cut.TOO_LARGE:
            return _response(self._service.too_large(pending.request, most + 1, self._clock.now_ms()))
        reply = self._service.answer(pending, body, self._clock.now_ms())
        del body
        if reply.delay_ms:
            await asyncio.sleep(self._clock.real_seconds(reply.delay_ms))
        return _reset(request) if reply.lost else _response(reply)

    async def _wrong_method(self, request: web.Request) -> web.StreamResponse:
        return _response(self._envelopes.error(refusal("605"), self._clock.now_ms()))

    async def _stray(self, request: web.Request) -> web.StreamResponse:
        if request.path.startswith(_API_PREFIXES):
            return _response(self._envelopes.error(refusal("610"), self._clock.now_ms()))
        return _response(html(404))


async def _body(request: web.Request, most: int, reset_after: int | None) -> bytes | _Cut:
    """Read a body as far as it is wanted."""
    pieces: list[bytes] = []
    size = 0
    while piece := await request.content.readany():
        pieces.append(piece)
        size += len(piece)
        if size > most:
            return _Cut.TOO_LARGE
        if reset_after is not None and size >= reset_after:
            return _Cut.RESET
    if reset_after is not None:
        return _Cut.RESET
    return b"".join(pieces)


def _response(reply: Reply) -> web.Response:
    headers = {"Server": "nginx", "Content-Type": reply.content_type, **reply.headers}
    return web.Response(status=reply.status, body=reply.body, headers=headers)


def _reset(request: web.Request) -> web.Response:
    """Break the connection without a word; the response returned goes nowhere."""
    transport = request.transport
    if transport is not None:
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, no orderly end
        transport.abort()
    return web.Response()


def create_app(service: Service, clock: EmulatedClock) -> web.Application:
    """Return the emulator as an application, for a server of the caller's own."""
    app = web.Application()
    Admin(service, clock).add_to(app.router)
    Front(service, clock).add_to(app.router)
    return app


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """An emulator that listens."""

    host: str
    port: int
    service: Service
    clock: EmulatedClock
    runner: web.AppRunner

    @property
    def url(self) -> str:
        """The address of the subscription, without a slash at its end."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def engine(self) -> Engine:
        """The subscription itself."""
        return self.service.engine

    async def stop(self) -> None:
        """Stop listening and break what is still under way."""
        await self.runner.cleanup()


async def start(
    config: EmulatorConfig, *, host: str = "127.0.0.1", port: int = 0, clock: EmulatedClock | None = None
) -> Running:
    """Start an emulator; port 0 lets the system choose.  ConfigError if the address cannot be had."""
    clock = clock or EmulatedClock(config.speed, SystemClock().now_ms)
    service = Service(config)
    runner = web.AppRunner(
        create_app(service, clock),
        access_log=None,
        handle_signals=False,
        handler_cancellation=True,
        shutdown_timeout=STOP_SECONDS_MAX,
        max_line_size=HEAD_BYTES_MAX,
    )
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        raise ConfigError(
            f"cannot listen on {host} port {port}: {error.strerror or error}; choose another port"
        ) from error
    bound = runner.addresses[0][1]
    return Running(host=host, port=bound, service=service, clock=clock, runner=runner)
