from __future__ import annotations

import asyncio
import base64
import random
import ssl
import stat
import subprocess

import pytest

from orchestrator.errors import (
    AccessDenied,
    ConfigError,
    FileUnwritten,
    InvalidRequest,
    MalformedResponse,
    NotDelivered,
    RateLimited,
    TooLarge,
    Unavailable,
)
from orchestrator.marketo import answers, codes, transport
from orchestrator.marketo.client import Client
from orchestrator.marketo.options import Identity
from orchestrator.marketo.wire import BatchReport, ResultKind
from orchestrator.model import BatchId, BatchStatus, CustomObjects, Format, Leads, ProgramMembers
from tests.unit.marketo.peer import (
    JSON,
    PAGE,
    SECRET,
    TOKEN,
    Call,
    Clock,
    Peer,
    Rows,
    answering,
    client_of,
    free_port,
    give_token,
    options,
    refusal,
)

BATCH = BatchId(3404)
FAILURES = b"email,Import Failure Reason\na@example.com,Invalid data type in field Lead Score\n"
COMPLETE = {
    "success": True,
    "result": [{"batchId": 3404, "status": "Complete", "numOfLeadsProcessed": 3, "numOfRowsFailed": 1}],
}


def outcome_of(peer: Peer, work, **more):
    """Do something with a client and return what came of it, an error included."""

    async def history():
        async with peer.running(), client_of(peer.url, **more) as client:
            try:
                return await work(client)
            except Exception as error:  # noqa: BLE001 - the outcome, whatever it is, is the test's to judge
                return error

    return asyncio.run(history())


def status(client: Client):
    return client.status(Leads(), BATCH)


# --- status ------------------------------------------------------------------------------------------


def test_a_status_is_asked_for_with_the_token_in_its_header():
    calls: list[str] = []
    peer = Peer(answering(200, COMPLETE))
    assert outcome_of(peer, status, calls=calls) == BatchReport(
        batch_id=BATCH, status=BatchStatus.COMPLETE, processed=3, failed=1
    )
    (call,) = peer.calls
    assert (call.method, call.target, call.token) == ("GET", "/bulk/v1/leads/batch/3404.json", TOKEN)
    assert call.headers["connection"] == "close"
    assert calls == ["token", "status"]


async def _reset(call: Call) -> None:
    call.reset()


async def _close(call: Call) -> None:
    call.writer.close()


async def _silent(call: Call) -> None:
    await call.reader.read()


async def _speak_nonsense(call: Call) -> None:
    call.writer.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
    await call.writer.drain()


@pytest.mark.parametrize(
    ("handler", "kind"),
    [
        (_reset, NotDelivered),
        (_close, NotDelivered),
        (_speak_nonsense, MalformedResponse),
        (answering(200, b'{"success":true,"result":[{"ba', length=1000), NotDelivered),
        (answering(200, b'{"success":true,"result":[{"ba'), MalformedResponse),
        (answering(200, PAGE, "text/html"), MalformedResponse),
        (answering(200, b" " * (answers.JSON_BYTES_MAX + 10)), MalformedResponse),
        (answering(200, refusal("606", "Max rate limit '100' exceeded with in '20' secs")), RateLimited),
        (answering(200, refusal("713")), Unavailable),
        (answering(502, PAGE, "text/html"), Unavailable),
        (answering(502, PAGE, "text/html", length=1000), Unavailable),
        (answering(404), InvalidRequest),
        (answering(302, b"", Location="https://elsewhere.example/"), InvalidRequest),
    ],
)
def test_a_status_that_does_not_come_is_an_error_of_its_kind_and_one_call(handler, kind):
    peer, calls = Peer(handler), []
    outcome = outcome_of(peer, status, calls=calls)
    assert type(outcome) is kind
    assert outcome.subscription == "default"
    assert (len(peer.calls), calls) == (1, ["token", "status"])


