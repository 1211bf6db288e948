from __future__ import annotations

import asyncio

import pytest

from orchestrator.errors import AccessDenied, NotDelivered, Unavailable
from orchestrator.marketo.answers import Token
from orchestrator.marketo.auth import DYING_MS, GRACE_MS, LIFE_MS_MAX, TokenStore


class Identity:
    """An identity service on a clock of its own: one token at a time, the same until it expires."""

    def __init__(self, life_s: int = 3600) -> None:
        self.now_ms = 1_000_000
        self.life_s = life_s
        self.number = 0
        self.born_ms = 0
        self.asked_ms: list[int] = []
        self.slept: list[float] = []
        self.faults: list[Exception] = []
        self.latency = 0  # turns of the loop
        self.stuck = False

    async def ask(self) -> Token:
        self.asked_ms.append(self.now_ms)
        for _ in range(self.latency):
            await asyncio.sleep(0)
        if self.faults:
            raise self.faults.pop(0)
        if self.number == 0 or (not self.stuck and self.now_ms >= self.born_ms + 1000 * self.life_s):
            self.revoke()
        left = max(0, self.born_ms + 1000 * self.life_s - self.now_ms)
        return Token(access_token=f"token-{self.number}", expires_in_s=left // 1000, scope="apis@acme.example")

    def revoke(self) -> None:
        self.number += 1
        self.born_ms = self.now_ms

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_ms += round(1000 * seconds)
        await asyncio.sleep(0)

    def store(self) -> TokenStore:
        return TokenStore(self.ask, now_ms=lambda: self.now_ms, sleep=self.sleep)


def test_a_token_is_kept_until_it_expires():
    async def history():
        identity = Identity(life_s=100)
        store = identity.store()
        assert (store.remaining_ms(), store.scope) == (0, "")
        assert (await store.lease()).access_token == "token-1"
        assert (store.remaining_ms(), store.scope) == (100_000, "apis@acme.example")
        identity.now_ms += 99_999
        assert (await store.lease()).access_token == "token-1"
        assert len(identity.asked_ms) == 1
        identity.now_ms += 1
        assert (await store.lease()).access_token == "token-2"
        assert identity.slept == []

    asyncio.run(history())


def test_twenty_callers_ask_once():
    async def history():
        identity = Identity()
        identity.latency = 5
        store = identity.store()
        leases = await asyncio.gather(*(store.lease() for _ in range(20)))
        assert {lease.access_token for lease in leases} == {"token-1"}
        assert len(identity.asked_ms) == 1
        identity.revoke()
        identity.now_ms += 60_000
        leases = await asyncio.gather(*(store.renew(leases[0]) for _ in range(20)))
        assert {lease.access_token for lease in leases} == {"token-2"}
        assert len(identity.asked_ms) == 2

    asyncio.run(history())


def test_whoever_waits_shares_a_failure_and_whoever_comes_later_asks_again():
    async def history():
        identity = Identity()
        identity.latency = 5
        identity.faults = [NotDelivered("down")]
        store = identity.store()
        outcomes = await asyncio.gather(*(store.lease() for _ in range(20)), return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {NotDelivered}
        assert len(identity.asked_ms) == 1
        assert (await store.lease()).access_token == "token-1"
        assert identity.asked_ms[1] - identity.asked_ms[0] == 1000

    asyncio.run(history())


def test_a_cancelled_caller_takes_nobody_along():
    async def history():
        identity = Identity()
        identity.latency = 5
        store = identity.store()
        first, second = (asyncio.ensure_future(store.lease()) for _ in range(2))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).access_token == "token-1"
        assert first.cancelled()

    asyncio.run(history())


def test_a_token_in_its_last_second_is_not_used():
    async def history():
        identity = Identity(life_s=10)
        await identity.ask()
        identity.now_ms += 9_500
        identity.asked_ms.clear()
        lease = await identity.store().lease()
        assert lease.access_token == "token-2"
        assert [later - earlier for earlier, later in zip(identity.asked_ms, identity.asked_ms[1:], strict=False)] == [
            1000
        ]

    asyncio.run(history())


def test_identity_that_never_gives_a_living_token_is_given_up():
    async def history():
        identity = Identity(life_s=0)
        with pytest.raises(Unavailable, match="expire"):
            await identity.store().lease()
        assert len(identity.asked_ms) == GRACE_MS // 1000 + 1

    asyncio.run(history())


def test_a_call_that_needs_more_life_waits_for_the_end_of_the_token():
    async def history():
        identity = Identity(life_s=100)
        store = identity.store()
        await store.lease()
        identity.now_ms += 60_000
        assert (await store.lease(30_000)).access_token == "token-1"
        assert (await store.lease(40_000)).access_token == "token-2"
        assert identity.now_ms == 1_100_000
        assert len(identity.asked_ms) < 6
        # No token lives long enough: a new one has to do.
        identity.now_ms += 1
        assert (await store.lease(200_000)).access_token == "token-3"
        assert store.remaining_ms() == 100_000

    asyncio.run(history())


def test_a_first_token_near_its_end_is_outwaited_too():
    async def history():
        identity = Identity(life_s=100)
        await identity.ask()
        identity.now_ms += 70_000
        store = identity.store()
        assert (await store.lease(50_000)).access_token == "token-2"
        assert identity.now_ms == 1_100_000

    asyncio.run(history())


def test_nobody_waits_for_more_than_half_a_life():
    async def history():
        identity = Identity()
        store = identity.store()
        await store.lease()
        identity.now_ms += 3_600_000 - LIFE_MS_MAX - 1
        assert (await store.lease(10 * LIFE_MS_MAX)).access_token == "token-1"

    asyncio.run(history())


def test_a_refused_token_is_replaced_by_another():
    async def history():
        identity = Identity()
        store = identity.store()
        lease = await store.lease()
        identity.revoke()
        renewed = await store.renew(lease)
        assert renewed.access_token == "token-2"
        assert identity.slept == [1.0]
        # A second call that was refused with the old token takes what is there.
        assert await store.renew(lease) == renewed
        assert len(identity.asked_ms) == 2

    asyncio.run(history())


def test_a_token_that_identity_stands_by_is_tried_once_more():
    async def history():
        identity = Identity()
        store = identity.store()
        lease = await store.lease()
        again = await store.renew(lease)
        assert again.access_token == lease.access_token
        store.accept(again)
        # Much later the same happens, and it counts from the beginning.
        once_more = await store.renew(await store.lease())
        assert once_more.access_token == lease.access_token

    asyncio.run(history())


def test_a_fresh_token_that_is_refused_twice_ends_it():
    async def history():
        identity = Identity()
        store = identity.store()
        first = await store.lease()
        identity.revoke()
        fresh = await store.renew(first)
        again = await store.renew(fresh)
        with pytest.raises(AccessDenied, match="one subscription"):
            await store.renew(again)

    asyncio.run(history())


def test_twenty_calls_refused_with_one_token_are_one_refusal():
    async def history():
        identity = Identity()
        identity.latency = 3
        store = identity.store()
        lease = await store.lease()
        leases = await asyncio.gather(*(store.renew(lease) for _ in range(20)))
        assert {each.access_token for each in leases} == {"token-1"}
        assert len(identity.asked_ms) == 2

    asyncio.run(history())


def test_a_refusal_is_counted_once_though_identity_is_down_meanwhile():
    async def history():
        identity = Identity()
        store = identity.store()
        lease = await store.lease()
        identity.faults = [NotDelivered("down"), NotDelivered("down")]
        for _ in range(2):
            with pytest.raises(NotDelivered):
                await store.renew(lease)
        assert (await store.renew(lease)).access_token == "token-1"

    asyncio.run(history())


def test_an_accepted_token_that_is_refused_for_good_is_outlived():
    async def history():
        identity = Identity(life_s=600)
        store = identity.store()
        lease = await store.lease()
        store.accept(lease)
        again = await store.renew(lease)
        other = await store.renew(again)
        assert (again.access_token, other.access_token) == ("token-1", "token-2")
        assert identity.now_ms == 1_600_000
        gaps = [later - earlier for earlier, later in zip(identity.asked_ms, identity.asked_ms[1:], strict=False)]
        assert min(gaps) >= 1000

    asyncio.run(history())


def test_a_dying_token_is_not_tried_again_but_outlived():
    async def history():
        identity = Identity(life_s=DYING_MS // 1000)
        store = identity.store()
        assert (await store.renew(await store.lease())).access_token == "token-2"

    asyncio.run(history())


def test_waiting_for_another_token_has_an_end():
    async def history():
        identity = Identity(life_s=DYING_MS // 1000)
        identity.stuck = True
        store = identity.store()
        lease = await store.lease()
        with pytest.raises(AccessDenied):
            await store.renew(lease)
        assert identity.now_ms - 1_000_000 <= DYING_MS + GRACE_MS + 1000

    asyncio.run(history())


def test_a_lease_shows_no_token():
    async def history():
        assert "token-1" not in repr(await Identity().store().lease())

    asyncio.run(history())
