"""Taking a subscription over from a live process, and what that one can do from then on: nothing."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from orchestrator.errors import Fenced, SubscriptionBusy
from orchestrator.journal import fencing
from orchestrator.journal.changes import ChunkChanged
from orchestrator.journal.location import locate
from orchestrator.journal.sqlite import SqliteStore
from orchestrator.journal.values import Owner
from tests.contract.journal_kit import BACKENDS, HOST, NOW_MS, OTHER_HOST, in_loop, opened, planned


@pytest.fixture(params=BACKENDS)
def url(request, tmp_path):
    """The URL of a journal that does not exist yet."""
    return BACKENDS[request.param](tmp_path)


@in_loop
async def test_by_force_the_later_one_drives(url):
    async with opened(url) as first, opened(url) as second, opened(url) as third:
        stale = await first.take_over(HOST)
        (chunk, *_) = await planned(first, stale)
        await first.confirm(stale)
        fresh = await second.take_over(HOST, force=True)
        assert fresh.epoch == stale.epoch + 1
        await second.confirm(fresh)
        for refused in (first.confirm(stale), first.write(stale, [])):
            with pytest.raises(Fenced, match=rf"taken {HOST} over"):
                await refused
        await first.release(stale)  # gives nothing of the second's away
        assert await third.owner(HOST) == Owner(pid=os.getpid(), since_ms=NOW_MS)
        with pytest.raises(SubscriptionBusy):
            await third.take_over(HOST)
        await second.write(fresh, [ChunkChanged(chunk_id=chunk.id, values={"polls": 1})])
        await second.release(fresh)
        assert await third.owner(HOST) is None
        assert (await first.take_over(HOST)).epoch == 3


@in_loop
async def test_by_force_from_nobody_and_from_oneself(url):
    async with opened(url) as journal, opened(url) as other:
        leases = [await journal.take_over(HOST, force=True) for _ in range(3)]
        assert [lease.epoch for lease in leases] == [1, 2, 3]
        with pytest.raises(Fenced):
            await journal.confirm(leases[1])
        await journal.release(leases[0])
        assert await other.owner(HOST) is not None
        await journal.release(leases[2])
        assert await other.owner(HOST) is None


@in_loop
async def test_many_at_once_end_with_one_owner(url):
    async def take(force: bool) -> int:
        async with opened(url) as journal:
            try:
                lease = await journal.take_over(HOST, force=force)
            except SubscriptionBusy:
                return 0
            await asyncio.sleep(0)
            try:
                await journal.write(lease, [])
            except Fenced:
                return 0
            return lease.epoch

    async with opened(url):
        epochs = [epoch for epoch in await asyncio.gather(*(take(bool(number % 2)) for number in range(8))) if epoch]
    assert len(epochs) == len(set(epochs)) >= 1


def test_a_lock_that_was_gone_past_is_worth_nothing(tmp_path):
    url = BACKENDS["sqlite"](tmp_path)
    path = locate(url)
    assert isinstance(path, Path)
    store = SqliteStore(path)
    store.open(NOW_MS)
    store.take_over(HOST, NOW_MS, force=False)
    assert store.take_over(HOST, NOW_MS, force=True).epoch == 2
    assert store.read(fencing.generation, HOST) == 1
    assert store.write(fencing.raise_epoch, HOST, 0) is None  # of one that looked before and locked the old file
    assert store.take_over(HOST, NOW_MS, force=True).epoch == 3
    store.close()


@in_loop
async def test_a_lease_of_another_subscription_confirms_nothing(url):
    async with opened(url) as journal:
        lease = await journal.take_over(HOST)
        other = await journal.take_over(OTHER_HOST, force=True)
        await journal.release(other)
        await journal.confirm(lease)
