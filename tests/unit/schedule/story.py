"""A story told to the heart step by step, with everything it remembers laid open after each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from orchestrator.model import BatchId, BatchStatus, ChunkId, JobId, OnUnknown, Phase
from orchestrator.schedule import messages as m
from orchestrator.schedule.core import Scheduler
from orchestrator.schedule.state import Limits

EMAIL = m.Space(entity="person", key_field="email")
PROMISED = m.Space(entity="person", key_field="email", compared=False)
CAP = 9_500_000


class Even(Random):
    """Jitter without chance: always the middle."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


def chunk(number: int, *, row: int | None = None, **values: Any) -> m.ChunkSeen:
    """Return a chunk of 100 rows and 5 MB; its place follows from its number unless told."""
    defaults = {"source": 0, "first_row": number * 100 if row is None else row, "rows": 100, "body_bytes": 5_000_000}
    return m.ChunkSeen(id=ChunkId(number), **(defaults | values))


class Story:
    """A scheduler with a clock that starts at 0 and moves when told."""

    def __init__(self, **limits: Any) -> None:
        self.now_ms = 0
        self.heart = Scheduler(Limits(**limits), body_bytes_max=CAP, rng=Even())

    def job(
        self, *chunks: m.ChunkSeen, name: str = "a", space: m.Space = PROMISED, sends: bool = True, **options: Any
    ) -> None:
        told = {"on_unknown": OnUnknown.RESUBMIT} | options
        self.tell(m.JobArrived(job=JobId(name), space=space, chunks=chunks, sends=sends, **told))

    def tell(self, *facts: m.Fact | m.BatchesTook) -> None:
        for fact in facts:
            self.heart.apply(fact, self.now_ms)

    def decide(self, *, at_ms: int | None = None) -> list[str]:
        """Return what is to be done, each command as a short text; time moves on first if told."""
        if at_ms is not None:
            assert at_ms >= self.now_ms
            self.now_ms = at_ms
        return [_text(command) for command in self.heart.decide(self.now_ms)]

    def state(self) -> dict[str, Any]:
        """Return everything that is not at its default: chunks by phase, the lane, waits, stops."""
        known = self.heart.known
        state: dict[str, Any] = {}
        for job in known.jobs.values():
            state[job.id] = {"ready": [c.id for c in job.ready]}
            for c in job.moving:
                state[job.id].setdefault(c.phase.value, []).append(c.id)
            details = {
                "stops": [stop.value for stop in job.stops],
                "failures": {c.id: c.failures for c in [*job.ready, *job.moving] if c.failures},
                "conflicts": {c.id: sorted(c.conflicts) for c in [*job.ready, *job.moving] if c.conflicts},
                "let_go": [c.id for c in job.moving if c.let_go],
                "stopped_sources": job.stopped_sources,
                "completed": job.completed,
            }
            state[job.id].update({name: value for name, value in details.items() if value})
        lane = known.lane
        facts = {
            "busy": lane.busy,
            "ceiling": None if lane.ceiling == known.limits.slots else lane.ceiling,
            "crowded": lane.crowded or None,
            "one_more": lane.full.ready_ms if lane.full.ready_ms > self.now_ms else None,
            "lane_opens": lane.gate.ready_ms if lane.gate.ready_ms > self.now_ms else None,
            "calls_open": known.calls.ready_ms if known.calls.ready_ms > self.now_ms else None,
            "cap": None if known.cap.bytes_max == CAP else known.cap.bytes_max,
            "claiming": known.claiming,
            "gives_up": known.gives_up_ms,
            "held": [c.id for c in known.in_flight],
        }
        return state | {name: value for name, value in facts.items() if value not in (None, [])}

    # --- what happens often ------------------------------------------------------------------------------

    def accepted(self, number: int) -> None:
        self.tell(m.ChunkAccepted(chunk=ChunkId(number), batch_id=BatchId(1000 + number)))

    def deferred(self, number: int, cause: m.Cause, retry_at_ms: int | None = None) -> None:
        self.tell(m.ChunkDeferred(chunk=ChunkId(number), cause=cause, retry_at_ms=retry_at_ms))

    def lost(self, number: int) -> None:
        self.tell(m.ChunkDeliveryLost(chunk=ChunkId(number)))

    def claims(self, number: int, *conflicts: int) -> None:
        self.tell(m.ClaimsComputed(chunk=ChunkId(number), conflicts=frozenset(map(ChunkId, conflicts))))

    def compute(self, **conflicts: tuple[int, ...]) -> None:
        """Answer whatever claims are asked for until none are; ``c3=(1,)``: chunk 3 shares a key with chunk 1."""
        self.decide()
        while (number := self.heart.known.claiming) is not None:
            self.claims(number, *conflicts.get(f"c{number}", ()))
            self.decide()

    def polled(self, number: int, status: BatchStatus | None, *, failed: int = 0) -> None:
        self.tell(m.BatchPolled(chunk=ChunkId(number), status=status, failed=failed))

    def collected(self, number: int) -> None:
        self.tell(m.BatchCollected(chunk=ChunkId(number)))

    def stopped(self, number: int, reason: m.Stop) -> None:
        self.tell(m.SourceStopped(chunk=ChunkId(number), reason=reason))

    def parted(self, number: int, *parts: m.ChunkSeen) -> None:
        self.tell(m.ChunkParted(chunk=ChunkId(number), parts=parts))

    def send(self, number: int) -> None:
        """Let a chunk be decided and accepted at the same time."""
        assert f"submit {number}" in self.decide()
        self.accepted(number)

    def finish(self, number: int, *, at_ms: int, failed: int = 0) -> list[str]:
        """Let a batch be polled, found complete and collected at one time; return what was done besides."""
        assert f"poll {number}" in self.decide(at_ms=at_ms)
        self.polled(number, BatchStatus.COMPLETE, failed=failed)
        commands = self.decide()
        commands.remove(f"collect {number}")
        self.collected(number)
        return commands

    def phase(self, number: int) -> Phase:
        return self.heart.known.chunk(ChunkId(number)).phase


