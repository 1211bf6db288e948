"""describe, usage, wait, doctor and init, as they are used: against a Marketo, and against the lack of one."""

from __future__ import annotations

import json
import re
import signal
import stat
import tomllib
from pathlib import Path
from typing import Any

import pytest

from orchestrator.marketo.day import PACE_AFTER_CALLS
from tests.e2e import kit, leads
from tests.e2e.kit import CLIENT_ID, CLIENT_SECRET, Place
from tests.e2e.terminal import Terminal
from tests.e2e.test_commands import following

HELD = {"on": "batch", "nth": 1, "do": "delay_start", "ms": 36_000_000}  # whatever is queued waits behind it
LONGER_THAN_IT_TAKES_TO_GIVE_UP = "7"  # seconds; a job that nobody works on is given up after some looks
NOBODY = {"MARKETO_REST_URL": None, "MARKETO_CLIENT_ID": None, "MARKETO_CLIENT_SECRET": None}


def data(place: Place, *arguments: str, **env: str | None) -> Any:
    ended = place.run(*arguments, "--json", env=env)
    assert ended.code == 0, ended.err
    return json.loads(ended.out)


# --- describe and usage ------------------------------------------------------------------------------------------


def test_describe_leads(place: Place) -> None:
    fields = {field["name"]: field for field in data(place, "describe", "leads")["fields"]}
    assert fields["email"] == {
        "name": "email", "display_name": "Email Address", "type": "email", "length": 255, "updateable": True,
        "key": True, "lookup": True,
    }  # fmt: skip
    assert (fields["id"]["updateable"], fields["id"]["key"], fields["id"]["lookup"]) == (False, False, True)
    assert (fields["firstName"]["key"], fields["firstName"]["lookup"]) == (False, False)

    told = place.run("describe", "leads")

    header, *lines = [line.split("  ") for line in told.out.splitlines()]
    assert [cell.strip() for cell in header if cell.strip()] == [
        "NAME", "DISPLAY NAME", "TYPE", "LENGTH", "UPDATEABLE", "KEY",
    ]  # fmt: skip
    assert len(lines) == len(fields)


def test_describe_a_custom_object(place: Place) -> None:
    for spec in kit.EMULATOR["custom_objects"]:
        fields = data(place, "describe", f"custom:{spec['name']}")["fields"]
        assert [field["name"] for field in fields if field["key"]] == list(spec["dedupe_fields"])
    wrong = place.run("describe", f"custom:{spec['name']}x")
    assert wrong.code == 4
    assert f"Did you mean '{spec['name']}'?" in wrong.err


def test_describe_program_members(place: Place) -> None:
    fields = {field["name"]: field for field in data(place, "describe", "program-members")["fields"]}
    assert [name for name, field in fields.items() if field["key"]] == ["email"]
    assert {"firstName", "statusName"} <= fields.keys()


@pytest.mark.parametrize("target", ["lead", "custom", "custom:", "members"])
def test_describe_nothing_that_there_is(place: Place, target: str) -> None:
    ended = place.run("describe", target)
    assert ended.code == 2
    assert "must be leads, custom:API_NAME or program-members" in ended.err


def test_usage(place: Place) -> None:
    before = data(place, "usage")
    after = data(place, "usage")
    assert after["total"] > before["total"] > 0
    assert after["total"] == sum(user["calls"] for user in after["users"])
    assert (after["calls_per_day"], after["users"][0]["user"]) == (50_000, "api@emulator.invalid")
    assert after["calls"] == {"exhausted_at": None}  # so few say nothing about the day
    assert after["own"] + after["others"] == after["total"]
    told = place.run("usage")
    assert after["total"] >= PACE_AFTER_CALLS or "at this pace" not in told.out
    assert "API calls today" in told.out
    assert re.search(r"[\d,]+ by imports from this journal, [\d,]+ by everything else;", told.out)
    assert "api@emulator.invalid" in told.out


# --- wait --------------------------------------------------------------------------------------------------------


