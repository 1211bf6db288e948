"""What the heart remembers: limits, chunks, jobs, and the table of a chunk's legal steps."""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field
from random import Random

from orchestrator.model import BatchId, BatchStatus, ChunkId, JobId, OnUnknown, Phase, Priority
from orchestrator.schedule.messages import (
    AccessLost,
    BatchCollected,
    BatchGone,
    BatchPolled,
    BatchSought,
    CallFailed,
    Cause,
    ChunkAccepted,
    ChunkDeferred,
    ChunkDeliveryLost,
    ChunkGivenUp,
    ChunkParted,
    ChunkSeen,
    ChunkTooLarge,
    ClaimsComputed,
    Fact,
    JobArrived,
    JobEnded,
    JobRefused,
    JobUnwanted,
    SourceStopped,
    Space,
    Stop,
    StopAsked,
    SubmitChunk,
)
from orchestrator.schedule.tally import Tally
from orchestrator.schedule.waits import Backoff, Gate

FAILURES_BEFORE_SPLIT = 2  # whole-batch failures of one chunk


class ImpossibleFact(RuntimeError):
    """The caller told something that cannot be true; a mistake of this program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The numbers that a subscription's schedule keeps to; README explains each setting."""

    slots: int = 10
    importers: int = 2
    queue_depth: int | None = None  # None: as many as keep the importers busy
    lookahead_chunks: int = 16
    claims_ahead_max: int = 64  # claims held, of 2 MB at most each, behind the first unsent chunk of every job
    slow_start: bool = True  # of a job that is not trusted, the second batch waits for the first
    poll_min_ms: int = 5_000
    poll_max_ms: int = 30_000
    backoff_min_ms: int = 5_000
    backoff_max_ms: int = 300_000
    calls_per_day: int = 50_000
    calls_reserved: int = 5_000  # of them, left to others
    window_ms: int = 20_000  # Marketo counts calls in windows of this length
    give_up_ms: int = 86_400_000
    settle_ms: int = 30_000
    probe_calls_max: int = 50
    hold_min_ms: int = 600_000
    paused_hold_ms: int = 3_600_000
    http_timeout_ms: int = 900_000
    isolate_depth_max: int = 12

    @property
    def usual_depth(self) -> int:
        """How many batches of one's own are kept at Marketo as long as nothing special happens."""
        return min(self.slots, 2 * self.importers if self.queue_depth is None else self.queue_depth)

    @property
    def greatest_depth(self) -> int:
        """How many are kept there at the most, where they are short, or others' imports stand before them."""
        return self.slots if self.queue_depth is None else self.usual_depth

    def lasts_ms(self, cause: Cause) -> int:
        """Return how long a cause lasts at least; the jittered wait comes behind it, so that not all try at once."""
        return self.window_ms if cause is Cause.RATE_LIMITED else 0


# Which fact or command may meet a chunk in which phase, and the phases it may have then: the first, or, where more of
# what is known decides, one of the others.  Anything that is not in this table is a mistake.
STEPS: dict[tuple[Phase, type[Fact | SubmitChunk]], tuple[Phase, ...]] = {
    (Phase.READY, SubmitChunk): (Phase.SUBMITTING,),
    (Phase.READY, ChunkParted): (Phase.SPLIT,),
    (Phase.READY, ChunkGivenUp): (Phase.REFUSED,),
    (Phase.READY, CallFailed): (Phase.READY,),  # its rows could not be written down
    (Phase.READY, JobEnded): (Phase.CANCELLED, Phase.READY),  # if somebody cancelled the job; else it can be resumed
    (Phase.SUBMITTING, ChunkAccepted): (Phase.SUBMITTED,),
    (Phase.SUBMITTING, ChunkDeferred): (Phase.READY, Phase.UNKNOWN),  # still, if an earlier upload is in doubt
    (Phase.SUBMITTING, ChunkDeliveryLost): (Phase.UNKNOWN,),
    (Phase.SUBMITTING, ChunkTooLarge): (Phase.READY,),
    (Phase.SUBMITTING, SourceStopped): (Phase.READY, Phase.UNKNOWN),
    (Phase.SUBMITTING, JobRefused): (Phase.READY, Phase.UNKNOWN),
    (Phase.SUBMITTING, AccessLost): (Phase.READY, Phase.UNKNOWN),
    (Phase.UNKNOWN, SubmitChunk): (Phase.SUBMITTING,),
    (Phase.UNKNOWN, BatchSought): (Phase.UNKNOWN, Phase.SUBMITTED),  # if its batch was found
    (Phase.SUBMITTED, BatchPolled): (Phase.SUBMITTED, Phase.COLLECTING, Phase.READY),  # complete; failed as a whole
    (Phase.SUBMITTED, BatchGone): (Phase.DONE,),
    (Phase.SUBMITTED, CallFailed): (Phase.SUBMITTED,),
    (Phase.SUBMITTED, AccessLost): (Phase.SUBMITTED,),
    (Phase.SUBMITTED, JobEnded): (Phase.UNKNOWN,),  # to the schedule: nobody asks after it, until the job is resumed
    (Phase.UNKNOWN, JobEnded): (Phase.UNKNOWN,),
    (Phase.COLLECTING, CallFailed): (Phase.COLLECTING,),
    (Phase.COLLECTING, AccessLost): (Phase.COLLECTING,),
    (Phase.COLLECTING, JobEnded): (Phase.COLLECTING,),
    (Phase.COLLECTING, BatchCollected): (Phase.DONE,),
    # Claims may be ready, or found out of reach, only after the phase moved on; they change no phase.
    **{(phase, ClaimsComputed): (phase,) for phase in Phase},
    **{(phase, SourceStopped): (phase,) for phase in Phase if phase is not Phase.SUBMITTING},
}

