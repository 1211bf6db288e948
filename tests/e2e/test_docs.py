"""The documentation is true: its commands run as typed, its programs run, its links lead somewhere.

Each page is walked from top to bottom in a directory and a shell of its own, against a local Marketo that holds what
``config/emulator.example.json`` describes.  What cannot be typed here as it stands is in the tables below, with the
reason; a command that is neither run nor in a table is a failure.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from orchestrator.emulator.config import EmulatorConfig, read_config
from orchestrator.emulator.faults import ACTIONS, Fault
from orchestrator.events import _BY_NAME
from orchestrator.model import ExitCode
from orchestrator.report.ending import PRECEDENCE, REASONS
from tests import docs_reference
from tests.e2e import kit, leads
from tests.e2e.pages import ROOT, all_commands, commands, fences, pages, read, unseen, without_fences

AT_A_TIME = 2  # pages walked side by side
PAGE_SECONDS_MAX = 100

# --- how the commands of the pages are run -------------------------------------------------------------------

RUN_AS_TYPED = {"orchestrator", "cat", "curl", "export", "head", "ls", "mkdir", "python", "sh", "unset", "chmod"}

# What is typed -> what is run here in its place, and why.
INSTEAD: Mapping[str, tuple[str, str]] = {
    "export MARKETO_REST_URL=http://127.0.0.1:8080 MARKETO_CLIENT_ID=emulator MARKETO_CLIENT_SECRET=emulator-secret": (
        'export MARKETO_REST_URL="$EMULATOR_URL" MARKETO_CLIENT_ID=emulator MARKETO_CLIENT_SECRET=emulator-secret',
        "the tests' Marketo listens at a port of its own",
    ),
    "export MARKETO_MUNCHKIN_ID=123-ABC-456": ('export MARKETO_REST_URL="$EMULATOR_URL"', "no real Marketo is asked"),
    "export MARKETO_CLIENT_ID=00000000-0000-0000-0000-000000000000": (
        "export MARKETO_CLIENT_ID=emulator",
        "no real Marketo is asked",
    ),
    "read -rs MARKETO_CLIENT_SECRET && export MARKETO_CLIENT_SECRET": (
        "export MARKETO_CLIENT_SECRET=emulator-secret",
        "nobody types it",
    ),
    "umask 077 && cat > marketo.secret": ("echo emulator-secret > marketo.secret", "nobody pastes it"),
    "umask 077 && cat > production.secret": ("echo emulator-secret > production.secret", "nobody pastes it"),
    "orchestrator import leads.csv --subscription production --confirm 123-ABC-456": (
        "orchestrator import leads.csv --subscription production --confirm 127 --force",
        "the tests' Marketo has an address and no munchkin id, and is the sandbox, too",
    ),
    "orchestrator init --config other.toml --munchkin-id 123-ABC-456 \\\n"
    "    --client-id 00000000-0000-0000-0000-000000000000 --secret-file marketo.secret": (
        'orchestrator init --config other.toml --rest-url "$EMULATOR_URL" '
        "--client-id emulator --secret-file marketo.secret",
        "no real Marketo is asked",
    ),
    "python service.py": ("python drive_service.py", "it would run for ever; a client uses it once"),
}

# What is not run here, and why.
_EMULATOR = "the tests have a local Marketo already"
_DOCKER = "needs Docker"
NOT_RUN: Mapping[str, str] = {
    "orchestrator import https://files.example.com/leads.csv.gz": "needs a web server; tested in test_sources",
    "make demo": "installs; what it runs is tested in test_commands",
    "make test": "would run this test",
    "make bench": "takes minutes",
    "make setup": "installs",
    "python3 -m venv .venv && .venv/bin/pip install .": "installs",
    'export PATH="$PWD/.venv/bin:$PATH"': "the tests run what is installed already",
    "pip install '.[postgres]'": "installs",
    "export ORCHESTRATOR_JOURNAL__URL=postgresql+psycopg://importer@db.example.com/imports": (
        "there is no such server; what is different with one is tested in test_journal_lost"
    ),
    "orchestrator init": "asks on a terminal; tested where terminals are",
    "orchestrator emulator --speed 60": _EMULATOR,
    "orchestrator emulator --file config/emulator.example.json --speed 60": _EMULATOR,
    """orchestrator emulator --fault '{"on": "create", "nth": 3, "do": "lose_answer_after_accept"}'""": _EMULATOR,
    "docker build --tag marketo-bulk .": _DOCKER,
    "mkdir -p data && cp leads.csv data/ && sudo chown -R 10001 data": "needs another user's rights",
    "docker run --rm -it -e MARKETO_MUNCHKIN_ID -e MARKETO_CLIENT_ID -e MARKETO_CLIENT_SECRET \\\n"
    '    -v marketo-state:/state -v "$PWD/data:/data" marketo-bulk import leads.csv --out report': _DOCKER,
    "docker stop --time 120 marketo-import": _DOCKER,
    "docker run --rm -e MARKETO_MUNCHKIN_ID -e MARKETO_CLIENT_ID -e MARKETO_CLIENT_SECRET \\\n"
    '    -v marketo-state:/state -v "$PWD/data:/data" marketo-bulk resume': _DOCKER,
    "docker network create marketo": _DOCKER,
    "docker run --rm -d --network marketo --name local-marketo marketo-bulk emulator --host 0.0.0.0": _DOCKER,
    'docker run --rm --network marketo -v "$PWD/data:/data" -e MARKETO_REST_URL=http://local-marketo:8080 \\\n'
    "    -e MARKETO_CLIENT_ID=emulator -e MARKETO_CLIENT_SECRET=emulator-secret \\\n"
    "    marketo-bulk import leads.csv --set http.insecure=true": _DOCKER,
}

# Commands that end with another code than 0, as their page says.
ENDS: Mapping[tuple[str, str], int] = {
    ("docs/start.md", "orchestrator import people.csv --out report"): 3,
    ("docs/start.md", "orchestrator import wrong.csv"): 4,
    ("docs/how-to/custom-objects.md", "orchestrator import cars.csv --object custom:car_c --out cars-report"): 3,
    ("docs/how-to/custom-objects.md", "orchestrator import spaced.csv --object custom:car_c"): 4,
    ("docs/how-to/failed-rows.md", "orchestrator import people.csv --out report"): 3,
    ("docs/how-to/lists-and-partitions.md", "orchestrator import leads.csv --list-id 9999"): 4,
    ("docs/how-to/mapping.md", "orchestrator import customers.csv --map mapping.toml --out report"): 3,
    ("docs/how-to/mapping.md", "orchestrator import customers.csv --map mapping.toml --strict"): 4,
    ("docs/how-to/several-instances.md", "orchestrator import leads.csv"): 2,
}

# Pages that give credentials in a settings file.
WITH_SETTINGS_FILE = frozenset({"docs/how-to/nightly.md", "docs/how-to/several-instances.md"})
CREDENTIALS = ("MARKETO_REST_URL", "MARKETO_CLIENT_ID", "MARKETO_CLIENT_SECRET")
# In the files of the pages, what stands for a real Marketo -> what the tests have in its place.
REAL = {
    'munchkin_id = "123-ABC-456"': 'rest_url = "{url}"',
    'munchkin_id = "456-DEF-789"': 'rest_url = "{url}"',
    'client_id = "00000000-0000-0000-0000-000000000000"': 'client_id = "emulator"',
    'client_id = "11111111-1111-1111-1111-111111111111"': 'client_id = "emulator"',
}

# Beside every page's own files.
PARTS = ("part-1.csv", "part-2.csv", "part-10.csv")
DRIVE_SERVICE = """\
import asyncio

