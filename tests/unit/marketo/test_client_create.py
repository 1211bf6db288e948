from __future__ import annotations

import asyncio
import email
import email.policy
import json

import aiohttp
import pytest

from orchestrator.errors import (
    AccessDenied,
    DeliveryUnknown,
    ImportQueueFull,
    InvalidRequest,
    NotDelivered,
    SourceChanged,
    TooLarge,
    Unavailable,
)
from orchestrator.marketo.upload import Delivery
from orchestrator.marketo.wire import Created
from orchestrator.model import BatchId, BatchStatus, CustomObjects, Format, Leads, ProgramMembers
from tests.unit.marketo.peer import (
    CREATED,
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
    refusal,
)

BIG = Rows(*[b"x" * 1_000_000] * 9)
QUEUED = Created(batch_id=BatchId(3404), status=BatchStatus.QUEUED)


def create(peer: Peer, *, rows: Rows | None = None, delivery: Delivery | None = None, target=None, begin=None, **more):
    """Upload rows to a peer and return what came of it, an error included."""

    async def history():
        async with peer.running(), client_of(peer.url, **more) as client:
            try:
                return await client.create(
                    target or Leads(), Format.CSV, "leads.csv", rows or Rows(), delivery=delivery, begin=begin
                )
            except Exception as error:  # noqa: BLE001 - the outcome, whatever it is, is the test's to judge
                return error

    return asyncio.run(history())


def test_an_upload_is_one_sized_request_with_the_token_in_its_header():
    peer, delivery = Peer(answering(200, CREATED)), Delivery()
    target = Leads(list_id=1001, partition="West & East")
    assert create(peer, target=target, delivery=delivery) == QUEUED
    (call,) = peer.calls
    assert call.method == "POST"
    assert call.target == (
        "/bulk/v1/leads.json?format=csv&lookupField=email&listId=1001&partitionName=West%20%26%20East"
    )
    assert call.token == TOKEN
    assert call.headers["content-length"] == str(len(call.body)) == str(delivery.body_bytes)
    assert "transfer-encoding" not in call.headers
    assert "expect" not in call.headers
    assert "content-encoding" not in call.headers
    assert call.headers["connection"] == "close"
    message = email.message_from_bytes(
        f"Content-Type: {call.headers['content-type']}\r\n\r\n".encode() + call.body, policy=email.policy.HTTP
    )
    (part,) = message.iter_parts()
    assert (part.get_param("name", header="content-disposition"), part.get_filename()) == ("file", "leads.csv")
    assert call.body.count(b"\r\n\r\nemail\na@example.com\n\r\n--") == 1
    assert delivery == Delivery(body_bytes=len(call.body), sent_bytes=len(call.body), handed_over=True)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (CustomObjects(api_name="car_c"), "/bulk/v1/customobjects/car_c/import.json?format=csv"),
        (
            ProgramMembers(program_id=1044, member_status="On List"),
            "/bulk/v1/program/1044/members/import.json?format=csv&programMemberStatus=On%20List",
        ),
    ],
)
def test_the_other_targets_have_their_own_addresses(target, path):
    peer = Peer(answering(200, CREATED))
    assert create(peer, target=target) == QUEUED
    assert peer.calls[0].target == path


def test_a_batch_may_be_born_failed():
    body = {"success": True, "result": [{"batchId": 7, "status": "Failed"}]}
    assert create(Peer(answering(200, body))) == Created(batch_id=BatchId(7), status=BatchStatus.FAILED)


def test_a_batch_id_counts_even_without_success_and_in_a_cut_answer():
    body = {**refusal("611"), "result": [{"batchId": 7, "status": "Importing"}]}
    expected = Created(batch_id=BatchId(7), status=BatchStatus.IMPORTING)
    assert create(Peer(answering(200, body))) == expected
    assert create(Peer(answering(200, body, length=10_000))) == expected


@pytest.mark.parametrize(
    "handler",
    [
        answering(502, PAGE, "text/html"),
        answering(504, b"", "text/html"),
        answering(200, PAGE, "text/html"),
        answering(200, b"%PDF-1.4"),
        answering(200, b'{"success":true,"result":[{"batch', length=100),
        answering(200, {"success": True, "result": []}),
        answering(200, b" " * 9_000_000 + json.dumps(CREATED).encode()),
        answering(200, refusal("604")),
        answering(200, refusal("713")),
        answering(303, b"", Location="http://a.example/"),
    ],
    ids=["502", "504", "html", "garbage", "cut", "empty", "huge", "604", "713", "303"],
)
def test_an_answer_that_names_no_batch_leaves_it_open(handler):
    delivery = Delivery()
    outcome = create(Peer(handler), delivery=delivery)
    assert type(outcome) is DeliveryUnknown
    assert delivery.handed_over
    assert outcome.subscription == "default"


