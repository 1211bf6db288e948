"""Files of every kind that planning is measured with.

Each is one block of seeded rows of about 8 MiB, repeated: made in a second at any size, and far too long for a processor
to learn it by heart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import Final

BLOCK_BYTES: Final = 8 * 2**20
LONG_FIELD_BYTES: Final = 100_000
LEAD_COLUMNS: Final = "email,firstName,lastName,company,title,phone,address,city,country,leadScore"

_FIRST = ("Anna", "Ben", "Carla", "David", "Eva", "Frank", "Greta", "Hugo", "Ines", "Jonas", "Karin", "Leo")
_LAST = ("Miller", "Schmidt", "Garcia", "Rossi", "Novak", "Jensen", "Silva", "Dubois", "Kowalski", "Olsen")
_FIRST_ELSEWHERE = ("José", "Łukasz", "Zoë", "Мария", "Ольга", "Νίκος", "Ελένη", "さくら", "陽子", "Đorđe", "Şeyma")
_LAST_ELSEWHERE = ("Müller", "Şahin", "Ångström", "Иванова", "Παπαδόπουλος", "佐藤", "鈴木", "Núñez", "Dvořák", "Łęcka")
_COMPANIES = ("Acme Corp", "Globex", "Initech", "Umbrella Ltd", "Stark Industries", "Wayne Enterprises")
_TITLES = ("Engineer", "Buyer", "Head of Sales", "Consultant", "Managing Director")
_CITIES = ("Berlin", "Madrid", "Oslo", "Boston", "Prague", "Lisbon", "Warsaw", "Dublin")
_CITIES_ELSEWHERE = ("Köln", "São Paulo", "Москва", "Αθήνα", "東京", "Kraków", "İstanbul")
_COUNTRIES = ("DE", "ES", "NO", "US", "CZ", "PT", "PL", "IE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of file."""

    name: str
    header: str
    rows: Callable[[Random], Iterator[str]]  # without end, each with its line end


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A file that was made."""

    path: Path
    rows: int
    bytes: int


def make(kind: Kind, path: Path, size: int) -> Made:
    """Write a file of at least ``size`` bytes, and at most one block more."""
    block, rows = _block(kind, min(size, BLOCK_BYTES))
    header = f"{kind.header}\n".encode()
    times = max(1, -(-(size - len(header)) // len(block)))
    with path.open("wb") as file:
        file.write(header)
        for _ in range(times):
            file.write(block)
    return Made(path=path, rows=rows * times, bytes=len(header) + len(block) * times)


def _block(kind: Kind, size: int) -> tuple[bytes, int]:
    lines = kind.rows(Random(kind.name))
    pieces: list[bytes] = []
    length = 0
    while length < size:
        pieces.append(next(lines).encode())
        length += len(pieces[-1])
    return b"".join(pieces), len(pieces)


def _lead(random: Random, first: tuple[str, ...], last: tuple[str, ...], city: tuple[str, ...]) -> list[str]:
    name, n = random.choice(first), random.randrange(10**7)
    return [
        f"person{n}@example.com",
        name,
        random.choice(last),
        random.choice(_COMPANIES),
        random.choice(_TITLES),
        f"+49 30 {n:07}",
        f"Main Street {n % 997}",
        random.choice(city),
        random.choice(_COUNTRIES),
        str(n % 101),
    ]


def _plain(random: Random) -> Iterator[str]:
    while True:
        yield ",".join(_lead(random, _FIRST, _LAST, _CITIES)) + "\n"


def _elsewhere(random: Random) -> Iterator[str]:
    while True:
        yield ",".join(_lead(random, _FIRST_ELSEWHERE, _LAST_ELSEWHERE, _CITIES_ELSEWHERE)) + "\n"


def _tiny(random: Random) -> Iterator[str]:
    while True:
        yield f"{random.randrange(1000)}@a.io,{random.randrange(10)}\n"


def _some_quoted(random: Random) -> Iterator[str]:
    """Yield leads of which three cells in ten are quoted, some of them for a reason."""
    while True:
        cells = _lead(random, _FIRST, _LAST, _CITIES)
        for at in range(len(cells)):
            if random.random() < 0.3:
                inside = random.choice(("", "", ", Inc.", ' ""North""'))
                cells[at] = f'"{cells[at]}{inside}"'
        yield ",".join(cells) + "\n"


def _all_quoted(random: Random) -> Iterator[str]:
    """Yield leads with every cell quoted and an address of several lines."""
    while True:
        cells = _lead(random, _FIRST, _LAST, _CITIES)
        cells[6] = f'c/o ""{cells[1]}""\n{cells[6]}\nBackyard, left'
        yield ",".join(f'"{cell}"' for cell in cells) + "\n"


def _long(random: Random) -> Iterator[str]:
    """Yield rows with one long quoted cell: a text of many lines, with commas and quotes."""
    words = ("lorem", "ipsum,", "dolor", "sit", '""amet""', "consectetur", "adipiscing\n", "elit.")
    while True:
        text = " ".join(random.choices(words, k=LONG_FIELD_BYTES // 5))[:LONG_FIELD_BYTES].rstrip('"')
        yield f'person{random.randrange(10**7)}@example.com,"{text}",{random.randrange(101)}\n'


def _stray(share: float) -> Callable[[Random], Iterator[str]]:
    """Return rows of which a ``share`` has an inch mark in a cell that is not quoted."""

    def rows(random: Random) -> Iterator[str]:
        for line in _plain(random):
            yield (
                line.replace(",Main Street", f',{random.randrange(5, 70)}" pipe at', 1)
                if random.random() < share
                else line
            )

    return rows


ASCII: Final = Kind(name="ASCII, unquoted", header=LEAD_COLUMNS, rows=_plain)
TINY: Final = Kind(name="tiny rows", header="email,leadScore", rows=_tiny)
NON_ASCII: Final = Kind(name="non-ASCII, unquoted", header=LEAD_COLUMNS, rows=_elsewhere)
SOME_QUOTED: Final = Kind(name="30 % of cells quoted", header=LEAD_COLUMNS, rows=_some_quoted)
ALL_QUOTED: Final = Kind(name="all quoted, line breaks inside", header=LEAD_COLUMNS, rows=_all_quoted)
LONG: Final = Kind(name="fields of 100 KB", header="email,notes,leadScore", rows=_long)
FEW_STRAY: Final = Kind(name="stray quotes in 0.1 % of rows", header=LEAD_COLUMNS, rows=_stray(0.001))
MANY_STRAY: Final = Kind(name="stray quotes in 30 % of rows", header=LEAD_COLUMNS, rows=_stray(0.3))
KINDS: Final = (ASCII, TINY, NON_ASCII, SOME_QUOTED, ALL_QUOTED, LONG, FEW_STRAY, MANY_STRAY)


def sample(kind: Kind, rows: int) -> str:
    """Return the first rows of a kind, with the header."""
    return f"{kind.header}\n" + "".join(islice(kind.rows(Random(kind.name)), rows))
