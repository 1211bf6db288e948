"""Logging of the command: structlog on standard error, readable on a terminal, JSON elsewhere.

Only the command calls this; the library configures nothing, so that a service which embeds it keeps its own
logging.  What comes through ``logging`` (aiohttp, asyncio, alembic) takes the same way, so there is one format
and one redaction.

Redaction is a net, not a method: nothing here should ever be handed a secret.  It covers values under keys
that name one, and access tokens and credentials in URLs wherever they stand, tracebacks included.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any, Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

REDACTED = "[redacted]"
TEXT_CHARS_MAX = 10_000  # of one value in a log line; a longer one is a body that nobody wants to read there
DEPTH_MAX = 5  # of nested values that are looked into; deeper ones are shown as text

_SECRET_KEY = re.compile(r"(?i)(secret|token|passw|authorization|credential|api[_-]?key|cookie)")
_SECRET_TEXTS = (
    (re.compile(r"(?i)\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}:[a-z]{2,4}\b"), REDACTED),  # Marketo's tokens
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/:=-]+"), rf"\1 {REDACTED}"),
    (re.compile(r"(?i)\b(client_secret|access_token)(['\"]?\s*[=:]\s*['\"]?)[^\s&'\",}]+"), rf"\1\2{REDACTED}"),
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^/\s@]+@"), rf"\1{REDACTED}@"),
)

Format = Literal["auto", "console", "json"]
Level = Literal["debug", "info", "warning", "error"]


def configure(
    log_format: Format = "auto", level: Level = "info", *, color: bool = True, told: Collection[str] = ()
) -> None:
    """Send structlog's and logging's records to standard error.

    ``auto`` means console on a terminal and JSON elsewhere; events that are ``told`` in words are left out.  Standard error is looked up at every line, so a
    progress display that borrows it stays whole.
    """
    on_terminal = sys.stderr.isatty()
    as_json = log_format == "json" or (log_format == "auto" and not on_terminal)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        redact,
    ]

    def untold(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        if event["event"] in told:
            raise structlog.DropEvent
        return event

    structlog.configure(
        processors=[untold, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(colors=color and on_terminal, timestamp_key="ts")
    )
    handler = _StandardError()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("asyncio", "aiohttp.access", "alembic"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(capture=True)


def library_logger() -> structlog.typing.FilteringBoundLogger:
    """Return the logger of the library: structlog's if the program configured it, else logging's.

    Unconfigured structlog would print to standard output, where a program's own data may go.  Fields become
    attributes of logging's records, so none may be called ``message``, ``name`` or what else a record has already.
    """
    if structlog.is_configured():
        logger = structlog.get_logger("orchestrator")
    else:
        logger = structlog.wrap_logger(
            logging.getLogger("orchestrator"),
            processors=[structlog.stdlib.render_to_log_kwargs],
            wrapper_class=structlog.stdlib.BoundLogger,
        )
    return logger  # type: ignore[no-any-return]  # structlog's loggers are what they are made of


class _StandardError(logging.Handler):
    """Writes each line to what standard error is at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        try:
            line = self.format(record)
        except Exception as error:  # noqa: BLE001  # a log line must never end a run
            line = f"a log line could not be formatted: {type(error).__name__}"  # its content is not redacted yet
        with suppress(OSError, ValueError):  # standard error is closed or full
            sys.stderr.write(line + "\n")


def redact(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Replace what looks like a secret in one structlog event; a processor."""
    return {key: _clean(key, value, DEPTH_MAX) for key, value in event.items()}


def _clean(key: str, value: Any, depth: int) -> Any:
    if isinstance(value, bool | int | float) or value is None:
        return value  # `expires_in_s` under `token` is worth reading, and no number is a secret here
    if _SECRET_KEY.search(key):
        return REDACTED
    if key.startswith("_"):  # structlog's own, such as the logging record
        return value
    if depth and isinstance(value, Mapping):
        return {inner: _clean(str(inner), item, depth - 1) for inner, item in value.items()}
    if depth and isinstance(value, list | tuple):
        return [_clean(key, item, depth - 1) for item in value]
    return redact_text(str(value))


def redact_text(text: str) -> str:
    """Replace access tokens, secrets in key=value form, and credentials in URLs."""
    for pattern, replacement in _SECRET_TEXTS:
        text = pattern.sub(replacement, text)
    return text if len(text) <= TEXT_CHARS_MAX else f"{text[:TEXT_CHARS_MAX]} ... ({len(text)} characters)"