async def _reset_after_body(call: Call) -> None:
    await call.read()
    call.reset()


async def _close_after_body(call: Call) -> None:
    await call.read()


async def _speak_nonsense(call: Call) -> None:
    await call.read()
    call.writer.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
    await call.writer.drain()


@pytest.mark.parametrize("handler", [_reset_after_body, _close_after_body, _speak_nonsense])
def test_a_lost_answer_leaves_it_open(handler):
    outcome = create(Peer(handler))
    assert type(outcome) is DeliveryUnknown
    assert "answer is lost" in str(outcome)


def test_an_answer_that_never_comes_leaves_it_open():
    async def silent(call: Call) -> None:
        await call.read()
        await call.reader.read()

    outcome = create(Peer(silent), idle_ms=1_000)
    assert type(outcome) is DeliveryUnknown
    assert outcome.code == "timeout"


# --- before the last piece ---------------------------------------------------------------------------


async def _reset_at_once(call: Call) -> None:
    call.reset()


async def _reset_in_the_middle(call: Call) -> None:
    await call.reader.readexactly(100_000)
    call.reset()


async def _close_in_the_middle(call: Call) -> None:
    await call.reader.readexactly(100_000)


async def _bad_gateway_in_the_middle(call: Call) -> None:
    await call.reader.readexactly(100_000)
    await call.answer(502, PAGE, "text/html")
    await call.reader.read(1)
    call.reset()


async def _empty_success_in_the_middle(call: Call) -> None:
    await call.reader.readexactly(100_000)
    await call.answer(200, {"success": True, "result": []})


@pytest.mark.parametrize(
    "handler",
    [
        _reset_at_once,
        _reset_in_the_middle,
        _close_in_the_middle,
        _bad_gateway_in_the_middle,
        _empty_success_in_the_middle,
    ],
)
def test_what_breaks_before_the_last_piece_delivered_nothing(handler):
    delivery = Delivery()
    outcome = create(Peer(handler), rows=BIG, delivery=delivery)
    assert type(outcome) is NotDelivered
    assert not delivery.handed_over
    assert 0 < delivery.sent_bytes < delivery.body_bytes
    assert BIG.opened == BIG.closed


def test_a_server_that_reads_nothing_is_given_up():
    async def deaf(call: Call) -> None:
        call.writer.transport.pause_reading()
        await asyncio.Event().wait()

    delivery = Delivery()
    outcome = create(Peer(deaf), rows=Rows(*[b"x" * 1_000_000] * 40), delivery=delivery, idle_ms=200)
    assert type(outcome) is NotDelivered
    assert (outcome.code, delivery.handed_over) == ("timeout", False)


async def _too_large_and_wait(call: Call) -> None:
    await call.answer(413, PAGE, "text/html")
    while await call.reader.read(65536):  # as nginx lingers
        pass


async def _too_large_and_close(call: Call) -> None:
    await call.reader.readexactly(1000)
    await call.answer(413, PAGE, "text/html")
    call.writer.close()


async def _too_large_without_reading(call: Call) -> None:
    call.writer.transport.pause_reading()
    await call.answer(413, PAGE, "text/html")
    call.writer.close()


async def _too_large_and_cut(call: Call) -> None:
    await call.answer(413, PAGE, "text/html", length=100_000)
    call.writer.close()


@pytest.mark.parametrize("turn", range(5))
@pytest.mark.parametrize(
    "handler", [_too_large_and_wait, _too_large_and_close, _too_large_without_reading, _too_large_and_cut]
)
def test_an_upload_that_is_too_large_is_told_so_though_it_was_not_read(handler, turn):
    outcome = create(Peer(handler), rows=BIG)
    assert type(outcome) is TooLarge
    assert outcome.code == "413"


def test_nobody_there():
    async def history():
        async with Peer(give_token).running() as peer:
            async with client_of(f"http://127.0.0.1:{free_port()}", identity_url=peer.url) as client:
                with pytest.raises(NotDelivered, match="refuses connections") as error:
                    await client.create(Leads(), Format.CSV, "a.csv", Rows())
                assert error.value.code == "refused"
            async with client_of("https://123-abc-456.invalid", identity_url=peer.url) as client:
                with pytest.raises(NotDelivered, match="Check the munchkin id") as error:
                    await client.create(Leads(), Format.CSV, "a.csv", Rows())
                assert error.value.code == "unknown_host"

    asyncio.run(history())


