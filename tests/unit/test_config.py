"""Settings: what wins, what is refused, and what a refusal says."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import platformdirs
import pytest
from pydantic import BaseModel, SecretStr, ValidationError

from orchestrator.config import Settings, Subscription, load
from orchestrator.errors import ConfigError
from orchestrator.schedule.budget import CALLS_PER_BATCH
from orchestrator.tables import APP_NAME, CALLS_LEFT_MIN, Limits
from orchestrator.wiring import confirmation_of

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "config" / "orchestrator.example.toml"
SECRET = "hush-hush-hush"
CREDENTIALS = {
    "MARKETO_MUNCHKIN_ID": "123-ABC-456",
    "MARKETO_CLIENT_ID": "client",
    "MARKETO_CLIENT_SECRET": SECRET,
}


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def refusal(*args, **kwargs) -> str:
    with pytest.raises(ConfigError) as caught:
        load(*args, **kwargs)
    assert caught.value.__cause__ is None
    return str(caught.value)


def toml(text: str, name: str = "settings.toml") -> Path:
    Path(name).write_text(text, encoding="utf-8")
    return Path(name)


# --- what wins ----------------------------------------------------------------------------------------


def test_flag_beats_set_beats_environment_beats_file_beats_default():
    file = toml("[limits]\nslots = 2\nconcurrent_calls = 2\ncalls_per_window = 2\nrows_per_chunk_max = 2\n")
    environ = {
        "ORCHESTRATOR_LIMITS__SLOTS": "3",
        "ORCHESTRATOR_LIMITS__CONCURRENT_CALLS": "3",
        "ORCHESTRATOR_LIMITS__CALLS_PER_WINDOW": "3",
    }
    flags = [("--slots", "limits.slots", "5")]
    limits = load(file, ["limits.slots=4", "limits.concurrent_calls=4"], environ, flags=flags).limits
    assert (limits.slots, limits.concurrent_calls, limits.calls_per_window, limits.rows_per_chunk_max) == (5, 4, 3, 2)
    assert limits.importers == Limits().importers


def test_the_last_set_counts():
    assert load(None, ["limits.slots=4", "limits.slots=3"], {}).limits.slots == 3


def test_the_file_is_the_named_one_else_the_variables_else_the_directorys():
    toml("[limits]\nslots = 2", "orchestrator.toml")
    toml("[limits]\nslots = 3", "variable.toml")
    toml("[limits]\nslots = 4", "flag.toml")
    environ = {"ORCHESTRATOR_CONFIG": "variable.toml"}
    assert load(Path("flag.toml"), (), environ).limits.slots == 4
    assert load(None, (), environ).limits.slots == 3
    assert load(None, (), {}).limits.slots == 2


def test_without_anything_there_are_the_defaults():
    assert load(None, (), {"HOME": "/", "PATH": "/bin", "ORCHESTRATOR_SERVER": "http://127.0.0.1:1"}) == Settings()


def test_settings_in_code_read_neither_file_nor_environment(monkeypatch):
    toml("[limits]\nslots = 2", "orchestrator.toml")
    monkeypatch.setenv("ORCHESTRATOR_LIMITS__SLOTS", "3")
    monkeypatch.setenv("LIMITS", '{"slots": 4}')
    assert Settings().limits.slots == Limits().slots
    assert Settings(limits=Limits(slots=7)).limits.slots == 7


def test_settings_are_frozen():
    with pytest.raises(ValidationError):
        Settings().limits = Limits(slots=1)
    with pytest.raises(ValidationError):
        Settings().limits.slots = 1


def test_paths_in_a_file_are_relative_to_it(monkeypatch, tmp_path):
    folder = tmp_path / "etc"
    folder.mkdir()
    file = toml('[state]\ndir = "state"\n[http]\nca_file = "/etc/ca.pem"\n', str(folder / "settings.toml"))
    settings = load(file, (), {})
    assert settings.state.dir == folder / "state"
    assert settings.http.ca_file == Path("/etc/ca.pem")
    assert settings.journal_url == f"sqlite:///{folder}/state/journal.db"
    monkeypatch.setenv("HOME", "/home/someone")
    assert load(None, ["state.dir=~/state"], {}).journal_url == "sqlite:////home/someone/state/journal.db"


def test_an_empty_value_means_none():
    file = toml('[http]\nproxy = "http://proxy:1"\n')
    assert load(file, ["http.proxy="], {}).http.proxy is None


# --- what a refusal says ------------------------------------------------------------------------------


def test_a_wrong_value_is_named_with_file_and_line():
    file = toml("# a comment\n\n[limits]\nimporters = 1\nslots = 0\n")
    assert refusal(file, (), {}) == "settings.toml, line 5: limits.slots is 0, but must be a whole number from 1 to 10"


def test_a_wrong_value_is_named_with_its_variable():
    assert refusal(None, (), {"ORCHESTRATOR_POLLING__INTERVAL_SECONDS_MIN": "often"}) == (
        "environment variable ORCHESTRATOR_POLLING__INTERVAL_SECONDS_MIN: polling.interval_seconds_min is 'often', "
        "but must be a number from 0.01 to 3600"
    )


def test_a_wrong_value_is_named_with_its_flag():
    assert refusal(None, ["log.level=loud"], {}) == (
        "--set log.level: log.level is 'loud', but must be 'debug' or 'info' or 'warning' or 'error'"
    )
    message = refusal(None, (), {}, flags=[("--journal", "journal.url", "mysql://x")])
    assert message == (
        "--journal: journal: journal.url must look like sqlite:////absolute/path/journal.db or "
        "postgresql+psycopg://USER@HOST/DATABASE"
    )


def test_the_winning_origin_is_named():
    file = toml("[limits]\nslots = 0\n")
    assert refusal(file, ["limits.slots=-1"], {}).startswith("--set limits.slots: limits.slots is '-1'")


def test_every_wrong_setting_is_named_at_once():
    file = toml("[limits]\nslots = 0\n[schedule]\nslow_start = 3\nlookahead_chunks = true\n")
    assert refusal(file, ["limits.queue_depth=many"], {}).splitlines() == [
        "settings.toml, line 2: limits.slots is 0, but must be a whole number from 1 to 10",
        "--set limits.queue_depth: limits.queue_depth is 'many', but must be 'auto', or a whole number from 1 to 10",
        "settings.toml, line 4: schedule.slow_start is 3, but must be true or false",
        "settings.toml, line 5: schedule.lookahead_chunks is True, but must be a whole number from 1 to 64",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("limits.slots = 0", "settings.toml, line 1: limits.slots is 0"),
        ("\n limits = { slots = 0 }", "settings.toml, line 2: limits.slots is 0"),
        ('["limits"]\n"slots" = 0', "settings.toml, line 2: limits.slots is 0"),
        ("[ limits ] # here\nslots=0", "settings.toml, line 2: limits.slots is 0"),
        ("[limits]\nqueue_depth = '''\nslots = 3\n'''\nslots = 0", "settings.toml, line 5: limits.slots is 0"),
        ("limits = 3", "settings.toml, line 1: limits is a table; write [limits]"),
        ("[limits.slots]\nx = 1", "settings.toml, line 2: there is no setting limits.slots.x"),
        ("[limits.slots]", "settings.toml, line 1: limits.slots must be a whole number"),
        ("[limits]\nslots = [1]", "settings.toml, line 2: limits.slots is [1], but must be a whole number"),
        ("[limits]\nslots = 1.5", "settings.toml, line 2: limits.slots is 1.5, but must be a whole number"),
        ("[backoff]\nseconds_min = nan", "settings.toml, line 2: backoff.seconds_min is nan, but must be a number"),
        ("x = 1", "settings.toml, line 1: there is no setting x"),
        ("[[limits]]\nslots = 1", "settings.toml: limits is a table"),
        ("[limits]\nslots = ", "settings file settings.toml (named by --config) is no valid TOML"),
        ("[limits]\nslots = 1\nslots = 2", "settings file settings.toml (named by --config) is no valid TOML"),
    ],
)
def test_lines_are_found_in_every_spelling(text, message):
    assert message in refusal(toml(text), (), {})


def test_no_valid_toml_says_where():
    assert "line 2" in refusal(toml("[limits]\nslots = \n"), (), {})


@pytest.mark.parametrize(
    ("assignment", "suggestion"),
    [
        ("limits.slotz=3", "there is no setting limits.slotz; did you mean limits.slots?"),
        ("limit.slots=3", "there is no setting limit.slots; did you mean limits.slots?"),
        ("polling.slots=3", "there is no setting polling.slots; did you mean limits.slots?"),
        ("slots=3", "there is no setting slots; did you mean limits.slots?"),
        ("zzz.qqq=3", "there is no setting zzz.qqq"),
    ],
)
def test_an_unknown_setting_is_refused_with_the_likely_one(assignment, suggestion):
    assert refusal(None, [assignment], {}).endswith(suggestion)


def test_an_unknown_variable_is_refused_but_not_the_reserved_ones():
    assert refusal(None, (), {"ORCHESTRATOR_LIMIT__SLOTS": "3"}) == (
        "environment variable ORCHESTRATOR_LIMIT__SLOTS: there is no setting limit.slots; did you mean limits.slots?"
    )
    message = refusal(None, (), {"ORCHESTRATOR_POLLING_INTERVAL_SECONDS_MIN": "1"})
    assert message.endswith("did you mean polling.interval_seconds_min?")


@pytest.mark.parametrize("text", ["limits.slots", "=3", ".=3", "limits.=3"])
def test_set_without_name_or_value_shows_how_to_write_it(text):
    assert "for example --set limits.slots=5" in refusal(None, [text], {})


def test_settings_that_contradict_each_other_are_named():
    file = toml("[polling]\ninterval_seconds_min = 40\n[limits]\nslots = 1\n")
    message = refusal(file, (), {})
    assert "settings.toml, line 2: polling: interval_seconds_min (40) must not be above interval_seconds_max (30)" in (
        message
    )
    message = refusal(toml("[limits]\nslots = 1\n"), (), {})
    assert message == "settings.toml, line 2: limits: importers (2) must not be above slots (1)"


def test_files_that_cannot_be_read_are_named(tmp_path):
    assert "settings file no.toml (named by --config) does not exist" in refusal(Path("no.toml"), (), {})
    message = refusal(None, (), {"ORCHESTRATOR_CONFIG": "no.toml"})
    assert "settings file no.toml (named by ORCHESTRATOR_CONFIG) does not exist" in message
    assert "cannot be read: Is a directory" in refusal(tmp_path, (), {})
    Path("latin.toml").write_bytes(b"# fine\n# caf\xe9\n")
    assert "latin.toml (named by --config), line 2: not UTF-8" in refusal(Path("latin.toml"), (), {})
    Path("big.toml").write_bytes(b"#" * 1_000_001)
    assert "larger than 1000000 bytes" in refusal(Path("big.toml"), (), {})


# --- subscriptions ------------------------------------------------------------------------------------

TWO = f"""
[limits]
slots = 6

