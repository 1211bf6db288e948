"""The heart of the orchestrator, pure: ``apply`` a fact, ``decide`` what to do now.

The theory
----------
Marketo imports two batches of a subscription at a time and queues ten, takes them first in, first out, and
does not notice that two batches it imports at the same time hold the same key: it makes two records of it.
From this follow the rules of this module:

* **Lane.** Uploads go one after another (`lane`), so the order of submission is the order of the queue, and a
  crash leaves at most one upload whose outcome is not known.
* **Slots.** A chunk holds a slot from the moment its upload starts until its batch is finished, also while the
  answer to its upload is lost.
* **Claims.** A chunk may be sent only if it shares no key with any chunk that holds a slot, nor with any earlier
  unsent chunk of its job.  Which chunks share keys is computed outside and told as a fact; here it is a graph.
  Only the first ``lookahead_chunks`` unsent chunks of a job are looked at, the others are no candidates; in which
  order, and how many ahead, is told in `claiming`.
* **Order.** Which job goes next is told in `turns`.  Within a job the unsent chunk that comes first goes first; a
  chunk that comes back takes its old place.
* **Polling.** Only the oldest batches can have moved, as many as there are importers, so only they are polled, when
  they are likely to have ended; and as many are kept as keep the importers busy meanwhile (`line`).
* **Failure of a whole batch** says nothing about its rows.  It is sent once more, then halved until the record
  that breaks it stands alone.  Two in a row before any success mean that something else is wrong: the job stops.

Nothing here waits, reads a clock or logs.  ``decide`` hands out every piece of work once; each is answered by
one fact.  Time is an integer of milliseconds and is handed in; it must not go backwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from orchestrator.model import BATCH_LIFE_MS, Phase
from orchestrator.schedule import messages as m
from orchestrator.schedule.budget import Budget
from orchestrator.schedule.claiming import Claiming
from orchestrator.schedule.knowledge import FAILURES_IN_VAIN_MAX, Knowledge
from orchestrator.schedule.messages import Stop
from orchestrator.schedule.seeking import is_sought
from orchestrator.schedule.state import Limits, TrackedChunk, TrackedJob, steps_of
from orchestrator.schedule.turns import Turns

# A day of the quota has 25 hours at most, Marketo may begin the next one two hours late, and one is left to collect.
LAST_DAY_MS = 28 * 3_600_000
FROM_RESERVE_EVERY_MS = 3_600_000  # a batch is asked after with calls that are left to others


class Scheduler:
    """The schedule of one subscription: `Knowledge`, and the decisions drawn from it."""

    def __init__(self, limits: Limits, *, body_bytes_max: int, rng: Random) -> None:
        self.known = Knowledge(limits, body_bytes_max=body_bytes_max, rng=rng)
        self.budget = Budget(limits)
        self.turns = Turns(self.known)
        self.claiming = Claiming(self.known, self.turns)
        self.limits = limits
        self._draining = False

    def apply(self, fact: m.Fact | m.CallsCounted | m.BatchesTook, now_ms: int) -> None:
        """Take a fact in.

        Raises:
            ImpossibleFact: the fact does not fit what is known.

        """
        if isinstance(fact, m.CallsCounted):
            self.budget.count(fact)
        elif isinstance(fact, m.BatchesTook):
            self.known.doubt.note_longest(fact.longest_ms)
        else:
            self.known.apply(fact, now_ms)

    def drain(self) -> None:
        """Begin nothing more."""
        self._draining = True

    def decide(self, now_ms: int) -> list[m.Command]:
        """Return what is to be done now, each piece once, and last until when nothing else is."""
        known = self.known
        known.age(now_ms)
        if not self._draining and not known.denied:
            self._stop_the_impatient()
        known.let_go(now_ms)
        commands: list[m.Command] = [m.ReleaseClaims(chunk=chunk) for chunk in known.conflicts.take_released()]
        if not self._draining:
            if not self.known.denied:
                commands += self._polls(now_ms)
                commands += self._collections(now_ms)
                if not self.budget.spent:
                    commands += self._seeks(now_ms)
                if not self.short_of_calls:
                    commands += self._submission(now_ms)
                    self._stop_the_impatient()  # what was sent may have taken the last calls that others could have
                commands += self._repairs(now_ms)
            commands += self._endings()
            if not self.known.denied:
                commands += self._claims(now_ms)  # last: jobs that end want none
        wake_ms = self._wake_ms(now_ms)
        if wake_ms is not None:
            commands.append(m.WaitUntil(at_ms=wake_ms))
        return commands

    @property
    def short_of_calls(self) -> bool:
        """Tell whether nothing is sent because the day's calls are needed for what is under way, or are spent."""
        return self.budget.short(len(self.known.in_flight) + len(self._collecting()))

    @property
    def _no_calls_left(self) -> bool:
        return self.budget.spent or self.known.calls.quota_refused

    def _stop_the_impatient(self) -> None:
        """Stop the jobs that are not to wait for the next day of the quota, if the calls of this one are used up."""
        spent = self._no_calls_left
        if not spent and not self.short_of_calls:
            return
        for job in self.known.jobs.values():
            if job.sends and not job.waits_for_quota and (job.ready or (spent and job.moving)):
                job.stop(Stop.QUOTA_EXHAUSTED)

    def _heads(self) -> list[TrackedChunk]:
        """Return the batches that can have moved: the oldest, as many as there are importers."""
        return [c for c in self.known.line.settle(self.known.batches) if c.job.asks]

    def _runs_short_ms(self, now_ms: int) -> int | None:
        """Return when to send more to keep the importers busy; None if there is nothing to send."""
        if not any(map(self.turns.has_more, self.known.jobs.values())):
            return None
        line = self.known.line
        return line.covered_until_ms(self.known.batches, now_ms) - line.delay_ms

    def _next_polls(self, runs_short_ms: int | None) -> list[tuple[int, TrackedChunk]]:
        """Return the batches to be asked after, each with when."""
        known = self.known
        idle = [chunk for chunk in self._heads() if not chunk.at_work]
        hurried = [(max(known.line.poll_ms(chunk, runs_short_ms), self._calls_ms(chunk)), chunk) for chunk in idle]
        if not self.budget.spent:
            return hurried
        return [(max(at_ms, (chunk.asked_ms or 0) + FROM_RESERVE_EVERY_MS), chunk) for at_ms, chunk in hurried]

    def _polls(self, now_ms: int) -> Iterator[m.Command]:
        for at_ms, chunk in self._next_polls(self._runs_short_ms(now_ms)):
            if at_ms <= now_ms and chunk.batch_id is not None:
                chunk.begin()
                yield m.PollBatch(chunk=chunk.id, batch_id=chunk.batch_id)

    def _calls_ms(self, chunk: TrackedChunk) -> int:
        """Return from when on calls about a batch may be made.

        When the day's calls are spent, those left to others are taken for what Marketo may forget before the next day.
        """
        last_day_ms = chunk.submitted_ms + BATCH_LIFE_MS - LAST_DAY_MS
        return max(self.known.calls.ready_ms, last_day_ms if self.budget.spent else 0)

    def _due(self, chunk: TrackedChunk) -> int:
        return max(chunk.due_ms, self._calls_ms(chunk))

    def _collecting(self) -> list[TrackedChunk]:
        """Return the finished batches to be collected, first those that Marketo forgets first."""
        driven = [job for job in self.known.jobs.values() if job.asks and not job.occupies]
        moving = [c for job in driven for c in job.moving]
        return sorted((c for c in moving if c.phase is Phase.COLLECTING), key=lambda c: (c.submitted_ms, c.id))

    def _collections(self, now_ms: int) -> Iterator[m.Command]:
        for chunk in self._collecting():
            if not chunk.at_work and self._due(chunk) <= now_ms and chunk.batch_id is not None:
                chunk.begin()
                yield m.CollectBatch(chunk=chunk.id, batch_id=chunk.batch_id)

    def _seeks(self, now_ms: int) -> Iterator[m.Command]:
        chunk = self.known.seeking.next(self.known.in_flight, now_ms) if now_ms >= self.known.calls.ready_ms else None
        if chunk is not None:
            self.known.seeking.begin(chunk)
            yield m.SeekBatch(chunk=chunk.id)

    def _claims(self, now_ms: int) -> Iterator[m.Command]:
        chunk = self.claiming.next(now_ms)
        if chunk is not None:
            self.known.claiming = chunk.id
            yield m.ComputeClaims(chunk=chunk.id)

    def _repairs(self, now_ms: int) -> Iterator[m.Command]:
        """Cut, or give up, what cannot be sent as it is."""
        for job in self.known.jobs.values():
            for chunk in self.turns.unsendable(job):
                if chunk.at_work or chunk.id == self.known.claiming or now_ms < chunk.due_ms:
                    continue
                if not self.turns.fits(chunk):
                    yield self._make_smaller(chunk)
                elif self._is_to_blame(chunk):
                    if job.completed == 0 or self._is_in_vain(chunk):
                        job.stop(Stop.BATCHES_FAILED)
                        break
                    yield self._isolate(chunk)

    def _make_smaller(self, chunk: TrackedChunk) -> m.Command:
        chunk.begin()
        if chunk.rows == 1:
            return m.RefuseChunk(chunk=chunk.id)
        if chunk.body_bytes > self.known.cap.bytes_max:
            return m.SplitChunk(chunk=chunk.id, body_bytes_max=self.known.cap.bytes_max)
        return m.SplitChunk(chunk=chunk.id, rows_max=-(-chunk.rows // 2))

    def _isolate(self, chunk: TrackedChunk) -> m.Command:
        chunk.begin()
        if self._is_smallest(chunk):
            return m.RefuseChunk(chunk=chunk.id)
        if chunk.cut_at_completion is None:
            chunk.cut_at_completion = chunk.failed_at_completion
        return m.SplitChunk(chunk=chunk.id, rows_max=-(-chunk.rows // 2))

    def _is_to_blame(self, chunk: TrackedChunk) -> bool:
        """Tell whether it is the chunk that fails: another completed since, or no other is left to try."""
        job = chunk.job
        if job.completed > chunk.failed_at_completion:
            return True
        if job.at_work or any(not c.let_go for c in job.moving):
            return False
        return self.turns.look(job, held=[]) == (None, None)

    def _is_in_vain(self, chunk: TrackedChunk) -> bool:
        """Tell whether everything fails, so that it is Marketo's fault, and cutting would find fault with sound rows.

        If a batch was completed since the failure of the chunk that this one was cut from, or this one was resumed after
        it had failed and has failed again, the fault is its own.
        """
        job = chunk.job
        if job.completed > chunk.failed_at_completion or len(list(self.turns.unsendable(job))) == 1:
            return False
        whole = chunk.cut_at_completion
        to_blame = chunk.tried_anew or (whole is not None and job.completed > whole)
        return job.failed_in_a_row >= FAILURES_IN_VAIN_MAX or (self._is_smallest(chunk) and not to_blame)

    def _is_smallest(self, chunk: TrackedChunk) -> bool:
        return chunk.rows == 1 or chunk.depth >= self.limits.isolate_depth_max

    def _submission(self, now_ms: int) -> Iterator[m.Command]:
        lane = self.known.lane
        if now_ms < self.known.calls.ready_ms or not lane.free(now_ms):
            return
        held = self.known.in_flight
        in_doubt = sum(c.phase is Phase.UNKNOWN for c in held)
        chunk = self._held_over(held, now_ms) if lane.fits(len(held) - in_doubt, now_ms) else None
        if chunk is None and lane.room(len(held), in_doubt, self._wanted(now_ms), now_ms):
            chunk = self.turns.next(held, now_ms)
        if chunk is None:
            return
        listed_for, listed_ms = chunk.job.gate.take_wait(now_ms)
        waited_for, waited_ms = lane.start(chunk.id, now_ms)
        if chunk.phase is Phase.READY:
            chunk.job.dequeue(chunk)
            chunk.job.moving.append(chunk)
        command = m.SubmitChunk(chunk=chunk.id, waited_for=waited_for or listed_for, waited_ms=waited_ms or listed_ms)
        (chunk.phase,) = steps_of(chunk, command)
        chunk.submitted_ms = now_ms
        yield command

    def _wanted(self, now_ms: int) -> int:
        """Return how many batches to keep at Marketo: as many as keep the importers busy, more behind others'."""
        limits, known = self.limits, self.known
        if limits.queue_depth is not None:
            return limits.usual_depth
        if known.lane.crowded:
            return limits.slots
        batches = known.batches
        wants_more = not known.line.is_covered(batches, now_ms) or self._next_is_new(now_ms)
        return min(limits.slots, len(batches) + wants_more)

    def _next_is_new(self, now_ms: int) -> bool:
        """Tell whether the job whose turn it is has nothing at Marketo: it need not wait until others need more there."""
        jobs = [job for job in self.turns.open(now_ms) if self.turns.has_more(job)]
        if all(any(chunk.holds_slot for chunk in job.moving) for job in jobs):
            return False
        held, reserved = self.known.in_flight, self.turns.reserved(now_ms)
        for job in self.turns.line_up(jobs, reserved):
            if (
                self.turns.look(job, held, reserved)[0] is not None
            ):  # what is in its keys' way is no reason to send others'
                return not any(chunk.holds_slot for chunk in job.moving)
        return False

    def _held_over(self, held: list[TrackedChunk], now_ms: int) -> TrackedChunk | None:
        """Return the first chunk of unknown outcome whose hold is over.

        Two of them may share a key, if one was let go of in between; their batches are at work no more, so they
        do not stand in each other's way.
        """
        doubtful = [c for c in held if c.phase is Phase.UNKNOWN and not is_sought(c) and not c.at_work]
        over = [c for c in doubtful if now_ms >= self.known.doubt.over_ms(c)]
        others = [c for c in held if c not in over]
        for chunk in over:
            wanted = chunk.resendable and now_ms >= chunk.job.gate.ready_ms
            if wanted and self.turns.has_claims(chunk) and self.turns.is_free(chunk, others):
                return chunk
        return None

    def _endings(self) -> Iterator[m.Command]:
        for job in self.known.jobs.values():
            if job.finishing or not self._is_over(job):
                continue
            job.finishing = True
            held = [Stop.HELD] if any(c.waits_for_user for c in job.moving) else []
            yield m.FinishJob(job=job.id, stops=(*job.stops, *held))

    def _is_over(self, job: TrackedJob) -> bool:
        """Tell whether nothing more can happen to a job in this run."""
        if job.sending and job.ready and not any(c.waits_for_user for c in job.moving):
            return False
        if not job.sends:
            return (
                not job.occupies and not job.ready and not job.moving
            )  # else it ended before, and somebody has to resume it
        if job.at_work or any(c.phase is Phase.SUBMITTING for c in job.moving):
            return False
        if Stop.DENIED in job.stops or Stop.GAVE_UP in job.stops:
            return True
        if Stop.QUOTA_EXHAUSTED in job.stops and self._no_calls_left:
            return True
        if any(c.phase is not Phase.UNKNOWN or c.resendable or is_sought(c) for c in job.moving):
            return False
        return not job.sending or not job.ready or self._waits_for_user(job)

    def _waits_for_user(self, job: TrackedJob) -> bool:
        """Tell whether nothing of a job can be sent before the user has decided about what is in doubt."""
        if not any(c.waits_for_user for c in job.moving):
            return False
        held = self.known.in_flight
        waiting = [c for c in held if c.waits_for_user and c.job.sending and not c.orphaned]  # the others time lets go
        if len(held) >= self.limits.slots:
            return len(waiting) == len(held)
        return all(map(self.turns.has_claims, waiting)) and self.turns.look(job, waiting) == (None, None)

    def _wake_ms(self, now_ms: int) -> int | None:
        """Return when the next decision can differ from this one without a new fact."""
        known = self.known
        if self._draining or known.denied:
            return None
        runs_short_ms = self._runs_short_ms(now_ms)
        times = [at_ms for at_ms, _ in self._next_polls(runs_short_ms)]
        times += [self._due(c) for c in self._collecting() if not c.at_work]
        unknown = [c for c in known.in_flight if c.phase is Phase.UNKNOWN]
        lane = known.lane
        lane_opens_ms = max(lane.gate.ready_ms, known.calls.ready_ms)
        if not lane.fits(known.at_marketo, now_ms):
            lane_opens_ms = max(lane_opens_ms, lane.full.ready_ms)
        for chunk in unknown:
            over_ms = known.doubt.over_ms(chunk)
            if is_sought(chunk):
                if not known.seeking.busy:
                    times.append(max(chunk.seek_ms or 0, known.calls.ready_ms))
            else:
                times.append(max(chunk.job.gate.ready_ms, over_ms, lane_opens_ms) if chunk.resendable else over_ms)
        if lane.busy is None and runs_short_ms is not None:
            waiting = filter(self.turns.has_more, known.jobs.values())
            times += [max(job.gate.ready_ms, lane_opens_ms) for job in waiting]
            times.append(runs_short_ms + 1)
        for job in known.jobs.values():
            if job.resting_ms is not None and any(chunk.blocked_ms is not None for chunk in job.queue[:1]):
                times.append(job.resting_ms + self.limits.paused_hold_ms)
            times += [chunk.due_ms for chunk in self.turns.unsendable(job)]
        if (gives_up_ms := known.gives_up_ms) is not None:
            times.append(gives_up_ms)
        return min((t for t in times if t > now_ms), default=None)
