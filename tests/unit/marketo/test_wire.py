from __future__ import annotations

import email
import email.policy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import (
    ConfigError,
)
from orchestrator.marketo import wire
from orchestrator.marketo.wire import ResultKind
from orchestrator.model import BatchId, CustomObjects, Format, Leads, ProgramMembers

LEADS = Leads()
CARS = CustomObjects(api_name="car_c")
MEMBERS = ProgramMembers(program_id=1044, member_status="On List")
BATCH = BatchId(3404)


@pytest.mark.parametrize(
    ("target", "create", "status", "failures", "warnings", "describe"),
    [
        (
            LEADS,
            "/bulk/v1/leads.json",
            "/bulk/v1/leads/batch/3404.json",
            "/bulk/v1/leads/batch/3404/failures.json",
            "/bulk/v1/leads/batch/3404/warnings.json",
            "/rest/v1/leads/describe2.json",
        ),
        (
            CARS,
            "/bulk/v1/customobjects/car_c/import.json",
            "/bulk/v1/customobjects/car_c/import/3404/status.json",
            "/bulk/v1/customobjects/car_c/import/3404/failures.json",
            "/bulk/v1/customobjects/car_c/import/3404/warnings.json",
            "/rest/v1/customobjects/car_c/describe.json",
        ),
        (
            MEMBERS,
            "/bulk/v1/program/1044/members/import.json",
            "/bulk/v1/program/members/import/3404/status.json",
            "/bulk/v1/program/members/import/3404/failures.json",
            "/bulk/v1/program/members/import/3404/warnings.json",
            "/rest/v1/programs/members/describe.json",
        ),
    ],
)
def test_the_paths_of_each_target(target, create, status, failures, warnings, describe):
    assert wire.create_path(target) == create
    assert wire.status_path(target, BATCH) == status
    assert wire.result_path(ResultKind.FAILURES, target, BATCH) == failures
    assert wire.result_path(ResultKind.WARNINGS, target, BATCH) == warnings
    assert wire.describe_path(target) == describe


def test_an_api_name_cannot_leave_its_place_in_the_path():
    assert wire.create_path(CustomObjects(api_name="../a?b")) == "/bulk/v1/customobjects/..%2Fa%3Fb/import.json"


def test_parameters_are_those_of_the_target():
    assert wire.create_params(LEADS, Format.CSV) == {"format": "csv", "lookupField": "email"}
    leads = Leads(lookup_field="id", list_id=1001, partition="West & East")
    params = wire.create_params(leads, Format.TSV)
    assert params == {"format": "tsv", "lookupField": "id", "listId": "1001", "partitionName": "West & East"}
    assert wire.create_params(CARS, Format.SSV) == {"format": "ssv"}
    assert wire.create_params(MEMBERS, Format.CSV) == {"format": "csv", "programMemberStatus": "On List"}


def test_parameters_are_encoded_so_that_every_server_reads_them_alike():
    assert wire.query_string(wire.create_params(MEMBERS, Format.CSV)) == "format=csv&programMemberStatus=On%20List"
    assert wire.query_string({"partitionName": "a+b&c=é"}) == "partitionName=a%2Bb%26c%3D%C3%A9"


@pytest.mark.parametrize(
    "text",
    [
        "123-ABC-456",
        " 123-abc-456\n",
        "123-ABC-456.mktorest.com",
        "https://123-ABC-456.mktorest.com",
        "https://123-ABC-456.mktorest.com/",
        "https://123-ABC-456.mktorest.com/rest",
        "https://123-ABC-456.mktorest.com:443//rest//",
    ],
)
def test_every_way_to_name_a_subscription_is_one_address(text):
    assert wire.normalise_rest_url(text) == "https://123-abc-456.mktorest.com"
    assert wire.host_of(text) == "123-abc-456.mktorest.com"


