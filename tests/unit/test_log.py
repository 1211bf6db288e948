"""Log lines: where they go, what form they have, and what never stands in them."""

from __future__ import annotations

import io
import json
import logging
import sys
import warnings

import pytest
import structlog

from orchestrator import log
from orchestrator.cli.common import Output
from orchestrator.cli.session import configure_logging
from orchestrator.config import Settings

TOKEN = "cdf01657-110d-4155-99a7-f986b2ff13a0:int"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _logging_as_it_was():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def redirect(monkeypatch, stream: io.StringIO | None = None) -> io.StringIO:
    """Replaced inside a test, because pytest puts its own standard error in place after the fixtures."""
    stream = io.StringIO() if stream is None else stream
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def test_elsewhere_than_on_a_terminal_lines_are_json(monkeypatch, capsys):
    stderr = redirect(monkeypatch)
    log.configure("auto")
    with structlog.contextvars.bound_contextvars(job_id="j1"):
        structlog.get_logger().info("batch.completed", batch_id=7, rows=3)
    line = json.loads(stderr.getvalue())
    assert line.pop("ts").endswith("Z")
    assert line == {"event": "batch.completed", "level": "info", "job_id": "j1", "batch_id": 7, "rows": 3}
    assert capsys.readouterr().out == ""


def test_on_a_terminal_lines_are_for_people(monkeypatch):
    terminal = redirect(monkeypatch, Terminal())
    log.configure("auto", color=False)
    structlog.get_logger().info("batch.completed", batch_id=7)
    assert "batch.completed" in terminal.getvalue()
    assert "batch_id=7" in terminal.getvalue()
    assert "\x1b" not in terminal.getvalue()


def test_color_is_for_terminals_only(monkeypatch):
    terminal = redirect(monkeypatch, Terminal())
    log.configure("console")
    structlog.get_logger().info("batch.completed")
    assert "\x1b" in terminal.getvalue()
    plain = io.StringIO()
    monkeypatch.setattr(sys, "stderr", plain)
    log.configure("console")
    structlog.get_logger().info("batch.completed")
    assert "\x1b" not in plain.getvalue()


def test_the_format_can_be_forced(monkeypatch):
    terminal = redirect(monkeypatch, Terminal())
    log.configure("json")
    structlog.get_logger().info("batch.completed")
    assert json.loads(terminal.getvalue())["event"] == "batch.completed"


def test_standard_error_is_looked_up_at_every_line(monkeypatch):
    stderr = redirect(monkeypatch)
    log.configure("json")
    borrowed = io.StringIO()
    monkeypatch.setattr(sys, "stderr", borrowed)
    structlog.get_logger().info("batch.completed")
    assert stderr.getvalue() == ""
    assert borrowed.getvalue()


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_the_level_is_the_least_shown(monkeypatch, level):
    stderr = redirect(monkeypatch)
    log.configure("json", level)
    for method in ("debug", "info", "warning", "error"):
        getattr(structlog.get_logger(), method)("x")
    shown = [json.loads(line)["level"] for line in stderr.getvalue().splitlines()]
    assert shown == ["debug", "info", "warning", "error"][-len(shown) :]
    assert shown[0] == level


def test_what_libraries_say_of_their_daily_work_is_not_shown(monkeypatch):
    stderr = redirect(monkeypatch)
    log.configure("json")
    for name in ("aiohttp.access", "alembic.runtime.migration", "asyncio"):
        logging.getLogger(name).info("as usual")
    assert stderr.getvalue() == ""


def test_what_libraries_log_takes_the_same_way(monkeypatch):
    stderr = redirect(monkeypatch)
    log.configure("json")
    logging.getLogger("aiohttp.client").warning("refused: %s", f"Bearer {TOKEN}")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", UserWarning, stacklevel=1)
    first, second = map(json.loads, stderr.getvalue().splitlines())
    assert first["event"] == "refused: Bearer [redacted]"
    assert "UserWarning: old" in second["event"]


def test_a_line_that_cannot_be_written_ends_nothing(monkeypatch):
    log.configure("json")
    closed = redirect(monkeypatch)
    closed.close()
    structlog.get_logger().info("batch.completed")


def test_a_line_that_cannot_be_formatted_shows_nothing_of_it(monkeypatch):
    stderr = redirect(monkeypatch)
    log.configure("json")
    logging.getLogger("x").warning("%d", TOKEN)
    assert stderr.getvalue() == "a log line could not be formatted: TypeError\n"


