"""What was foretold of a running job's end, and why it ends later: judged by its events, and by nothing else.

A forecast that was told stands until a later one differs by more than a fifth of the whole duration that it
foretold, from the first event seen to the end that is as likely as not, and by more than a minute.  An earlier end takes its place in silence;
a later one is told, with what stood in the job's way since.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from orchestrator import events
from orchestrator.report.eta import Eta, expect

PARTS = 5  # a fifth is much: of the duration foretold, of the time since, of the batches that ended
MINUTE_MS = 60_000  # less is not worth a word
TELL_EVERY_MS = 10 * MINUTE_MS  # a job that gets slower and slower tells so no more often

ANSWER_LOST = "answer_lost"
BATCH_FAILED = "batch_failed"
QUOTA_EXHAUSTED = "quota_exhausted"
OTHER_JOBS = "other_jobs"
SLOWER_BATCHES = "slower_batches"
_ALL = 0  # in place of a chunk: what keeps every one from being sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """What lies before a job's end."""

    ends: Sequence[tuple[int, int]]  # when batches ended, of all jobs of the subscription, and their rows
    rows: int  # that are imported until then
    of_others: int = 0  # rows of these that are other jobs'


@dataclass(slots=True)
class Outlook:
    """The forecast of one job that was told last, and what happened to the job since."""

    _since_ms: int | None = None
    told_p50_ms: int | None = None  # the forecast that stands
    told_of_others: int = 0  # rows
    _told_ms: int = 0
    _slipped_ms: int | None = None
    _waiting: dict[int, tuple[str, int]] = field(default_factory=dict)  # chunk -> why, and since when
    _waited_ms: Counter[str] = field(default_factory=Counter)
    _ended: int = 0
    _failed: int = 0

    def recall(self, told: events.EtaForetold, *, begun_ms: int, slipped_ms: int | None, stood_ms: int) -> None:
        """Go on from what was told last; ``stood_ms`` in which the job stood still since move its begin and its end."""
        self._since_ms = begun_ms + stood_ms
        self.told_p50_ms, self.told_of_others = told.p50_ms + stood_ms, told.rows_of_others
        self._told_ms, self._slipped_ms = told.ts_ms + stood_ms, slipped_ms

    def saw(self, event: events.Event, look: Callable[[], Way]) -> events.EtaSlipped | None:
        """Take in what happens; return what is to be told if the job ends much later by it.

        ``look`` tells what lies before the job's end behind a batch that completes by the event.
        """
        now_ms = event.ts_ms
        self._since_ms = now_ms if self._since_ms is None else self._since_ms
        match event:
            case events.ChunkDeferred():
                self._waits(event.chunk, event.cause, now_ms)
            case events.ChunkDeliveryUnknown():
                self._waits(event.chunk, ANSWER_LOST, now_ms)
            case events.QuotaReached():
                self._waits(_ALL, QUOTA_EXHAUSTED, now_ms)
            case events.ChunkSubmitted() | events.ChunkAdopted() | events.ChunkSplit() | events.ChunkRefused():
                self._goes_on(event.chunk, now_ms)
                if isinstance(event, events.ChunkSubmitted):
                    self._goes_on(_ALL, now_ms)
            case events.BatchFailed():
                self._failed += 1
            case events.BatchCompleted():
                self._ended += 1
                return self._compare(event, look(), self._since_ms)
        return None

    def _compare(self, event: events.BatchCompleted, way: Way, since_ms: int) -> events.EtaSlipped | None:
        now_ms, before_ms = event.ts_ms, self.told_p50_ms
        eta = expect(way.ends, way.rows, now_ms)
        if eta is None:
            return None
        if before_ms is None:
            self._tell(eta, way, now_ms)
            return None
        later_ms = eta.p50_ms - before_ms
        if later_ms < 0 and -later_ms * PARTS > before_ms - since_ms:
            self._tell(eta, way, now_ms)
            return None
        if later_ms <= max((before_ms - since_ms) / PARTS, MINUTE_MS):
            return None
        if self._slipped_ms is not None and now_ms - self._slipped_ms < TELL_EVERY_MS:
            return None
        by_others_ms = (eta.p50_ms - now_ms) * (way.of_others - self.told_of_others) / way.rows
        reason = OTHER_JOBS if by_others_ms * 2 >= later_ms else self._reason(now_ms)
        self._slipped_ms = now_ms
        self._tell(eta, way, now_ms)
        return events.EtaSlipped(
            job_id=event.job_id, ts_ms=now_ms, p50_before_ms=before_ms, p50_after_ms=eta.p50_ms, reason=reason
        )

    def _tell(self, eta: Eta, way: Way, now_ms: int) -> None:
        """Let a forecast stand, and look only at what happens from now on."""
        self.told_p50_ms, self._told_ms, self.told_of_others = eta.p50_ms, now_ms, way.of_others
        self._waiting = {chunk: (why, now_ms) for chunk, (why, _) in self._waiting.items()}
        self._waited_ms.clear()
        self._ended = self._failed = 0

    def _reason(self, now_ms: int) -> str:
        """Return what chunks waited for longest; if not for long, whether batches failed, or only took longer."""
        waited_ms = Counter(self._waited_ms)
        for why, since_ms in self._waiting.values():
            waited_ms[why] += now_ms - since_ms
        for why, ms in waited_ms.most_common(1):
            if ms * PARTS >= now_ms - self._told_ms:
                return why
        return BATCH_FAILED if self._failed * PARTS >= max(1, self._ended) else SLOWER_BATCHES

    def _waits(self, chunk: int, why: str, now_ms: int) -> None:
        if self._waiting.get(chunk, ("", 0))[0] != why:
            self._goes_on(chunk, now_ms)
            self._waiting[chunk] = why, now_ms

    def _goes_on(self, chunk: int, now_ms: int) -> None:
        if chunk in self._waiting:
            why, since_ms = self._waiting.pop(chunk)
            self._waited_ms[why] += now_ms - since_ms
