"""The emulator over real sockets, with a client that knows nothing of it.

Its clock stands still unless a test moves it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from orchestrator.emulator.app import Running, start
from orchestrator.emulator.clock import EmulatedClock
from orchestrator.emulator.config import ClientSpec
from orchestrator.errors import ConfigError
from orchestrator.marketo.wire import Multipart
from tests.unit.emulator.kit import HOUR_MS, config

NOW_MS = 1_790_000_000_000
SECRET = {"grant_type": "client_credentials", "client_id": "emulator", "client_secret": "emulator-secret"}
LEADS = "/bulk/v1/leads.json"


class Caller:
    """A plain HTTP client with a token."""

    def __init__(self, running: Running, session: aiohttp.ClientSession) -> None:
        self.running = running
        self.session = session
        self.headers: dict[str, str] = {}

    async def authenticate(self, **credentials: str) -> dict[str, Any]:
        params = {**SECRET, **credentials}
        async with self.session.get(f"{self.running.url}/identity/oauth/token", params=params) as answer:
            told: dict[str, Any] = await answer.json()
        self.headers = {"Authorization": f"Bearer {told.get('access_token')}"}
        return told

    async def call(self, method: str, path: str, **more: Any) -> tuple[int, str, bytes]:
        headers = {**self.headers, **more.pop("headers", {})}
        async with self.session.request(method, self.running.url + path, headers=headers, **more) as answer:
            return answer.status, answer.headers["Content-Type"], await answer.read()

    async def get(self, path: str) -> dict[str, Any]:
        status, kind, body = await self.call("GET", path)
        assert (status, kind) == (200, "application/json;charset=UTF-8")
        told: dict[str, Any] = json.loads(body)
        return told

    async def upload(self, path: str, data: str, **params: str) -> tuple[int, str, bytes]:
        frame = Multipart("b" * 20, "rows.csv")
        body = frame.prefix + data.encode() + frame.suffix
        headers = {"Content-Type": frame.content_type}
        return await self.call("POST", path, params={"format": "csv", **params}, data=body, headers=headers)

    async def create(self, data: str, path: str = LEADS, **params: str) -> dict[str, Any]:
        status, _, body = await self.upload(path, data, **params)
        assert status == 200
        told: dict[str, Any] = json.loads(body)
        return told

    async def about(self, what: str) -> Any:
        async with self.session.get(f"{self.running.url}/_emulator/{what}") as answer:
            assert answer.status == 200
            return await answer.json()

    async def records(self, store: str = "leads") -> list[dict[str, Any]]:
        async with self.session.get(f"{self.running.url}/_emulator/records/{store}") as answer:
            assert answer.status == 200
            return [json.loads(line) for line in (await answer.read()).splitlines()]

    async def break_things(self, *faults: dict[str, Any]) -> list[int]:
        async with self.session.post(f"{self.running.url}/_emulator/faults", json=list(faults)) as answer:
            assert answer.status == 201
            numbers: list[int] = (await answer.json())["numbers"]
            return numbers

    def wait(self, ms: int = HOUR_MS // 2) -> None:
        self.running.clock.skip(ms)


@asynccontextmanager
async def world(**settings: Any) -> AsyncIterator[Caller]:
    given = config(**settings)
    running = await start(given, clock=EmulatedClock(given.speed, lambda: NOW_MS))
    try:
        async with aiohttp.ClientSession() as session:
            yield Caller(running, session)
    finally:
        await running.stop()


def scene(**settings: Any) -> Callable[[Callable[[Caller], Awaitable[None]]], Callable[[], None]]:
    """Make a test of what happens to a client that has its token."""

    def decorate(play: Callable[[Caller], Awaitable[None]]) -> Callable[[], None]:
        async def perform() -> None:
            async with world(**settings) as caller:
                await caller.authenticate()
                await play(caller)

        def test() -> None:
            asyncio.run(perform())

        return test

    return decorate


async def until(condition: Callable[[], bool]) -> None:
    """Give way to the other tasks until something has happened."""
    while not condition():  # noqa: ASYNC110  # the emulator offers no event for it
        await asyncio.sleep(0)


def code(told: dict[str, Any]) -> str:
    assert told["success"] is False
    [error] = told["errors"]
    assert isinstance(error["code"], str)
    return str(error["code"])


# --- identity -------------------------------------------------------------------------------------------


@scene()
async def test_tokens_by_get_and_by_form(caller):
    first = await caller.authenticate()
    assert (first["token_type"], first["expires_in"], first["scope"]) == ("bearer", 3600, "api@emulator.invalid")
    caller.wait(1_500)
    async with caller.session.post(f"{caller.running.url}/identity/oauth/token", data=SECRET) as answer:
        assert answer.headers["X-Marketo-Emulator"] == "1"
        assert answer.headers["Cache-Control"] == "no-store"
        second = await answer.json()
    assert (second["access_token"], second["expires_in"]) == (first["access_token"], 3598)
    assert "success" not in second


@scene()
async def test_wrong_credentials(caller):
    url = f"{caller.running.url}/identity/oauth/token"
    async with caller.session.get(url, params={**SECRET, "client_secret": "x"}) as answer:
        assert answer.status == 401
        assert await answer.json() == {"error": "invalid_client", "error_description": "Bad client credentials"}
    async with caller.session.get(url, params={**SECRET, "client_id": "nobody"}) as answer:
        assert answer.status == 401
        assert (await answer.json())["error"] == "unauthorized"


@scene(token_life_ms=60_000)
async def test_calls_without_a_good_token(caller):
    path = "/bulk/v1/leads/batch/1.json"
    good = caller.headers
    caller.headers = {}
    assert code(await caller.get(path)) == "600"
    assert code(await caller.get(f"{path}?access_token={good['Authorization'][7:]}")) == "601"
    caller.headers = {"Authorization": "Bearer x"}
    assert code(await caller.get(path)) == "601"
    caller.headers = good
    assert code(await caller.get(path)) == "1013"
    caller.wait(60_000)
    assert code(await caller.get(path)) == "602"
    assert (await caller.about("calls"))["usage"]["2026-09-21"] == {"api@emulator.invalid": 1}


@scene(legacy_access_token=True)
async def test_tokens_in_the_query_are_an_option(caller):
    token = caller.headers.pop("Authorization")[7:]
    assert code(await caller.get(f"/bulk/v1/leads/batch/1.json?access_token={token}")) == "1013"


@scene(speed=10.0)
async def test_lives_are_told_in_the_seconds_of_the_client(caller):
    assert (await caller.authenticate())["expires_in"] == 360


@scene(other_clients=(ClientSpec(client_id="reader", client_secret="r", permissions=()),))
async def test_permissions(caller):
    await caller.authenticate(client_id="reader", client_secret="r")
    assert code(await caller.create("email\na@x.com\n")) == "603"
    assert code(await caller.get("/rest/v1/leads/describe2.json")) == "603"
    assert code(await caller.get("/rest/asset/v1/channels.json")) == "603"
    assert (await caller.get("/rest/v1/stats/usage.json"))["success"] is True


# --- an import from end to end -----------------------------------------------------------------------------


@scene()
async def test_leads_from_end_to_end(caller):
    rows = 'email,firstName,leadScore\na@x.com,"An\nn",1\nBAD,Bob,2\nc@x.com,Zoë,x\n'
    created = await caller.create(rows, lookupField="email")
    assert created["result"] == [{"batchId": 1001, "importId": "1001", "status": "Queued"}]
    assert created["requestId"].endswith(f"#{NOW_MS:x}")
    assert (await caller.get("/bulk/v1/leads/batch/1001.json"))["result"][0]["status"] == "Importing"
    caller.wait()
    assert (await caller.get("/bulk/v1/leads/batch/1001.json"))["result"] == [
        {
            "batchId": 1001,
            "importId": "1001",
            "status": "Complete",
            "numOfLeadsProcessed": 2,
            "numOfRowsFailed": 1,
            "numOfRowsWithWarning": 1,
            "message": "Import completed with errors, 2 records imported (2 members), 1 failed, 1 warning.",
        }
    ]
    status, kind, body = await caller.call("GET", "/bulk/v1/leads/batch/1001/failures.json")
    assert (status, kind) == (200, "text/csv;charset=UTF-8")
    assert body.decode() == (
        "email,firstName,leadScore,Import Failure Reason\nc@x.com,Zoë,x,Invalid data type in field Lead Score\n"
    )
    _, _, body = await caller.call("GET", "/bulk/v1/leads/batch/1001/warnings.json")
    assert body.decode() == "email,firstName,leadScore,Import Warning Reason\nBAD,Bob,2,Invalid email address\n"
    assert [one["values"]["firstName"] for one in await caller.records()] == ["An\nn", "Bob"]
    [batch] = await caller.about("batches")
    assert (batch["queued_ms"], batch["started_ms"], batch["finished_ms"]) == (NOW_MS, NOW_MS, NOW_MS + 1_000)
    assert (batch["rows"], batch["processed"], batch["failed"], batch["warned"]) == (3, 2, 1, 1)


@scene()
async def test_messages_of_good_imports_and_files_that_are_not_there(caller):
    await caller.create("email\na@x.com\nb@x.com\nc@x.com\n")
    await caller.create("email\nBAD\n")
    caller.wait()
    messages = [(await caller.get(f"/bulk/v1/leads/batch/{n}.json"))["result"][0]["message"] for n in (1001, 1002)]
    assert messages == [
        "Import succeeded, 3 records imported (3 members)",
        "Import succeeded, 1 records imported (1 members), 1 warning.",
    ]
    status, _, _ = await caller.call("GET", "/bulk/v1/leads/batch/1001/failures.json")
    assert status == 404


@scene()
async def test_custom_objects_from_end_to_end(caller):
    path = "/bulk/v1/customobjects/car_c/import"
    created = await caller.create("color;make;model; vin\nred;bmw;2002;W1\n", f"{path}.json", format="SSV")
    assert created["result"] == [{"batchId": 1001, "status": "Queued", "objectApiName": "car_c"}]
    caller.wait()
    [told] = (await caller.get(f"{path}/1001/status.json"))["result"]
    assert told == {
        "batchId": 1001,
        "operation": "import",
        "status": "Complete",
        "objectApiName": "car_c",
        "numOfObjectsProcessed": 0,
        "numOfRowsFailed": 1,
        "numOfRowsWithWarning": 0,
        "importTime": "1 second(s)",
        "message": "Import completed with errors, 0 records imported (0 members), 1 failed",
    }
    _, _, body = await caller.call("GET", f"{path}/1001/failures.json")
    assert body == b"color;make;model; vin;Import Failure Reason\nred;bmw;2002;W1;missing.dedupe.fields\n"
    assert code(await caller.get("/bulk/v1/leads/batch/1001.json")) == "1013"


@scene()
async def test_program_members_from_end_to_end(caller):
    path = "/bulk/v1/program/1044/members/import.json"
    assert code(await caller.create("email\na@x.com\n", path)) == "1002"
    assert code(await caller.create("email\na@x.com\n", path, programMemberStatus="On List")) == "1025"
    await caller.create("email\na@x.com\n", path, programMemberStatus="Not in Program")
    caller.wait()
    [told] = (await caller.get("/bulk/v1/program/members/import/1001/status.json"))["result"]
    assert (told["importId"], told["numOfLeadsProcessed"]) == ("1001", 1)
    [member] = await caller.records("members")
    assert member["values"] == {"leadId": "1", "programId": "1044", "statusName": "Not in Program"}


# --- what is refused -------------------------------------------------------------------------------------


@scene()
async def test_parameters(caller):
    rows = "email\na@x.com\n"
    assert code(await caller.create(rows, format="xls")) == "1001"
    assert code(await caller.create(rows, listId="one")) == "1001"
    assert code(await caller.create(rows, listId="77")) == "1013"
    assert code(await caller.create(rows, lookupField="title")) == "1011"
    assert code(await caller.create("", lookupField="email")) == "1003"
    assert code(await caller.create(rows, "/bulk/v1/customobjects/boat_c/import.json")) == "1013"
    assert (await caller.create(rows, format="CSV"))["success"] is True


@scene()
async def test_parameters_in_the_form_give_way_to_those_of_the_address(caller):
    form = aiohttp.FormData()
    form.add_field("format", "tsv")
    form.add_field("lookupField", "id")
    form.add_field("file", b"email\tfirstName\na@x.com\tA\n", filename="x.tsv", content_type="application/octet-stream")
    _, _, body = await caller.call("POST", f"{LEADS}?lookupField=email", data=form)
    assert json.loads(body)["success"] is True
    caller.wait()
    assert [one["values"] for one in await caller.records()] == [{"email": "a@x.com", "firstName": "A"}]


@scene()
async def test_bodies_that_are_no_upload(caller):
    for headers, body, expected in (
        ({"Content-Type": "text/csv"}, b"email\na@x.com\n", "612"),
        ({"Content-Type": "multipart/form-data; boundary=abc"}, b"nothing of the kind", "613"),
        ({"Content-Type": "multipart/form-data; boundary=abc"}, b"--abc--\r\n", "1002"),
    ):
        _, _, answer = await caller.call("POST", LEADS, data=body, headers=headers)
        assert code(json.loads(answer)) == expected


async def first_line(caller: Caller, header: str, body: bytes = b"") -> str:
    """Send the beginning of an upload and return how it is answered while the rest is still to come."""
    reader, writer = await asyncio.open_connection("127.0.0.1", caller.running.port)
    head = f"POST {LEADS} HTTP/1.1\r\nHost: x\r\nAuthorization: {caller.headers['Authorization']}\r\n{header}\r\n\r\n"
    writer.write(head.encode() + body)
    try:
        return (await reader.readline()).decode().strip()
    finally:
        writer.close()


@scene(body_bytes_max=1_000)
async def test_large_bodies_are_turned_away_at_once(caller):
    status, kind, body = await caller.upload(LEADS, "email\n" + "a" * 1_000)
    assert (status, kind) == (413, "text/html")
    assert b"413 Request Entity Too Large" in body
    assert await first_line(caller, "Content-Length: 1001") == "HTTP/1.1 413 Request Entity Too Large"
    chunk = b"3e9\r\n" + b"x" * 1_001 + b"\r\n"  # seen only on the way, and the end never comes
    assert await first_line(caller, "Transfer-Encoding: chunked", chunk) == "HTTP/1.1 413 Request Entity Too Large"
    frame = Multipart("b" * 20, "rows.csv")
    room = 1_000 - len(frame.prefix) - len(frame.suffix)
    assert (await caller.create("email\n" + "a" * (room - len("email\n"))))["success"] is True
    calls = await caller.about("calls")
    assert [one["answer"] for one in calls["creates"]] == ["413", "413", "413", "Queued"]
    assert calls["in_flight_max"] == 1


@scene()
async def test_addresses_that_are_none(caller):
    assert code(await caller.get("/rest/v1/nothing.json")) == "610"
    assert code(await caller.get(LEADS)) == "605"
    assert (await caller.call("GET", "/elsewhere"))[0] == 404
    assert (await caller.call("GET", "/rest/v1/leads.json?filterType=email&filterValues=" + "a" * 8_192))[0] == 414


@scene(calls_per_window=3)
async def test_the_window_of_calls(caller):
    path = "/rest/v1/stats/usage.json"
    told = [await caller.get(path) for _ in range(4)]
    assert [one["success"] for one in told] == [True, True, True, False]
    assert told[3]["errors"] == [{"code": "606", "message": "Max rate limit '3' exceeded with in '20' secs"}]
    caller.wait(20_000)
    assert (await caller.get(path))["success"] is True
    assert (await caller.about("calls"))["in_window_max"] == 4


async def slow_upload(caller: Caller, go: asyncio.Event) -> dict[str, Any]:
    """Upload a file whose last bytes wait for a sign."""
    frame = Multipart("b" * 20, "rows.csv")

    async def slowly() -> AsyncIterator[bytes]:
        yield frame.prefix
        await go.wait()
        yield b"email\na@x.com\n" + frame.suffix

    headers = {"Content-Type": frame.content_type}
    _, _, body = await caller.call("POST", f"{LEADS}?format=csv", data=slowly(), headers=headers)
    told: dict[str, Any] = json.loads(body)
    return told


@scene(token_life_ms=60_000)
async def test_a_token_that_expires_during_an_upload(caller):
    go = asyncio.Event()
    upload = asyncio.create_task(slow_upload(caller, go))
    await until(lambda: caller.running.engine.limits.in_flight == 1)
    caller.wait(60_000)
    go.set()
    assert code(await upload) == "602"
    assert await caller.about("batches") == []


@scene(concurrent_calls=2)
async def test_an_upload_under_way_is_a_call_in_progress(caller):
    go = asyncio.Event()
    uploads = [asyncio.create_task(slow_upload(caller, go)) for _ in range(2)]
    limits = caller.running.engine.limits
    await until(lambda: limits.in_flight == 2)
    assert code(await caller.get("/rest/v1/stats/usage.json")) == "615"
    go.set()
    assert [(await one)["success"] for one in uploads] == [True, True]
    assert (await caller.get("/rest/v1/stats/usage.json"))["success"] is True
    assert (limits.in_flight, limits.in_flight_max) == (0, 3)


@scene(calls_per_day=1)
async def test_the_quota_of_a_day(caller):
    assert (await caller.get("/rest/v1/stats/usage.json"))["success"] is True
    assert code(await caller.get("/rest/v1/stats/usage.json")) == "607"
    caller.wait(24 * HOUR_MS)
    await caller.authenticate()
    assert (await caller.get("/rest/v1/stats/usage.json"))["success"] is True


@scene(slots=1)
async def test_order_of_checks(caller):
    await caller.create("email\na@x.com\n", listId="1001")
    assert code(await caller.create("email\na@x.com\n")) == "1016"
    assert code(await caller.create("", listId="1001")) == "1003"  # the file before the queue
    assert code(await caller.create("", listId="77")) == "1013"  # parameters before the file
    assert code(await caller.create("email\nb@x.com\n", listId="1001")) == "1019"


# --- faults ----------------------------------------------------------------------------------------------


async def lost(caller: Caller) -> bool:
    try:
        await caller.upload(LEADS, "email\na@x.com\n")
    except aiohttp.ClientError:
        return True
    return False


@scene(faults=({"on": "create", "nth": 2, "do": "lose_answer_after_accept"},))
async def test_answers_lost_after_accepting(caller):
    assert [await lost(caller) for _ in range(3)] == [False, True, False]
    assert [batch["batch_id"] for batch in await caller.about("batches")] == [1001, 1002, 1003]
    creates = (await caller.about("calls"))["creates"]
    assert [(one["batch_id"], one["fault"]) for one in creates] == [
        (1001, None), (1002, "lose_answer_after_accept"), (1003, None),
    ]  # fmt: skip


@scene()
async def test_answers_lost_before_accepting_and_connections_that_break(caller):
    await caller.break_things(
        {"on": "create", "nth": 1, "do": "lose_answer_before_accept"},
        {"on": "create", "nth": 2, "do": "reset_in_body", "after_bytes": 10},
        {"on": "status", "times": 2, "do": "lose_answer_before_accept"},  # aiohttp repeats a GET once by itself
    )
    assert [await lost(caller) for _ in range(3)] == [True, True, False]
    assert [batch["batch_id"] for batch in await caller.about("batches")] == [1001]
    with pytest.raises(aiohttp.ClientError):
        await caller.get("/bulk/v1/leads/batch/1001.json")
    assert caller.running.engine.limits.in_flight == 0


@pytest.mark.parametrize("accept", [False, True])
def test_gateway_errors_before_and_after_accepting(accept):
    @scene(faults=({"on": "create", "nth": 1, "do": "http", "status": 504, "accept": accept},))
    async def play(caller: Caller) -> None:
        status, kind, body = await caller.upload(LEADS, "email\na@x.com\n")
        assert (status, kind) == (504, "text/html")
        assert body.startswith(b"<html>")
        assert len(await caller.about("batches")) == accept

    play()


@pytest.mark.parametrize("fault_code", ["604", "608", "611", "713", "719", "502", "1016"])
def test_each_transient_code(fault_code):
    @scene(faults=({"on": "create", "nth": 1, "do": "code", "code": fault_code},))
    async def play(caller: Caller) -> None:
        assert code(await caller.create("email\na@x.com\n")) == fault_code
        assert (await caller.create("email\na@x.com\n"))["success"] is True

    play()


@scene()
async def test_expired_and_forgotten_tokens(caller):
    await caller.break_things(
        {"on": "status", "nth": 1, "do": "expire_token"}, {"on": "status", "nth": 2, "do": "forget_token"}
    )
    for expected in ("602", "601"):
        before = dict(caller.headers)
        assert code(await caller.get("/bulk/v1/leads/batch/1.json")) == expected
        assert code(await caller.get("/bulk/v1/leads/batch/1.json")) == expected
        await caller.authenticate()
        assert caller.headers != before
    assert code(await caller.get("/bulk/v1/leads/batch/1.json")) == "1013"


@scene()
async def test_identity_may_answer_with_an_error_of_the_api(caller):
    await caller.break_things({"on": "token", "nth": 1, "do": "code", "code": "606"})
    assert code(await caller.authenticate()) == "606"
    assert (await caller.authenticate())["expires_in"] == 3600


@scene()
async def test_a_token_in_its_last_second(caller):
    await caller.break_things({"on": "token", "nth": 1, "do": "expires_in_0"})
    before = dict(caller.headers)
    assert (await caller.authenticate())["expires_in"] == 0
    assert caller.headers == before


@scene()
async def test_strange_answers_to_uploads(caller):
    await caller.break_things(
        {"on": "create", "nth": 1, "do": "answer_failed", "message": "no room"},
        {"on": "create", "nth": 2, "do": "refused_with_batch_id", "code": "611"},
        {"on": "create", "nth": 3, "do": "empty_result"},
        {"on": "create", "nth": 4, "do": "no_json"},
        {"on": "create", "nth": 5, "do": "no_json", "accept": True},
    )
    failed = await caller.create("email\na@x.com\n")
    assert failed["result"] == [{"batchId": 1001, "importId": "1001", "status": "Failed"}]
    refused = await caller.create("email\nb@x.com\n")
    assert (code(refused), refused["result"][0]["batchId"]) == ("611", 1002)
    assert (await caller.create("email\nc@x.com\n"))["result"] == []
    for _ in range(2):
        status, kind, _ = await caller.upload(LEADS, "email\nd@x.com\n")
        assert (status, kind) == (200, "text/html")
    assert [batch["batch_id"] for batch in await caller.about("batches")] == [1001, 1002, 1003, 1004]
    caller.wait()
    assert len(await caller.records()) == 3
    [told] = (await caller.get("/bulk/v1/leads/batch/1001.json"))["result"]
    assert (told["status"], told["message"], told["numOfLeadsProcessed"]) == ("Failed", "Import failed, no room", 0)


@scene()
async def test_strange_answers_about_batches(caller):
    await caller.create("email\na@x.com\n\n,\n")
    caller.wait()
    await caller.break_things(
        {"on": "status", "nth": 1, "do": "empty_result"},
        {"on": "status", "nth": 2, "do": "unknown_status", "word": "Cancelled"},
        {"on": "status", "nth": 3, "do": "no_counters"},
        {"on": "status", "nth": 4, "do": "fewer_processed"},
        {"on": "failures", "nth": 1, "do": "code", "code": "606"},
        {"on": "failures", "nth": 2, "do": "missing_file"},
        {"on": "failures", "nth": 3, "do": "empty_file"},
    )
    path = "/bulk/v1/leads/batch/1001.json"
    assert (await caller.get(path))["result"] == []
    told = [(await caller.get(path))["result"][0] for _ in range(4)]
    assert [one["status"] for one in told] == ["Cancelled", "Complete", "Complete", "Complete"]
    assert [one.get("numOfLeadsProcessed") for one in told] == [1, None, 0, 1]
    files = [await caller.call("GET", "/bulk/v1/leads/batch/1001/failures.json") for _ in range(4)]
    assert [(status, kind[:9]) for status, kind, _ in files] == [
        (200, "applicati"), (404, "text/html"), (200, "text/csv;"), (200, "text/csv;"),
    ]  # fmt: skip
    assert [len(body) > 0 for _, _, body in files] == [True, True, False, True]


@scene()
async def test_batches_that_fail_or_take_long_and_strangers(caller):
    await caller.break_things(
        {"on": "batch", "nth": 1, "do": "fail_batch", "message": "boom", "applied": 0.5},
        {"on": "batch", "nth": 2, "do": "slow_import", "factor": 7_200_000},
        {"on": "create", "nth": 3, "do": "occupy", "slots": 9, "duration_ms": 60_000},
    )
    for number in range(2):
        await caller.create(f"email\na{number}@x.com\nb{number}@x.com\n")
    caller.wait(10_000)
    status = [(await caller.get(f"/bulk/v1/leads/batch/{n}.json"))["result"][0] for n in (1001, 1002)]
    assert [one["status"] for one in status] == ["Failed", "Importing"]
    assert status[0]["message"] == "Import failed, boom"
    assert len(await caller.records()) == 1
    assert code(await caller.create("email\nc@x.com\n")) == "1016"
    state = await caller.about("state")
    assert (state["unfinished"], state["unfinished_max"]) == (10, 10)
    [stranger] = (await caller.get("/bulk/v1/leads/batch/1003.json"))["result"]
    assert stranger["status"] == "Importing"


@scene(speed=1_000_000.0)
async def test_slow_answers_and_answers_that_never_come(caller):
    await caller.break_things({"on": "status", "nth": 1, "do": "slow", "ms": 5_000})
    assert code(await caller.get("/bulk/v1/leads/batch/1.json")) == "1013"
    await caller.break_things({"on": "status", "times": 2, "do": "hang"})  # aiohttp repeats a GET once by itself
    with pytest.raises(aiohttp.ClientError):
        await caller.get("/bulk/v1/leads/batch/1.json")
    assert code(await caller.get("/bulk/v1/leads/batch/1.json")) == "1013"


def test_stopping_does_not_wait_for_answers_that_hang():
    async def play() -> None:
        async with world(faults=({"on": "status", "do": "hang"},)) as caller:
            await caller.authenticate()
            hanging = asyncio.create_task(caller.get("/bulk/v1/leads/batch/1.json"))
            await until(lambda: caller.running.engine.limits.in_flight == 1)
            await caller.running.stop()
            with pytest.raises(aiohttp.ClientError):
                await hanging

    asyncio.run(play())


# --- what else can be read ---------------------------------------------------------------------------------


@scene()
async def test_what_leads_are_made_of(caller):
    [told] = (await caller.get("/rest/v1/leads/describe2.json"))["result"]
    fields = {one["name"]: one for one in told["fields"]}
    assert (told["name"], ["email"] in told["searchableFields"]) == ("API Lead", True)
    assert fields["email"] == {
        "name": "email", "displayName": "Email Address", "dataType": "email", "length": 255,
        "updateable": True, "crmManaged": False,
    }  # fmt: skip
    assert (fields["leadScore"]["displayName"], "length" in fields["leadScore"]) == ("Lead Score", False)
    assert fields["createdAt"]["updateable"] is False
    assert fields["customerId"]["dataType"] == "integer"
    old = {one["rest"]["name"]: one for one in (await caller.get("/rest/v1/leads/describe.json"))["result"]}
    assert (old["company"]["displayName"], old["company"]["rest"]["readOnly"]) == ("Company Name", False)
    page = await caller.get("/rest/v1/leads/schema/fields.json?batchSize=3")
    assert (len(page["result"]), page["nextPageToken"], page["moreResult"]) == (3, "3", True)


@scene()
async def test_what_objects_and_members_are_made_of(caller):
    [car] = (await caller.get("/rest/v1/customobjects/car_c/describe.json"))["result"]
    assert (car["name"], car["dedupeFields"], car["idField"]) == ("car_c", ["vin"], "marketoGUID")
    assert car["relationships"][0]["relatedTo"] == {"name": "Lead", "field": "email"}
    fields = {one["name"]: one["updateable"] for one in car["fields"]}
    assert (fields["vin"], fields["color"], fields["marketoGUID"]) == (False, True, False)
    assert code(await caller.get("/rest/v1/customobjects/boat_c/describe.json")) == "1013"
    assert [one["name"] for one in (await caller.get("/rest/v1/customobjects.json"))["result"]] == ["car_c", "seat_c"]
    for path in ("/rest/v1/programs/members/describe.json", "/rest/v1/program/members/describe.json"):
        [member] = (await caller.get(path))["result"]
        assert member["dedupeFields"] == ["leadId", "programId"]
        assert [one["name"] for one in member["fields"] if one["updateable"]] == ["registrationCode"]


@scene()
async def test_programs_channels_lists_and_partitions(caller):
    [program] = (await caller.get("/rest/asset/v1/program/1044.json"))["result"]
    assert (program["name"], program["channel"]) == ("Launch", "Event")
    assert (await caller.get("/rest/asset/v1/program/byName.json?name=Fair"))["result"][0]["id"] == 1045
    nothing = await caller.get("/rest/asset/v1/program/9.json")
    assert (nothing["success"], nothing["result"], len(nothing["warnings"])) == (True, [], 1)
    [channel] = (await caller.get("/rest/asset/v1/channels.json?offset=0&maxReturn=5"))["result"]
    assert [(one["name"], one["step"]) for one in channel["progressionStatuses"]][1:] == [
        ("Invited", 10),
        ("Attended", 20),
    ]
    assert (await caller.get("/rest/v1/lists/1001.json"))["result"][0]["name"] == "Newsletter"
    assert code(await caller.get("/rest/v1/lists/7.json")) == "1013"
    assert len((await caller.get("/rest/v1/lists.json?name=Customers"))["result"]) == 1
    assert [one["name"] for one in (await caller.get("/rest/v1/leads/partitions.json"))["result"]] == [
        "Default",
        "Europe",
    ]


@scene()
async def test_records_can_be_read_back(caller):
    await caller.create("email,firstName\na@x.com,Ann\nb@x.com,Bob\nc@x.com,Cid\n", listId="1001")
    await caller.create("vin,color\nv1,red\nv2,blue\n", "/bulk/v1/customobjects/car_c/import.json")
    caller.wait()
    query = "filterType=email&filterValues=C@x.com,a@x.com,z@x.com&fields=email,firstName"
    people = (await caller.get(f"/rest/v1/leads.json?{query}"))["result"]
    assert people == [
        {"id": 1, "email": "a@x.com", "firstName": "Ann"},
        {"id": 3, "email": "c@x.com", "firstName": "Cid"},
    ]
    members = await caller.get("/rest/v1/lists/1001/leads.json?batchSize=2")
    assert ([one["id"] for one in members["result"]], members["nextPageToken"]) == ([1, 2], "2")
    members = await caller.get("/rest/v1/lists/1001/leads.json?batchSize=2&nextPageToken=2&fields=email")
    assert (members["result"], members["moreResult"]) == ([{"id": 3, "email": "c@x.com"}], False)
    cars = await caller.get("/rest/v1/customobjects/car_c.json?filterType=vin&filterValues=v2&fields=vin,color")
    assert [(one["vin"], one["color"]) for one in cars["result"]] == [("v2", "blue")]
    assert code(await caller.get("/rest/v1/leads.json?filterType=email")) == "1002"
    assert code(await caller.get("/rest/v1/leads.json?filterType=title&filterValues=x")) == "1003"


@scene()
async def test_usage_counts_calls_and_errors(caller):
    await caller.create("email\na@x.com\n")
    await caller.get("/bulk/v1/leads/batch/7.json")
    told = (await caller.get("/rest/v1/stats/usage.json"))["result"]
    assert told == [{"date": "2026-09-21", "total": 3, "users": [{"userId": "api@emulator.invalid", "count": 3}]}]
    [errors] = (await caller.get("/rest/v1/stats/errors.json"))["result"]
    assert (errors["total"], errors["errors"]) == (1, [{"errorCode": "1013", "count": 1}])
    caller.wait(24 * HOUR_MS)
    await caller.authenticate()
    week = (await caller.get("/rest/v1/stats/usage/last7days.json"))["result"]
    assert [(one["date"], one["total"]) for one in week] == [("2026-09-22", 1), ("2026-09-21", 4)]


# --- the emulator about itself -----------------------------------------------------------------------------


@scene()
async def test_duplicates_are_reported(caller):
    await caller.create("email,firstName\na@x.com,1\n")
    await caller.create("email,firstName\na@x.com,2\n")
    caller.wait()
    assert await caller.about("duplicates") == [
        {"store": "leads", "kind": "duplicate", "key": "a@x.com", "records": [1, 2], "batches": [1001, 1002]}
    ]
    state = await caller.about("state")
    assert (state["records"]["leads"], state["collisions"]) == (2, 1)
    health = await caller.about("health")
    assert (health["status"], health["munchkin_id"]) == ("ok", "000-EMU-000")


@scene()
async def test_faults_can_be_changed_while_it_runs(caller):
    base = f"{caller.running.url}/_emulator"
    numbers = await caller.break_things({"on": "status", "do": "code"}, {"on": "create", "do": "code"})
    assert [one["number"] for one in await caller.about("faults")] == numbers
    async with caller.session.delete(f"{base}/faults/{numbers[0]}") as answer:
        assert await answer.json() == {"removed": 1}
    assert code(await caller.get("/bulk/v1/leads/batch/1.json")) == "1013"
    assert code(await caller.create("email\na@x.com\n")) == "611"
    async with caller.session.delete(f"{base}/faults") as answer:
        assert await answer.json() == {"removed": 1}
    for path, given in (
        ("faults", '{"on": "create", "do": "explode"}'),
        ("faults", "[1]"),
        ("faults", "{"),
        ("occupy", '{"slots": 0, "duration_ms": 1}'),
        ("skip", '{"ms": -1}'),
    ):
        async with caller.session.post(f"{base}/{path}", data=given) as answer:
            assert (answer.status, list(await answer.json())) == (400, ["error"])
    async with caller.session.post(f"{base}/occupy", json={"slots": 2, "duration_ms": 1_000}) as answer:
        assert await answer.json() == {"batch_ids": [1001, 1002]}
    async with caller.session.post(f"{base}/skip", json={"ms": 5_000}) as answer:
        assert await answer.json() == {"now_ms": NOW_MS + 5_000}
    assert (await caller.about("state"))["unfinished"] == 0
    async with caller.session.get(f"{base}/records/boats") as answer:
        assert answer.status == 404


def test_a_port_that_is_taken_is_an_error_that_says_so():
    async def play() -> None:
        async with world() as caller:
            with pytest.raises(ConfigError, match=f"port {caller.running.port}"):
                await start(config(), port=caller.running.port)

    asyncio.run(play())


def test_the_same_calls_get_the_same_answers():
    async def play() -> list[Any]:
        async with world(
            jitter=0.5, start_delay_ms_max=5_000, faults=({"on": "any", "probability": 0.3, "do": "code"},)
        ) as c:
            await c.authenticate()
            told = [await c.create(f"email\n{n}@x.com\n") for n in range(9)]
            c.wait()
            return [told, await c.about("batches")]

    assert asyncio.run(play()) == asyncio.run(play())
