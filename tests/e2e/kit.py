"""The command in a process of its own, and an emulated Marketo in another, joined by real sockets.

Nothing here waits for a time to pass.  What a test waits for is something to be seen: a line of the command, a
state of the emulator.  It is looked for again and again, and after `PATIENCE_S` the test fails and shows what was
there instead.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

from tests.e2e.holdings import HOLDINGS

KEPT = ("PATH", "PYTHONPYCACHEPREFIX")  # of the tests' own environment
PATIENCE_S = 90.0  # the slowest machine shows anything within it
LOOK_EVERY_S = 0.01

SPEED = 200.0  # emulated seconds per second
CLIENT_ID = "11111111-2222-3333-4444-555555555555"
CLIENT_SECRET = "Qq7vXn2LrT0sWm5KbE8yJc3HdU6gFa1P"
READER = {"client_id": "reader", "client_secret": "reader-secret", "permissions": ["read-only assets"]}

# An import of a hundred rows takes a few milliseconds, a token lives for an hour of the tests' own time.
EMULATOR: Mapping[str, Any] = {
    "client_id": CLIENT_ID,
    "client_secret": CLIENT_SECRET,
    "other_clients": [READER],
    "speed": SPEED,
    "rows_per_second": 1_000.0,
    "start_delay_ms_min": 0,
    "start_delay_ms_max": 1_000,
    "token_life_ms": int(3_600_000 * SPEED),
    "calls_per_day": 1_000_000,
    **HOLDINGS,
}

# The proportions of real settings, for a Marketo that is faster.
SETTINGS: Mapping[str, str] = {
    "ORCHESTRATOR_LIMITS__BODY_BYTES_MAX": "4000",
    "ORCHESTRATOR_LIMITS__WINDOW_SECONDS": "0.2",
    "ORCHESTRATOR_SCHEDULE__SLOW_START": "false",  # it has tests of its own
    "ORCHESTRATOR_POLLING__INTERVAL_SECONDS_MIN": "0.03",
    "ORCHESTRATOR_POLLING__INTERVAL_SECONDS_MAX": "0.15",
    "ORCHESTRATOR_BACKOFF__SECONDS_MIN": "0.03",
    "ORCHESTRATOR_BACKOFF__SECONDS_MAX": "0.3",
    "ORCHESTRATOR_UNKNOWN__SETTLE_SECONDS": "0.03",
    "ORCHESTRATOR_UNKNOWN__HOLD_SECONDS_MIN": "0.3",
    "ORCHESTRATOR_HTTP__TIMEOUT_SECONDS": "5",
    "ORCHESTRATOR_HTTP__IDLE_SECONDS": "5",
}

# What no user may ever see, and what asyncio and Python say when something was left lying about.
NEVER_SAID = ("Traceback (most recent call last)", "was never retrieved", "was never awaited", "ResourceWarning")

T = TypeVar("T")


def until(what: str, look: Callable[[], T | None], shown: Callable[[], object] = lambda: "") -> T:
    """Look until there is something to be seen; fail with what is `shown` if that takes too long."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"not seen within {PATIENCE_S:g} s: {what}\n{shown()}"
        time.sleep(LOOK_EVERY_S)


# --- the emulator ----------------------------------------------------------------------------------------


