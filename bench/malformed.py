"""Malformed input: what Python's csv, DuckDB, Polars, pyarrow and this program's planner make of the same bytes.

``python -m bench malformed`` asks the others and keeps their answers in ``malformed.json``; ``python -m bench.malformed``,
a part of ``make docs``, asks only the planner and writes the page from both.
"""

from __future__ import annotations

import asyncio
import csv
import json
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

from bench.results import ROOT, versions
from orchestrator import ImportRequest, Orchestrator, Settings
from orchestrator.errors import SourceError
from orchestrator.tables import State

PAGE: Final = ROOT / "docs" / "malformed-input.md"
ANSWERS: Final = ROOT / "bench" / "malformed.json"
FILE: Final = "file.csv"
MESSAGE_CHARS_MAX: Final = 160
OURS: Final = "this planner"

INTRO: Final = """\
# Malformed input

What several readers make of files that are not as they should be.  This page is generated: each file below was given to
each of them.  They are used as their users would, with every column as text: `csv.reader` on a file opened as UTF-8,
`read_csv` of DuckDB with `all_varchar`, of Polars with `infer_schema=False`, of pyarrow with string columns and
`newlines_in_values`.  An empty cell and a missing one count as the same.

The planner does not rewrite values: it finds where records begin and end, and they are sent as they stand, so that
Marketo sees what is in the file.  What is not UTF-8, or has lone carriage returns as line ends, is sent from a copy that
differs in nothing else.  What is odd is told before anything is sent; what has no sure meaning is an error.
Below, "as meant" is said of a reader that gives exactly the cells that the writer of the file had in mind.

In one of these files the planner finds other rows than were meant: lone carriage returns below a header that ends with
a line feed.  The header says how lines end, so such a carriage return is taken for text of its cell and ends no row;
Python's csv and pyarrow end a row there.  The warnings name the first line, say how many there are, and what to do;
with `--strict` nothing is sent.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A malformed file, and what its writer meant, header included."""

    name: str
    data: bytes
    meant: tuple[tuple[str, ...], ...]


_HEADER: Final = ("email", "name", "note")
_ANNA: Final = ("a@x.io", "Anna", "ok")
_BEN: Final = ("b@x.io", "Ben", "ok")


def _case(name: str, lines: str, *meant: tuple[str, ...], encoding: str = "utf-8") -> Case:
    return Case(name=name, data=f"email,name,note\n{lines}".encode(encoding), meant=(_HEADER, *meant))


CASES: Final = (
    _case(
        "inch marks in unquoted fields",
        'a@x.io,12" pipe,ok\nb@x.io,Ben,ok\nc@x.io,5" or 7" pipe,ok\n',
        ("a@x.io", '12" pipe', "ok"),
        _BEN,
        ("c@x.io", '5" or 7" pipe', "ok"),
    ),
    _case("text behind a closing quote", 'a@x.io,"Anna" B.,ok\nb@x.io,Ben,ok\n', ("a@x.io", '"Anna" B.', "ok"), _BEN),
    _case(
        "inner quotes that are not doubled",
        'a@x.io,"the "best", they say",ok\nb@x.io,Ben,ok\n',
        ("a@x.io", 'the "best", they say', "ok"),
        _BEN,
    ),
    _case(
        "a space before a quoted field", 'a@x.io, "Anna, B.",ok\nb@x.io,Ben,ok\n', ("a@x.io", "Anna, B.", "ok"), _BEN
    ),
    _case(
        "quotes escaped by backslashes",
        'a@x.io,"say \\"hi\\", please",ok\nb@x.io,Ben,ok\n',
        ("a@x.io", 'say "hi", please', "ok"),
        _BEN,
    ),
    Case(
        name="lines that end with a lone carriage return",
        data=b"email,name,note\ra@x.io,Anna,ok\rb@x.io,Ben,ok\r",
        meant=(_HEADER, _ANNA, _BEN),
    ),
    _case("lone carriage returns below a header with a line feed", "a@x.io,Anna,ok\rb@x.io,Ben,ok\r", _ANNA, _BEN),
    _case("mixed line ends", "a@x.io,Anna,ok\r\nb@x.io,Ben,ok\n", _ANNA, _BEN),
    _case("blank lines", "\na@x.io,Anna,ok\n\n\r\nb@x.io,Ben,ok\n\n", _ANNA, _BEN),
    _case("too few cells", "a@x.io,Anna\nb@x.io,Ben,ok\n", ("a@x.io", "Anna", ""), _BEN),
    _case("too many cells", "a@x.io,Anna,ok,more\nb@x.io,Ben,ok\n", ("a@x.io", "Anna", "ok", "more"), _BEN),
    _case("a NUL byte", "a@x.io,An\0na,ok\nb@x.io,Ben,ok\n", ("a@x.io", "An\0na", "ok"), _BEN),
    _case("a quote that is never closed", 'a@x.io,"Anna,ok\nb@x.io,Ben,ok\n', _ANNA, _BEN),
    Case(
        name="one byte that is no UTF-8",
        data="email,name,note\na@x.io,Jörg,ok\n".encode() + "b@x.io,Jörg,ok\n".encode("cp1252"),
        meant=(_HEADER, ("a@x.io", "Jörg", "ok"), ("b@x.io", "Jörg", "ok")),
    ),
    _case(
        "Windows text (cp1252)",
        "a@x.io,Jörg Müller,10 €\nb@x.io,Zoë Núñez,“yes”\n",
        ("a@x.io", "Jörg Müller", "10 €"),
        ("b@x.io", "Zoë Núñez", "“yes”"),
        encoding="cp1252",
    ),
    _case("UTF-16 with a byte order mark", "a@x.io,Jörg,ok\n", ("a@x.io", "Jörg", "ok"), encoding="utf-16"),
    _case("UTF-8 with a byte order mark", "a@x.io,Jörg,ok\n", ("a@x.io", "Jörg", "ok"), encoding="utf-8-sig"),
    Case(
        name="Excel's `sep=` line",
        data=b"sep=;\r\nemail;name;note\r\na@x.io;Anna;ok\r\nb@x.io;Ben;ok\r\n",
        meant=(_HEADER, _ANNA, _BEN),
    ),
)

