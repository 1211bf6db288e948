"""What could keep an import from working, looked at one thing after the other; nothing is sent.

Each look ends in a check, so that one thing being wrong does not hide the next.  What depends on it is left out,
because its failure would say nothing new.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from pathlib import Path
from random import Random

import aiohttp

from orchestrator.clock import Clock
from orchestrator.config import Settings, Subscription
from orchestrator.desk import CallCounts
from orchestrator.errors import (
    AccessDenied,
    ConfigError,
    InvalidRequest,
    JournalError,
    MarketoError,
    OrchestratorError,
)
from orchestrator.following import UNFINISHED
from orchestrator.holds import is_held
from orchestrator.journal.journal import Journal
from orchestrator.journal.location import locate
from orchestrator.marketo import wire
from orchestrator.marketo.client import Client
from orchestrator.marketo.day import quota_day
from orchestrator.marketo.options import Identity
from orchestrator.model import BatchId, JobState, Leads, ProgramMembers
from orchestrator.wiring import client_options

SKEW_SECONDS_MAX = 30.0  # between the clock here and Marketo's; less is the way of the answer and its rounding
CALLS_SHARE_MAX = 0.8  # of a day's calls; beyond it an import may have to wait for the next day
FREE_BYTES_WANTED = 1_000_000_000  # journal and result files of a few large jobs
FREE_BYTES_MIN = 100_000_000
JOBS_SHOWN_MAX = 3
SOME_BATCH = BatchId(1)  # long forgotten by Marketo: who may import is told so, who may not is told that

_STOPPED = (*UNFINISHED, JobState.INCOMPLETE, JobState.PAUSED)


class Mark(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"  # an import may work all the same
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    name: str
    mark: Mark
    message: str
    advice: str = ""  # what to do
    error: OrchestratorError | None = None  # what an import would end with; of a failed check


def ok(name: str, message: str) -> Check:
    """Return a check that found nothing wrong."""
    return Check(name=name, mark=Mark.OK, message=message)


def warn(name: str, message: str, advice: str = "") -> Check:
    """Return a check that found something odd."""
    return Check(name=name, mark=Mark.WARN, message=message, advice=advice)


def failed(name: str, error: OrchestratorError, advice: str = "") -> Check:
    """Return a check that found what keeps imports from working; the message of the error says what to do."""
    return Check(name=name, mark=Mark.FAIL, message=str(error), advice=advice, error=error)


async def examine(
    settings: Settings,
    subscription: str | None,
    *,
    clock: Clock,
    rng: Random,
    session: aiohttp.ClientSession | None = None,
) -> AsyncIterator[Check]:
    """Look at everything, from far to near; yield each check as soon as it is made."""
    chosen: Subscription | None = None
    calls = CallCounts()
    try:
        chosen = settings.subscription(subscription)
        chosen.read_secret()
    except ConfigError as error:
        yield failed("credentials", error)
    else:
        yield credentials(chosen)
        async for check in _marketo(settings, chosen, calls, clock=clock, rng=rng, session=session):
            yield check
    directory = settings.state.dir.expanduser().absolute()
    yield state_directory(directory)
    yield disk(shutil.disk_usage(_nearest(directory)).free, directory)
    async for check in _journal(settings, chosen, calls, directory, clock=clock):
        yield check


# --- Marketo ---------------------------------------------------------------------------------------------


def credentials(chosen: Subscription) -> Check:
    """Look at where the secret of a subscription is kept; that it can be read is known."""
    message = f"subscription {chosen.name}, client id {chosen.client_id}"
    file = None if chosen.client_secret_file is None else chosen.client_secret_file.expanduser()
    if file is not None and file.stat().st_mode & 0o077:
        return warn("credentials", f"{message}; others may read {file}", f"run chmod 600 {file}")
    return ok("credentials", f"{message}{'; protected' if chosen.protected else ''}")


async def _marketo(
    settings: Settings,
    chosen: Subscription,
    calls: CallCounts,
    *,
    clock: Clock,
    rng: Random,
    session: aiohttp.ClientSession | None,
) -> AsyncIterator[Check]:
    async with AsyncExitStack() as stack:
        url = chosen.address
        try:
            url = wire.normalise_rest_url(url)
            client = await stack.enter_async_context(
                Client(
                    client_options(settings, chosen), now_ms=clock.now_ms, rng=rng, session=session, on_call=calls.count
                )
            )
            before_ms = clock.wall_ms()
            identity = await client.authenticate()
        except AccessDenied as error:
            yield ok("host", f"{url} answers")
            yield failed("token", error)
            return
        except (ConfigError, MarketoError) as error:
            yield failed("host", error)
            return
        what = "the emulator" if identity.emulator else "Marketo"
        yield ok("host", f"{url} answers ({what}{', encrypted' if url.startswith('https:') else ', not encrypted'})")
        yield ok("token", f"API user {identity.api_user}")
        yield skew(identity, (before_ms + clock.wall_ms()) / 2000)
        async for check in _permissions(client):
            yield check
        yield await _calls(client, chosen.limits.calls_per_day)


def skew(identity: Identity, now_s: float) -> Check:
    """Compare the clock of this machine with the moment at which Marketo answered."""
    try:
        theirs_s = parsedate_to_datetime(identity.date).timestamp()
    except ValueError:
        return ok("clock", "Marketo's answer tells no time to compare with")
    apart_s = now_s - theirs_s
    if abs(apart_s) <= SKEW_SECONDS_MAX:
        return ok("clock", "agrees with Marketo's")
    way = "ahead of" if apart_s > 0 else "behind"
    return warn(
        "clock",
        f"this machine is {abs(apart_s):,.0f} s {way} Marketo",
        "let it keep time by NTP; else times in reports, and the day that the quota counts, are wrong",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Right:
    """Something that an API user may do or not."""

    name: str
    permission: str
    purpose: str  # empty: no import works without it
    call: Callable[[Client], Awaitable[object]]


async def _poll(client: Client) -> None:
    """Ask for a batch as an import does; that there is no such batch is no answer about the right to ask."""
    try:
        await client.status(Leads(), SOME_BATCH)
    except InvalidRequest:
        return


_RIGHTS = (
    _Right(name="leads", permission="Read-Write Lead", purpose="", call=lambda client: client.describe(Leads())),
    _Right(name="imports", permission="Read-Write Lead", purpose="", call=_poll),
    _Right(
        name="custom objects",
        permission="Read-Write Custom Object",
        purpose="to import custom objects",
        call=lambda client: client.custom_objects(),
    ),
    _Right(
        name="program members",
        permission="Read-Write Lead",
        purpose="to import program members",
        call=lambda client: client.describe(ProgramMembers(program_id=1, member_status="")),
    ),
    _Right(
        name="partitions",
        permission="Read-Only Lead",
        purpose="to check --partition",
        call=lambda client: client.partitions(),
    ),
    _Right(
        name="assets",
        permission="Read-Only Assets",
        purpose="to check --program-id and --member-status",
        call=lambda client: client.program(1),
    ),
)


async def _permissions(client: Client) -> AsyncIterator[Check]:
    for right in _RIGHTS:
        try:
            await right.call(client)
        except AccessDenied as error:
            advice = f"give the API user's role the permission {right.permission}"
            if right.purpose:
                yield warn(right.name, "not allowed", f"{advice}; needed only {right.purpose}")
            else:
                yield failed(right.name, error, advice)
        except MarketoError as error:
            if right.purpose:
                yield warn(right.name, f"cannot be tried: {error}")
            else:
                yield failed(right.name, error)
        else:
            yield ok(right.name, "allowed")


async def _calls(client: Client, calls_per_day: int) -> Check:
    try:
        used = (await client.usage()).total
    except MarketoError as error:
        return warn("API calls", f"cannot be counted: {error}")
    message = f"{used:,} of {calls_per_day:,} used today, by everybody together"
    if used < CALLS_SHARE_MAX * calls_per_day:
        return ok("API calls", message)
    advice = "what is left may not suffice, and an import then waits until midnight in US Central Time"
    return warn("API calls", message, f"{advice}; if the contract allows more, set limits.calls_per_day")


# --- this machine ------------------------------------------------------------------------------------------


def _nearest(path: Path) -> Path:
    """Return a path, or the nearest of its parents that exists."""
    return next(each for each in (path, *path.parents) if each.exists())


def state_directory(path: Path) -> Check:
    """Look whether a state directory can be used, by its owner alone."""
    name = "state directory"
    nearest = _nearest(path)
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        error = ConfigError(f"{nearest} cannot be written to; choose another directory with --set state.dir=DIR")
        return failed(name, error)
    if nearest != path:
        return ok(name, f"{path}; the first import makes it")
    if path.stat().st_mode & 0o077:
        return warn(name, f"others may look into {path}, where rows that failed are kept", f"run chmod 700 {path}")
    return ok(name, str(path))


def disk(free_bytes: int, path: Path) -> Check:
    """Judge how much room there is."""
    message = f"{free_bytes / 1e9:,.1f} GB are free where {path} is"
    advice = "make room, or choose another directory with --set state.dir=DIR"
    if free_bytes < FREE_BYTES_MIN:
        return failed("disk", ConfigError(f"{message}; the journal needs {FREE_BYTES_MIN / 1e9:.1f} GB; {advice}"))
    if free_bytes < FREE_BYTES_WANTED:
        return warn("disk", message, advice)
    return ok("disk", message)


async def _journal(
    settings: Settings, chosen: Subscription | None, calls: CallCounts, directory: Path, *, clock: Clock
) -> AsyncIterator[Check]:
    try:
        place = locate(settings.journal_url)
        if isinstance(place, Path) and not place.exists():
            yield ok("journal", f"{place}; the first import makes it")
            return
        async with Journal.open(settings.journal_url, now_ms=clock.now_ms) as journal:
            await journal.check()
            jobs = await journal.jobs()
            yield ok("journal", f"{place}, {len(jobs):,} job{'' if len(jobs) == 1 else 's'}, undamaged")
            if chosen is not None:
                host = wire.host_of(chosen.address)
                await journal.write_unfenced(calls.take(host, quota_day(clock.wall_ms())))
                yield await _driver(journal, host)
                yield await _stopped(journal, host, directory)
    except (JournalError, ConfigError) as error:
        yield failed("journal", error)


async def _driver(journal: Journal, host: str) -> Check:
    owner = await journal.owner(host)
    if owner is None:
        return ok("driver", f"no process imports into {host} now")
    since = datetime.fromtimestamp(owner.since_ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
    message = f"{owner.name} imports into {host} since {since}"
    if owner.hangs:
        silent_s = owner.silent_ms // 1000
        advice = "it hangs, or was stopped: orchestrator resume --take-over takes its place"
        return warn("driver", f"{message}, but has done nothing for {silent_s:,} s", advice)
    return ok("driver", message)


async def _stopped(journal: Journal, host: str, directory: Path) -> Check:
    jobs = await journal.jobs(host=host, states=_STOPPED)
    stopped = [job.id for job in jobs if not is_held(directory, job.id)]
    if not stopped:
        return ok("jobs", "none is unfinished that nobody works on")
    shown = ", ".join(stopped[-JOBS_SHOWN_MAX:])
    more = f" and {len(stopped) - JOBS_SHOWN_MAX} more" if len(stopped) > JOBS_SHOWN_MAX else ""
    return warn(
        "jobs", f"unfinished, and nobody works on them: {shown}{more}", "orchestrator resume goes on, or says why not"
    )