def test_a_status_that_does_not_come_in_time():
    outcome = outcome_of(Peer(_silent), status, idle_ms=1_000)
    assert (type(outcome), outcome.code) == (NotDelivered, "timeout")


def test_a_call_that_takes_too_long_all_in_all_is_ended():
    async def dripping(call: Call) -> None:
        call.writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: {JSON}\r\n\r\n".encode())
        while True:
            call.writer.write(b" ")
            await call.writer.drain()
            await asyncio.sleep(0.01)

    outcome = outcome_of(Peer(dripping), status, timeout_ms=1_000)
    assert (type(outcome), outcome.code) == (NotDelivered, "timeout")


def test_an_answer_without_end_is_not_read_to_its_end():
    async def endless(call: Call) -> None:
        call.writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: {JSON}\r\n\r\n".encode())
        while True:
            call.writer.write(b" " * 65536)
            await call.writer.drain()

    assert type(outcome_of(Peer(endless), status)) is MalformedResponse


def test_a_batch_that_marketo_forgot():
    outcome = outcome_of(Peer(answering(200, refusal("1013", "Object not found"))), status)
    assert codes.is_gone(outcome)


# --- result files ------------------------------------------------------------------------------------


def fetch(tmp_path, peer: Peer, kind=ResultKind.FAILURES, target=None):
    to = tmp_path / "3404.failures"
    outcome = outcome_of(peer, lambda client: client.fetch(kind, target or Leads(), BATCH, to))
    assert [path.name for path in tmp_path.iterdir()] == (["3404.failures"] if outcome is True else [])
    return outcome, to


@pytest.mark.parametrize("kind", ["text/csv;charset=UTF-8", "application/json", "application/octet-stream"])
def test_a_result_file_is_stored_as_it_is_for_its_owner_alone(tmp_path, kind):
    peer = Peer(answering(200, FAILURES, kind))
    found, to = fetch(tmp_path, peer)
    assert found is True
    assert to.read_bytes() == FAILURES
    assert stat.S_IMODE(to.stat().st_mode) == 0o600
    assert peer.calls[0].target == "/bulk/v1/leads/batch/3404/failures.json"


def test_the_warnings_of_another_target_have_their_own_address(tmp_path):
    peer = Peer(answering(200, FAILURES, "text/csv"))
    fetch(tmp_path, peer, ResultKind.WARNINGS, ProgramMembers(program_id=1, member_status="x"))
    assert peer.calls[0].target == "/bulk/v1/program/members/import/3404/warnings.json"


def test_a_large_file_arrives_whole(tmp_path):
    body = FAILURES + bytes(range(256)) * 20_000
    found, to = fetch(tmp_path, Peer(answering(200, body, "text/csv")))
    assert found is True
    assert to.read_bytes() == body


@pytest.mark.parametrize(
    "handler", [answering(404), answering(404, PAGE, "text/html"), answering(200, b"", "text/csv")]
)
def test_no_file_is_no_error(tmp_path, handler):
    assert fetch(tmp_path, Peer(handler))[0] is False


@pytest.mark.parametrize(
    ("handler", "kind"),
    [
        (answering(200, refusal("606")), RateLimited),
        (answering(200, refusal("606"), "application/octet-stream"), RateLimited),
        (answering(200, refusal("1013"), "text/plain"), InvalidRequest),
        (answering(502, PAGE, "text/html"), Unavailable),
        (answering(502, PAGE, "text/html", length=9999), Unavailable),
        (answering(200, PAGE, "text/html"), MalformedResponse),
        (answering(200, b'{"success":true,"result":[]}'), MalformedResponse),
        (answering(200, b'{"cut'), MalformedResponse),
        (answering(200, FAILURES, "text/csv", length=10_000), NotDelivered),
        (_reset, NotDelivered),
        (_close, NotDelivered),
        (answering(302, b"", Location="https://elsewhere.example/"), InvalidRequest),
    ],
)
def test_what_stands_in_place_of_a_file_is_not_stored(tmp_path, handler, kind):
    assert type(fetch(tmp_path, Peer(handler))[0]) is kind


