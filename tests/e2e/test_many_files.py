"""Several files as one job: their order, their different headers, and one report about all of them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.e2e import leads, targets
from tests.e2e.kit import Place

SLOW = {"on": "batch", "do": "slow_import", "factor": 300.0}
PLACE = "source_file,source_row,source_line,batch_id"


def paths(summary: dict[str, list[dict[str, str]]]) -> list[str]:
    return [source["path"] for source in summary["sources"]]


def test_patterns_are_taken_in_natural_order_and_the_last_file_wins(place: Place, mark: str) -> None:
    (place.directory / "in").mkdir()
    names = ["in/part-1.csv", "in/part-2.csv", "in/part-02b.csv", "in/part-10.csv", "in/Part-11.csv", "zz.csv", "a.csv"]
    rows: list[leads.Row] = []
    for name in names:
        people = [
            {"email": f"all@{mark}", "lastName": name},
            {"email": f"{name}@{mark}", "lastName": name},
            {"email": f"pair{len(name) % 2}@{mark}", "company": name},
        ]
        rows += leads.write(place.directory / name, people, given=name)
    (place.directory / "in" / "part-3.csv").mkdir()  # a directory is no file
    place.write("in/part-4.txt", "no match")
    place.marketo.add(SLOW)

    ended = place.run("import", "in/part-*.csv", "in/P*.csv", "zz.csv", "a.csv", "--out", "report")

    summary = leads.assert_complete(ended, place.directory / "report", rows)
    assert paths(summary) == names
    leads.assert_delivered(place.marketo, mark, rows)
    (everybody,) = [one for one in place.marketo.people(mark) if one["email"] == f"all@{mark}"]
    assert everybody["lastName"] == "a.csv"
    assert place.marketo.collisions(mark) == []


def test_the_order_on_the_command_line_decides_which_row_wins(place: Place, mark: str) -> None:
    people = leads.people(mark, 70, troubled=False)
    for name in ("one.csv", "two.csv"):
        leads.write(place.directory / name, [{**cells, "lastName": name} for cells in people])
    place.marketo.add(SLOW)

    for last, files in (("one.csv", ("two.csv", "one.csv")), ("two.csv", ("one.csv", "two.csv"))):
        ended = place.run("import", *files, "--json")
        assert ended.code == 0, ended.err
        assert paths(ended.summary) == list(files)
        there = place.marketo.people(mark)
        assert {one["lastName"] for one in there} == {last}
        assert len(there) == len(people)
    assert place.marketo.collisions(mark) == []


def test_headers_and_formats_may_differ_and_the_report_has_all_columns(place: Place, mark: str) -> None:
    """Each file has rows that fail and rows that warn; the second one's hold the keys of the first one's."""
    person = targets.TARGETS["leads"]
    troubled = targets.rows(person, mark, 50)
    written: list[list[leads.Row]] = []
    headers: list[tuple[tuple[str, ...], str, str]] = [
        (("email", "lastName", "leadScore"), ",", "\n"),
        (("leadScore", "firstName", "email"), ";", "\r\n"),
        (("title", "email", "leadScore", "lastName", "company"), "\t", "\n"),
    ]
    for number, (columns, delimiter, newline) in enumerate(headers, 1):
        part = [{**cells, "company": f"company {number}"} for cells in troubled]
        path = place.directory / f"part-{number}.csv"
        rows = leads.write(
            path, part, columns=columns, delimiter=delimiter, newline=newline, bom=number == 2, kind=targets.Person
        )
        written.append(list(rows))
    rows = [row for part in written for row in part]
    place.marketo.add(SLOW)

    ended = place.run("import", "part-*.csv", "--out", "report", env={"ORCHESTRATOR_LIMITS__BODY_BYTES_MAX": "1500"})

    summary = leads.assert_complete(ended, place.directory / "report", rows)  # places, cells and reasons of every row
    targets.assert_delivered(place.marketo, person, mark, rows)
    assert place.marketo.collisions(mark) == []
    assert [source["delimiter"] for source in summary["sources"]] == [",", ";", "\t"]
    assert [source["rows"] for source in summary["sources"]] == [len(part) for part in written]
    union = "email,lastName,leadScore,firstName,title,company"
    for name, reason in (("failures.csv", "Import Failure Reason"), ("warnings.csv", "Import Warning Reason")):
        head = (place.directory / "report" / name).read_text(encoding="utf-8").splitlines()[0]
        assert head == f"{PLACE},{union},{reason}"
    for index, (part, (_, delimiter, _)) in enumerate(zip(written, headers, strict=True)):
        own = [batch for batch in summary["batches"] if batch["source"] == index]
        assert len(own) > 1
        targets.assert_result_files(place.marketo, {**summary, "batches": own}, part, delimiter)


@pytest.mark.parametrize(
    ("files", "code", "words"),
    [
        (("part-*.csv", "part-1.csv"), 2, ("part-1.csv", "more than once")),
        (("part-1.csv", "odd.csv", "odder.csv"), 4, ("odd.csv", "'frstName'", "odder.csv", "'lastNme'")),
    ],
    ids=["named twice", "two wrong headers"],
)
def test_one_wrong_file_stops_all_of_them(
    place: Place, mark: str, files: Sequence[str], code: int, words: Sequence[str]
) -> None:
    before = place.marketo.creates()
    for number in (1, 2):
        leads.write(place.directory / f"part-{number}.csv", leads.people(mark, 3))
    place.write("odd.csv", f"email,frstName\nx@{mark},x\n")
    place.write("odder.csv", f"email,lastNme\nx@{mark},x\n")

    ended = place.run("import", *files)

    assert ended.code == code, ended.err
    for word in words:
        assert word in ended.err
    assert place.marketo.creates() == before
