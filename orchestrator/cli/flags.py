"""The flags of commands that are about an import, and what the library makes of them.

Nothing heavy is imported here: these flags stand in ``--help``.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.common import parameters
from orchestrator.errors import ConfigError

if TYPE_CHECKING:
    from orchestrator.model import IfKnown, Share, Target
    from orchestrator.requests import ImportRequest

LABELS_MAX = 100  # of one job; they stand in each of its summaries
LABEL_CHARS_MAX = 1_000  # of a name with its value


class FileFormat(StrEnum):
    """What ``--format`` takes."""

    AUTO = "auto"
    CSV = "csv"
    TSV = "tsv"
    SSV = "ssv"


class OnRepeatedKey(StrEnum):
    """What ``--on-repeated-key`` takes."""

    ORDER = "order"
    LAST = "last"
    FAIL = "fail"
    IGNORE = "ignore"


class OnUnknownAnswer(StrEnum):
    """What ``--on-unknown`` takes."""

    PROBE = "probe"
    RESUBMIT = "resubmit"
    HOLD = "hold"


class PriorityFlag(StrEnum):
    """What ``--priority`` takes."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


class IfKnownFlag(StrEnum):
    """What ``--if-known`` takes."""

    RESUME = "resume"
    SKIP = "skip"
    REFUSE = "refuse"
    AGAIN = "again"


Confirm = Annotated[
    str | None,
    typer.Option(
        help="Munchkin id of the subscription that is meant; a protected one needs it.", metavar="MUNCHKIN_ID"
    ),
]


