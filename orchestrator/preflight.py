"""What is looked at before anything is sent: the target, the files, their headers, and where the report will go.

Only what would make Marketo refuse a whole upload is an error here, and all of it is found with a handful of calls.
What the API user may not look at is not held against the import: the check is skipped, which is told.
"""

from __future__ import annotations

import glob
import os
import re
import shlex
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, assert_never
from urllib.parse import urlsplit

from orchestrator.errors import AccessDenied, ConfigError, HeaderError, InvalidRequest, MalformedResponse, SourceError
from orchestrator.marketo.reads import LOOKUP_FIELDS, LOOKUP_TYPES, OTHER_STANDARD_FIELDS, Schema
from orchestrator.marketo.wire import MEMBER_KEY
from orchestrator.model import CustomObjects, JobOptions, Leads, ProgramMembers, Target
from orchestrator.source.check import check_header, shown, similar
from orchestrator.source.opened import STDIN, Located, is_url
from orchestrator.source.opening import inspect
from orchestrator.source.split import Plan

if TYPE_CHECKING:
    from orchestrator.marketo.client import Client

NAMES_SHOWN_MAX = 20  # of what there is to choose from; a person reads no more
WARNINGS_SHOWN_MAX = 20  # of all sources, if they refuse them
HEADERS_SHOWN_MAX = 5  # wrong ones, of many files; they are usually wrong in the same way


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of a target."""

    schema: Schema | None  # None: headers are not compared with it
    key_columns: tuple[str, ...]  # whose cells tell which record a row is about
    skipped: tuple[str, ...] = ()  # for people: which checks could not be made, and why


# --- the target ----------------------------------------------------------------------------------------


def unasked(target: Target) -> Known:
    """Return what is known of a target without asking Marketo."""
    match target:
        case Leads():
            return Known(schema=None, key_columns=(target.lookup_field,))
        case CustomObjects():
            why = f"the dedupe fields of {target.api_name} are not known without asking Marketo: keys are not compared"
            return Known(schema=None, key_columns=(), skipped=(why,))
        case ProgramMembers():
            return Known(schema=None, key_columns=(MEMBER_KEY,))
        case _:
            assert_never(target)


async def look_up(client: Client, target: Target, *, check: bool) -> Known:
    """Ask Marketo about a target; without ``check`` only what cannot be done without.

    Raises:
        SourceError: Marketo has no such object, list, partition, program, status or lookup field.
        MarketoError: Marketo cannot be asked.

    """
    match target:
        case CustomObjects():
            schema = await _describe_object(client, target.api_name)
            return Known(schema=schema if check else None, key_columns=schema.dedupe_fields)
        case _ if not check:
            return unasked(target)
        case Leads():
            return await _look_up_leads(client, target)
        case ProgramMembers():
            schema = await client.describe(target)
            what = f"whether program {target.program_id} has the status {shown(target.member_status)}"
            skipped = await _unless_denied(what, "Read-Only Assets", _check_status(client, target))
            return Known(schema=schema, key_columns=(MEMBER_KEY,), skipped=skipped)
        case _:
            assert_never(target)


async def _look_up_leads(client: Client, target: Leads) -> Known:
    schema = await client.describe(target)
    _check_lookup_field(target.lookup_field, schema)
    skipped: tuple[str, ...] = ()
    if target.list_id is not None:
        what = f"whether there is a static list {target.list_id}"
        skipped += await _unless_denied(what, "Read-Only Lead", _check_list(client, target.list_id))
    if target.partition is not None:
        what = f"whether there is a partition {shown(target.partition)}"
        skipped += await _unless_denied(what, "Read-Only Lead", _check_partition(client, target.partition))
    return Known(schema=schema, key_columns=(target.lookup_field,), skipped=skipped)


async def _unless_denied(what: str, permission: str, check: Awaitable[str | None]) -> tuple[str, ...]:
    """Make a check that an import can do without; return why it could not be made, if so."""
    why: str | None
    try:
        why = await check
    except AccessDenied as error:
        why = f"{error} The check needs the permission {permission}; the import does not"
    except (InvalidRequest, MalformedResponse) as error:
        why = str(error)
    return () if why is None else (f"not checked {what}: {why.rstrip('.')}.",)


async def describe(client: Client, target: Target) -> Schema:
    """Return the fields of a target; raises what `look_up` raises."""
    if isinstance(target, CustomObjects):
        return await _describe_object(client, target.api_name)
    return await client.describe(target)


def lookup_fields(schema: Schema) -> tuple[str, ...]:
    """Return the names of the fields by which an import of leads can find people."""
    own = (*LOOKUP_FIELDS, *OTHER_STANDARD_FIELDS)
    added = [each.name for each in schema.fields if each.data_type in LOOKUP_TYPES and each.name not in own]
    return (*LOOKUP_FIELDS, *added)


async def _describe_object(client: Client, api_name: str) -> Schema:
    try:
        return await client.describe(CustomObjects(api_name=api_name))
    except InvalidRequest as refused:
        names = [each.name for each in await client.custom_objects()]
        if api_name in names:
            raise  # it is there, so something else is wrong
        advice = "an object can be imported into once it is approved, and its API name often ends in _c"
        raise SourceError(_absent(f"custom object {shown(api_name)}", api_name, names, advice)) from refused


def _check_lookup_field(name: str, schema: Schema) -> None:
    types = {field.name: field.data_type for field in schema.fields}
    usable = lookup_fields(schema)
    if name in usable:
        return
    advice = f"choose {', '.join(LOOKUP_FIELDS)}, or a custom field of type {_either(LOOKUP_TYPES)}"
    if name in OTHER_STANDARD_FIELDS and name in types:
        raise SourceError(f"Marketo's import finds nobody by its own field {shown(name)}; {advice}.")
    if name in types:
        raise SourceError(f"Marketo's import finds nobody by {shown(name)}, a field of type {types[name]}; {advice}.")
    meant = similar(name, usable)
    question = f" Did you mean {shown(meant)}?" if meant else ""
    raise SourceError(f"Marketo has no lookup field {shown(name)}.{question} Else {advice}.")


def _either(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


async def _check_list(client: Client, list_id: int) -> None:
    if await client.static_list(list_id) is None:
        raise SourceError(
            f"Marketo has no static list {list_id}, or this API user may not see it. The id is the number in the "
            "address of the list in Marketo, between ST and A1; rows cannot be added to smart lists (SL)."
        )


async def _check_partition(client: Client, partition: str) -> None:
    names = await client.partitions()
    if partition not in names:
        advice = "choose another one, or let the API user have it"
        raise SourceError(_absent(f"partition {shown(partition)}", partition, names, advice))


async def _check_status(client: Client, target: ProgramMembers) -> str | None:
    """Refuse a program or a status that is not there; return why that cannot be told, if so."""
    program = await client.program(target.program_id)
    if program is None:
        raise SourceError(
            f"Marketo has no program {target.program_id}, or this API user may not see it. The id is the number in "
            "the address of the program in Marketo, between its letters (PG, ME, NP or EBP) and A1."
        )
    channels = await client.channels(until=program.channel)
    statuses = next((each.statuses for each in channels if each.name == program.channel), ())
    if not statuses:
        return f"the statuses of its channel {shown(program.channel)} cannot be found"
    if target.member_status not in statuses:
        what = f"status {shown(target.member_status)} in program {target.program_id} (channel {shown(program.channel)})"
        raise SourceError(_absent(what, target.member_status, statuses, "choose one of them"))
    return None


def _absent(what: str, name: str, names: Sequence[str], advice: str) -> str:
    """Word that something is not among what there is."""
    meant = similar(name, names)
    listed = ", ".join(map(shown, names[:NAMES_SHOWN_MAX])) or "none that this API user may see"
    more = f" and {len(names) - NAMES_SHOWN_MAX} more" if len(names) > NAMES_SHOWN_MAX else ""
    question = f" Did you mean {shown(meant)}?" if meant else ""
    return f"Marketo has no {what}.{question} There are: {listed}{more}; {advice}."


# --- the sources ---------------------------------------------------------------------------------------


def locate(paths: Sequence[str | os.PathLike[str]], *, allow_empty: bool = False) -> tuple[Located, ...]:
    """Return where each source is; a pattern stands for the files that it matches.

    Raises:
        ConfigError: there are none.
        SourceError: one is not a file that can be read.

    """
    given = [found for path in paths for found in _named(os.fspath(path))]
    if not given:
        raise ConfigError("nothing to import: name at least one file")
    for path in given:
        if not path:
            raise ConfigError("the name of a file is empty; is it a variable that is not set?")
        if not _is_text(path):
            raise SourceError(f"{path!a}: the name of this file is no UTF-8, so no report could name it; rename it")
    names: dict[tuple[int, int], str] = {}
    for path in given:
        if given.count(path) > 1 and (path == STDIN or is_url(path)):
            raise ConfigError(f"{Located.at(path).name} is named more than once; its rows would be imported twice")
    for path in given:
        if path == STDIN or is_url(path):
            continue
        identity = inspect(path, allow_empty=allow_empty)
        file = (identity.device, identity.inode)
        if file in names:
            other = "named more than once" if names[file] == path else f"the same file as {names[file]}"
            raise ConfigError(f"{path} is {other}; its rows would be imported twice")
        names[file] = path
    return tuple(map(Located.at, given))


def _is_text(path: str) -> bool:
    """Tell whether a name can be written to a file; the system allows any bytes."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _named(path: str) -> list[str]:
    """Return the sources that an argument stands for."""
    if path != STDIN and not is_url(path):
        return _matching(path)
    if is_url(path):
        try:
            reachable = urlsplit(path).hostname is not None and urlsplit(path).port != 0
        except ValueError:
            reachable = False
        if not reachable:
            raise ConfigError(f"{path.partition('://')[0]}://...: this address of a source is not one; check it")
    return [path]


