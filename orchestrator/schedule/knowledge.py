"""What is known of a subscription, and what each fact means beside the step of its chunk in `state.STEPS`."""

from __future__ import annotations

from random import Random

from orchestrator.model import BatchStatus, ChunkId, JobId, Phase
from orchestrator.schedule import messages as m
from orchestrator.schedule.calling import Calls
from orchestrator.schedule.cap import UploadCap
from orchestrator.schedule.conflicts import Conflicts
from orchestrator.schedule.doubt import Doubt
from orchestrator.schedule.lane import Lane
from orchestrator.schedule.line import Line
from orchestrator.schedule.messages import Cause, Stop
from orchestrator.schedule.seeking import Seeking, is_awaited
from orchestrator.schedule.state import (
    FINAL,
    ImpossibleFact,
    Limits,
    TrackedChunk,
    TrackedJob,
    answer_of,
    backoff_of,
    make_chunk,
    make_job,
    steps_of,
)
from orchestrator.schedule.waits import Gate, Patience

FAILURES_IN_A_ROW_MAX = 2  # whole batches failed before any completed: stop the job
FAILURES_IN_VAIN_MAX = 20  # the same after some had completed, while nothing is left that has not failed
QUEUED_ALONE_MS = 30_000  # among the oldest batches, one that still waits then waits for others' batches
SILENCE_MAX_MS = 60_000  # after a longer one, finding a batch finished does not tell how long it took


