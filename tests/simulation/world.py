"""One world, from its plan to what can be seen of it afterwards.

Life after life of the program works in one state directory against one emulated Marketo, which goes on while the
program is dead.  In the end everything heals, and somebody resumes what is left until nothing is.
"""

from __future__ import annotations

import asyncio
import csv
import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from orchestrator import driver, keeping
from orchestrator.app import Orchestrator
from orchestrator.config import Settings, Subscription
from orchestrator.emulator import engine as emulated
from orchestrator.emulator.app import HEAD_BYTES_MAX, create_app
from orchestrator.emulator.clock import EmulatedClock
from orchestrator.emulator.config import config_from
from orchestrator.emulator.queue import Batch
from orchestrator.emulator.service import Service
from orchestrator.errors import OrchestratorError
from orchestrator.events import ChunkAdopted, ChunkSubmitted
from orchestrator.journal import lock
from orchestrator.model import BatchStatus, JobId, JobState
from orchestrator.requests import ImportRequest
from orchestrator.tables import Limits, Schedule, State
from tests.simulation.kit import EPOCH_MS, Loop, Network, Process, VirtualClock
from tests.simulation.plans import Life, Plan, SimJob

RESUMES_MAX = 20  # of a job, after everything healed
RESUMED_AFTER_S = 3_600  # a job that stopped
TRIED_AGAIN_AFTER_S = 600  # what could not even begin


