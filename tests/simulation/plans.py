"""What one simulated world is: drawn from a seed, whole, before anything runs.

Configurations are drawn like a swarm: most worlds have only a few kinds of trouble, and much of those.  A world
where everything goes wrong at once never gets far enough to show anything.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from orchestrator.model import CustomObjects, Leads, OnUnknown, ProgramMembers, Target
from tests.e2e.holdings import HOLDINGS

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
WIDE_ROWS_MAX = 10  # in a chunk of a wide job there are fewer

# What may go wrong, as the emulator takes it; each is drawn with a probability of its own.
TROUBLES: tuple[Mapping[str, Any], ...] = (
    {"on": "create", "do": "lose_answer_after_accept"},
    {"on": "create", "do": "lose_answer_before_accept"},
    {"on": "create", "do": "http", "status": 502, "accept": True},
    {"on": "create", "do": "http", "status": 503},
    {"on": "create", "do": "no_json", "accept": True},
    {"on": "create", "do": "empty_result"},
    {"on": "create", "do": "reset_in_body", "after_bytes": 500},
    {"on": "create", "do": "code", "code": "1016"},
    {"on": "create", "do": "code", "code": "713"},
    {"on": "any", "do": "code", "code": "611"},
    {"on": "any", "do": "code", "code": "606"},
    {"on": "any", "do": "code", "code": "615"},
    {"on": "any", "do": "expire_token"},
    {"on": "any", "do": "forget_token"},
    {"on": "status", "do": "lose_answer_before_accept"},
    {"on": "status", "do": "slow", "ms": 20_000},
    {"on": "status", "do": "unknown_status"},
    {"on": "failures", "do": "shuffle_file"},
    {"on": "failures", "do": "truncate_file", "times": 1},
    {"on": "failures", "do": "http", "status": 504},
    {"on": "batch", "do": "fail_batch", "applied": 0.5, "message": "internal error"},
    {"on": "batch", "do": "slow_import", "factor": 20.0},
    {"on": "batch", "do": "delay_start", "ms": 120_000},
)

# What may keep every upload from succeeding for most of a day; None: no connection comes about.
SIEGES: tuple[Mapping[str, Any] | None, ...] = (
    {"on": "create", "do": "code", "code": "1016"},
    {"on": "create", "do": "code", "code": "606"},
    {"on": "create", "do": "code", "code": "713"},
    {"on": "any", "do": "code", "code": "615"},
    None,
)

# Codes after which an upload surely was not taken.
CERTAIN = ("1016", "606", "615")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One record of a source."""

    key: str
    value: str  # no other row has it
    number: str

    @property
    def fails(self) -> bool:
        """Whether Marketo refuses it: without a key, or with a number that is none."""
        return not self.key or not (self.number or "0").isdecimal()


