"""The documentation as a reader meets it: pages, what stands in their fences, and the commands to be typed.

A fence of ``console`` holds commands, each behind ``$ ``, and what they print.  A fence with ``title="NAME"`` is a
file that the reader is told to save.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>.*)$")
_TITLE = re.compile(r'title="([^"]+)"')
_COMMENT = re.compile(r"\s+# .*$")
# What differs from run to run: ids of jobs, times, ports, numbers of batches.
_VARYING = (
    (re.compile(r"[0-9]{8}-[0-9]{6}-[a-z0-9]{4}"), "JOB"),
    (re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9:.]{8,12}Z?"), "TIME"),
    (re.compile(r"127\.0\.0\.1:[0-9]+"), "HOST"),
    (re.compile(r"(?<![0-9])[0-9]{4,7}(?![0-9])"), "NUMBER"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """One fenced block."""

    page: str  # below the root, with slashes
    line: int
    kind: str  # its language, empty for none
    title: str | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command to be typed, without a comment at its end."""

    page: str
    line: int
    text: str
    shown: tuple[str, ...]  # what the page says it prints

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"


def pages() -> list[str]:
    """Return every page for users."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [path.relative_to(ROOT).as_posix() for path in found]


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def fences(page: str) -> Iterator[Fence]:
    lines = iter(enumerate(read(page).splitlines(), 1))
    for number, line in lines:
        opening = _FENCE.match(line)
        if not opening:
            continue
        indent, info = opening["indent"], opening["info"]
        inside: list[str] = []
        for _, text in lines:
            if text.strip() == "```":
                break
            inside.append(text.removeprefix(indent))
        else:
            raise AssertionError(f"{page}:{number}: a fence is never closed")
        title = _TITLE.search(info)
        kind = info.split()[0] if info.split() else ""
        yield Fence(
            page=page,
            line=number,
            kind=kind,
            title=title[1] if title else None,
            text="".join(f"{text}\n" for text in inside),
        )


def commands(fence: Fence) -> Iterator[Command]:
    """Yield the commands of a console, and what each prints."""
    typed: list[str] = []
    shown: list[str] = []
    start = 0

    def command() -> Command:
        return Command(page=fence.page, line=start, text=_COMMENT.sub("", "\n".join(typed)).strip(), shown=tuple(shown))

    for number, line in enumerate(fence.text.splitlines(), fence.line + 1):
        if typed and typed[-1].endswith("\\") and not shown:
            typed.append(line)
        elif line.startswith("$ "):
            if typed:
                yield command()
            typed, shown, start = [line.removeprefix("$ ")], [], number
        elif typed:
            shown.append(line)
        else:
            raise AssertionError(f"{fence.page}:{number}: a console begins with a command, behind '$ '")
    if typed:
        yield command()


def all_commands() -> list[Command]:
    return [one for page in pages() for fence in fences(page) if fence.kind == "console" for one in commands(fence)]


def without_fences(page: str) -> str:
    """Return a page without its fenced blocks, for what is read as Markdown only."""
    return re.sub(r"^ *```.*?^ *```$", "", read(page), flags=re.MULTILINE | re.DOTALL)


def gist(line: str) -> str:
    """Return what must stay the same of a line from run to run."""
    for pattern, word in _VARYING:
        line = pattern.sub(word, line)
    return " ".join(line.split())


def unseen(shown: tuple[str, ...], printed: str) -> str | None:
    """Return the first shown line that was not printed in this order; ``...`` stands for anything."""
    lines = iter(map(gist, printed.splitlines()))
    for line in shown:
        wanted = gist(line)
        if wanted in ("", "..."):
            continue
        pattern = re.compile(".*".join(map(re.escape, wanted.split("..."))))
        if not any(pattern.fullmatch(found) for found in lines):
            return line
    return None
