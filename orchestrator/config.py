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
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

import platformdirs
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, model_validator
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

APP_NAME = "marketo-bulk-orchestrator"
DEFAULT_FILE = "orchestrator.toml"
SECRET_BYTES_MAX = 4096  # Marketo's are 32 characters; more is the wrong file

_SECONDS_MAX = 30 * 86_400.0  # longer waits are mistakes: nobody waits a month
_MUNCHKIN_ID = re.compile(r"[0-9]{3}-[A-Za-z]{3}-[0-9]{3}")
SUBSCRIPTION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_PATHS = ("dir", "ca_file", "client_secret_file")


def _no_boolean(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("true and false are no numbers")  # noqa: TRY004  # pydantic collects ValueError
    return value


def _empty_is_none(value: object) -> object:
    return None if value == "" else value


Whole = Annotated[int, BeforeValidator(_no_boolean)]
Real = Annotated[float, BeforeValidator(_no_boolean)]
OptionalText = Annotated[str | None, BeforeValidator(_empty_is_none)]
OptionalPath = Annotated[Path | None, BeforeValidator(_empty_is_none)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


def _in_order(table: BaseModel, low: str, high: str) -> None:
    if getattr(table, low) > getattr(table, high):
        raise ValueError(f"{low} ({getattr(table, low):g}) must not be above {high} ({getattr(table, high):g})")


class Limits(_Table):
    """How much of a subscription this program uses; Marketo's limits are shared with everybody else."""

    slots: Whole = Field(10, ge=1, le=10, description="own jobs unfinished at Marketo, at most")
    queue_depth: Literal["auto"] | Annotated[Whole, Field(ge=1, le=10)] = Field(
        "auto", description="how many of them to keep there; what is queued cannot be recalled"
    )
    importers: Whole = Field(2, ge=1, le=10, description="jobs that Marketo imports at a time")
    body_bytes_max: Whole = Field(9_500_000, ge=1_000, le=10_000_000, description="whole upload body, in bytes")
    rows_per_chunk_max: Whole = Field(250_000, ge=1, le=250_000, description="rows in one upload, at most")
    calls_per_window: Whole = Field(50, ge=1, le=100, description="API calls in one window; Marketo allows 100")
    window_seconds: Real = Field(20.0, ge=0.01, le=3600, description="length of that window")
    concurrent_calls: Whole = Field(5, ge=1, le=10, description="API calls under way at a time; Marketo allows 10")
    calls_per_day: Whole = Field(50_000, ge=1, le=1_000_000_000, description="the subscription's daily quota")
    calls_reserved: Whole = Field(
        5_000, ge=0, le=1_000_000_000, description="part of that quota left to others; no effect yet"
    )


class Schedule(_Table):
    """In which order and how eagerly chunks are sent."""

    slow_start: bool = Field(True, description="a job's second batch waits for the first one; no effect yet")
    lookahead_chunks: Whole = Field(16, ge=1, le=64, description="unsent chunks of a job that are candidates")


class Polling(_Table):
    """How often an unfinished batch is asked for."""

    interval_seconds_min: Real = Field(5.0, ge=0.01, le=3600, description="shortest time between two questions")
    interval_seconds_max: Real = Field(30.0, ge=0.01, le=3600, description="longest time between two questions")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _in_order(self, "interval_seconds_min", "interval_seconds_max")
        return self


class Backoff(_Table):
    """How long to wait after a refusal that passes."""

    seconds_min: Real = Field(5.0, ge=0.01, le=86_400, description="first wait; each further one is longer")
    seconds_max: Real = Field(300.0, ge=0.01, le=86_400, description="longest wait")
    give_up_seconds: Real = Field(
        86_400.0, ge=0.01, le=_SECONDS_MAX, description="a cause that lasts longer stops the job, resumable"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _in_order(self, "seconds_min", "seconds_max")
        return self


class Http(_Table):
    """How Marketo is reached."""

    timeout_seconds: Real = Field(900.0, ge=0.1, le=86_400, description="longest duration of one call")
    idle_seconds: Real = Field(60.0, ge=0.1, le=86_400, description="longest time without a byte moving")
    proxy: OptionalText = Field(None, description="URL of an HTTP proxy")
    ca_file: OptionalPath = Field(None, description="PEM file of certificate authorities to trust")
    trust_env: bool = Field(True, description="take a proxy from HTTPS_PROXY and the like")
    insecure: bool = Field(False, description="allow plain http to hosts other than this machine")


class Unknown(_Table):
    """What happens to a chunk that was sent and whose answer is lost."""

    settle_seconds: Real = Field(30.0, ge=0, le=86_400, description="wait before looking for its batch; no effect yet")
    hold_seconds_min: Real = Field(600.0, ge=0, le=_SECONDS_MAX, description="wait before it is sent again, at least")
    probe_calls_max: Whole = Field(50, ge=0, le=1_000, description="API calls to look for its batch; no effect yet")


class Isolate(_Table):
    """How a failed batch is taken apart."""

    depth_max: Whole = Field(12, ge=0, le=30, description="halvings before its rows count as failed")


class Claims(_Table):
    """How long keys stay reserved."""

    paused_hold_seconds: Real = Field(
        3600.0, ge=0, le=_SECONDS_MAX, description="how long a paused job blocks others; no effect yet"
    )


class State(_Table):
    """What is kept on this machine."""

    dir: Path = Field(
        default_factory=lambda: platformdirs.user_state_path(APP_NAME, appauthor=False),
        description="journal, spools, claims, result files and locks; mode 0700",
    )
    keep_days: Whole = Field(30, ge=1, le=36_500, description="finished jobs are forgotten after it; no effect yet")


class JournalSettings(_Table):
    """Where the journal is."""

    url: OptionalText = Field(None, description="SQLite file that holds it; default: journal.db in state.dir")

    @model_validator(mode="after")
    def _supported(self) -> Self:
        if self.url is not None and not re.fullmatch("sqlite:///.+", self.url):
            raise ValueError("journal.url must look like sqlite:////absolute/path/journal.db")
        return self


class Log(_Table):
    """What the command logs, on standard error."""

    format: Literal["auto", "console", "json"] = Field("auto", description="auto: console on a terminal, else json")
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="least severity shown")


class Subscription(_Table):
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
                f"MARKETO_CLIENT_SECRET, or write {DEFAULT_FILE} with a table [subscriptions.NAME]"
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
    for low, high in (("importers", "slots"), ("calls_reserved", "calls_per_day")):
        try:
            _in_order(limits, low, high)
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
