"""``import`` and ``resume``: send, follow, and tell how it ended."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from orchestrator import preflight
from orchestrator.app import Orchestrator
from orchestrator.cli.common import Common
from orchestrator.cli.confirming import Confirmation
from orchestrator.cli.console import Console
from orchestrator.cli.endings import explain_skipped, tell_canary, tell_code, tell_end
from orchestrator.cli.flags import OnUnknownAnswer
from orchestrator.cli.following import Followed, follow
from orchestrator.cli.progress import hung_words
from orchestrator.cli.session import Interruption, execute, find_job, further_flags, read_settings, same_flags
from orchestrator.cli.words import number, plural, printable, rows, size
from orchestrator.clock import SystemClock
from orchestrator.config import Settings
from orchestrator.errors import ConfigError, JournalLocked
from orchestrator.following import JobHandle
from orchestrator.journal.store import locked_by
from orchestrator.journal.values import OVER, Owner
from orchestrator.model import ExitCode, IfKnown, JobId, JobState, OnUnknown
from orchestrator.report.ending import worst
from orchestrator.report.summary import Summary
from orchestrator.requests import Destination, ImportRequest
from orchestrator.source.opened import STDIN, is_url

FILES_SHOWN_MAX = 50  # a screenful; the summary has all


def import_files(
    common: Common, request: Callable[[], ImportRequest], *, take_over: bool, confirmed: str | None
) -> ExitCode:
    """Import files as one job; ``take_over`` and ``confirmed`` are what the flags say."""

    async def body(console: Console) -> ExitCode:
        settings = read_settings(common)
        wanted = request()
        console.input_is_data = STDIN in wanted.sources
        wanted = replace(wanted, canary_asks=console.asks and not wanted.detach)
        confirmation = Confirmation(console, settings, common.subscription, confirmed)
        return await run_import(
            console,
            settings,
            common.subscription,
            wanted,
            flags=same_flags(common),
            confirmation=confirmation,
            take_over=take_over,
        )

    return execute(common, body)


async def run_import(
    console: Console,
    settings: Settings,
    subscription: str | None,
    request: ImportRequest,
    *,
    flags: str,
    confirmation: Confirmation | None = None,
    take_over: bool = False,
) -> ExitCode:
    """Import files as one job with these settings; ``flags`` are those that a next command needs."""
    interruption = Interruption(console, flags)

    async def body() -> ExitCode:
        located = preflight.locate(request.sources, allow_empty=request.allow_empty)
        files = [each.given for each in located]
        addresses = [each.address or each.given for each in located]
        async with Orchestrator.open(settings, subscription=subscription) as orchestrator:
            after = None if request.after is None else (await find_job(orchestrator, request.after)).id
            tell_destination(console, await orchestrator.connect())
            if confirmation is not None:
                await confirmation.obtain()
            tell_files(console, files, given=request.sources)
            owner = await orchestrator.driver() if take_over else None
            with taking_over(owner):
                handle = await orchestrator.submit(
                    replace(request, sources=addresses, after=after, flags=flags), take_over=take_over
                )
            state = (await handle.status()).job.state if handle.known else JobState.RUNNING
            if handle.known:
                console.insist(f"This is job {handle.id}, which is {state}; no other is made of it.", "warn")
                if request.if_known is IfKnown.SKIP:
                    tell_code(console, ExitCode.OK, f"orchestrator status {handle.id}{flags}", meaning="it was skipped")
                    return ExitCode.OK
                if state not in (JobState.RUNNING, JobState.INCOMPLETE):
                    owner = None  # nothing is to be sent
            if request.detach and state not in OVER:
                return await tell_detached(console, orchestrator, handle, flags)
            tell_taken_over(console, owner)
            if not take_over:
                await tell_turn(console, orchestrator, [handle], flags)
            interruption.sending(orchestrator, drain_s=settings.drain.seconds)
            return await Attendance(console, settings, orchestrator, interruption, flags).see_through([handle])

    return await interruption.over(body)


@contextmanager
def taking_over(owner: Owner | None) -> Iterator[None]:
    """Say what can be done if the process that drives was stopped in the middle of a write, and so locks the journal."""
    try:
        yield
    except JournalLocked as error:
        raise locked_by(owner, error) from error


def tell_taken_over(console: Console, owner: Owner | None) -> None:
    """Say from whom the subscription was taken, if anybody drove it."""
    if owner is not None:
        console.insist(f"Took over from process {owner.pid}, which sends nothing more.", "warn")


async def tell_detached(console: Console, orchestrator: Orchestrator, handle: JobHandle, flags: str) -> ExitCode:
    """Say who sends a job that nobody waits for."""
    job = (await handle.status()).job
    stopped = job.state is not JobState.RUNNING
    owner = None if stopped else await orchestrator.driver()
    sends = owner is not None and owner.sends(job)
    if console.json:
        console.line({"event": "job.detached", "job_id": handle.id, "driver": owner.pid if owner and sends else None})
    console.insist(f"Job {handle.id} stands in the journal.")
    if owner is None:
        meaning, follow_up = "nobody sends it yet; orchestrator resume does, or the next import", "resume"
    elif not sends:
        meaning, follow_up = (
            f"{_foreign(owner)}; orchestrator resume sends this one when that process has ended",
            "resume",
        )
    else:
        meaning, follow_up = f"process {owner.pid} sends it as long as it runs, then orchestrator resume does", "wait"
    tell_code(console, ExitCode.OK, f"orchestrator {follow_up} {handle.id}{flags}", meaning=meaning)
    return ExitCode.OK


async def tell_turn(console: Console, orchestrator: Orchestrator, handles: Sequence[JobHandle], flags: str) -> None:
    """Say which other process sends these jobs, or that they wait for one which sends only others, or hangs."""
    owner = await orchestrator.driver()
    if owner is None or (owner.pid == os.getpid() and owner.machine is None):
        return
    if owner.hangs:
        what, style = hung_words(owner, flags), "warn"
    elif all([owner.sends(await handle.job()) for handle in handles]):
        what, style = f"{owner.name} sends {'it' if len(handles) == 1 else 'them'}; this one follows", None
    else:
        what, style = f"{_foreign(owner)}; what is sent from here waits until it has ended", "warn"
    console.insist(f"{what[0].upper()}{what[1:]}.", style)


def _foreign(owner: Owner) -> str:
    return f"{owner.name} drives the subscription, but sends only jobs of its own state directory"


def tell_files(console: Console, files: Sequence[str], *, given: Sequence[str | os.PathLike[str]]) -> None:
    """Say what is read; of several files, or those that a pattern stands for, which and in which order."""
    here = [file for file in files if file != STDIN and not is_url(file)]
    total = sum(Path(file).stat().st_size for file in here)
    listed = len(files) > 1 or files != [os.fspath(one) for one in given]
    what = f"{plural(len(files), 'file')}, {size(total)}" if here else plural(len(files), "source")
    if files == [STDIN]:
        what = "standard input"
    console.say(f"Reading {what}{', in this order:' if listed else ' ...'}")
    if listed:
        width = len(number(len(files)))
        for place, file in enumerate(files[:FILES_SHOWN_MAX], 1):
            console.say(f"  {place:>{width}}  {printable(file)}")
        if len(files) > FILES_SHOWN_MAX:
            console.say(f"  and {number(len(files) - FILES_SHOWN_MAX)} more, the last one {printable(files[-1])}")


def resume_jobs(
    common: Common,
    job_ids: Sequence[str],
    *,
    on_unknown: OnUnknownAnswer | None = None,
    moved: Sequence[str] = (),
    take_over: bool = False,
    confirmed: str | None,
) -> ExitCode:
    """Go on with jobs that stopped; ``on_unknown``, ``moved`` and ``confirmed`` are what the flags say."""

    async def go_on(console: Console) -> ExitCode:
        settings = read_settings(common)
        confirmation = Confirmation(console, settings, common.subscription, confirmed)
        flags = same_flags(common)
        interruption = Interruption(console, flags)

        async def body() -> ExitCode:
            async with Orchestrator.open(settings, subscription=common.subscription) as orchestrator:
                named = [(await find_job(orchestrator, one)).id for one in job_ids]
                destination = await orchestrator.connect()
                if confirmation.open:
                    tell_destination(console, destination)
                    await confirmation.obtain()
                decided = None if on_unknown is None else OnUnknown(on_unknown.value)
                owner = await orchestrator.driver() if take_over else None
                places = places_of(moved, await _sources_of(orchestrator, named)) if moved else {}
                with taking_over(owner):
                    resumed = await orchestrator.resume(
                        named, on_unknown=decided, sources=places, flags=flags, take_over=take_over
                    )
                explain_skipped(console, resumed.skipped)
                if not resumed.jobs:
                    console.say("Nothing to resume.")
                    return ExitCode.OK
                interruption.sending(orchestrator, drain_s=settings.drain.seconds)
                tell_destination(console, destination)
                tell_taken_over(console, owner)
                if not take_over:
                    await tell_turn(console, orchestrator, resumed.jobs, flags)
                return await Attendance(console, settings, orchestrator, interruption, flags).see_through(resumed.jobs)

        return await interruption.over(body)

    return execute(common, go_on)


async def _sources_of(orchestrator: Orchestrator, named: Sequence[JobId]) -> list[str]:
    return [path for one in named for path in (await orchestrator.handle(one).status()).job.paths]


def places_of(texts: Sequence[str], sources: Sequence[str]) -> dict[str, str]:
    """Return the new path of each old one, given as ``OLD=NEW``; ConfigError shows the wrong one.

    Paths may have equals signs in them: the old one is what stands before one of them and is one of ``sources``.
    """
    known = {os.path.abspath(path) for path in sources}  # noqa: PTH100  # as a job keeps it
    places = {}
    for text in texts:
        parts = text.split("=")
        pairs = [("=".join(parts[:at]), "=".join(parts[at:])) for at in range(1, len(parts))]
        pairs = [(old, new) for old, new in pairs if old and new]
        if not pairs:
            raise ConfigError(f"--source {text}: write it as OLD=NEW")
        fitting = [pair for pair in pairs if os.path.abspath(pair[0]) in known]  # noqa: PTH100
        if len(fitting) > 1:
            either = " or ".join(old for old, _ in fitting)
            raise ConfigError(
                f"--source {text}: the job has both {either}; move the new file where no = is in its path"
            )
        old, new = (fitting or pairs)[0]
        places[old] = new
    return places


def tell_destination(console: Console, destination: Destination) -> None:
    """Say where rows are written to."""
    kind = "the emulator" if destination.emulator else "Marketo"
    console.insist(
        f"Writing to {kind}: subscription {destination.subscription}, host {destination.host}, "
        f"API user {destination.api_user}",
        "bold",
    )


class Attendance:
    """Being there while jobs run: showing them, answering for them, telling how they ended."""

    def __init__(
        self,
        console: Console,
        settings: Settings,
        orchestrator: Orchestrator,
        interruption: Interruption,
        flags: str,
    ) -> None:
        """Attend to jobs of one orchestrator; ``flags`` are those that a next command needs."""
        self._console = console
        self._settings = settings
        self._orchestrator = orchestrator
        self._interruption = interruption
        self._flags = flags

    async def see_through(self, handles: Sequence[JobHandle]) -> ExitCode:
        """Follow jobs to their ends and tell of each when it has come to its own."""
        console = self._console
        for handle in handles:
            console.say(f"Job {handle.id}")
        followed = [Followed(handle, flags=self._flags) for handle in handles]
        going_on: Sequence[Followed] = followed
        while going_on:
            await follow(going_on, console, SystemClock(), self._ended)
            going_on = await self._past_canaries([one for one in followed if one.code is None])
        total = worst(one.code for one in followed if one.code is not None)
        if len(followed) > 1:
            tell_code(console, total)
        return total

    async def _ended(self, one: Followed) -> None:
        """Tell how a job ended, unless it paused behind its canary and there is somebody to be asked about it."""
        summary = await one.handle.summary()
        paused = summary.state == JobState.PAUSED and "canary" in summary.exit_reasons
        if not paused or not self._console.asks or self._interruption.code is not None:
            one.code = await self._tell(one.handle, summary)

    async def _past_canaries(self, paused: Sequence[Followed]) -> list[Followed]:
        """Ask about each job that paused behind its canary; resume and return those that are to go on."""
        going_on = []
        for one in paused:
            summary = await one.handle.summary()
            if self._interruption.code is None and await self._agreed(summary):
                await self._orchestrator.resume([one.handle.id])
                going_on.append(one)
            else:
                one.code = await self._tell(one.handle, summary)
        return going_on

    async def _agreed(self, summary: Summary) -> bool:
        tell_canary(self._console, summary)
        question = f"Go on with the other {rows(summary.rows.unsent)}?"
        return await self._interruption.unless_stopped(self._console.agrees(question))

    async def _tell(self, handle: JobHandle, summary: Summary) -> ExitCode:
        """Tell how a job ended; return its code."""
        code = ExitCode(summary.exit_code)
        if self._interruption.code is not None and summary.state not in OVER:
            summary = await handle.report()  # as far as it is
            code = self._interruption.code
        job = await handle.job()
        if self._console.json:
            self._console.line({"event": "job.summary", "summary": asdict(summary)})
        tell_end(self._console, summary, Path(job.out_dir), code, further_flags(job, self._flags), wish=job.wish)
        return code