class Knowledge:
    """The jobs, chunks, limits and troubles of one subscription."""

    def __init__(self, limits: Limits, *, body_bytes_max: int, rng: Random) -> None:
        self.limits = limits
        self.lane = Lane(limits, rng)
        self.line = Line(limits)
        self.doubt = Doubt(limits)
        self.seeking = Seeking(limits)
        self.cap = UploadCap(body_bytes_max)
        self._rng = rng
        self.jobs: dict[JobId, TrackedJob] = {}
        self._chunks: dict[ChunkId, TrackedChunk] = {}
        self._orphans: dict[ChunkId, TrackedChunk] = {}  # at Marketo still, or perhaps, but their job has ended
        self.claiming: ChunkId | None = None
        self.conflicts = Conflicts(self._chunks)
        self.calls = Calls(limits, backoff_of(limits, rng))
        self.patience = Patience(limits.give_up_ms)
        self.denied = False

    @property
    def in_flight(self) -> list[TrackedChunk]:
        """The chunks that hold a slot, in order of submission."""
        held = [c for job in self.jobs.values() for c in job.moving if c.holds_slot]
        return sorted([*held, *self._orphans.values()], key=lambda c: (c.submitted_ms, c.id))

    @property
    def at_marketo(self) -> int:
        """How many batches are surely there."""
        return sum(c.phase is not Phase.UNKNOWN for c in self.in_flight)

    @property
    def batches(self) -> list[TrackedChunk]:
        """The unfinished batches, in order of submission."""
        return [c for c in self.in_flight if c.phase is Phase.SUBMITTED]

    def chunk(self, chunk: ChunkId) -> TrackedChunk:
        """Return the state of a chunk that is known here."""
        return self._chunks[chunk]

    def age(self, now_ms: int) -> None:
        """Let go of what time alone ends: a learned limit, a quota that was refused, patience."""
        self.cap.age(now_ms)
        self.calls.age(now_ms)
        for job in self._impatient():
            if now_ms >= self.patience.ends_ms(job.begun_ms):
                job.stop(Stop.GAVE_UP)

    @property
    def gives_up_ms(self) -> int | None:
        """When the first job loses patience; None: there is no trouble."""
        return min((self.patience.ends_ms(job.begun_ms) for job in self._impatient()), default=None)

    def _impatient(self) -> list[TrackedJob]:
        """Return the jobs that stop if there is trouble for long."""
        jobs = self.jobs.values() if self.patience.tried else ()
        return [job for job in jobs if job.sends and Stop.GAVE_UP not in job.stops]

    def let_go(self, now_ms: int) -> None:
        """Let go of the slots of chunks that are at work no more and that nobody will send again."""
        for chunk in self.in_flight:
            if chunk.phase is Phase.UNKNOWN and not is_awaited(chunk) and now_ms >= self.doubt.over_ms(chunk):
                self._let_go(chunk)

    # --- facts -------------------------------------------------------------------------------------------

    def apply(self, fact: m.Fact, now_ms: int) -> None:
        """Take a fact in; raises `ImpossibleFact` if it does not fit what is known."""
        match fact:
            case m.JobArrived():
                self._job_arrived(fact, now_ms)
            case m.JobUnwanted() | m.StopAsked():
                if fact.job in self.jobs:  # else it ended meanwhile
                    self.jobs[fact.job].rest(fact, now_ms)
            case m.JobEnded():
                self._job_ended(self.jobs.pop(fact.job), fact)
            case m.BatchSought():
                self.seeking.end(fact, self._chunks, self.calls, now_ms)
                self._expect_silence(now_ms)
            case _:
                self._chunk_fact(fact, now_ms)

    def _chunk_fact(self, fact: m.ChunkFact, now_ms: int) -> None:
        chunk = self._chunks[fact.chunk]
        steps = answer_of(chunk, fact, claiming=self.claiming == chunk.id)
        was_sent = chunk.phase is Phase.SUBMITTING
        chunk.phase = steps[0]
        match fact:
            case m.ClaimsComputed():
                self._claims_computed(chunk, fact)
            case m.ChunkAccepted():
                self._chunk_accepted(chunk, fact, now_ms)
            case m.ChunkDeferred():
                self._chunk_deferred(chunk, fact, now_ms)
            case m.ChunkDeliveryLost():
                self._chunk_lost(chunk, now_ms)
            case m.ChunkTooLarge():
                self._chunk_too_large(chunk, fact, now_ms)
            case m.ChunkParted():
                self._chunk_parted(chunk, fact, now_ms)
            case m.BatchPolled():
                self._batch_polled(chunk, fact, now_ms)
            case m.CallFailed():
                self._call_failed(chunk, fact, now_ms)
            case m.BatchGone():
                self.line.left(chunk, now_ms)
                self.lane.finished(chunk.sent_ms, now_ms)
                self._retire(chunk)
            case m.BatchCollected():
                self._retire(chunk)
            case m.ChunkGivenUp():
                chunk.job.count(chunk.rows, failed=chunk.rows)
                self._retire(chunk)
            case m.SourceStopped():
                self._source_stopped(chunk, fact.reason, was_sent=was_sent)
            case m.JobRefused():
                chunk.job.stop(Stop.JOB_REFUSED)
                self._take_back(chunk)
            case m.AccessLost():
                self._access_lost(chunk, of_one_target=fact.of_one_target, was_sent=was_sent)
        if chunk.phase not in steps:
            raise ImpossibleFact(f"chunk {chunk.id} is {chunk.phase} after {type(fact).__name__}")

    def _job_arrived(self, fact: m.JobArrived, now_ms: int) -> None:
        job = self.jobs.get(fact.job)
        if job is not None:
            self.seeking.decide(job, fact.on_unknown, now_ms)
            goes_on = not job.sends or Stop.PAUSED in job.stops
            if fact.sends and goes_on and not job.finishing:
                self._begin_sending(job, now_ms)
            return
        gate = Gate(backoff_of(self.limits, self._rng))
        job = self.jobs[fact.job] = make_job(fact, gate, slow_start=self.limits.slow_start)
        finished = [seen for seen in fact.chunks if seen.phase in (Phase.DONE, Phase.COLLECTING)]
        job.completed = len(finished)
        for seen in fact.chunks:
            self._drop_orphan(seen.id)
            if seen.phase not in FINAL:
                self._take_in(seen, job, now_ms)
        job.ready.sort(key=lambda c: c.key)
        job.moving.sort(key=lambda c: (c.submitted_ms, c.id))
        last_sent_ms = max((seen.submitted_ms for seen in finished if seen.submitted_ms is not None), default=-1)
        self.doubt.note_finished(last_sent_ms, self.in_flight, now_ms)
        if job.sends:
            self._begin_sending(job, now_ms)

    def _take_in(self, seen: m.ChunkSeen, job: TrackedJob, now_ms: int) -> None:
        chunk = self._chunks[seen.id] = make_chunk(seen, job, now_ms)
        (job.ready if chunk.phase is Phase.READY else job.moving).append(chunk)
        chunk.failed_at_completion = job.completed
        if seen.canary:
            job.add_canary(chunk)
        self.doubt.take_in(chunk, now_ms)
        self.seeking.plan(chunk, now_ms)

    def _begin_sending(self, job: TrackedJob, now_ms: int) -> None:
        """Let a job send; what refused others before may be mended, and its first try shows that."""
        self.denied = False
        if not any(other.sends for other in self.jobs.values() if other is not job):
            self.patience.restore()
        job.begin(now_ms)

    def _job_ended(self, job: TrackedJob, fact: m.JobEnded) -> None:
        for chunk in [*job.ready, *job.moving]:
            steps = steps_of(chunk, fact)
            if chunk.holds_slot:
                chunk.phase, chunk.orphaned = steps[0], True
                self._orphans[chunk.id] = chunk
            else:
                self._forget(chunk)
        job.sends = False

    def _access_lost(self, chunk: TrackedChunk, *, of_one_target: bool, was_sent: bool) -> None:
        narrow = of_one_target and chunk.job.sends  # else it has no end of its own that would end the asking
        self.denied |= not narrow
        for job in self.jobs.values():
            if job.sends and (not narrow or job.space.entity == chunk.job.space.entity):
                job.stop(Stop.DENIED)
        chunk.end()
        if was_sent:
            self._take_back(chunk)

    def _source_stopped(self, chunk: TrackedChunk, reason: Stop, *, was_sent: bool) -> None:
        if self.claiming == chunk.id:
            self.claiming = None
        else:
            chunk.end()
        if chunk.forgotten:
            del self._chunks[chunk.id]
            return
        job = chunk.job
        job.stop(reason)
        if chunk.source not in job.stopped_sources:
            job.stopped_sources.append(chunk.source)
        if was_sent:
            self._take_back(chunk)
        dropped = [c for c in job.ready if c.source == chunk.source and not c.at_work]
        job.ready = [c for c in job.ready if c.source != chunk.source or c.at_work]
        for unsent in dropped:
            self._forget(unsent)

    def _claims_computed(self, chunk: TrackedChunk, fact: m.ClaimsComputed) -> None:
        self.claiming = None
        if chunk.forgotten or chunk.let_go or chunk.phase is Phase.COLLECTING:
            self.conflicts.drop(chunk.id)
            if chunk.forgotten:
                del self._chunks[chunk.id]
            return
        self.conflicts.join(chunk, fact.conflicts)

    def _chunk_accepted(self, chunk: TrackedChunk, fact: m.ChunkAccepted, now_ms: int) -> None:
        chunk.batch_id, chunk.hold_until_ms, chunk.watched = fact.batch_id, None, True
        chunk.sent_ms = chunk.submitted_ms
        chunk.accepted_ms, chunk.begun_ms, chunk.asked_ms = now_ms, None, None
        chunk.due_ms = now_ms
        chunk.job.gate.reset()
        self.line.note_upload(now_ms - chunk.submitted_ms)
        self.lane.accepted(self.at_marketo)
        self.patience.restore()

    def _chunk_deferred(self, chunk: TrackedChunk, fact: m.ChunkDeferred, now_ms: int) -> None:
        self._unsubmit(chunk)
        if fact.cause is Cause.LIST_BUSY:  # says nothing about other jobs
            self.lane.freed()
            chunk.job.gate.close(fact.cause, now_ms)
        else:
            self.lane.deferred(fact.cause, self.at_marketo, fact.retry_at_ms, now_ms)
            self.calls.hold(fact.cause, self.lane.gate.ready_ms)
            self._expect_silence(now_ms)
        self.patience.try_by(fact.cause, now_ms)

    def _chunk_lost(self, chunk: TrackedChunk, now_ms: int) -> None:
        if chunk.hold_until_ms is not None:  # not for the first time; a hold alone is no trouble
            self.patience.try_by(Cause.TRANSIENT, now_ms)
        self.doubt.begin(chunk, now_ms)
        self.seeking.plan(chunk, now_ms)
        self.lane.deferred(Cause.TRANSIENT, 0, None, now_ms)

    def _chunk_too_large(self, chunk: TrackedChunk, fact: m.ChunkTooLarge, now_ms: int) -> None:
        chunk.hold_until_ms = None
        self._back_to_ready(chunk)
        self.lane.freed()
        chunk.too_large, chunk.job.sound = True, False
        self.cap.refused(fact.body_bytes, now_ms)

    def _chunk_parted(self, chunk: TrackedChunk, fact: m.ChunkParted, now_ms: int) -> None:
        job = chunk.job
        for seen in fact.parts:
            if seen.source not in job.stopped_sources:
                part = self._chunks[seen.id] = make_chunk(seen, job, now_ms)
                part.cut_at_completion = chunk.cut_at_completion
                job.enqueue(part)
                if chunk in job.canaries:
                    job.add_canary(part)
        self._retire(chunk)

    def _batch_polled(self, chunk: TrackedChunk, fact: m.BatchPolled, now_ms: int) -> None:
        chunk.end()
        if fact.status is None:
            self.patience.try_by(Cause.TRANSIENT, now_ms)
        else:
            self.patience.restore()
        self.calls.answered()
        chunk.status = fact.status
        if fact.status is BatchStatus.COMPLETE:
            chunk.phase = Phase.COLLECTING
            chunk.due_ms = now_ms
            chunk.job.completed += 1
            chunk.job.failed_in_a_row = 0
            chunk.job.count(chunk.rows, failed=fact.failed)
            self._batch_finished(chunk, now_ms)
            self.conflicts.leave(chunk)
        elif fact.status is BatchStatus.FAILED:
            self._batch_failed(chunk, now_ms)
        else:
            self._batch_unfinished(chunk, fact.status, now_ms)

    def _batch_unfinished(self, chunk: TrackedChunk, status: BatchStatus | None, now_ms: int) -> None:
        self.line.asked(chunk, now_ms)
        chunk.watched |= status is not None
        if status is BatchStatus.QUEUED:
            self.line.found_waiting(chunk, now_ms)
            if now_ms - chunk.accepted_ms >= QUEUED_ALONE_MS:
                self.lane.found_waiting(now_ms)

    def _batch_failed(self, chunk: TrackedChunk, now_ms: int) -> None:
        job = chunk.job
        self._batch_finished(chunk, now_ms)
        chunk.failures, job.sound = chunk.failures + 1, False
        chunk.failed_at_completion = job.completed
        chunk.batch_id = chunk.status = None
        job.failed_in_a_row += 1
        if job.failed_in_a_row >= FAILURES_IN_A_ROW_MAX and job.completed == 0:
            job.stop(Stop.BATCHES_FAILED)
        self._back_to_ready(chunk)

    def _batch_finished(self, chunk: TrackedChunk, now_ms: int) -> None:
        self.doubt.note_duration(chunk, now_ms)
        self.doubt.note_finished(chunk.sent_ms, self.in_flight, now_ms)
        self.line.finished(chunk, now_ms)
        self.lane.finished(chunk.sent_ms, now_ms)
        if chunk.job.gate.cause is Cause.LIST_BUSY:
            chunk.job.gate.open(now_ms)

    def _call_failed(self, chunk: TrackedChunk, fact: m.CallFailed, now_ms: int) -> None:
        chunk.end()
        chunk.due_ms = self.calls.refused(fact.cause, fact.retry_at_ms, now_ms)
        chunk.watched &= chunk.due_ms - now_ms <= SILENCE_MAX_MS
        self._expect_silence(now_ms)
        self.patience.try_by(fact.cause, now_ms)

    # --- small steps -------------------------------------------------------------------------------------

    def _take_back(self, chunk: TrackedChunk) -> None:
        self._unsubmit(chunk)
        self.lane.freed()

    def _unsubmit(self, chunk: TrackedChunk) -> None:
        """Take back an upload that did not happen."""
        if chunk.unsent_phase is Phase.READY:
            self._back_to_ready(chunk)
        else:
            chunk.phase = Phase.UNKNOWN

    def _back_to_ready(self, chunk: TrackedChunk) -> None:
        chunk.phase = Phase.READY
        chunk.job.moving.remove(chunk)
        if chunk.source in chunk.job.stopped_sources:
            self._forget(chunk)
        else:
            chunk.job.enqueue(chunk)

    def _retire(self, chunk: TrackedChunk) -> None:
        chunk.end()
        if chunk in chunk.job.moving:
            chunk.job.moving.remove(chunk)
        chunk.job.dequeue(chunk)
        self._forget(chunk)

    def _let_go(self, chunk: TrackedChunk) -> None:
        """Take a chunk in doubt for finished: nobody will send it again, and its batch can be at work no more."""
        chunk.let_go = True
        if chunk.job.sending:  # and goes on without it
            chunk.job.canary_through(chunk)
        self.conflicts.leave(chunk)
        self._drop_orphan(chunk.id)

    def _drop_orphan(self, chunk: ChunkId) -> None:
        orphan = self._orphans.pop(chunk, None)
        if orphan is not None:
            self._forget(orphan)

    def _forget(self, chunk: TrackedChunk) -> None:
        self.conflicts.leave(chunk)
        chunk.job.canary_through(chunk)
        chunk.forgotten = True
        if self.claiming != chunk.id:  # else its claims are still to come, and to be released then
            self._chunks.pop(chunk.id, None)

    def _expect_silence(self, now_ms: int) -> None:
        """Note that nothing is asked about batches for a while, if calls are held for long."""
        if self.calls.ready_ms - now_ms > SILENCE_MAX_MS:
            for chunk in self.in_flight:
                chunk.watched = False
