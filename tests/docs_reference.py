"""Writes the reference pages that follow from the code: every command's help, and every setting.

``python -m tests.docs_reference`` writes them; a test checks that the committed ones are what it would write.
"""

from __future__ import annotations

import textwrap
import types
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import typer
from annotated_types import Ge, Le, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from orchestrator.cli.main import app
from orchestrator.config import Settings, Subscription
from orchestrator.marketo.codes import CODES, STATUSES, UNDOCUMENTED, Action
from orchestrator.origins import CREDENTIALS, RESERVED_VARIABLES
from orchestrator.schedule.state import FINAL, STEPS

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
HELP_COLUMNS = 100  # wide enough for most options on one line, narrow enough for a page

COMMANDS_INTRO = """\
# Commands

This page is generated from `--help`; `make docs` writes it anew.
What the exit codes mean is on [its own page](exit-codes.md), what the settings are on [another](settings.md).

Data goes to standard output, everything else to standard error.  `marketo-bulk` is a second name of the same
command, and so is `python -m orchestrator`.
"""

SETTINGS_INTRO = """\
# Settings

This page is generated from the code; `make docs` writes it anew.

Every setting has one name, `table.key`, and can be given in four places.  The first that has it wins:

1. `--set table.key=value` on the command line (`--journal URL` is short for `--set journal.url=URL`);
2. the environment, as `ORCHESTRATOR_<TABLE>__<KEY>` with two underscores;
3. the settings file, in TOML: the one that `--config` names, else `$ORCHESTRATOR_CONFIG`, else
   `./orchestrator.toml`;
4. the default.

[The example file](../../config/orchestrator.example.toml) has all of them with their defaults.  A wrong value or
a name that does not exist is an error that says where it was found.  Paths in a settings file are relative to it.
"""

SUBSCRIPTIONS_INTRO = """\
## `[subscriptions.NAME]`

One table for each Marketo instance, in the settings file only.  A single one need not be chosen; of several,
`--subscription NAME` chooses one.  Without any, the `MARKETO_` variables below describe one, named `default`.
Giving both is an error.  See [several Marketo instances](../how-to/several-instances.md).
"""

# What the machine decides, in words.
DEFAULTS_IN_WORDS = {
    "state.dir": "`~/.local/state/marketo-bulk-orchestrator`; on macOS "
    "`~/Library/Application Support/marketo-bulk-orchestrator`",
    "journal.url": "`journal.db` in `state.dir`",
}


# --- commands ----------------------------------------------------------------------------------------------


def commands() -> dict[str, Any]:
    """Return every command by name, as the command line builds them; those of a group with the group's name before."""
    group: Any = typer.main.get_command(app)
    found = {}
    for name, command in group.commands.items():
        within = getattr(command, "commands", {})
        found |= {f"{name} {each}": one for each, one in within.items()} or {name: command}
    return {name: command for name, command in found.items() if not command.hidden}


def help_of(name: str, command: Any) -> str:
    """Return what ``--help`` prints, at a width of its own."""
    root: Any = typer.main.get_command(app)
    widths = {"terminal_width": HELP_COLUMNS, "max_content_width": HELP_COLUMNS}
    context = root.make_context("orchestrator", [], resilient_parsing=True, **widths)
    if name:
        context = command.make_context(name, [], parent=context, resilient_parsing=True, **widths)
    text: str = command.get_help(context)
    return "\n".join(line.rstrip() for line in text.splitlines())


def commands_page() -> str:
    """Return the page of all commands."""
    parts = [COMMANDS_INTRO, f"```text\n{help_of('', typer.main.get_command(app))}\n```\n"]
    for name, command in commands().items():
        parts.append(f"## {name}\n\n```text\n{help_of(name, command)}\n```\n")
    return "\n".join(parts)


# --- settings ----------------------------------------------------------------------------------------------


