"""A server of bare sockets that does to a client whatever a test says, and keeps what it was sent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from orchestrator.marketo.client import Client
from orchestrator.marketo.options import Options

SECRET = "hunter2-hunter2"
TOKEN = "cdf01657-110d-4155-99a7-f986b2ff13a0:int"
JSON = "application/json;charset=UTF-8"
PAGE = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
CREATED = {"requestId": "d01f#15d672f8560", "success": True, "result": [{"batchId": 3404, "status": "Queued"}]}


def refusal(code: str, message: str = "") -> dict[str, Any]:
    return {"requestId": "e42b#14272d07d78", "success": False, "errors": [{"code": code, "message": message}]}


@dataclass
class Call:
    """One request as it stands on the wire, and the means to answer it."""

    method: str
    target: str
    headers: dict[str, str]
    reader: asyncio.StreamReader = field(repr=False)
    writer: asyncio.StreamWriter = field(repr=False)
    body: bytes = b""

    async def read(self) -> bytes:
        self.body = await self.reader.readexactly(int(self.headers.get("content-length", 0)))
        return self.body

    async def answer(
        self, status: int = 200, body: Any = b"", kind: str = JSON, *, length: int | None = None, **headers: str
    ) -> None:
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [
            f"HTTP/1.1 {status} Whatever",
            f"Content-Type: {kind}",
            f"Content-Length: {len(body) if length is None else length}",
            "Connection: close",
            *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
        ]
        self.writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await self.writer.drain()

    def reset(self) -> None:
        """Close so that the other side sees a reset."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    @property
    def token(self) -> str:
        return self.headers.get("authorization", "").removeprefix("Bearer ")


Handler = Callable[[Call], Awaitable[None]]


class Peer:
    """Answers identity by itself, if not told otherwise, and everything else as the test says."""

    def __init__(self, *handlers: Handler, identity: Handler | None = None) -> None:
        self.handlers = list(handlers)  # one for each call; the last serves all that follow
        self.identity = identity
        self.calls: list[Call] = []
        self.tokens: list[Call] = []
        self.failures: list[BaseException] = []
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            method, target, _ = head[0].split(" ")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            call = Call(method, target, headers, reader, writer)
            if target.startswith("/identity"):
                self.tokens.append(call)
                await (self.identity or give_token)(call)
            else:
                self.calls.append(call)
                handler = self.handlers.pop(0) if len(self.handlers) > 1 else self.handlers[0]
                await handler(call)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client went away, which is its right, or the test is over
        except Exception as failure:  # noqa: BLE001 - an assertion in a handler must reach the test
            self.failures.append(failure)
        finally:
            self._tasks.discard(task)
            writer.close()

    @contextlib.asynccontextmanager
    async def running(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls, limit=2**20)
        port = server.sockets[0].getsockname()[1]
        self.url = f"{'http' if tls is None else 'https'}://{'127.0.0.1' if tls is None else 'localhost'}:{port}"
        try:
            yield self
        finally:
            server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.failures:
            raise self.failures[0]


async def give_token(call: Call) -> None:
    await call.read()
    token = {"access_token": TOKEN, "token_type": "bearer", "expires_in": 3599, "scope": "apis@acme.example"}
    await call.answer(200, token)


def answering(status: int = 200, body: Any = b"", kind: str = JSON, **more: Any) -> Handler:
    async def handler(call: Call) -> None:
        await call.read()
        await call.answer(status, body, kind, **more)

    return handler


class Rows:
    """The content of an upload that lies in memory."""

    def __init__(self, *pieces: bytes, failure: Exception | None = None) -> None:
        self.pieces = pieces or (b"email\n", b"a@example.com\n")
        self.size = sum(map(len, self.pieces)) + (failure is not None)
        self.failure = failure
        self.opened = 0
        self.closed = 0

    async def stream(self) -> AsyncIterator[bytes]:
        self.opened += 1
        try:
            for piece in self.pieces:
                yield piece
            if self.failure is not None:
                raise self.failure
        finally:
            self.closed += 1


def options(url: str, **more: Any) -> Options:
    return Options(
        **{
            "subscription": "default",
            "rest_url": url,
            "client_id": "my-client",
            "client_secret": lambda: SECRET,
            "trust_env": False,
            **more,
        }
    )


class Clock:
    """Time that passes only while somebody waits for it."""

    def __init__(self) -> None:
        self.now = 1_000_000

    def now_ms(self) -> int:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += round(1000 * seconds)
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def client_of(
    url: str,
    *,
    session: Any = None,
    calls: list[str] | None = None,
    clock: Clock | None = None,
    **more: Any,
) -> AsyncIterator[Client]:
    clock = clock or Clock()
    async with Client(
        options(url, **more),
        now_ms=clock.now_ms,
        sleep=clock.sleep,
        rng=random.Random(1),
        session=session,
        on_call=(calls if calls is not None else []).append,
    ) as client:
        yield client


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
