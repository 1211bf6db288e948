"""A world for the heart: a driver's loop without asyncio, a journal in memory, faults, crashes, virtual time.

Everything is drawn from one seed, so a seed is a replay.  What must always hold is checked where it can break
and named: ``claims``, ``order`` and ``once`` at the remote, ``limits``, ``slow-start``, ``each-once``, ``wake``,
``heads`` and ``busy`` at every decision, ``no-loss`` and ``convergence`` at the end.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import replace
from random import Random

from orchestrator.model import BatchId, BatchStatus, ChunkId, JobId, Phase
from orchestrator.schedule import messages as m
from orchestrator.schedule.core import Scheduler
from orchestrator.schedule.messages import Cause, Stop
from tests.unit.schedule.invariants import check_end, check_step
from tests.unit.schedule.remote import Remote, check
from tests.unit.schedule.setting import (
    DECISIONS_MAX,
    HELD,
    HOUR_MS,
    MINUTE_MS,
    START_MS,
    TIME_MAX_MS,
    UPLOAD_OVERHEAD_BYTES,
    Entry,
    Plan,
    SimJob,
)


class World:
    """One run of one plan."""

    def __init__(self, plan: Plan, seed: int) -> None:
        self.plan = plan
        self.rng = Random(f"{seed}:world")
        self.seed = seed
        self.now_ms = START_MS
        self.remote = Remote()
        self.journal: dict[ChunkId, Entry] = {}
        self.held_claims: dict[ChunkId, tuple[str, str, set[int]]] = {}
        self.events: list[tuple[int, int, bool, Callable[[], None]]] = []
        self.sequence = 0
        self.uploading = 0
        self.working: set[tuple[str, ChunkId]] = set()
        self.troubled_until_ms = 0
        self.decisions = 0
        self.crashes = 0
        self.broken: set[tuple[JobId, int]] = set()  # sources that are no longer what was planned
        self.trace: list[tuple[int, str]] = []
        self.scheduler = self._new_scheduler()
        for job in plan.jobs:
            self._plan_chunks(job)
            self.at(job.arrives_ms, lambda job=job: self._arrive(job), remote=True)
            if job.watched_until_ms is not None:
                self.at(job.watched_until_ms, lambda job=job: self._want(job), remote=True)

    @property
    def denied(self) -> bool:
        return self.scheduler.known.denied

    # --- the loop ----------------------------------------------------------------------------------------

    def run(self) -> None:
        """Run to the end of all jobs, checking at every step."""
        while not all(job.ended for job in self.plan.jobs):
            self.decisions += 1
            elapsed_ms = self.now_ms - START_MS
            bounded = self.decisions < DECISIONS_MAX and elapsed_ms < TIME_MAX_MS
            check(bounded, "convergence", f"{self.decisions} decisions, {elapsed_ms} ms")
            if self.chance(self.plan.faults.crash):
                self._crash()
            self._foreign_import()
            wake_ms = self._decide()
            check_step(self)
            due_ms = self.events[0][0] if self.events else None
            check(not (wake_ms is None and due_ms is None), "convergence", "deadlock: nothing is under way")
            self._pass_time(min(t for t in (wake_ms, due_ms) if t is not None))
        self.remote.advance(self.now_ms + TIME_MAX_MS)
        check_end(self)

    def _pass_time(self, to_ms: int) -> None:
        while self.events and self.events[0][0] <= to_ms:
            due_ms, _, _, action = heapq.heappop(self.events)
            self.now_ms = max(self.now_ms, due_ms)
            self.remote.advance(self.now_ms)
            action()
        self.now_ms = max(self.now_ms, to_ms)
        self.remote.advance(self.now_ms)

    def at(self, at_ms: int, action: Callable[[], None], *, remote: bool = False) -> None:
        """Let something happen later; what is not ``remote`` dies with the process."""
        self.sequence += 1
        heapq.heappush(self.events, (max(at_ms, self.now_ms), self.sequence, remote, action))

    def tell(self, fact: m.Fact) -> None:
        self.trace.append((self.now_ms, repr(fact)))
        self.scheduler.apply(fact, self.now_ms)

    def chance(self, probability: float) -> bool:
        return self.now_ms < self.plan.healed_ms and self.rng.random() < probability

    def _decide(self) -> int | None:
        commands = self.scheduler.decide(self.now_ms)
        again = self.scheduler.decide(self.now_ms)
        check(all(isinstance(c, m.WaitUntil) for c in again), "each-once", again)
        check(again == commands[-len(again) :] if again else True, "each-once", (commands, again))
        wake_ms = None
        for command in commands:
            self.trace.append((self.now_ms, repr(command)))
            if isinstance(command, m.WaitUntil):
                check(command is commands[-1] and command.at_ms > self.now_ms, "wake", command)
                wake_ms = command.at_ms
            else:
                self._carry_out(command)
        return wake_ms

    def _new_scheduler(self) -> Scheduler:
        plan = self.plan
        return Scheduler(plan.limits, body_bytes_max=plan.body_bytes_max, rng=Random(f"{self.seed}:jitter"))

    def _crash(self) -> None:
        """Lose everything but the journal and what is on its way to the remote."""
        self.crashes += 1
        self.trace.append((self.now_ms, "CRASH"))
        self.events = [event for event in self.events if event[2]]
        heapq.heapify(self.events)
        self.held_claims.clear()
        self.working.clear()
        self.uploading = 0
        self._note_trouble()
        self.scheduler = self._new_scheduler()
        self._pass_time(self.now_ms + self.rng.choice((0, 1, 1_000, HOUR_MS)))
        for job in self.plan.jobs:
            if not job.ended and job.arrives_ms <= self.now_ms:
                self._arrive(job)

    def _foreign_import(self) -> None:
        if self.chance(self.plan.faults.foreign):
            for _ in range(self.rng.randint(1, 6)):
                if not self.remote.is_full():
                    self.remote.accept(self.now_ms, rows=(), duration_ms=self._import_ms())

    def _note_trouble(self, until_ms: int = 0) -> None:
        """Excuse idleness for as long as a refusal may make the heart wait."""
        waits_ms = max(self.now_ms, until_ms) + 2 * self.plan.limits.backoff_max_ms + MINUTE_MS
        self.troubled_until_ms = max(self.troubled_until_ms, waits_ms)

    def _import_ms(self) -> int:
        return self.rng.randint(*self.plan.import_ms)

    # --- jobs and chunks ---------------------------------------------------------------------------------

    def _plan_chunks(self, job: SimJob) -> None:
        for source, cells in enumerate(job.sources):
            for first in range(0, len(cells), self.plan.chunk_rows):
                self._add_chunk(job, source, first, min(self.plan.chunk_rows, len(cells) - first))

    def _add_chunk(self, job: SimJob, source: int, first: int, rows: int, depth: int = 0) -> m.ChunkSeen:
        body = UPLOAD_OVERHEAD_BYTES + sum(job.row_bytes[source][first : first + rows])
        chunk = ChunkId(len(self.journal) + 1)
        seen = m.ChunkSeen(id=chunk, source=source, first_row=first, rows=rows, body_bytes=body, depth=depth)
        self.journal[chunk] = Entry(seen=seen, job=job)
        return seen

    def _write(self, chunk: ChunkId, **values: object) -> None:
        entry = self.journal[chunk]
        entry.seen = replace(entry.seen, **values)  # type: ignore[arg-type]

    def chunks_of(self, job: SimJob) -> list[Entry]:
        return [entry for entry in self.journal.values() if entry.job is job]

    def _arrive(self, job: SimJob, sends: bool | None = None) -> None:
        if sends is None:
            sends = job.watched_until_ms is None or job.watched_until_ms <= self.now_ms
        entries = self.chunks_of(job)
        for entry in entries:
            entry.lost += entry.seen.phase is Phase.SUBMITTING
        seen = [entry.seen for entry in entries]
        self.rng.shuffle(seen)
        self.tell(job.arrived(seen, sends=sends))
        for entry in entries:
            if entry.seen.phase is Phase.SUBMITTING:  # as a driver notes a submission that died with a process
                tracked = self.scheduler.known.chunk(entry.seen.id)
                self._write(entry.seen.id, phase=Phase.UNKNOWN, hold_until_ms=tracked.hold_until_ms)

    def _want(self, job: SimJob) -> None:
        if job.ended:
            return
        if job.id in self.scheduler.known.jobs:
            self.tell(job.arrived((entry.seen for entry in self.chunks_of(job)), sends=True))
        elif job.arrives_ms <= self.now_ms:
            self._arrive(job, sends=True)

    # --- commands ----------------------------------------------------------------------------------------

    def _carry_out(self, command: m.Command) -> None:
        match command:
            case m.ComputeClaims(chunk=chunk):
                self._start("claims", chunk, lambda: self._claims_computed(chunk), (10, 2_000))
            case m.ReleaseClaims(chunk=chunk):
                self.held_claims.pop(chunk, None)
            case m.SubmitChunk(chunk=chunk):
                self._submit(chunk)
            case m.SeekBatch(chunk=chunk):
                self._start("seek", chunk, lambda: self._sought(chunk), (50, 60_000))
            case m.PollBatch(chunk=chunk, batch_id=batch_id):
                heads = [e for e in self.held() if e.seen.phase is Phase.SUBMITTED][: self.plan.limits.importers]
                check(chunk in [e.seen.id for e in heads], "heads", chunk)
                self._start("poll", chunk, lambda: self._polled(chunk, batch_id), (50, 3_000))
            case m.CollectBatch(chunk=chunk):
                self._start("collect", chunk, lambda: self._collected(chunk), (100, 20_000))
            case m.SplitChunk():
                self._start("split", command.chunk, lambda: self._split(command), (100, 5_000))
            case m.RefuseChunk(chunk=chunk):
                self._start("refuse", chunk, lambda: self._refused(chunk), (10, 1_000))
            case m.FinishJob(job=job, stops=stops):
                self.at(self.now_ms + self.rng.randint(1, 500), lambda: self._finished(job, stops))

    def _start(self, kind: str, chunk: ChunkId, action: Callable[[], None], takes_ms: tuple[int, int]) -> None:
        check((kind, chunk) not in self.working, "each-once", (kind, chunk))
        self.working.add((kind, chunk))

        def done() -> None:
            self.working.discard((kind, chunk))
            action()

        self.at(self.now_ms + self.rng.randint(*takes_ms), done)

    def held(self) -> list[Entry]:
        held = [e for e in self.journal.values() if e.seen.phase in HELD and e.job.id in self.scheduler.known.jobs]
        return sorted(held, key=lambda e: (e.seen.submitted_ms or 0, e.seen.id))

    def _claims_computed(self, chunk: ChunkId) -> None:
        entry = self.journal[chunk]
        if entry.seen.phase is Phase.READY and self._is_broken(entry):
            self.tell(m.SourceStopped(chunk=chunk, reason=Stop.SOURCE_CHANGED))
            return
        space = (entry.job.space.entity, entry.job.space.key_field)
        keys = entry.keys
        conflicts = {c for c, (*where, theirs) in self.held_claims.items() if tuple(where) == space and keys & theirs}
        self.held_claims[chunk] = (*space, keys)
        self.tell(m.ClaimsComputed(chunk=chunk, conflicts=frozenset(conflicts)))

    def _is_broken(self, entry: Entry) -> bool:
        source = (entry.job.id, entry.seen.source)
        if self.chance(self.plan.faults.source_changed):
            self.broken.add(source)
        return source in self.broken

    # --- submission --------------------------------------------------------------------------------------

    def _submit(self, chunk: ChunkId) -> None:
        self.uploading += 1
        entry = self.journal[chunk]
        check(self.uploading == 1, "limits", "two uploads at once")
        if entry.seen.phase is Phase.READY:
            sent = sum(e.seen.phase is Phase.SUBMITTED for e in self.held())
            check(sent < self.plan.limits.slots, "limits", f"{sent} batches at Marketo")
            depth = self.plan.limits.queue_depth
            check(depth is None or sent < depth, "limits", f"{sent} batches at Marketo")
            self._check_earlier(entry)
            self._check_slow_start(entry)
        self._write(chunk, phase=Phase.SUBMITTING, submitted_ms=self.now_ms)
        arrives_ms = self.now_ms + self.rng.randint(*self.plan.upload_ms)
        if self.chance(self.plan.faults.not_delivered):
            self._answer(arrives_ms, m.ChunkDeferred(chunk=chunk, cause=Cause.TRANSIENT), phase=self._unsent(chunk))
        elif self._is_broken(entry):
            fact = m.SourceStopped(chunk=chunk, reason=Stop.SOURCE_CHANGED)
            self._answer(arrives_ms, fact, phase=self._unsent(chunk))
        else:
            sender = self.scheduler
            entry.on_its_way = True
            self.at(arrives_ms, lambda: self._arrived(chunk, sender), remote=True)

    def _check_earlier(self, entry: Entry) -> None:
        """An unsent row must not be overtaken by a later one with its key, nor share one with what is held."""
        if not entry.job.space.compared:
            return
        for other in self.chunks_of(entry.job):
            earlier = (other.seen.source, other.seen.first_row) < (entry.seen.source, entry.seen.first_row)
            waits = other.seen.phase is Phase.READY and earlier and self.is_alive(other)
            check(not (waits and other.keys & entry.keys), "order", f"{entry.seen.id} overtakes {other.seen.id}")

    def _check_slow_start(self, entry: Entry) -> None:
        """Of a job that is like none before it, one batch must be complete before there are two."""
        others = [e for e in self.chunks_of(entry.job) if e is not entry]
        proven = entry.job.trusted or any(e.seen.phase in (Phase.COLLECTING, Phase.DONE) for e in others)
        held = [e for e in others if e.seen.phase in HELD and not self.scheduler.known.chunk(e.seen.id).let_go]
        check(proven or not held, "slow-start", f"{entry.seen.id} is sent beside {[e.seen.id for e in held]}")

    def is_alive(self, entry: Entry) -> bool:
        job = self.scheduler.known.jobs.get(entry.job.id)
        return job is not None and entry.seen.source not in job.stopped_sources

    def _unsent(self, chunk: ChunkId) -> Phase:
        return self.scheduler.known.chunk(chunk).unsent_phase

    def _answer(self, at_ms: int, fact: m.Fact, **values: object) -> None:
        def answered() -> None:
            self.uploading -= 1
            chunk = fact.chunk  # type: ignore[union-attr]
            self._write(chunk, **values)
            if not isinstance(fact, m.ChunkAccepted):
                self._note_trouble((fact.retry_at_ms or 0) if isinstance(fact, m.ChunkDeferred) else 0)
            self.tell(fact)

        self.at(at_ms, answered)

    def _arrived(self, chunk: ChunkId, sender: Scheduler) -> None:
        """The upload is there whole: Marketo says yes or no, if there is still somebody to hear it."""
        alive = sender is self.scheduler
        entry = self.journal[chunk]
        entry.on_its_way = False
        now_ms, unsent = self.now_ms, self._unsent(chunk) if alive else Phase.UNKNOWN
        soon_ms = now_ms + self.rng.randint(20, 500)
        refusal = self._refusal(entry)
        if refusal is not None:
            if alive:
                phase = Phase.READY if isinstance(refusal, m.ChunkTooLarge) else unsent
                self._answer(soon_ms, refusal, phase=phase)
            return
        entry.last_batch = None
        if not self.chance(self.plan.faults.lost_before):
            batch_id = entry.last_batch = self._accept(entry)
            if not self.chance(self.plan.faults.lost_after):
                if alive:
                    accepted = m.ChunkAccepted(chunk=chunk, batch_id=batch_id)
                    values = {"phase": Phase.SUBMITTED, "batch_id": batch_id, "hold_until_ms": None}
                    self._answer(soon_ms, accepted, **values)
                return
        if alive:
            entry.lost += 1
            lost_ms = now_ms + self.rng.randint(0, self.plan.limits.http_timeout_ms - self.plan.upload_ms[1])
            hold_until_ms = self.scheduler.known.doubt.hold_until_ms(lost_ms)
            fact = m.ChunkDeliveryLost(chunk=chunk)
            self._answer(lost_ms, fact, phase=Phase.UNKNOWN, hold_until_ms=hold_until_ms)

    def _refusal(self, entry: Entry) -> m.Fact | None:
        chunk, faults = entry.seen.id, self.plan.faults
        if entry.seen.body_bytes > self.plan.upload_bytes_max:
            return m.ChunkTooLarge(chunk=chunk, body_bytes=entry.seen.body_bytes)
        if self.chance(faults.access_lost):
            return m.AccessLost(chunk=chunk)
        if self.chance(faults.limited):
            cause = self.rng.choice((Cause.RATE_LIMITED, Cause.CONCURRENCY_LIMITED, Cause.QUOTA_EXHAUSTED))
            later = self.now_ms + self.rng.randint(-MINUTE_MS, 6 * HOUR_MS)
            return m.ChunkDeferred(
                chunk=chunk, cause=cause, retry_at_ms=later if cause is Cause.QUOTA_EXHAUSTED else None
            )
        if self.remote.is_full():
            return m.ChunkDeferred(chunk=chunk, cause=Cause.QUEUE_FULL)
        label = entry.job.space.exclusive
        if self.remote.list_is_busy(label) or (label is not None and self.chance(faults.list_busy)):
            return m.ChunkDeferred(chunk=chunk, cause=Cause.LIST_BUSY)
        return None

    def _accept(self, entry: Entry) -> BatchId:
        seen, job = entry.seen, entry.job
        rows = tuple((job.sources[seen.source][row], (job.id, seen.source, row)) for row in entry.rows)
        poisoned = any((job.id, seen.source, row) in self.plan.poison for row in entry.rows)
        batch_id = self.remote.accept(
            self.now_ms, rows=rows, duration_ms=self._import_ms(), chunk=seen.id, space=job.space, poisoned=poisoned
        )
        allowed = 1 + entry.lost + seen.failures + (seen.phase is Phase.UNKNOWN)
        check(self.remote.accepted[seen.id] <= allowed, "once", f"chunk {seen.id}, {allowed} allowed")
        return batch_id

    def _sought(self, chunk: ChunkId) -> None:
        """Tell which batch a chunk in doubt became, if it is finished and chance lets it be found."""
        entry = self.journal[chunk]
        batch = None if entry.last_batch is None else self.remote.batches[entry.last_batch]
        if entry.on_its_way or (batch is not None and batch.unfinished):
            again_ms = self.now_ms + self.rng.randint(1_000, 10 * MINUTE_MS)
            self.tell(m.BatchSought(chunk=chunk, chunks=(chunk,), again_ms=again_ms))
        elif batch is None or self.rng.random() < 0.3:
            self.tell(m.BatchSought(chunk=chunk, chunks=(chunk,)))
        else:
            self._write(chunk, phase=Phase.SUBMITTED, batch_id=batch.id, hold_until_ms=None)
            self.tell(m.BatchSought(chunk=chunk, chunks=(chunk,), adopted=((chunk, batch.id),)))

    # --- batches -----------------------------------------------------------------------------------------

    def _call_failed(self, chunk: ChunkId) -> bool:
        if self.chance(self.plan.faults.access_lost):
            self.tell(m.AccessLost(chunk=chunk))
            return True
        if not self.chance(self.plan.faults.call_failed):
            return False
        cause = self.rng.choice((Cause.TRANSIENT, Cause.RATE_LIMITED, Cause.QUOTA_EXHAUSTED, Cause.CONCURRENCY_LIMITED))
        retry_at_ms = self.now_ms + self.rng.randint(0, HOUR_MS) if cause is Cause.QUOTA_EXHAUSTED else None
        self._note_trouble(retry_at_ms or 0)
        self.tell(m.CallFailed(chunk=chunk, cause=cause, retry_at_ms=retry_at_ms))
        return True

    def _polled(self, chunk: ChunkId, batch_id: BatchId) -> None:
        if self._call_failed(chunk):
            return
        batch = self.remote.batches[batch_id]
        if self.chance(self.plan.faults.vague_status):
            self.tell(m.BatchPolled(chunk=chunk, status=None))
        elif not batch.unfinished and self.chance(self.plan.faults.gone):
            self.journal[chunk].gone = True
            self._write(chunk, phase=Phase.DONE)
            self.tell(m.BatchGone(chunk=chunk))
        else:
            if batch.status is BatchStatus.COMPLETE:
                self._write(chunk, phase=Phase.COLLECTING)
            elif batch.status is BatchStatus.FAILED:
                failures = self.journal[chunk].seen.failures + 1
                self._write(chunk, phase=Phase.READY, batch_id=None, failures=failures)
            self.tell(m.BatchPolled(chunk=chunk, status=batch.status))

    def _collected(self, chunk: ChunkId) -> None:
        if not self._call_failed(chunk):
            self._write(chunk, phase=Phase.DONE)
            self.tell(m.BatchCollected(chunk=chunk))

    def _split(self, command: m.SplitChunk) -> None:
        entry = self.journal[command.chunk]
        if self._is_broken(entry):
            self.tell(m.SourceStopped(chunk=command.chunk, reason=Stop.SOURCE_CHANGED))
            return
        sizes = entry.job.row_bytes[entry.seen.source]
        rows_max, bytes_max = command.rows_max or entry.seen.rows, command.body_bytes_max
        if bytes_max is not None and any(UPLOAD_OVERHEAD_BYTES + sizes[row] > bytes_max for row in entry.rows):
            rows_max, bytes_max = -(-entry.seen.rows // 2), None
        runs: list[list[int]] = []
        room = 0
        for row in entry.rows:
            if not runs or len(runs[-1]) >= rows_max or (bytes_max is not None and sizes[row] > room):
                runs.append([])
                room = (bytes_max or 0) - UPLOAD_OVERHEAD_BYTES
            runs[-1].append(row)
            room -= sizes[row]
        check(len(runs) > 1, "convergence", f"a split that changes nothing: {command}")
        depth = entry.seen.depth + 1
        parts = [self._add_chunk(entry.job, entry.seen.source, run[0], len(run), depth) for run in runs]
        self._write(command.chunk, phase=Phase.SPLIT)
        self.tell(m.ChunkParted(chunk=command.chunk, parts=tuple(parts)))

    def _refused(self, chunk: ChunkId) -> None:
        entry = self.journal[chunk]
        poisoned = any((entry.job.id, entry.seen.source, row) in self.plan.poison for row in entry.rows)
        small = self.plan.limits.isolate_depth_max <= entry.seen.depth or entry.seen.rows == 1
        too_large = entry.seen.body_bytes > min(self.plan.upload_bytes_max, self.plan.body_bytes_max)
        too_large |= entry.seen.body_bytes > self.scheduler.known.cap.bytes_max
        check(small and (poisoned or too_large), "no-loss", f"chunk {chunk} refused without need")
        self._write(chunk, phase=Phase.REFUSED)
        self.tell(m.ChunkGivenUp(chunk=chunk))

    def _finished(self, job_id: JobId, stops: tuple[Stop, ...]) -> None:
        job = next(job for job in self.plan.jobs if job.id == job_id)
        self.tell(m.JobEnded(job=job_id))
        job.stops = stops
        temporary = Stop.GAVE_UP in stops or Stop.DENIED in stops
        if not temporary:
            job.ended = True
        else:  # somebody mends the credentials, or looks what was wrong, and resumes
            if Stop.DENIED not in stops and self.rng.random() < 0.5:
                self._arrive(job, sends=False)  # what is under way is watched meanwhile
            self.at(self.now_ms + self.rng.randint(0, HOUR_MS), lambda: self._want(job), remote=True)
