"""Import large files into Adobe Marketo Engage through its Bulk Import API, and know what became of every row."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.app import Orchestrator, Resumed, run
    from orchestrator.clock import Clock, SystemClock
    from orchestrator.config import Settings, Subscription
    from orchestrator.config import load as load_settings
    from orchestrator.control import Stopping
    from orchestrator.errors import OrchestratorError
    from orchestrator.events import Event
    from orchestrator.following import JobHandle, JobStatus
    from orchestrator.forecast import Forecast
    from orchestrator.model import (
        CustomObjects,
        ExitCode,
        Format,
        IfKnown,
        Leads,
        OnUnknown,
        Priority,
        ProgramMembers,
        RepeatedKeys,
    )
    from orchestrator.report.summary import Summary
    from orchestrator.requests import Destination, ImportRequest

# Where each public name lives.  They are imported when they are asked for: a program that only wants the settings,
# or the command's help, should not wait for numpy, aiohttp and SQLAlchemy.
_HOMES = {
    "Clock": "clock",
    "CustomObjects": "model",
    "Destination": "requests",
    "Event": "events",
    "ExitCode": "model",
    "Forecast": "forecast",
    "Format": "model",
    "IfKnown": "model",
    "ImportRequest": "requests",
    "JobHandle": "following",
    "JobStatus": "following",
    "Leads": "model",
    "OnUnknown": "model",
    "Priority": "model",
    "Orchestrator": "app",
    "OrchestratorError": "errors",
    "ProgramMembers": "model",
    "RepeatedKeys": "model",
    "Resumed": "app",
    "Settings": "config",
    "Stopping": "control",
    "Subscription": "config",
    "Summary": "report.summary",
    "SystemClock": "clock",
    "load_settings": "config",
    "run": "app",
}

__all__ = [  # noqa: RUF022  # the order in which a reader meets them
    "Orchestrator",
    "ImportRequest",
    "Leads",
    "CustomObjects",
    "ProgramMembers",
    "Format",
    "RepeatedKeys",
    "IfKnown",
    "OnUnknown",
    "Priority",
    "run",
    "JobHandle",
    "JobStatus",
    "Event",
    "Summary",
    "Forecast",
    "Resumed",
    "Stopping",
    "Destination",
    "ExitCode",
    "Settings",
    "Subscription",
    "load_settings",
    "OrchestratorError",
    "Clock",
    "SystemClock",
]


def __getattr__(name: str) -> Any:
    """Import a public name at its first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_HOMES[name]}")
    return getattr(module, "load" if name == "load_settings" else name)


def __dir__() -> list[str]:
    return sorted(__all__)
