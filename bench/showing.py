"""Results for people: a table on the terminal, a page with all of them, and what is demanded in the README."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table

from bench.results import ROOT, Part, Row

README: Final = ROOT / "README.md"
PAGE: Final = ROOT / "docs" / "benchmarks.md"
HEAD: Final = """# What was measured

`make bench` measures all of this and writes this page; `make bench-full` takes larger files.  A figure in brackets is
what is demanded.  Everything that is compared ran in turn in the same run, several times; the median counts.
"x wc -l 0.5" means: a file is planned, that is checked, counted and cut into uploads, at half the speed of `wc -l`.

Of the queue's worlds the worst one counts, of all that were drawn.  In them *the heart* is this program's schedule, and
the others are what people write when they begin: *10 at a time* are ten workers that poll every 5 s and back off
blindly when the queue is full, and *1 at a time* is one import after the other.
"""
BEGIN: Final = "<!-- results of `make bench`, written by it -->"
END: Final = "<!-- end of results -->"


def number(value: float) -> str:
    """Write a figure with three digits that mean something."""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def spread(row: Row) -> str:
    """Write the smallest and the largest of several values."""
    return "" if len(row.values) < 2 else f"{number(min(row.values))} … {number(max(row.values))}"


def show(name: str, rows: Iterable[Row]) -> None:
    """Print one benchmark's rows, each next to what is demanded."""
    table = Table(title=name, title_justify="left")
    for heading in ("what", "figure"):
        table.add_column(heading)
    for heading in ("measured", "spread", "demanded"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")
    noted = []
    for row in rows:
        style = "" if row.met else "bold red"
        measured = f"{number(row.judged)} {row.unit}".strip()
        table.add_row(row.what, row.figure, measured, spread(row), row.demanded, row.verdict, style=style)
        if row.note:
            noted.append(f"{row.what}, {row.figure}: {row.note}")
    console = Console(width=None if Console().is_terminal else 140, highlight=False)
    console.print(table)
    for note in noted:
        console.print(f"  {note}", markup=False)


def page(parts: Mapping[str, Part]) -> str:
    """Write all results as a page of the documentation."""
    return "\n".join([HEAD, *(f"## {name.capitalize()}\n\n{_table(name, part)}\n" for name, part in parts.items())])


def quoted(parts: Mapping[str, Part]) -> str:
    """Write what the README has: of each group its first line, how many figures are as demanded, and what misses one."""
    if not parts:
        return "Nothing has been measured yet; `make bench` writes its results here.\n"
    lines = ["| group | for example | as demanded | short of it |", "|---|---|---:|---|"]
    measured: dict[str, list[str]] = {}
    for name, part in parts.items():
        demanded = [row for row in part.rows if row.demanded]
        missed = "; ".join(dict.fromkeys(row.what for row in demanded if not row.met))
        met = sum(row.met for row in demanded)
        link = f"[{name}](docs/benchmarks.md#{name})"
        lines.append(f"| {link} | {_headline(demanded)} | {met} of {len(demanded)} | {missed} |")
        measured.setdefault(_measured(part), []).append(name)
    return "\n".join([*lines, "", *(f"{', '.join(names)}: {where}" for where, names in measured.items()), ""])


def _headline(rows: Sequence[Row]) -> str:
    """Write all figures of what stands first."""
    first = [row for row in rows if row.what == rows[0].what]
    return f"{rows[0].what}: {', '.join(f'{row.figure} {_cell(row)}' for row in first)}" if rows else ""


def _table(name: str, part: Part) -> str:
    notes = [f"* {row.what}, {row.figure}: {row.note}." for row in part.rows if row.note]
    return "\n".join([_grid(name, part), "", _measured(part), *(["", *notes] if notes else [])])


def _grid(name: str, part: Part) -> str:
    """Write a line for each thing, a column for each figure."""
    figures = list(dict.fromkeys(row.figure for row in part.rows))
    cells = {(row.what, row.figure): _cell(row) for row in part.rows}
    lines = [f"| {name} | {' | '.join(figures)} |", "|---|" + "---:|" * len(figures)]
    lines += [
        f"| {what} | {' | '.join(cells.get((what, figure), '') for figure in figures)} |"
        for what in dict.fromkeys(row.what for row in part.rows)
    ]
    return "\n".join(lines)


def _measured(part: Part) -> str:
    machine = part.machine
    where = f"{machine['cores']} cores of {machine['processor']}, {machine['memory_gib']} GiB, {machine['system']}"
    target = "make bench-full" if part.full else "make bench"
    return f"`{target}` of {part.date}; Python {part.versions['python']}; {where}."


def _cell(row: Row) -> str:
    measured = f"{number(row.judged)} {row.unit}".strip()
    return f"{measured} ({row.demanded}: {row.verdict})" if row.demanded else measured


def readme_with(parts: Mapping[str, Part], text: str) -> str:
    """Return the README with these results between its markers."""
    block = re.compile(f"{re.escape(BEGIN)}\n.*?{re.escape(END)}", re.DOTALL)
    assert len(block.findall(text)) == 1, "the README has lost the markers of the results"
    return block.sub(lambda _: f"{BEGIN}\n{quoted(parts)}{END}", text)


def write_results(parts: Mapping[str, Part]) -> None:
    """Write the page of results, and what the README quotes of them."""
    PAGE.write_text(page(parts), encoding="utf-8")
    README.write_text(readme_with(parts, README.read_text(encoding="utf-8")), encoding="utf-8")
