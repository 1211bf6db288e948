from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.errors import (
    AccessDenied,
    DeliveryUnknown,
    ImportQueueFull,
    InvalidRequest,
    MalformedResponse,
    MarketoError,
    RateLimited,
    Refused,
    TokenExpired,
    TooLarge,
    Unavailable,
)
from orchestrator.marketo import answers, codes, reads
from orchestrator.marketo.answers import ResultBody
from orchestrator.marketo.wire import BatchReport, Created
from orchestrator.model import BatchId, BatchStatus

JSON = "application/json;charset=UTF-8"
HTML = "text/html"
PAGE = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
BATCH = BatchId(3404)


unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy


def ok(*result, **more):
    return json.dumps({"requestId": "d01f#15d672f8560", "success": True, "result": list(result), **more}).encode()


def no(code, message="", **more):
    errors = [{"code": code, "message": message}]
    return json.dumps({"requestId": "e42b#14272d07d78", "success": False, "errors": errors, **more}).encode()


# --- creating ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "batch_id"),
    [
        (
            b'{"requestId":"d01f#15d672f8560","result":[{"batchId":3404,"importId":"3404","status":"Queued"}],'
            b'"success":true}',
            3404,
        ),
        (
            b'{"requestId":"c015#15a68a23418","result":[{"batchId":1013,"status":"Queued","objectApiName":"car_c"}],'
            b'"success":true}',
            1013,
        ),
        (
            b'{"requestId":"17f4a#16f87f87325","result":[{"batchId":1040,"importId":"1040","status":"Queued"}],'
            b'"success":true}',
            1040,
        ),
    ],
)
def test_a_created_batch_of_each_target(body, batch_id):
    assert answers.parse_create(200, JSON, body) == Created(batch_id=BatchId(batch_id), status=BatchStatus.QUEUED)


@pytest.mark.parametrize(
    ("batch", "status"),
    [
        ({"batchId": 7, "status": "Importing"}, BatchStatus.IMPORTING),
        ({"batchId": 7, "status": "Failed"}, BatchStatus.FAILED),
        ({"batchId": 7, "status": "Dreaming"}, BatchStatus.QUEUED),
        ({"batchId": 7}, BatchStatus.QUEUED),
        ({"batchId": "7"}, BatchStatus.QUEUED),
        ({"importId": "7"}, BatchStatus.QUEUED),
    ],
)
def test_a_batch_id_is_a_batch_whatever_stands_beside_it(batch, status):
    created = Created(batch_id=BatchId(7), status=status)
    assert answers.parse_create(200, JSON, ok(batch)) == created
    assert answers.parse_create(200, "text/plain", b"\xef\xbb\xbf" + ok(batch)) == created
    assert answers.parse_create(200, JSON, no("611", "System error", result=[batch])) == created
    assert answers.parse_create(502, JSON, ok(batch)) == created


SETTLED = "600 601 602 603 605 606 607 609 610 612 613 614 615 616 701 702 703 704 1003 1006 1013 1016 1019 1025"


@pytest.mark.parametrize("code", SETTLED.split())
def test_certain_refusals_made_no_batch(code):
    for written in (code, int(code)):
        with pytest.raises(Refused) as error:
            answers.parse_create(200, JSON, no(written, "because"))
        assert type(error.value) is codes.CODES[code].error
        assert (error.value.code, error.value.request_id) == (code, "e42b#14272d07d78")
        assert f"{code} because" in str(error.value)


