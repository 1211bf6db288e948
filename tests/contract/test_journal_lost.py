"""A driver whose journal is on PostgreSQL: cut off from it, it goes on from what the journal says; taken over, it stops."""

from __future__ import annotations

import asyncio
import zlib
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from orchestrator import Orchestrator
from orchestrator.errors import Fenced
from orchestrator.model import JobState, Phase
from orchestrator.source.opening import SpanContent, identity_of
from orchestrator.uploads import Guarded
from tests import postgres
from tests.contract.journal_kit import BACKENDS, HOST, in_loop, make_source, make_spans, opened
from tests.contract.test_homes import changed
from tests.contract.test_library import emulated, request, seen


def test_a_driver_whose_connection_is_cut_goes_on(tmp_path):
    async def play() -> None:
        async with emulated(tmp_path) as (settings, _):
            settings = changed(settings, journal={"url": postgres.new_schema()}, unknown={"hold_seconds_min": 0})
            async with Orchestrator.open(settings) as orchestrator:
                job = await orchestrator.submit(request(tmp_path, rows=600))

                async def one_done() -> bool:
                    return any(chunk.phase is Phase.DONE for chunk in (await job.status()).chunks)

                await seen(one_done)
                postgres.run(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'orchestrator'"
                )
                summary = await job.wait()
                assert (summary.state, summary.rows.accepted) == (JobState.COMPLETE, 600)

    with capture_logs():
        asyncio.run(play())


@pytest.mark.parametrize("backend", BACKENDS)
@in_loop
async def test_an_upload_does_not_end_when_another_process_has_taken_over(backend, tmp_path):
    path = tmp_path / "leads.csv"
    path.write_bytes(b"email\n" + b"x" * 100)
    source = replace(make_source(), absolute=str(path), content=str(path), identity=identity_of(path.stat()))
    span = replace(make_spans()[0], crc32=zlib.crc32(b"x" * 100))
    url = BACKENDS[backend](tmp_path)
    async with opened(url) as first, opened(url) as second:
        lease = await first.take_over(HOST)
        content = Guarded(SpanContent(source, span), lambda: first.confirm(lease))
        assert b"".join([piece async for piece in content.stream()]) == b"email\n" + b"x" * 100
        pieces = content.stream()
        await anext(pieces)
        await second.take_over(HOST, force=True)
        with pytest.raises(Fenced):
            async for _ in pieces:
                pass
