"""What the simulation's seeds draw: limits, faults, jobs with keys that repeat, and poisoned rows."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from orchestrator.model import JobId, OnUnknown
from orchestrator.schedule.messages import Space
from orchestrator.schedule.state import Limits
from tests.unit.schedule.setting import DAY_MS, HOUR_MS, MINUTE_MS, START_MS, Faults, Plan, SimJob

CALM = Faults()


def draw(seed: int) -> Plan:
    """Draw the plan of a seed; every third one has no faults, so that nothing excuses idleness."""
    rng = Random(f"{seed}:plan")
    stormy = seed % 3 != 0
    chunk_rows = rng.randint(2, 8)
    jobs = [_draw_job(rng, index) for index in range(rng.choice((1, 1, 2, 3)))]
    trust = Random(f"{seed}:trust")
    for job in jobs:
        job.trusted = trust.random() < 0.7
    poison = set()
    if rng.random() < 0.3:
        job = rng.choice(jobs)
        source = rng.randrange(len(job.sources))
        poison = {(job.id, source, rng.randrange(len(job.sources[source]))) for _ in range(rng.randint(1, 2))}
    return Plan(
        limits=replace(_draw_limits(rng), claims_ahead_max=Random(f"{seed}:claims").choice((0, 3, 64))),
        faults=_draw_faults(rng) if stormy else CALM,
        healed_ms=START_MS + rng.choice((HOUR_MS, 12 * HOUR_MS)),
        jobs=jobs,
        chunk_rows=chunk_rows,
        body_bytes_max=9_500_000,
        upload_bytes_max=rng.choice((10_000_000, 10_000_000, 10_000_000, 4_000_000, 700_000)),
        poison=poison,
        import_ms=rng.choice(((500, 20_000), (1_000, 5 * MINUTE_MS), (MINUTE_MS, 9 * MINUTE_MS))),
    )


def _draw_limits(rng: Random) -> Limits:
    return Limits(
        queue_depth=rng.choice((None, None, 2, 10)),
        lookahead_chunks=rng.choice((2, 5, 16)),
        give_up_ms=rng.choice((HOUR_MS, 10 * DAY_MS)),
        isolate_depth_max=rng.choice((2, 12)),
    )


def _draw_faults(rng: Random) -> Faults:
    def sometimes(most: float) -> float:
        return rng.random() * most if rng.random() < 0.5 else 0.0

    return Faults(
        not_delivered=sometimes(0.3),
        lost_before=sometimes(0.15),
        lost_after=sometimes(0.15),
        limited=sometimes(0.2),
        list_busy=sometimes(0.3),
        call_failed=sometimes(0.3),
        vague_status=sometimes(0.3),
        gone=sometimes(0.02),
        source_changed=sometimes(0.02),
        access_lost=sometimes(0.01),
        crash=sometimes(0.03),
        foreign=sometimes(0.1),
    )


def _draw_job(rng: Random, index: int) -> SimJob:
    space = Space(
        entity=rng.choice(("person", "person", "custom:car_c")),
        key_field=rng.choice(("email", "email", "email", "id")),
        exclusive=rng.choice((None, None, None, "list:1")),
        compared=rng.random() < 0.9,
    )
    keys = rng.choice((5, 60, 5_000))  # few keys: everything stands in one another's way
    sources = [[_draw_key(rng, keys) for _ in range(rng.randint(1, 80))] for _ in range(rng.choice((1, 1, 2)))]
    size = rng.choice((1_000, 200_000, 1_100_000))
    return SimJob(
        id=JobId(f"job-{index}"),
        space=space,
        sources=sources,
        row_bytes=[[rng.randint(size // 2, size) for _ in cells] for cells in sources],
        arrives_ms=START_MS + rng.choice((0, 0, rng.randint(0, HOUR_MS))),
        watched_until_ms=START_MS + rng.randint(0, 3 * HOUR_MS) if rng.random() < 0.15 else None,
        on_unknown=rng.choice((OnUnknown.PROBE, OnUnknown.PROBE, OnUnknown.RESUBMIT, OnUnknown.HOLD)),
    )


def _draw_key(rng: Random, keys: int) -> int | None:
    return None if rng.random() < 0.1 else rng.randrange(keys)
