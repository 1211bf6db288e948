"""What is known of a running job, and the words for it; no clock and no terminal in here.

A view is fed with events and with counts from the journal, and turned into lines at a given moment.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestrator.cli.words import between, duration, moment, number, of_day, percent, plural, rows, size
from orchestrator.events import (
    BatchCompleted,
    BatchFailed,
    BatchStarted,
    ChunkDeferred,
    ChunkDeliveryUnknown,
    ChunkRefused,
    ChunkSubmitted,
    EtaSlipped,
    Event,
    JobPlanned,
)
from orchestrator.journal.values import Owner, Progress, Tally
from orchestrator.model import Job, JobState, Phase, Wish
from orchestrator.prospect import NOTHING, Behind, Prospect
from orchestrator.report.eta import ENDS_MIN, Eta

BAR_WIDTH = 30  # characters

CAUSES = {
    "queue_full": "Marketo's import queue is full",
    "list_busy": "another import into the same list is under way",
    "rate_limited": "too many API calls",
    "concurrency_limited": "too many API calls at a time",
    "quota_exhausted": "the daily API quota is used up",
    "transient": "Marketo cannot be reached, or is unavailable for a moment",
}
REASONS = {
    **CAUSES,
    "quota_exhausted": "the API calls of the day are used up, or left to others",
    "answer_lost": "the answer to an upload was lost, and its rows are held",
    "batch_failed": "Marketo failed a batch, and it is taken apart",
    "other_jobs": "other jobs go first, or take turns with it",
    "slower_batches": "batches take longer than before",
}


@dataclass(slots=True)
class _Batch:
    batch_id: int
    since_ms: int


@dataclass(slots=True)
class View:
    """One job as it looks from outside."""

    label: str
    importers: int
    flags: str = ""  # that a next command needs
    progress: Progress | None = None
    _job: Job | None = None
    source_bytes: int = 0
    planned: bool = False
    _rows: dict[int, int] = field(default_factory=dict)  # of each batch
    _importing: dict[int, _Batch] = field(default_factory=dict)
    _waiting: dict[int, ChunkDeferred] = field(default_factory=dict)  # by chunk
    _held: dict[int, int] = field(default_factory=dict)  # chunk -> until
    _prospect: Prospect = NOTHING

    def saw(self, event: Event) -> None:
        """Take in what happened."""
        match event:
            case JobPlanned():
                self.planned = True
                self.source_bytes = event.source_bytes
            case ChunkSubmitted():
                self._rows[event.batch_id] = event.rows
                self._waiting.pop(event.chunk, None)
                self._held.pop(event.chunk, None)
            case ChunkDeferred():
                if event.chunk not in self._waiting or self._waiting[event.chunk].cause != event.cause:
                    self._waiting[event.chunk] = event
            case ChunkDeliveryUnknown():
                self._held[event.chunk] = event.hold_until_ms
            case ChunkRefused():
                self._waiting.pop(event.chunk, None)
            case BatchStarted():
                self._importing[event.batch_id] = _Batch(event.batch_id, event.ts_ms)
            case BatchCompleted() | BatchFailed():
                self._importing.pop(event.batch_id, None)
                self._rows.pop(event.batch_id, None)

    def counted(self, progress: Progress) -> None:
        """Take in what the journal counts."""
        self.progress = progress

    def stands(self, job: Job) -> None:
        """Take in the job as it stands in the journal."""
        self._job = job

    @property
    def over(self) -> bool:
        """Whether the job has ended, or stopped."""
        return self._job is not None and self._job.state not in (JobState.PLANNING, JobState.RUNNING)

    def foretold(self, prospect: Prospect) -> None:
        """Take in what lies before the job."""
        self._prospect = prospect

    # --- words ----------------------------------------------------------------------------------------

    def block(self, now_ms: int) -> list[str]:
        """Describe the job in a few lines, for a display that is drawn again and again."""
        progress = self.progress
        if progress is None or (not progress.total.rows and not self.over):
            return [f"{self.label}: reading the source ..."]
        if self.over:
            return [f"{self.label}  {self._end()}"]
        total, done = progress.total, _done(progress)
        sent = _sent(progress)
        filled = BAR_WIDTH * done // total.rows
        bar = "#" * filled + "-" * (BAR_WIDTH - filled)
        lines = [
            f"{self.label}  [{bar}] {percent(done, total.rows)}",
            f"  forecast  {self._forecast(now_ms)}",
            f"  rows      {number(done)} of {number(total.rows)}{_outcomes(progress)}",
            f"  uploaded  {size(sent.span_bytes)} of {size(total.span_bytes)}, "
            f"{number(sent.chunks)} of {plural(total.chunks, 'chunk')}",
            f"  batches   {number(_finished(progress))} finished, {progress.importing} importing, "
            f"{progress.queued} queued",
        ]
        lines += self._importer_lines(progress.importing, now_ms)
        hung, _, way_out = self._hung().partition("; ")
        lines += [f"  waiting   {hung}", f"{'':12}{way_out}"] if hung else []
        lines += [f"  waiting   {text}" for text in self._waits(now_ms)]
        return lines

    def line(self, now_ms: int) -> str:
        """Describe the job in one line, for a log."""
        progress = self.progress
        if progress is None or (not progress.total.rows and not self.over):
            return f"{of_day(now_ms)} {self.label}: reading the source"
        if self.over:
            return f"{of_day(now_ms)} {self.label}: {self._end()}"
        total, done = progress.total, _done(progress)
        parts = [
            f"{percent(done, total.rows)}, {number(done)} of {rows(total.rows)}{_outcomes(progress)}",
            f"{size(_sent(progress).span_bytes)} of {size(total.span_bytes)} uploaded",
            f"{number(_finished(progress))} of {plural(total.chunks, 'batch')} finished, "
            f"{progress.importing} importing, {progress.queued} queued",
            self._hung(),
            *(f"waiting: {text}" for text in self._waits(now_ms)),
            self._forecast(now_ms, in_line=True),
        ]
        return f"{of_day(now_ms)} {self.label}: {'; '.join(part for part in parts if part)}"

    def _importer_lines(self, importing: int, now_ms: int) -> list[str]:
        """Say what each importer does; nothing if no batch of the job is known to be imported.

        A batch leaves when its result is fetched, a while after Marketo has finished it; as Marketo starts batches
        in order, the latest ones are those it imports.
        """
        started = sorted(self._importing.values(), key=lambda batch: batch.batch_id)
        running = started[max(0, len(started) - importing) :]
        if not running:
            return []
        lines: list[str] = []
        for place in range(max(self.importers, len(running))):
            text = "no batch of this job seen importing"
            if place < len(running):
                batch = running[place]
                known = self._rows.get(batch.batch_id)
                what = f"batch {batch.batch_id}" + (f", {rows(known)}" if known is not None else "")
                text = f"{what}, for {duration((now_ms - batch.since_ms) / 1000)}"
            lines.append(f"  importer {place + 1}  {text}")
        return lines

    def _hung(self) -> str:
        hung = self._prospect.hung
        return "" if hung is None else hung_words(hung, self.flags)

    def _waits(self, now_ms: int) -> list[str]:
        texts: dict[str, str] = {}
        for event in self._waiting.values():
            cause = CAUSES.get(event.cause, event.cause.replace("_", " "))
            texts.setdefault(cause, f"{cause}, since {of_day(event.ts_ms)}")
        held = list(self._held.values())
        if held:
            earliest = f"at {of_day(min(held))} at the earliest"
            when = earliest if min(held) > now_ms else "when Marketo cannot have it under way any more"
            texts["held"] = f"the answer to {plural(len(held), 'upload')} was lost; sent again {when}"
        return list(texts.values())

    def _end(self) -> str:
        """Say how the job ended, and how many of its rows have an outcome."""
        if self._job is None or self.progress is None:
            return ""
        job, progress = self._job, self.progress
        reported = job.started_ms is not None and "report_unwritten" not in job.exit_reasons
        report = ", report written" if reported and job.state in (JobState.COMPLETE, JobState.CANCELLED) else ""
        outcome = f"; {number(_done(progress))} of {rows(progress.total.rows)}{_outcomes(progress)}"
        return f"{job.state}{report}{outcome if progress.total.rows else ''}"

    def _forecast(self, now_ms: int, *, in_line: bool = False) -> str:
        if self.progress is None:
            return ""
        if self._job is not None and self._job.wish is not None:
            word = "cancelled" if self._job.wish is Wish.CANCEL else "paused"
            return f"being {word}: what is at Marketo is seen to its end"
        if self.progress.total.rows <= _done(self.progress):
            fetching = _tally(self.progress, Phase.COLLECTING).chunks
            return "fetching results" if fetching else "writing the report"
        eta, behind = self._prospect.eta, self._prospect.behind
        if behind is not None:
            return behind_words(behind)
        if self._prospect.hung is not None:
            return "" if in_line else "none meanwhile"
        if eta is None:
            return f"{'forecast ' if in_line else ''}when {ENDS_MIN} batches are finished"
        return eta_words(eta, now_ms) if in_line else span_words(eta, now_ms)


def span_words(eta: Eta, now_ms: int) -> str:
    """Say how long a job is likely to take from now on."""
    return f"{between((eta.p50_ms - now_ms) / 1000, (eta.p90_ms - now_ms) / 1000)} left"


def eta_words(eta: Eta, now_ms: int) -> str:
    """Say how long a job is likely to take from now on, and what that is judged by."""
    return f"{span_words(eta, now_ms)}, by {eta.basis}"


def behind_words(behind: Behind) -> str:
    """Say what a job waits for, and what to do about it."""
    text = f"waits for job {behind.job_id}"
    if not behind.stopped:
        return text
    return f"{text}, which is stopped: orchestrator resume {behind.job_id} (or cancel {behind.job_id})"


def hung_words(owner: Owner, flags: str) -> str:
    """Say that the process which drives does nothing, and which command, with these flags, takes its place."""
    return (
        f"{owner.name} drives, but has done nothing for {duration(owner.silent_ms / 1000)}; "
        f"orchestrator resume --take-over{flags} takes its place"
    )


def slip_words(event: EtaSlipped) -> str:
    """Say how much later a job ends than was told, and why."""
    later = duration((event.p50_after_ms - event.p50_before_ms) / 1000)
    return (
        f"likely to end at {moment(event.p50_after_ms)}, {later} later than was foretold: "
        f"{REASONS.get(event.reason, event.reason.replace('_', ' '))}"
    )


def _tally(progress: Progress, *phases: Phase) -> Tally:
    found = [progress.phases[phase] for phase in phases if phase in progress.phases]
    return Tally(
        chunks=sum(one.chunks for one in found),
        rows=sum(one.rows for one in found),
        span_bytes=sum(one.span_bytes for one in found),
    )


def _done(progress: Progress) -> int:
    return progress.accepted + progress.failed + progress.unknown


def _sent(progress: Progress) -> Tally:
    return _tally(progress, Phase.SUBMITTED, Phase.COLLECTING, Phase.DONE)


def _finished(progress: Progress) -> int:
    """Return how many batches Marketo has finished; the results of some may still be fetched."""
    return _tally(progress, Phase.COLLECTING, Phase.DONE).chunks


def _outcomes(progress: Progress) -> str:
    parts = [
        f"{number(value)} {name}"
        for name, value in (
            ("failed", progress.failed),
            ("with a warning", progress.warned),
            ("unknown", progress.unknown),
        )
        if value
    ]
    return f" ({', '.join(parts)})" if parts else ""
