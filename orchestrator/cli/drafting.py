"""``map``: it drafts a mapping, and sends nothing."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from orchestrator.app import Orchestrator
from orchestrator.cli.asking import described_target
from orchestrator.cli.common import Common
from orchestrator.cli.console import Console
from orchestrator.cli.flags import DraftFlags, FileFormat
from orchestrator.cli.session import execute, read_settings, same_flags
from orchestrator.errors import ConfigError
from orchestrator.model import ExitCode, Format, Leads
from orchestrator.requests import ImportRequest
from orchestrator.source.opened import shown_source


def draft_mapping(common: Common, flags: DraftFlags, files: Sequence[str]) -> ExitCode:
    """Draft a mapping of the files' columns."""

    async def body(console: Console) -> ExitCode:
        settings = read_settings(common)
        target = described_target(flags.object)
        if isinstance(target, Leads):
            target = replace(target, lookup_field=flags.lookup_field)
        format = None if flags.format is FileFormat.AUTO else Format(flags.format.value)
        async with Orchestrator.open(settings, subscription=common.subscription) as orchestrator:
            encoding = None if flags.encoding == "auto" else flags.encoding
            request = ImportRequest(sources=files, target=target, format=format, encoding=encoding, allow_empty=True)
            text = await orchestrator.draft_mapping(request)
        if flags.out is not None:
            _write_new(flags.out, text)
        if console.json:
            console.document({"mapping": text})
        elif flags.out is None:
            for line in text.splitlines():
                console.data(line)
        here = f"{shlex.join(map(shown_source, files))}{flags.words()}"
        where = "mapping.toml" if flags.out is None else shlex.quote(str(flags.out))
        save = f" Save it: orchestrator map {here} --out {where}{same_flags(common)}\n" if flags.out is None else " "
        again = f"orchestrator plan {here} --map {where}{same_flags(common)}"
        console.say(f"\nNothing was sent.{save}Look the mapping over; then: {again}")
        return ExitCode.OK

    return execute(common, body)


def _write_new(path: Path, text: str) -> None:
    """Write a file that is not there yet: a mapping that somebody worked on is not to be lost."""
    try:
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"--out {path}: there is such a file already; choose another name, or remove it") from None
    except OSError as error:
        raise ConfigError(f"--out {path}: it cannot be written: {error.strerror or error}") from error
