"""What goes wrong at Marketo and on the way to it: each time every row arrives once, and the summary adds up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import kit, leads
from tests.e2e.kit import Place
from tests.e2e.leads import keys_missing
from tests.e2e.relay import relay

SLOW = {"on": "batch", "do": "slow_import", "factor": 300.0}  # so that two batches of one person would meet
ROWS = 420

LOST_ANSWERS = {"batch_adopted", "batch_not_found", "chunk_resent"}

# What goes wrong, and the kinds of findings that a person is told of.
PASSING: dict[str, tuple[list[dict[str, Any]], set[str]]] = {
    "answers to uploads lost": (
        [
            {"on": "create", "nth": 1, "do": "lose_answer_after_accept"},
            {"on": "create", "nth": 3, "do": "lose_answer_before_accept"},
        ],
        LOST_ANSWERS,
    ),
    "answers to uploads unreadable": (
        [
            {"on": "create", "nth": 2, "do": "http", "status": 504, "accept": True},
            {"on": "create", "nth": 4, "do": "http", "status": 502},
            {"on": "create", "nth": 6, "do": "no_json", "accept": True},
        ],
        LOST_ANSWERS,
    ),
    "answers to uploads without a batch": (
        [
            {"on": "create", "nth": 2, "do": "empty_result"},
            {"on": "create", "nth": 4, "do": "code", "code": "604", "accept": True},
        ],
        LOST_ANSWERS,
    ),
    "uploads refused in odd ways": (
        [
            {"on": "create", "nth": 1, "do": "refused_with_batch_id"},
            {"on": "create", "nth": 3, "do": "reset_in_body", "after_bytes": 500},
        ],
        LOST_ANSWERS,
    ),
    "too many calls": (
        [
            {"on": "create", "nth": 2, "do": "code", "code": "606"},
            {"on": "status", "nth": 2, "do": "code", "code": "615"},
            {"on": "failures", "nth": 1, "do": "code", "code": "606"},
        ],
        set(),
    ),
    "every other call fails": (
        [
            {"on": "status", "every": 3, "do": "http", "status": 503},
            {"on": "failures", "every": 2, "do": "lose_answer_before_accept"},
            {"on": "warnings", "every": 2, "do": "code", "code": "611"},
        ],
        set(),
    ),
    "tokens expire": (
        [
            {"on": "token", "nth": 1, "do": "expires_in_0"},
            {"on": "create", "nth": 2, "do": "expire_token"},
            {"on": "status", "nth": 3, "do": "forget_token"},
            {"on": "failures", "nth": 2, "do": "expire_token"},
        ],
        set(),
    ),
    "statuses that say nothing": (
        [
            {"on": "status", "times": 3, "do": "empty_result"},
            {"on": "status", "nth": 5, "do": "unknown_status"},
        ],
        set(),
    ),
    "batches fail once": (
        [
            {"on": "batch", "nth": 2, "do": "fail_batch", "applied": 0.5},
            {"on": "create", "nth": 4, "do": "answer_failed"},
        ],
        {"batch_failed"},
    ),
    "listings shuffled": ([{"on": name, "do": "shuffle_file"} for name in ("failures", "warnings")], set()),
    "listings cut off or empty at first": (
        [{"on": "failures", "nth": 1, "do": "truncate_file"}, {"on": "warnings", "nth": 1, "do": "empty_file"}],
        set(),
    ),
    "listings missing or short at first": (
        [{"on": "failures", "nth": 1, "do": "missing_file"}, {"on": "warnings", "nth": 1, "do": "short_file"}],
        set(),
    ),
}


@pytest.mark.parametrize(("faults", "findings"), PASSING.values(), ids=PASSING.keys())
def test_what_passes_leaves_no_trace(
    place: Place, mark: str, faults: list[Mapping[str, Any]], findings: set[str]
) -> None:
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, ROWS))
    place.marketo.add(*faults, SLOW)

    ended = place.run("import", "leads.csv", "--out", "report", env={"ORCHESTRATOR_HTTP__TIMEOUT_SECONDS": "3"})

    assert all(place.marketo.struck()), "the test itself: a fault did not strike"
    summary = leads.assert_complete(ended, place.directory / "report", rows)
    leads.assert_delivered(place.marketo, mark, rows)
    assert place.marketo.collisions(mark) == []
    told = {finding["kind"] for finding in summary["findings"]}
    if findings == LOST_ANSWERS:  # of each, one of these is told; which depends on what happens beside it
        assert told <= findings
        assert told
    else:
        assert told == findings


def test_a_full_queue_is_waited_for(place: Place, mark: str) -> None:
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, ROWS))
    place.marketo.add({"on": "create", "nth": 2, "do": "occupy", "slots": 10, "duration_ms": 60_000}, SLOW)

    ended = place.run("import", "leads.csv", "--out", "report")

    summary = leads.assert_complete(ended, place.directory / "report", rows)
    leads.assert_delivered(place.marketo, mark, rows)
    assert place.marketo.collisions(mark) == []
    assert summary["waits"]["queue_full"]["count"] > 0
    assert summary["waits"]["queue_full"]["seconds"] > 0
    assert summary["findings"] == []


@pytest.mark.parametrize(
    "fault",
    [{"do": "truncate_file"}, {"do": "missing_file"}, {"do": "code", "code": "611"}],
    ids=lambda fault: fault["do"],
)
def test_listings_that_stay_bad_are_told_of_and_no_row_is_guessed(
    place: Place, mark: str, fault: dict[str, Any]
) -> None:
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, 250))
    place.marketo.add({"on": "failures", **fault}, {"on": "warnings", **fault})

    ended = place.run("import", "leads.csv", "--out", "report", env={"ORCHESTRATOR_BACKOFF__GIVE_UP_SECONDS": "2"})

    leads.assert_delivered(place.marketo, mark, rows)
    summary = leads.read_summary(place.directory / "report")
    if fault["do"] == "code":
        assert (ended.code, summary["state"]) == (5, "incomplete"), ended.err
        return
    assert (ended.code, summary["state"]) == (3, "complete"), ended.err
    failed = [row for row in rows if row.failure]
    assert summary["rows"]["failed"] == len(failed)
    assert summary["rows"]["warned"] == len([row for row in rows if row.warning])
    listed = leads.read_listing(place.directory / "report" / "failures.csv")
    placed = [(one["source_row"], one["source_line"]) for one in listed if one["source_row"]]
    assert summary["rows"]["unmatched"] == len(failed) - len(placed) > 0
    assert keys_missing(placed, [(str(row.row), str(row.line)) for row in failed]) == []
    assert {finding["kind"] for finding in summary["findings"]} <= {
        "result_file_missing", "result_file_differs", "result_file_damaged", "rows_unmatched",
    }  # fmt: skip
    assert summary["findings"]


def test_one_row_that_fails_its_batch_is_found_and_the_others_arrive(
    tmp_path: Path, marketo: kit.Emulator, mark: str
) -> None:
    people = leads.people(mark, 200, troubled=False)
    people[140]["lastName"] = "poison"

    def spoil(request: bytes) -> None:
        """Have Marketo fail the batch that is made of this upload, if the row is in it."""
        if b"poison" in request:
            marketo.add({"on": "batch", "nth": 1, "times": 1, "do": "fail_batch", "message": "internal error"})

    with relay(marketo.url, spoil) as wire:
        place = kit.place(tmp_path / "work", marketo, MARKETO_REST_URL=wire.url)
        rows = leads.write(place.directory / "leads.csv", people)
        ended = place.run("import", "leads.csv", "--out", "report")

    assert ended.code == 3, ended.err
    summary = leads.read_summary(place.directory / "report")
    leads.assert_delivered(marketo, mark, [row for row in rows if row.cells["lastName"] != "poison"])
    (listed,) = leads.read_listing(place.directory / "report" / "failures.csv")
    assert (listed["source_row"], listed["source_line"], listed["lastName"]) == ("141", str(rows[140].line), "poison")
    assert listed["Import Failure Reason"] == "Batch failed: Import failed, internal error"
    assert (summary["rows"]["accepted"], summary["rows"]["failed"], summary["chunks"]["refused"]) == (199, 1, 1)
    assert marketo.collisions(mark) == []


def test_a_lower_limit_of_upload_size_is_learned(tmp_path: Path, mark: str) -> None:
    with kit.emulator(tmp_path / "marketo", body_bytes_max=2_500) as marketo:
        place = kit.place(tmp_path / "work", marketo)
        rows = leads.write(place.directory / "leads.csv", leads.people(mark, 250))
        ended = place.run("import", "leads.csv", "--out", "report")

        summary = leads.assert_complete(ended, place.directory / "report", rows)
        leads.assert_delivered(marketo, mark, rows)
        assert marketo.collisions(mark) == []
    assert {finding["kind"] for finding in summary["findings"]} == {"upload_too_large"}


def test_a_record_that_no_upload_can_hold_fails_alone(tmp_path: Path, mark: str) -> None:
    people = leads.people(mark, 100, troubled=False)
    people[50]["title"] = "x" * 2_800
    with kit.emulator(tmp_path / "marketo", body_bytes_max=2_500) as marketo:
        place = kit.place(tmp_path / "work", marketo)
        rows = leads.write(place.directory / "leads.csv", people)
        ended = place.run("import", "leads.csv", "--out", "report")

        leads.assert_delivered(marketo, mark, [row for row in rows if row.row != 51])
    assert ended.code == 3, ended.err
    leads.read_summary(place.directory / "report")
    (listed,) = leads.read_listing(place.directory / "report" / "failures.csv")
    assert (listed["source_row"], listed["Import Failure Reason"]) == ("51", "Record too large for an upload")


# What stops a job for a while or for good: the code of the import, and whether the same command can go on later.
STOPPING: dict[str, tuple[dict[str, Any], int, str]] = {
    "no permission any more": ({"on": "create", "do": "code", "code": "603"}, 6, "denied"),
    "unavailable for too long": ({"on": "create", "do": "code", "code": "608"}, 5, "gave_up"),
    "unreachable for too long": ({"on": "create", "do": "lose_answer_before_accept"}, 5, "gave_up"),
    "all batches fail": ({"on": "batch", "do": "fail_batch"}, 9, "batches_failed"),
}


@pytest.mark.parametrize(("fault", "code", "reason"), STOPPING.values(), ids=STOPPING.keys())
def test_what_does_not_pass_stops_the_job_and_resume_goes_on(
    place: Place, mark: str, fault: dict[str, Any], code: int, reason: str
) -> None:
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, ROWS))
    patience = {"ORCHESTRATOR_BACKOFF__GIVE_UP_SECONDS": "1", "ORCHESTRATOR_HTTP__TIMEOUT_SECONDS": "1"}
    place.marketo.add(fault)

    stopped = place.run("import", "leads.csv", "--out", "report", env=patience)

    assert stopped.code == code, stopped.err
    summary = leads.read_summary(place.directory / "report")
    assert (summary["state"], summary["exit_code"], summary["exit_reasons"][0]) == ("incomplete", code, reason)
    assert place.marketo.people(mark) == []
    assert summary["rows"]["unsent"] + summary["rows"]["unknown"] == ROWS
    if code != 9:  # lasting, as far as anybody can tell
        assert f"Next: orchestrator resume {summary['job_id']}" in stopped.err

    place.marketo.heal()
    ended = place.run("resume", summary["job_id"], env=patience)

    leads.assert_complete(ended, place.directory / "report", rows)
    leads.assert_delivered(place.marketo, mark, rows)


def test_a_lasting_refusal_in_the_middle_leaves_the_rest_unsent_and_reports_what_was_taken(
    place: Place, mark: str
) -> None:
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, 400))
    place.marketo.add({"on": "create", "nth": 3, "do": "code", "code": "1006"}, SLOW)

    ended = place.run("import", "leads.csv", "--out", "report")

    assert ended.code == 9, ended.err
    summary = leads.read_summary(place.directory / "report")
    assert summary["exit_reasons"] == ["source_refused", "rows_failed"]
    sent = len(rows) - summary["rows"]["unsent"]
    assert (summary["rows"]["unknown"], len(summary["batches"])) == (0, 2)
    leads.assert_delivered(place.marketo, mark, rows[:sent])
    failed = [(row, row.failure) for row in rows[:sent] if row.failure]
    leads.assert_listed(place.directory / "report" / "failures.csv", failed, summary, "Import Failure Reason")


def test_rows_that_marketo_does_not_count_are_unknown(place: Place, mark: str) -> None:
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, 60, troubled=False))
    place.marketo.add({"on": "status", "do": "fewer_processed", "rows": 7})

    ended = place.run("import", "leads.csv", "--out", "report")

    assert ended.code == 7, ended.err
    summary = leads.read_summary(place.directory / "report")
    assert summary["exit_reasons"] == ["rows_unknown"]
    assert (summary["rows"]["accepted"], summary["rows"]["unknown"]) == (len(rows) - 7, 7)
    assert [finding["kind"] for finding in summary["findings"]] == ["rows_unexplained"]
