"""``emulator``: a local Marketo that runs until it is interrupted."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from orchestrator.cli.common import Output
from orchestrator.cli.console import Console
from orchestrator.cli.session import execute
from orchestrator.emulator.app import Running, start
from orchestrator.emulator.config import EmulatorConfig, read_config
from orchestrator.errors import ConfigError
from orchestrator.model import ExitCode


def run_emulator(
    output: Output,
    *,
    host: str,
    port: int,
    file: Path | None,
    faults: Sequence[str],
    values: Mapping[str, Any],
    until_eof: bool,
) -> ExitCode:
    """Serve an emulated Marketo; ``values`` are settings of it that replace those of the file."""

    async def body(console: Console) -> ExitCode:
        config = read_config(file) if file is not None else EmulatorConfig()
        given = {name: value for name, value in values.items() if value is not None}
        config = replace(config, **given, faults=(*config.faults, *map(_fault, faults)))
        running = await start(config, host=host, port=port)
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        if until_eof:
            loop.add_reader(sys.stdin.fileno(), _stop_at_eof, stop)
        try:
            _announce(console, config, running)
            await stop.wait()
        finally:
            await running.stop()
        return ExitCode.OK

    return execute(output, body)


def _stop_at_eof(stop: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 1024):
        stop.set()


def _fault(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"--fault {text}: is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise ConfigError(f'--fault {text}: write it as {{"on": "create", "nth": 3, "do": "lose_answer_after_accept"}}')
    return value


def _announce(console: Console, config: EmulatorConfig, running: Running) -> None:
    if console.json:
        console.line({"event": "emulator.ready", "url": running.url, "pid": os.getpid(), **_shown(config)})
        return
    console.data(f"A local Marketo listens at {running.url}, {config.speed:g} times as fast as the real one.")
    console.data("In another terminal:")
    console.data(
        f"  export MARKETO_REST_URL={running.url} MARKETO_CLIENT_ID={config.client_id} "
        f"MARKETO_CLIENT_SECRET={config.client_secret}"
    )
    console.data("  orchestrator import leads.csv")
    console.data(f"What it holds: {running.url}/_emulator/state")
    console.data("Stop it with Ctrl-C; it forgets everything.")


def _shown(config: EmulatorConfig) -> dict[str, Any]:
    names = ("munchkin_id", "client_id", "seed", "speed", "rows_per_second")
    values = asdict(config)
    return {name: values[name] for name in names}
