"""Which chunks share keys: a graph over those whose claims are held."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from orchestrator.model import ChunkId
from orchestrator.schedule.state import TrackedChunk


class Conflicts:
    """The edges between chunks, kept in the chunks themselves, and the claims that were let go of."""

    def __init__(self, chunks: Mapping[ChunkId, TrackedChunk]) -> None:
        self._chunks = chunks
        self._released: list[ChunkId] = []

    def join(self, chunk: TrackedChunk, others: Collection[ChunkId]) -> None:
        """Put a chunk into the graph, with an edge to each of the others that is in it."""
        chunk.conflicts = set()
        for other_id in sorted(others):
            other = self._chunks.get(other_id)
            if other is not None and other.conflicts is not None:
                chunk.conflicts.add(other_id)
                other.conflicts.add(chunk.id)

    def leave(self, chunk: TrackedChunk) -> None:
        """Let go of a chunk's claims, if they are held, and of every trace of them in others."""
        if chunk.conflicts is None:
            return
        for other_id in sorted(chunk.conflicts):
            other = self._chunks.get(other_id)
            if other is not None and other.conflicts is not None:
                other.conflicts.discard(chunk.id)
        chunk.conflicts = None
        self.drop(chunk.id)

    def drop(self, chunk: ChunkId) -> None:
        """Note that nobody needs the claims of a chunk any more."""
        self._released.append(chunk)

    def take_released(self) -> list[ChunkId]:
        """Return the chunks whose claims were let go of since the last call."""
        released, self._released = self._released, []
        return released