@dataclass(frozen=True, slots=True, kw_only=True)
class SimJob:
    """One job of a world."""

    target: Target
    sources: tuple[tuple[Row, ...], ...]
    starts_ms: int  # behind the start of the first life
    on_unknown: OnUnknown = OnUnknown.PROBE

    @property
    def columns(self) -> tuple[str, str, str]:
        """Key, value and number, as the target calls them."""
        match self.target:
            case CustomObjects():
                return "vin", "color", "year"
            case ProgramMembers():
                return "email", "firstName", "seats"
            case _:
                return "email", "firstName", "leadScore"

    @property
    def store(self) -> str:
        """Where the emulator keeps what becomes of the rows."""
        return "car_c" if isinstance(self.target, CustomObjects) else "leads"

    def text(self, source: int) -> str:
        """Return a source as it stands in its file."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows((row.key, row.value, row.number) for row in self.sources[source])
        return out.getvalue()


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One life of the program, and how it ends; the last one of a world has no end of this kind."""

    killed_after_writes: int | None = None  # to the journal; None: it is killed by an upload
    killed_by_upload: int | None = None  # the number of the one that Marketo takes and whose answer then finds nobody
    dead_ms: int  # until the next one begins


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupation:
    """Strangers who queue imports."""

    at_ms: int
    slots: int
    duration_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Siege:
    """A time in which nothing gets through, until everything heals."""

    at_ms: int
    trouble: Mapping[str, Any] | None  # None: no connection comes about


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One world."""

    seed: int
    jobs: tuple[SimJob, ...]
    lives: tuple[Life, ...]
    troubles: tuple[Mapping[str, Any], ...]
    refused: float  # the share of connections that do not come about
    occupations: tuple[Occupation, ...]
    rivals_ms: tuple[int, ...] = ()  # when another process takes the subscription over by force
    heals_ms: int  # from then on nothing goes wrong any more
    emulator: Mapping[str, Any]
    body_bytes_max: int
    calls_per_window: int = 50
    rows_per_chunk_max: int = 250_000
    slots: int = 10  # that the program may take
    queue_depth: int | None = None
    siege: Siege | None = None

    @property
    def calm(self) -> bool:
        """Whether nothing but the program itself can be in its way."""
        return not (self.lives or self.troubles or self.refused or self.occupations or self.rivals_ms or self.siege)

    @property
    def wide(self) -> bool:
        """Whether its first job has many small chunks that share no key."""
        return self.rows_per_chunk_max < WIDE_ROWS_MAX

    @property
    def all_troubles(self) -> tuple[Mapping[str, Any], ...]:
        """What goes wrong, that of the siege included."""
        return self.troubles + ((self.siege.trouble,) if self.siege and self.siege.trouble else ())

    @property
    def work_ms(self) -> int:
        """How long one importer takes for all rows, at its slowest."""
        rows = sum(len(source) for job in self.jobs for source in job.sources)
        slower = max((trouble.get("factor", 1.0) for trouble in self.troubles), default=1.0)
        return int(slower * 1_000 * rows / self.emulator["rows_per_second"] * (1 + self.emulator["jitter"]))

    @property
    def loses_answers(self) -> bool:
        """Whether an upload can end without anybody knowing whether it was taken."""
        return bool(self.lives or self.rivals_ms) or any(map(_loses_answers, self.all_troubles))

    @property
    def healthy_ms(self) -> int:
        """From when on nothing is in the program's way, if it lives."""
        ends_ms = [each.at_ms + each.slots * each.duration_ms for each in self.occupations]
        starts_ms = [job.starts_ms for job in self.jobs]
        return max(self.heals_ms, *self.rivals_ms, *ends_ms, *starts_ms)


def _loses_answers(trouble: Mapping[str, Any]) -> bool:
    of_uploads = trouble["on"] in ("create", "any")
    return of_uploads and "token" not in trouble["do"] and trouble.get("code") not in CERTAIN


def draw(seed: int) -> Plan:
    """Draw the world of a seed; every fourth one is calm, so that nothing excuses a fault there."""
    plan = _usual(seed)
    chance = Random(f"{seed}:wide")  # what is drawn here changes nothing of the other worlds
    if chance.random() < 0.2:
        plan = _wide(plan, chance)
    if seed % 4 and chance.random() < 0.15:
        plan = _besieged(plan, chance)
    return plan


def _wide(plan: Plan, chance: Random) -> Plan:
    """Let the first job have so many chunks, which may all be at Marketo at a time, that there are not enough slots."""
    rows_per_chunk = chance.randint(2, WIDE_ROWS_MAX - 1)
    chunk_s = chance.choice((15.0, 40.0, 120.0))
    target: Target = chance.choice(
        (Leads(), CustomObjects(api_name="car_c"), ProgramMembers(program_id=2001, member_status="Invited"))
    )
    rows = tuple(
        Row(key=f"w{number}@wide.example", value=f"v0.0.{number}", number="7")
        for number in range(rows_per_chunk * chance.randint(14, 30))
    )
    job = SimJob(target=target, sources=(rows,), starts_ms=0)
    others = plan.jobs[1:] if chance.random() < 0.3 else ()
    if chance.random() < 0.4:
        plan = _undisturbed(plan)
    return replace(
        plan,
        jobs=(job, *others),
        calls_per_window=chance.choice((50, 50, 50, 5)),
        rows_per_chunk_max=rows_per_chunk,
        queue_depth=chance.choice((None, None, None, 2, 10, 10)),
        slots=chance.choice((10, 10, 10, 4)),
        emulator={**plan.emulator, "rows_per_second": rows_per_chunk / chunk_s},
    )


def _besieged(plan: Plan, chance: Random) -> Plan:
    """Let nothing get through for most of a day; most such worlds have no other trouble."""
    siege = Siege(at_ms=chance.randint(1, 20) * 1_000, trouble=chance.choice(SIEGES))
    heals_ms = siege.at_ms + chance.randint(8, 14) * HOUR_MS
    if chance.random() < 0.6:
        plan = _undisturbed(plan)
    return replace(plan, siege=siege, heals_ms=heals_ms)


