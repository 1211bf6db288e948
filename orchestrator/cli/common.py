"""What every command takes, and the decorator that gives it to them.

Nothing here imports anything heavy: the whole command line is built for every ``--help``, and a command's body
is imported when it runs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """How a command talks."""

    json: bool = False
    quiet: bool = False
    verbose: bool = False
    no_color: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Common(Output):
    """How a command talks, and which settings it uses."""

    config: Path | None = None
    journal: str | None = None
    subscription: str | None = None
    set: tuple[str, ...] = ()


_OPTIONS: dict[str, tuple[object, Any]] = {
    "config": (
        Annotated[
            Path | None,
            typer.Option(help="Settings file; else $ORCHESTRATOR_CONFIG, else ./orchestrator.toml.", metavar="FILE"),
        ],
        None,
    ),
    "journal": (
        Annotated[str | None, typer.Option(help="Journal, for example sqlite:////var/lib/j.db.", metavar="URL")],
        None,
    ),
    "subscription": (
        Annotated[str | None, typer.Option(help="Which subscription of the settings file.", metavar="NAME")],
        None,
    ),
    "set": (
        Annotated[
            list[str] | None,
            typer.Option("--set", help="One setting, for example limits.slots=5; repeatable.", metavar="KEY=VALUE"),
        ],
        None,
    ),
    "json": (Annotated[bool, typer.Option("--json", help="JSON on standard output.")], False),
    "quiet": (Annotated[bool, typer.Option("--quiet", "-q", help="Only errors and the end.")], False),
    "verbose": (Annotated[bool, typer.Option("--verbose", "-v", help="Log everything on standard error.")], False),
    "no_color": (Annotated[bool, typer.Option("--no-color", help="No colors; so does $NO_COLOR.")], False),
}


def takes(kind: type[Output]) -> Callable[[Callable[..., int]], Callable[..., None]]:
    """Add the options of ``kind`` to a command whose first parameter takes them together.

    The command returns its exit code.
    """

    def decorate(command: Callable[..., int]) -> Callable[..., None]:
        hints = get_type_hints(command, include_extras=True)
        own = list(inspect.signature(command).parameters.values())[1:]
        names = [name for name in _OPTIONS if name in {field.name for field in fields(kind)}]
        added = [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=_OPTIONS[name][1], annotation=_OPTIONS[name][0]
            )
            for name in names
        ]

        def call(**values: Any) -> None:
            common = {name: values.pop(name) for name in names}
            if "set" in common:
                common["set"] = tuple(common["set"] or ())
            raise typer.Exit(int(command(kind(**common), **values)))

        parameters = [
            parameter.replace(annotation=hints[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in own
        ]
        call.__name__ = command.__name__
        call.__doc__ = command.__doc__
        call.__signature__ = inspect.Signature([*parameters, *added])  # type: ignore[attr-defined]  # what Typer reads
        call.__annotations__ = {parameter.name: parameter.annotation for parameter in (*parameters, *added)}
        return call

    return decorate
