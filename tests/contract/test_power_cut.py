"""A power cut: the disk keeps what was synced and loses the rest, or keeps some of it, torn anywhere.

SQLite syncs its write-ahead log at each commit, so what was acknowledged is in the log's first bytes; whatever comes
behind them may be there, in part, or not at all.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from orchestrator.errors import JournalError
from orchestrator.journal.changes import ChunkChanged, Told
from orchestrator.journal.journal import Journal
from orchestrator.journal.values import Lease
from orchestrator.model import Chunk, Phase
from tests.contract.journal_kit import HOST, NOW_MS, in_loop, make_job, opened, planned, started

CUTS = int(os.environ.get("POWER_CUTS", "25"))
FRAME_BYTES = 24 + 4096  # of the log: a header and a page
LOG_HEADER_BYTES = 32


async def send(journal: Journal, lease: Lease, chunk: Chunk, number: int) -> None:
    """Write what a chunk's submission is: the intent, then the batch with its event."""
    intent = ChunkChanged(chunk_id=chunk.id, values={"phase": Phase.SUBMITTING, "attempts": 1})
    await journal.write(lease, [intent])
    accepted = ChunkChanged(chunk_id=chunk.id, values={"phase": Phase.SUBMITTED, "polls": number})
    await journal.write(lease, [accepted, Told(event=started(chunk, number, ts_ms=NOW_MS + number))])


def cut(place: Path, to: Path, size: int, *, torn: bytes = b"") -> str:
    """Copy a journal as a power cut leaves it: with so many bytes of its log, and rubbish behind them."""
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir(parents=True)
    shutil.copy(place / "journal.db", to / "journal.db")
    log = (place / "journal.db-wal").read_bytes()
    (to / "journal.db-wal").write_bytes(log[:size] + torn)
    return f"sqlite:///{to}/journal.db"


async def state(url: str) -> tuple[list[tuple[Phase, int]], int]:
    """Return the phases and counts of all chunks and the number of events, as the next process finds them."""
    async with opened(url) as journal:
        await journal.check()
        lease = await journal.take_over(HOST)
        chunks = await journal.chunks(make_job().id)
        events = await journal.events(make_job().id)
        await journal.write(lease, [ChunkChanged(chunk_id=chunks[-1].id, values={"message": "goes on"})])
        return [(chunk.phase, chunk.polls) for chunk in chunks], len(events)


@in_loop
async def test_what_was_acknowledged_is_whole_wherever_the_log_is_cut(tmp_path):
    place = tmp_path / "state"
    url = f"sqlite:///{place}/journal.db"
    rng = random.Random("power")
    marks: list[tuple[int, tuple[list[tuple[Phase, int]], int]]] = []  # size of the log -> what was acknowledged
    async with opened(url) as journal:
        lease = await journal.take_over(HOST)
        chunks = await planned(journal, lease, spans=8)

        async def mark() -> None:
            known = [(chunk.phase, chunk.polls) for chunk in await journal.chunks(chunks[0].job)]
            size = (place / "journal.db-wal").stat().st_size
            marks.append((size, (known, len(await journal.events(chunks[0].job)))))

        await mark()
        for number, chunk in enumerate(chunks):
            await send(journal, lease, chunk, number)
            await mark()
        assert marks[0][0] < marks[-1][0]  # no checkpoint began the log anew
        whole = (place / "journal.db-wal").read_bytes()
        frames = range(LOG_HEADER_BYTES + FRAME_BYTES, len(whole) + 1, FRAME_BYTES)
        sizes = [size for size in frames if size >= marks[0][0]]
        sizes = rng.sample(sizes, min(len(sizes), CUTS)) + [rng.randrange(marks[0][0], len(whole)) for _ in range(CUTS)]
        for size in sizes:
            acknowledged = max(index for index, (end, _) in enumerate(marks) if end <= size)
            torn = rng.choice((b"", rng.randbytes(rng.randrange(FRAME_BYTES)), bytes(FRAME_BYTES)))
            found, events = await state(cut(place, tmp_path / "cut", size, torn=torn))
            before, events_before = marks[acknowledged][1]
            after, events_after = marks[min(acknowledged + 1, len(marks) - 1)][1]
            assert events in (events_before, events_after)
            between = [
                {old, new, (Phase.SUBMITTING, 0)} if old != new else {old}
                for old, new in zip(before, after, strict=True)
            ]
            assert all(each in allowed for each, allowed in zip(found, between, strict=True))


def test_a_log_that_is_gone_leaves_the_last_checkpoint(tmp_path):
    place = tmp_path / "state"

    async def play() -> None:
        async with opened(f"sqlite:///{place}/journal.db") as journal:
            lease = await journal.take_over(HOST)
            await planned(journal, lease)
        # closed in order: everything is in the file itself
        async with opened(f"sqlite:///{place}/journal.db") as journal:
            await journal.take_over(HOST)
            _, events = await state(cut(place, tmp_path / "cut", 0))
            assert events == 2

    asyncio.run(play())


def test_a_full_disk_ends_with_a_clear_error_and_goes_on_when_there_is_room(tmp_path):
    place = tmp_path / "state"
    url = f"sqlite:///{place}/journal.db"

    refusals: list[str] = []

    async def fill(pages: int | None) -> int:
        async with opened(url) as journal:
            lease = await journal.take_over(HOST)
            chunks = await journal.chunks(make_job().id) or await planned(journal, lease, spans=2)
            if pages is not None:
                journal._store.read(lambda connection: connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}"))
            for number in range(chunks[0].polls, 2_000):
                try:
                    told = [Told(event=started(chunks[0], number * 100 + i, ts_ms=number * 100 + i)) for i in range(20)]
                    done = ChunkChanged(chunk_id=chunks[0].id, values={"polls": number + 1})
                    await journal.write(lease, [done, *told])
                except JournalError as error:
                    refusals.append(str(error))
                    assert (await journal.chunks(chunks[0].job))[0].polls == number
                    return number
                if pages is None and number > chunks[0].polls + 5:
                    return number + 1
        raise AssertionError("the disk never was full")

    refused = asyncio.run(fill(60))
    assert refused > 0
    assert "the disk is full: free some space there, then resume" in refusals[0]
    assert asyncio.run(fill(None)) > refused
    connection = sqlite3.connect(place / "journal.db")
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert connection.execute("SELECT count(*) FROM events WHERE name = 'batch.started'").fetchone()[0] % 20 == 0
    connection.close()


@pytest.mark.parametrize("size", [0, 1, 31])
def test_a_log_cut_within_its_header_is_no_log(tmp_path, size):
    place = tmp_path / "state"

    async def play() -> None:
        async with opened(f"sqlite:///{place}/journal.db") as journal:
            await planned(journal, await journal.take_over(HOST))
        async with opened(f"sqlite:///{place}/journal.db") as journal:
            await journal.take_over(HOST)
            assert (await state(cut(place, tmp_path / "cut", size)))[1] == 2

    asyncio.run(play())