def _undisturbed(plan: Plan) -> Plan:
    return replace(plan, lives=(), troubles=(), refused=0.0, occupations=(), rivals_ms=())


def _usual(seed: int) -> Plan:
    chance = Random(f"{seed}:plan")
    calm = seed % 4 == 0
    troubles = [] if calm else chance.sample(TROUBLES, chance.choice((0, 1, 2, 3, 5)))
    lives = [] if calm else [_life(chance) for _ in range(chance.choice((0, 0, 1, 2, 4)))]
    occupations = [] if calm else [_occupation(chance) for _ in range(chance.choice((0, 0, 0, 1, 3)))]
    slow_start_ms = chance.choice((0, 1_000, 10_000))
    return Plan(
        seed=seed,
        jobs=tuple(_job(chance, number) for number in range(chance.choice((1, 1, 1, 2, 3)))),
        lives=tuple(lives),
        troubles=tuple({**trouble, "probability": chance.uniform(0.02, 0.3)} for trouble in troubles),
        refused=0.0 if calm else chance.choice((0.0, 0.0, 0.0, 0.05, 0.2)),
        occupations=tuple(occupations),
        rivals_ms=() if calm else tuple(_rival(chance) for _ in range(chance.choice((0, 0, 0, 1, 2)))),
        heals_ms=chance.randint(5, 240) * MINUTE_MS,
        emulator={
            "seed": seed,
            "rows_per_second": chance.choice((0.2, 0.5, 2.0, 20.0)),
            "jitter": chance.choice((0.0, 0.2, 0.7)),
            "start_delay_ms_min": 0,
            "start_delay_ms_max": slow_start_ms,
            "token_life_ms": chance.choice((120_000, 3_600_000)),
            **HOLDINGS,
        },
        body_bytes_max=chance.choice((1_000, 1_200, 2_000, 5_000)),
        calls_per_window=chance.choice((50, 50, 5)),
    )


def _life(chance: Random) -> Life:
    of_a_write = chance.random() < 0.6
    return Life(
        killed_after_writes=chance.randint(1, 60) if of_a_write else None,
        killed_by_upload=None if of_a_write else chance.randint(1, 6),
        dead_ms=chance.choice((0, 1_000, 5 * MINUTE_MS, 3 * HOUR_MS)),
    )


def _occupation(chance: Random) -> Occupation:
    return Occupation(
        at_ms=chance.randint(0, HOUR_MS),
        slots=chance.randint(1, 10),
        duration_ms=chance.choice((1, 20, 90)) * MINUTE_MS,
    )


def _rival(chance: Random) -> int:
    return chance.randint(0, chance.choice((1, 5, 20, 120)) * MINUTE_MS)


def _job(chance: Random, number: int) -> SimJob:
    target: Target = chance.choice(
        (
            Leads(),
            Leads(),
            Leads(list_id=1001),
            CustomObjects(api_name="car_c"),
            ProgramMembers(program_id=2001 + number, member_status="Invited"),
        )
    )
    whose = "shared" if chance.random() < 0.3 else f"job{number}"
    people = chance.choice((5, 40, 1_000))
    trouble = chance.choice((0.0, 0.05, 0.2))
    most = chance.choice((30, 90, 90, 250))
    sources = tuple(
        tuple(
            _row(chance, f"{number}.{source}.{row}", whose, people, trouble) for row in range(chance.randint(1, most))
        )
        for source in range(chance.choice((1, 1, 2)))
    )
    return SimJob(
        target=target,
        sources=sources,
        starts_ms=number * chance.randint(0, 20) * MINUTE_MS,
        on_unknown=chance.choice((OnUnknown.PROBE, OnUnknown.RESUBMIT)),
    )


def _row(chance: Random, name: str, whose: str, people: int, trouble: float) -> Row:
    broken = chance.choice(("key", "number")) if chance.random() < trouble else None
    filler = chance.choice(("", ", comma", ' "quoted"', "\nnext line", " Żółć", " " + "x" * 60))
    return Row(
        key="" if broken == "key" else f"p{chance.randrange(people)}@{whose}.example",
        value=f"v{name}{filler}",
        number="1x" if broken == "number" else str(chance.randrange(2_000)),
    )