IN_FLIGHT = (Phase.SUBMITTING, Phase.SUBMITTED, Phase.UNKNOWN)  # these hold a slot and their claims
FINAL = (Phase.DONE, Phase.SPLIT, Phase.REFUSED, Phase.CANCELLED)

SOURCE_STOPS = (Stop.SOURCE_REFUSED, Stop.SOURCE_CHANGED)  # other sources of the job go on

OrderKey = tuple[int, int]


def steps_of(chunk: TrackedChunk, what: Fact | SubmitChunk) -> tuple[Phase, ...]:
    """Return the phases that a chunk may have after this; raises `ImpossibleFact` if it cannot be."""
    try:
        return STEPS[chunk.phase, type(what)]
    except KeyError:
        raise ImpossibleFact(f"{type(what).__name__} for chunk {chunk.id} in phase {chunk.phase}") from None


def answer_of(chunk: TrackedChunk, fact: Fact, *, claiming: bool) -> tuple[Phase, ...]:
    """Return the phases that a chunk may have after the answer to work on it; raises `ImpossibleFact` if there is none.

    ``claiming``: the work may be that its claims are computed.
    """
    steps = steps_of(chunk, fact)
    if not (claiming or chunk.at_work or chunk.phase is Phase.SUBMITTING):
        raise ImpossibleFact(f"{type(fact).__name__} for chunk {chunk.id}, which nobody works on")
    return steps


def backoff_of(limits: Limits, rng: Random) -> Backoff:
    """Return growing waits as long as the settings say."""
    return Backoff(limits.backoff_min_ms, limits.backoff_max_ms, rng)