[subscriptions.one]
munchkin_id = "123-ABC-456"
client_id = "client"
client_secret = "{SECRET}"

[subscriptions.two]
rest_url = "https://127.0.0.1:8443/rest"
client_id = "client"
client_secret_env = "TWO_SECRET"
[subscriptions.two.limits]
calls_per_day = 9000
"""


def test_the_environment_describes_the_subscription_default():
    subscription = load(None, (), CREDENTIALS).subscription()
    assert (subscription.name, subscription.address, subscription.client_id) == ("default", "123-ABC-456", "client")
    assert subscription.read_secret() == SECRET
    url = {**CREDENTIALS, "MARKETO_MUNCHKIN_ID": "", "MARKETO_REST_URL": "http://127.0.0.1:1/rest"}
    assert load(None, (), url).subscription("default").address == "http://127.0.0.1:1/rest"


def test_subscriptions_of_a_file_are_chosen_by_name():
    settings = load(toml(TWO), (), {})
    assert settings.subscription("one").limits == settings.limits
    two = settings.subscription("two")
    assert (two.name, two.limits.calls_per_day, two.limits.slots) == ("two", 9000, 6)
    with pytest.raises(ConfigError, match=r"several subscriptions \(one, two\): choose one with --subscription NAME"):
        settings.subscription()
    with pytest.raises(ConfigError, match="no subscription 'three'; there are one, two"):
        settings.subscription("three")


def test_without_credentials_it_says_how_to_give_them():
    with pytest.raises(
        ConfigError, match=r"no credentials: set MARKETO_MUNCHKIN_ID .* or write orchestrator.toml .* init asks"
    ):
        load(None, (), {}).subscription()


def test_incomplete_credentials_matter_only_when_they_are_needed():
    settings = load(None, (), {"MARKETO_CLIENT_ID": "client"})
    with pytest.raises(ConfigError) as caught:
        settings.subscription()
    assert str(caught.value) == (
        "credentials are incomplete: MARKETO_CLIENT_ID set, missing: "
        "MARKETO_MUNCHKIN_ID (or MARKETO_REST_URL), MARKETO_CLIENT_SECRET"
    )


def test_credentials_in_both_places_are_refused():
    message = refusal(toml(TWO), (), CREDENTIALS)
    assert "credentials are given twice: by MARKETO_MUNCHKIN_ID, MARKETO_CLIENT_ID, MARKETO_CLIENT_SECRET" in message
    assert "settings.toml" in message


def test_a_variable_that_the_file_borrows_is_not_given_twice():
    file = toml(TWO.replace("TWO_SECRET", "MARKETO_CLIENT_SECRET"))
    assert load(file, (), {"MARKETO_CLIENT_SECRET": "x"}).subscription("two").client_secret_env


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('munchkin_id = "123-ABC-456"', "", "give munchkin_id or rest_url, one of them"),
        ('client_id = "client"\nclient_secret =', "client_secret =", "subscriptions.one.client_id is missing"),
        ("123-ABC-456", "https://123-ABC-456.mktorest.com", "must look like 123-ABC-456; a whole address is a rest"),
        ("https://127.0.0.1:8443/rest", "127.0.0.1:8443", "rest_url must look like https://"),
        ("https://127.0.0.1:8443/rest", "https://user:pw@host", "rest_url must look like https://"),
        (f'client_secret = "{SECRET}"', "", "give client_secret, client_secret_file or client_secret_env, one"),
        (f'client_secret = "{SECRET}"', "client_secret = 12345", "client_secret must be text that is not empty"),
        ("client_secret_env", f'client_secret = "{SECRET}"\nclient_secret_env', "give client_secret, client_secret_"),
        ("client_secret_env", "client_secret_envv", "no setting subscriptions.two.client_secret_envv; did you mean"),
        ("client_secret =", "client_secrt =", "no setting subscriptions.one.client_secrt; did you mean client_secret?"),
        ("[subscriptions.two.limits]", '[subscriptions.two.limits]\nslots = "a"', "two.limits.slots is 'a', but must"),
        (
            "calls_per_day = 9000",
            "calls_per_day = 900",
            "calls_reserved (5000) must leave at least 10 of calls_per_day (900)",
        ),
        ("[subscriptions.one]", '[subscriptions."a b"]', "a subscription's name has letters, digits, - and _ only"),
        ("[subscriptions.one]", '[subscriptions.one]\nname = "x"', "no setting subscriptions.one.name"),
    ],
)
def test_a_wrong_subscription_is_named_and_no_secret_shown(old, new, message):
    text = TWO.replace(old, new, 1)
    assert text != TWO
    shown = refusal(toml(text), (), {})
    assert message in shown
    assert "settings.toml, line" in shown
    assert SECRET not in shown
    assert "12345" not in shown


def test_the_calls_left_to_imports_are_enough_for_a_batch():
    assert CALLS_LEFT_MIN > CALLS_PER_BATCH  # what is asked before the first one comes on top
    assert load(None, ["limits.calls_per_day=5010"], {}).limits.calls_reserved == 5_000
    for reserved in (4_991, 5_000, 5_001):
        shown = refusal(None, ["limits.calls_per_day=5000", f"limits.calls_reserved={reserved}"], {})
        assert f"calls_reserved ({reserved}) must leave at least 10 of calls_per_day (5000)" in shown


def test_credentials_in_an_address_are_not_shown():
    assert "hush" not in refusal(None, ["http.proxy=http://user:hush@proxy", "http.timeout_seconds=user:hush@x"], {})


def test_subscriptions_are_refused_where_everybody_can_read_them():
    for message in (
        refusal(None, ["subscriptions.one.client_secret=hush"], {}),
        refusal(None, (), {"ORCHESTRATOR_SUBSCRIPTIONS__ONE__CLIENT_SECRET": "hush"}),
    ):
        assert "subscriptions are described in the settings file, or by MARKETO_MUNCHKIN_ID" in message
        assert "hush" not in message


def test_a_secret_is_never_shown_by_its_settings():
    settings = load(None, (), CREDENTIALS)
    assert SECRET not in repr(settings) + str(settings.model_dump()) + settings.model_dump_json()
    with pytest.raises(ValidationError) as caught:
        Subscription(munchkin_id="nonsense", client_id="x", client_secret=SecretStr(SECRET))
    assert SECRET not in str(caught.value)


def test_a_secret_in_a_file_is_read_anew_each_time(tmp_path):
    file = tmp_path / "marketo.secret"
    file.write_text("first\n", encoding="utf-8")
    text = TWO.replace(f'client_secret = "{SECRET}"', 'client_secret_file = "marketo.secret"')
    subscription = load(toml(text), (), {}).subscription("one")
    assert subscription.read_secret() == "first"
    file.write_text("second\n", encoding="utf-8")
    assert subscription.read_secret() == "second"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "marketo.secret cannot be read: No such file or directory"),
        (b" \n", "marketo.secret is empty or not set"),
        (b"x" * 5000, "marketo.secret is larger than 4096 bytes"),
        (b"\xff\xfe", "marketo.secret is no text"),
    ],
)
def test_a_secret_file_that_is_wrong_is_named(tmp_path, content, message):
    file = tmp_path / "marketo.secret"
    if content is not None:
        file.write_bytes(content)
    subscription = Subscription(name="one", munchkin_id="123-ABC-456", client_id="x", client_secret_file=file)
    with pytest.raises(ConfigError) as caught:
        subscription.read_secret()
    assert str(caught.value).startswith("subscription one: client_secret_file ")
    assert message in str(caught.value)


def test_a_secret_in_a_variable_is_read_anew_each_time(monkeypatch):
    subscription = load(toml(TWO), (), {}).subscription("two")
    with pytest.raises(ConfigError, match="subscription two: environment variable TWO_SECRET is empty or not set"):
        subscription.read_secret()
    monkeypatch.setenv("TWO_SECRET", SECRET)
    assert subscription.read_secret() == SECRET


def test_a_protected_subscription_has_to_be_confirmed_by_its_munchkin_id():
    text = "[subscriptions.a]\nmunchkin_id = '123-ABC-456'\nprotected = true\n"
    text += "[subscriptions.b]\nrest_url = 'https://789-DEF-012.mktorest.com/rest'\n"
    text += "[subscriptions.c]\nrest_url = 'http://localhost:8080'\n"
    secret = "client_id = 'c'\nclient_secret = 's'\n"
    settings = load(toml(re.sub(r"(?m)^(\[.*)$", rf"\1\n{secret}", text)), (), {})
    found = [settings.subscription(name) for name in "abc"]
    assert [each.protected for each in found] == [True, False, False]
    assert [confirmation_of(each) for each in found] == ["123-ABC-456", "789-def-012", "localhost"]


# --- the commented example ----------------------------------------------------------------------------


def _uncommented() -> str:
    return re.sub(r"^# (?=\[|[a-z_]+ = )", "", EXAMPLE.read_text(encoding="utf-8"), flags=re.MULTILINE)


def test_the_example_as_it_is_changes_nothing():
    assert load(EXAMPLE, (), {}) == Settings()


def test_the_example_has_every_setting_with_its_default(monkeypatch):
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    example = tomllib.loads(_uncommented())
    subscription = example.pop("subscriptions")["production"]
    assert set(subscription) == set(Subscription.model_fields) - {"name"}
    tables = {name: info for name, info in Settings.model_fields.items() if name != "subscriptions"}
    assert list(example) == list(tables)
    defaults = Settings()
    for table in tables:
        model: BaseModel = getattr(defaults, table)
        assert list(example[table]) == list(type(model).model_fields), table
        for key, shown in example[table].items():
            default = getattr(model, key)
            if default is not None:  # what is not set by default shows how it is written
                expected = platformdirs.unix.Unix(APP_NAME).user_state_path if (table, key) == ("state", "dir") else 0
                assert (Path(shown).expanduser() == expected) if expected else (shown == default), f"{table}.{key}"


def test_the_example_uncommented_is_valid():
    text = re.sub(r"^(client_secret_env|client_secret|rest_url) = .*$", "", _uncommented(), flags=re.MULTILINE)
    settings = load(toml(text), (), {})
    assert settings.limits == Limits()
    assert settings.subscription().limits.calls_per_day == 100_000


def test_a_setting_that_nothing_reads_says_so_and_no_other():
    code = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "orchestrator").rglob("*.py") if path.name != "config.py"
    )
    defaults = Settings()
    described = {
        f"{table}.{key}": info.description or ""
        for table in Settings.model_fields
        if table != "subscriptions"
        for key, info in type(getattr(defaults, table)).model_fields.items()
    }
    unread = {name for name in described if not re.search(rf"\.{name.partition('.')[2]}\b", code)} - {"journal.url"}
    assert unread == {name for name, text in described.items() if text.endswith("no effect yet")}
    example = EXAMPLE.read_text(encoding="utf-8")
    assert unread == {
        f"{table}.{key}"
        for table, _, part in (chunk.partition("]") for chunk in example.split("\n[")[1:])
        for key in re.findall(r"\(no effect yet\)\n# (\w+) = ", part)
    }
