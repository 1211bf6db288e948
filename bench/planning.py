"""How fast files are planned: checked, counted and cut, against tools that do a part of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from bench import contenders, files
from bench.files import Kind, Made
from bench.results import Row, Run

WC: Final = "x wc -l"
SPLIT: Final = "x split -C"
CSV: Final = "x csv.reader"
AGAINST: Final[Mapping[str, Callable[[Made], float]]] = {
    WC: contenders.wc,
    SPLIT: contenders.split,
    CSV: contenders.csv_reader,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A kind of file, and how many times as fast as others it must be planned."""

    kind: Kind
    demanded: Mapping[str, float]
    headline: bool = False  # measured large and often


_PLAIN = {WC: 0.40, SPLIT: 3.0}
_QUOTED = {WC: 0.12, SPLIT: 0.8, CSV: 7.0}
CASES: Final = (
    Case(kind=files.ASCII, demanded=_PLAIN, headline=True),
    Case(kind=files.TINY, demanded=_PLAIN, headline=True),
    Case(kind=files.NON_ASCII, demanded={WC: 0.20, SPLIT: 1.5}),
    Case(kind=files.SOME_QUOTED, demanded=_QUOTED),
    Case(kind=files.ALL_QUOTED, demanded=_QUOTED),
    Case(kind=files.LONG, demanded=_QUOTED),
    Case(kind=files.FEW_STRAY, demanded={CSV: 2.0}),
    Case(kind=files.MANY_STRAY, demanded={CSV: 0.3}),
)


def measure(run: Run) -> list[Row]:
    """Plan every kind of file, each in one interleaved run with what it is compared to."""
    return [row for case in CASES for row in _rows(run, case)]


def _rows(run: Run, case: Case) -> list[Row]:
    large = run.full or case.headline
    size, repeats = (2**30, 7) if large else (2**28, 3)
    if run.trial:
        size, repeats = 2**24, 2
    made = files.make(case.kind, run.directory / "source.csv", size)
    what = f"{case.kind.name}, {made.bytes / 2**20:,.0f} MiB"
    run.say(f"planning: {what}, {repeats} rounds ...")
    runners: dict[str, Callable[[Made], float]] = {contenders.PLANNER: contenders.planner}
    # Whatever is quick is shown for every file, demanded or not.
    runners |= {figure: runner for figure, runner in AGAINST.items() if figure != CSV or CSV in case.demanded}
    seconds = contenders.interleaved(runners, made, repeats)
    made.path.unlink()
    ours = seconds.pop(contenders.PLANNER)
    speed = tuple(made.bytes / 1e9 / each for each in ours)
    return [
        Row(what=what, figure="speed", values=speed, unit="GB/s"),
        *(
            Row(
                what=what,
                figure=figure,
                values=contenders.ratios(theirs, ours),
                at_least=case.demanded.get(figure),
            )
            for figure, theirs in seconds.items()
        ),
    ]