@dataclass(slots=True, kw_only=True, eq=False)
class TrackedChunk:
    """One chunk on its way."""

    id: ChunkId
    job: TrackedJob
    source: int
    first_row: int
    rows: int
    body_bytes: int
    phase: Phase
    depth: int
    failures: int
    failed_at_completion: int = 0  # how many batches of the job were complete when this one failed last
    cut_at_completion: int | None = (
        None  # the same of the planned chunk that it is a part of, if that was cut for failing
    )
    tried_anew: bool = False  # it had failed for good, and was resumed
    batch_id: BatchId | None
    status: BatchStatus | None = None
    submitted_ms: int  # the last upload's start
    sent_ms: int  # the start of the last upload that Marketo may have taken
    hold_until_ms: int | None  # an upload is in doubt: not sent again before this
    seek_ms: int | None = None  # in doubt: its batch is looked for then, and it is not sent again before that is over
    overtaken_ms: int | None = None  # since when a batch sent after `sent_ms` is known to be finished
    let_go: bool = False  # in doubt, but it holds neither slot nor claims any longer
    orphaned: bool = False  # its job has ended, nobody asks after its batch
    watched: bool = True  # its batch was asked after without long silence, so its end is seen when it comes
    conflicts: set[ChunkId] | None = None  # None: not computed; only ever asked for membership
    too_large: bool = False  # refused for its size: never sent again as it is
    at_work: bool = False  # a poll, a collection, a split or a refusal is under way
    forgotten: bool = False  # of no more interest, but its claims are still being computed
    due_ms: int = 0  # no poll, collection or refusal before this
    accepted_ms: int  # when Marketo took the batch, for all that is known
    begun_ms: int | None = None  # when an importer is believed to have begun with it; None: it waits
    looked_after: bool = False  # asked after early, to see whether Marketo has become faster
    asked_ms: int | None = None  # the last poll that found it unfinished
    passed_over: int = 0  # how often another job's chunk was sent because others' keys were in this one's way
    blocked_ms: int | None = None  # since when

    @property
    def key(self) -> OrderKey:
        """Its place among the chunks of its job."""
        return (self.source, self.first_row)

    @property
    def target(self) -> str:
        """What its rows become: batches into one target go at one pace."""
        return self.job.space.entity

    @property
    def unsent_phase(self) -> Phase:
        """What it is when an upload did not happen: in doubt still, if an earlier one may have."""
        return Phase.READY if self.hold_until_ms is None else Phase.UNKNOWN

    @property
    def resendable(self) -> bool:
        """Tell whether this run sends it again once its hold is over."""
        return self.job.sending and self.source not in self.job.stopped_sources and not self.waits_for_user

    @property
    def waits_for_user(self) -> bool:
        """Tell whether its answer is lost and the user wants to decide what becomes of it."""
        return self.phase is Phase.UNKNOWN and self.job.on_unknown is OnUnknown.HOLD

    @property
    def holds_slot(self) -> bool:
        """Tell whether it takes one of Marketo's slots, or may."""
        return self.phase in IN_FLIGHT and not self.let_go

    def begin(self) -> None:
        """Note that a piece of work on it is handed out."""
        self.at_work = True
        self.job.at_work += 1

    def end(self) -> None:
        """Note that the work on it, if any, is answered."""
        if self.at_work:
            self.at_work = False
            self.job.at_work -= 1


@dataclass(slots=True, kw_only=True, eq=False)
class TrackedJob:
    """One job, its unsent chunks in order, and how its batches fared."""

    id: JobId
    space: Space
    sends: bool
    occupies: bool = False  # nothing of it is collected, looked for or ended here
    gate: Gate  # closed while its static list is busy
    tally: Tally
    on_unknown: OnUnknown = OnUnknown.PROBE
    ready: list[TrackedChunk] = field(default_factory=list)
    moving: list[TrackedChunk] = field(default_factory=list)  # in flight or collecting, in order of submission
    stops: list[Stop] = field(default_factory=list)
    stopped_sources: list[int] = field(default_factory=list)
    canaries: list[TrackedChunk] = field(default_factory=list)  # in order; until they are through no other is sent
    stops_behind_canary: bool = False
    waits_for_quota: bool = True
    priority: Priority = Priority.NORMAL
    trusted: bool = True
    largest_bytes: int = 0  # of the bodies of its chunks, those that are gone as well
    sound: bool = True  # no chunk of it was refused for its size or failed as a whole
    begun_ms: int = 0  # since when it sends
    resting_ms: int | None = None  # since when it is paused, or nobody waits for it
    sent_bytes: int | None = None  # compared with other jobs', to be fair; None: it begins to send
    completed: int = 0
    failed_in_a_row: int = 0
    at_work: int = 0  # how many of its chunks are at work
    finishing: bool = False  # its end is being written; until that is told, it cannot come back

    @property
    def sending(self) -> bool:
        """Tell whether anything more of it may be submitted."""
        return self.sends and (not self.stops or all(stop in SOURCE_STOPS for stop in self.stops))

    @property
    def asks(self) -> bool:
        """Tell whether calls about its batches are made: not when its end is being written, nor when they are denied."""
        return not self.finishing and Stop.DENIED not in self.stops

    @property
    def proving(self) -> bool:
        """Tell whether it waits for its first batch: nothing else of it is sent before one is complete.

        So does a job that is trusted, from the first of its batches on that fails as a whole.
        """
        doubtful = not self.completed and (not self.trusted or self.failed_in_a_row > 0)
        return doubtful and any(chunk.holds_slot for chunk in self.moving)

    @property
    def queue(self) -> list[TrackedChunk]:
        """Its unsent chunks in order, those alone that may be sent now."""
        return [chunk for chunk in self.canaries if chunk.phase is Phase.READY] if self.canaries else self.ready

    def add_canary(self, chunk: TrackedChunk) -> None:
        """Put a chunk in its place among those that are sent before all others."""
        insort(self.canaries, chunk, key=lambda c: c.key)

    def canary_through(self, chunk: TrackedChunk) -> None:
        """Note that a chunk is no longer one to wait for; behind the last one, decide whether to go on."""
        if chunk not in self.canaries:
            return
        self.canaries.remove(chunk)
        if self.canaries:
            return
        if self.tally.exceeded(canary=True):
            self.stop(Stop.THRESHOLD)
        elif self.stops_behind_canary and self.ready:
            self.stop(Stop.CANARY)

    def count(self, rows: int, *, failed: int) -> None:
        """Count the outcome of rows, and stop if too many failed."""
        self.tally.count(rows, failed)
        if self.tally.exceeded():
            self.stop(Stop.THRESHOLD)

    def begin(self, now_ms: int) -> None:
        """Send from now on what is unsent; what was let go of takes its slot and its claims again.

        What failed batches may be mended: each is sent once more; one at a time, if none was ever completed.
        """
        self.sends, self.begun_ms, self.resting_ms, self.sent_bytes = True, now_ms, None, None
        self.stops = [stop for stop in self.stops if stop in SOURCE_STOPS]
        self.tally.restart()
        for chunk in self.moving:
            chunk.let_go = False
        chunks = [*self.ready, *self.moving]
        failed = [chunk for chunk in chunks if chunk.failures >= FAILURES_BEFORE_SPLIT]
        if self.completed == 0:
            self.trusted &= all(chunk.failures == 0 for chunk in chunks)
        elif len(failed) == 1:
            failed = []  # it is known to be to blame, or will be
        for chunk in failed:
            chunk.failures, chunk.tried_anew = FAILURES_BEFORE_SPLIT - 1, True
        self.failed_in_a_row = -len(failed) if self.completed else 0  # that they fail again is nothing new

    def rest(self, fact: JobUnwanted | StopAsked, now_ms: int) -> None:
        """Send nothing more of it before somebody wants that again."""
        if isinstance(fact, JobUnwanted):
            self.sends = False
        else:
            self.stop(fact.reason)
        self.resting_ms = None if Stop.CANCELLED in self.stops else now_ms

    def stop(self, reason: Stop) -> None:
        """Remember why the job stops, each reason once."""
        if reason not in self.stops:
            self.stops.append(reason)

    def enqueue(self, chunk: TrackedChunk) -> None:
        """Put an unsent chunk in its place."""
        insort(self.ready, chunk, key=lambda c: c.key)

    def dequeue(self, chunk: TrackedChunk) -> None:
        """Take a chunk out of the unsent ones, if it is one of them."""
        at = bisect_left(self.ready, chunk.key, key=lambda c: c.key)
        if at < len(self.ready) and self.ready[at] is chunk:
            del self.ready[at]


