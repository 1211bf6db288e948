"""A file of leads as real ones are: for the demo and for trying things out.

Every property of it follows from its seed and its size.  Names are from many languages, addresses have line
breaks inside quotes, notes have quotes and commas; some rows will fail, some will be imported with a warning,
and some repeat the key of an earlier row.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

COLUMNS = (
    "email",
    "firstName",
    "lastName",
    "company",
    "title",
    "phone",
    "address",
    "city",
    "postalCode",
    "country",
    "website",
    "leadScore",
    "leadSource",
)
ROWS_AT_ONCE = 20_000  # made and written together
VARIANTS = 4_096  # of people, from which rows are put together

# One row in so many; the numbers are prime, so the kinds rarely fall together.
NO_KEY_EVERY = 1_009  # fails: no email
NO_NUMBER_EVERY = 757  # fails: a score that is none
WRONG_EMAIL_EVERY = 499  # a warning: no valid email
REPEAT_NEAR_EVERY = 251  # the key of the row before
REPEAT_FAR_EVERY = 1_511  # in the last tenth: a key of the first tenth

_FIRST = [
    "José",
    "Łukasz",
    "Zoë",
    "Björn",
    "François",
    "Ñuria",
    "Siân",
    "Øyvind",
    "Şeyma",
    "Đorđe",
    "Ágnes",
    "Tiếng",
    "Мария",
    "Ольга",
    "Дмитрий",
    "Ελένη",
    "Νίκος",
    "أمل",
    "ליאור",
    "美咲",
    "健太",
    "小明",
    "지우",
    "Priya",
    "Chidi",
    "Anna",
    "Paul",
    "Maria",
    "John",
    "Mary",
    "Ahmed",
    "Fatima",
]
_LAST = [
    "García",
    "Müller",
    "Nowák",
    "O'Brien",
    "Sørensen",
    "Dvořák",
    "Lindqvist",
    "Yılmaz",
    "Nguyễn",
    "Иванова",
    "Смирнов",
    "Παπαδόπουλος",
    "حداد",
    "כהן",
    "山田",
    "佐藤",
    "王",
    "김",
    "Patel",
    "Okafor",
    "Smith",
    "Johnson",
    "Brown",
    "Schmidt",
    "Rossi",
    "Silva",
]
_COMPANIES = ("Åkerlund & Sons", 'Café "Zur Post"', "Acme, Inc.", "東京商事", "Globex GmbH", "Initech", "Ümit A.Ş.")
_TITLES = ("CEO", "Head of R&D", "Sales Director, EMEA", "Ingénieure", "Entwickler", "Buyer", "エンジニア")
_CITIES = ("Köln", "São Paulo", "Kraków", "Reykjavík", "東京", "Boston", "Αθήνα", "Lyon", "Malmö")
_COUNTRIES = ("Germany", "Brazil", "Poland", "Iceland", "Japan", "United States", "Greece", "France", "Sweden")
_SOURCES = ("Web form", "Trade fair 2025", "Referral", "Webinar: “Growth”", "Import")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What stands in a generated file."""

    path: Path
    rows: int
    bytes: int
    without_key: int
    without_number: int
    wrong_email: int
    repeated: int


def write_leads(path: Path, *, size_bytes: int | None = None, rows: int | None = None, seed: int = 1) -> Sample:
    """Write a file of about ``size_bytes``, or of exactly ``rows``; the same arguments make the same file."""
    people = _people(Random(f"{seed}:people"))
    if rows is None:
        trial = sum(len(row.encode()) for row in _rows(people, 0, VARIANTS, VARIANTS))
        rows = max(1, (size_bytes or 0) * VARIANTS // trial)
    written = 0
    path.touch(mode=0o600)  # as customers' data is
    with path.open("w", encoding="utf-8", newline="") as file:
        written += file.write(",".join(COLUMNS) + "\n")
        for start in range(0, rows, ROWS_AT_ONCE):
            file.write("".join(_rows(people, start, min(start + ROWS_AT_ONCE, rows), rows)))
    kinds = [_kind(number, rows) for number in range(rows)]
    return Sample(
        path=path,
        rows=rows,
        bytes=path.stat().st_size,
        without_key=kinds.count("no key"),
        without_number=kinds.count("no number"),
        wrong_email=kinds.count("wrong email"),
        repeated=kinds.count("repeat near") + kinds.count("repeat far"),
    )


def _kind(number: int, rows: int) -> str:
    """Return what is special about a row; rows are numbered from 0 here."""
    if number % NO_KEY_EVERY == NO_KEY_EVERY - 1:
        return "no key"
    if number % NO_NUMBER_EVERY == NO_NUMBER_EVERY - 1:
        return "no number"
    if number % WRONG_EMAIL_EVERY == WRONG_EMAIL_EVERY - 1:
        return "wrong email"
    if number % REPEAT_FAR_EVERY == REPEAT_FAR_EVERY - 1 and number >= rows - rows // 10:
        return "repeat far"
    if number % REPEAT_NEAR_EVERY == REPEAT_NEAR_EVERY - 1:
        return "repeat near"
    return "plain"


def _people(rng: Random) -> list[tuple[str, str]]:
    """Return the cells of people without email and score: those before the score, and those behind it."""
    people = []
    for _ in range(VARIANTS):
        city = rng.randrange(len(_CITIES))
        before = (
            rng.choice(_FIRST),
            rng.choice(_LAST),
            rng.choice(_COMPANIES),
            rng.choice(_TITLES),
            f"+{rng.randrange(1, 99)} {rng.randrange(100, 999)} {rng.randrange(10**6, 10**7)}",
            f"{rng.randrange(1, 400)} {rng.choice(_LAST)} Street\nBuilding {rng.choice('ABCDEF')}, floor {city}",
            _CITIES[city],
            f"{rng.randrange(10_000, 99_999)}",
            _COUNTRIES[city],
            f"https://www.example{rng.randrange(1, 999)}.com/about?from=leads",
        )
        people.append((_record(before), _record((rng.choice(_SOURCES),))))
    return people


def _record(cells: tuple[str, ...]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()


def _rows(people: list[tuple[str, str]], start: int, end: int, rows: int) -> Iterator[str]:
    for number in range(start, end):
        before, behind = people[number * 2_654_435_761 % VARIANTS]
        email, score = f"lead.{number + 1:08}@example.com", str(number % 101)
        match _kind(number, rows):
            case "no key":
                email = ""
            case "no number":
                score = "very high"
            case "wrong email":
                email = f"lead {number + 1} at example.com"
            case "repeat near":
                email = f"lead.{number:08}@example.com"
            case "repeat far":
                email = f"lead.{number + 1 - (rows - rows // 10):08}@example.com"
        yield f"{email},{before},{score},{behind}\n"
