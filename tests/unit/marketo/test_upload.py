from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp.abc import AbstractStreamWriter

from orchestrator.errors import SourceChanged
from orchestrator.marketo.upload import WRITE_BYTES_MAX, Delivery, Upload
from orchestrator.marketo.wire import Multipart

FRAME = Multipart("0123456789abcdef", "leads.csv")


class Pipe(asyncio.WriteTransport):
    """A transport that can be closed."""

    closing = False

    def is_closing(self) -> bool:
        return self.closing


class Writer(AbstractStreamWriter):
    """Keeps what it is given, and what was known when it was given it."""

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.pieces: list[bytes] = []
        self.known: list[bool] = []
        self.pipe = Pipe()
        self.begun = asyncio.Event()
        self.stalls = asyncio.Event()
        self.stalls.set()

    @property
    def transport(self):
        return self.pipe

    async def write(self, chunk):
        self.begun.set()
        self.pieces.append(bytes(chunk))
        self.known.append(self.delivery.handed_over)

    async def drain(self):
        await self.stalls.wait()

    async def write_eof(self, chunk=b""):
        raise NotImplementedError

    async def write_headers(self, status_line, headers):
        raise NotImplementedError

    def enable_compression(self, encoding="deflate", strategy=None):
        raise NotImplementedError

    def enable_chunking(self):
        raise NotImplementedError


class Rows:
    def __init__(self, *pieces, size=None, failure=None):
        self.pieces = pieces
        self.size = sum(map(len, pieces)) if size is None else size
        self.failure = failure
        self.opened = self.closed = 0

    async def stream(self) -> AsyncIterator[bytes]:
        self.opened += 1
        try:
            for piece in self.pieces:
                yield piece
            if self.failure is not None:
                raise self.failure
        finally:
            self.closed += 1


def upload_of(rows, delivery=None, idle_ms=60_000):
    delivery = delivery if delivery is not None else Delivery()
    return Upload(rows, FRAME, delivery, idle_ms=idle_ms), Writer(delivery)


def test_the_last_piece_is_the_end_of_the_rows_with_the_closing_boundary():
    async def history():
        rows = Rows(b"email\n", b"x" * (2 * WRITE_BYTES_MAX + 5), b"last\n")
        upload, writer = upload_of(rows)
        assert upload.size == len(FRAME.prefix) + rows.size + len(FRAME.suffix)
        await upload.write_with_length(writer, upload.size)
        assert b"".join(writer.pieces) == FRAME.prefix + b"".join(rows.pieces) + FRAME.suffix
        assert writer.pieces[-1] == b"last\n" + FRAME.suffix
        assert writer.known == [False] * (len(writer.pieces) - 1) + [True]
        assert max(map(len, writer.pieces[:-1])) <= WRITE_BYTES_MAX
        assert upload.delivery == Delivery(body_bytes=upload.size, sent_bytes=upload.size, handed_over=True)
        assert (rows.opened, rows.closed) == (1, 1)

    asyncio.run(history())


def test_an_upload_without_rows_is_whole_too():
    async def history():
        upload, writer = upload_of(Rows())
        await upload.write(writer)
        assert writer.pieces == [FRAME.prefix + FRAME.suffix]

    asyncio.run(history())


@pytest.mark.parametrize(
    "rows",
    [
        Rows(b"email\n", b"a\n", failure=SourceChanged("leads.csv changed")),
        Rows(b"email\n", b"a\n", failure=OSError(5, "Input/output error")),
        Rows(b"email\n", b"a\n", size=7),
        Rows(b"email\n", b"a\n", size=9),
        Rows(b"email\n", *[b"a\n" * 500] * 3, size=6),
        Rows(failure=SourceChanged("leads.csv is gone")),
    ],
    ids=["changed", "unreadable", "longer", "shorter", "much longer", "gone"],
)
def test_rows_that_are_not_those_promised_are_never_handed_over(rows):
    async def history():
        upload, writer = upload_of(rows)
        with pytest.raises((SourceChanged, OSError)) as error:
            await upload.write(writer)
        assert upload.failure is error.value
        assert not upload.delivery.handed_over
        assert not any(FRAME.suffix in piece for piece in writer.pieces)
        assert sum(map(len, writer.pieces)) < upload.size
        assert rows.closed == rows.opened

    asyncio.run(history())


def test_a_connection_that_closed_before_the_last_piece_took_nothing():
    async def history():
        upload, writer = upload_of(Rows(b"a\n"))
        writer.pipe.closing = True
        with pytest.raises(ConnectionResetError):
            await upload.write(writer)
        assert (upload.delivery.handed_over, upload.failure) == (False, None)

    asyncio.run(history())


def test_a_sealed_upload_writes_nothing_more():
    async def history():
        rows = Rows(b"email\n", b"a\n", b"b\n")
        upload, writer = upload_of(rows)
        writer.stalls.clear()
        writing = asyncio.ensure_future(upload.write(writer))
        await writer.begun.wait()
        sealing = asyncio.ensure_future(upload.seal())
        await asyncio.sleep(0)
        assert not sealing.done()
        writer.stalls.set()
        await sealing
        assert len(writer.pieces) == 1
        assert not upload.delivery.handed_over
        assert rows.closed == 1
        with pytest.raises(ConnectionResetError):
            await writing

    asyncio.run(history())


def test_sealing_what_never_began_waits_for_nothing():
    async def history():
        upload, writer = upload_of(Rows(b"a\n"))
        await upload.seal()
        with pytest.raises(ConnectionResetError):
            await upload.write(writer)
        assert writer.pieces == []

    asyncio.run(history())


def test_a_transport_that_takes_no_more_is_given_up():
    async def history():
        upload, writer = upload_of(Rows(b"email\n", b"a\n"), idle_ms=1)
        writer.stalls.clear()
        with pytest.raises(TimeoutError):
            await upload.write(writer)
        assert not upload.delivery.handed_over
        assert upload.failure is None

    asyncio.run(history())


def test_each_attempt_reads_the_rows_anew_and_begins_with_nothing_sent():
    async def history():
        rows, delivery = Rows(b"email\n", b"a\n"), Delivery()
        bodies = []
        for _ in range(2):
            upload, writer = upload_of(rows, delivery)
            assert not delivery.handed_over
            assert delivery.sent_bytes == 0
            await upload.write(writer)
            bodies.append(b"".join(writer.pieces))
        assert bodies[0] == bodies[1]
        assert rows.opened == 2

    asyncio.run(history())


def test_an_upload_is_never_one_text():
    async def history():
        with pytest.raises(TypeError):
            upload_of(Rows())[0].decode()

    asyncio.run(history())