from aiohttp.test_utils import TestClient, TestServer

from service import create_app


async def main() -> None:
    async with TestClient(TestServer(create_app())) as client:
        begun = await client.post("/imports", json={"file": "leads.csv"})
        assert begun.status == 202, await begun.text()
        job = (await begun.json())["job"]
        told = {"state": "running"}
        while told["state"] in ("planning", "running"):
            told = await (await client.get(f"/imports/{job}")).json()
        assert told == {"state": "complete", "accepted": 60, "failed": 0}, told
        assert (await client.post("/imports", json={"file": "absent.csv"})).status == 400
        assert (await client.get("/imports/nothing")).status == 404


asyncio.run(main())
"""

PROLOGUE = """\
set +e
job() { python -c 'import os, sqlite3
journal = sqlite3.connect(os.environ["ORCHESTRATOR_STATE__DIR"] + "/journal.db")
print(journal.execute("SELECT id FROM jobs ORDER BY rowid DESC LIMIT 1").fetchone()[0])'; }
"""
_JOB = re.compile(r"\bJOB\b")  # on the pages: the id of the latest job


# --- walking the pages -----------------------------------------------------------------------------------------


class Walk:
    """One page, typed into a shell from top to bottom."""

    def __init__(self, page: str, directory: Path, marketo: kit.Emulator) -> None:
        self.page = page
        self._marketo = marketo
        self._place = kit.place(
            directory, marketo, MARKETO_CLIENT_ID="emulator", PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        )
        self._place.env.update(EMULATOR_URL=marketo.url, PYTHONPATH="")
        if page in WITH_SETTINGS_FILE:
            for name in CREDENTIALS:
                del self._place.env[name]
        people = leads.people(f"{directory.name}.example", 60, troubled=False)
        for number, name in enumerate(("leads.csv", *PARTS)):
            leads.write(self._place.directory / name, people[20 * (number - 1) : 20 * number] if number else people)
        self._place.write("drive_service.py", DRIVE_SERVICE)

    def problems(self) -> list[str]:
        """Type everything; return what did not go as the page says."""
        script, steps = [PROLOGUE], []
        for number, step in enumerate(self._steps()):
            label, text, code, shown = step
            log = self._place.files / f"{number}"
            script.append(f"{{ {text}\n}} >{log}.out 2>&1 </dev/null; echo $? >{log}.code\n")
            steps.append((label, code, shown, log))
        subprocess.run(
            ["bash", "-c", "".join(script)],
            cwd=self._place.directory,
            env=self._place.env,
            timeout=PAGE_SECONDS_MAX,
            check=True,
            capture_output=True,
        )
        found = []
        for label, code, shown, log in steps:
            printed = log.with_suffix(".out").read_text(encoding="utf-8")
            ended = int(log.with_suffix(".code").read_text())
            if ended != code:
                found.append(f"{label}\nended with {ended}, not {code}:\n{printed}")
            elif (line := unseen(shown, printed)) is not None:
                found.append(f"{label}\ndoes not print {line!r}, or not in this place, but:\n{printed}")
        return found

    def _steps(self) -> Iterator[tuple[str, str, int, tuple[str, ...]]]:
        """Write the files of the page; yield what is to be run: name, command, exit code, shown lines."""
        for fence in fences(self.page):
            if fence.title is not None:
                self._save(fence.title, fence.text)
            elif fence.kind == "python":
                name = f"example_{fence.line}.py"
                self._save(name, fence.text)
                yield f"{fence.page}:{fence.line}: a program", f"python -W error {name}", 0, ()
            elif fence.kind == "console":
                for command in commands(fence):
                    if command.text not in NOT_RUN:
                        text = INSTEAD[command.text][0] if command.text in INSTEAD else command.text
                        code = ENDS.get((self.page, command.text), 0)
                        yield str(command), _JOB.sub('"$(job)"', text), code, command.shown

    def _save(self, name: str, text: str) -> None:
        for real, ours in REAL.items():
            text = text.replace(real, ours.format(url=self._marketo.url))
        path = self._place.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def typed_pages() -> list[str]:
    """Return the pages on which there is something to run."""
    return [page for page in pages() if any(fence.kind in ("console", "python") for fence in fences(page))]


@pytest.fixture(scope="module")
def walks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[list[str]]]]:
    """Walk all pages side by side."""
    example = json.loads((ROOT / "config" / "emulator.example.json").read_text(encoding="utf-8"))
    ours = {"client_id": "emulator", "client_secret": "emulator-secret", "other_clients": []}
    root = tmp_path_factory.mktemp("docs")
    with (
        kit.emulator(root / "marketo", **{**example, **ours}) as marketo,
        ThreadPoolExecutor(AT_A_TIME) as pool,
    ):
        yield {
            page: pool.submit(lambda walk: walk.problems(), Walk(page, root / f"page{number}", marketo))
            for number, page in enumerate(typed_pages())
        }


@pytest.mark.parametrize("page", typed_pages())
def test_what_a_page_says_to_type_works(page: str, walks: dict[str, Future[list[str]]]) -> None:
    problems = walks[page].result()
    assert not problems, "\n\n".join(problems)


# --- the tables ------------------------------------------------------------------------------------------------


def test_every_command_is_run_or_said_why_not() -> None:
    unknown = [
        str(command)
        for command in all_commands()
        if command.text not in INSTEAD
        and command.text not in NOT_RUN
        and shlex.split(command.text, comments=True)[0] not in RUN_AS_TYPED
    ]
    assert unknown == []


def test_the_tables_name_only_what_is_on_the_pages() -> None:
    there = {command.text for command in all_commands()}
    assert [text for text in (*INSTEAD, *NOT_RUN) if text not in there] == []
    assert not INSTEAD.keys() & NOT_RUN.keys()
    placed = {(command.page, command.text) for command in all_commands()}
    assert [end for end in ENDS if end not in placed] == []
    assert set(pages()) >= WITH_SETTINGS_FILE


def test_every_console_and_every_program_is_seen() -> None:
    """A fence of another kind would hide commands from the tests."""
    kinds = {fence.kind for page in pages() for fence in fences(page)}
    assert kinds <= {"", "console", "python", "json", "toml", "text", "csv", "sh", "crontab", "mermaid"}
    hidden = [f"{fence.page}:{fence.line}" for page in pages() for fence in fences(page)
              if fence.kind != "console" and re.search(r"^\$ ", fence.text, re.MULTILINE)]  # fmt: skip
    assert hidden == []


# --- what the reference pages must have --------------------------------------------------------------------------


@pytest.mark.parametrize("name", docs_reference.PAGES)
def test_the_generated_pages_are_up_to_date(name: str) -> None:
    committed = read(f"docs/reference/{name}")
    assert committed == docs_reference.PAGES[name](), "run `make docs`"


def test_every_command_and_every_flag_has_its_place() -> None:
    page = read("docs/reference/commands.md")
    for name, command in docs_reference.commands().items():
        (section,) = re.findall(rf"^## {name}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
        flags = [flag for one in command.params if not getattr(one, "hidden", False) for flag in one.opts]
        assert flags
        assert [
            flag for flag in flags if flag.startswith("-") and not re.search(rf"(?<!\S){flag}(?![\w-])", section)
        ] == []


def test_the_examples_of_the_help_can_be_typed() -> None:
    """They have no flag that is not there, and lack no argument; what they do is shown on the pages."""
    for name, command in docs_reference.commands().items():
        lines = [line.strip() for line in command.epilog.splitlines() if line.startswith("  ")]
        assert lines, name
        for line in lines:
            program, *typed = shlex.split(line.partition(" > ")[0])
            words = name.split()
            assert (program, typed[: len(words)]) == ("orchestrator", words)
            command.make_context(name, typed[len(words) :])


def test_every_setting_has_its_place() -> None:
    page = read("docs/reference/settings.md")
    names = [name for name, _ in docs_reference.settings()]
    assert len(names) > 20
    for name in names:
        assert f"| `{name}` | " in page
        assert f" `{docs_reference.variable(name)}` " in page
    assert [name for name, field in docs_reference.settings() if not field.description] == []


def absent(page: str, words: Any) -> list[str]:
    """Return what does not stand on a page between backquotes."""
    there = set(re.findall(r"`([^`\n]+)`", without_fences(page)))
    return [str(word) for word in words if str(word) not in there]


def test_the_emulator_page_is_complete() -> None:
    page = "docs/reference/emulator.md"
    assert absent(page, ACTIONS) == []
    assert absent(page, (field.name for field in fields(EmulatorConfig))) == []
    assert absent(page, (field.name for field in fields(Fault))) == []
    routes = re.findall(
        r'\("(GET|POST|DELETE)", "([^"]+)", self', (ROOT / "orchestrator/emulator/admin.py").read_text()
    )
    assert len(routes) > 5
    assert absent(page, (f"{method} /_emulator/{path}" for method, path in routes)) == []


def test_the_example_of_an_emulator_is_one() -> None:
    config = read_config(ROOT / "config" / "emulator.example.json")
    assert [one.name for one in config.custom_objects] == ["car_c", "enrolment_c"]


def test_the_report_page_is_complete() -> None:
    page = "docs/reference/report-files.md"
    for part, keys in leads.SUMMARY_KEYS.items():
        assert absent(page, keys.split()) == [], part
    for name, kind in _BY_NAME.items():
        own = [field.name for field in fields(kind) if field.name not in ("job_id", "ts_ms", "seq")]
        assert absent(page, [name, *own]) == [], name


def test_the_findings_of_the_program_are_explained() -> None:
    kinds = set(re.findall(r"^\| (`[a-z_`, ]+`) \|", without_fences("docs/reference/report-files.md"), re.MULTILINE))
    explained = set(re.findall(r"[a-z_]+", " ".join(kinds)))
    code = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "orchestrator").rglob("*.py")))
    used = re.findall(r'kind="([a-z]+_[a-z_]+)"', code) + re.findall(r'\.found\(driven, "([a-z_]+)"', code)
    used += re.findall(r'told(?: = \[|\.append\(\s*)\(\s*"([a-z_]+)"', code)
    assert len(used) > 8
    assert sorted(set(used) - explained) == []


def test_the_exit_code_pages_are_complete() -> None:
    page = read("docs/reference/exit-codes.md")
    for code in ExitCode:
        assert re.search(rf"^\| {int(code)} \| ", page, re.MULTILINE), code
    for reason, code in REASONS.items():
        assert f"| `{reason}` | {int(code)} | " in page
    order = ", ".join(str(int(code)) for code in PRECEDENCE)
    assert order in " ".join(page.split())
    advice = "docs/how-to/after-the-end.md"
    headings = "\n".join(re.findall(r"^## (.*)$", read(advice), re.MULTILINE))
    assert [int(code) for code in ExitCode if not re.search(rf"\b{int(code)}\b", headings)] == []


# --- links and words ---------------------------------------------------------------------------------------------

_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_OUTSIDE = re.compile(r"https://(experienceleague\.adobe\.com/en/docs|developer\.adobe\.com)/\S*")
_ADDRESS = re.compile(r"https?://[^\s)`\"'<>]+")
# What says where the documentation was written, and from where packages come.
_FORBIDDEN = re.compile(
    r"(?<![\w.])/(?:work|root|builds?|workspace|Users|tmp)/|pypi|pythonhosted|artifactory|jfrog|nexus|npmjs|ghcr\.io",
    re.IGNORECASE,
)


def anchors(page: Path) -> set[str]:
    """Return the anchors that a page's headings make."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", pages())
def test_links_lead_somewhere(page: str) -> None:
    lost = []
    for link in _LINK.findall(without_fences(page)):
        if "://" in link:
            if not _OUTSIDE.fullmatch(link):
                lost.append(link)
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)
    assert lost == []


def test_every_page_is_reached_from_the_map() -> None:
    linked = {link.partition("#")[0] for link in _LINK.findall(read("docs/index.md"))}
    there = {page.removeprefix("docs/") for page in pages() if page.startswith("docs/")}
    assert sorted(there - linked - {"index.md"}) == []
    assert "docs/index.md" in _LINK.findall(read("README.md"))


@pytest.mark.parametrize("page", pages())
def test_nothing_is_said_of_the_machine_it_was_written_on(page: str) -> None:
    text = read(page)
    assert _FORBIDDEN.findall(text) == []
    assert str(ROOT) not in text
    for address in _ADDRESS.findall(text):
        host = address.split("/")[2].rpartition("@")[2].partition(":")[0]
        assert re.fullmatch(r"127\.0\.0\.1|local-marketo|(.+\.)?example\.com|.+\.mktorest\.com|.+\.adobe\.com", host), (
            address
        )
