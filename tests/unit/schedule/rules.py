"""What each decision of the heart has to keep to, judged from the facts it was told, beside its own reckoning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from orchestrator.model import BATCH_LIFE_MS, RANKS, BatchStatus, ChunkId, Phase
from orchestrator.schedule import messages as m
from orchestrator.schedule import turns
from orchestrator.schedule.budget import CALLS_PER_BATCH
from orchestrator.schedule.core import LAST_DAY_MS, Scheduler
from orchestrator.schedule.messages import Cause
from orchestrator.schedule.shares import OWED_BYTES_MAX
from orchestrator.schedule.state import FINAL, Limits, TrackedChunk, TrackedJob
from tests.unit.schedule.shadow import Shadow

DAY_MS = 86_400_000
FLOOR = 1_000_000
BEFORE_ONE_MORE = 0.75  # of the shortest backoff, with its jitter


@dataclass(slots=True)
class Rules:
    """A mirror of the limits that facts set, and the checks of each command against them."""

    limits: Limits
    shadow: Shadow
    configured: int
    cap: int
    learned_ms: int = 0
    calls_ms: int = 0  # no call before
    left: int | None = None  # of the day's calls
    ceiling: int = 10**9
    full_ms: int = 0  # no batch above the ceiling before
    reserved: list[TrackedChunk] = field(default_factory=list)  # before the decision that is checked
    tired: bool = False  # some chunk may be reserved then
    sent: dict[str, int | None] = field(default_factory=dict)

    # --- facts -------------------------------------------------------------------------------------------

    def restart(self) -> None:
        """Forget what a process does not tell the next one."""
        self.calls_ms, self.left, self.ceiling, self.full_ms = 0, None, 10**9, 0

    def told(self, fact: m.Fact | m.CallsCounted, now_ms: int) -> None:
        match fact:
            case m.CallsCounted():
                others = max(self.limits.calls_reserved, fact.others)
                self.left = self.limits.calls_per_day - others - fact.own
            case m.ChunkTooLarge():
                cap = max(FLOOR, fact.body_bytes * 95 // 100)
                if cap < self.cap:
                    self.cap, self.learned_ms = cap, now_ms
            case m.ChunkDeferred(cause=Cause.QUEUE_FULL):
                self.ceiling = min(self.limits.slots, self._at_marketo())
                self.full_ms = now_ms + round(BEFORE_ONE_MORE * self.limits.backoff_min_ms)
            case m.ChunkDeferred() | m.CallFailed():
                if fact.cause is Cause.RATE_LIMITED:
                    self.calls_ms = max(self.calls_ms, now_ms + self.limits.window_ms)
                elif fact.cause is Cause.QUOTA_EXHAUSTED:
                    self.calls_ms = max(self.calls_ms, fact.retry_at_ms or 0)
            case m.ChunkAccepted():
                self.ceiling = max(self.ceiling, self._at_marketo())
            case m.BatchGone() | m.BatchPolled(status=BatchStatus.COMPLETE | BatchStatus.FAILED):
                self.full_ms = 0

    def _at_marketo(self) -> int:
        return sum(seen.phase in (Phase.SUBMITTING, Phase.SUBMITTED) for seen in self.shadow.chunks.values())

    # --- decisions ---------------------------------------------------------------------------------------

    def look(self, heart: Scheduler, now_ms: int) -> None:
        """Look at a heart that is about to decide."""
        if self.cap < self.configured and now_ms - self.learned_ms >= DAY_MS:
            self.cap = self.configured
        jobs = heart.known.jobs.values()
        heads = [job.queue[0] for job in jobs if job.queue and not job.finishing]
        tired = [c for c in heads if c.blocked_ms is not None and _is_tired(c, now_ms)]
        self.tired = bool(tired)
        self.reserved = [c for c in tired if self._goes(c, now_ms) and self._free(heart, c, _in_doubt)]
        reached = heart.turns._shares._reached
        self.sent = {
            job.id: job.sent_bytes
            for job in jobs
            if job.sent_bytes is not None and job.sent_bytes >= reached[job.priority] - OWED_BYTES_MAX
        }

    def check(self, heart: Scheduler, command: m.Command, now_ms: int) -> None:
        """Check a command, the shadow being as it was before it."""
        if isinstance(command, m.SubmitChunk | m.PollBatch | m.CollectBatch | m.SeekBatch):
            assert now_ms >= self.calls_ms, "calls are held"
        match command:
            case m.SubmitChunk():
                self._check_submission(heart, self.shadow.chunks[command.chunk], now_ms)
            case m.PollBatch() | m.CollectBatch():
                self._check_call(heart, command, now_ms)
            case m.SeekBatch():
                assert self.left is None or self.left > 0, "no calls left"
            case m.ComputeClaims():
                self._check_window(heart, command.chunk)
            case m.SplitChunk() | m.RefuseChunk():
                self._check_window(heart, command.chunk)
                self._check_repair(heart.known.chunk(command.chunk), command)

    def _check_call(self, heart: Scheduler, command: m.PollBatch | m.CollectBatch, now_ms: int) -> None:
        seen, driven = self.shadow.chunks[command.chunk], heart.known.jobs
        last_day_ms = (seen.submitted_ms or 0) + BATCH_LIFE_MS - LAST_DAY_MS
        assert self.left is None or self.left > 0 or now_ms >= last_day_ms, "no calls left"
        if isinstance(command, m.PollBatch):
            batches = [c for c in self.shadow.chunks.values() if c.phase is Phase.SUBMITTED]
            ours = [c for c in batches if self.shadow.owner[c.id] in driven]
            ours.sort(key=lambda c: (c.submitted_ms or 0, c.id))
            assert seen in ours[: self.limits.importers], "only the oldest can have moved"

    def _check_window(self, heart: Scheduler, chunk: ChunkId) -> None:
        seen = self.shadow.chunks[chunk]
        if seen.phase is Phase.READY:
            job = heart.known.jobs[self.shadow.owner[chunk]]
            open_ = [c for c in self.shadow.of(job.id) if c.source not in job.stopped_sources and c.phase not in FINAL]
            canaries = [c for c in open_ if c.canary]
            queue = sorted((c.source, c.first_row) for c in canaries or open_ if c.phase is Phase.READY)
            assert (seen.source, seen.first_row) in queue[: self.limits.lookahead_chunks], "not looked at yet"

    def _check_repair(self, chunk: TrackedChunk, command: m.SplitChunk | m.RefuseChunk) -> None:
        seen, job = self.shadow.chunks[chunk.id], chunk.job
        halves = m.SplitChunk(chunk=seen.id, rows_max=-(-seen.rows // 2))
        if seen.body_bytes > self.cap and seen.rows > 1:
            assert command == m.SplitChunk(chunk=seen.id, body_bytes_max=self.cap)
        elif seen.too_large or seen.body_bytes > self.cap:
            assert command == (halves if seen.rows > 1 else m.RefuseChunk(chunk=seen.id))
        else:
            assert seen.failures >= 2, "nothing is wrong with it"
            assert job.completed > 0
            others_done = job.completed > chunk.failed_at_completion
            assert others_done or all(c.let_go for c in job.moving), "another one may show that it is not to blame"
            last = seen.rows == 1 or seen.depth >= self.limits.isolate_depth_max
            assert command == (m.RefuseChunk(chunk=seen.id) if last else halves)

    def _check_submission(self, heart: Scheduler, seen: m.ChunkSeen, now_ms: int) -> None:
        held = len(list(self.shadow.held(heart)))
        assert self.left is None or self.left >= CALLS_PER_BATCH * (held + (seen.phase is Phase.READY)), "calls short"
        assert self._at_marketo() < self.ceiling or now_ms >= self.full_ms, "the queue was full"
        if seen.phase is not Phase.READY:
            return
        self._check_window(heart, seen.id)
        assert not seen.too_large
        assert seen.body_bytes <= self.cap
        chosen = heart.known.chunk(seen.id)
        if chosen not in self.reserved:
            waiting = [c for c in self.reserved if c.job is not chosen.job and c.job.sending and not c.job.finishing]
            assert not [c for c in waiting if self.shadow.share(seen, self.shadow.chunks[c.id])], "reserved"
        if not self.tired:
            self._check_order(heart, chosen, now_ms)

    def _check_order(self, heart: Scheduler, chosen: TrackedChunk, now_ms: int) -> None:
        """Check that no other job was to go first: one of a higher priority, or of the same one that got less far."""
        mine = chosen.job
        for job in heart.known.jobs.values():
            if job is mine or not job.queue or RANKS.index(job.priority) > RANKS.index(mine.priority):
                continue
            head = job.queue[0]
            if self._goes(head, now_ms) and self._free(heart, head, lambda c: c is not chosen):
                assert job.priority is mine.priority, "priority"
                own, other = self.sent.get(mine.id), self.sent.get(job.id)
                assert own is None or other is None or own <= other, "fairness"

    def _goes(self, chunk: TrackedChunk, now_ms: int) -> bool:
        """Tell whether nothing but keys keeps a chunk from being sent."""
        job: TrackedJob = chunk.job
        fits = not chunk.too_large and chunk.body_bytes <= self.cap
        judged = chunk.conflicts is not None or not job.space.compared
        able = job.sending and not job.finishing and not job.proving and now_ms >= job.gate.ready_ms
        return fits and judged and able and chunk.failures < 2 and not chunk.at_work

    def _free(self, heart: Scheduler, chunk: TrackedChunk, counts: Callable[[TrackedChunk], bool]) -> bool:
        """Tell whether a chunk shares no key with some of those in flight, for all that is known of them."""
        others = [c for c in heart.known.in_flight if counts(c)]
        seen, space = self.shadow.chunks[chunk.id], chunk.job.space
        unjudged = [c for c in others if c.conflicts is None and space.meets(c.job.space)]
        return not unjudged and not any(self.shadow.share(seen, self.shadow.chunks[c.id]) for c in others)


def _is_tired(chunk: TrackedChunk, now_ms: int) -> bool:
    return chunk.passed_over >= turns.PASSED_OVER_MAX or now_ms - (chunk.blocked_ms or 0) >= turns.PASSED_OVER_MS_MAX


def _in_doubt(chunk: TrackedChunk) -> bool:
    return chunk.phase is Phase.UNKNOWN
