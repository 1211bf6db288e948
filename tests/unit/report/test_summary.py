from __future__ import annotations

import json
from dataclasses import replace

import pytest

from orchestrator.errors import JournalError
from orchestrator.model import (
    BatchId,
    BatchStatus,
    CustomObjects,
    Finding,
    Format,
    JobState,
    Leads,
    Phase,
    ProgramMembers,
)
from orchestrator.report.part import Reason, RowKind
from orchestrator.report.summary import summarise


@pytest.fixture
def summarised(job, source):
    def make(*chunks, sources=None, **values):
        arguments = {
            "job": job(),
            "sources": [source(rows=sum(chunk.span.rows for chunk in chunks if chunk.phase is not Phase.SPLIT))],
            "chunks": chunks,
            "findings": [],
            "reasons": [],
            "api_calls": {},
            "waits": {},
            "version": "1.2.3",
        }
        return summarise(**arguments | ({} if sources is None else {"sources": sources}) | values)

    return make


def test_the_document_is_the_one_that_users_are_promised(summarised, chunk, job, source):
    summary = summarised(
        chunk(2, first_row=6, rows=4, accepted=3, failed=1, unmatched=1, resent=1),
        chunk(1, rows=5, accepted=5, warned=2, adopted=True),
        sources=[source(rows=11, superseded=2)],
        job=job(name="spring", labels=(("team", "crm"),), parent="job-0", exit_reasons=("rows_failed",)),
        findings=[Finding(kind="k", message="m", batch_id=BatchId(102)), Finding(kind="l", message="n")],
        reasons=[Reason(kind=RowKind.FAILURE, text="no", rows=1, example_row=None)],
        api_calls={"submit": 2, "usage": 1},
        waits={"rate_limited": (2, 1234), "other": (1, 5)},
    )
    document = json.loads(summary.to_json())
    expected = {
        "schema": "orchestrator.summary/1",
        "job_id": "job-1",
        "name": "spring",
        "labels": {"team": "crm"},
        "parent": "job-0",
        "state": "complete",
        "exit_code": 3,
        "exit_reasons": ["rows_failed"],
        "target": {"object": "leads", "lookup_field": "email"},
        "subscription": {
            "name": "default",
            "host": "123-abc-456.mktorest.com",
            "api_user": "api@example.com",
            "emulator": False,
        },
        "version": "1.2.3",
        "sources": [
            {
                "path": "leads.csv",
                "bytes": 100,
                "sha256": "ab" * 32,
                "rows": 11,
                "blank_lines": 0,
                "encoding": "utf-8",
                "delimiter": ",",
            }
        ],
        "rows": {
            "in_source": 11,
            "skipped": {"superseded": 2},
            "read": 9,
            "accepted": 8,
            "failed": 1,
            "warned": 2,
            "unsent": 0,
            "unknown": 0,
            "unmatched": 1,
        },
        "chunks": {"total": 2, "done": 2, "unsent": 0, "unknown": 0, "refused": 0},
        "batches": [
            {
                "batch_id": 101,
                "chunk": 1,
                "source": 0,
                "first_row": 1,
                "rows": 5,
                "status": "Complete",
                "accepted": 5,
                "failed": 0,
                "warned": 2,
                "attempts": 1,
                "adopted": True,
                "resent": 0,
                "repeated": False,
                "submitted_at": "2023-11-14T22:13:20.000Z",
                "completed_at": "2023-11-14T22:14:20.500Z",
                "polls": 3,
            },
            {
                "batch_id": 102,
                "chunk": 2,
                "source": 0,
                "first_row": 6,
                "rows": 4,
                "status": "Complete",
                "accepted": 3,
                "failed": 1,
                "warned": 0,
                "attempts": 1,
                "adopted": False,
                "resent": 1,
                "repeated": True,
                "submitted_at": "2023-11-14T22:13:20.000Z",
                "completed_at": "2023-11-14T22:14:20.500Z",
                "polls": 3,
            },
        ],
        "lost_answers": {"adopted": 1, "resent": 1, "resent_rows": 4},
        "findings": [
            {"kind": "k", "message": "m", "batch_id": 102},
            {"kind": "l", "message": "n", "batch_id": None},
        ],
        "reasons": [{"id": "R1", "kind": "failure", "reason": "no", "rows": 1, "example_row": None}],
        "api_calls": {
            "token": 0,
            "submit": 2,
            "status": 0,
            "failures": 0,
            "warnings": 0,
            "describe": 0,
            "usage": 1,
        },
        "waits": {
            "queue_full": {"count": 0, "seconds": 0.0},
            "rate_limited": {"count": 2, "seconds": 1.234},
            "other": {"count": 1, "seconds": 0.005},
        },
        "started_at": "2023-11-14T22:13:20.000Z",
        "finished_at": "2023-11-14T22:14:50.000Z",
        "next": "orchestrator status job-1",
    }
    assert document == expected
    assert json.dumps(document) == json.dumps(expected)  # the order of the keys too


