"""The way to Marketo: one client of one subscription, made and authenticated when it is first needed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from random import Random
from typing import TYPE_CHECKING, TypeVar

import anyio
from structlog.typing import FilteringBoundLogger

from orchestrator import tables
from orchestrator.clock import Clock
from orchestrator.config import Settings
from orchestrator.desk import CallCounts
from orchestrator.errors import ConcurrencyLimited, MalformedResponse, NotDelivered, RateLimited, Unavailable
from orchestrator.marketo import wire
from orchestrator.marketo.codes import PERMANENT_FAULTS
from orchestrator.requests import Destination
from orchestrator.schedule.waits import Backoff
from orchestrator.wiring import client_options

if TYPE_CHECKING:
    import aiohttp

    from orchestrator.marketo.client import Client

T = TypeVar("T")

FIRST_CONTACT_MS = 30_000  # a host that was never reached is more often misspelt or closed than busy


class Connection:
    """Makes the client of a subscription, once."""

    def __init__(
        self,
        settings: Settings,
        subscription: str | None,
        *,
        clock: Clock,
        rng: Random,
        calls: CallCounts,
        session: aiohttp.ClientSession | None,
        stack: AsyncExitStack,
        log: FilteringBoundLogger,
    ) -> None:
        """Connect nothing yet.  ``subscription`` None means the only one; ``stack`` closes the client."""
        self._settings = settings
        self._subscription = subscription
        self._clock = clock
        self._rng = rng
        self._calls = calls
        self._session = session
        self._stack = stack
        self._log = log
        self._lock = asyncio.Lock()
        self._made: tuple[Client, Destination] | None = None

    def limits(self) -> tables.Limits:
        """Return the limits of the subscription; the general ones if none is configured."""
        if not self._settings.subscriptions:
            return self._settings.limits
        return self._settings.subscription(self._subscription).limits

    async def client(self) -> Client:
        """Return the client; raises what `destination` raises."""
        return (await self._make())[0]

    async def destination(self) -> Destination:
        """Return where the client leads.

        Raises:
            ConfigError: no subscription is configured, or several and none is named.
            AccessDenied: Marketo refuses the credentials.
            NotDelivered: the host cannot be reached.

        """
        return (await self._make())[1]

    async def _make(self) -> tuple[Client, Destination]:
        async with self._lock:
            if self._made is None:
                from orchestrator.marketo.client import Client

                chosen = self._settings.subscription(self._subscription)
                client = Client(
                    client_options(self._settings, chosen),
                    now_ms=self._clock.now_ms,
                    rng=self._rng,
                    session=self._session,
                    on_call=self._calls.count,
                )
                async with AsyncExitStack() as unless_good:
                    await unless_good.enter_async_context(client)
                    identity = await self.patiently(client.authenticate)
                    self._stack.push_async_exit(unless_good.pop_all())
                destination = Destination(
                    subscription=chosen.name,
                    host=wire.host_of(wire.normalise_rest_url(chosen.address)),
                    api_user=identity.api_user,
                    emulator=identity.emulator,
                )
                self._made = client, destination
        return self._made

    async def patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call before the first upload, again and again for a while if what is in its way may pass.

        Raises what the call raises, in the end.
        """
        backoff = self._settings.backoff
        waits = Backoff(round(1000 * backoff.seconds_min), round(1000 * backoff.seconds_max), self._rng)
        patience_ms = min(FIRST_CONTACT_MS, round(1000 * backoff.give_up_seconds))
        deadline_ms = self._clock.now_ms() + patience_ms
        while True:
            try:
                return await call()
            except (NotDelivered, Unavailable, RateLimited, ConcurrencyLimited, MalformedResponse) as error:
                wait_ms = waits.next_ms()
                if error.code in PERMANENT_FAULTS or self._clock.now_ms() + wait_ms > deadline_ms:
                    raise
                self._log.warning("marketo.unreachable", error=str(error), next_try_ms=wait_ms)
            await anyio.sleep(wait_ms / 1000)