@pytest.mark.parametrize(
    ("status", "content_type", "body"),
    [
        (500, HTML, PAGE),
        (502, HTML, PAGE),
        (503, HTML, b""),
        (504, HTML, PAGE),
        (502, JSON, no("606", "not even then")),
        (200, HTML, PAGE),
        (200, JSON, b""),
        (200, JSON, b'{"requestId":"a#1","success":true,"result":[{"batch'),
        (200, JSON, b"null"),
        (200, JSON, b"[]"),
        (200, JSON, b'{"access_token":"x"}'),
        (200, JSON, b"\xff\xfe"),
        (200, JSON, b"[" * 100_000),
        (200, JSON, b'{"success":true,"result":[{"batchId":' + b"9" * 5000 + b"}]}"),
        (200, JSON, ok()),
        (200, JSON, ok({"status": "Queued"})),
        (200, JSON, ok({"batchId": 0})),
        (200, JSON, ok({"batchId": -1})),
        (200, JSON, ok({"batchId": True})),
        (200, JSON, ok({"batchId": 2**31})),
        (200, JSON, ok({"batchId": 3404.5})),
        (200, JSON, ok("3404")),
        (200, JSON, b'{"success":true}'),
        (200, JSON, b'{"success":true,"result":{"batchId":1}}'),
        (200, JSON, b'{"success":false}'),
        (200, JSON, b'{"success":false,"errors":[]}'),
        (200, JSON, b'{"success":false,"errors":"1016"}'),
        (200, JSON, no("604")),
        (200, JSON, no("608")),
        (200, JSON, no("611")),
        (200, JSON, no("713")),
        (200, JSON, no("719")),
        (200, JSON, no("502")),
        (200, JSON, no("9999", "never heard of")),
        (200, JSON, b'{"success":false,"errors":[{"code":"606"},{"code":"713"}]}'),
        (303, HTML, b""),
        (408, HTML, b""),
        (418, HTML, b""),
        (429, HTML, b""),
    ],
)
def test_everything_else_leaves_open_whether_there_is_a_batch(status, content_type, body):
    with pytest.raises(DeliveryUnknown) as error:
        answers.parse_create(status, content_type, body)
    assert "must not be sent again at once" in str(error.value)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(413, TooLarge), (401, TokenExpired), (403, AccessDenied), (404, InvalidRequest)],
)
def test_gateways_refuse_by_status_alone(status, kind):
    with pytest.raises(kind) as error:
        answers.parse_create(status, HTML, PAGE)
    assert error.value.code == str(status)


def test_an_envelope_says_more_than_its_http_status():
    with pytest.raises(ImportQueueFull):
        answers.parse_create(400, JSON, no("1016"))
    with pytest.raises(TooLarge):
        answers.parse_create(413, JSON, no("611"))


def test_the_live_wording_of_a_full_queue_is_recognised_by_its_code():
    message = "There are 10 imports currently being processed. Please try again later"
    with pytest.raises(ImportQueueFull, match="10 imports"):
        answers.parse_create(200, JSON, no("1016", message))


@unhurried
@given(st.integers(200, 599), st.sampled_from([JSON, HTML, ""]), st.binary(max_size=300))
def test_no_bytes_make_anything_but_the_named_outcomes(status, content_type, body):
    try:
        answers.parse_create(status, content_type, body)
    except (Refused, DeliveryUnknown) as error:
        assert str(error)  # noqa: PT017 - that these are the only outcomes is the point


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | st.just("3404"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["batchId", "code", "id", "name", "fields", "relationships"]), inner)
    ),
    max_leaves=8,
)
envelopes = st.dictionaries(
    st.sampled_from(["success", "result", "errors", "requestId", "access_token", "expires_in", "error"]), json_values
)


@unhurried
@given(st.sampled_from([200, 200, 401, 404, 500]), envelopes)
def test_no_envelope_however_odd_makes_a_parser_stumble(status, envelope):
    body = json.dumps(envelope).encode()
    for parse in (
        answers.parse_create,
        lambda *answer: answers.parse_status(*answer, batch_id=BATCH),
        answers.parse_token,
        reads.parse_describe_leads,
        reads.parse_custom_objects,
        lambda *answer: reads.parse_static_list(*answer, list_id=3404),
        reads.parse_partitions,
        lambda *answer: reads.parse_program(*answer, program_id=3404),
        reads.parse_channels,
        reads.parse_usage,
    ):
        try:
            parse(status, JSON, body)
        except MarketoError as error:
            assert str(error).encode()  # noqa: PT017 - and its message can be written down


def test_foreign_words_in_a_message_are_one_short_printable_line():
    with pytest.raises(InvalidRequest) as error:
        answers.parse_create(200, JSON, no("1006", "Field '\x1b[31m\ud800a\r\nb' " + "x" * 10_000))
    text = str(error.value)
    assert text.isprintable()
    assert len(text) < answers.MESSAGE_CHARS_MAX + 200


