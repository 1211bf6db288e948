"""A plan of what goes wrong, drawn from a seed or written down call by call.

A rule says on which calls (``on``) what happens (``do``), and when: the ``nth`` such call, ``every`` so many of
them, with a ``probability``, or on all of them; ``times`` ends it.  Calls are counted from the moment the rule
is given, and only those that pass authentication and the limits on calls.  ``on: "batch"`` counts accepted
uploads.  Several rules may strike one call; of two that both decide the answer, the earlier one wins.

    {"on": "create", "nth": 3, "do": "lose_answer_after_accept"}
    {"on": "any", "probability": 0.02, "do": "code", "code": "608"}
    {"on": "batch", "nth": 2, "do": "fail_batch", "applied": 0.5, "message": "internal error"}
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from orchestrator.errors import ConfigError
from orchestrator.marketo.codes import CODES

CALLS = ("token", "create", "status", "failures", "warnings", "describe", "usage", "read")
FILES = ("failures", "warnings")

# what can be done -> on which calls
ACTIONS: dict[str, tuple[str, ...]] = {
    "code": CALLS,  # success:false with `code`; after accepting if `accept`
    "http": CALLS,  # `status` with the gateway's HTML; after accepting if `accept`
    "no_json": CALLS,  # 200 with a body that is none; after accepting if `accept`
    "lose_answer_before_accept": CALLS,  # the connection is reset once the request is read; nothing was done
    "lose_answer_after_accept": CALLS,  # the same, but it was done
    "reset_in_body": ("create",),  # the connection is reset after `after_bytes` of the body
    "hang": CALLS,  # no answer for `ms` (an hour unless told), then a reset; after accepting if `accept`
    "slow": CALLS,  # the answer comes `ms` late
    "expire_token": CALLS[1:],  # 602, and a new token from now on
    "forget_token": CALLS[1:],  # 601, and a new token from now on
    "expires_in_0": ("token",),
    "empty_result": CALLS[1:],  # success with `result: []`; an upload is accepted all the same
    "refused_with_batch_id": ("create",),  # success:false with `code`, and the id of a batch that exists
    "answer_failed": ("create",),  # accepted, and Failed in that very answer
    "occupy": CALLS,  # first, strangers take `slots` for `duration_ms` each
    "unknown_status": ("status",),  # `word` in place of the status
    "no_counters": ("status",),
    "fewer_processed": ("status",),  # `rows` of the processed ones are missing from the count
    "truncate_file": FILES,  # only this `share` of the bytes
    "short_file": FILES,  # only this `share` of the rows
    "shuffle_file": FILES,
    "missing_file": FILES,  # 404
    "empty_file": FILES,  # 200 without a byte
    "fail_batch": ("batch",),  # it ends Failed, with `message`, after the share `applied` was imported
    "slow_import": ("batch",),  # it takes `factor` times as long
    "delay_start": ("batch",),  # it is fit to start `ms` later
}

# Of these, the first one that strikes decides what is answered.
DECIDING = frozenset(
    {"code", "http", "no_json", "lose_answer_before_accept", "lose_answer_after_accept", "reset_in_body", "hang",
     "expire_token", "forget_token", "empty_result"}
)  # fmt: skip

HANG_MS = 3_600_000
GATEWAY_STATUSES = (500, 502, 503, 504)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One rule of the plan."""

    on: str
    do: str
    nth: int | None = None
    every: int | None = None
    probability: float | None = None
    times: int | None = None
    # what it is about; each action uses its own few
    code: str = "611"
    message: str | None = None
    status: int = 502
    accept: bool = False
    ms: int | None = None
    after_bytes: int = 100_000
    slots: int = 10
    duration_ms: int = 60_000
    word: str = "Cancelled"
    rows: int = 1
    share: float = 0.5
    applied: float = 0.0
    factor: float = 10.0


def fault_from(values: Mapping[str, Any]) -> Fault:
    """Build a rule from plain values; ConfigError says what is wrong with it."""
    known = {field.name: field.type for field in fields(Fault)}
    for name, value in values.items():
        if name not in known:
            raise ConfigError(f"fault {dict(values)!r}: unknown entry {name!r}; known are {', '.join(known)}")
        if not _suits(str(known[name]), value):
            raise ConfigError(f"fault {dict(values)!r}: {name} must be {known[name]}")
    for name in ("on", "do"):
        if name not in values:
            raise ConfigError(f"fault {dict(values)!r}: {name} is missing")
    fault = Fault(**values)
    calls = ACTIONS.get(fault.do)
    if calls is None:
        raise ConfigError(f"fault {dict(values)!r}: do is one of {', '.join(ACTIONS)}")
    if fault.on not in calls and not (fault.on == "any" and set(calls) >= set(CALLS[1:])):
        raise ConfigError(f"fault {dict(values)!r}: {fault.do} happens on {', '.join(calls)}")
    if fault.code not in CODES:
        raise ConfigError(f"fault {dict(values)!r}: {fault.code} is no code of Marketo's")
    return fault


def _suits(kinds: str, value: object) -> bool:
    """Tell whether a value is one of the kinds that an annotation names."""
    for kind in kinds.split(" | "):
        if kind == "None" and value is None:
            return True
        if kind == "bool" and isinstance(value, bool):
            return True
        if isinstance(value, bool):
            continue
        if kind == "int" and isinstance(value, int):
            return True
        if kind == "float" and isinstance(value, (int, float)):
            return True
        if kind == "str" and isinstance(value, str):
            return True
    return False


@dataclass(slots=True)
class _Rule:
    number: int
    fault: Fault
    calls: int = 0
    struck: int = 0


class FaultPlan:
    """The rules in force, and how often each has seen a call and has struck."""

    def __init__(self, rules: Iterable[Mapping[str, Any]], rng: random.Random) -> None:
        self._rng = rng
        self._rules: list[_Rule] = []
        self._next = 1
        self.extend(rules)

    def extend(self, rules: Iterable[Mapping[str, Any]]) -> list[int]:
        """Add rules, all or none; return the numbers by which they can be removed."""
        new = [_Rule(number, fault_from(values)) for number, values in enumerate(rules, self._next)]
        self._rules.extend(new)
        self._next += len(new)
        return [rule.number for rule in new]

    def remove(self, number: int | None = None) -> int:
        """Remove one rule, or all of them; return how many were removed."""
        before = len(self._rules)
        self._rules = [] if number is None else [rule for rule in self._rules if rule.number != number]
        return before - len(self._rules)

    def listing(self) -> list[dict[str, Any]]:
        """Return the rules with what became of them, as plain values."""
        return [
            {
                "number": rule.number,
                "rule": {
                    field.name: value
                    for field in fields(Fault)
                    if (value := getattr(rule.fault, field.name)) != field.default
                },
                "calls": rule.calls,
                "struck": rule.struck,
            }
            for rule in self._rules
        ]

    def strike(self, call: str) -> list[Fault]:
        """Count a call and return what happens to it."""
        struck: list[Fault] = []
        for rule in self._rules:
            fault = rule.fault
            if fault.on != call and (fault.on != "any" or call not in ACTIONS[fault.do]):
                continue
            rule.calls += 1
            if self._strikes(rule):
                rule.struck += 1
                struck.append(fault)
        return struck

    def _strikes(self, rule: _Rule) -> bool:
        fault = rule.fault
        if fault.times is not None and rule.struck >= fault.times:
            return False
        if fault.nth is not None and rule.calls != fault.nth:
            return False
        if fault.every is not None and rule.calls % fault.every:
            return False
        return fault.probability is None or self._rng.random() < fault.probability