class Emulator:
    """A local Marketo in a process of its own, asked and told through `/_emulator/`."""

    def __init__(self, url: str, client_secret: str) -> None:
        self.url = url
        self.client_secret = client_secret
        self._http = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(self, path: str, value: object = None, *, method: str | None = None) -> Any:
        data = None if value is None else json.dumps(value).encode()
        request = urllib.request.Request(f"{self.url}/_emulator/{path}", data=data, method=method)
        with self._http.open(request, timeout=PATIENCE_S) as answer:
            body = answer.read()
        if path.startswith("records/"):
            return [json.loads(line) for line in body.splitlines()]
        return json.loads(body)

    def records(self, store: str) -> list[dict[str, Any]]:
        """Return all records of a store, oldest first."""
        found: list[dict[str, Any]] = self.ask(f"records/{store}")
        return found

    def result_file(self, batch: Mapping[str, Any], kind: str) -> str | None:
        """Return the `failures` or `warnings` of a batch as Marketo's API gives them to anybody who asks."""
        path = {
            "Leads": "leads/batch/{id}",
            "CustomObjects": "customobjects/{api_name}/import/{id}",
            "ProgramMembers": "program/members/import/{id}",
        }[batch["object"]].format(id=batch["batch_id"], **batch["target"])
        who = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": self.client_secret}
        with self._http.open(f"{self.url}/identity/oauth/token?{urlencode(who)}", timeout=PATIENCE_S) as answer:
            token = json.loads(answer.read())["access_token"]
        request = urllib.request.Request(f"{self.url}/bulk/v1/{path}/{kind}.json")
        request.add_header("Authorization", f"Bearer {token}")
        try:
            with self._http.open(request, timeout=PATIENCE_S) as answer:
                return answer.read().decode("utf-8")
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return None

    def add(self, *faults: Mapping[str, Any]) -> None:
        self.ask("faults", list(faults))

    def struck(self) -> list[int]:
        """Return how often each fault struck, in the order they were added."""
        return [rule["struck"] for rule in self.ask("faults")]

    def heal(self) -> None:
        self.ask("faults", method="DELETE")

    def batches(self, job_id: str = "") -> list[dict[str, Any]]:
        """Return the batches of a job, or of everybody but strangers, oldest first."""
        found = [batch for batch in self.ask("batches") if not batch["stranger"]]
        return [batch for batch in found if batch["filename"].startswith(job_id)]

    def unfinished(self) -> list[dict[str, Any]]:
        return [batch for batch in self.batches() if batch["finished_ms"] is None]

    def creates(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("calls")["creates"]
        return found

    def people(self, mark: str) -> list[dict[str, str]]:
        """Return the people whose email holds this mark, oldest first, without cells that say nothing."""
        found = [record["values"] for record in self.ask("records/leads")]
        return [
            {column: cell for column, cell in values.items() if cell}
            for values in found
            if mark in values["email"].casefold()
        ]

    def collisions(self, mark: str) -> list[dict[str, Any]]:
        return [one for one in self.ask("duplicates") if mark in one["key"]]

    def finish(self) -> None:
        """Let everything that is queued come to its end at once."""
        while (state := self.ask("state"))["unfinished"]:
            self.ask("skip", {"ms": max(1, state["next_step_ms"] - state["now_ms"])})


@contextmanager
def emulator(directory: Path, **settings: Any) -> Iterator[Emulator]:
    """Run an emulator; it ends with its standard input, so it cannot outlive the tests."""
    values = {**EMULATOR, **settings}
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "emulator.json").write_text(json.dumps(values), encoding="utf-8")
    arguments = ["emulator", "--port", "0", "--json", "--until-eof", "--file", str(directory / "emulator.json")]
    with (directory / "emulator.err").open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "orchestrator", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=clean_environment(directory),
        )
    with process:
        assert process.stdout is not None
        ready = process.stdout.readline()
        assert ready, (directory / "emulator.err").read_text()
        yield Emulator(json.loads(ready)["url"], values["client_secret"])
        process.communicate(b"", timeout=PATIENCE_S)
    assert process.returncode == 0
    assert "Traceback" not in (directory / "emulator.err").read_text()


# --- the command -----------------------------------------------------------------------------------------


