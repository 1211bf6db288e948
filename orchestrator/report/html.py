"""The summary as one page that opens anywhere, offline, and runs no script.

Everything in it comes from the summary, and every value is escaped: file names, reasons and findings contain
what others wrote.  Long tables are cut, with a line that says so; ``summary.json`` has them whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from itertools import pairwise
from pathlib import PurePath
from typing import TYPE_CHECKING, TypeVar

from orchestrator.model import ExitCode
from orchestrator.report.ending import decisions
from orchestrator.report.summary import BatchSummary, Summary

if TYPE_CHECKING:
    from jinja2 import Template

BATCHES_SHOWN_MAX = 500  # lines of a table that a browser shows at once without effort
FINDINGS_SHOWN_MAX = 200
REASONS_SHOWN_MAX = 100
SOURCES_SHOWN_MAX = 200

_VERDICTS = {
    ExitCode.OK: ("good", "Every row was accepted."),
    ExitCode.INTERNAL: ("bad", "Stopped by an error of this program."),
    ExitCode.USAGE: ("bad", "Not started: a setting is wrong."),
    ExitCode.ROWS_FAILED: ("fair", "Finished; some rows failed."),
    ExitCode.INPUT_REFUSED: ("bad", "The input was refused; nothing was sent."),
    ExitCode.INTERRUPTED: ("fair", "Not finished; the job can be resumed."),
    ExitCode.DENIED: ("bad", "Marketo refused the credentials or a permission."),
    ExitCode.ROWS_UNKNOWN: ("bad", "The outcome of some rows is unknown."),
    ExitCode.THRESHOLD: ("fair", "Stopped by a limit that was set for this job."),
    ExitCode.REFUSED: ("bad", "Marketo refused to go on; what it had accepted is in this report."),
    ExitCode.SIGINT: ("fair", "Stopped by the user; the job can be resumed."),
    ExitCode.SIGTERM: ("fair", "Stopped by the system; the job can be resumed."),
}

T = TypeVar("T")


def render(summary: Summary) -> str:
    """Return the page as a complete HTML document."""
    tone, verdict = _VERDICTS[ExitCode(summary.exit_code)]
    if summary.state == "cancelled":
        tone, verdict = "fair", "Cancelled."
    rows = summary.rows
    shares = [
        (name, count, _percent(count, rows.read))
        for name, count in (
            ("accepted", rows.accepted),
            ("failed", rows.failed),
            ("unknown", rows.unknown),
            ("unsent", rows.unsent),
        )
    ]
    return _template().render(
        summary=summary,
        title=summary.name
        or ", ".join(PurePath(source.path).name for source in summary.sources[:3])
        or "Nothing was imported",
        tone=tone,
        verdict=verdict,
        failed_only=summary.exit_code == ExitCode.ROWS_FAILED,
        following=() if summary.exit_code == ExitCode.OK else decisions(summary.next) or ((summary.next, ""),),
        shares=shares,
        bars=_bars([count for _, count, _ in shares]),
        batches=_most_telling(summary.batches),
        findings=summary.findings[:FINDINGS_SHOWN_MAX],
        reasons=summary.reasons[:REASONS_SHOWN_MAX],
        sources=summary.sources[:SOURCES_SHOWN_MAX],
        took=_duration(summary.started_at, summary.finished_at),
    )


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("orchestrator.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": _number, "plural": _plural, "size": _size, "delimiter": _delimiter}
    environment.filters |= {"time": _time, "later": _later}
    return environment.get_template("report.html.j2")


def _most_telling(batches: Sequence[BatchSummary]) -> list[BatchSummary]:
    """Return the batches to show, in their order: all, or those in which most went wrong."""
    by_trouble = sorted(batches, key=lambda batch: batch.accepted - batch.warned - batch.rows)
    chosen = {batch.chunk for batch in by_trouble[:BATCHES_SHOWN_MAX]}
    return [batch for batch in batches if batch.chunk in chosen]


def _bars(counts: Sequence[int]) -> list[tuple[float, float]]:
    """Return the left edge and the width of each share of a bar that is 100 wide; what is there can be seen."""
    total = sum(counts)
    if not total:
        return [(0.0, 0.0)] * len(counts)
    widths = [max(100 * count / total, 0.5) if count else 0.0 for count in counts]
    scale = 100 / sum(widths)
    edges = [0.0]
    for width in widths:
        edges.append(edges[-1] + width * scale)
    return [(round(left, 3), round(right - left, 3)) for left, right in pairwise(edges)]


def _percent(count: int, total: int) -> str:
    """Write a share so that neither something looks like nothing nor nearly all like all."""
    if not total:
        return "–"
    share = 100 * count / total
    if 0 < share < 0.01:
        return "< 0.01 %"
    if 99.99 < share < 100:
        return "> 99.99 %"
    return f"{share:.2f} %" if 0 < share < 100 else f"{share:.0f} %"


def _number(value: int) -> str:
    return f"{value:,}"


def _plural(value: int, noun: str) -> str:
    return f"{value:,} {noun}{'' if value == 1 else 's'}"


def _size(value: int) -> str:
    """Write a number of bytes in decimal units, as the command does."""
    for power, unit in ((4, "TB"), (3, "GB"), (2, "MB"), (1, "kB")):
        if value >= 1000**power:
            return f"{value / 1000**power:,.1f} {unit}"
    return _plural(value, "byte")


def _time(value: str | None, zone: str = "") -> str:
    return "–" if value is None else value[:19].replace("T", " ") + zone


def _later(value: str | None, earlier: str | None) -> str:
    """Write a time, without its date if that is the date of an earlier one."""
    shown = _time(value)
    return shown[11:] if value is not None and _time(earlier)[:11] == shown[:11] else shown


def _delimiter(value: str) -> str:
    return {",": "comma", "\t": "tab", ";": "semicolon"}.get(value, value)


def _duration(start: str | None, end: str | None) -> str:
    if start is None or end is None:
        return "–"
    seconds = int((datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds())
    minutes, seconds = divmod(max(seconds, 0), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"
