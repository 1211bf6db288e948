"""When a job is likely to end, by all that the journal knows of its subscription.

All jobs go through one queue, so the pace is that of all of them together; a job's end lies behind its own rows and
those of others that go before it or take turns with it.  Before batches have ended, the whole duration of earlier jobs
into the same target stands in; and where the day's calls do not suffice, the next day has to come.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt

from orchestrator.clock import Clock
from orchestrator.config import Settings
from orchestrator.errors import JobUnknown
from orchestrator.journal.journal import Journal
from orchestrator.journal.values import ENDED, Backlog, DayCalls, Owner, Tally
from orchestrator.marketo.day import DayEnd, day_end, day_reset_ms, quota_day
from orchestrator.model import RANKS, Chunk, Job, JobId, JobState, Phase, Source, Target
from orchestrator.report.ahead import Calls, Left, rows_ahead, with_calls
from orchestrator.report.eta import ENDS_MAX, PAUSE_MS, Eta, expect, in_one_drive, without_idleness
from orchestrator.schedule.budget import CALLS_PER_BATCH
from orchestrator.tables import Limits

JOBS_LEARNED_FROM = 20  # the latest finished ones
TRUSTED_FOR_MS = 30 * 86_400_000  # what went well longer ago says little about the next job
_GOING_ON = (JobState.PLANNING, JobState.RUNNING)
_FINISHED = (Phase.DONE, Phase.COLLECTING)
ALIKE = 10  # times fewer rows; what is even smaller tells little, for beginning and ending take their time
# Without experience: what users report of Marketo lies between these; Adobe states no figure.
ROWS_PER_SECOND_ASSUMED = (50.0, 500.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """How fast a whole import goes, from slow to fast, and how that is known."""

    slow_rows_per_second: float
    fast_rows_per_second: float
    basis: str

    @property
    def likely_rows_per_second(self) -> float:
        """What lies between slow and fast, as far from one as from the other."""
        return sqrt(self.slow_rows_per_second * self.fast_rows_per_second)

    def eta(self, rows: int, now_ms: int) -> Eta:
        """Return when so many rows are through that begin now."""
        return Eta(
            p50_ms=now_ms + round(1000 * rows / self.likely_rows_per_second),
            p90_ms=now_ms + round(1000 * rows / self.slow_rows_per_second),
            basis=self.basis,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Behind:
    """A job that has to end before another one begins."""

    job_id: JobId
    stopped: bool  # nobody sends it, so somebody has to resume or cancel it first


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """What lies before a job that runs; None: nobody can tell."""

    eta: Eta | None
    calls_end: DayEnd | None  # of those that imports may make today
    behind: Behind | None = None
    hung: Owner | None = None  # the process that drives the subscription, if it does nothing


NOTHING = Prospect(eta=None, calls_end=None)


def learned_speed(finished: Sequence[tuple[Job, int]], rows: int) -> Speed | None:
    """Return the speed of earlier jobs, given with their rows, for one of so many rows; None if there are none.

    Much smaller jobs do not count: they tell how long it takes to begin and to end, and little of the rows.
    """
    rates = [
        done * 1000 / (job.finished_ms - job.started_ms)
        for job, done in finished
        if done
        and ALIKE * done >= rows
        and job.started_ms is not None
        and job.finished_ms is not None
        and job.finished_ms > job.started_ms
    ]
    if not rates:
        return None
    slow, fast = min(rates), max(rates)
    return Speed(
        slow_rows_per_second=slow * 0.8,
        fast_rows_per_second=fast * 1.25,
        basis=(f"{len(rates)} finished job{'s' if len(rates) > 1 else ''} into this target at {_rates(slow, fast)}"),
    )


def _rates(slow: float, fast: float) -> str:
    """Write speeds from slow to fast, in a unit in which the slow one is no naught."""
    unit, times = ("rows/s", 1) if slow >= 1 else ("rows/min", 60)
    least, most = f"{times * slow:,.0f}", f"{times * fast:,.0f}"
    return f"{most} {unit}" if least == most else f"{least} to {most} {unit}"


def assumed_speed(importers: int) -> Speed:
    """Return the speed that is assumed without any experience."""
    slow, fast = ROWS_PER_SECOND_ASSUMED
    return Speed(
        slow_rows_per_second=slow * importers,
        fast_rows_per_second=fast * importers,
        basis=(
            f"no finished job of such a size into this target to learn from; assumed are {slow:.0f} to {fast:.0f} rows/s"
            f"{f' for each of {importers} importers' if importers > 1 else ''}"
        ),
    )


async def earlier_speed(journal: Journal, host: str, target: Target, rows: int) -> Speed | None:
    """Return the speed of the latest finished jobs into a target for one of so many rows, None if there are none."""
    finished = [job for job in await journal.jobs(host=host, states=(JobState.COMPLETE,)) if job.target == target]
    done = [(job, (await journal.progress(job.id)).total.rows) for job in finished[-JOBS_LEARNED_FROM:]]
    return learned_speed(done, rows)


async def is_like_before(journal: Journal, job: Job, sources: Sequence[Source], now_ms: int) -> bool:
    """Tell whether rows of the same columns as each of these sources went well into the job's target of late."""
    headers = {source.header for source in sources}
    return await journal.went_well(job.host, job.target, headers, since_ms=now_ms - TRUSTED_FOR_MS)


