"""Prose in the documentation is wrapped, so that it can be read and compared in a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md", ROOT / "CHANGELOG.md"]
CHARS_MAX = 125
WHOLE = re.compile(r"\||\d+\. \[")  # a row of a table, or a source with its address


def prose(text: str) -> Iterator[str]:
    """Yield the lines that may be wrapped: no code, no figures that `make bench` writes."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"<!-- results.*?<!-- end of results -->", "", text, flags=re.DOTALL)
    return (line for line in text.splitlines() if not WHOLE.match(line))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_prose_is_wrapped(page: Path) -> None:
    assert [line for line in prose(page.read_text(encoding="utf-8")) if len(line) > CHARS_MAX] == []