def test_an_address_that_speaks_no_tls():
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async def history():
        server = await asyncio.start_server(plain, "127.0.0.1", 0)
        async with server, Peer(give_token).running() as peer:
            port = server.sockets[0].getsockname()[1]
            async with client_of(f"https://127.0.0.1:{port}", identity_url=peer.url) as client:
                with pytest.raises(NotDelivered, match="encrypted") as error:
                    await client.create(Leads(), Format.CSV, "a.csv", Rows())
                assert error.value.code == "tls"

    asyncio.run(history())


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed_and_leaves_open_what_became_of_an_upload_that_was_sent_whole(status):
    location = "http://user:pw@elsewhere.example/steal?x=1"

    async def at_once(call: Call) -> None:
        call.writer.transport.pause_reading()
        await call.answer(status, b"", Location=location)

    for handler, rows, kind in (
        (answering(status, b"", Location=location), Rows(), DeliveryUnknown),
        (at_once, BIG, InvalidRequest),
    ):
        peer, delivery = Peer(handler), Delivery()
        outcome = create(peer, rows=rows, delivery=delivery)
        assert type(outcome) is kind
        assert delivery.handed_over is (kind is DeliveryUnknown)
        assert outcome.code == str(status)
        assert "http://elsewhere.example" in str(outcome)
        assert "pw" not in str(outcome)
        assert len(peer.calls) == 1


def test_a_full_queue_is_said_by_its_code():
    message = "There are 10 imports currently being processed. Please try again later"
    outcome = create(Peer(answering(200, refusal("1016", message))))
    assert type(outcome) is ImportQueueFull
    assert (outcome.code, outcome.request_id, outcome.subscription) == ("1016", "e42b#14272d07d78", "default")


# --- the rows' own failures --------------------------------------------------------------------------


@pytest.mark.parametrize("failure", [SourceChanged("leads.csv changed"), OSError(5, "Input/output error")])
@pytest.mark.parametrize("handler", [answering(200, CREATED), _too_large_and_wait])
def test_a_failure_of_the_rows_comes_out_as_itself(failure, handler):
    peer, delivery = Peer(handler), Delivery()
    rows = Rows(b"email\n", b"a@example.com\n", failure=failure)
    outcome = create(peer, rows=rows, delivery=delivery)
    assert outcome is failure
    assert not delivery.handed_over
    assert rows.opened == rows.closed


def test_rows_that_fail_while_a_refusal_arrives_are_what_matters():
    async def history():
        answered, failed = asyncio.Event(), asyncio.Event()

        class FailingRows(Rows):
            async def stream(self):
                yield self.pieces[0]
                await answered.wait()
                for _ in range(20):  # until the head of the answer is read
                    await asyncio.sleep(0)
                failed.set()
                raise SourceChanged("changed")

        async def refuse(call: Call) -> None:
            await call.answer(413, PAGE[:9], "text/html", length=18)
            answered.set()
            await failed.wait()
            call.writer.write(PAGE[9:18])
            await call.writer.drain()

        async with Peer(refuse).running() as peer, client_of(peer.url) as client:
            with pytest.raises(SourceChanged):
                await client.create(Leads(), Format.CSV, "a.csv", FailingRows())

    asyncio.run(history())


def test_rows_that_fail_are_never_whole_at_the_other_side():
    async def history():
        arrived: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def reading(call: Call) -> None:
            arrived.set_result(await call.reader.read(-1))

        rows = Rows(*[b"x" * 100_000] * 20, failure=SourceChanged("changed"))
        async with Peer(reading).running() as peer, client_of(peer.url) as client:
            with pytest.raises(SourceChanged):
                await client.create(Leads(), Format.CSV, "a.csv", rows)
            body = await arrived
            assert len(body) < int(peer.calls[0].headers["content-length"])
            assert not body.rstrip().endswith(b"--")

    asyncio.run(history())


# --- tokens ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["600", "601", "602"])
def test_a_refused_token_is_renewed_and_the_upload_sent_again(code):
    numbers = iter(range(1, 9))

    async def numbered(call: Call) -> None:
        await call.read()
        await call.answer(200, {"access_token": f"token-{next(numbers)}", "expires_in": 3599, "scope": "x"})

    peer, rows, calls = Peer(answering(200, refusal(code)), answering(200, CREATED), identity=numbered), Rows(), []

    async def begin() -> None:
        calls.append("begin")

    assert create(peer, rows=rows, calls=calls, begin=begin) == QUEUED
    assert [call.token for call in peer.calls] == ["token-1", "token-2"]
    assert peer.calls[0].body.split(b"--", 2)[2] != b""
    assert rows.opened == 2
    assert calls == ["token", "submit", "begin", "token", "submit", "begin"]