# --- status ------------------------------------------------------------------------------------------


def status_of(*result, **more):
    return answers.parse_status(200, JSON, ok(*result, **more), batch_id=BATCH)


def test_the_status_of_leads():
    message = "Import completed with errors, 2 records imported (2 members), 1 failed"
    assert status_of(
        {
            "batchId": 3404,
            "importId": "3404",
            "status": "Complete",
            "numOfLeadsProcessed": 2,
            "numOfRowsFailed": 1,
            "numOfRowsWithWarning": 1,
            "message": message,
        }
    ) == BatchReport(
        batch_id=BATCH, status=BatchStatus.COMPLETE, processed=2, failed=1, warned=1, message=message
    )  # fmt: skip


def test_the_status_of_custom_objects():
    body = (
        b'{"requestId":"x#1","result":[{"batchId":1013,"operation":"import","status":"Complete","objectApiName":"car_c",'
        b'"numOfObjectsProcessed":3,"numOfRowsFailed":0,"numOfRowsWithWarning":0,"importTime":"2 second(s)",'
        b'"message":"Import succeeded, 3 records imported (3 members)"}],"success":true}'
    )
    report = answers.parse_status(200, JSON, body, batch_id=BatchId(1013))
    assert (report.status, report.processed, report.failed) == (BatchStatus.COMPLETE, 3, 0)


def test_counters_that_are_absent_are_zero():
    assert status_of({"batchId": 3404, "status": "Queued", "numOfRowsFailed": None}) == BatchReport(
        batch_id=BATCH, status=BatchStatus.QUEUED
    )


@pytest.mark.parametrize("result", [[], [{"batchId": 3404}], [{"batchId": 3404, "status": "Completed"}], [{}]])
def test_what_is_not_understood_yet_is_asked_again(result):
    assert status_of(*result) == BatchReport(batch_id=BATCH, status=None)


@pytest.mark.parametrize("count", [-1, 1.5, True, "many", "", "-3", [], {}, 10**13, float("nan"), "٣"])
@pytest.mark.parametrize("name", ["numOfLeadsProcessed", "numOfRowsFailed", "numOfRowsWithWarning"])
def test_a_counter_that_is_no_count_is_not_believed(name, count):
    with pytest.raises(MalformedResponse):
        status_of({"batchId": 3404, "status": "Complete", name: count})


def test_the_status_of_another_batch_is_not_believed():
    with pytest.raises(MalformedResponse, match="another"):
        status_of({"batchId": 3405, "status": "Complete"})


@pytest.mark.parametrize(
    ("status", "content_type", "body", "kind"),
    [
        (200, JSON, no("601", "Access token invalid"), TokenExpired),
        (200, JSON, no(602, "Access token expired"), TokenExpired),
        (200, JSON, no("606", "Max rate limit '100' exceeded with in '20' secs"), RateLimited),
        (200, JSON, no("604"), Unavailable),
        (200, JSON, no("9999"), Unavailable),
        (500, HTML, PAGE, Unavailable),
        (502, HTML, PAGE, Unavailable),
        (200, HTML, PAGE, MalformedResponse),
        (200, JSON, b'{"success":false}', MalformedResponse),
        (404, HTML, b"", InvalidRequest),
        (418, HTML, b"", MalformedResponse),
    ],
)
def test_a_status_that_is_refused(status, content_type, body, kind):
    with pytest.raises(kind) as error:
        answers.parse_status(status, content_type, body, batch_id=BATCH)
    assert "batch 3404" in str(error.value)


def test_an_unreadable_answer_is_not_quoted():
    with pytest.raises(MalformedResponse) as error:
        answers.parse_status(200, JSON, b"email,firstName\nann@example.com,Ann\n", batch_id=BATCH)
    assert "example.com" not in str(error.value)


