"""Ways to import through the queue: this project's heart, and what people write when they begin."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from random import Random

from bench.queue_world import ANSWER_MS, UPLOAD_MS, Actor, Piece, Remote
from orchestrator.model import BatchId, BatchStatus, ChunkId, JobId
from orchestrator.schedule import messages as m
from orchestrator.schedule.core import Scheduler
from orchestrator.schedule.state import Limits

WayToImport = Callable[[Remote], Sequence[Actor]]

WORK_MS = 50  # claims, collections and the like, which are no calls here


def heart(limits: Limits, ended: Callable[[int, Piece], None] = lambda now_ms, piece: None) -> WayToImport:
    """Return this project's schedule, with a driver that carries its commands out.

    ``ended`` is told when the outcome of a piece is known.
    """

    def actors(remote: Remote) -> Sequence[Actor]:
        return [_Shell(remote, limits, ended).run()]

    return actors


class _Shell:
    def __init__(self, remote: Remote, limits: Limits, ended: Callable[[int, Piece], None]) -> None:
        self.remote = remote
        self.ended = ended
        self.scheduler = Scheduler(limits, body_bytes_max=9_500_000, rng=Random("bench"))
        self.pieces: dict[ChunkId, Piece] = {}
        self.due: list[tuple[int, int, Callable[[], m.Fact]]] = []
        self.sequence = 0

    def run(self) -> Actor:
        """Drive all jobs to their end."""
        self._arrive()
        while self.scheduler.known.jobs:
            now_ms = self.remote.now_ms
            for item in sorted(item for item in self.due if item[0] <= now_ms):
                self.due.remove(item)
                self.scheduler.apply(item[2](), now_ms)
            wake_ms: int | None = None
            for command in self.scheduler.decide(now_ms):
                if isinstance(command, m.WaitUntil):
                    wake_ms = command.at_ms
                else:
                    self._carry_out(command, now_ms)
            times = [item[0] for item in self.due] + ([] if wake_ms is None else [wake_ms])
            if self.scheduler.known.jobs:
                yield min(times) - now_ms

    def _arrive(self) -> None:
        jobs: dict[int, list[m.ChunkSeen]] = {}
        firsts: dict[int, Piece] = {}
        for number, piece in enumerate(self.remote.world.pieces, start=1):
            self.pieces[ChunkId(number)] = piece
            seen = m.ChunkSeen(
                id=ChunkId(number), source=0, first_row=piece.number * 1_000_000, rows=piece.rows, body_bytes=9_000_000
            )
            jobs.setdefault(piece.job, []).append(seen)
            firsts[piece.job] = piece
        for job, chunks in jobs.items():
            first = firsts[job]
            label = None if first.static_list is None else f"list:{first.static_list}"
            space = m.Space(entity="person", key_field="email", exclusive=label, compared=False)
            fact = m.JobArrived(job=JobId(str(job)), space=space, chunks=tuple(chunks), priority=first.priority)
            self.scheduler.apply(fact, self.remote.now_ms)

    def _later(self, after_ms: int, fact: Callable[[], m.Fact]) -> None:
        self.sequence += 1
        self.due.append((self.remote.now_ms + after_ms, self.sequence, fact))

    def _carry_out(self, command: m.Command, now_ms: int) -> None:
        match command:
            case m.SubmitChunk(chunk=chunk):
                self._later(UPLOAD_MS, lambda: self._sent(chunk))
            case m.PollBatch(chunk=chunk, batch_id=batch_id):
                self._later(ANSWER_MS, lambda: self._asked(chunk, batch_id))
            case m.CollectBatch(chunk=chunk):
                self._later(WORK_MS, lambda: self._collected(chunk))
            case m.ComputeClaims(chunk=chunk):
                self._later(WORK_MS, lambda: m.ClaimsComputed(chunk=chunk, conflicts=frozenset()))
            case m.FinishJob(job=job):
                self._later(WORK_MS, lambda: m.JobEnded(job=job))
            case m.ReleaseClaims():
                pass
            case _:
                raise AssertionError(command)

    def _sent(self, chunk: ChunkId) -> m.Fact:
        before = self.remote.busy
        number = self.remote.create(self.pieces[chunk])
        if number is not None:
            return m.ChunkAccepted(chunk=chunk, batch_id=BatchId(number))
        cause = m.Cause.QUEUE_FULL if before == self.remote.busy else m.Cause.LIST_BUSY
        return m.ChunkDeferred(chunk=chunk, cause=cause)

    def _collected(self, chunk: ChunkId) -> m.Fact:
        self.ended(self.remote.now_ms, self.pieces[chunk])
        return m.BatchCollected(chunk=chunk)

    def _asked(self, chunk: ChunkId, batch_id: BatchId) -> m.Fact:
        return m.BatchPolled(chunk=chunk, status=BatchStatus(self.remote.status(batch_id)))


def ten_at_a_time(remote: Remote) -> Sequence[Actor]:
    """Return ten workers, as with ``Semaphore(10)``: upload, back off blindly when the queue is full, poll every 5 s."""
    waiting = deque(remote.world.pieces)

    def worker() -> Actor:
        while waiting:
            piece = waiting.popleft()
            wait_ms = 1_000
            while True:
                yield UPLOAD_MS
                number = remote.create(piece)
                if number is not None:
                    break
                yield wait_ms
                wait_ms = min(300_000, wait_ms * 2)
            while remote.status(number) != "Complete":
                yield 5_000

    return [worker() for _ in range(10)]


def one_at_a_time(remote: Remote) -> Sequence[Actor]:
    """Return one worker that uploads, polls every 5 s until the end, and only then goes on."""

    def worker() -> Actor:
        for piece in remote.world.pieces:
            wait_ms = 1_000
            while True:
                yield UPLOAD_MS
                number = remote.create(piece)
                if number is not None:
                    break
                yield wait_ms
                wait_ms = min(300_000, wait_ms * 2)
            while remote.status(number) != "Complete":
                yield 5_000

    return [worker()]
