"""What the flags of an import do, from the command line to Marketo and back."""

from __future__ import annotations

import json

import pytest

from tests.e2e import leads
from tests.e2e.kit import Place
from tests.e2e.test_commands import following


def troubled(mark: str, count: int, *, failing: int) -> list[dict[str, str]]:
    """Return rows of which the last ones fail."""
    return [{"email": f"p{n}@{mark}", "leadScore": "many" if n >= count - failing else str(n)} for n in range(count)]


# --- how many may fail -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accepted", "code", "reasons"),
    [("5", 0, []), ("4", 3, ["rows_failed"]), ("5%", 0, []), ("4.9%", 3, ["rows_failed"]), (None, 3, ["rows_failed"])],
)
def test_some_may_fail(place: Place, mark: str, accepted: str | None, code: int, reasons: list[str]) -> None:
    leads.write(place.directory / "leads.csv", troubled(mark, 100, failing=5))
    flags = () if accepted is None else ("--accept-failed", accepted)

    ended = place.run("import", "leads.csv", "--out", "report", "--json", *flags)

    assert (ended.code, ended.summary["exit_code"], ended.summary["exit_reasons"]) == (code, code, reasons), ended.err
    assert (ended.summary["state"], ended.summary["rows"]["failed"]) == ("complete", 5)
    assert len(leads.read_listing(place.directory / "report" / "failures.csv")) == 5
    if not code:
        assert "Exit code 0: finished; 5 rows failed, which --accept-failed allows." in ended.err


def test_too_many_failed_rows_pause_the_job_and_who_resumes_it_goes_on(place: Place, mark: str) -> None:
    rows = leads.write(place.directory / "leads.csv", troubled(mark, 600, failing=600))

    ended = place.run("import", "leads.csv", "--out", "report", "--max-failed", "20", "--json")

    assert ended.code == 8, ended.err
    summary = ended.summary
    assert (summary["state"], summary["exit_code"], summary["exit_reasons"][0]) == ("paused", 8, "threshold")
    assert summary["rows"]["unsent"] > 0
    assert summary["rows"]["failed"] > 20
    assert "is paused: 0 of 600 rows accepted." in ended.err
    assert "paused because more rows failed than --max-failed allows" in ended.err
    skipped = place.run("resume")
    assert skipped.code == 0
    assert f"Skipped {summary['job_id']}: it is paused (threshold" in skipped.err

    named = following(ended.err)
    assert named == ["resume", summary["job_id"]]
    again = place.run(*named, "--json")
    while again.summary["state"] == "paused":  # every batch is more than allowed
        assert again.code == 8, again.err
        assert again.summary["rows"]["unsent"] < summary["rows"]["unsent"]
        summary = again.summary
        again = place.run(*named, "--json")

    last = again.summary["rows"]["failed"] - summary["rows"]["failed"]  # each run is measured by itself
    assert (again.summary["state"], again.code) == ("complete", 8 if last > 20 else 3)
    assert ("finished, but more rows failed than --max-failed allows" in again.err) is (last > 20)
    assert "Next: open " in again.err  # there is nothing left to resume
    listed = leads.read_listing(place.directory / "report" / "failures.csv")
    assert [int(one["source_row"]) for one in listed] == [row.row for row in rows]
    assert sum(batch["rows"] for batch in place.marketo.batches(summary["job_id"])) == 600


def test_half_may_fail_by_default_and_all_if_somebody_says_so(place: Place, mark: str) -> None:
    people = troubled(mark, 2_000, failing=2_000)
    rows = leads.write(place.directory / "leads.csv", people)

    ended = place.run("import", "leads.csv", "--out", "first", "--json")
    allowed = place.run("import", "leads.csv", "--out", "second", "--max-failed", "100%", "--force", "--json")

    assert (ended.code, ended.summary["state"]) == (8, "paused"), ended.err
    assert ended.summary["rows"]["failed"] >= 1_000
    leads.assert_complete(allowed, place.directory / "second", rows)


# --- how many rows there must be ---------------------------------------------------------------------------------


