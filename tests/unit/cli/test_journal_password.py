"""The password in a journal's URL is shown nowhere."""

from __future__ import annotations

import pytest

from orchestrator.cli.common import Common
from orchestrator.cli.session import read_settings, same_flags
from orchestrator.config import load
from orchestrator.errors import ConfigError

SECRET = "hunter2-hunter2"
URLS = (
    f"postgresql+psycopg://user:{SECRET}@db/imports",
    f"postgresql+psycopg://user@db/imports?password={SECRET}",
    f"postgresql+psycopg://user:{SECRET}@db/imports?sslmode=require&password={SECRET}",
    f"postgresql+psycopg://user@db/imports?sslpassword={SECRET}",
)


@pytest.mark.parametrize("url", URLS)
def test_a_password_in_the_command_line_is_warned_of_and_not_repeated(url, capsys, monkeypatch):
    monkeypatch.setenv("ORCHESTRATOR_LOG__FORMAT", "console")
    for common in (Common(journal=url), Common(set=(f"journal.url={url}",))):
        settings = read_settings(common)
        assert settings.journal_url == url
        said = capsys.readouterr().err
        assert "everybody on this machine can read it" in said
        for text in (said, same_flags(common), repr(settings)):
            assert SECRET not in text
    assert "user@db/imports" in same_flags(Common(journal=url))


def test_a_url_without_a_password_is_repeated_as_it_is(capsys):
    url = "postgresql+psycopg://user@db:5433/imports?sslmode=require"
    read_settings(Common(journal=url))
    assert capsys.readouterr().err == ""
    assert url in same_flags(Common(journal=url))


def test_a_url_that_is_wrong_is_not_shown():
    with pytest.raises(ConfigError, match=r"journal\.url must look like") as caught:
        load(None, (f"journal.url=mysql://user:{SECRET}@db/imports",), {})
    assert SECRET not in str(caught.value)
