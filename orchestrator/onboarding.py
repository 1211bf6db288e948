"""A first settings file: what is typed becomes a subscription that was tried out, and two files nobody else reads."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from pydantic import SecretStr, ValidationError

from orchestrator.clock import Clock
from orchestrator.config import DEFAULT_FILE, SUBSCRIPTION_NAME, Settings, Subscription, load
from orchestrator.errors import ConfigError
from orchestrator.marketo import wire
from orchestrator.marketo.client import Client
from orchestrator.origins import read_toml
from orchestrator.requests import Destination
from orchestrator.wiring import client_options

_MARKETO = re.compile(r"(?:https://)?([0-9]{3}-[a-z]{3}-[0-9]{3})(?:\.mktorest\.com(?:/.*)?)?", re.IGNORECASE)
_SECRET_TABLE = "subscriptions"  # noqa: S105  # the name of a table


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a subscription is to be written."""

    config: Path
    name: str  # of the subscription
    exists: bool  # the settings file is there, and gets one more table

    @property
    def secret_file(self) -> Path:
        """Where its secret goes, if it has no file yet."""
        return self.config.with_name(f"{self.config.stem}.{self.name}.secret")


def place_of(config: Path | None, name: str, environ: Mapping[str, str]) -> Place:
    """Return where a subscription of this name is written; ``config`` is what ``--config`` names.

    Raises:
        ConfigError: the file has a subscription of this name, or is no settings file.

    """
    if not SUBSCRIPTION_NAME.fullmatch(name):
        raise ConfigError(f"--subscription {name}: a subscription's name has letters, digits, - and _ only")
    path = (config or Path(environ.get("ORCHESTRATOR_CONFIG") or DEFAULT_FILE)).absolute()
    if not path.exists():
        if not path.parent.is_dir():
            raise ConfigError(
                f"{path.parent} is no directory, so {path.name} cannot be written there; make it first: "
                f"mkdir -p {shlex.quote(str(path.parent))}"
            )
        return Place(config=path, name=name, exists=False)
    if (_SECRET_TABLE, name) in read_toml(path).tables:
        raise ConfigError(
            f"{path} has a subscription {name} already: change it there, or choose another name for the new one "
            "with --subscription NAME"
        )
    return Place(config=path, name=name, exists=True)


def settings_for(place: Place, overrides: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Return the settings that a subscription is tried out with: those of its file, if it is there."""
    return load(place.config if place.exists else Path(os.devnull), overrides, environ)


def subscription_of(address: str, client_id: str, secret: str | None, secret_file: Path | None) -> Subscription:
    """Return the subscription that was described.

    ``address`` is a munchkin id, a host or a REST endpoint.  Raises ConfigError, which never holds the secret.
    """
    marketo = _MARKETO.fullmatch(address.strip())
    where = {"munchkin_id": marketo[1].upper()} if marketo else {"rest_url": _with_scheme(address.strip())}
    try:
        found = Subscription.model_validate(
            {
                **where,
                "client_id": client_id.strip(),
                "client_secret": None if secret is None else SecretStr(secret),
                "client_secret_file": secret_file,
            }
        )
        wire.normalise_rest_url(found.address)
        return found
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ConfigError(
            f"{'.'.join(map(str, first['loc']))} {first['msg'].removeprefix('Value error, ')}".strip()
        ) from None


def _with_scheme(address: str) -> str:
    return address if "://" in address else f"https://{address}"


async def try_out(settings: Settings, subscription: Subscription, *, clock: Clock, rng: Random) -> Destination:
    """Authenticate, once.

    Raises:
        MarketoError: Marketo refuses the credentials, or cannot be reached.

    """
    async with Client(client_options(settings, subscription), now_ms=clock.now_ms, rng=rng) as client:
        identity = await client.authenticate()
        return Destination(
            subscription=subscription.name,
            host=client.host,
            api_user=identity.api_user,
            emulator=identity.emulator,
        )


def write(place: Place, subscription: Subscription) -> tuple[Path, ...]:
    """Write a subscription to its settings file, and a secret that has no file to one beside it; return what is new.

    New ones are readable by their owner only.  A settings file that is there keeps all it says and gets one more table.

    Raises:
        ConfigError: a file cannot be written.

    """
    written: list[Path] = []
    try:
        secret_file = subscription.client_secret_file
        if secret_file is None and subscription.client_secret is not None:
            secret_file = place.secret_file
            _replace(secret_file, subscription.client_secret.get_secret_value() + "\n")
            written.append(secret_file)
        before = place.config.read_text(encoding="utf-8") if place.exists else ""
        text = f"{before.rstrip()}\n\n" if before.strip() else ""
        text += _table(place, subscription, secret_file)
        tomllib.loads(text)
        _replace(place.config, text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{place.config} cannot get one more table: {error}; write it there by hand") from None
    return (place.config, *written)


def _table(place: Place, subscription: Subscription, secret_file: Path | None) -> str:
    values = {
        "munchkin_id": subscription.munchkin_id,
        "rest_url": subscription.rest_url,
        "client_id": subscription.client_id,
        "client_secret_file": None if secret_file is None else _seen_from(place.config.parent, secret_file),
    }
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items() if value]
    return "\n".join([f"[{_SECRET_TABLE}.{place.name}]", *lines, ""])


def _seen_from(directory: Path, file: Path) -> str:
    """Return a path as the settings file has it: relative if it lies beside or below it."""
    whole = file.expanduser().absolute()
    return str(whole.relative_to(directory)) if whole.is_relative_to(directory) else str(whole)


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all; a new one can be read by its owner only."""
    target = path.resolve()
    try:
        descriptor, made = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            if target.exists():
                shutil.copymode(target, made)
            Path(made).replace(target)
        except BaseException:
            Path(made).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}; name another file with --config FILE") from None