def play(
    story: Story, fails: Callable[[m.ChunkSeen], bool], *chunks: m.ChunkSeen
) -> tuple[int, list[m.ChunkSeen], list[str]]:
    """Let Marketo fail some batches as a whole until the job ends; return how many, what is given up, and the end."""
    seen, failed, given_up = {one.id: one for one in chunks}, 0, []
    while story.now_ms < 5_000_000:
        for command in story.heart.decide(story.now_ms):
            match command:
                case m.SubmitChunk():
                    story.accepted(command.chunk)
                case m.PollBatch():
                    bad = fails(seen[command.chunk])
                    failed += bad
                    story.polled(command.chunk, BatchStatus.FAILED if bad else BatchStatus.COMPLETE)
                case m.CollectBatch():
                    story.collected(command.chunk)
                case m.SplitChunk(rows_max=rows_max):
                    whole, number = seen[command.chunk], max(seen) + 1
                    rows = (rows_max, whole.rows - rows_max)
                    parts = [
                        replace(whole, id=ChunkId(number + at), rows=rows[at], depth=whole.depth + 1, failures=0,
                                first_row=whole.first_row + at * rows_max)
                        for at in range(2)
                    ]  # fmt: skip
                    seen.update({part.id: part for part in parts})
                    story.parted(command.chunk, *parts)
                case m.RefuseChunk():
                    given_up.append(seen[command.chunk])
                    story.tell(m.ChunkGivenUp(chunk=command.chunk))
                case m.FinishJob():
                    return failed, given_up, [stop.value for stop in command.stops]
        story.now_ms += 1_000
    raise AssertionError("it never ends")


def _text(command: m.Command) -> str:
    match command:
        case m.ComputeClaims(chunk=number):
            return f"claims {number}"
        case m.ReleaseClaims(chunk=number):
            return f"release {number}"
        case m.SubmitChunk(chunk=number, waited_for=None):
            return f"submit {number}"
        case m.SubmitChunk(chunk=number, waited_for=cause, waited_ms=waited_ms):
            return f"submit {number} after {waited_ms} of {cause}"
        case m.SeekBatch(chunk=number):
            return f"seek {number}"
        case m.PollBatch(chunk=number, batch_id=batch_id):
            assert batch_id == 1000 + number
            return f"poll {number}"
        case m.CollectBatch(chunk=number):
            return f"collect {number}"
        case m.SplitChunk(chunk=number, body_bytes_max=bytes_max, rows_max=rows_max):
            return f"split {number} to {f'{rows_max} rows' if bytes_max is None else f'{bytes_max} bytes'}"
        case m.RefuseChunk(chunk=number):
            return f"refuse {number}"
        case m.FinishJob(job=job, stops=stops):
            return " ".join([f"finish {job}", *stops])
        case m.WaitUntil(at_ms=at_ms):
            return f"wait {at_ms}"
