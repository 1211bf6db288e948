"""What is known of a running job, and the words for it; no clock and no terminal in here.

A view is fed with events and with counts from the journal, and turned into lines at a given moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from orchestrator.blocking import Blocker, Why
from orchestrator.cli.words import between, duration, moment, number, of_day, percent, plural, printable, rows, size
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
from orchestrator.journal.values import OVER, Owner, Progress, Tally
from orchestrator.model import Job, JobState, Phase, Wish
from orchestrator.prospect import NOTHING, Behind, Prospect
from orchestrator.report.eta import ENDS_MIN, Eta

BAR_WIDTH = 30  # characters
NAME_CHARACTERS_MAX = 18  # of a job's name, so that a line has eighty at most

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
    _blockers: Sequence[Blocker] = ()

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

    def blocked(self, blockers: Sequence[Blocker]) -> None:
        """Take in what the job's next rows wait for."""
        self._blockers = blockers

    @property
    def stalled(self) -> bool:
        """Whether something is to be sent, and nothing of the job is at Marketo or on the way there."""
        found = self.progress
        going = found is not None and _tally(found, Phase.SUBMITTING, Phase.SUBMITTED, Phase.COLLECTING).chunks
        return found is not None and not going and bool(_tally(found, Phase.READY).chunks)

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
            return [f"{self._name()}: reading the source ..."]
        if self.over:
            return [f"{self._name()}  {self._end()}"]
        total, done = progress.total, _done(progress)
        filled = BAR_WIDTH * done // total.rows
        bar = "#" * filled + "-" * (BAR_WIDTH - filled)
        forecast = self._forecast(now_ms)
        lines = [
            f"{self._name()}  [{bar}] {percent(done, total.rows)}",
            *([f"  forecast  {forecast}"] if forecast else []),
            f"  rows      {number(done)} of {number(total.rows)}{_outcomes(progress)}",
            f"  uploaded  {self._uploaded(progress)}, "
            f"{number(_sent(progress).chunks)} of {plural(total.chunks, 'chunk')}",
            f"  batches   {number(_finished(progress))} finished, {progress.importing} importing, "
            f"{progress.queued} queued",
        ]
        lines += self._importer_lines(progress.importing, now_ms)
        for text in (self._hung(), self._blocked()):  # each has two parts, and a line is short
            what, _, more = text.partition("; ")
            lines += [f"  waiting   {what}", f"{'':12}{more}"] if text else []
        lines += [f"  waiting   {text}" for text in self._waits(now_ms)]
        return lines

    def _name(self) -> str:
        """Return the job's id, with the name that somebody gave it."""
        name = None if self._job is None else self._job.name
        return f"{self.label} ({printable(name)[:NAME_CHARACTERS_MAX]})" if name else self.label

    def _uploaded(self, progress: Progress) -> str:
        """Say how much was uploaded of the sources, header and all, by the share of their rows' bytes."""
        sent, total = _sent(progress).span_bytes, progress.total.span_bytes
        whole = self.source_bytes or total
        return f"{size(whole * sent // total if total else 0)} of {size(whole)}"

    def line(self, now_ms: int) -> str:
        """Describe the job in one line, for a log."""
        progress = self.progress
        if progress is None or (not progress.total.rows and not self.over):
            return f"{of_day(now_ms)} {self._name()}: reading the source"
        if self.over:
            return f"{of_day(now_ms)} {self._name()}: {self._end()}"
        total, done = progress.total, _done(progress)
        parts = [
            f"{percent(done, total.rows)}, {number(done)} of {rows(total.rows)}{_outcomes(progress)}",
            f"{self._uploaded(progress)} uploaded",
            f"{number(_finished(progress))} of {plural(total.chunks, 'batch')} finished, "
            f"{progress.importing} importing, {progress.queued} queued",
            self._hung(),
            f"waiting {self._blocked()}" if self._blocked() else "",
            *(f"waiting: {text}" for text in self._waits(now_ms)),
            self._forecast(now_ms, in_line=True),
        ]
        return f"{of_day(now_ms)} {self._name()}: {'; '.join(part for part in parts if part)}"

    def _importer_lines(self, importing: int, now_ms: int) -> list[str]:
        """Say which batches of the job are known to be imported; what else the importers do is not seen.

        A batch leaves when its result is fetched, a while after Marketo has finished it; as Marketo starts batches
        in order, the latest ones are those it imports.
        """
        started = sorted(self._importing.values(), key=lambda batch: batch.batch_id)
        running = started[max(0, len(started) - importing) :]
        lines: list[str] = []
        for place, batch in enumerate(running, 1):
            known = self._rows.get(batch.batch_id)
            what = f"batch {batch.batch_id}" + (f", {rows(known)}" if known is not None else "")
            lines.append(f"  importer {place}  {what}, for {duration((now_ms - batch.since_ms) / 1000)}")
        return lines

    def _hung(self) -> str:
        hung = self._prospect.hung
        return "" if hung is None else hung_words(hung, self.flags)

    def _blocked(self) -> str:
        return blocked_words(self._blockers, self.label) if self._blockers and self.stalled else ""

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
        report = ", report written" if reported and job.state in OVER else ""
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
        if eta is None and self.progress.total.chunks <= ENDS_MIN:
            return ""  # there will never be one
        if eta is None:
            many = f"{ENDS_MIN}" if _finished(self.progress) < ENDS_MIN else "some more"  # those of old tell nothing
            return f"{'forecast ' if in_line else ''}when {many} batches are finished"
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


def blocked_words(blockers: Sequence[Blocker], own: str) -> str:
    """Say what the next rows of a job wait for; ``own`` is its id."""
    first = blockers[0]
    of = "" if first.job_id == own else f" of job {first.job_id}"
    what = f"an upload{of} whose answer is not known" if first.batch_id is None else f"batch {first.batch_id}{of}"
    if first.why is Why.RESERVED:
        what = f"rows{of} that were passed over for long"
    more = f", and {number(len(blockers) - 1)} more" if len(blockers) > 1 else ""
    why = (
        "the next rows share keys with it"
        if first.shared
        else "both have the same static list, or another lookup field"
    )
    if first.shared is None:
        why = "the next rows may share keys with it"
    return f"for {what}{more}; {why}"


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
