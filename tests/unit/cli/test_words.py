"""Numbers and texts as people read them."""

from __future__ import annotations

import os
import time

import pytest

from orchestrator.cli import words
from orchestrator.marketo.day import DayEnd


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1_000, "1.0 kB"),
        (9_500_000, "9.5 MB"),
        (10**11, "100.0 GB"),
        (10**15, "1000.0 TB"),
    ],
)
def test_sizes(value, text):
    assert words.size(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 s"),
        (0.4, "0 s"),
        (59.4, "59 s"),
        (60, "1 min 0 s"),
        (3_599, "59 min 59 s"),
        (7_500, "2 h 5 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_durations(seconds, text):
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("least", "most", "text"),
    [
        (240, 2_400, "4 to 40 min"),
        (100, 300, "2 to 5 min"),
        (20, 46, "20 to 46 s"),
        (20, 300, "20 s to 5 min"),
        (4_200, 4_800, "70 to 80 min"),
        (5_400, 36_000, "2 to 10 h"),
        (90_000, 864_000, "1 to 10 d"),
        (299, 301, "about 5 min"),
        (-5, 0.4, "about 0 s"),
    ],
)
def test_ranges_are_in_one_unit_if_they_can(least, most, text):
    assert words.between(least, most) == text


def test_counts():
    assert [words.rows(value) for value in (0, 1, 1_234_567)] == ["0 rows", "1 row", "1,234,567 rows"]
    assert [words.plural(value, "batch") for value in (1, 2)] == ["1 batch", "2 batches"]


def test_only_all_of_it_is_100_percent():
    assert [words.percent(part, 1000) for part in (0, 999, 1000)] == ["0%", "99%", "100%"]
    assert words.percent(0, 0) == "100%"


def test_times_are_local(monkeypatch):
    monkeypatch.setenv("TZ", "America/Chicago")
    time.tzset()
    try:
        assert words.moment(1_767_225_600_000) == "2025-12-31 18:00:00 CST"
        assert words.of_day(1_767_225_600_000) == "18:00:00"
    finally:
        monkeypatch.undo()
        os.environ.get("TZ")
        time.tzset()
    assert words.moment(None) == "-"


def test_nothing_steers_the_terminal():
    assert words.printable("a\x1b[31mb\rc\x07\nJosé 山田") == "a?[31mb?c?\nJosé 山田"


def test_tables_are_aligned():
    assert words.table([("A", "N"), ("bb", "10"), ("c", "9")], right=(1,)) == ["A    N", "bb  10", "c    9"]
    assert words.table([]) == []


@pytest.mark.parametrize(
    ("exhausted_ms", "text"),
    [
        (None, "at this pace the day's calls suffice until they are counted anew at {reset}"),
        (7_200_000, "at this pace the day's calls end at {exhausted}, before they are counted anew at {reset}"),
        (3_600_000, "the day's calls for imports are used up; they are counted anew at {reset}"),
    ],
)
def test_the_end_of_the_days_calls(exhausted_ms, text):
    said = words.day_end_words(DayEnd(exhausted_ms=exhausted_ms, reset_ms=14_400_000), 3_600_000)
    clock = {
        "exhausted": words.of_day(7_200_000)[:5],
        "reset": f"{words.of_day(14_400_000)[:5]} {words.zone(14_400_000)}",
    }
    assert said == text.format(**clock)
