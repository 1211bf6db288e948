"""Which chunks share keys: the claims of every chunk that may soon be sent or is under way.

A chunk's claims are a sorted array of fingerprints, kept in a file until its batch is finished, so a restart
finds the claims of what is at Marketo even if the source is gone.  The file ends with a seal over all of
it: one that is damaged is made anew, and one that cannot be written is done without.  A chunk whose claims can no
longer be found out shares a key with every other: waiting for it costs time, guessing could cost records.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from orchestrator.errors import OrchestratorError, SourceError
from orchestrator.model import ChunkId
from orchestrator.offload import Offload
from orchestrator.report.files import replacing
from orchestrator.source.keys import overlap, overlaps

Fingerprints = NDArray[np.uint64]

SEAL = 0x434C_4D31 << 32  # before the checksum; without it, a file of zeros would be one without claims


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The claims of one chunk."""

    chunk: ChunkId
    space: tuple[str, str]  # entity and key field; claims of different ones are never compared
    fingerprints: Fingerprints | None  # None: nobody knows any more
    file: Path


def in_common(ours: Path, theirs: Path) -> bool | None:
    """Tell whether two chunks share a key; None if only the keys of the second one are not known."""
    our_claims, their_claims = _load(ours), _load(theirs)
    if our_claims is None:
        return False
    return None if their_claims is None else overlap(our_claims, their_claims)


class ClaimStore:
    """The claims held in one subscription."""

    def __init__(self, offload: Offload) -> None:
        self._offload = offload
        self._held: dict[ChunkId, Claim] = {}

    async def hold(
        self,
        chunk: ChunkId,
        space: tuple[str, str],
        file: Path,
        *,
        under_way: bool,
        compute: Callable[[], Fingerprints],
    ) -> frozenset[ChunkId]:
        """Hold a chunk's claims; return which of the chunks held already share a key with it.

        ``compute`` is called off the loop unless the file has the claims of an earlier run.

        Raises:
            SourceError: the source cannot be read as it was planned and the chunk is not ``under_way``.

        """
        others = tuple(claim for claim in self._held.values() if claim.space == space)
        claim, conflicts = await self._offload.run(_hold, chunk, space, file, under_way, compute, others)
        self._held[chunk] = claim
        return conflicts

    async def release(self, chunk: ChunkId) -> None:
        """Forget a chunk's claims, if they are held."""
        claim = self._held.pop(chunk, None)
        if claim is not None:
            await self._offload.run(_drop, claim.file)


def _hold(
    chunk: ChunkId,
    space: tuple[str, str],
    file: Path,
    under_way: bool,
    compute: Callable[[], Fingerprints],
    others: Sequence[Claim],
) -> tuple[Claim, frozenset[ChunkId]]:
    held = _load(file)
    if held is None:
        try:
            held = _keep(file, compute())
        except SourceError:
            if not under_way:
                raise
    claim = Claim(chunk=chunk, space=space, fingerprints=held, file=file)
    return claim, frozenset(_sharing(held, others))


def _sharing(ours: Fingerprints | None, others: Sequence[Claim]) -> Iterator[ChunkId]:
    """Yield the chunks that share a key with some claims, or may do so."""
    if ours is None:
        yield from (other.chunk for other in others)
        return
    known = [(other.chunk, other.fingerprints) for other in others if other.fingerprints is not None]
    yield from (other.chunk for other in others if other.fingerprints is None)
    shared = overlaps(ours, (fingerprints for _, fingerprints in known))
    yield from (chunk for (chunk, _), is_shared in zip(known, shared, strict=True) if is_shared)


def _load(file: Path) -> Fingerprints | None:
    """Return the claims that are in a file; None if there is none, or none that is whole."""
    try:
        found = np.memmap(file, np.uint64, mode="r")
    except (OSError, ValueError):  # there is none, it is empty, or it does not end with a whole number
        return None
    claims, seal = found[:-1], int(found[-1])
    return claims if seal == _seal(claims) and bool((claims[1:] > claims[:-1]).all()) else None


def _seal(claims: Fingerprints) -> int:
    """Return the number that stands behind claims in their file."""
    return SEAL | zlib.crc32(claims.data)


def _keep(file: Path, fingerprints: Fingerprints) -> Fingerprints:
    """Write claims to a file; return them as they stand there, or in memory if they cannot be written."""
    try:
        with replacing(file) as target:
            target.write(np.append(fingerprints, np.uint64(_seal(fingerprints))).tobytes())
    except OrchestratorError:
        return fingerprints
    written = _load(file)
    return fingerprints if written is None else written


def _drop(file: Path) -> None:
    with suppress(OSError):
        file.unlink()
