"""Worlds in which answers are lost and strangers import files of the same number of rows at the same moments.

A stranger's batch is worse than a lost answer, if it is taken for one's own: rows that never arrived would be told as
imported.  So strangers do here whatever could mislead: they import other people, the same people, other kinds of
things, files with failures word by word like ours, and our own file before we do; and some uploads never arrive.
Only our own file at the very same moment is beyond all evidence: then the rows are there, whoever brought them.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from random import Random

from orchestrator.emulator.engine import Engine, Upload
from orchestrator.emulator.refusals import Refused
from orchestrator.model import CustomObjects, Format, Leads, ProgramMembers, Target
from tests.e2e.holdings import HOLDINGS
from tests.simulation.kit import Loop, simulate
from tests.simulation.plans import HOUR_MS, Life, Plan, Row, SimJob
from tests.simulation.world import Seen, World

ROWS = 18  # of a chunk, about
KINDS = ("others", "others failing", "nobody", "same people", "objects", "members")
MISLEADING = Row(key="", value="the same", number="1x")  # stands in our files and in theirs


def draw(seed: int) -> Plan:
    """Draw a world."""
    chance = Random(f"{seed}:strangers")
    rows = []
    for number in range(chance.randint(3, 5) * ROWS):
        trouble = chance.random()
        row = Row(key=f"p{number:04}@ours.example", value=f"v{number:04}", number="7")
        if trouble < 0.05:
            row = MISLEADING
        elif trouble < 0.07:
            row = Row(key=row.key, value=row.value, number="1x")
        rows.append(row)
    lost, gone = chance.uniform(0.2, 0.6), chance.uniform(0.0, 0.3)
    return Plan(
        seed=seed,
        jobs=(SimJob(target=Leads(), sources=(tuple(rows),), starts_ms=0),),
        lives=tuple(
            Life(killed_after_writes=chance.randint(3, 40), dead_ms=chance.choice((0, 60_000)))
            for _ in range(chance.choice((0, 0, 1, 2)))
        ),
        troubles=(
            {"on": "create", "do": "lose_answer_after_accept", "probability": lost},
            {"on": "create", "do": "lose_answer_before_accept", "probability": gone},
            {"on": "batch", "do": "fail_batch", "applied": 0.5, "probability": chance.choice((0.0, 0.0, 0.1))},
        ),
        refused=0.0,
        occupations=(),
        heals_ms=2 * HOUR_MS,
        emulator={
            "seed": seed,
            "rows_per_second": chance.choice((0.5, 2.0, 20.0)),
            "start_delay_ms_min": 0,
            "start_delay_ms_max": chance.choice((0, 20_000)),
            **HOLDINGS,
        },
        body_bytes_max=1_000,
    )


class Crowded(World):
    """A world full of strangers."""

    def __init__(self, plan: Plan, directory: Path, loop: Loop) -> None:
        super().__init__(plan, directory, loop)
        self.strange = Random(f"{plan.seed}:others")
        self.made = 0
        if self.strange.random() < 0.2:  # everything is there already, word by word
            self._import(Leads(), self.plan.jobs[0].text(0), ago_ms=HOUR_MS)

    async def _occupy(self) -> None:
        seconds = self.strange.choice((2.0, 10.0, 40.0))
        while True:
            await asyncio.sleep(seconds * self.strange.random() * 2)
            sent_ms = max((create["at_ms"] for create in self.service.engine.creates[-1:]), default=0)
            near = self.clock.now_ms() - sent_ms < 90_000  # at other times they would mislead nobody
            if near and self.service.engine.queue.unfinished < self.strange.randint(2, 7):
                self._come(self.strange.choice(KINDS))

    def _come(self, kind: str) -> None:
        count = self.taken[-1][3].rows if self.taken else ROWS
        count += self.strange.choice((0, 0, 0, 0, 1, -1))
        self.made += 1
        others = [f"x{self.made}.{number}@theirs.example" for number in range(count)]
        match kind:
            case "nobody":
                duration_ms = self.strange.randint(1_000, 60_000)
                self.service.engine.occupy(1, duration_ms, self.clock.now_ms(), rows=count)
            case "others":
                self._import(Leads(), _text("email,firstName,leadScore", (f"{key},same,7" for key in others)))
            case "others failing":
                failing = self.strange.randint(1, 3)
                lines = [*(f"{key},same,7" for key in others[failing:]), *[",the same,1x"] * failing]
                self._import(Leads(), _text("email,firstName,leadScore", lines))
            case "same people":
                rows = self.plan.jobs[0].sources[0]
                first = self.strange.randrange(max(1, len(rows) - count))
                keys = [row.key for row in rows[first : first + count] if row.key]
                lines = [f"{key},theirs" for key in [*keys, *others][:count]]
                self._import(Leads(), _text("email,lastName", lines))
            case "objects":
                self._import(CustomObjects(api_name="car_c"), _text("vin,color", (f"{key},red" for key in others)))
            case _:
                target = ProgramMembers(program_id=2001, member_status="Invited")
                self._import(target, _text("email,firstName", (f"{key},same" for key in others)))

    def _import(self, target: Target, text: str, *, ago_ms: int = 0) -> None:
        upload = Upload(target=target, format=Format.CSV, filename="theirs.csv", data=text.encode(), body_bytes=1)
        engine = self.service.engine
        try:
            Engine.create(engine, upload, engine.config.clients[0], self.clock.now_ms() - ago_ms)
        except Refused:
            self.made -= 1  # the queue is full


def _text(header: str, lines: object) -> str:
    return "\n".join([header, *lines, ""])  # type: ignore[misc]


def run(seed: int) -> Counter[str]:
    """Live through a world, and check that every batch in its report was made of the rows that it is told for.

    Returns how many uploads were adopted and sent again, and how many batches strangers made.
    """
    memory = Path("/dev/shm")
    directory = Path(tempfile.mkdtemp(prefix=f"strangers-{seed}-", dir=memory if memory.is_dir() else None))
    worlds: list[Crowded] = []

    async def live(loop: Loop) -> Seen:
        worlds.append(Crowded(draw(seed), directory, loop))
        return await worlds[0].run()

    try:
        seen = simulate(seed, live)
    finally:
        shutil.rmtree(directory)
    (world,), (job,) = worlds, seen.jobs
    assert job.summary["state"] == "complete", f"seed {seed}: {job.summary['exit_reasons']}"
    batches = world.service.engine.batches
    for batch in job.summary["batches"]:
        wanted = f"{job.id}-row-{batch['first_row']}.csv"
        found = batches[batch["batch_id"]].filename
        assert found == wanted, f"seed {seed}: batch {batch['batch_id']} is {found}, and taken for {wanted}"
    there = {record["values"].get("email") for record in seen.records["leads"]}
    missing = [row.key for row in job.plan.sources[0] if not row.fails and row.key not in there]
    assert missing == [], f"seed {seed}: {len(missing)} rows are told as imported and are not there"
    told = job.summary["lost_answers"]
    return Counter(adopted=told["adopted"], resent=told["resent"], strangers=world.made)
