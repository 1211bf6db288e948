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
    share = -(-rows // max(1, sum(bool(plan.spans) for plan in plans)))
    spans: list[Span] = []
    canaries: list[int] = []
    for number, plan in enumerate(plans):
        if not plan.spans:
            continue
        first, *others = plan.spans
        cut = behead(plan.source, first, rows=share)
        if _is_free(plan, cut[0], plans[:number], key_columns):
            canaries.append(len(spans))
            first, *others = [*cut, *others]
        spans += [first, *others]
    return tuple(spans), tuple(canaries)


def _is_free(plan: Plan, head: Span, before: Sequence[Plan], key_columns: Sequence[str]) -> bool:
    claims = claims_of(plan.source, head, key_columns, SALT)
    return not any(
        overlap(claims, claims_of(earlier.source, span, key_columns, SALT))
        for earlier in before
        for span in earlier.spans
    )
