"""Where each setting was found, so that a wrong one can be named by file and line, variable or flag.

A layer is one place settings come from.  It keeps every value with its origin, a phrase that completes
"wrong setting in ...".  ``tomllib`` tells no line numbers, so the line of a key is looked for in the text
afterwards; the value itself always comes from ``tomllib``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Le
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from orchestrator.errors import ConfigError

Key = tuple[str, ...]  # ("limits", "slots")

CONFIG_BYTES_MAX = 1_000_000  # a settings file is a few kilobytes; more is the wrong file
ENVIRONMENT_PREFIX = "ORCHESTRATOR_"
PROBLEMS_SHOWN_MAX = 20  # a screenful; more are the same mistake again
RESERVED_VARIABLES = ("ORCHESTRATOR_CONFIG", "ORCHESTRATOR_SERVER")
DEFAULT_SUBSCRIPTION = "default"  # the name of the subscription that the environment describes

CREDENTIALS = {
    "munchkin_id": "MARKETO_MUNCHKIN_ID",
    "rest_url": "MARKETO_REST_URL",
    "identity_url": "MARKETO_IDENTITY_URL",
    "client_id": "MARKETO_CLIENT_ID",
    "client_secret": "MARKETO_CLIENT_SECRET",
}

_HEADER = re.compile(r"^\s*\[(?P<key>[^\[\]]+)\]\s*(#.*)?$")
_ASSIGNMENT = re.compile(r"""^\s*(?P<key>(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'|\s*\.\s*)+?)\s*=""")
_LONG_QUOTES = ('"""', "'''")


@dataclass(slots=True)
class Layer:
    """The settings of one place: values and tables, each with its origin."""

    values: dict[Key, tuple[Any, str]] = field(default_factory=dict)
    tables: dict[Key, str] = field(default_factory=dict)

    def put(self, key: Key, value: object, origin: str) -> None:
        """Add one value."""
        self.values[key] = (value, origin)

    def origins(self, key: Key) -> tuple[str, ...]:
        """Return where ``key`` was found: itself, else what stands below it, else the table it is."""
        if key in self.values:
            return (self.values[key][1],)
        below = tuple(origin for known, (_, origin) in self.values.items() if known[: len(key)] == key)
        return below or ((self.tables[key],) if key in self.tables else ())

    def nested(self) -> dict[str, Any]:
        """Return the values as tables in tables."""
        root: dict[str, Any] = {}
        for key in self.tables:
            _table(root, key)
        for key, (value, _) in self.values.items():
            _table(root, key[:-1])[key[-1]] = value
        return root


def _table(root: dict[str, Any], key: Key) -> dict[str, Any]:
    for part in key:
        root = root.setdefault(part, {})
    return root


# --- TOML ---------------------------------------------------------------------------------------------


def read_toml(path: Path, *, named_by: str | None = None) -> Layer:
    """Read a settings file.

    ``named_by`` says who named the file (a flag or a variable), for the message when it cannot be read.
    Raises ConfigError naming the file, and the line where it is no TOML.
    """
    where = f"{path} (named by {named_by})" if named_by else str(path)
    try:
        with path.open("rb") as file:
            content = file.read(CONFIG_BYTES_MAX + 1)
    except FileNotFoundError:
        raise ConfigError(f"settings file {where} does not exist; check the path, or leave it away") from None
    except OSError as error:
        raise ConfigError(f"settings file {where} cannot be read: {error.strerror}") from None
    if len(content) > CONFIG_BYTES_MAX:
        raise ConfigError(f"settings file {where} is larger than {CONFIG_BYTES_MAX} bytes; is it the right file?")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"settings file {where}, line {line}: not UTF-8; save it as UTF-8") from None
    try:
        parsed = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"settings file {where} is no valid TOML: {error}") from None
    known_lines = _lines(text)
    layer = Layer()
    for key, value in _walk(parsed, ()):
        found = _line_of(known_lines, key)
        origin = f"{path}, line {found}" if found else str(path)
        if isinstance(value, dict):
            layer.tables[key] = origin
        else:
            layer.put(key, value, origin)
    return layer


def _walk(table: Mapping[str, Any], prefix: Key) -> Iterator[tuple[Key, Any]]:
    for name, value in table.items():
        yield (*prefix, name), value
        if isinstance(value, dict):
            yield from _walk(value, (*prefix, name))