def _matching(path: str) -> list[str]:
    """Return the files that a pattern matches, numbers within names in the order of their values."""
    if Path(path).exists() or not glob.has_magic(path):
        return [path]
    found = [each for each in glob.glob(path, recursive=True) if not Path(each).is_dir()]  # noqa: PTH207  # as given
    if not found:
        raise SourceError(f"{path}: no file matches; check the pattern and the directory you are in")
    return sorted(found, key=_natural)


def _natural(path: str) -> tuple[list[tuple[int, str]], str]:
    """Return a key by which ``part-10`` comes behind ``part-9``; equal numbers stand as their digits do."""
    return [(int(digits or 0), text) for digits, text in re.findall(r"(\d+)|(\D+)", path)], path


def check_headers(plans: Sequence[Plan], known: Known, target: Target, options: JobOptions) -> None:
    """Compare the header of every source with what Marketo says of the target, if it was asked.

    Raises:
        HeaderError: a column is unknown, repeated, read-only or missing; all wrong headers are told at once.

    """
    if known.schema is None:
        return
    links = [relationship.field for relationship in known.schema.relationships]  # written by import, whatever is said
    fields: Mapping[str, bool] = {field.name: field.updateable or field.name in links for field in known.schema.fields}
    problems: list[str] = []
    unmapped: str | None = None  # the first source with a column that no field is like
    for each in plans:
        if not each.source.columns:
            continue  # a file without a single byte, which was allowed
        try:
            check_header(each.source, fields=fields, key_columns=known.key_columns)
        except HeaderError as error:
            problems.append(str(error))
            names = (*fields, *known.key_columns)
            if unmapped is None and any(similar(column, names) is None for column in each.source.sent_columns):
                unmapped = each.source.path
    if problems:
        more = len(problems) - HEADERS_SHOWN_MAX
        told = [
            *problems[:HEADERS_SHOWN_MAX],
            *([f"The headers of {more} more file(s) are wrong."] if more > 0 else []),
        ]
        raise HeaderError("\n".join(told), next_command=_next_command(target, options, unmapped))