@pytest.mark.parametrize(
    "fields",
    [
        {"token": TOKEN},
        {"access_token": TOKEN},
        {"client_secret": TOKEN},
        {"headers": {"Authorization": f"Bearer {TOKEN}"}},
        {"headers": [("x", {"Authorization": TOKEN})]},
        {"tokens": [TOKEN]},
        {"note": f"sent Bearer {TOKEN} to them"},
        {"url": f"https://h/identity/oauth/token?client_id=x&client_secret={TOKEN}"},
        {"body": f'{{"access_token":"{TOKEN}","token_type":"bearer"}}'},
        {"url": f"https://user:{TOKEN}@proxy:3128/"},
        {"error": ValueError(f"access_token={TOKEN}")},
    ],
)
def test_secrets_never_stand_in_a_line(monkeypatch, fields):
    stderr = redirect(monkeypatch)
    for log_format in ("json", "console"):
        log.configure(log_format, color=False)
        structlog.get_logger().info("x", **fields)
        logging.getLogger("y").info("%s", fields)
    assert len(stderr.getvalue().splitlines()) == 4
    assert TOKEN[:8] not in stderr.getvalue()
    assert TOKEN[-8:] not in stderr.getvalue()


@pytest.mark.parametrize("key", ["token", "access_token", "client_secret", "Authorization", "password", "x-api-key"])
def test_values_under_keys_that_name_a_secret_never_stand_in_a_line(monkeypatch, key):
    """Whatever they look like."""
    stderr = redirect(monkeypatch)
    log.configure("json")
    structlog.get_logger().info("x", **{key: "hush", "nested": {key: ["hush"]}})
    assert json.loads(stderr.getvalue())[key] == "[redacted]"
    assert "hush" not in stderr.getvalue()


def test_tracebacks_show_neither_secrets_nor_local_values(monkeypatch):
    stderr = redirect(monkeypatch)
    for log_format in ("json", "console"):
        log.configure(log_format, color=False)
        row = "alice@example.com"
        try:
            raise ValueError(f"client_secret={TOKEN}")
        except ValueError:
            structlog.get_logger().exception("x")
        del row
    assert "ValueError" in stderr.getvalue()
    assert TOKEN[:8] not in stderr.getvalue()
    assert stderr.getvalue().count("alice@example.com") == 0


def test_what_is_no_secret_stays(monkeypatch):
    stderr = redirect(monkeypatch)
    log.configure("json")
    structlog.get_logger().info("x", api_calls={"token": 3}, url="https://host/bulk/v1/leads.json?format=csv", no=None)
    line = json.loads(stderr.getvalue())
    assert line["api_calls"] == {"token": 3}
    assert line["url"] == "https://host/bulk/v1/leads.json?format=csv"
    assert line["no"] is None


def test_a_long_value_is_cut(monkeypatch):
    stderr = redirect(monkeypatch)
    log.configure("json")
    structlog.get_logger().info("x", body="a" * 20_000)
    assert json.loads(stderr.getvalue())["body"].endswith("a ... (20000 characters)")


def test_importing_the_package_configures_nothing():
    assert not structlog.is_configured()


def test_what_is_told_in_words_is_not_logged_beside_them(monkeypatch):
    stderr = redirect(monkeypatch)
    log.configure("json", told=["driver.fenced"])
    structlog.get_logger().warning("driver.fenced")
    structlog.get_logger().warning("driver.abandoned")
    assert [json.loads(line)["event"] for line in stderr.getvalue().splitlines()] == ["driver.abandoned"]


@pytest.mark.parametrize(
    ("output", "settings", "events"),
    [
        ({}, {}, ["driver.abandoned"]),
        ({"json": True}, {}, ["job.finished", "driver.fenced", "driver.abandoned"]),
        ({}, {"level": "info"}, ["job.finished", "driver.abandoned"]),
        ({}, {"format": "json"}, ["job.finished", "driver.abandoned"]),
    ],
)
def test_where_a_command_uses_words_it_logs_only_warnings_unless_asked_for_more(monkeypatch, output, settings, events):
    stderr = redirect(monkeypatch)
    configure_logging(Output(**output), Settings(log=settings))
    logger = structlog.get_logger()
    logger.info("job.finished")
    logger.warning("driver.fenced")
    logger.warning("driver.abandoned")
    assert [json.loads(line)["event"] for line in stderr.getvalue().splitlines()] == events