def test_wait_ends_with_the_code_of_the_job(place: Place, mark: str) -> None:
    leads.write(place.directory / "leads.csv", leads.people(mark, 60))
    place.marketo.add(HELD)
    with place.start("import", "leads.csv", "--out", "report", "--json") as importing:
        job = importing.see("chunk.submitted")[0]["job_id"]
        with place.start("wait", job[:-1], "--json", env=NOBODY) as waiting:  # it needs no credentials
            waiting.read(f"Waiting for job {job}")
            place.marketo.finish()
            waited = waiting.end()
        ended = importing.end()
    assert (waited.code, ended.code) == (3, 3), waited.err
    assert waited.summary == ended.summary
    assert "is complete" in waited.err
    again = place.run("wait", job)
    assert again.code == 3


def test_wait_for_several_jobs_ends_with_the_worst_code(place: Place, mark: str) -> None:
    leads.write(place.directory / "good.csv", leads.people(mark, 20, troubled=False))
    leads.write(place.directory / "bad.csv", leads.people(mark, 20, first=100))
    files = ("good.csv", "bad.csv", "good.csv")
    jobs = [place.run("import", file, "--json", "--force").summary["job_id"] for file in files]
    assert place.run("wait", jobs[0], jobs[2]).code == 0
    waited = place.run("wait", *jobs, "--json")
    assert waited.code == 3, waited.err
    assert [line["summary"]["job_id"] for line in waited.events] == jobs


def test_wait_no_longer_than_so_long(place: Place, mark: str) -> None:
    leads.write(place.directory / "leads.csv", leads.people(mark, 60))
    place.marketo.add(HELD)
    with place.start("import", "leads.csv", "--out", "report", "--json") as importing:
        job = importing.see("chunk.submitted")[0]["job_id"]
        waited = place.run("wait", job, "--timeout", "0.5")
        assert importing.process.poll() is None
        place.marketo.finish()
        importing.end()
    assert waited.code == 5
    assert "the job is not finished after" in waited.err
    assert following(waited.err) == ["wait", job]


@pytest.mark.parametrize("others", [False, True], ids=["nobody-drives", "somebody-drives-for-others"])
def test_wait_for_a_job_that_nobody_works_on(place: Place, mark: str, others: bool) -> None:
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, 800))
    leads.write(place.directory / "other.csv", leads.people(mark, 20, first=2000, troubled=False))
    place.marketo.add(HELD)
    with place.start("import", "leads.csv", "--out", "report", "--json") as importing:
        job = importing.see("chunk.submitted", 4)[0]["job_id"]
        importing.kill()
    if others:
        with place.start("import", "other.csv", "--json") as driving:
            driving.see("job.planned")
            waited = place.run("wait", job)
            assert driving.process.poll() is None
            place.marketo.finish()
            driving.end()
    else:
        waited = place.run("wait", job)
    assert waited.code == 5, waited.err
    assert "no process works on the job any more" in waited.err
    place.marketo.finish()
    resumed = place.run(*following(waited.err))
    leads.assert_complete(resumed, place.directory / "report", rows)


def test_wait_for_a_job_that_another_process_brings_to_its_end(place: Place, mark: str) -> None:
    leads.write(place.directory / "leads.csv", leads.people(mark, 40))
    leads.write(place.directory / "other.csv", leads.people(mark, 800, first=2000, troubled=False))
    place.marketo.add(HELD)
    with place.start("import", "leads.csv", "--out", "report", "--json") as importing:
        (planned,) = importing.see("job.planned")
        importing.see("chunk.submitted", planned["chunks"])  # all of it is at Marketo
        importing.kill()
    with place.start("import", "other.csv", "--json") as driving:
        driving.see("job.planned")
        with place.start("wait", planned["job_id"]) as waiting:
            waiting.read("Waiting for job")
            driving.read(planned["job_id"])  # it has taken the job in
            impatient = place.run("wait", planned["job_id"], "--timeout", LONGER_THAN_IT_TAKES_TO_GIVE_UP)
            place.marketo.finish()
            waited = waiting.end()
        driving.end()
    assert "the job is not finished after" in impatient.err
    assert waited.code == 3, waited.err


