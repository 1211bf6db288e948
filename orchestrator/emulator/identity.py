"""Tokens: one for each custom service, the same one until it expires."""

from __future__ import annotations

import hmac
import random
import uuid
from collections import OrderedDict
from dataclasses import dataclass

from orchestrator.emulator.config import ClientSpec, EmulatorConfig
from orchestrator.emulator.refusals import refusal

TOKENS_KEPT = 1_000  # older ones are forgotten, and are then unknown instead of expired
POD = "emu"  # Marketo ends its tokens with the name of a data centre


@dataclass(frozen=True, slots=True)
class Grant:
    """A token that is handed out."""

    token: str
    remaining_ms: int
    user: str


@dataclass(slots=True)
class _Issued:
    client: ClientSpec
    expires_ms: int


class Identity:
    """The identity service of one subscription."""

    def __init__(self, config: EmulatorConfig, rng: random.Random) -> None:
        self._life_ms = config.token_life_ms
        self._clients = {client.client_id: client for client in config.clients}
        self._rng = rng
        self._issued: OrderedDict[str, _Issued] = OrderedDict()
        self._current: dict[str, str] = {}  # client id -> token

    def is_known(self, client_id: str) -> bool:
        """Tell whether there is such a custom service."""
        return client_id in self._clients

    def grant(self, client_id: str, client_secret: str, now_ms: int) -> Grant | None:
        """Return the token of a custom service, or None if the credentials are wrong."""
        client = self._clients.get(client_id)
        if client is None or not hmac.compare_digest(client.client_secret.encode(), client_secret.encode()):
            return None
        token = self._current.get(client_id)
        if token is None or token not in self._issued or self._issued[token].expires_ms <= now_ms:
            token = f"{uuid.UUID(int=self._rng.getrandbits(128), version=4)}:{POD}"
            self._current[client_id] = token
            self._issued[token] = _Issued(client, now_ms + self._life_ms)
            while len(self._issued) > TOKENS_KEPT:
                self._issued.popitem(last=False)
        return Grant(token, self._issued[token].expires_ms - now_ms, client.user)

    def check(self, token: str | None, now_ms: int) -> ClientSpec:
        """Return whom a token speaks for; refuses one that is missing, unknown or expired (600, 601, 602)."""
        if not token:
            raise refusal("600")
        issued = self._issued.get(token)
        if issued is None:
            raise refusal("601")
        if issued.expires_ms <= now_ms:
            raise refusal("602")
        return issued.client

    def expire(self, now_ms: int) -> None:
        """Let every token expire now."""
        for issued in self._issued.values():
            issued.expires_ms = min(issued.expires_ms, now_ms)

    def forget(self) -> None:
        """Make every token one that was never handed out."""
        self._issued.clear()
        self._current.clear()
