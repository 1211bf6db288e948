"""``init``: ask for credentials, try them out, write them down."""

from __future__ import annotations

import os
import shlex
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from random import SystemRandom

from orchestrator import onboarding
from orchestrator.cli.common import Common
from orchestrator.cli.console import Console
from orchestrator.cli.session import execute
from orchestrator.clock import SystemClock
from orchestrator.config import DEFAULT_FILE, Settings, Subscription
from orchestrator.errors import AccessDenied, ConfigError, MalformedResponse, NotDelivered
from orchestrator.model import ExitCode
from orchestrator.origins import CREDENTIALS, DEFAULT_SUBSCRIPTION
from orchestrator.requests import Destination

TRIES_MAX = 3  # at credentials that Marketo refuses; more are no typing mistakes

_ADDRESS = (
    "Which Marketo? Its munchkin id, for example 123-ABC-456, stands in Admin > Integration > Munchkin;\n"
    "the REST endpoint, in Admin > Integration > Web Services, will do, too."
)
_CLIENT = (
    "Which API user? Admin > Integration > LaunchPoint > View Details of a custom service shows its client id\n"
    "and its client secret. The service belongs to an API-only user whose role has Read-Write Lead."
)


def run_init(
    common: Common,
    *,
    munchkin_id: str | None,
    rest_url: str | None,
    client_id: str | None,
    secret_file: Path | None,
) -> ExitCode:
    """Write a subscription; what is None is asked for."""

    async def body(console: Console) -> ExitCode:
        if munchkin_id and rest_url:
            raise ConfigError("give --munchkin-id or --rest-url, one of them")
        address = munchkin_id or rest_url
        missing = {"--munchkin-id (or --rest-url)": address, "--client-id": client_id, "--secret-file": secret_file}
        unset = [flag for flag, value in missing.items() if value is None]
        if unset and not console.asks:
            raise ConfigError(f"there is no terminal to ask at; give {', '.join(unset)}, too")
        place = onboarding.place_of(common.config, common.subscription or DEFAULT_SUBSCRIPTION, os.environ)
        await _agree(console, place, writes_secret=secret_file is None)
        settings = onboarding.settings_for(place, common.set, os.environ)
        interview = _Interview(console)

        async def described() -> Subscription:
            where = address or await interview.ask("Munchkin id or REST endpoint", _ADDRESS)
            who = client_id or await interview.ask("Client id", _CLIENT)
            secret = None if secret_file else await interview.ask("Client secret (not shown)", hidden=True)
            return onboarding.subscription_of(where, who, secret, secret_file)

        subscription, destination = await _tried(console, settings, place.name, described, again=bool(unset))
        written = onboarding.write(place, subscription)
        _tell(console, place, destination, written)
        return ExitCode.OK

    return execute(common, body)


class _Interview:
    """Questions, each explained when it is asked for the first time; what is typed is kept for the next try."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._explained: list[str] = []
        self._given: dict[str, str] = {}  # but no secrets

    async def ask(self, question: str, explanation: str = "", *, hidden: bool = False) -> str:
        """Return the answer, or the one given before if only Enter is typed; ConfigError if there is none."""
        if explanation and explanation not in self._explained:
            self._explained.append(explanation)
            self._console.insist(explanation)
        before = self._given.get(question, "")
        shown = f"  {question} [{before}]: " if before else f"  {question}: "
        typed = await self._console.ask(shown, hidden=hidden)
        answer = before if typed == "" else typed
        if not answer:
            raise ConfigError(f"there is no answer to: {question}; nothing was written")
        if not hidden:
            self._given[question] = answer
        return answer


async def _agree(console: Console, place: onboarding.Place, *, writes_secret: bool) -> None:
    """Ask before anything that is there is changed."""
    changed = [
        *([f"Add subscription {place.name} to {place.config}?"] if place.exists else []),
        *([f"Replace the secret in {place.secret_file}?"] if writes_secret and place.secret_file.exists() else []),
    ]
    for question in changed:
        if not console.asks:
            raise ConfigError(
                f"{place.config} is there, and nobody can be asked whether it may be changed; "
                "name a new file with --config FILE"
            )
        if not await console.agrees(question):
            raise ConfigError("nothing was written; name another file with --config FILE")


async def _tried(
    console: Console, settings: Settings, name: str, described: Callable[[], Awaitable[Subscription]], *, again: bool
) -> tuple[Subscription, Destination]:
    """Return a subscription that Marketo lets in; ask ``again`` for one that it does not."""
    for left in range(TRIES_MAX if again else 1, 0, -1):
        try:
            subscription = (await described()).model_copy(update={"name": name})
            console.say("Asking Marketo for access ...")
            return subscription, await onboarding.try_out(
                settings, subscription, clock=SystemClock(), rng=SystemRandom()
            )
        except (AccessDenied, NotDelivered, MalformedResponse) as error:
            if left == 1:
                raise
            console.insist(f"{error}", "bad")
            console.insist("Nothing was written. Once more, or Ctrl-C:")
    raise AssertionError("the last try returns or raises")


def _tell(console: Console, place: onboarding.Place, destination: Destination, written: Sequence[Path]) -> None:
    flags = [] if place.config == Path(DEFAULT_FILE).absolute() else ["--config", str(place.config)]
    if place.exists:
        flags += ["--subscription", place.name]
    if console.json:
        console.document({**asdict(destination), "written": [str(path) for path in written]})
        return
    kind = "the emulator" if destination.emulator else "Marketo"
    console.say(f"It works: {kind} at {destination.host} lets in API user {destination.api_user}.", "good")
    for path in written:
        console.data(f"wrote {path}")
    console.say("Keep the secret out of version control. Whoever can read it can write to your Marketo.")
    given = [variable for variable in CREDENTIALS.values() if os.environ.get(variable)]
    if given:
        console.insist(f"Unset {', '.join(given)}: credentials may not stand in the environment, too.", "warn")
    console.say(f"Next: orchestrator doctor{' ' if flags else ''}{shlex.join(flags)}")
