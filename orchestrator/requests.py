"""What callers ask for, and where it goes."""

from __future__ import annotations

import codecs
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.errors import ConfigError
from orchestrator.mapping import parse
from orchestrator.model import (
    Format,
    IfKnown,
    JobOptions,
    Leads,
    MappingFile,
    OnUnknown,
    Priority,
    RepeatedKeys,
    Share,
    Target,
)

FAILED_MAX = Share(percent=50)  # unless the user allows more or less: a wrong file should not go in whole


_ENCODINGS_OF_NO_FILE = ("idna", "punycode", "unicode-escape", "raw-unicode-escape", "utf-7", "charmap")


def encoding_named(text: str) -> str:
    """Return Python's name for an encoding, the same for all names of it; ConfigError if it is none of files."""
    try:
        name = codecs.lookup(text.strip().replace(" ", "-")).name
        codecs.getincrementaldecoder(name)
        bytes(4).decode(name)  # zeros are text in every encoding of texts, and a LookupError in all others
        if name not in _ENCODINGS_OF_NO_FILE:
            return "utf-8" if name == "utf-8-sig" else name
    except (LookupError, ValueError):
        pass
    raise ConfigError(
        f"encoding {text[:50]!r}: there is none such; utf-8, utf-16, cp1252, latin-1, shift_jis and euc_jp are some"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRequest:
    """What to import, into what, and how."""

    sources: Sequence[str | os.PathLike[str]]
    target: Target = field(default_factory=Leads)
    format: Format | None = None  # None: detected
    encoding: str | None = None  # of all sources, by any name that Python knows; None: detected
    mapping: MappingFile | None = None  # what is done to the columns; see `read_mapping`
    name: str | None = None
    on_repeated_key: RepeatedKeys = RepeatedKeys.ORDER
    on_unknown: OnUnknown = OnUnknown.PROBE
    labels: Mapping[str, str] = field(default_factory=dict)  # for people and programs; they stand in the summary
    check: bool = True  # compare target and headers with what Marketo says of them
    strict: bool = False  # a warning about a source is an error
    allow_empty: bool = False  # a source without records is no error
    rows_min: int = 0  # fewer rows in all sources together are an error
    failed_accepted: Share | None = None  # that many failed rows are a success
    failed_max: Share | None = FAILED_MAX  # more failed rows pause the job; None: however many fail
    canary_rows: int = 0  # that many are sent first; only if not too many of them fail, the others are
    canary_asks: bool = False  # the job pauses behind them, for a person to look, and is resumed by name
    key: str | None = None  # two imports with the same key into one subscription are one job
    if_known: IfKnown | None = None  # this content was given before; None: `RESUME`, and with a key `AGAIN`
    waits_for_quota: bool = True  # False: stop, with exit code 8, when the day's API calls are used up
    detach: bool = False  # drive nothing here; whoever drives the subscription sends it, though nobody waits for it
    priority: Priority = Priority.NORMAL  # before which other jobs of the subscription it goes
    after: str | None = None  # the id of a job, or how it alone begins: nothing is sent before that one has ended
    flags: str = ""  # which the next command in the report needs, as they are typed, a space before them
    out_dir: str | os.PathLike[str] | None = None  # of the report; None: a directory named like the job, here

    def __post_init__(self) -> None:
        """Refuse names that cannot be written down, for they come from bytes that are no UTF-8, and what is wrong.

        Raises:
            ConfigError: the job's name, its key or a label is one, or the key is empty; the encoding does not exist, or the mapping is wrong.

        """
        if self.key == "":
            raise ConfigError(
                "the job's key is empty, as that of every other job would be; give it one, or none (--key)"
            )
        if self.mapping is not None:
            parse(self.mapping)
        for text in (self.name or "", self.key or "", *self.labels, *self.labels.values()):
            try:
                text.encode()
            except UnicodeEncodeError:
                raise ConfigError("the job's name, key, or a label, is not valid UTF-8; give it another one") from None
        if self.encoding is not None:
            encoding_named(self.encoding)

    def options(self) -> JobOptions:
        """Return what the job keeps of it in the journal."""
        return JobOptions(
            format=self.format,
            encoding=None if self.encoding is None else encoding_named(self.encoding),
            mapping=self.mapping,
            on_repeated_key=self.on_repeated_key,
            on_unknown=self.on_unknown,
            check=self.check,
            strict=self.strict,
            allow_empty=self.allow_empty,
            rows_min=self.rows_min,
            failed_accepted=None if self.failed_accepted is None else str(self.failed_accepted),
            failed_max=None if self.failed_max is None else str(self.failed_max),
            canary_rows=self.canary_rows,
            canary_asks=self.canary_asks,
            waits_for_quota=self.waits_for_quota,
            detached=self.detach,
            priority=self.priority,
            flags=self.flags,
            if_known=self.if_known or (IfKnown.RESUME if self.key is None else IfKnown.AGAIN),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where rows are written to."""

    subscription: str
    host: str
    api_user: str
    emulator: bool
