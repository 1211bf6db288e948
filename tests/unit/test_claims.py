"""The claims that are held: which chunks share a key with a new one."""

import asyncio
import zlib

import numpy as np
import pytest

from orchestrator.claims import SEAL, ClaimStore, in_common
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
                    directory / f"c{at}.claims",
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


def test_each_bit_that_is_not_as_it_was_written_is_noticed_and_so_is_each_byte_that_is_missing(tmp_path):
    held(tmp_path, ([1, 2**40, 2**64 - 1], SPACE, False), ([7], SPACE, False), ([], SPACE, False))
    whole, file, none = (tmp_path / f"c{at}.claims" for at in range(3))
    assert in_common(whole, file) is False
    assert in_common(whole, none) is False
    for content in (file.read_bytes(), none.read_bytes()):
        damaged = [content[:at] for at in range(len(content))]
        damaged += [content + bytes(size) for size in (1, 8)]
        for at, byte in enumerate(content):
            damaged += [content[:at] + bytes([byte ^ 1 << bit]) + content[at + 1 :] for bit in range(8)]
        for each in (*damaged, bytes(len(content))):
            file.write_bytes(each)
            assert in_common(whole, file) is None, each


def test_claims_of_a_damaged_file_are_found_out_anew(tmp_path):
    assert held(tmp_path, ([1, 2], SPACE, False)) == [[]]
    file = tmp_path / "c0.claims"
    content = file.read_bytes()
    for damaged in (content[:-1], content[8:], content[8:16] + content[:8] + content[16:], b"", b"no claims at all"):
        file.write_bytes(damaged)
        assert held(tmp_path, ([1, 2], SPACE, False), ([2], SPACE, False)) == [[], ["c0"]]
        assert file.read_bytes() == content


def test_claims_out_of_order_are_found_out_anew(tmp_path):
    falling = np.array([2, 1], np.uint64)
    (tmp_path / "c0.claims").write_bytes(np.append(falling, np.uint64(SEAL | zlib.crc32(falling.data))).tobytes())
    assert held(tmp_path, ([1, 2], SPACE, False), ([1], SPACE, False)) == [[], ["c0"]]