def test_a_file_without_records_if_that_is_allowed(place: Place, mark: str) -> None:
    place.write("none.csv", "email,firstName\n")
    place.write("nothing.csv", "")

    for name in ("none.csv", "nothing.csv"):
        refused = place.run("import", name)
        assert (refused.code, name in refused.err) == (4, True), refused.err
        ended = place.run("import", name, "--allow-empty", "--out", f"report-{name}", "--json")
        assert ended.code == 0, ended.err
        assert (ended.summary["state"], ended.summary["rows"]["in_source"]) == ("complete", 0)
        assert ended.summary["batches"] == []
        assert leads.read_summary(place.directory / f"report-{name}") == ended.summary
        assert "Exit code 0: there were no rows to import." in ended.err


def test_an_empty_file_beside_a_full_one(place: Place, mark: str) -> None:
    place.write("none.csv", "email,firstName\n")
    rows = leads.write(place.directory / "some.csv", leads.people(mark, 50, troubled=False))

    ended = place.run("import", "none.csv", "some.csv", "--allow-empty", "--out", "report", "--json")

    leads.assert_complete(ended, place.directory / "report", rows)
    assert [source["rows"] for source in ended.summary["sources"]] == [0, 50]


def test_too_few_rows_are_refused(place: Place, mark: str) -> None:
    leads.write(place.directory / "one.csv", leads.people(mark, 30))
    leads.write(place.directory / "two.csv", leads.people(mark, 30, first=100))

    ended = place.run("import", "one.csv", "two.csv", "--min-rows", "61")
    assert ended.code == 4
    assert "there are only 60 rows in all, at least 61 are expected" in ended.err
    assert place.marketo.people(mark) == []
    assert place.run("plan", "one.csv", "two.csv", "--min-rows", "61").code == 4
    assert place.run("import", "one.csv", "two.csv", "--min-rows", "60").code == 3


# --- which files, and what they are called -----------------------------------------------------------------------


def test_patterns_stand_for_files_in_natural_order_and_the_order_is_told(place: Place, mark: str) -> None:
    person = {"email": f"one@{mark}"}
    for number in (10, 9, 1):
        leads.write(place.directory / f"part-{number}.csv", [{**person, "lastName": f"from {number}"}])

    ended = place.run("import", "part-*.csv", "--out", "report", "--json")

    assert ended.code == 0, ended.err
    assert [source["path"] for source in ended.summary["sources"]] == ["part-1.csv", "part-9.csv", "part-10.csv"]
    lines = ended.err.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("Reading 3 files"))
    assert lines[at + 1 : at + 4] == ["  1  part-1.csv", "  2  part-9.csv", "  3  part-10.csv"]
    assert place.marketo.people(mark) == [{**person, "lastName": "from 10"}]  # the last one wins


def test_the_file_that_one_pattern_means_is_told_too(place: Place, mark: str) -> None:
    leads.write(place.directory / "only-1.csv", leads.people(mark, 3, troubled=False))
    ended = place.run("import", "only-*.csv")
    assert ended.code == 0, ended.err
    assert "\n  1  only-1.csv\n" in ended.err
    assert "  1  only-1.csv" not in place.run("import", "only-1.csv").err


def test_labels_stand_in_summary_and_status(place: Place, mark: str) -> None:
    leads.write(place.directory / "leads.csv", leads.people(mark, 3, troubled=False))

    ended = place.run("import", "leads.csv", "--out", "report", "--json", "--label", "team=emea", "--label", "run=7=b")

    assert ended.summary["labels"] == {"team": "emea", "run": "7=b"}
    assert leads.read_summary(place.directory / "report")["labels"] == {"team": "emea", "run": "7=b"}
    assert "labels    team=emea, run=7=b" in place.run("status").out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--label", "team"), ("--label team", "NAME=VALUE")),
        (("--label", "=emea"), ("--label =emea", "NAME=VALUE")),
        (("--label", "a=1", "--label", "a=2"), ("--label a", "twice")),
        (("--max-failed", "half"), ("--max-failed", "'half'", "5%")),
        (("--max-failed", "101%"), ("--max-failed", "100%")),
        (("--accept-failed", "-1"), ("--accept-failed", "below 0")),
        (("--canary", "0"), ("--canary", "less than 1")),
        (("--min-rows", "some"), ("--min-rows", "whole number")),
    ],
)
def test_flags_that_mean_nothing(place: Place, mark: str, flags: tuple[str, ...], words: tuple[str, ...]) -> None:
    leads.write(place.directory / "leads.csv", leads.people(mark, 3))
    ended = place.run("import", "leads.csv", *flags)
    assert ended.code == 2, ended.err
    for word in words:
        assert word in ended.err, ended.err
    assert place.run("jobs", "--json").out == "[]\n"


