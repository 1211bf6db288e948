"""``orchestrator --help`` is instant because it imports nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"numpy", "sqlalchemy", "alembic", "aiohttp", "jinja2", "rich", "structlog", "orchestrator.app"}

SPY = """
import atexit, sys
atexit.register(lambda: print("IMPORTED " + " ".join(sys.modules), file=sys.stderr))
sys.argv[0] = "orchestrator"
from orchestrator.__main__ import main
main()
"""


def imported_by(*arguments: str) -> tuple[int, str, set[str]]:
    done = subprocess.run(
        [sys.executable, "-c", SPY, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    *errors, last = done.stderr.splitlines()
    assert last.startswith("IMPORTED "), done.stderr
    return done.returncode, done.stdout + "".join(errors), set(last.split()[1:])


@pytest.mark.parametrize("arguments", [["--help"], ["import", "--help"], ["demo", "--help"], ["--version"], []])
def test_help_imports_nothing_heavy(arguments):
    code, output, modules = imported_by(*arguments)
    assert code == (0 if arguments else 2)
    assert output
    assert modules & HEAVY == set()


def test_the_list_of_commands_does_not_even_import_the_settings():
    _, _, modules = imported_by("--help")
    assert modules & {"pydantic", "pydantic_settings", "orchestrator.config"} == set()


def test_the_library_imports_what_is_asked_for():
    spied = "import sys; import orchestrator; orchestrator.Leads; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", spied], capture_output=True, text=True, timeout=60, check=True)
    assert set(done.stdout.split()) & HEAVY == set()


def test_the_spy_sees_what_is_imported():
    _, _, modules = imported_by("jobs", "--set", "no.such=setting")
    assert {"pydantic", "sqlalchemy", "orchestrator.config", "orchestrator.app"} <= modules
    assert "jinja2" not in modules  # only who writes a report waits for it
