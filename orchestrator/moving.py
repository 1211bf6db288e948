"""Sources that were moved: found at another place, compared with what was planned, and written to the journal."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from orchestrator.errors import ConfigError, SourceError
from orchestrator.journal.changes import SourceMoved
from orchestrator.journal.journal import Journal
from orchestrator.journal.values import ALIVE
from orchestrator.ledger import has_piece
from orchestrator.log import library_logger
from orchestrator.model import Chunk, Job, Source
from orchestrator.offload import Offload
from orchestrator.source.opening import inspect, sha256_of


async def move(journal: Journal, offload: Offload, job: Job, places: Mapping[str, str]) -> None:
    """Let a stopped job go on with files at other places; ``places`` has the new path of each old one.

    Raises:
        ConfigError: the job has no such source, or has one that it does not need any more.
        SourceError: a file is not what was planned; the message says what differs.

    """
    sources = await journal.sources(job.id)
    chunks = [chunk for chunk in await journal.chunks(job.id) if chunk.depth == 0]
    changes = []
    for old, new in places.items():
        source = _find(job, sources, old)
        place = str(Path(new).absolute())
        moved = replace(source, absolute=place, content=place)
        moved = replace(moved, identity=inspect(moved.content, given=new, allow_empty=True))
        await _compare(offload, source, moved, [chunk for chunk in chunks if chunk.span.source == source.index], new)
        changes.append(SourceMoved(job_id=job.id, index=source.index, absolute=moved.absolute, identity=moved.identity))
    if not await journal.write_unfenced(changes, only_from=ALIVE):
        raise ConfigError(f"job {job.id} has ended meanwhile, so its sources are not needed any more")


def _find(job: Job, sources: tuple[Source, ...], old: str) -> Source:
    for source in sources:
        if old == source.path or str(Path(old).absolute()) == source.absolute:
            if source.content != source.absolute:
                raise ConfigError(f"job {job.id} is sent from a copy of {old}, so it needs no other")
            return source
    known = ", ".join(source.path for source in sources) or "none before it is planned"
    raise ConfigError(f"job {job.id} has no source {old}; it has {known}")


async def _compare(offload: Offload, planned: Source, moved: Source, chunks: list[Chunk], name: str) -> None:
    """Raise `SourceError` unless the file has the content that was planned."""
    before, now = planned.identity.size_bytes, moved.identity.size_bytes
    if before != now:
        raise _differs(name, planned, f"it has {now:,} bytes, and {before:,} were planned")
    begins = chunks[0].span.start if chunks else now
    if await offload.run(_columns, moved, begins) != [name.strip() for name in planned.columns]:
        raise _differs(name, planned, "its header is another one")
    for chunk in chunks:
        span = chunk.span
        if not await offload.run(has_piece, moved.content, span):
            raise _differs(name, planned, f"rows {span.first_row:,} to {span.first_row + span.rows - 1:,} are others")
    if planned.sha256 is None:
        why = "it went before its SHA-256 was known, so its length, header and CRC-32 checksums were compared"
        library_logger().warning("source.judged_by_checksums", source=planned.path, moved_to=name, reason=why)
    elif await sha256_of(moved, offload) != planned.sha256:
        raise _differs(name, planned, "its SHA-256 is another one")


def _columns(source: Source, end: int) -> list[str]:
    with Path(source.content).open("rb") as file:
        text = file.read(end).decode("utf-8-sig", errors="replace")
    records = csv.reader(text.splitlines(keepends=True), delimiter=source.format.delimiter)
    return [cell.strip() for cell in next(records, [])]


def _differs(name: str, planned: Source, what: str) -> SourceError:
    return SourceError(f"{name} is not what was planned as {planned.path}: {what}. Nothing was changed.")
