"""What callers ask for, and where it goes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from orchestrator.model import Format, Leads, RepeatedKeys, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRequest:
    """What to import, into what, and how."""

    sources: Sequence[str | os.PathLike[str]]
    target: Target = field(default_factory=Leads)
    format: Format | None = None  # None: detected
    name: str | None = None
    on_repeated_key: RepeatedKeys = RepeatedKeys.ORDER
    check: bool = True  # compare headers with what Marketo says of the target
    out_dir: str | os.PathLike[str] | None = None  # of the report; None: a directory named like the job, here


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where rows are written to."""

    subscription: str
    host: str
    api_user: str
    emulator: bool
