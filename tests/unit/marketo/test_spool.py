"""A spool leaves nothing behind, however its block is left."""

from __future__ import annotations

import asyncio
import gc

import anyio
import pytest

from orchestrator.marketo.spool import Spool


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("cancelled_when", ["opened", "written", "kept"])
def test_a_spool_that_is_cancelled_leaves_neither_a_file_nor_a_handle(tmp_path, cancelled_when):
    async def play() -> None:
        with anyio.CancelScope() as scope:
            if cancelled_when == "opened":
                scope.cancel()
            async with Spool.open(tmp_path / "kept") as spool:
                if cancelled_when == "written":
                    scope.cancel()
                await spool.write(b"half of it")
                scope.cancel()
                await spool.keep()
        assert scope.cancelled_caught
        assert list(tmp_path.iterdir()) == []

    asyncio.run(play())
    gc.collect()


def test_a_spool_that_is_kept_has_its_name_and_one_that_is_not_is_gone(tmp_path):
    async def play() -> None:
        async with Spool.open(tmp_path / "kept") as spool:
            await spool.write(b"all")
            await spool.keep()
        async with Spool.open(tmp_path / "dropped") as spool:
            await spool.write(b"all")

    asyncio.run(play())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"kept": b"all"}
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o600
