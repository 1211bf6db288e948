"""The client against the emulator over real sockets, both on one clock that moves only while the client waits."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from orchestrator.emulator.app import Running, start
from orchestrator.emulator.clock import EmulatedClock
from orchestrator.errors import (
    AccessDenied,
    ConcurrencyLimited,
    DailyQuotaExhausted,
    DeliveryUnknown,
    ImportQueueFull,
    InvalidRequest,
    ListBusy,
    MarketoError,
    NotDelivered,
    RateLimited,
    Refused,
    TooLarge,
    Unavailable,
)
from orchestrator.marketo import codes
from orchestrator.marketo.client import Client
from orchestrator.marketo.options import Identity
from orchestrator.marketo.upload import Delivery
from orchestrator.marketo.wire import BatchReport, Created, ResultKind
from orchestrator.model import BatchId, BatchStatus, CustomObjects, Format, Leads, ProgramMembers
from tests.unit.emulator.kit import config
from tests.unit.marketo.peer import Clock, Rows, options

CAR = CustomObjects(api_name="car_c")
MEMBER = ProgramMembers(program_id=1044, member_status="Invited")
CREDENTIALS = {"client_id": "emulator", "client_secret": lambda: "emulator-secret"}


class World:
    """An emulated subscription, and a client of it."""

    def __init__(self, running: Running, client: Client, clock: Clock, calls: list[str]) -> None:
        self.running = running
        self.client = client
        self.clock = clock
        self.calls = calls

    async def create(self, text: str = "email\nann@example.com\n", target: Any = None, **more: Any) -> Created:
        return await self.client.create(target or Leads(), Format.CSV, "rows.csv", Rows(text.encode()), **more)

    async def ended(self, created: Created, target: Any = None) -> BatchReport:
        for _ in range(100):
            report = await self.client.status(target or Leads(), created.batch_id)
            if report.status in (BatchStatus.COMPLETE, BatchStatus.FAILED):
                return report
            await self.clock.sleep(5)
        raise AssertionError("the batch never ended")

    @property
    def batches(self) -> int:
        return len(self.running.engine.batches)


@asynccontextmanager
async def world(given: dict[str, Any] | None = None, **settings: Any) -> AsyncIterator[World]:
    clock, calls = Clock(), []
    clock.now = 1_790_000_000_000
    emulated = config(**settings)
    running = await start(emulated, clock=EmulatedClock(emulated.speed, clock.now_ms))
    try:
        chosen = options(running.url, **{**CREDENTIALS, **(given or {})})
        async with Client(
            chosen, now_ms=clock.now_ms, rng=random.Random(1), on_call=calls.append, sleep=clock.sleep
        ) as client:
            yield World(running, client, clock, calls)
    finally:
        await running.stop()


def scene(given: dict[str, Any] | None = None, **settings: Any) -> Callable[..., Callable[[], None]]:
    """Make a test of what happens in a world."""

    def decorate(play: Callable[[World], Awaitable[None]]) -> Callable[[], None]:
        async def perform() -> None:
            async with world(given, **settings) as scenery:
                await play(scenery)

        def test() -> None:
            asyncio.run(perform())

        return test

    return decorate


@scene()
async def _known(world: World) -> None:
    assert await world.client.authenticate() == Identity(api_user="api@emulator.invalid", emulator=True)
    await world.client.authenticate()
    assert world.calls == ["token"]


test_the_emulator_is_known_for_what_it_is = _known


@pytest.mark.parametrize("wrong", [{"client_id": "nobody"}, {"client_secret": lambda: "guessed-wrong"}])
def test_wrong_credentials(wrong):
    async def play() -> None:
        async with world(wrong) as scenery:
            with pytest.raises(AccessDenied, match="LaunchPoint") as error:
                await scenery.create()
            assert "guessed" not in str(error.value)
            assert scenery.batches == 0

    asyncio.run(play())


@pytest.mark.parametrize(
    ("target", "text", "failed"),
    [
        (Leads(), "email,leadScore\nann@example.com,1\nbob@example.com,many\ncyd@,3\n", "bob@example.com,many"),
        (Leads(list_id=1001, partition="Europe"), "email,leadScore\nbob@example.com,many\n", "bob@example.com,many"),
        (CAR, "vin,doors\nV1,4\nV2,four\n", "V2,four"),
        (MEMBER, "email,leadScore\nann@example.com,1\nbob@example.com,many\n", "bob@example.com,many"),
    ],
)
def test_a_batch_of_each_target_from_upload_to_result_file(tmp_path, target, text, failed):
    async def play() -> None:
        async with world() as scenery:
            delivery = Delivery()
            created = await scenery.create(text, target, delivery=delivery)
            assert created.status is BatchStatus.QUEUED
            assert delivery.handed_over
            assert delivery.sent_bytes == delivery.body_bytes
            report = await scenery.ended(created, target)
            assert (report.status, report.failed) == (BatchStatus.COMPLETE, 1)
            assert report.processed == text.count("\n") - 2
            failures = tmp_path / "failures"
            assert await scenery.client.fetch(ResultKind.FAILURES, target, created.batch_id, failures)
            lines = failures.read_text().splitlines()
            assert lines[0].endswith(",Import Failure Reason")
            assert [line.rsplit(",", 1)[0] for line in lines[1:]] == [failed]
            warnings = await scenery.client.fetch(ResultKind.WARNINGS, target, created.batch_id, tmp_path / "warnings")
            assert warnings == bool(report.warned) == ("cyd@" in text)

    asyncio.run(play())


@pytest.mark.parametrize("form", list(Format))
def test_every_format_is_read_as_it_was_sent(form):
    async def play() -> None:
        async with world() as scenery:
            text = f"email{form.delimiter}firstName\nann@example.com{form.delimiter}Änn\n"
            created = await scenery.client.create(Leads(), form, "rows", Rows(text.encode()))
            assert (await scenery.ended(created)).processed == 1
            (lead,) = scenery.running.engine.records("leads", scenery.clock.now)
            assert lead["values"]["firstName"] == "Änn"

    asyncio.run(play())


@scene()
async def _described(world: World) -> None:
    leads = await world.client.describe(Leads(lookup_field="customerId"))
    fields = {field.name: field for field in leads.fields}
    assert leads.dedupe_fields == ("customerId",)
    assert (fields["email"].data_type, fields["email"].updateable) == ("email", True)
    car = await world.client.describe(CAR)
    assert (car.name, car.dedupe_fields) == ("car_c", ("vin",))
    member = await world.client.describe(MEMBER)
    assert member.dedupe_fields == ("email",)
    assert {"email", "registrationCode"} <= {field.name for field in member.fields}
    with pytest.raises(Refused):
        await world.client.describe(CustomObjects(api_name="boat_c"))
    assert world.calls == ["token"] + ["describe"] * 5
    usage = await world.client.usage()
    assert usage.total >= 5
    assert usage.users[0][0] == "api@emulator.invalid"


test_targets_are_described = _described


# --- refusals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "target", "error", "code"),
    [
        ("email,firstNmae\na@example.com,x\n", Leads(), InvalidRequest, "1006"),
        ("", Leads(), InvalidRequest, "1003"),
        ("email\na@example.com\n", Leads(list_id=9), InvalidRequest, "1013"),
        ("email\na@example.com\n", Leads(lookup_field="company"), InvalidRequest, None),
        ("email\na@example.com\n", ProgramMembers(program_id=9, member_status="Invited"), InvalidRequest, "1013"),
        ("email\na@example.com\n", ProgramMembers(program_id=1044, member_status="Lost"), InvalidRequest, "1025"),
        ("vin\nV1\n", CustomObjects(api_name="boat_c"), InvalidRequest, "1013"),
    ],
)
def test_what_marketo_refuses_for_good_makes_no_batch(text, target, error, code):
    async def play() -> None:
        async with world() as scenery:
            with pytest.raises(error) as refused:
                await scenery.create(text, target)
            assert code is None or refused.value.code == code
            assert scenery.batches == 0

    asyncio.run(play())


@scene(slots=2, rows_per_second=1.0)
async def _full(world: World) -> None:
    await world.create("email\na@example.com\n", Leads(list_id=1001))
    with pytest.raises(ListBusy):
        await world.create("email\nb@example.com\n", Leads(list_id=1001))
    await world.create()
    with pytest.raises(ImportQueueFull):
        await world.create()
    assert world.batches == 2


test_a_full_queue_and_a_busy_list = _full


@scene(body_bytes_max=1_000_000)
async def _large(world: World) -> None:
    delivery = Delivery()
    for _ in range(5):
        with pytest.raises(TooLarge):
            await world.create("email\n" + "a@example.com\n" * 400_000, delivery=delivery)
    assert world.batches == 0
    await world.create()  # and the next one goes through


test_an_upload_that_is_too_large = _large


@scene({"calls_per_window": 100, "window_ms": 1}, calls_per_window=3)
async def _fast(world: World) -> None:
    for _ in range(3):
        await world.client.usage()
    with pytest.raises(RateLimited):
        await world.create()
    await world.clock.sleep(20)
    await world.create()


test_calls_that_come_too_fast = _fast


@scene({"calls_per_window": 3}, calls_per_window=3)
async def _paced(world: World) -> None:
    await asyncio.gather(*(world.client.usage() for _ in range(12)))
    assert world.running.engine.limits.in_window_max <= 3


test_a_client_that_keeps_to_the_limit_is_never_refused = _paced


@scene(calls_per_day=1)
async def _spent(world: World) -> None:
    await world.client.usage()
    with pytest.raises(DailyQuotaExhausted):
        await world.create()


test_a_day_that_is_used_up = _spent


@scene(batch_life_ms=600_000)
async def _forgotten(world: World) -> None:
    created = await world.create()
    await world.ended(created)
    await world.clock.sleep(3600)
    with pytest.raises(InvalidRequest) as error:
        await world.client.status(Leads(), created.batch_id)
    assert codes.is_gone(error.value)
    with pytest.raises(InvalidRequest) as error:
        await world.client.status(Leads(), BatchId(7))
    assert codes.is_gone(error.value)


test_a_batch_that_is_forgotten = _forgotten


# --- tokens ------------------------------------------------------------------------------------------


@scene(token_life_ms=60_000)
async def _expired(world: World) -> None:
    await world.create()
    await world.clock.sleep(59.5)
    await world.create()  # its token lives half a second longer
    await world.clock.sleep(0.5)
    await world.create()
    assert world.calls.count("submit") == 3
    await world.clock.sleep(50)
    asked = world.calls.count("token")
    await world.create(life_ms=20_000)  # its token lives ten seconds longer, which is too short
    assert world.calls.count("token") > asked
    assert world.calls.count("submit") == 4


test_tokens_are_renewed_when_they_expire_and_no_sooner = _expired


@pytest.mark.parametrize("do", ["expire_token", "forget_token"])
def test_a_token_that_is_refused_is_replaced_and_the_call_replayed(do):
    async def play() -> None:
        async with world(faults=({"on": "any", "every": 2, "do": do},)) as scenery:
            created = await scenery.create()
            assert (await scenery.ended(created)).processed == 1
            assert scenery.batches == 1

    asyncio.run(play())


@pytest.mark.parametrize("code", ["600", "601", "602"])
def test_a_single_refusal_of_a_token_that_is_good_is_survived_at_once(code):
    async def play() -> None:
        async with world(faults=({"on": "create", "nth": 1, "do": "code", "code": code},)) as scenery:
            began = scenery.clock.now
            await scenery.create()
            assert scenery.clock.now - began <= 1_000

    asyncio.run(play())


@scene(faults=({"on": "status", "every": 3, "do": "code", "code": "601"},))
async def _refused_now_and_then(world: World) -> None:
    created = await world.create()
    for _ in range(9):
        await world.client.status(Leads(), created.batch_id)


test_a_good_token_that_is_refused_now_and_then_is_kept = _refused_now_and_then


@scene(faults=({"on": "create", "do": "code", "code": "601"},))
async def _refused_always(world: World) -> None:
    with pytest.raises(AccessDenied):
        await world.create()
    assert (world.batches, world.calls.count("submit")) == (0, 2)


test_a_service_that_refuses_every_token = _refused_always


@scene(faults=({"on": "token", "nth": 1, "do": "expires_in_0"},))
async def _last_second(world: World) -> None:
    await world.create()
    assert world.calls == ["token", "token", "submit"]


test_a_token_in_its_last_second = _last_second


# --- faults ------------------------------------------------------------------------------------------

CODES_OF_CREATE = [{"do": "code", "code": code} for code in sorted(codes.CODES) if code not in ("600", "601", "602")]
FAULTS_OF_CREATE = [
    *CODES_OF_CREATE,
    *({"do": "code", "code": code, "accept": True} for code in ("604", "608", "611", "713", "719", "502")),
    *({"do": "http", "status": status, "accept": True} for status in (500, 502, 503, 504)),
    *({"do": "http", "status": status} for status in (500, 502, 503, 504)),
    {"do": "no_json"},
    {"do": "no_json", "accept": True},
    {"do": "lose_answer_before_accept"},
    {"do": "lose_answer_after_accept"},
    {"do": "reset_in_body", "after_bytes": 100_000},
    {"do": "reset_in_body", "after_bytes": 1},
    {"do": "empty_result"},
    {"do": "refused_with_batch_id"},
    {"do": "answer_failed"},
]


@pytest.mark.parametrize("fault", FAULTS_OF_CREATE, ids=lambda fault: "-".join(str(part) for part in fault.values()))
def test_no_fault_makes_the_client_wrong_about_a_batch(fault):
    """The client may not know whether there is a batch; what it says it knows must be so."""

    async def play() -> None:
        async with world(faults=({"on": "create", **fault},)) as scenery:
            delivery = Delivery()
            outcome: Created | MarketoError
            try:
                outcome = await scenery.create("email\n" + "ann@example.com\n" * 200_000, delivery=delivery)
            except MarketoError as error:
                outcome = error
            match outcome:
                case Created():
                    assert scenery.running.engine.batches[outcome.batch_id].status is outcome.status
                    assert scenery.batches == 1
                case NotDelivered():
                    assert (scenery.batches, delivery.handed_over) == (0, False)
                case DeliveryUnknown():
                    assert delivery.handed_over
                case _:
                    assert isinstance(outcome, Refused)
                    assert scenery.batches == 0
            if fault["do"] == "code" and not fault.get("accept"):
                settled = codes.CODES[fault["code"]].settled
                assert isinstance(outcome, Refused if settled else DeliveryUnknown)
            if fault["do"] == "reset_in_body":
                assert isinstance(outcome, NotDelivered)
            if fault["do"] in ("refused_with_batch_id", "answer_failed"):
                assert isinstance(outcome, Created)

    asyncio.run(play())


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"do": "http", "status": 502}, Unavailable),
        ({"do": "code", "code": "713"}, Unavailable),
        ({"do": "no_json"}, MarketoError),
        ({"do": "lose_answer_before_accept"}, NotDelivered),
        ({"do": "lose_answer_after_accept"}, NotDelivered),
        ({"do": "code", "code": "606"}, RateLimited),
    ],
)
@pytest.mark.parametrize("on", ["status", "failures", "describe", "usage", "token"])
def test_a_call_that_fails_is_one_call_and_may_be_made_again(tmp_path, on, fault, error):
    async def play() -> None:
        async with world() as scenery:
            created = await scenery.create("email,leadScore\nbob@example.com,many\n")
            await scenery.ended(created)
            scenery.running.service.faults.extend([{"on": on, "nth": 1, **fault}])
            if on == "token":
                await scenery.clock.sleep(3600)
            work: dict[str, Callable[[], Awaitable[Any]]] = {
                "status": lambda: scenery.client.status(Leads(), created.batch_id),
                "failures": lambda: scenery.client.fetch(
                    ResultKind.FAILURES, Leads(), created.batch_id, tmp_path / "failures"
                ),
                "describe": lambda: scenery.client.describe(Leads()),
                "usage": scenery.client.usage,
                "token": scenery.client.authenticate,
            }
            scenery.calls.clear()
            with pytest.raises(error):
                await work[on]()
            assert scenery.calls.count(on) == 1
            assert not list(tmp_path.iterdir())
            assert await work[on]()

    asyncio.run(play())


@pytest.mark.parametrize("do", ["truncate_file", "short_file", "shuffle_file"])
def test_a_result_file_that_is_distorted_is_still_a_file(tmp_path, do):
    async def play() -> None:
        async with world(faults=({"on": "failures", "do": do},)) as scenery:
            created = await scenery.create("email,leadScore\nbob@example.com,many\ncyd@example.com,few\n")
            await scenery.ended(created)
            to = tmp_path / "failures"
            assert await scenery.client.fetch(ResultKind.FAILURES, Leads(), created.batch_id, to)
            assert to.read_bytes().startswith(b"email,leadScore")

    asyncio.run(play())


@pytest.mark.parametrize("do", ["missing_file", "empty_file"])
def test_a_result_file_that_is_not_there(tmp_path, do):
    async def play() -> None:
        async with world(faults=({"on": "failures", "do": do},)) as scenery:
            created = await scenery.create("email,leadScore\nbob@example.com,many\n")
            await scenery.ended(created)
            assert not await scenery.client.fetch(ResultKind.FAILURES, Leads(), created.batch_id, tmp_path / "f")

    asyncio.run(play())


@pytest.mark.parametrize("fault", [{"do": "empty_result"}, {"do": "unknown_status"}])
def test_a_status_that_is_not_understood_yet(fault):
    async def play() -> None:
        async with world(faults=({"on": "status", "nth": 1, **fault},)) as scenery:
            created = await scenery.create()
            first = await scenery.client.status(Leads(), created.batch_id)
            assert first.status is None
            assert (await scenery.ended(created)).status is BatchStatus.COMPLETE

    asyncio.run(play())


@scene(faults=({"on": "batch", "nth": 1, "do": "fail_batch", "message": "internal error"},))
async def _failed(world: World) -> None:
    report = await world.ended(await world.create())
    assert report.status is BatchStatus.FAILED
    assert "internal error" in report.message


test_a_batch_that_fails_as_a_whole = _failed


def test_after_a_call_too_many_fewer_are_made_at_a_time():
    async def play() -> None:
        async with world({"concurrent_calls": 5}) as scenery:
            in_progress: list[int] = []

            def look(_: str) -> None:
                in_progress.append(scenery.client._quota.in_progress)  # the emulator answers too soon to show it

            async def several() -> int:
                in_progress.clear()
                await asyncio.gather(*(scenery.client.usage() for _ in range(9)))
                return max(in_progress)

            await scenery.client.authenticate()
            scenery.client._on_call = look
            assert await several() == 5
            scenery.running.service.faults.extend([{"on": "usage", "nth": 1, "do": "code", "code": "615"}])
            with pytest.raises(ConcurrencyLimited):
                await scenery.client.usage()
            assert await several() == 2
            await scenery.clock.sleep(60)
            assert await several() == 5

    asyncio.run(play())