def test_a_file_of_odd_columns_is_a_file(tmp_path):
    odd = b'{"a" , b},Import Failure Reason\n1,2\n'
    found, to = fetch(tmp_path, Peer(answering(200, odd, "application/octet-stream")))
    assert (found, to.read_bytes()) == (True, odd)


def test_an_expired_token_on_a_file_is_renewed(tmp_path):
    peer = Peer(answering(200, refusal("602")), answering(200, FAILURES, "text/csv"))
    assert fetch(tmp_path, peer)[0] is True
    assert len(peer.calls) == len(peer.tokens) == 2


def test_a_file_without_end_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(transport, "RESULT_FILE_BYTES_MAX", 1_000_000)
    outcome, _ = fetch(tmp_path, Peer(answering(200, b"x" * 1_100_000, "text/csv")))
    assert type(outcome) is MalformedResponse


def test_an_older_file_stays_until_the_new_one_is_whole(tmp_path):
    to, part = tmp_path / "f", tmp_path / ".f.part"
    to.write_bytes(b"old")
    part.write_bytes(b"what a crash left behind, and longer than the new file will ever be" * 9)

    async def work(client: Client):
        assert await client.fetch(ResultKind.FAILURES, Leads(), BATCH, to) is False
        assert to.read_bytes() == b"old"
        return await client.fetch(ResultKind.FAILURES, Leads(), BATCH, to)

    assert outcome_of(Peer(answering(404), answering(200, FAILURES, "text/csv")), work) is True
    assert to.read_bytes() == FAILURES
    assert not part.exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    to = tmp_path / "missing" / "f"
    outcome = outcome_of(
        Peer(answering(200, FAILURES, "text/csv")), lambda client: client.fetch(ResultKind.FAILURES, Leads(), BATCH, to)
    )
    assert type(outcome) is FileUnwritten
    assert str(to) in str(outcome)


def test_a_link_in_the_place_of_the_part_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / ".f.part").symlink_to(victim)
    work = lambda client: client.fetch(ResultKind.FAILURES, Leads(), BATCH, tmp_path / "f")  # noqa: E731
    assert type(outcome_of(Peer(answering(200, FAILURES, "text/csv")), work)) is FileUnwritten
    assert victim.read_bytes() == b"precious"


# --- describe and usage ------------------------------------------------------------------------------


def described(*fields: str, **more):
    listed = [{"name": name, "dataType": "string", "updateable": True} for name in fields]
    return answering(200, {"success": True, "result": [{"name": "x", "fields": listed, **more}]})


def test_the_description_of_a_target_names_the_columns_an_import_must_have():
    peer = Peer(described("email", "firstName"))
    schema = outcome_of(peer, lambda client: client.describe(Leads(lookup_field="firstName")))
    assert (schema.dedupe_fields, peer.calls[0].target) == (("firstName",), "/rest/v1/leads/describe2.json")

    peer = Peer(described("vin", "year", dedupeFields=["vin", "year"]))
    schema = outcome_of(peer, lambda client: client.describe(CustomObjects(api_name="car_c")))
    assert schema.dedupe_fields == ("vin", "year")
    assert peer.calls[0].target == "/rest/v1/customobjects/car_c/describe.json"

    peer = Peer(described("code", dedupeFields=["leadId", "programId"]), described("email"))
    schema = outcome_of(peer, lambda client: client.describe(ProgramMembers(program_id=1, member_status="x")))
    assert schema.dedupe_fields == ("email",)
    assert {field.name for field in schema.fields} == {"code", "email"}
    assert [call.target for call in peer.calls] == [
        "/rest/v1/programs/members/describe.json",
        "/rest/v1/leads/describe2.json",
    ]


