"""The benchmarks: what they say follows from what was measured, and a demand that is not met makes them fail."""

from __future__ import annotations

import csv
import io
import re
from importlib import import_module
from pathlib import Path

import pytest

from bench import __main__ as command
from bench import files, malformed, peers, results, showing
from bench.files import Made
from bench.results import Row
from tests.e2e.pages import ROOT

PART = {"date": "2026-01-01", "full": False, "machine": {}, "versions": {}}


def row(**values):
    return Row(**{"what": "a file", "figure": "speed", "values": (1.0,), **values})


# --- results -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "bounds", "met"),
    [
        ((1.0, 3.0, 2.0), {"at_least": 2.0}, True),
        ((1.0, 3.0, 1.9), {"at_least": 2.0}, False),
        ((2.0,), {"at_most": 2.0}, True),
        ((2.1,), {"at_most": 2.0}, False),
        ((0.0,), {}, True),
    ],
)
def test_the_median_is_what_counts(values, bounds, met):
    measured = row(values=values, **bounds)
    assert measured.met is met
    assert measured.verdict == ("" if not bounds else "met" if met else "not met")


def test_of_figures_that_are_demanded_of_each_the_worst_counts():
    assert row(values=(1.0, 2.0, 3.0), at_least=2.0).met
    assert not row(values=(1.0, 2.0, 3.0), at_least=2.0, each=True).met
    assert not row(values=(1.0, 2.0, 3.0), at_most=2.0, each=True).met
    assert row(values=(1.0, 2.0, 3.0), at_most=3.0, each=True).judged == 3.0


def test_a_benchmark_replaces_only_its_own_part_of_the_results(tmp_path):
    path = tmp_path / "results.json"
    first = results.Part(**PART, rows=(row(unit="GB/s", at_least=0.5, note="a note"),))
    results.save("one", first, path)
    results.save("two", results.Part(**PART, rows=(row(values=(1.0, 2.0)),)), path)
    results.save("two", results.Part(**PART, rows=()), path)
    assert results.load(path) == {"one": first, "two": results.Part(**PART, rows=())}


def test_what_is_noted_of_here_and_now_can_be_written(tmp_path):
    part = results.part_of([row(values=(1.23456, 0.0))], full=True)
    results.save("one", part, tmp_path / "results.json")
    assert results.load(tmp_path / "results.json") == {"one": part}
    assert part.rows[0].values == (1.235, 0.0)
    assert part.versions["python"]
    assert part.machine["cores"] > 0


def test_the_page_and_the_readme_have_the_results():
    readme, page = (path.read_text(encoding="utf-8") for path in (showing.README, showing.PAGE))
    assert showing.readme_with(results.load(), readme) == readme, "run `python -m bench readme`"
    assert showing.page(results.load()) == page, "run `python -m bench readme`"


def test_the_page_has_every_figure_and_the_readme_a_line_for_each_group():
    machine = {"cores": 2, "processor": "a processor", "memory_gib": 8, "system": "Linux"}
    rows = (
        row(values=(3.0, 1.0, 2.0), unit="GB/s", at_least=2.5),
        row(what="another", figure="memory", values=(17.0,), unit="MB", at_most=16, note="a lot"),
        row(what="a peer", values=(4.0,), unit="GB/s"),
        row(what="a third", values=(4.0,), at_least=3.0),
    )
    part = results.Part(date="2026-01-01", full=False, machine=machine, versions={"python": "3.11.0"}, rows=rows)
    page, quoted = (write({"planning": part}) for write in (showing.page, showing.quoted))
    assert "| a file | 2 GB/s (≥ 2.5: not met) |  |" in page
    assert "| another |  | 17 MB (≤ 16: not met) |" in page
    (line,) = [line for line in quoted.splitlines() if line.startswith("| [planning](docs/benchmarks.md#planning) | ")]
    assert "2 GB/s (≥ 2.5: not met)" in line
    assert line.endswith(" | 1 of 3 | a file; another |")
    for written in (page, quoted):
        assert "`make bench` of 2026-01-01; Python 3.11.0; 2 cores of a processor, 8 GiB, Linux." in written
    assert "| a peer | 4 GB/s |  |" in page
    assert "* another, memory: a lot." in page


# --- the command -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("measured", "code"),
    [(row(at_least=1.0), 0), (row(at_least=1.1), 1), (RuntimeError("it broke"), 1)],
)
def test_the_exit_code_says_whether_all_is_as_demanded(measured, code, monkeypatch, tmp_path):
    def measure(run):
        (run.directory / "left behind").touch()
        if isinstance(measured, Exception):
            raise measured
        return [measured]

    monkeypatch.setattr(command, "benchmark", lambda name: measure)
    assert command.main(["planning", "--trial", "--directory", str(tmp_path)]) == code
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_benchmark_is_a_mistake(capsys):
    with pytest.raises(SystemExit):
        command.main(["speed"])
    assert "there is no benchmark speed; there are planning, " in capsys.readouterr().err


def test_every_benchmark_can_be_loaded_without_what_it_compares_with():
    for name in command.NAMES:
        assert callable(import_module(f"bench.{name}").measure)


# --- the files ---------------------------------------------------------------------------------------------------


def cells(kind, count):
    return list(csv.reader(io.StringIO(files.sample(kind, count), newline="")))