def clean_environment(home: Path) -> dict[str, str]:
    """Return an environment in which nothing of the developer's own counts."""
    kept = {name: value for name, value in os.environ.items() if name in KEPT or name.startswith("COVERAGE_")}
    return {**kept, "HOME": str(home), "PYTHONWARNINGS": "default"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a run of the command ended."""

    code: int
    out: str
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        """Standard output of `import --json`, line by line."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def summary(self) -> dict[str, Any]:
        """The last line of `import --json`."""
        last = self.events[-1]
        assert last["event"] == "job.summary"
        found: dict[str, Any] = last["summary"]
        return found

    def named(self, event: str) -> list[dict[str, Any]]:
        return [one for one in self.events if one["event"] == event]


class Command:
    """A run of the command that goes on; leaving it kills what is left of it."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        files: Path,
        stdin: Path,
        program: Sequence[str],
    ) -> None:
        files.mkdir()
        self._out, self._err = files / "out", files / "err"
        with self._out.open("wb") as out, self._err.open("wb") as err, stdin.open("rb") as given:
            self.process = subprocess.Popen(
                [sys.executable, *program, *arguments],
                stdin=given,
                stdout=out,
                stderr=err,
                cwd=cwd,
                env=env,
                start_new_session=True,  # a signal meant for the command must not reach the tests
            )

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *failure: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    @property
    def err(self) -> str:
        return self._err.read_text(encoding="utf-8")

    @property
    def events(self) -> list[dict[str, Any]]:
        """The whole lines of standard output, as `--json` writes them."""
        return [json.loads(line) for line in self._out.read_bytes().split(b"\n")[:-1]]

    def see(self, event: str, times: int = 1) -> list[dict[str, Any]]:
        """Wait until an event was told this often; return all of that name."""

        def look() -> list[dict[str, Any]] | None:
            found = [one for one in self.events if one["event"] == event]
            self._going_on(len(found) >= times, event)
            return found if len(found) >= times else None

        return until(f"{times} x {event}", look, self.shown)

    def read(self, text: str) -> None:
        """Wait until standard error holds this text."""

        def look() -> bool:
            found = text in self.err
            self._going_on(found, text)
            return found

        until(text, look, self.shown)

    def _going_on(self, found: bool, what: str) -> None:
        over = self.process.poll() is not None
        assert found or not over or what in self.err + self._out.read_text(), f"ended without {what}\n{self.shown()}"

    def shown(self) -> str:
        return f"{self._out.read_text()}\n{self.err}"

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it as a crash of the machine would."""
        self.process.kill()
        assert self.process.wait(PATIENCE_S) == -signal.SIGKILL, self.shown()

    def end(self) -> Ended:
        """Wait for its end."""
        try:
            code = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"did not end\n{self.shown()}") from None
        ended = Ended(code=code, out=self._out.read_text(encoding="utf-8"), err=self.err)
        for words in NEVER_SAID:
            assert words not in ended.err, self.shown()
        return ended


@dataclass(slots=True, kw_only=True)
class Place:
    """A directory that somebody works in, with the settings for one Marketo in the environment."""

    directory: Path
    marketo: Emulator
    env: dict[str, str]
    runs: int = 0
    files: Path = field(init=False)

    def __post_init__(self) -> None:
        self.files = self.directory.with_name(f"{self.directory.name}-output")
        self.files.mkdir()

    @property
    def state(self) -> Path:
        return self.directory / "state"

    def start(
        self,
        *arguments: str,
        env: Mapping[str, str | None] | None = None,
        stdin: Path = Path(os.devnull),
        program: Sequence[str] = ("-m", "orchestrator"),
    ) -> Command:
        """Start the command; `env` changes the environment, None removes a variable."""
        self.runs += 1
        changed = {name: value for name, value in {**self.env, **(env or {})}.items() if value is not None}
        files = self.files / str(self.runs)
        return Command(arguments, cwd=self.directory, env=changed, files=files, stdin=stdin, program=program)

    def run(
        self, *arguments: str, env: Mapping[str, str | None] | None = None, stdin: Path = Path(os.devnull)
    ) -> Ended:
        with self.start(*arguments, env=env, stdin=stdin) as command:
            return command.end()

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.directory / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def chunks(self) -> list[dict[str, Any]]:
        """Return the chunks of the latest job, as `status` tells them."""
        found: list[dict[str, Any]] = json.loads(self.run("status", "--json").out)["chunks"]
        return found


def place(directory: Path, marketo: Emulator, **settings: str) -> Place:
    """Make a directory to work in."""
    directory.mkdir()
    env = {
        **clean_environment(directory),
        **SETTINGS,
        "ORCHESTRATOR_STATE__DIR": str(directory / "state"),
        "MARKETO_REST_URL": marketo.url,
        "MARKETO_CLIENT_ID": CLIENT_ID,
        "MARKETO_CLIENT_SECRET": marketo.client_secret,
        **settings,
    }
    return Place(directory=directory, marketo=marketo, env=env)