def test_the_usage_of_the_day():
    peer, calls = Peer(answering(200, {"success": True, "result": [{"date": "2015-10-17", "total": 1120}]})), []
    assert outcome_of(peer, lambda client: client.usage(), calls=calls).total == 1120
    assert (peer.calls[0].target, calls) == ("/rest/v1/stats/usage.json", ["token", "usage"])


# --- identity ----------------------------------------------------------------------------------------


def test_credentials_travel_in_a_form_and_nowhere_else():
    peer = Peer(answering())
    assert outcome_of(peer, lambda client: client.authenticate()) == Identity(
        api_user="apis@acme.example", emulator=False
    )
    (call,) = peer.tokens
    assert (call.method, call.target) == ("POST", "/identity/oauth/token")
    assert call.headers["content-type"] == "application/x-www-form-urlencoded"
    assert call.body == f"grant_type=client_credentials&client_id=my-client&client_secret={SECRET}".encode()
    assert "authorization" not in call.headers


def test_an_emulator_gives_itself_away():
    body = {"access_token": TOKEN, "expires_in": 9, "scope": "x"}
    peer = Peer(answering(), identity=answering(200, body, X_Marketo_Emulator="1"))
    assert outcome_of(peer, lambda client: client.authenticate()) == Identity(api_user="x", emulator=True)


def test_twenty_calls_at_once_ask_for_one_token():
    peer = Peer(answering(200, COMPLETE))

    async def work(client: Client):
        return await asyncio.gather(*(status(client) for _ in range(20)))

    outcome = outcome_of(peer, work)
    assert (len(outcome), len(peer.calls), len(peer.tokens)) == (20, 20, 1)


def test_twenty_calls_refused_at_once_ask_for_one_more():
    async def judge(call: Call) -> None:
        await call.answer(200, refusal("601") if call.token == "token-1" else COMPLETE)

    async def numbered(call: Call) -> None:
        await call.answer(200, {"access_token": f"token-{len(peer.tokens)}", "expires_in": 3599})

    async def work(client: Client):
        return await asyncio.gather(*(status(client) for _ in range(20)))

    peer = Peer(judge, identity=numbered)
    outcome = outcome_of(peer, work, concurrent_calls=20)
    assert (len(outcome), len(peer.calls), len(peer.tokens)) == (20, 40, 2)


@pytest.mark.parametrize("refused", [answering(401, {"error": "invalid_client", "error_description": f"Bad {SECRET}"})])
def test_a_wrong_secret_says_where_to_look_and_not_what_it_was(refused):
    peer = Peer(answering(), identity=refused)
    outcome = outcome_of(peer, lambda client: client.authenticate())
    assert type(outcome) is AccessDenied
    assert "LaunchPoint" in str(outcome)
    assert SECRET not in str(outcome)
    assert (len(peer.tokens), outcome.subscription) == (1, "default")


def test_a_secret_that_was_replaced_is_read_again():
    secrets = iter(["old-secret", "new-secret", "new-secret"])

    async def judge(call: Call) -> None:
        await call.read()
        if b"new-secret" in call.body:
            await call.answer(200, {"access_token": TOKEN, "expires_in": 3599, "scope": "x"})
        else:
            await call.answer(401, {"error": "invalid_client"})

    peer = Peer(answering(), identity=judge)
    outcome = outcome_of(peer, lambda client: client.authenticate(), client_secret=lambda: next(secrets))
    assert outcome == Identity(api_user="x", emulator=False)
    assert len(peer.tokens) == 2


def test_a_token_of_no_life_is_asked_for_again():
    async def dying(call: Call) -> None:
        life = 0 if len(peer.tokens) == 1 else 3599
        await call.answer(200, {"access_token": f"token-{len(peer.tokens)}", "expires_in": life, "scope": "x"})

    peer = Peer(answering(), identity=dying)
    outcome = outcome_of(peer, lambda client: client.authenticate())
    assert (outcome.api_user, len(peer.tokens)) == ("x", 2)