def _lines(text: str) -> dict[Key, int]:
    """Return the line of every table header and assignment; later lines do not replace earlier ones."""
    found: dict[Key, int] = {}
    table: Key = ()
    long_quote: str | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        if long_quote is not None:
            long_quote = None if long_quote in line else long_quote
            continue
        if header := _HEADER.match(line):
            table = _parts(header["key"])
            found.setdefault(table, number)
        elif assignment := _ASSIGNMENT.match(line):
            found.setdefault((*table, *_parts(assignment["key"])), number)
            long_quote = next((quote for quote in _LONG_QUOTES if line.count(quote) % 2), None)
    return found


def _parts(dotted: str) -> Key:
    return tuple(part.strip().strip("\"'") for part in re.findall(r"""\s*(?:"[^"]*"|'[^']*'|[^.\s]+)""", dotted))


def _line_of(lines: Mapping[Key, int], key: Key) -> int | None:
    """Return the line of the key, or of the inline table that holds it."""
    while key:
        if key in lines:
            return lines[key]
        key = key[:-1]
    return None


# --- environment and flags ----------------------------------------------------------------------------


def read_environment(environ: Mapping[str, str]) -> Layer:
    """Read every ``ORCHESTRATOR_<TABLE>__<KEY>`` variable; the reserved ones are no settings."""
    layer = Layer()
    for variable in sorted(environ):
        if variable.startswith(ENVIRONMENT_PREFIX) and variable not in RESERVED_VARIABLES:
            key = tuple(variable.removeprefix(ENVIRONMENT_PREFIX).lower().split("__"))
            layer.put(key, environ[variable], f"environment variable {variable}")
    return layer


def read_assignments(assignments: Sequence[str]) -> Layer:
    """Read ``table.key=value`` texts as ``--set`` takes them; the last one of a key counts."""
    layer = Layer()
    for text in assignments:
        name, equals, value = text.partition("=")
        key = tuple(part.strip() for part in name.split("."))
        if not equals or not all(key):
            shown = f"{name}=..." if equals else repr(name)
            raise ConfigError(f"--set {shown}: write it as table.key=value, for example --set limits.slots=5")
        layer.put(key, value.strip(), f"--set {name.strip()}")
    return layer


def read_flags(flags: Sequence[tuple[str, str, str]]) -> Layer:
    """Read flags that stand for settings: triples of the flag, the setting's name and its value."""
    layer = Layer()
    for flag, name, value in flags:
        layer.put(tuple(name.split(".")), value, flag)
    return layer


def add_credentials(layer: Layer, file: Layer, environ: Mapping[str, str]) -> str | None:
    """Add the subscription that the environment describes to ``layer``; return what is missing of it, if anything.

    A variable that ``client_secret_env`` of the file names belongs to the file.  Raises ConfigError if both the
    environment and the file describe subscriptions.
    """
    borrowed = [value for key, (value, _) in file.values.items() if key[-1] == "client_secret_env"]
    given = {key: name for key, name in CREDENTIALS.items() if environ.get(name) and name not in borrowed}
    if not given:
        return None
    if ("subscriptions",) in file.tables:
        raise ConfigError(
            f"credentials are given twice: by {', '.join(given.values())} in the environment, and by "
            f"{file.tables['subscriptions',]}; unset the variables, or remove the table"
        )
    missing = [CREDENTIALS[key] for key in ("client_id", "client_secret") if key not in given]
    if not given.keys() & {"munchkin_id", "rest_url"}:
        missing.insert(0, "MARKETO_MUNCHKIN_ID (or MARKETO_REST_URL)")
    if missing:
        return f"credentials are incomplete: {', '.join(given.values())} set, missing: {', '.join(missing)}"
    for key, name in given.items():
        layer.put(("subscriptions", DEFAULT_SUBSCRIPTION, key), environ[name].strip(), f"environment variable {name}")
    return None


# --- what is wrong ------------------------------------------------------------------------------------


def check_known(layer: Layer, model: type[BaseModel], *, subscriptions: bool) -> None:
    """Raise ConfigError naming every setting of the layer that does not exist, with the likely one.

    ``subscriptions`` says whether this layer may describe subscriptions.
    """
    problems = []
    for key, origin in [*((key, origin) for key, (_, origin) in layer.values.items()), *layer.tables.items()]:
        name = ".".join(key)
        if key[0] == "subscriptions" and not subscriptions:
            problems.append(
                f"{origin}: subscriptions are described in the settings file, or by MARKETO_MUNCHKIN_ID, "
                "MARKETO_CLIENT_ID and MARKETO_CLIENT_SECRET"
            )
        elif (found := _find(model, key)) is None:
            if not any(key[:end] in layer.tables and _find(model, key[:end]) is None for end in range(1, len(key))):
                problems.append(f"{origin}: there is no setting {name}{_suggestion(model, key)}")
        elif key in layer.values and not isinstance(found, FieldInfo):
            problems.append(f"{origin}: {name} is a table; write [{name}] and its settings below")
    _raise_all(problems)


