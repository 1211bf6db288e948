"""``describe``, ``usage`` and ``doctor``: they ask Marketo and this machine, and change nothing."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from random import SystemRandom
from typing import Any

from orchestrator.app import Orchestrator
from orchestrator.cli.common import Common
from orchestrator.cli.console import Console
from orchestrator.cli.endings import tell_code
from orchestrator.cli.flags import custom_object
from orchestrator.cli.session import execute, exit_code_of, read_settings
from orchestrator.cli.words import day_end_words, number, percent, plural, printable, table
from orchestrator.clock import SystemClock
from orchestrator.config import DEFAULT_FILE, Settings
from orchestrator.doctor import Check, Mark, examine, failed, ok, warn
from orchestrator.errors import ConfigError
from orchestrator.marketo.reads import Field, Schema
from orchestrator.model import ExitCode, Leads, ProgramMembers, Target
from orchestrator.preflight import lookup_fields
from orchestrator.report.ending import worst
from orchestrator.report.summary import iso

_STYLES = {Mark.OK: "good", Mark.WARN: "warn", Mark.FAIL: "bad"}


# --- describe --------------------------------------------------------------------------------------------


def show_fields(common: Common, target: str) -> ExitCode:
    """List the fields of a target."""

    async def body(console: Console) -> ExitCode:
        settings = read_settings(common)
        described = described_target(target)
        async with Orchestrator.open(settings, subscription=common.subscription) as orchestrator:
            schema = await orchestrator.describe(described)
        roles = _roles(described, schema)
        if console.json:
            console.document({"target": target, "fields": [_plain(field, roles) for field in schema.fields]})
            return ExitCode.OK
        header = ("NAME", "DISPLAY NAME", "TYPE", "LENGTH", "UPDATEABLE", "KEY")
        for line in table([header, *(_line(field, roles) for field in schema.fields)], right=(3,)):
            console.data(line)
        console.say(f"\n{plural(len(schema.fields), 'field')}; the header of a file has the names of the first column.")
        return ExitCode.OK

    return execute(common, body)


def described_target(text: str) -> Target:
    """Return the target whose fields are meant; ConfigError says what may be."""
    if text == "leads":
        return Leads()
    if text == "program-members":
        return ProgramMembers(program_id=1, member_status="")  # all programs have the same fields
    return custom_object(text, f"describe {text}")


def _roles(target: Target, schema: Schema) -> dict[str, str]:
    """Say of fields what they are to an import."""
    roles = {each.field: f"link to {each.related}" for each in schema.relationships}
    if isinstance(target, Leads):
        roles |= dict.fromkeys(lookup_fields(schema), "--lookup-field")
    return roles | dict.fromkeys(schema.dedupe_fields, "key")


def _line(field: Field, roles: dict[str, str]) -> tuple[str, ...]:
    return (
        printable(field.name),
        printable(field.display_name),
        field.data_type,
        "-" if field.length is None else number(field.length),
        "yes" if field.updateable else "no",
        roles.get(field.name, ""),
    )


def _plain(field: Field, roles: dict[str, str]) -> dict[str, Any]:
    role = roles.get(field.name, "")
    return {
        "name": field.name,
        "display_name": field.display_name,
        "type": field.data_type,
        "length": field.length,
        "updateable": field.updateable,
        "key": role == "key",
        "lookup": role == "--lookup-field" or (role == "key" and "--lookup-field" in roles.values()),
    }


# --- usage -----------------------------------------------------------------------------------------------


def show_usage(common: Common) -> ExitCode:
    """Show today's API calls."""

    async def body(console: Console) -> ExitCode:
        settings = read_settings(common)
        limits = settings.subscription(common.subscription).limits
        per_day = limits.calls_per_day
        async with Orchestrator.open(settings, subscription=common.subscription) as orchestrator:
            found = await orchestrator.usage()
            known = await orchestrator.calls_today()
            end = orchestrator.end_of(known)
        others = max(0, found.total - known.own)
        left = max(0, per_day - max(limits.calls_reserved, known.others) - known.own)
        users = sorted(found.users, key=lambda user: (-user[1], user[0]))
        if console.json:
            by_user = [{"user": name, "calls": calls} for name, calls in users]
            console.document(
                {
                    "date": found.date,
                    "total": found.total,
                    "calls_per_day": per_day,
                    "own": known.own,
                    "others": others,
                    "left": left,
                    "calls": {"exhausted_at": iso(None if end is None else end.exhausted_ms)},
                    "users": by_user,
                }
            )
            return ExitCode.OK
        console.data(
            f"{plural(found.total, 'API call')} today ({found.date or 'no date told'}), "
            f"{percent(found.total, per_day)} of {number(per_day)}"
        )
        console.data(
            f"  {number(known.own)} by imports from this journal, {number(others)} by everything else; "
            f"{number(left)} left for imports"
        )
        if end is not None:
            console.data(f"  {day_end_words(end, SystemClock().wall_ms())}")
        lines = [("USER", "CALLS"), *((printable(name), number(calls)) for name, calls in users)]
        for line in table(lines, right=(1,)) if users else []:
            console.data(line)
        console.say("\nMarketo counts from midnight in US Central Time, and some minutes late.")
        return ExitCode.OK

    return execute(common, body)


# --- doctor ----------------------------------------------------------------------------------------------


def show_doctor(common: Common) -> ExitCode:
    """Look at everything that an import needs."""

    async def body(console: Console) -> ExitCode:
        found: list[Check] = []
        async for check in _checks(common):
            found.append(check)
            if not console.json:
                _tell(console, check)
        code = worst(exit_code_of(check.error) for check in found if check.error is not None)
        if console.json:
            console.document({"checks": [_plain_check(check) for check in found], "exit_code": int(code)})
        console.say()
        tell_code(console, code, meaning=_meaning(found))
        return code

    return execute(common, body)


async def _checks(common: Common) -> AsyncIterator[Check]:
    try:
        settings = read_settings(common)
    except ConfigError as error:
        yield failed("settings", error)
        return
    yield _settings_read(common, settings)
    async for check in examine(settings, common.subscription, clock=SystemClock(), rng=SystemRandom()):
        yield check


def _settings_read(common: Common, settings: Settings) -> Check:
    """Say where settings were found, and how many subscriptions they have."""
    place = common.config or os.environ.get("ORCHESTRATOR_CONFIG")
    if place is None:
        there = Path(DEFAULT_FILE).exists()
        place = f"{DEFAULT_FILE} and the environment" if there else f"the environment (no {DEFAULT_FILE} here)"
    message = f"{place}: {plural(len(settings.subscriptions), 'subscription')}"
    if not settings.subscriptions:
        return warn("settings", message, "orchestrator init asks for what is needed and writes it down")
    return ok("settings", message)


def _tell(console: Console, check: Check) -> None:
    """Write one line, and what to do about it on another one."""
    console.data(f"  {check.name:<16}  {check.message}", mark=f"{check.mark:<4}", style=_STYLES[check.mark])
    if check.advice:
        console.data(f"{'':<24}-> {check.advice}")


def _plain_check(check: Check) -> dict[str, str]:
    return {"name": check.name, "mark": str(check.mark), "message": check.message, "advice": check.advice}


def _meaning(found: Sequence[Check]) -> str:
    wrong, odd = (sum(check.mark is mark for check in found) for mark in (Mark.FAIL, Mark.WARN))
    if wrong:
        told = f"{plural(wrong, 'thing')} to be mended before an import can work"
    else:
        told = "nothing keeps an import from working" if odd else "nothing is wrong"
    return f"{told}; {plural(odd, 'warning')}" if odd else told