TakeOver = Annotated[
    bool,
    typer.Option(
        "--take-over",
        help="Drive the Marketo instance although another process does, one that hangs for example. That one sends "
        "nothing more.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportFlags:
    """What is to be imported, and how."""

    object: Annotated[str, typer.Option(help="leads, custom:API_NAME or program-members.", metavar="OBJECT")] = "leads"
    lookup_field: Annotated[
        str, typer.Option(help="Leads: the field that finds an existing person.", metavar="FIELD")
    ] = "email"
    list_id: Annotated[
        int | None, typer.Option(help="Leads: also add them to this static list.", min=1, metavar="ID")
    ] = None
    partition: Annotated[str | None, typer.Option(help="Leads: the partition they belong to.", metavar="NAME")] = None
    program_id: Annotated[int | None, typer.Option(help="Program members: the program.", min=1, metavar="ID")] = None
    member_status: Annotated[str | None, typer.Option(help="Program members: their status.", metavar="STATUS")] = None
    format: Annotated[FileFormat, typer.Option(help="How cells are separated.")] = FileFormat.AUTO
    encoding: Annotated[
        str,
        typer.Option(help="How characters are written: auto, utf-8, utf-16, cp1252, shift_jis ...", metavar="NAME"),
    ] = "auto"
    map: Annotated[
        Path | None,
        typer.Option(help="TOML that says how columns are renamed, dropped and converted.", metavar="FILE"),
    ] = None
    on_repeated_key: Annotated[
        OnRepeatedKey,
        typer.Option(
            help="order: all rows are sent, and the last one of a key wins. last: only the last one is sent. "
            "fail: refuse the files, exit 4. ignore: keys are unique; if not, duplicates arise."
        ),
    ] = OnRepeatedKey.ORDER
    on_unknown: Annotated[
        OnUnknownAnswer,
        typer.Option(
            help="An upload whose answer is lost: probe looks for its batch, and if none is certain to be it, does as "
            "resubmit, which sends it again when it can no longer be at work; hold leaves it to you, exit 7.",
        ),
    ] = OnUnknownAnswer.PROBE
    canary: Annotated[
        int | None,
        typer.Option(
            help="Send so many rows first, spread over the files. On a terminal, show what became of them and ask "
            "whether to go on; elsewhere, --max-failed decides.",
            min=1,
            metavar="N",
        ),
    ] = None
    max_failed: Annotated[
        str,
        typer.Option(
            help="Pause, exit 8, when more rows failed than this: a number, or a percentage of the rows that are "
            "through, which counts from 1,000 on. 100% lets all fail.",
            metavar="N|N%",
        ),
    ] = "50%"
    accept_failed: Annotated[
        str | None,
        typer.Option(help="Exit 0, not 3, if no more rows failed than this.", metavar="N|N%"),
    ] = None
    min_rows: Annotated[
        int | None, typer.Option(help="Refuse, exit 4, if there are fewer rows in all files.", min=0, metavar="N")
    ] = None
    strict: Annotated[bool, typer.Option("--strict", help="Refuse, exit 4, files that there is a warning of.")] = False
    allow_empty: Annotated[bool, typer.Option("--allow-empty", help="A file without records is no error.")] = False
    no_check: Annotated[
        bool,
        typer.Option(
            "--no-check",
            help="Do not compare headers, lookup field, list, partition, program and status with what Marketo has.",
        ),
    ] = False
    priority: Annotated[
        PriorityFlag,
        typer.Option(help="Which jobs into the same subscription go first; those of one priority share it evenly."),
    ] = PriorityFlag.NORMAL
    after: Annotated[
        str | None,
        typer.Option(help="Send nothing before this job has ended, complete or cancelled.", metavar="JOB"),
    ] = None
    key: Annotated[
        str | None,
        typer.Option(
            help="Two imports with the same key are one job: the second one goes on with it, or tells how it ended.",
            metavar="TEXT",
        ),
    ] = None
    if_known: Annotated[
        IfKnownFlag | None,
        typer.Option(
            help="What to do with content that was given before for the same target. resume: go on with a job that is "
            "not finished, refuse, exit 4, what is. skip: leave it as it is, exit 0. refuse: exit 4. again: import it "
            "once more.  [default: resume; with --key again]",
            metavar="HOW",
        ),
    ] = None
    force: Annotated[bool, typer.Option("--force", help="The same as --if-known again.")] = False
    name: Annotated[str | None, typer.Option(help="A name for the job.", metavar="TEXT")] = None
    label: Annotated[
        tuple[str, ...], typer.Option("--label", help="A label for the summary; repeatable.", metavar="K=V")
    ] = ()
    out: Annotated[Path | None, typer.Option(help="Directory of the report; default: ./JOB.", metavar="DIR")] = None
    no_wait: Annotated[
        bool,
        typer.Option("--no-wait", help="Stop, exit 8, when the day's API calls are used up, and wait for no new day."),
    ] = False
    detach: Annotated[
        bool, typer.Option("--detach", help="Check, write the job down, and return; says which process will send it.")
    ] = False
    take_over: TakeOver = False
    confirm: Confirm = None

    def request(self, files: Sequence[str]) -> ImportRequest:
        """Return the request that the flags describe; ConfigError names the flag that is wrong."""
        from orchestrator.mapping import read_mapping
        from orchestrator.model import Format, OnUnknown, Priority, RepeatedKeys
        from orchestrator.requests import ImportRequest

        return ImportRequest(
            sources=files,
            target=self.target(),
            format=None if self.format is FileFormat.AUTO else Format(self.format.value),
            encoding=None if self.encoding == "auto" else self.encoding,
            mapping=None if self.map is None else read_mapping(self.map),
            name=self.name,
            labels=labels_of(self.label),
            on_repeated_key=RepeatedKeys(self.on_repeated_key.value),
            on_unknown=OnUnknown(self.on_unknown.value),
            check=not self.no_check,
            strict=self.strict,
            allow_empty=self.allow_empty,
            rows_min=self.min_rows or 0,
            failed_accepted=None if self.accept_failed is None else share_of("--accept-failed", self.accept_failed),
            failed_max=share_of("--max-failed", self.max_failed),
            canary_rows=self.canary or 0,
            priority=Priority(self.priority.value),
            after=self.after,
            key=self.key,
            waits_for_quota=not self.no_wait,
            detach=self.detach,
            if_known=self._if_known(),
            out_dir=self.out,
        )

    def target(self) -> Target:
        """Return the target that the flags describe; ConfigError names the flag that is missing or too much."""
        from orchestrator.model import Leads, ProgramMembers

        leads = {
            "--lookup-field": self.lookup_field != "email",
            "--list-id": self.list_id,
            "--partition": self.partition,
        }
        members = {"--program-id": self.program_id, "--member-status": self.member_status}
        wrong = ({} if self.object == "leads" else leads) | ({} if self.object == "program-members" else members)
        too_much = sorted(flag for flag, value in wrong.items() if value)
        if too_much:
            raise ConfigError(f"{', '.join(too_much)}: not for --object {self.object}")
        if self.object == "leads":
            return Leads(lookup_field=self.lookup_field, list_id=self.list_id, partition=self.partition)
        if self.object == "program-members":
            if self.program_id is None or not self.member_status:
                raise ConfigError("--object program-members: give --program-id and --member-status, too")
            return ProgramMembers(program_id=self.program_id, member_status=self.member_status)
        return custom_object(self.object, f"--object {self.object}")

    def _if_known(self) -> IfKnown | None:
        from orchestrator.model import IfKnown

        if self.force and self.if_known not in (None, IfKnownFlag.AGAIN):
            raise ConfigError(f"--force and --if-known {self.if_known} contradict each other")
        if self.force:
            return IfKnown.AGAIN
        return None if self.if_known is None else IfKnown(self.if_known.value)

    def words(self) -> str:
        """Return these flags as they are given to another command; empty, or with a space before them."""
        texts: list[str] = []
        for parameter in parameters(ImportFlags):
            value = getattr(self, parameter.name)
            flag = f"--{parameter.name.replace('_', '-')}"
            if value is True:
                texts.append(flag)
            elif isinstance(value, tuple):
                texts += [text for each in value for text in (flag, each)]
            elif value != parameter.default:
                texts += [flag, str(value)]
        return f" {shlex.join(texts)}" if texts else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftFlags:
    """What a mapping is drafted for."""

    object: Annotated[str, typer.Option(help="leads, custom:API_NAME or program-members.", metavar="OBJECT")] = "leads"
    lookup_field: Annotated[
        str, typer.Option(help="Leads: the field that finds an existing person.", metavar="FIELD")
    ] = "email"
    format: Annotated[FileFormat, typer.Option(help="How cells are separated.")] = FileFormat.AUTO
    encoding: Annotated[str, typer.Option(help="How characters are written, as for import.", metavar="NAME")] = "auto"
    out: Annotated[
        Path | None, typer.Option(help="Write the mapping to this file; default: standard output.", metavar="FILE")
    ] = None

    def words(self) -> str:
        """Return the flags that the import needs, too, as `ImportFlags.words` does."""
        same = {name: getattr(self, name) for name in ("object", "lookup_field", "format", "encoding")}
        return ImportFlags(**same).words()


def custom_object(text: str, where: str) -> Target:
    """Return the target that ``custom:NAME`` means; ConfigError begins with ``where``."""
    from orchestrator.model import CustomObjects

    kind, _, api_name = text.partition(":")
    if kind != "custom" or not api_name:
        raise ConfigError(f"{where}: must be leads, custom:API_NAME or program-members")
    return CustomObjects(api_name=api_name)


def share_of(flag: str, text: str) -> Share:
    """Return a number or a percentage of rows; ConfigError names the flag."""
    from orchestrator.model import Share

    try:
        return Share.parse(text)
    except ValueError as error:
        raise ConfigError(f"{flag}: {error}") from None


def labels_of(texts: Sequence[str]) -> dict[str, str]:
    """Return labels given as ``NAME=VALUE``; ConfigError shows the wrong one."""
    labels: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or len(text) > LABEL_CHARS_MAX:
            raise ConfigError(f"--label {text[:50]}: write it as NAME=VALUE, of {LABEL_CHARS_MAX:,} characters at most")
        if name.strip() in labels:
            raise ConfigError(f"--label {name.strip()}: is given twice")
        labels[name.strip()] = value.strip()
    if len(labels) > LABELS_MAX:
        raise ConfigError(f"--label: {len(labels)} are too many; at most {LABELS_MAX} can be kept")
    return labels
