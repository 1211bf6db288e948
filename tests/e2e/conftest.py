"""One emulator for all end-to-end tests that need no special one; a directory and a mark for each test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.e2e.leads", "tests.e2e.targets")  # what fails there is shown, too

from tests.e2e import kit  # noqa: E402

_MARKS = itertools.count(1)


@pytest.fixture(scope="session")
def shared_marketo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[kit.Emulator]:
    with kit.emulator(tmp_path_factory.mktemp("marketo")) as emulator:
        yield emulator


@pytest.fixture
def marketo(shared_marketo: kit.Emulator) -> Iterator[kit.Emulator]:
    """The emulator that all tests share: healthy and idle at the beginning of each."""
    yield shared_marketo
    shared_marketo.heal()
    shared_marketo.finish()


@pytest.fixture
def place(tmp_path: Path, marketo: kit.Emulator) -> kit.Place:
    return kit.place(tmp_path / "work", marketo)


@pytest.fixture
def mark() -> str:
    """What every key of a test holds, and no key of another: all of them share one Marketo."""
    return f"mark{next(_MARKS)}.example"