def _next_command(target: Target, options: JobOptions, unmapped: str | None) -> str:
    """Return what helps with a wrong header: a mapping of it, or the list of the fields there are."""
    kind = "leads" if isinstance(target, Leads) else "program-members"
    if isinstance(target, CustomObjects):
        kind = f"custom:{target.api_name}"
    if unmapped is None or unmapped == STDIN or is_url(unmapped) or options.mapping is not None:
        return shlex.join(["orchestrator", "describe", kind])
    key = target.lookup_field if isinstance(target, Leads) else None
    given = {
        "--object": None if isinstance(target, Leads) else kind,
        "--lookup-field": None if key == Leads().lookup_field else key,
        "--format": options.format,
        "--encoding": options.encoding,
    }
    flags = [word for flag, value in given.items() if value is not None for word in (flag, str(value))]
    return shlex.join(["orchestrator", "map", unmapped, *flags, "--out", "mapping.toml"])


def check_rows(plans: Sequence[Plan], *, rows_min: int) -> None:
    """Refuse sources that have suspiciously few rows together.

    Raises:
        SourceError: they have less than ``rows_min``.

    """
    rows = sum(plan.source.rows for plan in plans)
    if rows < rows_min:
        raise SourceError(f"there are only {rows:,} rows in all, at least {rows_min:,} are expected; nothing was sent")


def check_warnings(warnings: Sequence[str]) -> None:
    """Refuse sources that anything is odd about.

    Raises:
        SourceError: there is a warning; all are told.

    """
    if warnings:
        told = list(warnings[:WARNINGS_SHOWN_MAX])
        if more := len(warnings) - len(told):
            told.append(f"and {more} more")
        heading = "warnings are errors, because of --strict; nothing was sent."
        raise SourceError("\n  - ".join([heading, *told]))