# --- result files ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "content_type", "first", "found"),
    [
        (200, "text/csv;charset=UTF-8", b"email,Import Failure Reason\n", ResultBody.FILE),
        (200, "TEXT/CSV", b'{"a" , b}', ResultBody.FILE),
        (200, "application/json", b"email,Import Failure Reason\n", ResultBody.FILE),
        (200, "", b"email\tImport Failure Reason\n", ResultBody.FILE),
        (200, "text/csv;charset=UTF-8", b"", ResultBody.NONE),
        (404, HTML, PAGE, ResultBody.NONE),
        (404, "", b"", ResultBody.NONE),
        (200, JSON, no("606"), ResultBody.ENVELOPE),
        (200, "application/octet-stream", b"\xef\xbb\xbf \r\n{", ResultBody.ENVELOPE),
        (200, HTML, PAGE, ResultBody.ENVELOPE),
        (502, HTML, PAGE, ResultBody.ENVELOPE),
    ],
)
def test_a_result_file_is_told_from_what_stands_in_its_place(status, content_type, first, found):
    assert answers.sniff_result_file(status, content_type, first) is found


def test_only_an_envelope_is_refused_in_place_of_a_file():
    what = "the failures of batch 1"
    answers.refuse_result_file(what, 200, "application/octet-stream", b"{a},Import Failure Reason\n1,2\n")
    with pytest.raises(RateLimited):
        answers.refuse_result_file(what, 200, "application/octet-stream", no("606"))
    with pytest.raises(MalformedResponse):
        answers.refuse_result_file(what, 200, JSON, b'{"success":')
    with pytest.raises(MalformedResponse):
        answers.refuse_result_file(what, 200, JSON, ok())
    with pytest.raises(MalformedResponse):
        answers.refuse_result_file(what, 200, HTML, PAGE)
    with pytest.raises(Unavailable):
        answers.refuse_result_file(what, 504, HTML, PAGE)


# --- identity ----------------------------------------------------------------------------------------


def test_a_token():
    body = (
        b'{"access_token":"cdf01657-110d-4155-99a7-f986b2ff13a0:int","token_type":"bearer","expires_in":3599,'
        b'"scope":"apis@acmeinc.com"}'
    )
    token = answers.parse_token(200, JSON, body)
    assert token == answers.Token(
        access_token="cdf01657-110d-4155-99a7-f986b2ff13a0:int", expires_in_s=3599, scope="apis@acmeinc.com"
    )
    assert "cdf01657" not in repr(token)


def test_a_token_in_its_last_second():
    assert answers.parse_token(200, JSON, b'{"access_token":"t:int","expires_in":0}').expires_in_s == 0


@pytest.mark.parametrize(
    "token",
    [
        {"access_token": "t"},
        {"access_token": "t", "expires_in": None},
        {"access_token": "t", "expires_in": -1},
        {"access_token": "", "expires_in": 9},
        {"access_token": 7, "expires_in": 9},
        {"access_token": "a\r\nX-Evil: 1", "expires_in": 9},
        {"access_token": "a b", "expires_in": 9},
        {"access_token": "té", "expires_in": 9},
        {"access_token": "t" * 5000, "expires_in": 9},
    ],
)
def test_a_token_that_cannot_be_used_is_not_used(token):
    with pytest.raises(MalformedResponse) as error:
        answers.parse_token(200, JSON, json.dumps(token).encode())
    assert "Evil" not in str(error.value)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, b'{"error":"invalid_client","error_description":"Bad client credentials"}'),
        (401, b'{"error":"unauthorized","error_description":"No client with requested id: x"}'),
        (400, b'{"error":"invalid_request"}'),
        (401, b""),
        (200, no("603", "Access denied")),
        (200, no("601", "Access token invalid")),
    ],
)
def test_refused_credentials_say_where_to_look(status, body):
    with pytest.raises(AccessDenied) as error:
        answers.parse_token(status, JSON, body)
    assert "Admin" in str(error.value) or "601" in str(error.value)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, no("611", "System error"), Unavailable),
        (200, no("606"), RateLimited),
        (503, PAGE, Unavailable),
        (401, b'{"error":"temporarily_unavailable"}', Unavailable),
        (404, PAGE, InvalidRequest),
        (200, PAGE, MalformedResponse),
        (200, ok(), MalformedResponse),
    ],
)
def test_an_identity_service_in_trouble(status, body, kind):
    with pytest.raises(kind):
        answers.parse_token(status, JSON, body)
