"""A process that drives a subscription until it is killed; every line it prints is a write that was acknowledged.

Usage: journal_writer.py URL [BYTES]; with BYTES, no file may grow past that size, as on a full disk.
"""

from __future__ import annotations

import asyncio
import resource
import signal
import sys

from orchestrator.errors import JournalError
from orchestrator.events import BatchStarted
from orchestrator.journal.changes import ChunkChanged, Told
from orchestrator.journal.journal import Journal
from tests.contract.journal_kit import HOST, NOW_MS, make_job, now_ms, planned


def say(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


async def main(url: str, file_bytes_max: int | None) -> None:
    async with Journal.open(url, now_ms=now_ms) as journal:
        lease = await journal.take_over(HOST)
        known = await journal.jobs()
        chunk = (await journal.chunks(known[0].id) if known else await planned(journal, lease, make_job()))[0]
        say("ready")
        if file_bytes_max is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes_max, file_bytes_max))
        for polls in range(chunk.polls + 1, sys.maxsize):
            event = BatchStarted(job_id=chunk.job, ts_ms=NOW_MS + polls, chunk=chunk.id, batch_id=polls)
            await journal.write(lease, [Told(event=event), ChunkChanged(chunk_id=chunk.id, values={"polls": polls})])
            say(polls)


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else None))
    except JournalError as error:
        sys.exit(f"{type(error).__name__} {error}")
