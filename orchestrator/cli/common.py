"""What many commands take, and the decorator that gives it to them.

Nothing here imports anything heavy: the whole command line is built for every ``--help``, and a command's body
is imported when it runs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

IS_PROCESS: ContextVar[bool] = ContextVar("is_process", default=False)  # not somebody else's that runs a command, too


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """How a command talks."""

    json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only errors and the end.")] = False
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log everything on standard error.")] = False
    no_color: Annotated[bool, typer.Option("--no-color", help="No colors; so does $NO_COLOR.")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Common(Output):
    """How a command talks, and which settings it uses."""

    config: Annotated[
        Path | None,
        typer.Option(help="Settings file; else $ORCHESTRATOR_CONFIG, else ./orchestrator.toml.", metavar="FILE"),
    ] = None
    journal: Annotated[
        str | None,
        typer.Option(
            help="Journal, for example sqlite:////var/lib/j.db or postgresql+psycopg://db/jobs.", metavar="URL"
        ),
    ] = None
    subscription: Annotated[
        str | None, typer.Option(help="Which subscription of the settings file.", metavar="NAME")
    ] = None
    set: Annotated[
        tuple[str, ...],
        typer.Option("--set", help="One setting, for example limits.slots=5; repeatable.", metavar="KEY=VALUE"),
    ] = ()


@cache  # most commands take the same ones
def parameters(kind: type) -> tuple[inspect.Parameter, ...]:
    """Return the options that a dataclass of them stands for, those of its base classes last."""
    hints = get_type_hints(kind, include_extras=True)
    given = inspect.signature(kind).parameters
    names = [name for each in kind.__mro__ for name in inspect.get_annotations(each)]
    return tuple(_parameter(name, hints[name], given[name].default) for name in names)


def _parameter(name: str, hint: Any, default: Any) -> inspect.Parameter:
    base, *details = get_args(hint)
    if get_origin(base) is tuple:  # what may be repeated; Typer knows lists
        hint, default = Annotated[list[str] | None, *details], None
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)


def takes(*kinds: type) -> Callable[[Callable[..., int]], Callable[..., None]]:
    """Add options to a command: those of each kind, which its first parameters take together.

    The command returns its exit code.
    """

    def decorate(command: Callable[..., int]) -> Callable[..., None]:
        hints = get_type_hints(command, include_extras=True)
        own = [
            parameter.replace(annotation=hints[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in list(inspect.signature(command).parameters.values())[len(kinds) :]
        ]
        added = [parameters(kind) for kind in kinds]

        def call(**values: Any) -> None:
            hints_of = {kind: get_type_hints(kind) for kind in kinds}
            together = []
            for kind, group in zip(kinds, added, strict=True):
                given = {parameter.name: values.pop(parameter.name) for parameter in group}
                together.append(kind(**{name: _plain(value, hints_of[kind][name]) for name, value in given.items()}))
            raise typer.Exit(int(command(*together, **values)))

        every = [*own, *(parameter for group in added for parameter in group)]
        call.__name__ = command.__name__
        call.__doc__ = command.__doc__
        call.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]  # what Typer reads
        call.__annotations__ = {parameter.name: parameter.annotation for parameter in every}
        return call

    return decorate


def _plain(value: Any, hint: Any) -> Any:
    return tuple(value or ()) if get_origin(hint) is tuple else value
