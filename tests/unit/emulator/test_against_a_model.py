"""The compact store against a plain dictionary that does what the words say."""

from __future__ import annotations

import csv
import io
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.model import BatchStatus
from tests.unit.emulator.kit import World

COLUMNS = ("email", "firstName", "city", "title")
KEYS = ("a@x.com", "b@x.com", "A@X.COM", "c@x.com")
CELLS = ("", "", "NULL", "1", "ü\x1f", 'q"u,o\r\nte')

rows = st.lists(st.tuples(st.sampled_from(KEYS), *[st.sampled_from(CELLS)] * 3), min_size=1, max_size=6)
files = st.lists(st.tuples(st.permutations(COLUMNS), st.integers(0, 3), rows), min_size=1, max_size=6)


def text_of(columns: list[str], cells: list[dict[str, str]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    writer.writerows([row[column] for column in columns] for row in cells)
    return out.getvalue()


@given(files)
def test_imports_one_after_another_do_what_a_dictionary_does(uploads):
    world, model = World(), {}
    for order, left_out, given_rows in uploads:
        columns = [column for column in order if column == "email" or column not in COLUMNS[1 : 1 + left_out]]
        cells = [dict(zip(COLUMNS, row, strict=True)) for row in given_rows]
        world.done(text_of(columns, cells))
        for row in cells:
            record = model.setdefault(row["email"].lower(), {})
            for column in columns:
                if row[column] == "NULL":
                    record[column] = ""
                elif row[column]:
                    record[column] = row[column]
    told = [{column: cell for column, cell in person.items() if cell} for person in world.people()]
    assert told == [{column: cell for column, cell in person.items() if cell} for person in model.values()]
    assert world.engine.holdings.people.collisions == []


@given(
    st.lists(st.tuples(st.integers(0, 3_000), st.integers(1, 40), st.sets(st.integers(0, 5), min_size=1)), max_size=9),
    st.integers(1, 3),
)
def test_a_key_has_two_records_exactly_if_imports_met(plan, importers):
    world = World(importers=importers, rows_per_second=10.0)
    batches = []
    for gap_ms, padding, keys in plan:
        world.wait(gap_ms)
        filler = "".join(f"f{len(batches)}-{n}@x.com\n" for n in range(padding))
        batches.append((world.create("email\n" + "".join(f"k{key}@x.com\n" for key in sorted(keys)) + filler), keys))
    world.wait()
    assert all(batch.status is BatchStatus.COMPLETE for batch, _ in batches)
    starts = [batch.started_ms for batch, _ in batches]
    assert all(before <= after for before, after in pairwise(starts))
    emails = [person["email"] for person in world.people()]
    for key in range(6):
        spans = [(batch.started_ms, batch.ended_ms) for batch, keys in batches if key in keys]
        made: list[int] = []  # ends of the imports that made a record, as each sees only what ended before it began
        for started_ms, ended_ms in sorted(spans, key=lambda span: span[1]):
            if not any(other <= started_ms for other in made):
                made.append(ended_ms)
        assert emails.count(f"k{key}@x.com") == len(made)