def test_who_waits_can_stop_waiting(place: Place, mark: str) -> None:
    leads.write(place.directory / "leads.csv", leads.people(mark, 60))
    place.marketo.add(HELD)
    with place.start("import", "leads.csv", "--out", "report", "--json") as importing:
        job = importing.see("chunk.submitted")[0]["job_id"]
        with Terminal(place, "wait", job) as terminal:
            terminal.read("1 queued")
            terminal.press("c")
            assert terminal.end() == 130, terminal.text
        assert "no longer waited for" in terminal.text
        assert importing.process.poll() is None
        importing.signal(signal.SIGINT)
        importing.end()


# --- doctor ------------------------------------------------------------------------------------------------------


def checks(place: Place, code: int, *flags: str, **env: str | None) -> dict[str, dict[str, str]]:
    ended = place.run("doctor", "--json", *flags, env=env)
    assert ended.code == code, ended.out + ended.err
    found = json.loads(ended.out)
    assert found["exit_code"] == code
    return {check["name"]: check for check in found["checks"]}


def test_doctor_finds_nothing_wrong(place: Place, mark: str) -> None:
    leads.write(place.directory / "leads.csv", leads.people(mark, 20, troubled=False))
    assert checks(place, 0)["journal"]["message"].endswith("the first import makes it")
    assert not place.state.exists()  # it looks, and makes nothing
    assert place.run("import", "leads.csv").code == 0
    creates = len(place.marketo.creates())
    found = checks(place, 0)
    assert list(found) == [
        "settings", "credentials", "host", "token", "clock", "leads", "imports", "custom objects", "program members",
        "partitions", "assets", "API calls", "state directory", "disk", "journal", "driver", "jobs",
    ]  # fmt: skip
    assert {check["mark"] for check in found.values()} == {"ok"}
    assert "1 job, undamaged" in found["journal"]["message"]
    assert len(place.marketo.creates()) == creates
    told = place.run("doctor")
    assert all(line.startswith("ok ") for line in told.out.splitlines())
    assert "Exit code 0: nothing is wrong." in told.err


def test_doctor_sees_a_missing_permission(place: Place) -> None:
    who = {"MARKETO_CLIENT_ID": kit.READER["client_id"], "MARKETO_CLIENT_SECRET": kit.READER["client_secret"]}
    found = checks(place, 6, **who)
    assert [name for name, check in found.items() if check["mark"] == "fail"] == ["leads", "imports"]
    assert "Read-Write Lead" in found["leads"]["advice"]
    assert (found["custom objects"]["mark"], found["assets"]["mark"]) == ("warn", "ok")
    told = place.run("doctor", env=who)
    assert "-> give the API user's role the permission Read-Write Lead" in told.out


@pytest.mark.parametrize(
    ("env", "code", "name", "words"),
    [
        ({"MARKETO_CLIENT_SECRET": "of-another-service-0123456789"}, 6, "token", "LaunchPoint"),
        ({"MARKETO_REST_URL": "https://123-abc-456.mktorest.invalid"}, 2, "host", "munchkin id"),
        ({"MARKETO_REST_URL": "http://127.0.0.1:1"}, 5, "host", "refuses connections"),
        ({"MARKETO_REST_URL": "http://marketo.example"}, 2, "host", "https"),
        ({"MARKETO_CLIENT_SECRET": None}, 2, "credentials", "MARKETO_CLIENT_SECRET"),
        ({"ORCHESTRATOR_LIMITS__SLOTS": "99"}, 2, "settings", "from 1 to 10"),
        ({"ORCHESTRATOR_STATE__DIR": "leads.csv/state"}, 2, "state directory", "state.dir"),
    ],
)
def test_doctor_names_what_is_wrong(place: Place, env: dict[str, str | None], code: int, name: str, words: str) -> None:
    place.write("leads.csv", "email\n")
    found = checks(place, code, **env)
    assert [check["name"] for check in found.values() if check["mark"] == "fail"] == [name]
    assert words in found[name]["message"]
    assert "of-another-service" not in json.dumps(found)
    if name != "settings":
        assert "disk" in found  # one thing does not hide the others
        assert found["settings"]["message"].startswith("the environment (no orchestrator.toml here): ")


