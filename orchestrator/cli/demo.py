"""``demo``: a local Marketo, a generated file, an import of it, and its report, all in one directory."""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from pydantic import SecretStr

from orchestrator.cli.common import Output
from orchestrator.cli.console import Console
from orchestrator.cli.importing import run_import
from orchestrator.cli.sample import Sample, write_leads
from orchestrator.cli.session import configure_logging, execute
from orchestrator.cli.words import number, rows, size
from orchestrator.config import Settings, Subscription
from orchestrator.emulator.config import EmulatorConfig
from orchestrator.errors import ConfigError
from orchestrator.model import ExitCode
from orchestrator.requests import ImportRequest
from orchestrator.tables import Backoff, Limits, Polling, State

START_SECONDS_MAX = 30.0  # until the emulator listens
STOP_SECONDS_MAX = 5.0  # until it has ended


def run_demo(output: Output, *, out: Path | None, size_mb: float, row_count: int | None, speed: float) -> ExitCode:
    """Show an import from end to end; the exit code is that of the import."""

    async def body(console: Console) -> ExitCode:
        directory = _directory(out)
        console.say(f"Everything is in {directory}; remove it when you have seen enough.")
        sample = await asyncio.to_thread(
            write_leads, directory / "leads.csv", size_bytes=int(size_mb * 1_000_000), rows=row_count
        )
        _describe(console, sample, speed)
        async with _emulator(directory, speed) as url:
            settings = _settings(directory, url, speed)
            configure_logging(output, settings)
            request = ImportRequest(sources=[sample.path], name="demo", out_dir=directory / "report")
            flags = " " + shlex.join(["--set", f"state.dir={settings.state.dir}"])
            code = await run_import(console, settings, "emulator", request, flags=flags)
            if code is ExitCode.ROWS_FAILED:
                await _explain(console, sample, url, directory / "report")
        return code

    return execute(output, body)


def _directory(out: Path | None) -> Path:
    if out is None:
        return Path(tempfile.mkdtemp(prefix="orchestrator-demo-"))
    try:
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise ConfigError(f"--out {out}: is not empty; name a new directory for the demo")
    except OSError as error:
        raise ConfigError(f"--out {out}: {error.strerror}; name a directory that can be written to") from None
    return out.absolute()


def _describe(console: Console, sample: Sample, speed: float) -> None:
    console.say(
        f"{sample.path.name}: {rows(sample.rows)}, {size(sample.bytes)}: line breaks in quotes, names from many "
        f"languages, {number(sample.without_key + sample.without_number)} rows that fail, "
        f"{number(sample.wrong_email)} that warn, {number(sample.repeated)} that repeat a key."
    )
    console.say(f"The Marketo is a local one, {speed:g} times as fast as the real one.")


async def _explain(console: Console, sample: Sample, url: str, report: Path) -> None:
    """Say why this end is the right one, and that the local Marketo holds what the report says."""
    console.say(
        f"\nThat is as it should be: {rows(sample.without_key)} without an email and {number(sample.without_number)} "
        "with a score that is not a number were\n"
        f"refused, and {number(sample.wrong_email)} with an invalid email were imported with a warning."
    )
    async with aiohttp.ClientSession() as session, session.get(f"{url}/_emulator/state") as answer:
        state = await answer.json()
    accepted = json.loads((report / "summary.json").read_text(encoding="utf-8"))["rows"]["accepted"]
    people = state["records"]["leads"]
    console.say(
        f"The local Marketo holds {number(people)} people and {number(state['collisions'])} duplicates:\n{number(accepted - people)} of the accepted rows repeated a key, and the last row of a key won."
    )


def _settings(directory: Path, url: str, speed: float) -> Settings:
    """Return settings that keep the real proportions at the emulator's speed."""
    real = Settings()
    emulated = EmulatorConfig()
    return Settings(
        limits=Limits(window_seconds=max(0.01, real.limits.window_seconds / speed)),
        polling=Polling(
            interval_seconds_min=max(0.1, real.polling.interval_seconds_min / speed),
            interval_seconds_max=max(0.2, real.polling.interval_seconds_max / speed),
        ),
        backoff=Backoff(
            seconds_min=max(0.05, real.backoff.seconds_min / speed),
            seconds_max=max(0.5, real.backoff.seconds_max / speed),
        ),
        state=State(dir=directory / "state"),
        subscriptions={
            "emulator": Subscription(
                rest_url=url, client_id=emulated.client_id, client_secret=SecretStr(emulated.client_secret)
            )
        },
    )


@asynccontextmanager
async def _emulator(directory: Path, speed: float) -> AsyncIterator[str]:
    """Run an emulator in a process of its own, as a real Marketo is one; yields its address.

    It ends when its standard input closes, so it cannot outlive this process; and it has a session of its own,
    so that Ctrl-C leaves it alive until the upload under way is finished.
    """
    command = ["emulator", "--port", "0", "--speed", str(speed), "--json", "--until-eof"]
    with (directory / "emulator.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "orchestrator",
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_SECONDS_MAX):
            line = await process.stdout.readline()
        if not line:
            raise ConfigError(f"the local Marketo did not start; {directory / 'emulator.log'} says why")
        yield json.loads(line)["url"]
    finally:
        process.stdin.close()
        try:
            async with asyncio.timeout(STOP_SECONDS_MAX):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