def _raise_all(problems: Sequence[str]) -> None:
    if problems:
        raise ConfigError("\n".join(problems[:PROBLEMS_SHOWN_MAX]))


def _find(model: type[BaseModel], key: Key) -> FieldInfo | type | None:
    """Return what the key names: a setting, a table, or nothing."""
    found: Any = model
    for part in key:
        if isinstance(found, FieldInfo):
            return None
        if get_origin(found) is dict:
            found = get_args(found)[1]
            continue
        info = found.model_fields.get(part)
        if info is None or info.exclude:
            return None
        is_table = get_origin(info.annotation) is dict or (
            isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel)
        )
        found = info.annotation if is_table else info
    return found  # type: ignore[no-any-return]  # pydantic's annotations are Any


def _suggestion(model: type[BaseModel], key: Key) -> str:
    known = list(_names(model))
    if key[0] == "subscriptions":
        table = _find(model, key[:-1])
        known = [name for name, info in table.model_fields.items() if not info.exclude]  # type: ignore[union-attr]
    name = ".".join(key) if key[0] != "subscriptions" else key[-1]
    elsewhere = [other for other in known if other.split(".")[-1] == key[-1]]
    close = elsewhere[:1] or get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _names(model: type[BaseModel]) -> Iterator[str]:
    for table, info in model.model_fields.items():
        yield table
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from (f"{table}.{key}" for key in info.annotation.model_fields)


def explain(error: ValidationError, layers: Sequence[Layer], model: type[BaseModel]) -> str:
    """Say of every wrong setting where it was found, its value unless it is secret, and what is allowed."""
    problems: dict[Key, str] = {}
    for details in error.errors(include_url=False):
        context = details.get("ctx", {})
        key: Key = context.get("key") or tuple(str(part) for part in details["loc"])
        while key and _find(model, key) is None:
            key = key[:-1]  # pydantic adds which member of a union it tried
        origin, value = _origin(layers, key)
        found = _find(model, key)
        name = ".".join(key)
        if isinstance(found, FieldInfo) and details["type"] == "missing":
            problem = f"{name} is missing; it must be {_allowed(found.annotation, found.metadata)}"
        elif isinstance(found, FieldInfo):
            shown = "" if value is None or _is_secret(found, value) else f" is {value!r}, but"
            problem = f"{name}{shown} must be {_allowed(found.annotation, found.metadata)}"
        else:
            problem = f"{name}: {context.get('error') or details['msg']}"
        problems.setdefault(key, f"{origin}: {problem}")
    return "\n".join(list(problems.values())[:PROBLEMS_SHOWN_MAX])


def _origin(layers: Sequence[Layer], key: Key) -> tuple[str, Any]:
    """Return where the key was found and its value; of a table, every place that says something of it."""
    for layer in layers:
        if key in layer.values:
            return layer.values[key][1], layer.values[key][0]
    while key:
        places = dict.fromkeys(origin for layer in layers for origin in layer.origins(key))
        if places:
            return "; ".join(places), None
        key = key[:-1]
    return "settings", None


def _is_secret(info: FieldInfo, value: object) -> bool:
    return SecretStr in (info.annotation, *get_args(info.annotation)) or "@" in str(value)  # user:password@host


def _allowed(annotation: Any, metadata: Sequence[Any]) -> str:
    """Say in words what a setting may be."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *more = get_args(annotation)
        return _allowed(inner, [*metadata, *(part for extra in more for part in getattr(extra, "metadata", [extra]))])
    if origin in (Union, UnionType):
        return ", or ".join(_allowed(part, metadata) for part in get_args(annotation) if part is not NoneType)
    if origin is Literal:
        return " or ".join(repr(choice) for choice in get_args(annotation))
    if annotation is bool:
        return "true or false"
    if annotation in (int, float):
        kind = "a whole number" if annotation is int else "a number"
        low = next(part.ge for part in metadata if isinstance(part, Ge))
        high = next(part.le for part in metadata if isinstance(part, Le))
        return f"{kind} from {low} to {high:.12g}"
    return "a path" if annotation is Path else "text that is not empty"