@pytest.mark.parametrize("kind", files.KINDS, ids=lambda kind: kind.name)
def test_a_file_has_the_rows_that_are_said(kind, tmp_path):
    made = files.make(kind, tmp_path / "made.csv", 300_000)
    assert made.bytes == made.path.stat().st_size >= 300_000
    with made.path.open(encoding="utf-8", newline="") as file:
        widths = [len(record) for record in csv.reader(file)]
    assert len(widths) == made.rows + 1
    assert set(widths) == {kind.header.count(",") + 1}


def test_the_kinds_are_what_they_are_called():
    def lines(kind):
        return files.sample(kind, 2_000).splitlines()[1:]

    assert files.sample(files.ASCII, 2_000).isascii()
    assert '"' not in files.sample(files.ASCII, 2_000) + files.sample(files.NON_ASCII, 2_000)
    assert not any(line.isascii() for line in lines(files.NON_ASCII)[:500] if "Şahin" in line)
    assert sum(map(len, lines(files.TINY))) / 2_000 < 12
    quoted = re.findall(r'(?:^|,)(")?', "\n".join(lines(files.SOME_QUOTED)), re.MULTILINE)
    assert 0.25 < sum(map(bool, quoted)) / len(quoted) < 0.35
    assert all("\n" in record[6] for record in cells(files.ALL_QUOTED, 100)[1:])
    assert all(len(record[1]) > 0.9 * files.LONG_FIELD_BYTES for record in cells(files.LONG, 5)[1:])
    assert 0 < sum('"' in line for line in lines(files.FEW_STRAY)) < 10
    assert 500 < sum('"' in line for line in lines(files.MANY_STRAY)) < 700


# --- campaigns ---------------------------------------------------------------------------------------------------


def test_every_campaign_of_the_tests_is_enlarged_by_make_exhaustive():
    enlarged = dict(
        re.findall(r"([A-Z_]+)=(\d+)", re.findall(r"^CAMPAIGNS := ((?:.*\\\n)*.*)$", makefile(), re.MULTILINE)[0])
    )
    read = {}
    for path in sorted((ROOT / "tests").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        read.update(re.findall(r'os\.environ\.get\("([A-Z_]+)", "(\d+)"\)', text))
    assert read
    assert {name: size for name, size in read.items() if int(enlarged.get(name, 0)) <= int(size)} == {}


def makefile() -> str:
    return Path(ROOT / "Makefile").read_text(encoding="utf-8")


# --- chunks of others --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chunks", "fault"),
    [
        (["a,b\n1,x\n2,y\n", "a,b\n3,z\n"], ""),
        (['"a","b"\n"1","x"\n"2","y"\n"3","z"\n'], ""),
        (["a,b\n2,y\n1,x\n", "a,b\n3,z\n"], "from row 1 on"),
        (["a,b\n1,x\n2,y\n"], "from row 3 on"),
        ([f"a,b\n1,x\n2,y\n3,z\n4,{'z' * peers.CHUNK_BYTES_MAX}"], "too many for an upload"),
    ],
)
def test_what_is_wrong_with_the_chunks_of_others_is_said(chunks, fault, tmp_path):
    source = tmp_path / "source.csv"
    source.write_text("a,b\n1,x\n2,y\n3,z\n")
    parts = [tmp_path / f"{number}" for number in range(len(chunks))]
    for part, text in zip(parts, chunks, strict=True):
        part.write_text(text)
    found = "; ".join(peers._faults(Made(path=source, rows=3, bytes=16), parts))
    assert (fault in found) if fault else (found == "")


def test_delicate_records_are_counted_when_they_come_back_as_other_bytes(tmp_path):
    def make(made, parts):
        (parts / "part").write_text(made.path.read_text().replace("007", "7"))

    changed = peers._rewritten("a library", make, tmp_path)
    assert changed.values == (1.0,)
    assert changed.note == "`1@a.io,007` becomes `1@a.io,7`"


# --- malformed input ---------------------------------------------------------------------------------------------


def test_the_page_of_malformed_input_says_what_the_planner_makes_of_it_now():
    assert malformed.PAGE.read_text(encoding="utf-8") == malformed.page(malformed.ask_planner()), "run `make docs`"


MEANT = (("a", "b"), ("1", "x"), ("2", ""))


@pytest.mark.parametrize(
    ("found", "said", "verdict"),
    [
        ((("a", "b"), ("1", "x"), ("2",)), "2 rows, as meant", "as meant"),
        ((("a", "b"), ("1", "x")), "1 row instead of 2", "**other rows**"),
        ((("a", "b"), ("1", "y"), ("2",)), "2 rows; `x` became `y`", "**altered**"),
        ((("a", "b"), ("", "\0`"), ("2",)), "2 rows; 2 cells altered: `1` became nothing", "**altered**"),
        ((("a", "b"), ("1", "x"), ("2", "", "`z")), "2 rows; `` `z `` was added", "**altered**"),
        ((("a", "b"), ("0", "x")), "1 row instead of 2; first of all `1` became `0`", "**other rows**"),
    ],
)
def test_what_is_not_as_it_was_meant_is_said(found, said, verdict):
    assert malformed.compared(found, MEANT) == said
    assert malformed.verdict(said) == verdict


def test_the_directory_of_a_file_is_not_in_a_message(tmp_path):
    message = f"\nno good: {tmp_path}/file.csv has \0\nand more"
    assert malformed.shortened(message, tmp_path / "file.csv") == "no good: file.csv has \\x00"
    assert len(malformed.shortened("x" * 1_000, tmp_path / "file.csv")) < 200
