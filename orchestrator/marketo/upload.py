"""One upload's body: rows framed as multipart, of known size, that knows how far it got.

Whether Marketo can have made a batch of an upload hangs on one fact: was the last piece given to the transport?
So the last piece, which is the end of the rows together with the closing boundary, is written in one go, after
the rows' source has said that all is well, and the fact is noted just before.  As long as it is not noted, the
request is short of its ``Content-Length`` and no server takes it for whole.
"""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import NoReturn, Protocol

import aiohttp
from aiohttp.abc import AbstractStreamWriter

from orchestrator.errors import SourceChanged
from orchestrator.marketo.wire import Multipart

WRITE_BYTES_MAX = 64 * 1024  # of one write; the idle limit is for each of them
TURNS_TO_READ = 3  # of the loop, until what has arrived is read for certain
UNSENT_BYTES_MAX = 128 * 1024  # in the kernel; enough that it never runs dry between two writes


class Content(Protocol):
    """The rows of an upload: a size that is known beforehand, and a stream that can be opened again and again."""

    @property
    def size(self) -> int:
        """How many bytes the stream yields."""

    def stream(self) -> AsyncIterator[bytes]:
        """Yield the bytes from the first on; an error raised here ends the upload undelivered."""


@dataclass(slots=True)
class Delivery:
    """How far one upload got; it may be read at any time, and after a cancellation."""

    body_bytes: int = 0  # the whole body
    sent_bytes: int = 0  # of it, given to the transport
    handed_over: bool = False  # the last piece was given to the transport, and Marketo has not refused it since

    def restart(self, body_bytes: int) -> None:
        """Forget an attempt that certainly came to nothing."""
        self.body_bytes, self.sent_bytes, self.handed_over = body_bytes, 0, False


class Upload(aiohttp.Payload):
    """The body of one attempt; made anew for each."""

    def __init__(self, content: Content, multipart: Multipart, delivery: Delivery, *, idle_ms: int) -> None:
        super().__init__(content, content_type=multipart.content_type)
        self._content = content
        self._multipart = multipart
        self.delivery = delivery
        self._idle_s = idle_ms / 1000
        self._size = len(multipart.prefix) + content.size + len(multipart.suffix)
        self._sealed = False
        self._idle = asyncio.Event()
        self._idle.set()
        self.failure: Exception | None = None  # what the rows' source raised
        delivery.restart(self._size)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> NoReturn:
        """Refuse: an upload is never held as one text."""
        raise TypeError("an upload is streamed")

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write the whole body."""
        self._idle.clear()
        _hold_little_back(writer)
        try:
            piece = self._multipart.prefix
            async with aclosing(self._rows()) as rows:
                async for following in rows:
                    await self._give(writer, piece)
                    piece = following
            await self._give(writer, piece + self._multipart.suffix, last=True)
        finally:
            self._idle.set()

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Write the whole body, whose length is the request's ``Content-Length``."""
        await self.write(writer)

    async def seal(self) -> None:
        """Make sure that nothing is written any more; what `Delivery` says is then final."""
        self._sealed = True
        await self._idle.wait()

    async def _rows(self) -> AsyncGenerator[bytes, None]:
        """Yield the rows in pieces small enough to watch; an error of their source is kept in `failure`."""
        stream = self._content.stream()
        given, promised = 0, self._content.size
        try:
            async for piece in stream:
                given += len(piece)
                if given > promised:
                    break
                for start in range(0, len(piece), WRITE_BYTES_MAX):
                    yield piece[start : start + WRITE_BYTES_MAX]
            if given != promised:
                raise SourceChanged(
                    f"The rows of an upload should be {promised} bytes and are {'more' if given > promised else given}: "
                    "a source changed while it was read. Marketo made nothing of this upload; import the file again."
                )
        except Exception as failure:
            self.failure = failure
            raise
        finally:
            if isinstance(stream, AsyncGenerator):
                await stream.aclose()

    async def _give(self, writer: AbstractStreamWriter, piece: bytes, *, last: bool = False) -> None:
        """Give a piece to the transport, and wait until it has room again."""
        if _has_answer(writer):
            for _ in range(TURNS_TO_READ):
                await asyncio.sleep(0)
        transport = writer.transport
        if self._sealed or transport is None or transport.is_closing():
            raise aiohttp.ClientConnectionResetError("the connection was closed before the whole upload was sent")
        if last:
            self.delivery.handed_over = True
        async with asyncio.timeout(self._idle_s):
            await writer.write(piece)
            self.delivery.sent_bytes += len(piece)
            await writer.drain()


def _socket(writer: AbstractStreamWriter) -> socket.socket | None:
    """Return the socket below a writer, if there is one."""
    return None if writer.transport is None else writer.transport.get_extra_info("socket")


def _has_answer(writer: AbstractStreamWriter) -> bool:
    """Tell whether bytes have arrived that nobody has read yet.

    A server that refuses an upload early, for its size, may answer and close at once.  The next write then finds
    the connection broken, and asyncio drops whatever was not read before it.
    """
    sock = _socket(writer)
    if sock is None or sock.fileno() < 0:
        return False
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _hold_little_back(writer: AbstractStreamWriter) -> None:
    """Let the kernel keep little that it has not sent, so that what is given to the transport is nearly on its way.

    Megabytes would wait there otherwise, and an upload that broke early would count as handed over.
    """
    sock = _socket(writer)
    if sock is not None and hasattr(socket, "TCP_NOTSENT_LOWAT"):
        with suppress(OSError):  # it is no TCP, or the connection is gone already
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES_MAX)