def test_doctor_says_that_there_is_no_subscription(place: Place) -> None:
    for name in NOBODY:
        del place.env[name]
    settings = checks(place, 2)["settings"]
    assert (settings["mark"], settings["advice"].startswith("orchestrator init")) == ("warn", True)
    place.write("orchestrator.toml", "")
    assert checks(place, 2)["settings"]["message"] == "orchestrator.toml and the environment: 0 subscriptions"


def test_doctor_looks_at_this_machine(place: Place, mark: str) -> None:
    leads.write(place.directory / "leads.csv", leads.people(mark, 300))
    place.marketo.add(HELD)
    with place.start("import", "leads.csv", "--out", "report", "--json") as importing:
        job = importing.see("chunk.submitted")[0]["job_id"]
        driven = checks(place, 0)
        assert f"process {importing.process.pid} imports" in driven["driver"]["message"]
        assert driven["jobs"]["mark"] == "ok"
        importing.kill()
    place.state.chmod(0o755)
    left = checks(place, 0)
    assert (left["jobs"]["mark"], job in left["jobs"]["message"]) == ("warn", True)
    assert (left["state directory"]["mark"], "chmod 700" in left["state directory"]["advice"]) == ("warn", True)
    journal = place.state / "journal.db"
    content = bytearray(journal.read_bytes())
    content[4096 * 2 : 4096 * 4] = b"\xff" * (4096 * 2)
    for extra in place.state.glob("journal.db-*"):
        extra.unlink()
    journal.write_bytes(content)
    broken = checks(place, 1)
    assert broken["journal"]["mark"] == "fail"


def test_doctor_warns_when_few_calls_are_left(place: Place, mark: str) -> None:
    leads.write(place.directory / "leads.csv", leads.people(mark, 500))
    assert place.run("import", "leads.csv").code in (0, 3)  # of which many calls are made
    used = data(place, "usage")["total"]
    found = checks(place, 0, "--set", f"limits.calls_per_day={used + 1}", "--set", "limits.calls_reserved=0")
    assert found["API calls"]["mark"] == "warn"


# --- init --------------------------------------------------------------------------------------------------------


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def bare(place: Place) -> Place:
    """A place without any settings for Marketo."""
    for name in NOBODY:
        del place.env[name]
    return place


def test_init_asks_tests_and_writes_two_files(bare: Place) -> None:
    with Terminal(bare, "init") as terminal:
        shown = terminal.read("Munchkin id or REST endpoint: ")
        terminal.type(f"{bare.marketo.url}/rest")
        shown += terminal.read("Client id: ")
        terminal.type(CLIENT_ID)
        shown += terminal.read("Client secret (not shown): ")
        terminal.type("a-secret-with-a-slip-0123456789")
        shown += terminal.read("Once more")
        terminal.read(f"Munchkin id or REST endpoint [{bare.marketo.url}/rest]: ")
        terminal.type("")
        terminal.read(f"Client id [{CLIENT_ID}]: ")
        terminal.type("")
        terminal.read("(not shown): ")
        terminal.type(CLIENT_SECRET)
        terminal.read("Next: orchestrator doctor")
        code = terminal.end()

    assert code == 0, terminal.text
    for words in ("Admin > Integration > Munchkin", "Admin > Integration > LaunchPoint", "Read-Write Lead"):
        assert words in shown
    assert CLIENT_SECRET not in terminal.text
    assert "a-secret-with-a-slip" not in terminal.text
    config, secret = bare.directory / "orchestrator.toml", bare.directory / "orchestrator.default.secret"
    assert tomllib.loads(config.read_text(encoding="utf-8")) == {
        "subscriptions": {
            "default": {
                "rest_url": f"{bare.marketo.url}/rest",
                "client_id": CLIENT_ID,
                "client_secret_file": secret.name,
            }
        }
    }
    assert secret.read_text(encoding="utf-8") == f"{CLIENT_SECRET}\n"
    assert (mode(config), mode(secret)) == (0o600, 0o600)
    assert bare.run("doctor").code == 0