Records = list[list[str]]


# --- the readers ---------------------------------------------------------------------------------------


def _csv(path: Path) -> Records:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def _duckdb(path: Path) -> Records:
    import duckdb

    with duckdb.connect() as connection:
        found = connection.execute(f"FROM read_csv('{path}', all_varchar = true)")
        return [[column[0] for column in found.description], *map(_texts, found.fetchall())]


def _polars(path: Path) -> Records:
    import polars as pl

    frame = pl.read_csv(path, infer_schema=False)
    return [list(frame.columns), *map(_texts, frame.rows())]


def _pyarrow(path: Path) -> Records:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    table = arrow_csv.read_csv(
        path,
        read_options=arrow_csv.ReadOptions(use_threads=False),  # else another column may be blamed each time
        parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
        convert_options=arrow_csv.ConvertOptions(column_types=dict.fromkeys(_HEADER, pa.string())),
    )
    return [list(table.column_names), *(_texts(row.values()) for row in table.to_pylist())]


def _texts(cells: Any) -> list[str]:
    return ["" if cell is None else str(cell) for cell in cells]


OTHERS: Final[Mapping[str, Callable[[Path], Records]]] = {
    "Python's csv": _csv,
    "DuckDB": _duckdb,
    "Polars": _polars,
    "pyarrow": _pyarrow,
}


def ask_others() -> None:
    """Give each case to each of the others, and keep what they made of it."""
    answers: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / FILE
        for case in CASES:
            path.write_bytes(case.data)
            answers[case.name] = {name: _answer(read, path, case) for name, read in OTHERS.items()}
    asked = {name: version for name, version in versions().items() if name in ("python", "duckdb", "polars", "pyarrow")}
    document = {"versions": asked, "answers": answers}
    ANSWERS.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _answer(read: Callable[[Path], Records], path: Path, case: Case) -> str:
    try:
        found = read(path)
    except Exception as error:  # noqa: BLE001 -- whatever a library raises is its answer
        return f"error: {shortened(str(error), path)}"
    return compared(found, case.meant)


def shortened(message: str, path: Path) -> str:
    """Return the first sentence or line of a message, without the directory of the file."""
    first = message.replace(f"{path.parent}/", "").strip().splitlines()[0].strip()
    return visible(first) if len(first) <= MESSAGE_CHARS_MAX else f"{visible(first[:MESSAGE_CHARS_MAX])} …"


def compared(found: Sequence[Sequence[str]], meant: Sequence[Sequence[str]]) -> str:
    """Say how records differ from those that were meant; the first of each is the header."""
    counted = _counted(len(found) - 1, len(meant) - 1)
    wrong = [
        (old, new)
        for have, want in zip(found, meant, strict=False)
        for new, old in zip_longest(have, want, fillvalue="")
        if old != new
    ]
    if not wrong:
        return f"{counted}, as meant" if len(found) == len(meant) else counted
    old, new = wrong[0]
    example = f"{code(old)} became {code(new)}" if old else f"{code(new)} was added"
    if len(found) != len(meant):
        return f"{counted}; first of all {example}"
    return f"{counted}; {len(wrong)} cells altered: {example}" if len(wrong) > 1 else f"{counted}; {example}"