# --- rations -----------------------------------------------------------------------------------------


def test_no_more_calls_are_in_progress_than_allowed():
    async def history():
        running: list[int] = [0]
        most: list[int] = []
        full, go = asyncio.Event(), asyncio.Event()

        async def slow(call: Call) -> None:
            running[0] += 1
            most.append(running[0])
            if running[0] == 3:
                full.set()
            await go.wait()
            running[0] -= 1
            await call.answer(200, COMPLETE)

        async with Peer(slow).running() as peer, client_of(peer.url, concurrent_calls=3) as client:
            tasks = [asyncio.ensure_future(status(client)) for _ in range(10)]
            await full.wait()
            tasks[9].cancel()  # one that waits
            tasks[0].cancel()  # one that is in progress
            go.set()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert sum(isinstance(outcome, BatchReport) for outcome in outcomes) == 8
            assert max(most) <= 3

    asyncio.run(history())


def test_a_full_window_is_waited_out():
    clock, started = Clock(), []

    async def work(client: Client):
        await asyncio.gather(*(status(client) for _ in range(5)))

    async def note(call: Call) -> None:
        started.append(clock.now)
        await call.answer(200, COMPLETE)

    outcome_of(Peer(note), work, calls_per_window=2, window_ms=20_000, concurrent_calls=1, clock=clock)
    assert started == [1_000_000, 1_000_000, 1_020_001, 1_020_001, 1_040_002]


# --- how the peer is reached -------------------------------------------------------------------------


def test_only_one_address_is_told_the_secret():
    with pytest.raises(ConfigError, match="not encrypted"):
        Client(options("http://marketo.example"), now_ms=lambda: 0, rng=random.Random(1))
    with pytest.raises(ConfigError, match="not encrypted"):
        Client(options("123-ABC-456", identity_url="http://id.example"), now_ms=lambda: 0, rng=random.Random(1))
    client = Client(options("http://marketo.example", insecure=True), now_ms=lambda: 0, rng=random.Random(1))
    assert client.host == "marketo.example"


def test_a_client_that_is_not_open_says_so():
    async def history():
        with pytest.raises(ConfigError, match="async with"):
            await Client(options("123-ABC-456"), now_ms=lambda: 0, rng=random.Random(1)).authenticate()

    asyncio.run(history())


def test_nothing_shows_a_secret():
    shown = repr(options("123-ABC-456", client_secret=lambda: SECRET, proxy="http://me:hunter2@proxy.example:1"))
    assert "hunter2" not in shown
    assert "secret" not in shown


async def _proxy(call: Call) -> None:
    await call.read()
    await call.answer(200, COMPLETE)


def test_a_proxy_of_the_settings_is_used_with_its_password():
    async def history():
        async with Peer(_proxy).running() as peer:
            async with client_of(
                "http://marketo.example:81",
                insecure=True,
                identity_url=peer.url,
                proxy=peer.url.replace("//", "//me:hunter2@"),
            ) as client:
                # identity goes through the proxy too, in absolute form
                peer.handlers = [
                    answering(200, {"access_token": TOKEN, "expires_in": 99, "scope": "x"}),
                    answering(200, COMPLETE),
                ]
                assert (await status(client)).status is BatchStatus.COMPLETE
            token, call = peer.calls
            assert token.target == f"{peer.url}/identity/oauth/token"
            assert call.target == "http://marketo.example:81/bulk/v1/leads/batch/3404.json"
            expected = "Basic " + base64.b64encode(b"me:hunter2").decode()
            assert call.headers["proxy-authorization"] == expected

    asyncio.run(history())


