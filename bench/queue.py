"""Both importers always busy, with few calls and few slots: the heart against what people write when they begin.

Everything happens in virtual time over the emulator's own import queue, so the figures are the same on every machine.
Utilisation is the time that importers spent on one's own batches, of the time that they were not on others', from the
first upload to the last end.  Calls per batch are uploads and questions; result files are not counted, for everybody
fetches each once.  How long a decision takes is measured on the clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Final

from bench.queue_peers import WayToImport, heart, one_at_a_time, ten_at_a_time
from bench.queue_world import HOUR_MS, Piece, Result, World, run
from bench.results import Row, Run
from orchestrator.model import BatchId, BatchStatus, ChunkId, JobId, Priority
from orchestrator.schedule import messages as m
from orchestrator.schedule.core import Scheduler
from orchestrator.schedule.state import Limits

CHUNKS: Final = 200
DRAWS: Final = 40  # of a world that is drawn; the worst one is judged
PEERS: Final[dict[str, WayToImport]] = {"10 at a time": ten_at_a_time, "1 at a time": one_at_a_time}
OURS: Final = "the heart"
LENGTHS_S: Final = (23, 45, 599, 613, 907, 1_800)
PACE_CHANGES: Final[dict[str, list[int]]] = {
    "100 of 600 s, 100 of 60 s": [600] * 100 + [60] * 100,
    "20 of 3,600 s, 200 of 60 s": [3_600] * 20 + [60] * 200,
    "2 of 3,600 s, 198 of 60 s": [3_600] * 2 + [60] * 198,
    "12 of 600 s, 68 of 30 s": [600] * 12 + [30] * 68,
    "one of 1,200 s, 399 of 5 s": [1_200] + [5] * 399,
    "20 of 20 s and 20 of 180 s in turn": ([20] * 20 + [180] * 20) * 5,
    "100 of 60 s, 100 of 600 s": [60] * 100 + [600] * 100,
}
DECISIONS: Final = 300
LARGE: Final = 100  # times as many chunks; what grows with the logarithm grows less than twofold
GROWTH_MAX: Final = 2.0
GROWTH_AMONG_JOBS_MAX: Final = 12.0  # of ten times as many; more of them are out of the processor's caches


@dataclass(frozen=True, slots=True, kw_only=True)
class Demands:
    """What is demanded of the heart in a world; None: nothing."""

    utilisation: float | None = None
    makespan: float | None = None  # as a multiple of the work spread evenly over the importers
    calls: float | None = None
    held: float | None = None
    full: float | None = 0  # 1016


def measure(run_: Run) -> list[Row]:
    """Run every world with every way to import; then see how long decisions take."""
    rows: list[Row] = []
    for draw, demands in _worlds():
        worlds = list(dict.fromkeys(draw(seed) for seed in range(1 if run_.trial else DRAWS)))
        run_.say(f"queue: {worlds[0].name} ...")
        rows += _rows(worlds, OURS, heart(Limits()), demands)
        for name, way in PEERS.items():
            rows += _rows(worlds[:1], name, way, Demands(full=None))
    run_.say("queue: decisions ...")
    return [*rows, _decisions_in_one_job(), _decisions_among_jobs(), _decisions_in_subscriptions()]


def _rows(worlds: Sequence[World], name: str, way: WayToImport, demands: Demands) -> Iterator[Row]:
    results = [run(world, way) for world in worlds]
    figures: tuple[tuple[str, Callable[[Result], float], float | None, float | None], ...] = (
        ("utilisation", lambda one: one.utilisation, demands.utilisation, None),
        ("x ideal time", lambda one: one.makespan_s / one.ideal_s, None, demands.makespan),
        ("calls per batch", lambda one: one.calls_per_batch, None, demands.calls),
        ("slots held", lambda one: one.held_mean, None, demands.held),
        ("queue full (1016)", lambda one: one.full, None, demands.full),
    )
    for figure, value, at_least, at_most in figures:
        yield Row(
            what=f"{worlds[0].name}: {name}",
            figure=figure,
            values=tuple(map(value, results)),
            at_least=at_least,
            at_most=at_most,
            each=at_least is not None or at_most is not None,
        )


# --- worlds ----------------------------------------------------------------------------------------------


def _worlds() -> Iterator[tuple[Callable[[int], World], Demands]]:
    calm = Demands(utilisation=0.99, makespan=1.01, calls=2.5, held=5)
    yield (lambda seed: _even("steady: 200 of 60 s", 60_000)), calm
    yield (lambda seed: _even("long: 200 of 600 s", 600_000)), calm
    for seconds in LENGTHS_S:
        yield partial(_steady, seconds), calm
    yield (lambda seed: _even("short: 200 of 5 s", 5_000)), Demands(utilisation=0.97, makespan=1.03)
    yield _jittered, Demands(utilisation=0.99, makespan=1.01, calls=5)
    yield (lambda seed: _even("one static list: 200 of 60 s", 60_000, static_list=1)), Demands(utilisation=0.45)
    for name in PACE_CHANGES:
        yield partial(_changing, name), Demands(utilisation=0.97, calls=5)
    yield (lambda seed: _foreign("others take 4 to 6 slots", seed, 4, 6)), Demands(utilisation=0.98, full=None)
    yield (lambda seed: _foreign("others take 4 to 9 slots", seed, 4, 9)), Demands(utilisation=0.85, full=None)
    yield (lambda seed: _foreign("others take 9 slots", seed, 9, 9)), Demands(utilisation=0.85, full=None)
    yield _mixed, Demands(utilisation=0.97)


def _job(
    durations_ms: Sequence[int],
    *,
    rows: Sequence[int] | None = None,
    job: int = 0,
    static_list: int | None = None,
    priority: Priority = Priority.NORMAL,
) -> tuple[Piece, ...]:
    return tuple(
        Piece(
            job=job,
            number=number,
            rows=10_000 if rows is None else rows[number],
            duration_ms=duration_ms,
            static_list=static_list,
            priority=priority,
        )
        for number, duration_ms in enumerate(durations_ms)
    )


def _even(name: str, duration_ms: int, *, static_list: int | None = None) -> World:
    return World(name=name, pieces=_job([duration_ms] * CHUNKS, static_list=static_list))


def _steady(seconds: int, _seed: int) -> World:
    return _even(f"steady: 200 of {seconds:,} s", 1_000 * seconds)


def _changing(name: str, _seed: int) -> World:
    durations_ms = [1_000 * duration_s for duration_s in PACE_CHANGES[name]]
    return World(name=f"pace changes: {name}", pieces=_job(durations_ms))


def _jittered(seed: int) -> World:
    rng = Random(f"jittered:{seed}")
    durations_ms = [round(60_000 * rng.uniform(0.2, 3)) for _ in range(CHUNKS)]
    return World(name="jittered: 200 of 12 to 180 s", pieces=_job(durations_ms))


def _foreign(name: str, seed: int, least: int, most: int) -> World:
    """Return a world in which others take slots for an hour at a time, with ten minutes in between."""
    rng, spans, begin_ms = Random(f"foreign:{seed}"), [], 60_000
    while begin_ms < 100 * HOUR_MS:
        spans.append((begin_ms, begin_ms + HOUR_MS, rng.randint(least, most)))
        begin_ms += HOUR_MS + HOUR_MS // 6
    return World(name=f"{name} for an hour at a time", pieces=_job([60_000] * CHUNKS), strangers=tuple(spans))


def _mixed(seed: int) -> World:
    """Return a world of 20 jobs of all sizes and priorities; rows take equally long, by a quarter more or less."""
    rng = Random(f"mixed:{seed}")
    pieces: list[Piece] = []
    for job in range(20):
        low, high = rng.choice(((500, 2_000), (4_000, 8_000), (10_000, 30_000)))
        rows = [rng.randint(low, high) for _ in range(rng.choice((1, 1, 2, 5, 20, 60)))]
        durations_ms = [round(10 * count * rng.uniform(0.8, 1.25)) for count in rows]
        pieces += _job(durations_ms, rows=rows, job=job, priority=rng.choice(list(Priority)))
    return World(name="mixed: 20 jobs of all sizes", pieces=tuple(pieces))


# --- decisions -------------------------------------------------------------------------------------------


def _decisions_in_one_job() -> Row:
    """Compare a decision of a job of 100,000 chunks with one of a job of 1,000."""
    few_s, many_s = (_decision_s([(JobId("a"), 1_000 * factor)]) for factor in (1, LARGE))
    note = f"{many_s * 1e6:,.0f} µs a decision, with sending, asking and collecting"
    return Row(
        what="a job of 100,000 chunks, not 1,000",
        figure="x time per decision",
        values=(many_s / few_s,),
        at_most=GROWTH_MAX,
        note=note,
    )


def _decisions_among_jobs() -> Row:
    """Compare a decision among 1,000 jobs of one subscription with one among 100: every job is looked at."""
    few_s, many_s = (_decision_s([(JobId(str(job)), 20) for job in range(jobs)]) for jobs in (100, 1_000))
    return Row(
        what="1,000 jobs of a subscription, not 100",
        figure="x time per decision",
        values=(many_s / few_s,),
        at_most=GROWTH_AMONG_JOBS_MAX,
        note=f"{many_s * 1e6:,.0f} µs a decision",
    )


def _decisions_in_subscriptions() -> Row:
    """Take turns among 1,000 subscriptions of 10 jobs, and compare with 10 of them."""
    jobs = [(JobId(str(number)), 20) for number in range(10)]
    few_s, many_s = (_decision_s(jobs, subscriptions=10 * factor) for factor in (1, LARGE))
    note = f"{many_s * 1e6:,.0f} µs a decision"
    return Row(
        what="1,000 subscriptions of 10 jobs, not 10",
        figure="x time per decision",
        values=(many_s / few_s,),
        at_most=GROWTH_MAX,
        note=note,
    )


def _decision_s(jobs: Sequence[tuple[JobId, int]], *, subscriptions: int = 1) -> float:
    """Return how long a decision takes on average while batches come and go."""
    space = m.Space(entity="person", key_field="email", compared=False)
    hearts = []
    for _ in range(subscriptions):
        scheduler = Scheduler(Limits(), body_bytes_max=9_500_000, rng=Random(1))
        first = 0
        for job, chunks in jobs:
            seen = tuple(
                m.ChunkSeen(id=ChunkId(first + number), source=0, first_row=number, rows=1, body_bytes=9_000_000)
                for number in range(chunks)
            )
            first += chunks
            scheduler.apply(m.JobArrived(job=job, space=space, chunks=seen), 0)
        hearts.append(scheduler)
    best_s = float("inf")
    now_ms = 0
    for _ in range(3):  # whatever else the machine does makes it slower, never faster
        decisions, begun_s = 0, time.perf_counter()
        while decisions < max(DECISIONS, subscriptions):
            for scheduler in hearts:
                decisions += 1
                for command in scheduler.decide(now_ms):
                    _answer(scheduler, command, now_ms)
            now_ms += 1_000
        best_s = min(best_s, (time.perf_counter() - begun_s) / decisions)
    return best_s


def _answer(scheduler: Scheduler, command: m.Command, now_ms: int) -> None:
    """Let every command succeed at once."""
    match command:
        case m.SubmitChunk(chunk=chunk):
            scheduler.apply(m.ChunkAccepted(chunk=chunk, batch_id=BatchId(chunk)), now_ms)
        case m.PollBatch(chunk=chunk):
            scheduler.apply(m.BatchPolled(chunk=chunk, status=BatchStatus.COMPLETE), now_ms)
        case m.CollectBatch(chunk=chunk):
            scheduler.apply(m.BatchCollected(chunk=chunk), now_ms)
