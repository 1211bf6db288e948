"""What a batch's counters say about its rows: each row in exactly one of accepted, failed and unknown.

Marketo reports three numbers about a finished batch and promises nothing about their sum.  Whatever they
are, the outcome here adds up to the rows that were sent: rows that the numbers leave unexplained are
``unknown``, numbers larger than the batch are cut to it, and either leaves a finding.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.model import BatchId, Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The outcome of one batch: ``accepted + failed + unknown`` is the number of rows sent."""

    accepted: int
    failed: int
    warned: int  # within accepted
    unknown: int
    findings: tuple[Finding, ...]


def account(*, batch_id: BatchId, rows: int, processed: int, failed: int, warned: int) -> Account:
    """Divide the rows of a finished batch by its counters.

    ``processed`` is the number of rows that Marketo says it imported, failed ones not among them, and
    ``warned`` how many of those it warned of.  No combination of numbers raises.
    """
    failed_kept = _clamp(failed, rows)
    accepted = _clamp(processed, rows - failed_kept)
    warned_kept = _clamp(warned, accepted)
    unknown = rows - failed_kept - accepted
    findings = []
    if (failed_kept, accepted, warned_kept) != (failed, processed, warned):
        findings.append(
            Finding(
                kind="counters_impossible",
                message=(
                    f"Batch {batch_id} has {rows} rows, but Marketo counts {processed} processed, {failed} failed "
                    f"and {warned} with a warning; the report says {accepted} accepted, {failed_kept} failed, "
                    f"{warned_kept} with a warning. Compare a few of its rows in Marketo."
                ),
                batch_id=batch_id,
            )
        )
    if unknown:
        findings.append(
            Finding(
                kind="rows_unexplained",
                message=(
                    f"Batch {batch_id} has {rows} rows, but Marketo counts only {processed} processed and {failed} "
                    f"failed; the outcome of {unknown} rows is unknown. Look for its rows in Marketo, "
                    f"and import those that are missing again."
                ),
                batch_id=batch_id,
            )
        )
    return Account(
        accepted=accepted,
        failed=failed_kept,
        warned=warned_kept,
        unknown=unknown,
        findings=tuple(findings),
    )


def _clamp(value: int, limit: int) -> int:
    return min(max(value, 0), limit)
