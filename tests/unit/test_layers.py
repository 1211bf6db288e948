"""The shape of the house: which way imports point, and what pure modules may not touch."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import partial
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "orchestrator"
FUNCTION_LINES_MAX = 70
MODULE_LINES_MAX = 400

# Lower floors know nothing of higher ones.
FLOORS = (
    {"model", "errors", "events", "records", "clock", "home", "log", "offload", "origins", "tables"},
    {"config", "requests", "mapping"},
    {"source", "marketo", "schedule", "journal", "report"},  # the rooms: they do not know each other
    {
        "blocking",
        "claims",
        "crowding",
        "draft",
        "holds",
        "metering",
        "fetching",
        "directories",
        "outcome",
        "preflight",
        "prospect",
        "scratch",
        "wiring",
        "desk",
        "emulator",
    },
    {
        "uploads",
        "batches",
        "hashing",
        "housekeeping",
        "probes",
        "inquiry",
        "following",
        "connection",
        "finishing",
        "ledger",
        "moving",
    },
    {"occupants"},
    {"driver", "canary", "forecast"},
    {"keeping", "intake"},
    {"resuming", "submitting", "control", "preview"},
    {"reception"},
    {"app"},
    {"doctor", "onboarding", "auditing"},
    {"service", "cli"},
    {"__init__", "__main__"},
)
ROOMS = 2
# Pure modules: no I/O, no clock, no logger.
PURE = (
    "model.py",
    "errors.py",
    "events.py",
    "records.py",
    "crowding.py",
    "schedule",
    "marketo/wire.py",
    "marketo/answers.py",
    "marketo/reads.py",
    "marketo/quota.py",
    "emulator/engine.py",
    "report/account.py",
    "report/ahead.py",
    "report/doubt.py",
    "report/eta.py",
    "report/outlook.py",
    "report/summary.py",
    "source/check.py",
)
IMPURE_IMPORTS = [
    "aiofiles",
    "aiohttp",
    "anyio",
    "asyncio",
    "concurrent",
    "http",
    "logging",
    "mmap",
    "multiprocessing",
    "os",
    "pathlib",
    "queue",
    "secrets",
    "select",
    "selectors",
    "shutil",
    "signal",
    "socket",
    "sqlalchemy",
    "sqlite3",
    "ssl",
    "structlog",
    "subprocess",
    "sys",
    "tempfile",
    "threading",
    "time",
    "urllib.request",
    "uuid",
]
IMPURE_CALLS = ("open", "print", "input")
# Called while a module is imported or anywhere else: what reads the machine's clock or its randomness.
HANDED_IN = (
    "time.time",
    "time.time_ns",
    "time.monotonic",
    "time.monotonic_ns",
    "datetime.now",
    "datetime.utcnow",
    "date.today",
    "uuid.uuid4",
    "uuid4",
    "random.random",
    "random.randint",
    "random.uniform",
    "random.choice",
    "random.shuffle",
    "random.seed",
)
# Where the real clock comes from; everywhere else it is handed in.
SOURCES_OF_TIME = ("clock.py",)


def modules() -> list[Path]:
    found = sorted(PACKAGE.rglob("*.py"))
    assert found
    return found


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def room(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imported(module: ast.AST) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def floor(name: str) -> int:
    for number, rooms in enumerate(FLOORS):
        if name in rooms:
            return number
    raise AssertionError(f"{name} stands on no floor; give it one in FLOORS")


def upward(source: str, importer: str) -> list[str]:
    """Return what this source code of the room ``importer`` imports although it may not."""
    wrong = []
    for name in imported(ast.parse(source)):
        parts = name.split(".")
        if parts[0] != "orchestrator" or len(parts) == 1:
            continue
        other = parts[1]
        from_room_to_room = floor(other) == floor(importer) == ROOMS and other != importer
        if floor(other) > floor(importer) or from_room_to_room:
            wrong.append(name)
    return wrong


def impurities(source: str) -> list[str]:
    """Return what a pure module touches although it may not."""
    module = ast.parse(source)
    wrong = [
        name
        for name in imported(module)
        if any(name == banned or name.startswith(f"{banned}.") for banned in IMPURE_IMPORTS)
    ]
    wrong += [
        node.func.id
        for node in ast.walk(module)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS
    ]
    return wrong


def not_handed_in(source: str) -> list[str]:
    """Return every use of the machine's clock or randomness, called or passed on."""
    return [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute | ast.Name)
        and any(ast.unparse(node) == name or ast.unparse(node).endswith(f".{name}") for name in HANDED_IN)
    ]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downward_only(path):
    assert upward(path.read_text(encoding="utf-8"), room(path)) == []


def test_no_module_imports_itself_through_others():
    known = {module_name(path): path for path in modules()}
    graph = {name: {found for found in map(partial(nearest, known), imported(tree(path))) if found} - {name}
             for name, path in known.items() if name != "orchestrator"}  # fmt: skip
    assert cycle_of(graph) == []


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def nearest(known: dict[str, Path], name: str) -> str | None:
    """Return the module that an imported name belongs to; the package itself is no dependency."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name if name != "orchestrator" else None


def cycle_of(graph: dict[str, set[str]]) -> list[str]:
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.mark.parametrize("name", PURE)
def test_pure_modules_touch_nothing(name):
    files = [path for path in modules() if path.is_relative_to(PACKAGE / name)]
    assert files, f"{name} is gone; take it out of PURE"
    assert {str(path): wrong for path in files if (wrong := impurities(path.read_text(encoding="utf-8")))} == {}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_time_and_chance_are_handed_in(path):
    if str(path.relative_to(PACKAGE)) not in SOURCES_OF_TIME:
        assert not_handed_in(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_functions_and_modules_are_short(path):
    text = path.read_text(encoding="utf-8")
    long = {
        node.name: length
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES_MAX
    }
    if "migrations/versions" not in str(path):  # a migration is one list of tables
        assert long == {}
    assert len(text.splitlines()) <= MODULE_LINES_MAX


def test_the_rules_can_fail():
    assert upward("from orchestrator.app import Orchestrator", "driver") == ["orchestrator.app.Orchestrator"]
    assert upward("import orchestrator.journal.journal", "schedule") == ["orchestrator.journal.journal"]
    assert upward("from orchestrator import model", "driver") == []
    assert impurities("import time\nfrom os import path\nprint(open('x'))") == ["time", "os.path", "print", "open"]
    assert impurities("from urllib.parse import quote\nimport math") == []
    assert not_handed_in("import time\nclock = time.time") == ["line 2: time.time"]
    assert not_handed_in("import datetime\ndatetime.datetime.now()") == ["line 2: datetime.datetime.now"]
    assert not_handed_in("rng.random()") == []
    assert upward("from orchestrator.marketo import wire", "report") == ["orchestrator.marketo.wire"]
    assert cycle_of({"a": {"b"}, "b": {"a"}})
