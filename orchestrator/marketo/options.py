"""What a client of Marketo needs to know, and what it finds out about itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to reach one subscription."""

    subscription: str  # its name in the settings
    rest_url: str  # a munchkin id will do
    identity_url: str | None = None  # None: on the same host
    client_id: str
    client_secret: Callable[[], str] = field(repr=False)  # asked each time, so that it may be replaced on disk
    timeout_ms: int = 900_000  # one call, all in all
    idle_ms: int = 60_000  # no byte moving
    proxy: str | None = field(default=None, repr=False)  # it may hold a password
    ca_file: str | None = None
    trust_env: bool = True
    insecure: bool = False
    calls_per_window: int = 50
    window_ms: int = 20_000
    concurrent_calls: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who the credentials belong to."""

    api_user: str
    emulator: bool  # it is this project's emulator that answers, no Marketo
    date: str = field(default="", compare=False)  # when identity answered, by its own clock, as HTTP writes it
