"""A wire between the command and the emulator that keeps everything said over it, and lets a test interfere."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

PIECE_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer, whole, as the bytes they were."""

    request: bytes
    answer: bytes

    @property
    def head(self) -> bytes:
        """The request's first line and headers."""
        return self.request.partition(b"\r\n\r\n")[0]

    @property
    def line(self) -> str:
        """The request's first line: method and address."""
        return self.request.partition(b"\r\n")[0].decode("latin-1")


@dataclass(slots=True, kw_only=True)
class Relay:
    """Where the command is to send its requests, and what went over it so far."""

    url: str = ""
    exchanges: list[Exchange] = field(default_factory=list)


@contextmanager
def relay(upstream: str, on_request: Callable[[bytes], None] = lambda request: None) -> Iterator[Relay]:
    """Pass every request on once it is there whole and `on_request` has returned, one for each connection."""
    kept = Relay()
    host = urlsplit(upstream)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            request = _request(self.request)
            on_request(request)
            pieces = []
            with socket.create_connection((host.hostname, host.port)) as onward:
                onward.sendall(request)
                while piece := onward.recv(PIECE_BYTES):
                    pieces.append(piece)
                    self.request.sendall(piece)
            kept.exchanges.append(Exchange(request, b"".join(pieces)))

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Keep quiet about commands that were killed in the middle of a call."""

    with Server(("127.0.0.1", 0), Handler) as server:
        kept.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield kept
        finally:
            server.shutdown()
            thread.join()


def _request(connection: socket.socket) -> bytes:
    """Read one request; the command always says how long it is."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _piece(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    headers = [line.partition(b":") for line in head.split(b"\r\n")[1:]]
    length = next((int(value) for name, _, value in headers if name.lower() == b"content-length"), 0)
    while len(body) < length:
        body += _piece(connection)
    return head + b"\r\n\r\n" + body


def _piece(connection: socket.socket) -> bytes:
    piece = connection.recv(PIECE_BYTES)
    if not piece:
        raise ConnectionError("the request ended early")
    return piece
