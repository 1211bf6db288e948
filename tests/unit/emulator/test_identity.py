from __future__ import annotations

import random

import pytest

from orchestrator.emulator.config import ClientSpec
from orchestrator.emulator.identity import Identity
from orchestrator.errors import Refused
from tests.unit.emulator.kit import config


def identity() -> Identity:
    other = ClientSpec(client_id="second", client_secret="two", user="second@x.invalid", permissions=())
    return Identity(config(other_clients=(other,), token_life_ms=10_000), random.Random(1))


def code(service: Identity, token: str | None, now_ms: int) -> str | None:
    with pytest.raises(Refused) as caught:
        service.check(token, now_ms)
    return caught.value.code


def test_the_same_token_until_it_expires():
    service = identity()
    first = service.grant("emulator", "emulator-secret", 0)
    later = service.grant("emulator", "emulator-secret", 9_999)
    new = service.grant("emulator", "emulator-secret", 10_000)
    assert first is not None
    assert later is not None
    assert new is not None
    assert (later.token, later.remaining_ms) == (first.token, 1)
    assert new.token != first.token
    assert new.remaining_ms == 10_000
    assert service.check(first.token, 9_999).user == "api@emulator.invalid"
    assert code(service, first.token, 10_000) == "602"


def test_services_are_independent():
    service = identity()
    first, second = service.grant("emulator", "emulator-secret", 0), service.grant("second", "two", 5)
    assert first is not None
    assert second is not None
    assert first.token != second.token
    assert service.check(second.token, 5).user == "second@x.invalid"


def test_wrong_credentials_and_tokens():
    service = identity()
    assert service.grant("emulator", "wrong", 0) is None
    assert service.grant("nobody", "emulator-secret", 0) is None
    assert (service.is_known("emulator"), service.is_known("nobody")) == (True, False)
    assert (code(service, None, 0), code(service, "", 0), code(service, "x", 0)) == ("600", "600", "601")


def test_expiring_and_forgetting_from_outside():
    service = identity()
    first = service.grant("emulator", "emulator-secret", 0)
    assert first is not None
    service.expire(1)
    assert code(service, first.token, 1) == "602"
    second = service.grant("emulator", "emulator-secret", 1)
    assert second is not None
    assert second.token != first.token
    service.forget()
    assert code(service, second.token, 1) == "601"