class Prospects:
    """Foretells the ends of jobs."""

    def __init__(self, *, journal: Journal, settings: Settings, clock: Clock, wanted: Callable[[JobId], bool]) -> None:
        """Foretell by a journal; ``wanted`` tells whether some live process waits for a job."""
        self._journal = journal
        self._settings = settings
        self._clock = clock
        self._wanted = wanted

    def day_end(self, calls: DayCalls, limits: Limits) -> DayEnd | None:
        """Predict when the calls that imports may make today end; None if it is too early to tell."""
        return day_end(
            self._clock.wall_ms(),
            own=calls.own,
            others=calls.others,
            per_day=limits.calls_per_day,
            reserved=limits.calls_reserved,
        )

    async def of(self, job: Job, *, attended: bool) -> Prospect:
        """Return what lies before a job; nothing if it does not run.

        No end is foretold of one that is being stopped, nor if no process works on it, ``attended``, or that hangs.
        """
        if job.state is not JobState.RUNNING:
            return NOTHING
        known = job.subscription in self._settings.subscriptions
        limits = self._settings.subscription(job.subscription).limits if known else self._settings.limits
        today = await self._journal.calls_of(job.host, quota_day(self._clock.wall_ms()))
        behind = await self._behind(job)
        owner = await self._journal.owner(job.host)
        hung = owner if owner is not None and owner.hangs else None
        stands = not attended or hung is not None or job.wish is not None or (behind is not None and behind.stopped)
        eta = None if stands else await self._eta(job, today, limits)
        return Prospect(eta=eta, calls_end=self.day_end(today, limits), behind=behind, hung=hung)

    async def proving(self, job: Job, sources: Sequence[Source], chunks: Sequence[Chunk]) -> bool:
        """Tell whether nothing more of a job is sent before its first batch is complete."""
        if job.state is not JobState.RUNNING or any(chunk.phase in _FINISHED for chunk in chunks):
            return False
        if any(chunk.batch_failures for chunk in chunks):
            return True
        careful = self._settings.schedule.slow_start
        return careful and not await is_like_before(self._journal, job, sources, self._clock.now_ms())

    async def _behind(self, job: Job) -> Behind | None:
        """Return what a job waits for: the first of those before it that stands still, else the one right before it."""
        found: list[Behind] = []
        after = job.options.after
        while after is not None and after not in [each.job_id for each in found]:
            try:
                before = await self._journal.job(after)
            except JobUnknown:  # pruned: it has ended long ago
                break
            if before.state in ENDED:
                break
            sent = before.state in _GOING_ON and (before.options.detached or self._wanted(before.id))
            found.append(Behind(job_id=before.id, stopped=not sent))
            after = before.options.after
        return next((each for each in found if each.stopped), found[0] if found else None)

    async def _eta(self, job: Job, today: DayCalls, limits: Limits) -> Eta | None:
        now_ms = self._clock.now_ms()
        backlog = await self._journal.backlog(job.host, since_ms=now_ms - PAUSE_MS, ends_max=ENDS_MAX)
        own = next((tally for other, tally in backlog.jobs if other.id == job.id), None)
        if own is None or not own.rows:
            return None
        others = self._others(job, backlog)
        rows = rows_ahead(_left(job, own), others)
        calls = await self._calls(job, own, today, limits)
        owner = await self._journal.owner(job.host)
        ends, goes_on = in_one_drive(without_idleness(backlog.ends), 0 if owner is None else owner.since_ms)
        at_ms = now_ms
        if ends and (calls.left <= 0 or goes_on):  # it stands, or stood, still, and goes on at the pace it had
            at_ms = min(now_ms, ends[-1][0])
        eta = expect(ends, rows, at_ms)
        if eta is None:
            speed = await earlier_speed(self._journal, job.host, job.target, rows)
            eta = None if speed is None else speed.eta(rows, now_ms)
        else:
            eta = replace(eta, p50_ms=eta.p50_ms + now_ms - at_ms, p90_ms=eta.p90_ms + now_ms - at_ms)
        if eta is None:
            return None
        if others:
            eta = replace(eta, basis=f"{eta.basis}, beside {len(others)} other job{'s' if len(others) > 1 else ''}")
        return with_calls(eta, rows, now_ms, calls)

    def _others(self, job: Job, backlog: Backlog) -> list[Left]:
        """Return what of others is imported before the end of a job, or while it takes turns with them."""
        known = {other.id: other for other, _ in backlog.jobs}
        before = _predecessors(job, known)
        found = []
        for other, tally in backlog.jobs:
            sent = other.options.detached or self._wanted(other.id)
            if other.id != job.id and tally.rows and sent and job.id not in _predecessors(other, known):
                found.append(_left(other, tally, first=other.id in before))
        rank = RANKS.index(job.options.priority)
        return [left for left in found if left.first or RANKS.index(left.priority) <= rank]

    async def _calls(self, job: Job, own: Tally, today: DayCalls, limits: Limits) -> Calls:
        """Return the calls that there are, and how many a row takes: as the job's own did, if any was imported."""
        counted = (await self._journal.counters(job.id)).api_calls
        made = sum(count for kind, count in counted.items() if kind != "token")
        imported = (await self._journal.progress(job.id)).total.rows - own.rows
        wall_ms = self._clock.wall_ms()
        return Calls(
            left=limits.calls_per_day - max(limits.calls_reserved, today.others) - today.own,
            per_day=limits.calls_per_day - limits.calls_reserved,
            per_row=made / imported if made and imported else CALLS_PER_BATCH * own.chunks / own.rows,
            reset_ms=self._clock.now_ms() + day_reset_ms(wall_ms) - wall_ms,
        )


def _left(job: Job, tally: Tally, *, first: bool = False) -> Left:
    return Left(rows=tally.rows, size_bytes=tally.span_bytes, priority=job.options.priority, first=first)


def _predecessors(job: Job, known: Mapping[JobId, Job]) -> list[JobId]:
    """Return the jobs that run and have to end before a job begins."""
    found: list[JobId] = []
    one: Job | None = job
    while one is not None and one.options.after is not None and one.options.after not in found:
        found.append(JobId(one.options.after))
        one = known.get(found[-1])
    return found
