"""The same people again and again in one file: Marketo must not make two records of them, and the last row wins."""

from __future__ import annotations

from pathlib import Path

from tests.e2e import leads
from tests.e2e.kit import Place, until

SLOW = {"on": "batch", "do": "slow_import", "factor": 800.0}


DISTANCES = (0, 60, 90, 250)  # in rows; a chunk has about 80


def write_repeated(path: Path, mark: str) -> list[leads.Row]:
    """Write 500 rows about 400 people: a hundred of them come twice, every other one spelt a little differently."""
    places = []
    for n, cells in enumerate(leads.people(mark, 400, troubled=False)):
        places.append((float(n), cells))
        if n % 4 == 0:
            again = {**cells, "lastName": f"again {n}", "company": ""}  # which leaves the company as it is
            if n % 8 == 0:
                again["email"] = f" {cells['email'].upper()} "
            places.append((n + DISTANCES[n // 4 % len(DISTANCES)] + 0.5, again))
    return leads.write(path, [cells for _, cells in sorted(places, key=lambda place: place[0])])


def test_nobody_becomes_two_and_the_last_row_wins(place: Place, mark: str) -> None:
    rows = write_repeated(place.directory / "leads.csv", mark)
    place.marketo.add(SLOW)

    ended = place.run("import", "leads.csv", "--out", "report")

    leads.assert_complete(ended, place.directory / "report", rows)
    leads.assert_delivered(place.marketo, mark, rows)
    assert place.marketo.collisions(mark) == []


def test_a_key_in_another_file_of_the_same_job_waits_too(place: Place, mark: str) -> None:
    people = leads.people(mark, 60, troubled=False)
    rows = []
    for number in range(4):
        changed = [{**cells, "lastName": f"{number}"} for cells in people]
        rows += leads.write(place.directory / f"{number}.csv", changed)
    place.marketo.add(SLOW)

    ended = place.run("import", "0.csv", "1.csv", "2.csv", "3.csv", "--out", "report")

    leads.assert_complete(ended, place.directory / "report", rows)
    leads.assert_delivered(place.marketo, mark, rows)
    assert {one["lastName"] for one in place.marketo.people(mark)} == {"3"}


def test_duplicates_do_appear_when_repeated_keys_are_ignored(place: Place, mark: str) -> None:
    rows = write_repeated(place.directory / "leads.csv", mark)
    place.marketo.add({"on": "batch", "nth": 1, "do": "delay_start", "ms": 3_600_000})

    with place.start("import", "leads.csv", "--out", "report", "--on-repeated-key", "ignore") as command:
        until("three batches in the queue", lambda: len(place.marketo.unfinished()) >= 3, command.shown)
        place.marketo.finish()
        ended = command.end()

    leads.assert_complete(ended, place.directory / "report", rows)  # Marketo says nothing of it
    assert len(place.marketo.people(mark)) > len(leads.records_of(rows))
    assert "duplicate" in {one["kind"] for one in place.marketo.collisions(mark)}
