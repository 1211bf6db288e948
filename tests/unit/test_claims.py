"""The claims that are held: which chunks share a key with a new one."""

import asyncio

import numpy as np
import pytest

from orchestrator.claims import ClaimStore
from orchestrator.errors import SourceError
from orchestrator.model import ChunkId
from orchestrator.offload import Offload

SPACE = ("person", "email")


def held(directory, *claims):
    """Hold claims one after the other; return for each with which of those before it shares a key."""

    async def hold_all():
        async with Offload() as offload:
            store = ClaimStore(offload)
            return [
                await store.hold(
                    ChunkId(f"c{at}"),
                    space,
                    directory / f"c{at}.npy",
                    under_way=under_way,
                    compute=lambda keys=keys: compute(keys),
                )
                for at, (keys, space, under_way) in enumerate(claims)
            ]

    return [sorted(conflicts) for conflicts in asyncio.run(hold_all())]


def compute(keys):
    if keys is None:
        raise SourceError("the file is gone")
    return np.array(keys, np.uint64)


def test_chunks_conflict_exactly_if_they_share_a_key_in_one_space(tmp_path):
    elsewhere = ("person", "phone")
    claims = [([1, 2**63], SPACE, False), ([1], elsewhere, False), ([], SPACE, False), ([2, 2**63], SPACE, True)]
    assert held(tmp_path, *claims, ([1, 2, 3], SPACE, False)) == [[], [], [], ["c0"], ["c0", "c3"]]


def test_a_chunk_whose_keys_nobody_knows_any_more_conflicts_with_all_others(tmp_path):
    claims = [([1], SPACE, False), (None, SPACE, True), ([2], SPACE, False), (None, SPACE, True)]
    assert held(tmp_path, *claims) == [[], ["c0"], ["c1"], ["c0", "c1", "c2"]]


def test_a_chunk_that_is_not_under_way_needs_its_source(tmp_path):
    with pytest.raises(SourceError):
        held(tmp_path, (None, SPACE, False))


def test_claims_that_were_kept_are_not_computed_again(tmp_path):
    assert held(tmp_path, ([1], SPACE, False)) == [[]]
    assert held(tmp_path, (None, SPACE, False), ([1], SPACE, False)) == [[], ["c0"]]