def _counted(rows: int, meant: int) -> str:
    words = f"{rows} rows" if rows != 1 else "1 row"
    return words if rows == meant else f"{words} instead of {meant}"


# --- this planner --------------------------------------------------------------------------------------


def ask_planner() -> dict[str, str]:
    """Plan each case, offline and with all defaults, and say what came of it."""
    with tempfile.TemporaryDirectory() as directory:
        return asyncio.run(_ask_planner(Path(directory)))


async def _ask_planner(directory: Path) -> dict[str, str]:
    path = directory / FILE
    answers = {}
    async with Orchestrator.open(Settings(state=State(dir=directory / "state"))) as orchestrator:
        for case in CASES:
            path.write_bytes(case.data)
            try:
                found = await orchestrator.plan(ImportRequest(sources=[path]), offline=True)
            except SourceError as error:
                answers[case.name] = f"refused: {str(error).replace(f'{path}: ', '')}"
                continue
            source = found.sources[0]
            told = ["sent from a copy"] if source.content != source.absolute else []
            told += [f"read as {source.encoding}"] if source.encoding != "utf-8" else []
            told += [f"{source.blank_lines} blank lines left out"] if source.blank_lines else []
            told += [f"warning: {warning.replace(f'{path}: ', '')}" for warning in found.warnings]
            answers[case.name] = "; ".join([_counted(found.rows, len(case.meant) - 1), *told])
    return answers


# --- the page ------------------------------------------------------------------------------------------


def visible(text: str) -> str:
    """Write what cannot be seen as escapes."""
    return re.sub(r"[\x00-\x1f\x7f\ufeff\ufffd]", lambda match: ascii(match[0])[1:-1], text)


def code(text: str) -> str:
    """Write a value as code within a sentence; the empty one in words."""
    if not text:
        return "nothing"
    shown = visible(text[:60])
    return f"`{shown}`" if "`" not in shown else f"`` {shown} ``"


def verdict(answer: str) -> str:
    """Return a word for an answer."""
    if answer.startswith(("error", "refused")):
        return "error"
    if " instead of " in answer:
        return "**other rows**"
    if " became " in answer or " was added" in answer:
        return "**altered**"
    if "as meant" in answer:
        return "as meant"
    words = "from a copy" if " copy " in answer else "as it stands"
    return f"{words}, warned" if "warning" in answer else words


def page(ours: Mapping[str, str]) -> str:
    """Write the page from the answers of the others, which are kept, and those of the planner."""
    document = json.loads(ANSWERS.read_text(encoding="utf-8"))
    answers, asked = document["answers"], document["versions"]
    readers = {
        "Python's csv": f"Python {asked['python']}",
        **{name: f"{name} {asked[name.lower()]}" for name in ("DuckDB", "Polars", "pyarrow")},
    }
    everyone = (*readers, OURS)
    told = {case.name: {**answers[case.name], OURS: ours[case.name]} for case in CASES}
    lines = [INTRO, f"The others are {', '.join(readers.values())}.\n"]
    lines.append(f"| | {' | '.join(everyone)} |\n|---|{'---|' * len(everyone)}")
    for case in CASES:
        verdicts = (verdict(told[case.name][reader]) for reader in everyone)
        lines.append(f"| [{_title(case)}](#{_anchor(case)}) | {' | '.join(verdicts)} |")
    for case in CASES:
        lines.append(f"\n## {_title(case)}\n\n```text\n{_shown(case.data)}```\n")
        lines.append("| reader | what it makes of it |\n|---|---|")
        lines += [f"| {reader} | {_in_table(told[case.name][reader])} |" for reader in everyone]
    return "\n".join(lines) + "\n"


def _title(case: Case) -> str:
    return f"{case.name[0].upper()}{case.name[1:]}"


def _anchor(case: Case) -> str:
    return re.sub(r"[^\w\- ]", "", case.name.lower()).replace(" ", "-")


def _shown(data: bytes) -> str:
    """Write a file's bytes so that all of them are seen; a line feed also ends the line."""
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    text = data.decode(encoding, "backslashreplace")
    text = "\n".join(map(visible, text.split("\n")))
    return text if text.endswith("\n") else f"{text}\n"


def _in_table(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def write_page() -> None:
    """Write the page anew."""
    PAGE.write_text(page(ask_planner()), encoding="utf-8")


if __name__ == "__main__":
    write_page()
