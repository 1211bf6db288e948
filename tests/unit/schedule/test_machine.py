"""The heart told any fact that a driver could tell, in any order, with its whole state checked after each.

A driver's journal is kept beside it (`shadow`).  At the end of each run everything is mended, and every job has to come
to its end.  ``MACHINE_EXAMPLES=2000`` runs more.
"""

from __future__ import annotations

import os
from random import Random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import Phase as Stage
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from orchestrator.model import BatchId, BatchStatus, ChunkId, JobId, OnUnknown, Phase, Priority
from orchestrator.schedule import messages as m
from orchestrator.schedule.core import Scheduler
from orchestrator.schedule.messages import Cause, Stop
from orchestrator.schedule.state import FINAL, Limits
from tests.unit.schedule.rules import Rules
from tests.unit.schedule.shadow import HELD, Shadow, ShadowJob

EXAMPLES = int(os.environ.get("MACHINE_EXAMPLES", "80"))
STEPS = 40
CAP = 9_500_000
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
POISON = 0  # a key: until everything is mended, a batch with it fails as a whole
ENDINGS_MAX = 3_000  # decisions until everything is at its end

Work = tuple[str, ChunkId | JobId]

SPACES = st.sampled_from(
    (
        m.Space(entity="person", key_field="email"),
        m.Space(entity="person", key_field="email"),
        m.Space(entity="person", key_field="id"),
        m.Space(entity="person", key_field="email", exclusive="list:1"),
        m.Space(entity="custom:car_c", key_field="vin"),
        m.Space(entity="person", key_field="email", compared=False),
    )
)
ANSWERS = {
    "claims": ("done", "done", "done", "stopped"),
    "submit": (*["accepted"] * 9, *Cause, "lost", "lost", "too large", "stopped", "refused", "denied"),
    "seek": ("found", "found", "again", "nothing"),
    "poll": (*["complete"] * 5, "failed", "failed", "queued", "importing", "vague", "gone", *Cause, "denied"),
    "collect": ("done", "done", "done", *Cause),
    "split": ("done", "done", "stopped"),
    "refuse": ("done", "done", Cause.TRANSIENT),
    "finish": ("done",),
}
MENDED = {"submit": "accepted", "poll": "complete", "seek": "nothing"}
KINDS = {
    m.ComputeClaims: "claims",
    m.SubmitChunk: "submit",
    m.SeekBatch: "seek",
    m.PollBatch: "poll",
    m.CollectBatch: "collect",
    m.SplitChunk: "split",
    m.RefuseChunk: "refuse",
}


