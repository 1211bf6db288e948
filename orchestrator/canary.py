"""The canary: the first rows of a job's sources, sent before all others to see whether they fare well.

Rows are sent before those that stand in front of them, so the last row of a key must still win.  The head of the
first source stands in front of everything anyway.  The head of another source is taken only if none of its keys
stands in any chunk before it.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.model import Span
from orchestrator.source.keys import overlap
from orchestrator.source.split import Plan, behead
from orchestrator.uploads import claims_of

SALT = b"canary"  # these fingerprints are compared with each other and then forgotten


def with_canary(
    plans: Sequence[Plan], *, rows: int, key_columns: Sequence[str]
) -> tuple[tuple[Span, ...], tuple[int, ...]]:
    """Return the spans of all sources, and which of them make a canary of about ``rows`` rows.

    Busy as long as reading the sources takes, if there are several.

    Raises:
        SourceChanged: a source is not the file that was planned.

    """
    filled = [plan for plan in plans if plan.spans]
    share = -(-rows // max(1, len(filled)))
    cuts = [behead(plan.source, plan.spans[0], rows=share) for plan in filled]
    free = _free(filled, [cut[0] for cut in cuts], key_columns)
    spans: list[Span] = []
    canaries: list[int] = []
    for number, (plan, cut) in enumerate(zip(filled, cuts, strict=True)):
        if number in free:
            canaries.append(len(spans))
        spans += (*cut, *plan.spans[1:]) if number in free else plan.spans
    return tuple(spans), tuple(canaries)


def _free(plans: Sequence[Plan], heads: Sequence[Span], key_columns: Sequence[str]) -> list[int]:
    """Return the plans of whose heads no key stands in a plan before; each but the last is read once."""
    claims = [claims_of(plan.source, head, key_columns, SALT) for plan, head in zip(plans, heads, strict=True)]
    free = list(range(len(plans)))
    for number, plan in enumerate(plans):
        for span in plan.spans if free[-1] > number else ():
            before = claims_of(plan.source, span, key_columns, SALT)
            free = [later for later in free if later <= number or not overlap(claims[later], before)]
    return free
