"""What was done about uploads that arrived whole and whose answer was lost, over all chunks of a job.

A chunk that was sent again may be split afterwards, because Marketo failed it as a whole: its parts are other uploads,
of rows that may have been imported before.  So chunks that were split count here like all others, and their rows once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestrator.model import Chunk, ChunkId, Finding, Job, OnUnknown, Phase

HELD = "chunk_held"  # the kind of a finding: rows wait for somebody to decide about them


@dataclass(frozen=True, slots=True, kw_only=True)
class LostAnswersSummary:
    """What was done about uploads that arrived whole and whose answer was lost."""

    adopted: int  # uploads whose batch was found
    resent: int  # uploads made although an earlier one may have arrived
    resent_rows: int  # rows that may have been imported more than once, each counted once


def lost_answers(chunks: Sequence[Chunk]) -> LostAnswersSummary:
    """Return the sums over all chunks of a job, split ones too."""
    parts = _parts_of_resent(chunks)
    return LostAnswersSummary(
        adopted=sum(chunk.adopted for chunk in chunks),
        resent=sum(chunk.resent for chunk in chunks),
        resent_rows=sum(chunk.span.rows for chunk in chunks if chunk.resent and chunk.id not in parts),
    )


def still_true(findings: Sequence[Finding], job: Job, chunks: Iterable[Chunk]) -> tuple[Finding, ...]:
    """Return the findings without those of uploads that are held for somebody who has decided about them by now."""
    held = job.options.on_unknown is OnUnknown.HOLD and any(chunk.phase is Phase.UNKNOWN for chunk in chunks)
    return tuple(finding for finding in findings if held or finding.kind != HELD)


def repeated(chunks: Iterable[Chunk]) -> frozenset[ChunkId]:
    """Return the chunks whose rows may have been imported more than once: sent again, or parts of one that was."""
    known = tuple(chunks)
    return frozenset(chunk.id for chunk in known if chunk.resent) | _parts_of_resent(known)


def _parts_of_resent(chunks: Sequence[Chunk]) -> frozenset[ChunkId]:
    """Return the chunks that a chunk which was sent again was split into, however often."""
    found: set[ChunkId] = set()
    resent = {chunk.id for chunk in chunks if chunk.resent}
    for chunk in sorted(chunks, key=lambda each: each.depth):  # those that were split before their parts
        if chunk.parent in resent or chunk.parent in found:
            found.add(chunk.id)
    return frozenset(found)