def test_tokens_that_are_all_refused_end_in_access_denied():
    peer = Peer(answering(200, refusal("601", f"Access token {TOKEN} invalid")))
    outcome = create(peer)
    assert type(outcome) is AccessDenied
    assert len(peer.calls) == 2


def test_a_call_tries_only_so_many_tokens():
    number = iter(range(99))

    async def numbered(call: Call) -> None:
        await call.read()
        await call.answer(200, {"access_token": f"token-{next(number)}", "expires_in": 3599})

    peer = Peer(answering(200, refusal("602")), identity=numbered)
    outcome = create(peer)
    assert type(outcome) is Unavailable
    assert len(peer.calls) == 5


def test_an_identity_service_that_talks_nonsense_delivered_nothing():
    peer = Peer(answering(200, CREATED), identity=answering(200, PAGE, "text/html"))
    outcome = create(peer)
    assert type(outcome) is NotDelivered
    assert (outcome.subscription, peer.calls) == ("default", [])


def test_an_upload_does_not_start_with_a_token_about_to_expire():
    clock, begun = Clock(), []

    async def begin() -> None:
        begun.append(clock.now)

    async def dying(call: Call) -> None:
        left = 1_003 - clock.now // 1000
        old = {"access_token": "old", "expires_in": left}
        await call.answer(200, old if left > 0 else {"access_token": "new", "expires_in": 3600})

    async def history():
        peer = Peer(answering(200, CREATED), identity=dying)
        async with peer.running(), client_of(peer.url, clock=clock) as client:
            await client.authenticate()
            await client.create(Leads(), Format.CSV, "a.csv", Rows(), begin=begin, life_ms=2_000)
            await client.create(Leads(), Format.CSV, "a.csv", Rows(), begin=begin, life_ms=60_000)
            assert [call.token for call in peer.calls] == ["old", "new"]
            assert begun == [1_000_000, 1_003_000]

    asyncio.run(history())


# --- cancelling --------------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", [True, False])
def test_whoever_cancels_can_see_how_far_it_got(whole):
    async def history():
        reached = asyncio.Event()

        async def waiting(call: Call) -> None:
            await (call.read() if whole else call.reader.readexactly(100_000))
            call.writer.transport.pause_reading()
            reached.set()
            await asyncio.Event().wait()

        delivery, rows = Delivery(), Rows(*[b"x" * 1_000_000] * 40)
        async with Peer(waiting).running() as peer, client_of(peer.url) as client:
            task = asyncio.ensure_future(client.create(Leads(), Format.CSV, "a.csv", rows, delivery=delivery))
            await reached.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert delivery.handed_over == whole
            assert rows.opened == rows.closed == 1
            sent = delivery.sent_bytes
            await asyncio.sleep(0)
            assert delivery.sent_bytes == sent

    asyncio.run(history())


def test_whoever_cancels_behind_a_refusal_can_see_that_nothing_was_delivered():
    async def history():
        asked, reached = iter(range(9)), asyncio.Event()

        async def once(call: Call) -> None:
            if next(asked):
                reached.set()
                await asyncio.Event().wait()
            await give_token(call)

        delivery = Delivery()
        async with Peer(answering(200, refusal("601")), identity=once).running() as peer, client_of(peer.url) as client:
            creating = client.create(Leads(), Format.CSV, "a.csv", Rows(), delivery=delivery)
            task = asyncio.ensure_future(creating)
            await reached.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert delivery.sent_bytes == delivery.body_bytes > 0
            assert not delivery.handed_over

    asyncio.run(history())


# --- secrets and sessions ----------------------------------------------------------------------------


def test_an_echoed_token_is_cut_out():
    outcome = create(Peer(answering(200, refusal("1003", f"bad {TOKEN} {SECRET[:3]}"))))
    assert type(outcome) is InvalidRequest
    assert "bad ***" in str(outcome)
    assert TOKEN not in str(outcome)


def test_a_session_that_is_handed_in_is_used_and_left_open():
    async def history():
        async with (
            Peer(answering(200, CREATED), answering(413, PAGE, "text/html")).running() as peer,
            aiohttp.ClientSession(headers={"X-Ours": "1"}, raise_for_status=True) as session,
        ):
            async with client_of(peer.url, session=session) as client:
                assert await client.create(Leads(), Format.CSV, "a.csv", Rows()) == QUEUED
                with pytest.raises(TooLarge):
                    await client.create(Leads(), Format.CSV, "a.csv", Rows())
            assert not session.closed
            assert peer.calls[0].headers["x-ours"] == "1"
            assert {call.headers["connection"] for call in (*peer.calls, *peer.tokens)} == {"close"}

    asyncio.run(history())
