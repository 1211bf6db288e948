"""Numbers, sizes and times as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from orchestrator.marketo.day import DayEnd

_UNITS = ((4 * 86_400, 86_400, "d"), (2 * 3600, 3600, "h"), (2 * 60, 60, "min"))  # from when on, in seconds


def number(value: int) -> str:
    """Write a count: 1,234,567."""
    return f"{value:,}"


def rows(value: int) -> str:
    """Write a count of rows: 1 row, 2,000 rows."""
    return plural(value, "row")


def plural(value: int, noun: str) -> str:
    """Write a count with its noun; the plural ends in s."""
    if noun.endswith("batch"):
        return f"{number(value)} {noun}{'' if value == 1 else 'es'}"
    return f"{number(value)} {noun}{'' if value == 1 else 's'}"


def size(value: int) -> str:
    """Write a number of bytes in decimal units: 9.5 MB."""
    amount = float(value)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{value} bytes" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def duration(seconds: float) -> str:
    """Write a duration with its two largest units: 2 h 5 min."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def between(least: float, most: float) -> str:
    """Write a range of seconds in the unit of the longer one: 4 to 40 min; what is less than one of it in its own."""
    unit, name = next(((unit, name) for limit, unit, name in _UNITS if most >= limit), (1, "s"))
    first, last = (max(0, round(seconds / unit)) for seconds in (least, most))
    if first == last:
        return f"about {last} {name}"
    return f"{first if least >= unit else duration(least)} to {last} {name}"


def moment(ms: int | None) -> str:
    """Write a time in the local zone: 2026-03-01 14:05:09 EST; a dash for none."""
    return "-" if ms is None else _local(ms, "%Y-%m-%d %H:%M:%S %Z")


def short_moment(ms: int | None) -> str:
    """Write a time for a column whose name has the zone: 03-01 14:05:09; a dash for none."""
    return "-" if ms is None else _local(ms, "%m-%d %H:%M:%S")


def zone(ms: int) -> str:
    """Name the local zone as it is at a time: EST."""
    return _local(ms, "%Z")


def _local(ms: int, form: str) -> str:
    return datetime.fromtimestamp(ms / 1000).astimezone().strftime(form)


def of_day(ms: int) -> str:
    """Write the time of day in the local zone: 14:05:09."""
    return _local(ms, "%H:%M:%S")


def day_end_words(end: DayEnd, wall_ms: int) -> str:
    """Say whether the day's calls suffice, with times of day in the local zone: 14:05 EST."""
    reset = _local(end.reset_ms, "%H:%M %Z")
    if end.exhausted_ms is None:
        return f"at this pace the day's calls suffice until they are counted anew at {reset}"
    if end.exhausted_ms <= wall_ms:
        return f"the day's calls for imports are used up; they are counted anew at {reset}"
    exhausted = _local(end.exhausted_ms, "%H:%M")
    return f"at this pace the day's calls end at {exhausted}, before they are counted anew at {reset}"


def percent(part: int, whole: int) -> str:
    """Write a share in whole percent, rounded down: only all of it is 100%."""
    return f"{100 * part // whole if whole else 100}%"


def printable(text: str) -> str:
    """Return the text without characters that would steer a terminal; file names may hold any."""
    return "".join(character if character.isprintable() or character == "\n" else "?" for character in text)


def table(lines: Sequence[Sequence[str]], *, right: tuple[int, ...] = ()) -> list[str]:
    """Lay out columns, two spaces apart; those numbered in ``right`` are flush right."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))] if lines else []
    return [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