def test_a_plan_names_the_import_with_all_its_flags(place: Place, mark: str) -> None:
    leads.write(place.directory / "leads.csv", leads.people(mark, 30, troubled=False))
    flags = ["--canary", "5", "--label", "team=e mea", "--max-failed", "7%", "--no-check", "--out", "there"]

    ended = place.run("plan", "leads.csv", *flags)

    assert ended.code == 0, ended.err
    named = following(ended.err.replace("Nothing was sent. Next:", "Next:"))
    assert named[:2] == ["import", "leads.csv"]
    assert sorted(named[2:]) == sorted(flags)
    imported = place.run(*named)
    assert imported.code == 0, imported.err
    summary = leads.read_summary(place.directory / "there")
    assert (summary["labels"], summary["batches"][0]["rows"]) == ({"team": "e mea"}, 5)
    assert summary["chunks"]["total"] == json.loads(place.run("plan", "leads.csv", *flags, "--json").out)["chunks"]


# --- several subscriptions, and jobs that are bound to a host -----------------------------------------------------


def test_jobs_of_a_host_are_not_resumed_into_another_one_of_the_same_name(place: Place, mark: str) -> None:
    leads.write(place.directory / "leads.csv", troubled(mark, 60, failing=60))
    nobody = {name: None for name in place.env if name.startswith("MARKETO_")}
    table = "client_id = '{MARKETO_CLIENT_ID}'\nclient_secret = '{MARKETO_CLIENT_SECRET}'\n".format(**place.env)
    url = place.marketo.url
    place.write("orchestrator.toml", f"[subscriptions.eu]\nrest_url = '{url}'\n{table}")
    ended = place.run("import", "leads.csv", "--max-failed", "3", "--canary", "10", "--json", env=nobody)
    assert ended.code == 8, ended.err
    job, before = ended.summary["job_id"], len(place.marketo.creates())
    elsewhere = url.replace("127.0.0.1", "localhost")
    place.write(
        "orchestrator.toml",
        f"[subscriptions.eu]\nrest_url = '{elsewhere}'\n{table}[subscriptions.old]\nrest_url = '{url}'\n{table}",
    )

    unclear = place.run("resume", job, env=nobody)
    named = place.run("resume", job, "--subscription", "eu", env=nobody)
    unnamed = place.run("resume", "--subscription", "eu", env=nobody)

    assert unclear.code == 2
    assert "several subscriptions (eu, old): choose one with --subscription NAME" in unclear.err
    host, now = url.removeprefix("http://"), elsewhere.removeprefix("http://")
    assert named.code == 2
    assert f"job {job}: it writes to {host}, but subscription eu is {now}" in named.err
    assert unnamed.code == 0
    assert f"Skipped {job}: it writes to {host}, but subscription eu is {now}" in unnamed.err
    assert len(place.marketo.creates()) == before
    there = place.run("resume", job, "--subscription", "old", env=nobody)
    assert there.code == 8, there.err  # the others fail, too
    assert sum(batch["rows"] for batch in place.marketo.batches(job)) == 60
    jobs = json.loads(place.run("jobs", "--json", "--subscription", "old", env=nobody).out)
    assert jobs == []  # it was begun under the other name
    assert len(json.loads(place.run("jobs", "--json", "--subscription", "eu", env=nobody).out)) == 1
