"""What was given before: whether a job's content, or its key, is that of an earlier job.

Content is what would be sent: header, records and format, whatever file they came from.  Two jobs that were cut alike
have the same fingerprint.  One that was cut otherwise, because limits were changed meanwhile, is compared piece by
piece: every piece that was planned then must have its checksum at the same place of what would be sent now.

Checksums are CRC-32, which anybody can forge.  So what they say is the same is proven by identity or SHA-256.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from orchestrator.errors import AlreadyGiven, SourceError
from orchestrator.journal.changes import SourceMoved
from orchestrator.journal.journal import Journal
from orchestrator.journal.values import ALIVE, GIVEN
from orchestrator.log import library_logger
from orchestrator.model import IfKnown, Job, JobId, JobState, Source, Span, Target
from orchestrator.offload import Offload
from orchestrator.source.opening import inspect, sha256_of

_PIECE_BYTES: Final = 1 << 20


def fingerprint_of(target: Target, sources: Sequence[Source], spans: Sequence[Span], *, job_id: str) -> str:
    """Return what tells apart content and target of jobs that were cut alike, in hex; no rows are like no others."""
    digest = hashlib.sha256(repr(target).encode() + (b"" if spans else job_id.encode()))
    for source in sources:
        digest.update(repr(_shape(source)).encode())
    for span in spans:
        digest.update(f"{span.source} {span.start} {span.end} {span.crc32}\n".encode())
    return digest.hexdigest()


def _shape(source: Source) -> tuple[object, ...]:
    return (source.format, source.header, source.identity.size_bytes, source.rows)


class Ledger:
    """Looks earlier jobs up."""

    def __init__(self, journal: Journal, offload: Offload) -> None:
        """Hold what is needed."""
        self._journal = journal
        self._offload = offload
        self._log = library_logger()

    async def find(self, job: Job, sources: Sequence[Source], fingerprint: str, unlike: set[JobId]) -> Job | None:
        """Return the job that a new one is the same as, the latest of several; None if there is none.

        Those that only seem to be, for their checksums are equal, are added to ``unlike``.

        Raises:
            AlreadyGiven: a job with the same key has another target or content, or the user wants no known content.

        """
        others = [
            other
            for other in reversed(await self._journal.jobs(host=job.host))
            if other.id != job.id and other.fingerprint
        ]
        for other in others if job.key is not None else ():  # a key counts more than content: that may be given again
            if other.key == job.key and other.state is not JobState.FAILED:
                if not await self._same(other, job.target, sources, fingerprint, unlike):
                    raise AlreadyGiven(
                        f"the key {job.key!r} belongs to job {other.id}, which has another target or content; "
                        "nothing was sent. Give this import another key.",
                        next_command=f"orchestrator status {other.id}",
                    )
                return other
        if job.options.if_known is IfKnown.AGAIN:
            return None
        found = await self._like(others, job.target, sources, fingerprint, unlike)
        if found is not None and refuses(found, job.options.if_known):
            done = "was imported by" if found.state is JobState.COMPLETE else "is that of"
            raise AlreadyGiven(
                f"this content {done} job {found.id} ({found.state}) for the same target; nothing was sent. "
                "--force imports it once more.",
                next_command=f"orchestrator status {found.id}",
            )
        return found

    async def given(self, host: str, target: Target, sources: Sequence[Source], spans: Sequence[Span]) -> Job | None:
        """Return the latest job whose content and target are these; None if there is none."""
        others = [other for other in reversed(await self._journal.jobs(host=host)) if other.fingerprint]
        return await self._like(others, target, sources, fingerprint_of(target, sources, spans, job_id=""), set())

    async def _like(
        self, others: Sequence[Job], target: Target, sources: Sequence[Source], fingerprint: str, unlike: set[JobId]
    ) -> Job | None:
        for other in others if any(source.rows for source in sources) else ():
            if other.state in GIVEN and await self._same(other, target, sources, fingerprint, unlike):
                return other
        return None

    async def lend(self, earlier: Job, sources: Sequence[Source]) -> None:
        """Let an earlier job that is not finished go on with the files of a later one, where its own are gone."""
        moved = [
            SourceMoved(job_id=earlier.id, index=own.index, absolute=given.absolute, identity=given.identity)
            for own, given in zip(await self._journal.sources(earlier.id), sources, strict=True)
            if own.content == own.absolute and given.content == given.absolute and not is_there(own)
        ]
        if moved:
            await self._journal.write_unfenced(moved, only_from=ALIVE)

    async def _same(
        self, other: Job, target: Target, sources: Sequence[Source], fingerprint: str, unlike: set[JobId]
    ) -> bool:
        if other.id in unlike or not await self._alike(other, target, sources, fingerprint):
            return False
        for own, given in zip(await self._journal.sources(other.id), sources, strict=True):
            if not await self._proven(other, own, given):
                unlike.add(other.id)
                return False
        return True

    async def _proven(self, other: Job, own: Source, given: Source) -> bool:
        """Tell whether a source is one of an earlier job, whose checksums it has; what cannot be proven is believed."""
        if (own.content, own.identity) == (given.content, given.identity):
            return True
        try:
            known = own.sha256 or await sha256_of(own, self._offload)
        except SourceError:  # it was not read to its end before it went
            known = None
        if known == await sha256_of(given, self._offload):
            return True
        if known is not None and all(each.mapped is None and each.original is None for each in (own, given)):
            return False
        why = "the earlier file is gone" if known is None else "columns or rows were changed on the way"
        self._log.warning("content.judged_by_checksums", source=given.path, same_as=other.id, reason=why)
        return True

    async def _alike(self, other: Job, target: Target, sources: Sequence[Source], fingerprint: str) -> bool:
        """Tell whether the checksums of what is sent are those of an earlier job."""
        if other.fingerprint == fingerprint:
            return True
        if other.target != target:
            return False
        known = await self._journal.sources(other.id)
        if list(map(_shape, known)) != list(map(_shape, sources)):
            return False
        spans = [chunk.span for chunk in await self._journal.chunks(other.id) if chunk.depth == 0]
        for span in spans:
            if not await self._offload.run(has_piece, sources[span.source].content, span):
                return False
        return True


def refuses(earlier: Job, if_known: IfKnown) -> bool:
    """Tell whether what was given before is refused: if the user wants that, or it is through and was to be resumed."""
    return if_known is IfKnown.REFUSE or (if_known is IfKnown.RESUME and earlier.state is JobState.COMPLETE)


def is_there(source: Source) -> bool:
    """Tell whether the file that a source is sent from is the one that was planned."""
    try:
        return inspect(source.content, allow_empty=True) == source.identity
    except SourceError:
        return False


def has_piece(path: str, span: Span) -> bool:
    """Tell whether a file has a piece that was planned, at its place."""
    checksum, left = 0, span.end - span.start
    with Path(path).open("rb") as file:
        file.seek(span.start)
        while left and (piece := file.read(min(left, _PIECE_BYTES))):
            checksum, left = zlib.crc32(piece, checksum), left - len(piece)
    return not left and checksum == span.crc32