class Heart(RuleBasedStateMachine):
    """A heart, the journal beside it, and the work that is under way."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ms = 1_700_000_000_000
        self.limits = Limits(
            slots=5, lookahead_chunks=4, claims_ahead_max=2, isolate_depth_max=2, give_up_ms=3 * DAY_MS
        )
        self.shadow = Shadow()
        self.work: list[Work] = []
        self.wake_ms: int | None = None
        self.stops: dict[JobId, tuple[Stop, ...]] = {}
        self.sending: list[JobId] = []  # before the last decision
        self.batches = 1_000
        self.mended = False
        self.rules = Rules(self.limits, self.shadow, configured=CAP, cap=CAP)
        self.heart = self._begin()

    def _begin(self) -> Scheduler:
        heart = Scheduler(self.limits, body_bytes_max=CAP, rng=Random(7))
        self.rules.restart()
        if self.rules.cap < CAP:
            heart.known.cap.recall(self.rules.cap, self.rules.learned_ms)
        return heart

    def _tell(self, fact: m.Fact | m.CallsCounted) -> None:
        self.heart.apply(fact, self.now_ms)
        self.rules.told(fact, self.now_ms)

    # --- what may happen ---------------------------------------------------------------------------------

    @rule(
        space=SPACES,
        keys=st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=12), min_size=1, max_size=2),
        rows=st.integers(1, 4),
        row_bytes=st.sampled_from((1_000, 3_000_000)),
        canary=st.booleans(),
        trusted=st.booleans(),
        on_unknown=st.sampled_from(OnUnknown),
        priority=st.sampled_from(Priority),
        waits_for_quota=st.booleans(),
    )
    def a_job_arrives(self, space, keys, rows, row_bytes, canary, **options):
        if len(self.shadow.jobs) >= 4:
            return
        job = ShadowJob(id=JobId(f"j{len(self.shadow.jobs)}"), space=space, keys=keys, row_bytes=row_bytes, **options)
        self.shadow.jobs[job.id] = job
        for source, cells in enumerate(keys):
            for first in range(0, len(cells), rows):
                head = canary and first == 0 and not any(set(cells[:rows]) & set(before) for before in keys[:source])
                self.shadow.add(job, source, first, min(rows, len(cells) - first), canary=head)
        self._tell(self.shadow.arrived(job, sends=True))

    @precondition(lambda self: self.shadow.jobs)
    @rule(data=st.data(), what=st.sampled_from(("wanted", "wanted", "unwanted", Stop.PAUSED, Stop.CANCELLED)))
    def somebody_asks(self, data, what):
        job = self.shadow.jobs[data.draw(st.sampled_from(list(self.shadow.jobs)))]
        if what == "wanted":
            self._want(job)
        elif what == "unwanted":
            self._tell(m.JobUnwanted(job=job.id))
        else:
            self._tell(m.StopAsked(job=job.id, reason=what))

    def _want(self, job: ShadowJob) -> None:
        tracked = self.heart.known.jobs.get(job.id)
        if not job.over and not (tracked is not None and tracked.finishing):
            self._tell(self.shadow.arrived(job, sends=True))

    @rule(to_wake=st.booleans(), ms=st.sampled_from((1, 5_000, 30_000, 10 * MINUTE_MS, 2 * HOUR_MS, DAY_MS)))
    def time_passes(self, to_wake, ms):
        self.now_ms = self.wake_ms if to_wake and self.wake_ms is not None else self.now_ms + ms

    @rule(own=st.sampled_from((0, 44_970, 44_990, 45_000)), others=st.sampled_from((0, 5_000, 5_010)))
    def calls_are_counted(self, own, others):
        self._tell(m.CallsCounted(own=own, others=others))

    @precondition(lambda self: self.shadow.jobs)
    @rule(drained=st.booleans(), ms=st.sampled_from((0, 1_000, HOUR_MS, 3 * DAY_MS)))
    def the_process_dies_and_another_goes_on(self, drained, ms):
        """Lose everything but the journal; a process that drained first had the answer to its upload."""
        if drained:
            self.heart.drain()
            for work in [work for work in self.work if work[0] == "submit"]:
                self._answer(work, "accepted")
            assert all(isinstance(command, m.ReleaseClaims) for command in self.heart.decide(self.now_ms))
        self.work.clear()
        self.shadow.claims.clear()
        self.now_ms += ms
        self.heart = self._begin()
        for job in self.shadow.jobs.values():
            if not job.over:
                self._tell(self.shadow.arrived(job, sends=True))
                self.shadow.take_in(job, self.heart)

    @precondition(lambda self: self.work)
    @rule(data=st.data(), times=st.integers(1, 3))
    def answers_come(self, data, times):
        for _ in range(min(times, len(self.work))):
            work = data.draw(st.sampled_from(self.work))
            self._answer(work, data.draw(st.sampled_from(ANSWERS[work[0]])))

    # --- answers -----------------------------------------------------------------------------------------

    def _answer(self, work: Work, answer: str) -> None:
        self.work.remove(work)
        kind, number = work
        if kind == "finish":
            self._ended(JobId(str(number)))
            return
        chunk = ChunkId(int(number))
        if answer == "denied":
            self._undo(chunk)
            self._tell(m.AccessLost(chunk=chunk))
        elif answer == "refused":
            self._undo(chunk)
            self._tell(m.JobRefused(chunk=chunk))
        elif answer == "stopped":
            self._undo(chunk)
            self._tell(m.SourceStopped(chunk=chunk, reason=Stop.SOURCE_CHANGED))
        elif isinstance(answer, Cause) and kind != "submit":
            self._tell(m.CallFailed(chunk=chunk, cause=answer, retry_at_ms=self._retry_at_ms(answer)))
        else:
            getattr(self, f"_{kind}_answered")(chunk, answer)

    def _retry_at_ms(self, cause: Cause) -> int | None:
        return self.now_ms + 6 * HOUR_MS if cause is Cause.QUOTA_EXHAUSTED else None

    def _undo(self, chunk: ChunkId) -> None:
        """Write that an upload did not happen, if one was under way."""
        if self.shadow.chunks[chunk].phase is Phase.SUBMITTING:
            self.shadow.write(chunk, phase=self.heart.known.chunk(chunk).unsent_phase)

    def _claims_answered(self, chunk: ChunkId, answer: str) -> None:
        self._tell(m.ClaimsComputed(chunk=chunk, conflicts=self.shadow.compute(chunk)))

    def _submit_answered(self, chunk: ChunkId, answer: str) -> None:
        if answer == "accepted":
            self.batches += 1
            batch_id = BatchId(self.batches)
            self.shadow.write(chunk, phase=Phase.SUBMITTED, batch_id=batch_id, hold_until_ms=None)
            self._tell(m.ChunkAccepted(chunk=chunk, batch_id=batch_id))
        elif answer == "lost":
            hold_until_ms = self.heart.known.doubt.hold_until_ms(self.now_ms)
            self.shadow.write(chunk, phase=Phase.UNKNOWN, hold_until_ms=hold_until_ms)
            self._tell(m.ChunkDeliveryLost(chunk=chunk))
        elif answer == "too large":
            self.shadow.write(chunk, phase=Phase.READY, hold_until_ms=None, too_large=True)
            self._tell(m.ChunkTooLarge(chunk=chunk, body_bytes=self.shadow.chunks[chunk].body_bytes))
        else:
            cause = Cause(answer)
            self._undo(chunk)
            self._tell(m.ChunkDeferred(chunk=chunk, cause=cause, retry_at_ms=self._retry_at_ms(cause)))

    def _seek_answered(self, chunk: ChunkId, answer: str) -> None:
        again_ms, adopted = None, ()
        if answer == "again":
            again_ms = self.now_ms + 10 * MINUTE_MS
        elif answer == "found":
            self.batches += 1
            adopted = ((chunk, BatchId(self.batches)),)
            self.shadow.write(chunk, phase=Phase.SUBMITTED, batch_id=BatchId(self.batches), hold_until_ms=None)
        self._tell(m.BatchSought(chunk=chunk, chunks=(chunk,), adopted=adopted, again_ms=again_ms))

    def _poll_answered(self, chunk: ChunkId, answer: str) -> None:
        told = {"complete": BatchStatus.COMPLETE, "failed": BatchStatus.FAILED, "queued": BatchStatus.QUEUED}
        told["importing"] = BatchStatus.IMPORTING
        if answer == "complete" and POISON in self.shadow.keys(self.shadow.chunks[chunk]) and not self.mended:
            answer = "failed"
        if answer == "gone":
            self.shadow.write(chunk, phase=Phase.DONE)
            self._tell(m.BatchGone(chunk=chunk))
            return
        if answer == "complete":
            self.shadow.write(chunk, phase=Phase.COLLECTING)
        elif answer == "failed":
            failures = self.shadow.chunks[chunk].failures + 1
            self.shadow.write(chunk, phase=Phase.READY, batch_id=None, failures=failures)
        self._tell(m.BatchPolled(chunk=chunk, status=told.get(answer)))

    def _collect_answered(self, chunk: ChunkId, answer: str) -> None:
        self.shadow.write(chunk, phase=Phase.DONE)
        self._tell(m.BatchCollected(chunk=chunk))

    def _split_answered(self, chunk: ChunkId, answer: str) -> None:
        self._tell(m.ChunkParted(chunk=chunk, parts=self.shadow.part(chunk)))

    def _refuse_answered(self, chunk: ChunkId, answer: str) -> None:
        self.shadow.write(chunk, phase=Phase.REFUSED)
        self._tell(m.ChunkGivenUp(chunk=chunk))

    def _ended(self, job: JobId) -> None:
        stops = self.stops.pop(job)
        self._tell(m.JobEnded(job=job))
        left = [seen for seen in self.shadow.of(job) if seen.phase not in FINAL]
        assert stops or not left, (job, left)
        self.shadow.jobs[job].over = Stop.CANCELLED in stops or not left

    # --- what is decided ---------------------------------------------------------------------------------

    @invariant()
    def everything_is_right(self):
        self._check_decisions()
        self._check_memory()
        self._check_wake()

    def _check_decisions(self) -> None:
        self.sending = [job.id for job in self.heart.known.jobs.values() if job.sending]
        self.rules.look(self.heart, self.now_ms)
        commands = self.heart.decide(self.now_ms)
        again = self.heart.decide(self.now_ms)
        waits = [command for command in commands if isinstance(command, m.WaitUntil)]
        assert again == waits == commands[len(commands) - len(waits) :], "each once, and the wait last"
        self.wake_ms = waits[0].at_ms if waits else None
        assert self.wake_ms is None or self.wake_ms > self.now_ms
        for command in commands:
            self.rules.check(self.heart, command, self.now_ms)
            if isinstance(command, m.ReleaseClaims):
                self._check_release(command.chunk)
            elif isinstance(command, m.FinishJob):
                self.stops[command.job] = command.stops
                self._begin_work(("finish", command.job))
            elif not isinstance(command, m.WaitUntil):
                if isinstance(command, m.SubmitChunk):
                    self._check_submission(self.shadow.chunks[command.chunk])
                self._begin_work((KINDS[type(command)], command.chunk))

    def _begin_work(self, work: Work) -> None:
        assert work not in self.work
        self.work.append(work)

    def _check_release(self, chunk: ChunkId) -> None:
        held = [self.heart.known.chunk(seen.id) for seen in self.shadow.held(self.heart) if seen.id == chunk]
        assert all(one.conflicts is None for one in held), "what it shares with others is not known to be nothing"
        self.shadow.claims.pop(chunk, None)

    def _check_submission(self, seen: m.ChunkSeen) -> None:
        others = [other for other in self.shadow.held(self.heart) if other.id != seen.id]
        assert not any(kind == "submit" for kind, _ in self.work), "one upload at a time"
        if seen.phase is Phase.READY:
            assert len(others) < self.limits.slots
            self._check_turn(seen, others)
        else:  # of two in doubt, one may have been let go of before the other was sent
            others = [other for other in others if other.phase is not Phase.UNKNOWN]
        assert not [other for other in others if self.shadow.share(seen, other)], "two under way share a key"
        self.shadow.write(seen.id, phase=Phase.SUBMITTING, submitted_ms=self.now_ms)

    def _check_turn(self, seen: m.ChunkSeen, held: list[m.ChunkSeen]) -> None:
        job = self.heart.known.jobs[self.shadow.owner[seen.id]]
        assert job.id in self.sending
        assert seen.body_bytes <= self.heart.known.cap.bytes_max
        its = self.shadow.of(job.id)
        waiting = [c for c in its if c.phase is Phase.READY and c.source not in job.stopped_sources]
        before = [c for c in waiting if (c.source, c.first_row) < (seen.source, seen.first_row)]
        compared = job.space.compared
        assert not (compared and [c for c in before if self.shadow.keys(c) & self.shadow.keys(seen)]), "order"
        unproven = not job.trusted and not any(c.phase in (Phase.COLLECTING, Phase.DONE) for c in its)
        assert not (unproven and {c.id for c in held} & {c.id for c in its}), "slow start"
        canaries = [c for c in its if c.canary and c.phase not in FINAL and c.source not in job.stopped_sources]
        assert seen.canary or not canaries, "canaries first"

    # --- what is remembered ------------------------------------------------------------------------------

    def _check_memory(self) -> None:
        """What the heart remembers is what the journal has."""
        known = self.heart.known
        uploads = [number for kind, number in self.work if kind == "submit"]
        assert uploads == ([] if known.lane.busy is None else [known.lane.busy])
        for job in known.jobs.values():
            tracked = [*job.ready, *job.moving]
            assert len({c.id for c in tracked}) == len(tracked)
            assert [c.key for c in job.ready] == sorted(c.key for c in job.ready)
            assert all(c.phase is Phase.READY for c in job.ready)
            assert all(c.phase in (*HELD, Phase.COLLECTING) for c in job.moving)
            assert job.at_work == sum(c.at_work for c in tracked)
            alive = [c for c in self.shadow.of(job.id) if c.phase not in FINAL]
            expected = {
                c.id: c.phase for c in alive if c.source not in job.stopped_sources or c.phase is not Phase.READY
            }
            assert {c.id: c.phase for c in tracked if c.id in expected or c.phase is not Phase.READY} == expected
            for chunk in tracked:
                assert chunk.at_work == any(
                    work[1] == chunk.id for work in self.work if work[0] not in ("claims", "submit")
                )
                assert chunk.batch_id == self.shadow.chunks[chunk.id].batch_id
                assert chunk.failures <= self.shadow.chunks[chunk.id].failures
                for other in chunk.conflicts or ():
                    assert chunk.id in (known.chunk(other).conflicts or ()), "who shares keys with whom is mutual"

    def _check_wake(self) -> None:
        """Nobody waits for ever."""
        if self.work or self.wake_ms is not None or self.heart.known.denied or self.heart.short_of_calls:
            return
        assert not [job.id for job in self.heart.known.jobs.values() if job.sends]

    def teardown(self):
        """Mend everything: then every job comes to its end."""
        self.mended = True
        for _ in range(ENDINGS_MAX):
            self._tell(m.CallsCounted(own=0, others=0))
            self.everything_is_right()
            if self.work:
                self._answer(self.work[0], MENDED.get(self.work[0][0], "done"))
            elif self.heart.known.denied:
                self.the_process_dies_and_another_goes_on(drained=False, ms=0)
            elif self.wake_ms is not None:
                self.now_ms = self.wake_ms
            elif not (left := self._left()):
                break
            else:
                self.now_ms += HOUR_MS
                for job in left:
                    job.on_unknown = OnUnknown.RESUBMIT
                    self._want(job)
        else:
            raise AssertionError(f"no end after {ENDINGS_MAX} decisions: {self._left()}")

    def _left(self) -> list[ShadowJob]:
        return [job for job in self.shadow.jobs.values() if not job.over]


Heart.TestCase.settings = settings(
    max_examples=EXAMPLES,
    derandomize="MACHINE_EXAMPLES" not in os.environ,  # the short run is the same each time
    stateful_step_count=STEPS,
    deadline=None,
    report_multiple_bugs=False,
    phases=[Stage.reuse, Stage.generate, Stage.shrink],
    suppress_health_check=list(HealthCheck),
)
TestHeart = pytest.mark.timeout(3_600 if EXAMPLES > 1_000 else 120)(Heart.TestCase)