def settings_page() -> str:
    """Return the page of all settings."""
    parts = [SETTINGS_INTRO]
    for table, field in Settings.model_fields.items():
        model = field.annotation
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            continue  # the subscriptions, which follow
        parts.append(f"## `[{table}]`\n\n{_first_line(model)}\n\n{_table(table, model)}\n")
    parts.append(f"{SUBSCRIPTIONS_INTRO}\n{_subscription_table()}\n")
    reserved = " and ".join(f"`{name}`" for name in RESERVED_VARIABLES)
    parts.append(f"## Other variables\n\n{reserved} are no settings; no setting will ever have these names.\n")
    return "\n".join(parts)


def settings() -> Iterator[tuple[str, FieldInfo]]:
    """Yield every setting outside of subscriptions by its name."""
    for table, field in Settings.model_fields.items():
        model = field.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            yield from ((f"{table}.{key}", found) for key, found in model.model_fields.items())


def variable(setting: str) -> str:
    """Return the environment variable of a setting."""
    return f"ORCHESTRATOR_{setting.upper().replace('.', '__')}"


def _table(table: str, model: type[BaseModel]) -> str:
    lines = ["| setting | value | default | environment | meaning |", "|---|---|---|---|---|"]
    for key, field in model.model_fields.items():
        name = f"{table}.{key}"
        cells = (f"`{name}`", allowed(field), _default(name, field), f"`{variable(name)}`", field.description or "")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _subscription_table() -> str:
    lines = ["| key | value | default | environment | meaning |", "|---|---|---|---|---|"]
    for key, field in Subscription.model_fields.items():
        if key == "name":
            continue  # the table's own
        own = f"`{CREDENTIALS[key]}`" if key in CREDENTIALS else ""
        kind = "table" if key == "limits" else allowed(field)
        default = "those of `[limits]`" if key == "limits" else _default(key, field)
        lines.append(f"| `{key}` | {kind} | {default} | {own} | {field.description or ''} |")
    return "\n".join(lines)


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]


def allowed(field: FieldInfo) -> str:
    """Say what a setting may be."""
    return _kind(field.annotation, field.metadata)


def _kind(annotation: Any, metadata: Any = ()) -> str:
    """Say what values an annotation allows, constraints included."""
    if hasattr(annotation, "__metadata__"):
        inner = [
            one
            for found in annotation.__metadata__
            for one in (found.metadata if isinstance(found, FieldInfo) else [found])
        ]
        return _kind(annotation.__origin__, [*metadata, *inner])
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        kinds = [_kind(one, metadata) for one in get_args(annotation) if one is not type(None)]
        return " or ".join(kinds)
    if origin is Literal:
        return ", ".join(f"`{one}`" for one in get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return ", ".join(f"`{one.value}`" for one in annotation)
    words = {bool: "`true` or `false`", int: "whole number", float: "number", str: "text", Path: "path"}
    kind = words.get(annotation, "text")
    if annotation in (int, float):
        kind += _range(metadata)
    return kind


def _range(metadata: Any) -> str:
    least = next((one.ge for one in metadata if isinstance(one, Ge)), None)
    most = next((one.le for one in metadata if isinstance(one, Le)), None)
    if least is None and most is None:
        return ""
    return f", {_number(least)} to {_number(most)}"


def _number(value: Any) -> str:
    return "any" if value is None else f"{value:,}".removesuffix(".0")


def _default(name: str, field: FieldInfo) -> str:
    if name in DEFAULTS_IN_WORDS:
        return DEFAULTS_IN_WORDS[name]
    if field.is_required() or any(isinstance(one, MinLen) for one in field.metadata):
        return "required"
    value = field.default
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) and value < 1e6 else f"`{value}`"


# --- writing -----------------------------------------------------------------------------------------------

# --- phases ------------------------------------------------------------------------------------------------

