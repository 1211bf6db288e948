"""What is learned from uploads that Marketo finds too large: kept for the next process, and cheap with many chunks."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from orchestrator import ImportRequest, Orchestrator
from orchestrator.errors import Fenced
from orchestrator.journal import rows as codec
from orchestrator.journal.changes import CapLearned, ChunkChanged, ChunkParted
from orchestrator.model import Chunk, ChunkId, JobState, Phase
from orchestrator.tables import JournalSettings
from tests.contract.journal_kit import BACKENDS, HOST, NOW_MS, OTHER_HOST, halves, in_loop, opened, planned
from tests.contract.test_library import emulated, seen


@pytest.fixture(params=BACKENDS)
def url(request, tmp_path):
    """The URL of a journal that does not exist yet."""
    return BACKENDS[request.param](tmp_path)


@in_loop
async def test_the_journal_keeps_the_limit_of_each_subscription_with_its_date(url):
    cap = CapLearned(bytes_max=9_025_000, learned_ms=NOW_MS)
    async with opened(url) as journal:
        assert await journal.learned_cap(HOST) is None
        lease, other = await journal.take_over(HOST), await journal.take_over(OTHER_HOST)
        chunk, *_ = await planned(journal, lease)
        assert await journal.learned_cap(HOST) is None
        refused = ChunkChanged(chunk_id=chunk.id, values={"too_large": True})
        await journal.write(lease, [refused, cap])
        await journal.write(other, [CapLearned(bytes_max=2_000_000, learned_ms=NOW_MS + 1)])
    async with opened(url) as journal:
        assert await journal.learned_cap(HOST) == cap
        assert [chunk.too_large for chunk in await journal.chunks(chunk.job)] == [True, False, False]
        stale, lease = lease, await journal.take_over(HOST)
        lower = CapLearned(bytes_max=8_573_750, learned_ms=NOW_MS + 5)
        with pytest.raises(Fenced):
            await journal.write(stale, [lower])
        assert await journal.learned_cap(HOST) == cap
        await journal.write(lease, [lower])
        assert await journal.learned_cap(HOST) == lower


@in_loop
async def test_the_parts_of_a_chunk_are_found_without_the_others(url):
    async with opened(url) as journal:
        lease = await journal.take_over(HOST)
        first, whole, _ = await planned(journal, lease)
        await journal.write(lease, [ChunkParted(chunk_id=whole.id, parts=halves(whole.span))])
        parts = await journal.parts(whole.id)
        assert [part.span for part in parts] == list(halves(whole.span))
        assert set(parts) <= set(await journal.chunks(whole.job))
        assert await journal.parts(first.id) == ()


def plenty(directory: Path, bytes_each: int, rows: int) -> ImportRequest:
    """Write rows of about this size."""
    path = directory / "leads.csv"
    lines = [f"{number}@example.com,{'x' * bytes_each}" for number in range(rows)]
    path.write_text("\n".join(["email,firstName", *lines, ""]), encoding="utf-8")
    return ImportRequest(sources=[path], out_dir=directory / "out")


# The limit that is configured, the real one, and the size of a row; below the floor nothing is learned for other chunks.
LEARNED, BELOW_THE_FLOOR = (2_000_000, 1_400_000, 60_000), (3_000, 2_000, 100)


@pytest.mark.parametrize(("configured", "real", "row"), [LEARNED, BELOW_THE_FLOOR])
def test_what_one_process_was_refused_the_next_one_does_not_send(url, tmp_path, configured, real, row):
    async def play() -> None:
        async with emulated(tmp_path, body_bytes_max=real) as (settings, running):
            limits = settings.limits.model_copy(update={"body_bytes_max": configured})
            settings = settings.model_copy(update={"limits": limits, "journal": JournalSettings(url=url)})

            def refused() -> list[int]:
                return [line["body_bytes"] for line in running.service.engine.creates if line["answer"] == "413"]

            async def some_refused() -> bool:
                return bool(refused())

            async with Orchestrator.open(settings) as orchestrator:
                await orchestrator.submit(plenty(tmp_path, row, rows=100))
                await seen(some_refused)
                orchestrator.drain()
            before = refused()
            async with Orchestrator.open(settings) as orchestrator:
                (job,) = (await orchestrator.resume()).jobs
                assert (await job.wait()).state == JobState.COMPLETE
                sent = [chunk.attempts for chunk in (await job.status()).chunks if chunk.phase is Phase.SPLIT]
                assert max(sent) == 1, "none twice"
            if (configured, real, row) == LEARNED:
                assert refused() == before, "nor another one as large"

    asyncio.run(play())


def test_splitting_reads_the_parts_alone(tmp_path, monkeypatch):
    read: list[ChunkId] = []
    unpack_chunk = codec.unpack_chunk

    def counted(row: Mapping[str, Any]) -> Chunk:
        chunk = unpack_chunk(row)
        read.append(chunk.id)
        return chunk

    monkeypatch.setattr(codec, "unpack_chunk", counted)

    async def play() -> None:
        async with emulated(tmp_path, body_bytes_max=500) as (settings, _), Orchestrator.open(settings) as orchestrator:
            job = await orchestrator.submit(plenty(tmp_path, 50, rows=300))
            assert (await job.wait()).state == JobState.COMPLETE
            chunks = (await job.status()).chunks
            assert sum(chunk.phase is Phase.SPLIT for chunk in chunks) > 30
            assert len(read) < 10 * len(chunks), "some times all, and not once more for each that is split"

    asyncio.run(play())
