"""What must always hold in the simulation, at every step and at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.model import ChunkId, Phase
from tests.unit.schedule.remote import check
from tests.unit.schedule.setting import LEAVES, Entry, SimJob

if TYPE_CHECKING:
    from tests.unit.schedule.world import World


def check_step(world: World) -> None:
    known = world.scheduler.known
    held = known.in_flight
    if not world.crashes:  # with a crash, a slot may be counted twice for a while: the dead upload's, and its own
        check(len(held) <= world.plan.limits.slots, "limits", f"{len(held)} slots")
    ours = {c.id for c in held}
    for batch in world.remote.open:
        if batch.chunk is not None and not is_uncounted(world, batch.chunk):
            check(batch.chunk in ours, "limits", f"chunk {batch.chunk} is at Marketo and holds no slot")
    check_busy(world)


def is_uncounted(world: World, chunk: ChunkId) -> bool:
    """A job that is not there holds nothing."""
    entry = world.journal[chunk]
    return world.denied or entry.job.id not in world.scheduler.known.jobs


def check_busy(world: World) -> None:
    """While something can be sent and nothing forbids it, both importers have work."""
    held = world.held()
    sent = [e for e in held if e.seen.phase in (Phase.SUBMITTING, Phase.SUBMITTED)]
    at_work = any(kind in ("claims", "split", "refuse") for kind, _ in world.working) or world.uploading
    orphans = any(chunk.orphaned for chunk in world.scheduler.known.in_flight)
    quiet = world.now_ms >= world.troubled_until_ms and not at_work and not world.denied and not orphans
    if len(sent) >= world.plan.limits.importers or len(held) >= world.plan.limits.slots or not quiet:
        return
    for job in world.plan.jobs:
        tracked = world.scheduler.known.jobs.get(job.id)
        if tracked is None or not tracked.sending or tracked.finishing or tracked.proving:
            continue
        ready = [e for e in world.chunks_of(job) if e.seen.phase is Phase.READY and world.is_alive(e)]
        ready.sort(key=lambda e: (e.seen.source, e.seen.first_row))
        window = ready[: world.plan.limits.lookahead_chunks]
        for at, entry in enumerate(window):
            blocked = [*window[:at], *(e for e in held)]
            if is_free(world, entry, blocked, held) and not is_reserved(world, entry):
                check(False, "busy", f"chunk {entry.seen.id} could be sent, {len(sent)} are")


def is_reserved(world: World, entry: Entry) -> bool:
    """Tell whether a chunk of another job that was passed over for long goes before this one."""
    reserved = [world.journal[chunk.id] for chunk in world.scheduler.turns.reserved(world.now_ms)]
    others = [other for other in reserved if other.job is not entry.job]
    return not is_free(world, entry, others, others)


def is_free(world: World, entry: Entry, before: list[Entry], held: list[Entry]) -> bool:
    if entry.seen.failures >= 2 or entry.seen.body_bytes > world.scheduler.known.cap.bytes_max:
        return False
    if any(entry.job.space.excludes(other.job.space) for other in held):
        return False
    if not entry.job.space.compared:
        return True
    return not any(
        other.job.space.compared and other.job.space.entity == entry.job.space.entity and other.keys & entry.keys
        for other in before
    )


def check_end(world: World) -> None:
    for job in world.plan.jobs:
        leaves = [e for e in world.chunks_of(job) if e.seen.phase in LEAVES]
        for source, cells in enumerate(job.sources):
            rows = sorted(row for e in leaves if e.seen.source == source for row in e.rows)
            check(rows == list(range(len(cells))), "no-loss", f"rows of {job.id}, source {source}")
        for entry in leaves:
            check_leaf(world, entry)
        check_last_rows(world, job, leaves)


def check_leaf(world: World, entry: Entry) -> None:
    phase = entry.seen.phase
    check(phase in (Phase.DONE, Phase.REFUSED) or bool(entry.job.stops), "no-loss", f"{entry.seen} at the end")
    if phase is Phase.DONE and not entry.gone:
        check(world.remote.imported.get(entry.seen.id, 0) >= 1, "no-loss", f"{entry.seen} was never imported")


def check_last_rows(world: World, job: SimJob, leaves: list[Entry]) -> None:
    """Of rows with one key the last one stands, unless its outcome is open."""
    if not job.space.compared or len({j.space.entity for j in world.plan.jobs}) < len(world.plan.jobs):
        return
    last: dict[int, tuple[str, int, int]] = {}
    for entry in sorted(leaves, key=lambda e: (e.seen.source, e.seen.first_row)):
        for row in entry.rows:
            key = job.sources[entry.seen.source][row]
            if key is None:
                continue
            if entry.seen.phase is Phase.DONE and not entry.gone:
                last[key] = (job.id, entry.seen.source, row)
            elif entry.seen.phase is not Phase.REFUSED and entry.seen.phase is not Phase.READY:
                last.pop(key, None)
    for key, row in last.items():
        found = world.remote.records.get((job.space.entity, key))
        check(found is not None and found >= row, "order", f"key {key}: {found} instead of {row}")
