"""The table of codes, beside the contract's: written down here once more, so that nothing in it changes unseen."""

from __future__ import annotations

import pytest

from orchestrator import errors
from orchestrator.errors import InvalidRequest, Refused
from orchestrator.marketo.codes import CODES, STATUSES, Action, is_gone, of_status, stop_of

CONTRACT = {
    "RENEW": (errors.TokenExpired, "600 601 602", "401"),
    "DENY_TARGET": (errors.AccessDenied, "603", ""),
    "DENY": (errors.AccessDenied, "", "403 407"),
    "WAIT_FOR_WINDOW": (errors.RateLimited, "606", "429"),
    "WAIT_FOR_CALLS": (errors.ConcurrencyLimited, "615", ""),
    "WAIT_FOR_DAY": (errors.DailyQuotaExhausted, "607", ""),
    "WAIT_FOR_QUEUE": (errors.ImportQueueFull, "1016", ""),
    "WAIT_FOR_LIST": (errors.ListBusy, "1019", ""),
    "WAIT": (errors.Unavailable, "614 1014 1022 1029", ""),
    "SPLIT": (errors.TooLarge, "", "413"),
    "RETRY_ONCE": (errors.InvalidRequest, "613 1003", ""),
    "STOP_SOURCE": (errors.InvalidRequest, "701 1006 1011", ""),
    "STOP_JOB": (
        errors.InvalidRequest,
        "605 609 610 612 616 702 703 704 709 1001 1002 1004 1007 1008 1009 1010 1013 1018 1021 1025 1026 1036 1037",
        "404 405 411 414 415 3xx",
    ),
    "DOUBT": (errors.Unavailable, "500 502 503 504 604 608 611 713 719", "5xx"),
}


@pytest.mark.parametrize("action", Action, ids=lambda action: action.name)
def test_every_code_of_the_contract_has_one_action(action):
    error, codes, statuses = CONTRACT[action.name]
    assert {code for code, row in CODES.items() if row.action is action} == set(codes.split())
    assert {status for status, row in STATUSES.items() if row.action is action} == set(statuses.split())
    for row in [*CODES.values(), *STATUSES.values()]:
        if row.action is action:
            assert (row.error, row.settled) == (error, action.name != "DOUBT" and not row.foreign)
    assert {status for status, row in {**CODES, **STATUSES}.items() if row.foreign} == {"429", "3xx"}


def test_the_table_holds_the_contracts_codes_and_no_others():
    listed = " ".join(codes for _, codes, _ in CONTRACT.values()).split()
    assert len(listed) == len(set(listed))
    assert sorted(CODES) == sorted(listed)


def test_what_every_row_says_is_one_of_its_own_kind():
    for row in [*CODES.values(), *STATUSES.values()]:
        assert row.wording
        assert row.advice.endswith(".")
        repeated = "by itself" in row.advice
        assert not (repeated and row.error is InvalidRequest)


@pytest.mark.parametrize(
    ("status", "action"),
    [
        (401, "RENEW"),
        (413, "SPLIT"),
        (500, "DOUBT"),
        (502, "DOUBT"),
        (599, "DOUBT"),
    ],
)
def test_a_status_speaks_for_itself_or_as_one_of_a_hundred(status, action):
    found = of_status(status)
    assert found is not None
    assert found.action is Action[action]


@pytest.mark.parametrize("status", [200, 204, 302, 400, 418])
def test_other_statuses_say_nothing(status):
    assert of_status(status) is None


def test_a_batch_that_marketo_forgot_is_told_from_other_refusals():
    assert all(is_gone(InvalidRequest("", code=code)) for code in ("404", "610", "702", "1013"))
    assert not any(is_gone(Refused("", code=code)) for code in ("1003", "606", "200", "invalid_client", "", None))


@pytest.mark.parametrize(
    ("code", "action"),
    [("1006", "STOP_SOURCE"), ("613", "RETRY_ONCE"), ("1013", "STOP_JOB"), ("414", "STOP_JOB"), ("302", "STOP_JOB"),
     ("4711", "STOP_JOB"), ("606", "STOP_JOB"), (None, "STOP_JOB")],
)  # fmt: skip
def test_an_upload_that_is_wrong_as_it_is_stops_something(code, action):
    assert stop_of(InvalidRequest("", code=code)) is Action[action]