def test_a_proxy_that_refuses_or_is_not_there():
    async def connect(call: Call) -> None:
        assert call.method == "CONNECT"
        assert "authorization" not in call.headers
        await call.answer(407, b"")

    async def history():
        async with Peer(connect).running() as peer, client_of("123-ABC-456", proxy=peer.url) as client:
            with pytest.raises(NotDelivered, match=r"proxy answered HTTP 407") as error:
                await client.authenticate()
            assert error.value.code == "proxy"
        async with client_of("123-ABC-456", proxy=f"http://me:hunter2@127.0.0.1:{free_port()}") as client:
            with pytest.raises(NotDelivered, match=r"proxy at 127.0.0.1") as error:
                await client.authenticate()
            assert "hunter2" not in str(error.value)

    asyncio.run(history())


def test_the_environments_proxy_is_used_if_it_is_trusted(monkeypatch):
    async def history():
        async with Peer(answering(200, COMPLETE)).running() as peer, Peer(_proxy).running() as proxy:
            monkeypatch.setenv("http_proxy", proxy.url.removeprefix("http://"))
            monkeypatch.setenv("no_proxy", "direct.example")
            for trust, through in ((True, 1), (False, 0)):
                proxy.calls.clear()
                # identity is on this machine, which is never asked for through the environment's proxy
                async with client_of(
                    "http://marketo.invalid", insecure=True, identity_url=peer.url, trust_env=trust
                ) as client:
                    if trust:
                        await status(client)
                    else:
                        with pytest.raises(NotDelivered):
                            await status(client)
                assert len(proxy.calls) == through
            async with client_of(
                "http://direct.example.invalid", insecure=True, identity_url=peer.url, trust_env=True
            ) as client:
                monkeypatch.setenv("no_proxy", ".invalid")
                with pytest.raises(NotDelivered, match="not known"):
                    await status(client)

    asyncio.run(history())


@pytest.mark.parametrize("proxy", ["socks5://proxy.example", "proxy.example:3128", "http://", "http://a:hunter2@b:x"])
def test_a_proxy_that_cannot_be_used_is_refused_at_once(proxy):
    with pytest.raises(ConfigError, match=r"http\.proxy") as error:
        Client(options("123-ABC-456", proxy=proxy), now_ms=lambda: 0, rng=random.Random(1))
    assert "hunter2" not in str(error.value)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A certificate for localhost that nobody trusts, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    files = ["-addext", "subjectAltName=DNS:localhost", "-keyout", f"{folder}/key.pem", "-out", f"{folder}/ca.pem"]
    try:
        subprocess.run([*command.split(), *files], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no openssl command to make a certificate with")
    return folder


def test_an_authority_of_ones_own_is_trusted_if_it_is_given(authority):
    async def history():
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(authority / "ca.pem", authority / "key.pem")
        async with Peer(answering(200, COMPLETE), identity=give_token).running(tls) as peer:
            async with client_of(peer.url, ca_file=str(authority / "ca.pem")) as client:
                assert (await status(client)).status is BatchStatus.COMPLETE
            async with client_of(peer.url) as client:
                with pytest.raises(NotDelivered, match=r"http\.ca_file") as error:
                    await status(client)
                assert error.value.code == "tls"

    asyncio.run(history())


def test_an_early_refusal_is_seen_through_encryption_too(authority):
    async def too_large(call: Call) -> None:
        await call.reader.readexactly(1000)
        await call.answer(413, PAGE, "text/html")
        call.writer.transport.abort()

    async def history():
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(authority / "ca.pem", authority / "key.pem")
        async with (
            Peer(too_large).running(tls) as peer,
            client_of(peer.url, ca_file=str(authority / "ca.pem")) as client,
        ):
            for _ in range(10):
                with pytest.raises(TooLarge):
                    await client.create(Leads(), Format.CSV, "a.csv", Rows(*[b"x" * 1_000_000] * 9))

    asyncio.run(history())


def test_a_file_of_authorities_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "empty.pem").write_text("no certificates")

    async def history(name):
        async with client_of("123-ABC-456", ca_file=str(tmp_path / name)):
            pass

    for name in ("missing.pem", "empty.pem"):
        with pytest.raises(ConfigError, match=name):
            asyncio.run(history(name))
