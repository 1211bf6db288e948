"""``orchestrator --help`` is instant because it imports nothing heavy, and who looks at jobs waits for nothing else."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.model import ExitCode, JobState
from tests.contract.journal_kit import make_job, opened
from tests.contract.test_library import emulated, request

HEAVY = {"numpy", "sqlalchemy", "alembic", "aiohttp", "jinja2", "rich", "structlog", "orchestrator.app"}
# What only those need that read sources or ask Marketo.
SENDING = {
    "numpy",
    "isal",
    "aiohttp",
    "aiofiles",
    "orchestrator.driver",
    "orchestrator.intake",
    "orchestrator.emulator",
}

# Submits a job, and says what the thread of the loop has imported meanwhile.
SUBMITTER = """
import asyncio, sys, threading
from pathlib import Path
from orchestrator import ImportRequest, Orchestrator, Settings

class Finder:
    def find_spec(self, name, path=None, target=None):
        if threading.current_thread() is threading.main_thread():
            print(name)

async def submit(settings, file):
    async with Orchestrator.open(settings) as orchestrator:
        sys.meta_path.insert(0, Finder())
        job = await orchestrator.submit(ImportRequest(sources=[file]))
        async for _ in job.events():
            break
        while await orchestrator.driver() is None:
            await asyncio.sleep(0.01)

emulator = {"rest_url": sys.argv[1], "client_id": "emulator", "client_secret": "emulator-secret"}
settings = Settings(state={"dir": "state"}, subscriptions={"default": emulator}, http={"trust_env": False})
asyncio.run(submit(settings, Path(sys.argv[2])))
print("submitted")
"""

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


def test_garbage_is_looked_for_only_in_what_the_command_makes(tmp_path):
    """Nothing imported is looked through, neither at the start nor at the end; afterwards all is as it was."""
    spied = SPY.replace('"IMPORTED " + " ".join(sys.modules)', "gc.isenabled(), gc.get_freeze_count()")
    done = subprocess.run(
        [sys.executable, "-c", f"import gc{spied}", "jobs", "--set", f"state.dir={tmp_path}"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    enabled, frozen = done.stderr.splitlines()[-1].split()
    assert enabled == "True"
    assert int(frozen) > 100_000


def test_who_looks_at_jobs_waits_for_nothing_that_only_sending_needs(tmp_path):
    asyncio.run(one_job(tmp_path / "state", out=tmp_path / "out"))
    for command in (["jobs"], ["status"], ["report", "j-1"], ["wait", "j-1"], ["cancel", "j-1"], ["journal", "check"]):
        code, output, modules = imported_by(*command, "--set", f"state.dir={tmp_path}/state")
        assert code == 0, output
        assert modules & SENDING == set(), command
        assert modules & {"alembic", "psycopg"} == set(), command


def test_the_loop_of_whoever_submits_is_not_held_up_by_imports(tmp_path):
    async def play() -> tuple[bytes, bytes]:
        async with emulated(tmp_path) as (_, running):
            arguments = (running.url, str(request(tmp_path).sources[0]))
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                SUBMITTER,
                *arguments,
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            return await process.communicate()

    told, errors = asyncio.run(play())
    imported = told.decode().split()
    assert "submitted" in imported, errors.decode()
    assert [name for name in imported if name.startswith(("orchestrator", "aiohttp", "numpy"))] == []


async def one_job(directory: Path, out: Path) -> None:
    async with opened(f"sqlite:///{directory}/journal.db") as journal:
        ended = {"state": JobState.COMPLETE, "exit_code": ExitCode.OK, "finished_ms": 1_700_000_000_001}
        await journal.add_job(make_job(out_dir=str(out), **ended))