def test_every_phase_has_its_bucket(summarised, chunk, job):
    phases = {
        Phase.READY: "unsent",
        Phase.CANCELLED: "unsent",
        Phase.REFUSED: "unsent",
        Phase.SUBMITTING: "unknown",
        Phase.SUBMITTED: "unknown",
        Phase.COLLECTING: "unknown",
        Phase.UNKNOWN: "unknown",
    }
    for phase, bucket in phases.items():
        summary = summarised(chunk(1, phase=phase, batch_id=None), job=job(state=JobState.INCOMPLETE))
        assert getattr(summary.rows, bucket) == 10
        assert getattr(summary.chunks, "refused" if phase is Phase.REFUSED else bucket) == 1
        assert summary.chunks.total == 1
        assert (summary.exit_code, summary.exit_reasons) == (5, ("unfinished",))
        assert summary.batches == ()
    assert {*phases, Phase.DONE, Phase.SPLIT} == set(Phase)


def test_what_a_batch_leaves_unexplained_is_unknown_for_good(summarised, chunk):
    summary = summarised(chunk(1, accepted=7, failed=1, unknown=2))
    assert (summary.rows.unknown, summary.exit_code, summary.chunks.done) == (2, 7, 1)


def test_a_refused_record_is_failed_and_not_unsent(summarised, chunk):
    summary = summarised(chunk(1, phase=Phase.REFUSED, rows=1, failed=1, batch_id=None))
    assert (summary.rows.failed, summary.rows.unsent, summary.chunks.refused) == (1, 0, 1)
    assert summary.exit_code == 3


def test_only_the_parts_of_a_split_chunk_count(summarised, chunk):
    summary = summarised(
        chunk(1, phase=Phase.SPLIT, rows=10, status=BatchStatus.FAILED),
        chunk(2, rows=5, accepted=5, parent=1),
        chunk(3, rows=5, first_row=6, accepted=5, parent=1),
    )
    assert (summary.rows.read, summary.rows.accepted, summary.chunks.total) == (10, 10, 2)
    assert [batch.batch_id for batch in summary.batches] == [102, 103]


def test_an_upload_sent_again_counts_when_it_is_split_afterwards(summarised, chunk):
    summary = summarised(
        chunk(1, phase=Phase.SPLIT, rows=10, status=BatchStatus.FAILED, resent=1),
        chunk(2, phase=Phase.SPLIT, rows=6, status=BatchStatus.FAILED, parent=1, depth=1, adopted=True),
        chunk(3, rows=3, accepted=3, parent=2, depth=2, resent=1),
        chunk(4, rows=3, first_row=4, accepted=3, parent=2, depth=2),
        chunk(5, rows=4, first_row=7, accepted=4, parent=1, depth=1),
        chunk(6, phase=Phase.SPLIT, rows=2, first_row=11, status=BatchStatus.FAILED),
        chunk(7, rows=1, first_row=11, accepted=1, parent=6, depth=1, resent=2),
        chunk(8, rows=1, first_row=12, accepted=1, parent=6, depth=1),
    )
    told = summary.lost_answers
    assert (told.adopted, told.resent, told.resent_rows) == (1, 4, 10 + 1)
    assert {batch.chunk: batch.repeated for batch in summary.batches} == {3: True, 4: True, 5: True, 7: True, 8: False}