def test_addresses_keep_a_port_and_a_gateways_prefix():
    assert wire.normalise_rest_url("http://127.0.0.1:8080/rest") == "http://127.0.0.1:8080"
    assert wire.host_of("http://127.0.0.1:8080/") == "127.0.0.1:8080"
    assert wire.host_of("http://[::1]:8080") == "[::1]:8080"
    assert wire.normalise_rest_url("https://gateway.example/marketo/rest/") == "https://gateway.example/marketo"


@pytest.mark.parametrize(
    "text",
    ["", "https://", "ftp://a.example", "https://u:hunter2@a.example", "https://a.example/?s=hunter2", "https://a b",
     "https://a.example:99999", "https://[::1", "a..b", "https://a.example#hunter2"],
)  # fmt: skip
def test_what_is_no_address_is_refused_without_repeating_it(text):
    with pytest.raises(ConfigError) as error:
        wire.normalise_rest_url(text)
    assert "123-ABC-456" in str(error.value)
    assert "hunter2" not in str(error.value)


@settings(deadline=None)
@given(st.text(max_size=40))
def test_normalising_is_done_after_once_or_refuses(text):
    try:
        once = wire.normalise_rest_url(text)
    except ConfigError:
        return
    assert wire.normalise_rest_url(once) == once
    assert not once.endswith("/")


@pytest.mark.parametrize(
    "identity",
    [None, "", "https://id.example", "https://id.example/identity/", "https://id.example/identity/oauth/token"],
)
def test_the_identity_address_may_stop_early(identity):
    host = "id.example" if identity else "123-abc-456.mktorest.com"
    assert wire.token_url("123-ABC-456", identity) == f"https://{host}/identity/oauth/token"


def test_plain_http_stays_on_this_machine():
    for url in ("http://127.0.0.1:80", "http://localhost:1", "http://[::1]:1", "https://a.example"):
        wire.require_private(url, insecure=False)
    wire.require_private("http://a.example", insecure=True)
    for url in ("http://a.example", "http://localhost.a.example", "http://10.0.0.1"):
        with pytest.raises(ConfigError, match=r"http\.insecure"):
            wire.require_private(url, insecure=False)


BOUNDARY = "0123456789abcdef0123456789abcdef"


def test_an_upload_is_framed_as_the_contract_shows_it():
    frame = wire.Multipart(BOUNDARY, "leads.csv")
    assert frame.content_type == f"multipart/form-data; boundary={BOUNDARY}"
    assert (
        frame.prefix + b"email\na@x.com\n" + frame.suffix
        == (
            f"--{BOUNDARY}\r\n"
            'Content-Disposition: form-data; name="file"; filename="leads.csv"\r\n'
            "Content-Type: text/csv\r\n"
            "\r\n"
            "email\na@x.com\n\r\n"
            f"--{BOUNDARY}--\r\n"
        ).encode()
    )


@settings(deadline=None)
@given(st.text(max_size=300), st.binary(max_size=200))
def test_any_file_name_makes_a_frame_that_parsers_read(name, rows):
    frame = wire.Multipart(BOUNDARY, name)
    assert len(frame.prefix) + len(frame.suffix) <= wire.MULTIPART_OVERHEAD_BYTES
    body = frame.prefix + rows.hex().encode() + frame.suffix
    message = email.message_from_bytes(
        f"Content-Type: {frame.content_type}\r\n\r\n".encode() + body, policy=email.policy.HTTP
    )
    (part,) = message.iter_parts()
    assert part.get_param("name", header="content-disposition") == "file"
    assert part.get_filename()
    assert part.get_payload() == rows.hex()


@pytest.mark.parametrize("boundary", ["", "short", "x" * 71, "with-dash-and-more", 'quote"' * 4, "a\r\nb" * 8])
def test_a_boundary_that_could_break_the_frame_is_refused(boundary):
    with pytest.raises(ValueError, match="boundary"):
        wire.Multipart(boundary, "a.csv")
