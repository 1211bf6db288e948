"""What happens without a safeguard: each is taken out in turn, and the campaign must notice.

    python -m tests.simulation.ablations           # looks for the first world that fails without each
    python -m tests.simulation.ablations claims    # one of them

No switch in the product does this; the tests replace the function that is the safeguard.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest

from orchestrator import batches, desk, uploads
from orchestrator.errors import DeliveryUnknown
from orchestrator.journal import fencing, writing
from orchestrator.marketo.quota import Quota
from orchestrator.model import Phase
from orchestrator.schedule.doubt import Doubt
from orchestrator.schedule.lane import Lane
from orchestrator.schedule.line import Line
from orchestrator.schedule.messages import Cause
from orchestrator.schedule.turns import Turns
from orchestrator.schedule.waits import Backoff
from tests.simulation import campaign, invariants, plans
from tests.simulation.plans import MINUTE_MS, Plan

README = Path(__file__).parents[2] / "README.md"
SEEDS_MAX = 200  # a safeguard that no world of these needs is shown by none


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablation:
    """A safeguard, how it is taken out, and where that was seen."""

    safeguard: str
    remove: Callable[[pytest.MonkeyPatch], None]
    violates: str  # the invariant
    seed: int
    needs: Callable[[Plan], bool]  # tells the worlds in which it may be needed at all


def _no_claims(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Turns, "is_free", lambda *_: True)


def _no_intent(patch: pytest.MonkeyPatch) -> None:
    async def update(self: desk.Desk, driven: Any, chunk: Any, values: Any, *more: Any) -> Any:
        if values.get("phase") is Phase.SUBMITTING:
            return desk.replace(chunk, **values)
        return await written(self, driven, chunk, values, *more)

    written = desk.Desk.update
    patch.setattr(desk.Desk, "update", update)


def _lost_is_refused(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(uploads.CAUSES, DeliveryUnknown, Cause.TRANSIENT)


def _no_hold(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Doubt, "over_ms", lambda self, chunk: 0)


def _no_ration(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Quota, "admit", lambda *_: 0)
    patch.setattr(Quota, "release", lambda *_: None)


def _no_fence(patch: pytest.MonkeyPatch) -> None:
    for module in (fencing, writing):
        patch.setattr(module, "check_epoch", lambda *_: None)


def _no_second_fetch(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(batches, "FETCHES_MAX", 1)


def _no_slots(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Lane, "room", lambda *_: True)


def _doubtful_slots(patch: pytest.MonkeyPatch) -> None:
    def room(self: Lane, held: int, in_doubt: int, wanted: int, now_ms: int) -> bool:
        return counted(self, held - in_doubt, 0, wanted, now_ms)

    counted = Lane.room
    patch.setattr(Lane, "room", room)


def _no_longest_wait(patch: pytest.MonkeyPatch) -> None:
    def begin(self: Backoff, min_ms: int, max_ms: int, rng: Random) -> None:
        made(self, min_ms, 1_000 * max_ms, rng)

    made = Backoff.__init__
    patch.setattr(Backoff, "__init__", begin)


def _no_stock(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Line, "is_covered", lambda self, batches, now_ms: len(batches) >= invariants.IMPORTERS)


def _loses_answers(plan: Plan) -> bool:
    return any(
        trouble["on"] == "create" and trouble.get("accept", "after" in trouble["do"]) for trouble in plan.troubles
    )


ABLATIONS = {
    "claims": Ablation(
        safeguard="no key is in two unfinished batches",
        remove=_no_claims,
        violates="order",
        seed=1,
        needs=lambda plan: True,
    ),
    "intent": Ablation(
        safeguard="the intent is journalled before an upload",
        remove=_no_intent,
        violates="order",
        seed=26,
        needs=lambda plan: any(life.killed_by_upload for life in plan.lives),
    ),
    "lost": Ablation(
        safeguard="a lost answer is not taken for a refusal",
        remove=_lost_is_refused,
        violates="order",
        seed=73,
        needs=_loses_answers,
    ),
    "hold": Ablation(
        safeguard="an upload of unknown outcome is held before it is sent again",
        remove=_no_hold,
        violates="order",
        seed=26,
        needs=_loses_answers,
    ),
    "ration": Ablation(
        safeguard="calls are rationed",
        remove=_no_ration,
        violates="limits",
        seed=4,
        needs=lambda plan: plan.calls_per_window < 50,
    ),
    "fence": Ablation(
        safeguard="every write checks the epoch",
        remove=_no_fence,
        violates="once",
        seed=13,
        needs=lambda plan: any(at_ms < 10 * MINUTE_MS for at_ms in plan.rivals_ms),
    ),
    "fetch": Ablation(
        safeguard="a faulty result file is fetched again",
        remove=_no_second_fetch,
        violates="no-loss",
        seed=123,
        needs=lambda plan: any(trouble["do"] == "truncate_file" for trouble in plan.troubles),
    ),
    "slots": Ablation(
        safeguard="slots held are counted",
        remove=_no_slots,
        violates="limits",
        seed=6,
        needs=lambda plan: plan.wide,
    ),
    "doubt": Ablation(
        safeguard="an upload of unknown outcome keeps its slot",
        remove=_doubtful_slots,
        violates="limits",
        seed=185,
        needs=lambda plan: plan.wide and _loses_answers(plan) and not plan.occupations,
    ),
    "backoff": Ablation(
        safeguard="no wait between two tries is longer than the longest",
        remove=_no_longest_wait,
        violates="convergence",
        seed=30,
        needs=lambda plan: plan.siege is not None,
    ),
    "stock": Ablation(
        safeguard="enough batches wait at Marketo while others are imported",
        remove=_no_stock,
        violates="busy",
        seed=6,
        needs=invariants.can_keep_busy,
    ),
}


def table() -> str:
    """Return what the README tells."""
    rows = [
        f"| {each.safeguard} | {each.violates} | {each.seed} | `python -m tests.simulation.ablations {name}` |"
        for name, each in ABLATIONS.items()
    ]
    head = ("| safeguard taken out | what breaks | at seed | found again by |", "|---|---|---:|---|")
    return "\n".join([*head, *rows])


def violated(ablation: Ablation, seed: int) -> str | None:
    """Run a world without a safeguard; return the name of the invariant that breaks, None if none does."""
    with pytest.MonkeyPatch.context() as patch:
        ablation.remove(patch)
        try:
            campaign.check(seed)
        except campaign.WorldFailed as failed:
            cause = failed.__cause__
            return cause.name if isinstance(cause, invariants.Violated) else type(cause).__name__
    return None


def whole(seed: int) -> bool:
    """Tell whether a world keeps every invariant as long as nothing is taken out."""
    try:
        campaign.check(seed)
    except campaign.WorldFailed:
        return False
    return True


def _search(name: str) -> bool:
    ablation = ABLATIONS[name]
    seen: list[str] = []
    for seed in range(SEEDS_MAX):
        if not ablation.needs(plans.draw(seed)):
            continue
        found = violated(ablation, seed)
        if found is not None:
            seen.append(f"{found} at {seed}")
        if found == ablation.violates and whole(seed):
            campaign.say(f"{name}: without it, {found} is violated at seed {seed} (seen: {', '.join(seen)})")
            return True
    campaign.say(f"{name}: {ablation.violates} is violated at none of {SEEDS_MAX} seeds (seen: {', '.join(seen)})")
    return False


if __name__ == "__main__":
    campaign.quiet()
    sys.exit(0 if all(map(_search, sys.argv[1:] or ABLATIONS)) else 1)
