"""The generated file has what it says, and is the same each time."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter

from orchestrator.cli.sample import COLUMNS, write_leads


def test_the_file_has_what_is_said_of_it(tmp_path):
    sample = write_leads(tmp_path / "leads.csv", rows=20_000)
    with sample.path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == COLUMNS
    assert len(rows) == sample.rows == 20_000
    assert sample.path.stat().st_size == sample.bytes
    assert {len(row) for row in rows} == {len(COLUMNS)}
    people = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    assert sum(not one["email"] for one in people) == sample.without_key > 0
    assert sum(not one["leadScore"].isdecimal() for one in people) == sample.without_number > 0
    assert sum(" at " in one["email"] for one in people) == sample.wrong_email > 0
    emails = Counter(one["email"] for one in people if "@" in one["email"])
    repeated = sum(count - 1 for count in emails.values())
    assert sample.repeated // 2 < repeated <= sample.repeated  # one that repeats a row without an email repeats nothing
    assert all("\n" in one["address"] for one in people)
    assert any(not one["firstName"].isascii() for one in people)
    assert any('"' in one["company"] for one in people)


def test_some_keys_are_repeated_far_away(tmp_path):
    sample = write_leads(tmp_path / "leads.csv", rows=40_000)
    with sample.path.open(encoding="utf-8", newline="") as file:
        emails = [row[0] for row in csv.reader(file)]
    first = {email: index for index, email in reversed(list(enumerate(emails)))}
    assert any(index - first[email] > 30_000 for index, email in enumerate(emails) if "@" in email)


def test_the_same_arguments_make_the_same_file(tmp_path):
    digests = {
        hashlib.sha256(write_leads(tmp_path / name, rows=3_000, seed=seed).path.read_bytes()).hexdigest()
        for name, seed in (("a", 5), ("b", 5), ("c", 6))
    }
    assert len(digests) == 2


def test_the_size_is_about_what_was_asked_for(tmp_path):
    sample = write_leads(tmp_path / "leads.csv", size_bytes=5_000_000)
    assert 4_900_000 < sample.bytes < 5_100_000
    assert write_leads(tmp_path / "one.csv", size_bytes=1).rows == 1
