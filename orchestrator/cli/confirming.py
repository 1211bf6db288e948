"""Asking before something is written to a subscription that is protected."""

from __future__ import annotations

from orchestrator.cli.console import Console
from orchestrator.config import Settings, Subscription
from orchestrator.errors import ConfigError
from orchestrator.wiring import confirmation_of


class Confirmation:
    """That the subscription is meant which is written to.

    ``given`` is what ``--confirm`` says; it is checked even if the subscription is not protected, because whoever
    gives it wants to be sure.
    """

    def __init__(self, console: Console, settings: Settings, subscription: str | None, given: str | None) -> None:
        """Refuse what is refused without asking anybody; raises `ConfigError`."""
        self._console = console
        self._chosen: Subscription = settings.subscription(subscription)
        self.open = self._chosen.protected and given is None
        if given is not None:
            self._compare(given, "--confirm")
        elif self.open and not console.asks:
            raise ConfigError(
                f"subscription {self._chosen.name} is protected, and there is no terminal to ask at; nothing was sent. "
                "Give --confirm MUNCHKIN_ID, with the munchkin id of the Marketo that is meant"
            )

    async def obtain(self) -> None:
        """Ask, if it is still to be asked; `ConfigError` if the answer is not the munchkin id."""
        if self.open:
            what = "munchkin id" if self._chosen.munchkin_id else "munchkin id, with which its host name begins,"
            answer = await self._console.ask(
                f"Subscription {self._chosen.name} is protected. Type its {what} to go on: "
            )
            self._compare(answer or "", "the answer")
            self.open = False

    def _compare(self, text: str, where: str) -> None:
        if text.strip().casefold() != confirmation_of(self._chosen).casefold():
            raise ConfigError(
                f"{where} is not the munchkin id of subscription {self._chosen.name} "
                f"({self._chosen.address}); nothing was sent. Is it the subscription you mean?"
            )
