"""Keeps the one access token of a set of credentials.

Marketo's identity service hands out *the same* token until it expires, so asking early renews nothing; all that
helps a refused or dying token is to ask until another one comes.  Three rules follow:

- One caller asks at a time, at most once a second, and everybody who waits takes what that caller got, the failure
  included.
- A refused token that identity stands by is tried once more: Marketo's servers do not learn of a token all at the
  same moment.  If it is refused again, and was never accepted before, the credentials or the address are wrong.
  If it was accepted before, it was revoked or is about to expire: identity is asked until the token differs,
  for as long as the old one could live, and a little longer.
- Each answer of identity has a number, so that twenty calls refused with one token are one refusal, not twenty.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from orchestrator.errors import AccessDenied, OrchestratorError, Unavailable
from orchestrator.marketo.answers import Token

ASK_INTERVAL_MS = 1_000  # between two questions to identity, at least
ASK_INTERVAL_MS_MAX = 15_000  # while the old token still has long to live
GRACE_MS = 5_000  # how much longer than its remaining life an old token may still be handed out
DYING_MS = 60_000  # a token with less to live is not worth a second try
REFUSALS_MAX = 2  # of one token that was never accepted
LIFE_MS_MAX = 1_800_000  # half a full life: to wait for more than that would be to wait for every token's end


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A token as one call uses it."""

    access_token: str = field(repr=False)
    answer: int  # the number of identity's answer it comes from


class TokenStore:
    """The token of one set of credentials, shared by all calls."""

    def __init__(
        self,
        ask: Callable[[], Awaitable[Token]],
        *,
        now_ms: Callable[[], int],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._ask = ask
        self._now_ms = now_ms
        self._sleep = sleep
        self._lock = asyncio.Lock()
        self._token: Token | None = None
        self._expires_ms = 0
        self._asked_ms: int | None = None
        self._answers = 0  # of identity, so far
        self._rounds = 0  # of asking that came to an end, good or bad
        self._failure: OrchestratorError | None = None  # how the last round ended, if badly
        self._accepted = False  # the token in hand was good for a call
        self._refusals = 0  # of the token in hand, since it was last accepted
        self._refused_answer = 0

    @property
    def given(self) -> bool:
        """Whether identity ever gave a token."""
        return self._token is not None

    @property
    def scope(self) -> str:
        """The API user that owns the credentials; empty before the first token."""
        return self._token.scope if self._token else ""

    def remaining_ms(self) -> int:
        """Return how long the token in hand still lives; 0 if there is none."""
        return max(0, self._expires_ms - self._now_ms()) if self._token else 0

    async def lease(self, life_ms: int = 0) -> Lease:
        """Return a token that lives longer than `life_ms`, waiting for the end of the one in hand if it does not.

        A token that is new while one waits has to do, however short its life.
        """
        life_ms = min(life_ms, LIFE_MS_MAX)
        seen, round_seen = self._token, self._rounds
        if seen is None or self.remaining_ms() <= life_ms:
            async with self._lock:
                self._share(round_seen)
                if self._token is None or (self.remaining_ms() <= life_ms and not self._differs(seen)):
                    await self._round(self._await_life(life_ms))
        return self._held()

    async def renew(self, refused: Lease) -> Lease:
        """Return a token to try after `refused` was; raises `AccessDenied` when none can be had."""
        round_seen = self._rounds
        if refused.answer == self._answers:
            async with self._lock:
                self._share(round_seen)
                if refused.answer == self._answers:
                    if self._refused_answer != refused.answer:
                        self._refused_answer = refused.answer
                        self._refusals += 1
                    await self._round(self._replace())
        return self._held()

    def accept(self, lease: Lease) -> None:
        """Note that a call with this token was not refused for it."""
        if self._token is not None and lease.access_token == self._token.access_token:
            self._accepted, self._refusals = True, 0

    def _held(self) -> Lease:
        assert self._token is not None  # every round ends with a token or raises
        return Lease(access_token=self._token.access_token, answer=self._answers)

    def _differs(self, old: Token | None) -> bool:
        """Tell whether the token in hand is alive and another than `old`."""
        if self._token is None or self.remaining_ms() == 0:
            return False
        return old is None or self._token.access_token != old.access_token

    def _share(self, round_seen: int) -> None:
        """Raise the failure of a round that ended while this caller waited for its turn."""
        if self._rounds != round_seen and self._failure is not None:
            raise self._failure

    async def _round(self, work: Coroutine[Any, Any, None]) -> None:
        """Do one round of asking and keep how it ended; one that is cancelled counts for nobody."""
        try:
            await work
        except OrchestratorError as failure:
            self._rounds += 1
            self._failure = failure
            raise
        self._rounds += 1
        self._failure = None

    async def _await_life(self, life_ms: int) -> None:
        """Ask until the token in hand lives longer than `life_ms`, or is new."""
        old = self._token
        deadline_ms = self._now_ms() + self.remaining_ms() + GRACE_MS
        while True:
            await self._question()
            if self.remaining_ms() > life_ms or (old is not None and self._differs(old)):
                return
            if old is None:  # the first answer: its end is the earliest that another can come
                old = self._token
                deadline_ms += self.remaining_ms()
            if self._now_ms() >= deadline_ms:
                raise Unavailable(
                    "Marketo's identity service keeps handing out an access token that is about to expire. "
                    "It is asked again later."
                )
            await self._pause()

    async def _replace(self) -> None:
        """Ask for a token in place of a refused one."""
        old = self._token
        deadline_ms: int | None = None
        while True:
            await self._question()
            if self._differs(old):
                return
            remaining_ms = self.remaining_ms()
            if remaining_ms > DYING_MS and deadline_ms is None:
                if self._refusals < REFUSALS_MAX:
                    return
                if not self._accepted:
                    raise _denied()
            if deadline_ms is None:
                deadline_ms = self._now_ms() + remaining_ms + GRACE_MS
            if self._now_ms() >= deadline_ms:
                raise _denied()
            await self._pause()

    async def _question(self) -> None:
        """Ask identity once, no sooner than a second after the last time, and keep the answer."""
        if self._asked_ms is not None:
            wait_ms = min(self._asked_ms + ASK_INTERVAL_MS - self._now_ms(), ASK_INTERVAL_MS)
            if wait_ms > 0:
                await self._sleep(wait_ms / 1000)
        self._asked_ms = asked_ms = self._now_ms()
        old, token = self._token, await self._ask()
        self._token = token
        self._expires_ms = asked_ms + 1000 * token.expires_in_s
        self._answers += 1
        if old is None or old.access_token != token.access_token:
            self._accepted, self._refusals = False, 0

    async def _pause(self) -> None:
        """Wait for the end of the token in hand, looking up from time to time."""
        await self._sleep(min(max(self.remaining_ms(), ASK_INTERVAL_MS), ASK_INTERVAL_MS_MAX) / 1000)


def _denied() -> AccessDenied:
    return AccessDenied(
        "Marketo refuses the access tokens that its own identity service hands out. Check that the address and the "
        "credentials belong to one subscription (Admin > Integration > Web Services and LaunchPoint), and that the "
        "API user is still active.",
        code="601",
    )
