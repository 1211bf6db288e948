"""A process that holds uploads half sent: ``python -m bench.uploading FILE PORT`` prints what one of them costs, in bytes.

The receiver at the port reads `HELD_BYTES` of each connection and no more.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Final

import aiohttp

from bench.peak import peak_bytes
from orchestrator.marketo.upload import Delivery, Upload
from orchestrator.marketo.wire import Multipart
from orchestrator.model import Source, Span
from orchestrator.source.opening import SpanContent
from orchestrator.source.split import plan

UPLOADS: Final = 10  # as many as Marketo takes
HELD_BYTES: Final = 5_000_000
SENT_BYTES: Final = 4_500_000  # by then the pipe between the two is full
LOOK_SECONDS: Final = 0.02
IDLE_MS: Final = 60_000
SECONDS_MAX: Final = 60.0


async def hold(session: aiohttp.ClientSession, url: str, source: Source, spans: list[Span]) -> list[asyncio.Task[None]]:
    """Begin uploads, and return when each of them is well under way."""
    deliveries = [Delivery() for _ in spans]

    async def send(span: Span, delivery: Delivery) -> None:
        upload = Upload(SpanContent(source, span), Multipart("0" * 32, "rows.csv"), delivery, idle_ms=IDLE_MS)
        async with session.post(url, data=upload):
            pass

    tasks = [asyncio.create_task(send(*each)) for each in zip(spans, deliveries, strict=True)]
    async with asyncio.timeout(SECONDS_MAX):
        while any(delivery.sent_bytes < SENT_BYTES for delivery in deliveries):
            if ended := [task for task in tasks if task.done()]:
                await ended[0]
            await asyncio.sleep(LOOK_SECONDS)
    return tasks


async def main(path: str, port: str) -> None:
    """Measure how the peak grows from one upload to some more."""
    planned = plan(path, index=0, given=path, format=None, part_bytes_max=9_499_000, rows_max=250_000)
    first, *spans = planned.spans
    assert len(spans) >= UPLOADS, "the file is too small for so many uploads"
    url = f"http://127.0.0.1:{port}/"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        tasks = await hold(session, url, planned.source, [first])
        before = peak_bytes()
        tasks += await hold(session, url, planned.source, spans[:UPLOADS])
        print((peak_bytes() - before) / UPLOADS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
