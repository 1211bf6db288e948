"""Every setting, its default and what it may be.

A setting has one name, ``table.key``.  ``load`` reads them as the command does: flag, then ``--set``, then
environment, then TOML file, then default.  ``Settings(...)`` in code reads neither file nor environment,
so a program that embeds this package gets exactly what it says.

Secrets are never part of a message, and no setting that holds one can be given on a command line, where
every user of the machine could read it in the process list.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from orchestrator.errors import ConfigError
from orchestrator.origins import (
    DEFAULT_SUBSCRIPTION,
    Layer,
    add_credentials,
    check_known,
    explain,
    read_assignments,
    read_environment,
    read_flags,
    read_toml,
)
from orchestrator.tables import (
    Backoff,
    Claims,
    Drain,
    Http,
    Isolate,
    JournalSettings,
    Limits,
    Log,
    OptionalPath,
    OptionalText,
    Polling,
    Schedule,
    State,
    Table,
    Unknown,
    in_order,
    leave_calls,
)

DEFAULT_FILE = "orchestrator.toml"
SECRET_BYTES_MAX = 4096  # Marketo's are 32 characters; more is the wrong file

_MUNCHKIN_ID = re.compile(r"[0-9]{3}-[A-Za-z]{3}-[0-9]{3}")
SUBSCRIPTION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_PATHS = ("dir", "ca_file", "client_secret_file")


class Subscription(Table):
    """One Marketo instance and the credentials of one API user of it."""

    name: str = Field(DEFAULT_SUBSCRIPTION, exclude=True)  # the table's name, filled in by Settings.subscription
    munchkin_id: OptionalText = Field(None, description="for example 123-ABC-456")
    rest_url: OptionalText = Field(None, description="instead of it: the REST endpoint, with or without /rest")
    identity_url: OptionalText = Field(None, description="only if it is not the REST endpoint's /identity")
    client_id: str = Field(min_length=1, description="of the custom service in Marketo's Admin, LaunchPoint")
    client_secret: SecretStr | None = Field(None, description="of the same service")
    client_secret_file: OptionalPath = Field(None, description="instead of it: a file that holds it")
    client_secret_env: OptionalText = Field(None, description="instead of it: a variable that holds it")
    protected: bool = Field(False, description="commands that write want its munchkin id typed, or as --confirm")
    limits: Limits = Field(default_factory=Limits, description="limits of this subscription alone")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.munchkin_id is None) == (self.rest_url is None):
            raise ValueError("give munchkin_id or rest_url, one of them")
        if self.munchkin_id is not None and not _MUNCHKIN_ID.fullmatch(self.munchkin_id):
            raise ValueError(
                f"munchkin_id is {self.munchkin_id!r}, but must look like 123-ABC-456; a whole address is a rest_url"
            )
        for name in ("rest_url", "identity_url"):
            url = urlsplit(getattr(self, name) or "https://unset")
            if url.scheme not in ("https", "http") or not url.hostname or url.query or url.username:
                raise ValueError(f"{name} must look like https://123-ABC-456.mktorest.com")
        if (self.client_secret, self.client_secret_file, self.client_secret_env).count(None) != 2:
            raise ValueError("give client_secret, client_secret_file or client_secret_env, one of them")
        return self

    @property
    def address(self) -> str:
        """The munchkin id or the REST URL, as given."""
        return self.munchkin_id or self.rest_url or ""

    def read_secret(self) -> str:
        """Return the client secret; a file or variable is read anew at every call, so it may be rotated.

        Raises ConfigError naming the file or the variable, never its content.
        """
        if self.client_secret_file is not None:
            where = f"client_secret_file {self.client_secret_file}"
            secret = self._secret_from_file(self.client_secret_file, where)
        elif self.client_secret_env is not None:
            where = f"environment variable {self.client_secret_env}"
            secret = os.environ.get(self.client_secret_env, "").strip()
        else:
            where = "client_secret"
            secret = self.client_secret.get_secret_value().strip() if self.client_secret else ""
        if not secret:
            raise ConfigError(f"subscription {self.name}: {where} is empty or not set; it must hold the client secret")
        return secret

    def _secret_from_file(self, path: Path, where: str) -> str:
        try:
            with path.expanduser().open("rb") as file:
                content = file.read(SECRET_BYTES_MAX + 1)
            if len(content) > SECRET_BYTES_MAX:
                raise ConfigError(f"subscription {self.name}: {where} is larger than {SECRET_BYTES_MAX} bytes")
            return content.decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            raise ConfigError(f"subscription {self.name}: {where} is no text") from None
        except OSError as error:
            raise ConfigError(f"subscription {self.name}: {where} cannot be read: {error.strerror}") from None


class Settings(BaseSettings):
    """All settings; frozen.  Wrong ones raise pydantic's ValidationError here, and ConfigError in ``load``."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, nested_model_default_partial_update=False
    )

    limits: Limits = Limits()
    schedule: Schedule = Schedule()
    polling: Polling = Polling()
    backoff: Backoff = Backoff()
    http: Http = Http()
    unknown: Unknown = Unknown()
    isolate: Isolate = Isolate()
    claims: Claims = Claims()
    drain: Drain = Drain()
    state: State = Field(default_factory=State)
    journal: JournalSettings = JournalSettings()
    log: Log = Log()
    subscriptions: dict[str, Subscription] = Field(default_factory=dict)

    _incomplete: str | None = None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values from the caller alone: constructing settings in code reads no environment."""
        return (init_settings,)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _check_limits(self.limits, "limits")
        for name, subscription in self.subscriptions.items():
            if not SUBSCRIPTION_NAME.fullmatch(name):
                message = "a subscription's name has letters, digits, - and _ only"
                raise PydanticCustomError("wrong", "{message}", {"message": message, "key": ("subscriptions", name)})
            _check_limits(self._limits_of(subscription), "subscriptions", name, "limits")
        return self

    def _limits_of(self, subscription: Subscription) -> Limits:
        own = {key: getattr(subscription.limits, key) for key in subscription.limits.model_fields_set}
        return self.limits.model_copy(update=own)

    @property
    def journal_url(self) -> str:
        """Where the journal is: ``journal.url``, or the file ``journal.db`` in ``state.dir``."""
        return self.journal.url or f"sqlite:///{self.state.dir.expanduser().absolute() / 'journal.db'}"

    def subscription(self, name: str | None = None) -> Subscription:
        """Return the subscription of this name, or the only one there is, with its limits filled in.

        Raises ConfigError that says how to give credentials, or which names there are.
        """
        names = sorted(self.subscriptions)
        if not names:
            raise ConfigError(
                self._incomplete
                or "no credentials: set MARKETO_MUNCHKIN_ID (or MARKETO_REST_URL), MARKETO_CLIENT_ID and "
                f"MARKETO_CLIENT_SECRET, or write {DEFAULT_FILE} with a table [subscriptions.NAME]; "
                "orchestrator init asks for them and writes it"
            )
        if name is None:
            if len(names) > 1:
                raise ConfigError(f"several subscriptions ({', '.join(names)}): choose one with --subscription NAME")
            name = names[0]
        if name not in self.subscriptions:
            raise ConfigError(
                f"no subscription {name!r}; there {'is' if len(names) == 1 else 'are'} {', '.join(names)}"
            )
        found = self.subscriptions[name]
        return found.model_copy(update={"name": name, "limits": self._limits_of(found)})


def _check_limits(limits: Limits, *key: str) -> None:
    try:
        in_order(limits, "importers", "slots")
        leave_calls(limits)
    except ValueError as error:
        raise PydanticCustomError("wrong", "{message}", {"message": str(error), "key": key}) from None


# --- loading ------------------------------------------------------------------------------------------


class _LayerSource(PydanticBaseSettingsSource):
    """Hands one layer to pydantic-settings, which puts the layers on top of each other."""

    def __init__(self, layer: Layer) -> None:
        super().__init__(Settings)
        self._values = layer.nested()

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[object, str, bool]:
        """Return one table of the layer."""
        return self._values.get(field_name), field_name, False

    def __call__(self) -> dict[str, object]:
        """Return the whole layer."""
        return self._values


def load(
    config_file: Path | None = None,
    overrides: Sequence[str] = (),
    environ: Mapping[str, str] = os.environ,
    *,
    flags: Sequence[tuple[str, str, str]] = (),
) -> Settings:
    """Read all settings as the command does.

    ``config_file`` is what ``--config`` names; without it ``$ORCHESTRATOR_CONFIG``, then ``./orchestrator.toml``
    if there is one.  ``overrides`` are ``table.key=value`` texts of ``--set``, ``flags`` triples of flag, setting
    and value, such as ``("--journal", "journal.url", "sqlite:///j.db")``.
    Raises ConfigError that names every wrong setting with its origin, its value and what is allowed.
    """
    environment = read_environment(environ)
    layers = (read_flags(flags), read_assignments(overrides), environment, _read_file(config_file, environ))
    for layer in layers:
        check_known(layer, Settings, subscriptions=layer is layers[-1])
    incomplete = add_credentials(environment, layers[-1], environ)
    try:
        settings = Settings(_build_sources=(tuple(_LayerSource(layer) for layer in layers), {}))
    except ValidationError as error:
        raise ConfigError(explain(error, layers, Settings)) from None  # the original holds the values
    settings._incomplete = incomplete
    return settings


def _read_file(config_file: Path | None, environ: Mapping[str, str]) -> Layer:
    variable = environ.get("ORCHESTRATOR_CONFIG")
    if config_file is not None:
        path, named_by = config_file, "--config"
    elif variable:
        path, named_by = Path(variable), "ORCHESTRATOR_CONFIG"
    elif Path(DEFAULT_FILE).exists():
        path, named_by = Path(DEFAULT_FILE), None
    else:
        return Layer()
    layer = read_toml(path, named_by=named_by)
    for key, (value, origin) in layer.values.items():
        if key[-1] in _PATHS and isinstance(value, str) and value:
            layer.put(key, str(path.parent.absolute() / Path(value).expanduser()), origin)
    return layer