@dataclass(slots=True, kw_only=True)
class Ended:
    """A job as the report tells it."""

    plan: SimJob
    id: JobId
    summary: Mapping[str, Any]
    failures: list[Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file that Marketo took."""

    at_ms: int
    batch_id: int
    content: str  # a digest of its bytes and of what they are to become
    keys: frozenset[str]  # of its rows
    failed: bool  # as a whole
    started_ms: int
    finished_ms: int


@dataclass(slots=True, kw_only=True)
class Seen:
    """What can be seen of a world after its end."""

    plan: Plan
    jobs: list[Ended]
    uploads: list[Upload]  # in the order in which they were taken
    known: frozenset[int]  # the batches whose ids the program ever knew
    deaths_ms: tuple[int, ...]
    records: Mapping[str, list[Mapping[str, Any]]]
    unfinished_max: int
    queue_full: int  # how often an upload was refused for a full queue
    in_window_max: int
    in_flight_max: int
    healthy_ms: int  # from then on nothing was in the program's way
    done_ms: int
    history: list[str]  # what happened, a line each
    trace: str  # a digest of it and of what came of it


class World:
    """The running of one plan."""

    def __init__(self, plan: Plan, directory: Path, loop: Loop) -> None:
        self.plan = plan
        self.directory = directory
        self.loop = loop
        self.ids: dict[int, JobId] = {}  # of the plan's jobs that were journalled
        self.deaths_ms: list[int] = []
        self.taken: list[tuple[int, str, frozenset[str], Batch]] = []
        self.living: tuple[Process, Life, int] | None = None  # and how many uploads had been taken at its start
        self.healed = False
        self.besieged = False
        self.revived_ms = 0  # when the last life began
        self.clock = VirtualClock(loop)
        self.service = Service(config_from({**plan.emulator, "faults": list(plan.troubles)}))
        self.service.engine.create = self._note(self.service.engine.create)  # type: ignore[method-assign]
        self.chance = Random(f"{plan.seed}:world")
        self.settings = Settings(
            state=State(dir=directory / "state"),
            limits=Limits(
                body_bytes_max=plan.body_bytes_max,
                calls_per_window=plan.calls_per_window,
                slots=plan.slots,
                rows_per_chunk_max=plan.rows_per_chunk_max,
                queue_depth="auto" if plan.queue_depth is None else plan.queue_depth,
            ),
            schedule=Schedule(slow_start=plan.seed % 2 == 1),
            subscriptions={
                "default": Subscription(
                    rest_url="http://127.0.0.1:8080",
                    client_id=self.service.config.client_id,
                    client_secret=self.service.config.client_secret,  # type: ignore[arg-type]
                )
            },
        )

    async def run(self) -> Seen:
        """Live all lives, heal, and see what there is."""
        with pytest.MonkeyPatch.context() as patch:
            # A look at the journal every second of a virtual day would be most of what a world costs.
            look_s = 300 if self.plan.siege else 20
            patch.setattr(driver, "LOOK_FOR_JOBS_MS", 1_000 * look_s)
            patch.setattr(keeping, "LOOK_AGAIN_SECONDS", float(look_s))
            patch.setattr(lock, "_PAUSE_S", 0.0)  # whoever holds it here lets go of it in virtual time alone
            return await self._run()

    async def _run(self) -> Seen:
        app = create_app(self.service, EmulatedClock(1.0, self.clock.now_ms))
        runner = web.AppRunner(
            app, access_log=None, handle_signals=False, handler_cancellation=True, shutdown_timeout=0.1,
            max_line_size=HEAD_BYTES_MAX,
        )  # fmt: skip
        await runner.setup()
        around = [asyncio.create_task(each) for each in (self._occupy(), self._besiege(), self._heal())]
        rivals = [asyncio.create_task(self._rival(runner, at_ms)) for at_ms in self.plan.rivals_ms]
        try:
            for number, job in enumerate(self.plan.jobs):
                for source in range(len(job.sources)):
                    self._path(number, source).write_text(job.text(source), encoding="utf-8", newline="")
            lives = [*self.plan.lives, None]
            for life in lives:
                process = Process(killed_after_writes=None if life is None else life.killed_after_writes)
                self.living = None if life is None else (process, life, len(self.taken))
                self.revived_ms = int(self.loop.time() * 1000)
                await process.run(lambda: self._live(runner))
                if life is not None and not process.alive:
                    self.deaths_ms.append(self.clock.now_ms())
                    await asyncio.sleep(life.dead_ms / 1000)
            await asyncio.gather(*rivals)
            seen = await Process().run(lambda: self._look(runner))
            assert seen is not None  # nobody kills this one
            return seen
        finally:
            for task in (*around, *rivals):
                task.cancel()
            await runner.cleanup()

    def _path(self, job: int, source: int) -> Path:
        return self.directory / f"job{job}-source{source}.csv"

    # --- what happens around the program -----------------------------------------------------------------

    async def _occupy(self) -> None:
        for occupation in sorted(self.plan.occupations, key=lambda each: each.at_ms):
            await asyncio.sleep(max(0.0, occupation.at_ms / 1000 - self.loop.time()))
            self.service.engine.occupy(occupation.slots, occupation.duration_ms, self.clock.now_ms())

    async def _besiege(self) -> None:
        if self.plan.siege is not None:
            await asyncio.sleep(self.plan.siege.at_ms / 1000)
            self.besieged = True
            if self.plan.siege.trouble is not None:
                self.service.faults.extend([self.plan.siege.trouble])

    async def _heal(self) -> None:
        await asyncio.sleep(self.plan.heals_ms / 1000)
        self.service.faults.remove()
        self.healed = True

    async def _rival(self, runner: web.AppRunner, at_ms: int) -> None:
        """Let another process take the subscription by force, and bring to their end the jobs there are."""
        await asyncio.sleep(max(0.0, at_ms / 1000 - self.loop.time()))
        if self.ids:
            await Process().run(lambda: self._usurp(runner))

    async def _usurp(self, runner: web.AppRunner) -> None:
        async with self._session(runner) as session, self._opened(session) as orchestrator:
            with suppress(OrchestratorError):  # Marketo cannot be reached, say; then nothing is taken
                resumed = await orchestrator.resume(list(self.ids.values()), take_over=True)
                for handle in resumed.jobs:
                    await handle.wait()

    def _refuses(self) -> bool:
        if self.healed:
            return False
        siege = self.plan.siege
        return (siege is not None and self.besieged and siege.trouble is None) or (
            self.chance.random() < self.plan.refused
        )

    def _note(self, create: Callable[..., Batch]) -> Callable[..., Batch]:
        """Let every file that Marketo takes be noted."""

        def noting(upload: emulated.Upload, *args: Any) -> Batch:
            batch = create(upload, *args)
            content = hashlib.sha256(repr((upload.target, upload.data)).encode()).hexdigest()
            rows = csv.reader(upload.data.decode().splitlines(keepends=True))
            keys = frozenset(row[0].casefold() for row in rows)  # the header's name of the key is none
            self.taken.append((self.clock.now_ms(), content, keys, batch))
            if self.living is not None:
                process, life, before = self.living
                if len(self.taken) - before == life.killed_by_upload:
                    process.kill()
            return batch

        return noting

    # --- the program -------------------------------------------------------------------------------------

    async def _live(self, runner: web.AppRunner) -> None:
        """Submit what was not yet, resume what is not done, and wait for all of it."""
        async with (
            self._session(runner) as session,
            self._opened(session) as orchestrator,
            asyncio.TaskGroup() as tasks,
        ):
            for number in range(len(self.plan.jobs)):
                tasks.create_task(self._see_to(orchestrator, number))

    def _session(self, runner: web.AppRunner) -> aiohttp.ClientSession:
        network = Network(runner.server, Random(f"{self.plan.seed}:wire"), refuses=self._refuses)  # type: ignore[arg-type]
        return aiohttp.ClientSession(connector=network, cookie_jar=aiohttp.DummyCookieJar())

    def _opened(self, session: aiohttp.ClientSession) -> Any:
        chance = Random(f"{self.plan.seed}:program:{self.loop.time()}")
        return Orchestrator.open(self.settings, session=session, clock=self.clock, rng=chance)

    async def _see_to(self, orchestrator: Orchestrator, number: int) -> None:
        """Bring one job to its end, as somebody would who does not give up."""
        await asyncio.sleep(max(0.0, self.plan.jobs[number].starts_ms / 1000 - self.loop.time()))
        tries = 0
        while tries < RESUMES_MAX:
            tries += self.healed
            try:
                handle = await self._begin(orchestrator, number)
            except OrchestratorError:
                await asyncio.sleep(TRIED_AGAIN_AFTER_S)  # Marketo cannot be reached, say; later it can
                continue
            summary = await handle.wait()
            if summary.state == JobState.COMPLETE:
                return
            await asyncio.sleep(RESUMED_AFTER_S)

    async def _begin(self, orchestrator: Orchestrator, number: int) -> Any:
        job_id = self.ids.get(number) or await self._find(orchestrator, number)
        if job_id is not None:
            self.ids[number] = job_id
            handle = await orchestrator.job(job_id)
            if (await handle.status()).job.state is not JobState.COMPLETE:
                await orchestrator.resume([job_id])
            return handle
        job = self.plan.jobs[number]
        request = ImportRequest(
            sources=[str(self._path(number, source)) for source in range(len(job.sources))],
            target=job.target,
            name=f"job{number}",
            failed_max=None,
            on_unknown=job.on_unknown,
            out_dir=self.directory / f"report{number}",
        )
        handle = await orchestrator.submit(request)
        self.ids[number] = handle.id
        return handle

    async def _find(self, orchestrator: Orchestrator, number: int) -> JobId | None:
        """Return the job that a life before this one journalled."""
        return next((job.id for job in await orchestrator.jobs() if job.name == f"job{number}"), None)

    # --- afterwards --------------------------------------------------------------------------------------

    def history(self) -> list[str]:
        """Return what happened so far, a line each: uploads as the emulator saw them, and deaths."""
        lines = [
            (create["at_ms"], f"create: {create['answer']}, batch {create['batch_id']}, fault {create['fault']}")
            for create in self.service.engine.creates
        ]
        lines += [(died_ms, "the process is killed") for died_ms in self.deaths_ms]
        return [f"{(at_ms - EPOCH_MS) / 1000:12.3f} s  {line}" for at_ms, line in sorted(lines)]

    async def _look(self, runner: web.AppRunner) -> Seen:
        engine, limits = self.service.engine, self.service.engine.limits
        jobs: list[Ended] = []
        known: set[int] = set()
        async with self._session(runner) as session, self._opened(session) as orchestrator:
            for number, job in enumerate(self.plan.jobs):
                handle = await orchestrator.job(self.ids[number])
                named = (ChunkSubmitted, ChunkAdopted)
                known |= {event.batch_id async for event in handle.events() if isinstance(event, named)}
                with (self.directory / f"report{number}" / "failures.csv").open(encoding="utf-8", newline="") as file:
                    failures = list(csv.DictReader(file))
                summary = json.loads((await handle.summary()).to_json())
                jobs.append(Ended(plan=job, id=handle.id, summary=summary, failures=failures))
        records = {name: list(engine.records(name, self.clock.now_ms())) for name in ("leads", "car_c")}
        ends = [records, [ended.summary["rows"] for ended in jobs]]
        trace = json.dumps([self.history(), *ends], sort_keys=True)
        return Seen(
            plan=self.plan,
            jobs=jobs,
            uploads=[
                Upload(
                    at_ms=at_ms,
                    batch_id=batch.id,
                    content=content,
                    keys=keys,
                    failed=batch.status is BatchStatus.FAILED,
                    started_ms=batch.started_ms or 0,
                    finished_ms=batch.ended_ms or 0,
                )
                for at_ms, content, keys, batch in self.taken
            ],
            known=frozenset(known),
            deaths_ms=tuple(self.deaths_ms),
            records=records,
            unfinished_max=engine.queue.unfinished_max,
            queue_full=sum(codes["1016"] for codes in limits.errors(self.clock.now_ms()).values()),
            in_window_max=limits.in_window_max,
            in_flight_max=limits.in_flight_max,
            healthy_ms=max(self.plan.healthy_ms, self.revived_ms),
            done_ms=int(self.loop.time() * 1000),
            history=self.history(),
            trace=hashlib.sha256(trace.encode()).hexdigest(),
        )


async def live(plan: Plan, directory: Path, loop: Loop, watch: Callable[[World], None]) -> Seen:
    """Run a plan in an empty directory; ``watch`` is given the world at its beginning."""
    world = World(plan, directory, loop)
    watch(world)
    return await world.run()
