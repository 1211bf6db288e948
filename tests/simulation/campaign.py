"""Runs worlds by their seeds, and tells about one so that anybody can look at it again.

python -m tests.simulation.campaign 0..200      # every seed of a range; says which fail
python -m tests.simulation.campaign 17          # one seed, twice: what happened, and that it repeats
"""

from __future__ import annotations

import logging
import shutil
import sys
import tempfile
from pathlib import Path
from pprint import pformat

from tests.simulation import invariants, kit, plans, world

EVENTS_SHOWN = 20


class WorldFailed(AssertionError):
    """A world did not end as it must; says all that is needed to look at it again."""


def run(seed: int) -> world.Seen:
    """Run the world of a seed; raises whatever is wrong with it."""
    memory = Path("/dev/shm")  # nothing here has to survive a power loss
    directory = Path(tempfile.mkdtemp(prefix=f"world-{seed}-", dir=memory if memory.is_dir() else None))
    plan = plans.draw(seed)
    watched: list[world.World] = []
    try:
        return kit.simulate(seed, lambda loop: world.live(plan, directory, loop, watched.append))
    except BaseException as error:
        told = watched[0].history() if watched else []
        raise WorldFailed(describe(plan, error, told)) from error
    finally:
        shutil.rmtree(directory)


def check(seed: int) -> world.Seen:
    """Run the world of a seed and check every invariant."""
    seen = run(seed)
    try:
        invariants.check(seen)
    except invariants.Violated as violated:
        raise WorldFailed(describe(seen.plan, violated, seen.history)) from violated
    return seen


def describe(plan: plans.Plan, error: BaseException, history: list[str]) -> str:
    """Return what happened in a world that failed, and how to see it again."""
    drawn = {name: value for name, value in vars_of(plan).items() if name not in ("jobs", "emulator")}
    drawn["jobs"] = [(job.target, [len(rows) for rows in job.sources], job.starts_ms) for job in plan.jobs]
    drawn["emulator"] = {name: value for name, value in plan.emulator.items() if not isinstance(value, list)}
    lines = [
        f"{type(error).__name__}: {error}",
        "the world:",
        pformat(drawn, width=110, sort_dicts=False),
        f"its last {EVENTS_SHOWN} events:",
        *history[-EVENTS_SHOWN:],
        f"again: make replay SEED={plan.seed}",
    ]
    return "\n".join(lines)


def vars_of(plan: plans.Plan) -> dict[str, object]:
    return {name: getattr(plan, name) for name in plan.__slots__}


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def quiet() -> None:
    """Keep the program's log, which tells of every fault, off the terminal."""
    logging.getLogger("orchestrator").addHandler(logging.NullHandler())
    logging.getLogger("orchestrator").propagate = False


def _replay(seed: int) -> int:
    seen = check(seed)
    say("\n".join(seen.history))
    for job in seen.jobs:
        say(f"{job.id}: {job.summary['state']}, rows {job.summary['rows']}")
    again = check(seed)
    say(f"seed {seed}: {seen.done_ms / 60_000:.1f} virtual minutes, trace {seen.trace}")
    if again.trace != seen.trace:
        say(f"run again, its trace is {again.trace}: something in it is not decided by the seed")
        return 1
    return 0


def _sweep(seeds: range) -> int:
    failed = 0
    for seed in seeds:
        try:
            check(seed)
        except WorldFailed as error:
            failed += 1
            say(f"seed {seed}: {error}\n")
    say(f"{len(seeds)} worlds, {failed} failed")
    return 1 if failed else 0


def main(text: str) -> int:
    """Run what the argument asks for; return the exit code."""
    quiet()
    first, dots, behind = text.partition("..")
    return _sweep(range(int(first), int(behind))) if dots else _replay(int(first))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
