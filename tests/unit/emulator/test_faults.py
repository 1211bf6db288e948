from __future__ import annotations

import random

import pytest

from orchestrator.emulator.faults import ACTIONS, CALLS, FaultPlan
from orchestrator.emulator.filefaults import distort
from orchestrator.errors import ConfigError


def plan(*rules: dict[str, object]) -> FaultPlan:
    return FaultPlan(rules, random.Random(1))


def struck(faults: FaultPlan, call: str, times: int) -> list[int]:
    return [number for number in range(1, times + 1) if faults.strike(call)]


def test_when_rules_strike():
    assert struck(plan({"on": "create", "do": "http", "nth": 3}), "create", 6) == [3]
    assert struck(plan({"on": "create", "do": "http", "every": 2}), "create", 6) == [2, 4, 6]
    assert struck(plan({"on": "create", "do": "http", "times": 2}), "create", 6) == [1, 2]
    assert struck(plan({"on": "create", "do": "http"}), "status", 6) == []
    assert struck(plan({"on": "any", "do": "http"}), "status", 2) == [1, 2]
    assert struck(plan({"on": "any", "do": "expire_token"}), "token", 2) == []


def test_chance_comes_from_the_seed():
    rule = {"on": "status", "do": "http", "probability": 0.3}
    once, again = struck(plan(rule), "status", 1_000), struck(plan(rule), "status", 1_000)
    assert once == again
    assert 250 < len(once) < 350


def test_rules_can_be_listed_and_removed():
    faults = plan({"on": "create", "do": "http", "status": 503}, {"on": "status", "do": "no_counters"})
    faults.strike("create")
    assert faults.listing()[0] == {
        "number": 1, "rule": {"on": "create", "do": "http", "status": 503}, "calls": 1, "struck": 1,
    }  # fmt: skip
    assert faults.extend([{"on": "token", "do": "expires_in_0"}]) == [3]
    assert faults.remove(1) == 1
    assert faults.remove(1) == 0
    assert faults.remove() == 2
    assert faults.listing() == []


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"do": "http"}, "on is missing"),
        ({"on": "create"}, "do is missing"),
        ({"on": "create", "do": "explode"}, "do is one of code, http"),
        ({"on": "status", "do": "answer_failed"}, "answer_failed happens on create"),
        ({"on": "nowhere", "do": "http"}, "happens on token, create"),
        ({"on": "create", "do": "http", "nht": 1}, "unknown entry 'nht'"),
        ({"on": "create", "do": "http", "nth": "1"}, "nth must be int"),
        ({"on": "create", "do": "http", "nth": True}, "nth must be int"),
        ({"on": "create", "do": "code", "code": "4711"}, "4711 is no code"),
    ],
)
def test_wrong_rules_say_what_is_wrong(rule, words):
    with pytest.raises(ConfigError, match=words):
        plan(rule)


def test_several_rules_are_added_all_or_none():
    faults = plan()
    with pytest.raises(ConfigError):
        faults.extend([{"on": "create", "do": "http"}, {"on": "create", "do": "explode"}])
    assert faults.listing() == []


def test_every_action_can_be_written_down():
    for do, calls in ACTIONS.items():
        for call in calls:
            assert call in (*CALLS, "batch")
            assert plan({"on": call, "do": do}).strike(call)


FILE = b'a,reason\n1,x\n"2\n",y\n3,z\n4,"say ""no"""\n'


def spoilt(do: str, share: float = 0.5) -> bytes | None:
    [fault] = plan({"on": "failures", "do": do, "share": share}).strike("failures")
    return distort(FILE, fault, random.Random(3))


def test_files_are_spoilt_record_by_record():
    assert spoilt("short_file") == b'a,reason\n1,x\n"2\n",y\n'
    assert spoilt("truncate_file") == FILE[: len(FILE) // 2]
    assert spoilt("missing_file") is None
    assert spoilt("empty_file") == b""
    shuffled = spoilt("shuffle_file")
    assert shuffled is not None
    assert shuffled != FILE
    assert shuffled.startswith(b"a,reason\n")
    assert sorted(shuffled) == sorted(FILE)
    assert b'\n"2\n",y\n' in shuffled