def make_job(fact: JobArrived, gate: Gate, *, slow_start: bool) -> TrackedJob:
    """Build the state of a job without chunks."""
    return TrackedJob(
        id=fact.job,
        space=fact.space,
        sends=fact.sends,
        occupies=fact.occupies,
        gate=gate,
        tally=Tally(fact.failed_max),
        on_unknown=fact.on_unknown,
        stops_behind_canary=fact.stops_behind_canary,
        waits_for_quota=fact.waits_for_quota,
        priority=fact.priority,
        trusted=fact.trusted or not slow_start,
    )


def make_chunk(seen: ChunkSeen, job: TrackedJob, now_ms: int) -> TrackedChunk:
    """Build the state of a chunk as the journal shows it.

    A chunk found in ``submitting`` was being sent when a process died: nobody knows whether it arrived.
    """
    lost = seen.phase is Phase.SUBMITTING
    told_ms = now_ms if seen.submitted_ms is None else seen.submitted_ms
    ahead_ms = max(0, told_ms - now_ms)  # by which a clock ran ahead; a hold is as long as it was
    submitted_ms = told_ms - ahead_ms
    held = seen.phase is Phase.UNKNOWN and seen.hold_until_ms is not None
    job.largest_bytes = max(job.largest_bytes, seen.body_bytes)
    job.sound &= seen.failures == 0 and not seen.too_large
    return TrackedChunk(
        id=seen.id,
        job=job,
        source=seen.source,
        first_row=seen.first_row,
        rows=seen.rows,
        body_bytes=seen.body_bytes,
        phase=Phase.UNKNOWN if lost else seen.phase,
        depth=seen.depth,
        failures=seen.failures,
        batch_id=seen.batch_id,
        submitted_ms=submitted_ms,
        sent_ms=submitted_ms,
        accepted_ms=submitted_ms,
        hold_until_ms=(seen.hold_until_ms or 0) - ahead_ms if held else None,
        watched=False,
        too_large=seen.too_large,
    )
