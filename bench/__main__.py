"""``python -m bench [NAME…]``: measure, print, write ``bench/results.json``, ``docs/benchmarks.md`` and the README.

Without a name everything is measured.  The exit code is 1 if a figure is not as demanded.  Two names measure nothing:
``readme`` writes the results into the page and the README anew, ``malformed`` asks other readers what they make of
malformed files and writes the page about it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Final

from bench import malformed
from bench.results import ROOT, Row, Run, load, part_of, save
from bench.showing import show, write_results

NAMES: Final = ("planning", "claims", "peers", "memory", "journal", "queue")
WRITING: Final = ("readme", "malformed")


def benchmark(name: str) -> Callable[[Run], list[Row]]:
    """Return the function that measures."""
    found: Callable[[Run], list[Row]] = import_module(f"bench.{name}").measure
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is named; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure what is promised.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(NAMES)}; or readme, malformed")
    parser.add_argument("--full", action="store_true", help="the large sizes everywhere")
    parser.add_argument("--trial", action="store_true", help="small sizes, to see that it works; nothing is written")
    parser.add_argument("--directory", type=Path, help="where the files are made; default: the system's for such files")
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.names if name not in (*NAMES, *WRITING)]:
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}")
    if "malformed" in given.names:
        malformed.ask_others()
        malformed.write_page()
        print(f"written: {malformed.PAGE.relative_to(ROOT)}")
    chosen = [name for name in given.names or NAMES if name not in WRITING]
    bad = [name for name in chosen if not _good(name, given)]
    if not given.trial:
        write_results(load())
    if bad:
        print(f"not as demanded: {', '.join(bad)}", file=sys.stderr)
    return 1 if bad else 0


def _good(name: str, given: argparse.Namespace) -> bool:
    """Run one benchmark; tell whether all is as demanded."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=given.directory) as directory:
        run = Run(directory=Path(directory), full=given.full, trial=given.trial, say=_say)
        try:
            part = part_of(benchmark(name)(run), full=given.full)
        except Exception:  # noqa: BLE001 -- the other benchmarks are still of interest
            traceback.print_exc()
            return False
    show(name, part.rows)
    if not given.trial:
        save(name, part)
    return all(row.met for row in part.rows)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