PHASES_INTRO = """\
# The phases of a chunk

This page is generated from the table that the schedule itself goes by; `make docs` writes it anew.

A chunk is a part of a file that fits one upload.  `status --json` tells the phase of each.  From `submitting` to
`submitted`, and while it is `unknown`, it holds one of the ten places in Marketo's queue, and its keys.

A job may end while batches of it are at Marketo, because the user's credentials are refused, for example.  In the
journal they stay `submitted`, and `resume` asks after them.  Until then nobody does, so to the schedule their outcome
is `unknown`: they hold their places and keys until they must have ended.
"""


# Why a chunk comes into this phase, where the same fact may lead into several.
WHEN = {
    ("submitting", "ready"): "no upload of it is in doubt",
    ("submitting", "unknown"): "an earlier upload of it is still in doubt",
    ("submitted", "collecting"): "it is complete",
    ("submitted", "ready"): "it failed as a whole",
    ("ready", "cancelled"): "somebody cancelled it",
    ("unknown", "submitted"): "the batch of this one was found",
}


def _steps() -> Iterator[tuple[str, str, str, str]]:
    """Yield phase, what happens, the phase behind it, and what it means; what changes nothing is left out."""
    for (before, what), steps in STEPS.items():
        meaning = (what.__doc__ or "").split(".")[0].split(";")[0].replace("\n", " ")
        for after in steps:
            if after is not before:
                when = f": {WHEN[before, after]}" if len(steps) > 1 else ""
                yield before, what.__name__, after, " ".join(meaning.split()) + when


def phases_page() -> str:
    """Draw and list the steps from phase to phase."""
    rows = list(_steps())
    drawn = "\n".join(f"    {before} --> {after}: {what}" for before, what, after, _ in rows)
    listed = "\n".join(f"| {before} | {what} | {after} | {meaning} |" for before, what, after, meaning in rows)
    begin, ends = "    [*] --> ready", "\n".join(f"    {phase} --> [*]" for phase in FINAL)
    return (
        f"{PHASES_INTRO}\n```mermaid\nstateDiagram-v2\n{begin}\n{drawn}\n{ends}\n```\n\n"
        f"| from | by | to | meaning |\n|---|---|---|---|\n{listed}\n"
    )


# --- what Marketo answers ----------------------------------------------------------------------------------

ANSWERS_INTRO = """\
# What Marketo answers, and what is done about it

This page is generated from the table that the code itself goes by; `make docs` writes it anew.

It says what is done about an upload that is answered so.  All other calls change nothing at Marketo, so they are made
again after every answer that passes, and after those that leave the outcome open.  If nothing gets through for
`backoff.give_up_seconds`, the job stops with 5 and can be resumed.
"""
GONE = (
    " About a batch it says that Marketo does not know it: believed after seven days, else after ten minutes of asking; "
    "then its rows are `unknown`."
)

FOREIGN = f" Of an upload that was sent whole {Action.DOUBT.value}."


def answers_page() -> str:
    """Return the page of Marketo's codes and HTTP statuses."""
    parts = [ANSWERS_INTRO]
    for title, column, rows in (
        ("Codes in the body of an answer", "code", CODES),
        ("HTTP statuses of answers without such a body", "status", STATUSES),
    ):
        lines = [f"| {column} | Marketo says | what is done |", "|---|---|---|"]
        for code, row in sorted(rows.items(), key=lambda item: (len(item[0]), item[0])):
            done = row.action.value[0].upper() + row.action.value[1:]
            more = f"{GONE if row.gone else ''}{FOREIGN if row.foreign else ''}"
            lines.append(f"| {code} | {row.wording.replace('%s', '…')} | {done}.{more} |")
        parts.append(f"## {title}\n\n" + "\n".join(lines) + "\n")
    other = f"Any other code, and any answer that makes no sense: {UNDOCUMENTED.action.value}."
    parts.append(f"{textwrap.fill(other, 120)}\n")
    return "\n".join(parts)


PAGES = {
    "commands.md": commands_page,
    "marketo-answers.md": answers_page,
    "phases.md": phases_page,
    "settings.md": settings_page,
}


def main() -> None:
    """Write the pages."""
    REFERENCE.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