def test_a_job_without_a_plan_is_all_zeros(summarised, job):
    summary = summarised(job=job(state=JobState.FAILED, started_ms=None, finished_ms=None), sources=[])
    assert (summary.rows.in_source, summary.rows.read, summary.exit_code) == (0, 0, 4)
    assert (summary.started_at, summary.finished_at) == (None, None)


def test_causes_handed_in_take_the_place_of_those_the_job_carries(summarised, chunk, job):
    stopped = job(state=JobState.INCOMPLETE, exit_reasons=("denied", "rows_failed"))
    ready = chunk(1, phase=Phase.READY)
    assert summarised(ready, job=stopped).exit_reasons == ("denied",)
    assert summarised(ready, job=stopped, causes=["sigint"]).exit_reasons == ("sigint",)
    assert summarised(ready, job=stopped, causes=[]).exit_reasons == ("unfinished",)


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        (Leads(lookup_field="sfdcId"), {"object": "leads", "lookup_field": "sfdcId"}),
        (
            Leads(list_id=1001, partition="EU"),
            {"object": "leads", "lookup_field": "email", "list_id": 1001, "partition": "EU"},
        ),
        (CustomObjects(api_name="car_c"), {"object": "custom:car_c"}),
        (
            ProgramMembers(program_id=5, member_status="On List"),
            {"object": "program-members", "program_id": 5, "member_status": "On List"},
        ),
    ],
)
def test_every_target_is_told(summarised, job, target, shown):
    assert summarised(job=job(target=target), sources=[]).target == shown


def test_delimiters_are_told_as_characters(summarised, source):
    sources = [source(index=at, rows=0, format=format) for at, format in enumerate(Format)]
    assert [entry.delimiter for entry in summarised(sources=sources).sources] == [",", "\t", ";"]


# --- the law --------------------------------------------------------------------------------------------------


def test_a_row_that_no_chunk_has_is_a_broken_law(summarised, chunk, source):
    with pytest.raises(JournalError, match="job-1 do not add up: its sources have 11 rows, its chunks 10, and 0 are"):
        summarised(chunk(1, accepted=10), sources=[source(rows=11)])
    with pytest.raises(JournalError, match="do not add up"):
        summarised(chunk(1, accepted=10), sources=[source(rows=9)])
    with pytest.raises(JournalError, match="do not add up"):
        summarised(chunk(1, accepted=10), sources=[source(rows=10, superseded=1)])


@pytest.mark.parametrize(
    "numbers",
    [
        {"accepted": 9},
        {"accepted": 10, "failed": 1},
        {"accepted": 11, "failed": -1},
        {"accepted": 9, "unknown": 2},
        {"accepted": 5, "failed": 5, "warned": 6},
        {"accepted": 5, "failed": 5, "unmatched": 6},
        {"accepted": 10, "warned": -1},
    ],
)
def test_a_finished_chunk_that_does_not_add_up_is_a_broken_law(summarised, chunk, numbers):
    with pytest.raises(JournalError, match=r"do not add up: chunk 1 \(done\) of 10 rows has"):
        summarised(chunk(1, **numbers))


@pytest.mark.parametrize("phase", [Phase.READY, Phase.SUBMITTED, Phase.REFUSED])
def test_an_unfinished_chunk_has_no_more_outcomes_than_rows(summarised, chunk, phase):
    with pytest.raises(JournalError, match="do not add up"):
        summarised(replace(chunk(1, failed=11), phase=phase))