def test_init_without_a_terminal_says_what_is_missing(bare: Place) -> None:
    ended = bare.run("init", "--client-id", CLIENT_ID)
    assert ended.code == 2
    assert "give --munchkin-id (or --rest-url), --secret-file, too" in ended.err
    assert not (bare.directory / "orchestrator.toml").exists()


def test_init_by_flags_uses_a_secret_where_it_is_and_changes_no_file(bare: Place) -> None:
    bare.write("secret", CLIENT_SECRET)
    flags = ("--rest-url", bare.marketo.url, "--client-id", CLIENT_ID)
    wrong = bare.run("init", "--rest-url", bare.marketo.url, "--client-id", "nobody", "--secret-file", "secret")
    assert (wrong.code, sorted(path.name for path in bare.directory.iterdir())) == (6, ["secret"]), wrong.err

    made = bare.run("init", *flags, "--secret-file", "secret", "--json")

    assert made.code == 0, made.err
    config = bare.directory / "orchestrator.toml"
    assert json.loads(made.out)["written"] == [str(config)]
    assert 'client_secret_file = "secret"' in config.read_text(encoding="utf-8")
    before = config.read_bytes()
    again = bare.run("init", *flags, "--secret-file", "secret")
    assert (again.code, "has a subscription default already" in again.err) == (2, True), again.err
    second = bare.run("init", *flags, "--secret-file", "secret", "--subscription", "sandbox")
    assert (second.code, "nobody can be asked" in second.err) == (2, True), second.err
    assert config.read_bytes() == before
    other = bare.run("init", *flags, "--secret-file", "secret", "--config", "other.toml")
    assert other.code == 0, other.err
    assert "Next: orchestrator doctor --config " in other.err


def test_init_adds_a_subscription_to_a_file_if_somebody_agrees(bare: Place) -> None:
    before = "# mine\n[limits]\nslots = 5\n\n[subscriptions.live]\nmunchkin_id = '123-ABC-456'\nclient_id = 'x'\nclient_secret = 'y'"
    config = bare.write("orchestrator.toml", before)
    config.chmod(0o640)
    bare.write("secret", CLIENT_SECRET)
    arguments = ("init", "--subscription", "sandbox", "--secret-file", "secret", "--client-id", CLIENT_ID)
    with Terminal(bare, *arguments) as terminal:
        terminal.read(f"Add subscription sandbox to {config}? [y/N] ")
        terminal.type("n")
        assert terminal.end() == 2, terminal.text
    assert config.read_text(encoding="utf-8") == before
    with Terminal(bare, *arguments) as terminal:
        terminal.read("? [y/N] ")
        terminal.type("y")
        terminal.read("Munchkin id or REST endpoint: ")
        terminal.type(bare.marketo.url)
        assert terminal.end() == 0, terminal.text
    after = config.read_text(encoding="utf-8")
    assert after.startswith(before)
    assert list(tomllib.loads(after)["subscriptions"]) == ["live", "sandbox"]
    assert mode(config) == 0o640
    assert bare.run("usage", "--subscription", "sandbox").code == 0


def test_init_says_which_variables_stand_in_the_way(place: Place) -> None:
    place.write("secret", CLIENT_SECRET)
    ended = place.run(
        "init", "--rest-url", place.marketo.url, "--client-id", CLIENT_ID, "--secret-file", "secret",
        "--config", "new.toml",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    assert "Unset MARKETO_REST_URL, MARKETO_CLIENT_ID, MARKETO_CLIENT_SECRET" in ended.err
