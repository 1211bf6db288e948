"""Spoiling the files that tell which rows failed."""

from __future__ import annotations

import random

from orchestrator.emulator.faults import Fault


def distort(body: bytes | None, fault: Fault, rng: random.Random) -> bytes | None:
    """Return what a fault leaves of a file; None is no file at all."""
    if body is None:
        return None
    match fault.do:
        case "missing_file":
            return None
        case "empty_file":
            return b""
        case "truncate_file":
            return body[: int(len(body) * fault.share)]
        case "short_file":
            records = _records(body)
            return b"".join(records[: 1 + int((len(records) - 1) * fault.share)])
        case "shuffle_file":
            header, *records = _records(body)
            rng.shuffle(records)
            return b"".join([header, *records])
        case _:
            return body


def _records(body: bytes) -> list[bytes]:
    """Cut a file that the emulator itself wrote into its records, quoted line ends left alone."""
    records: list[bytes] = []
    held = b""
    for line in body.split(b"\n")[:-1]:
        held += line + b"\n"
        if held.count(b'"') % 2 == 0:
            records.append(held)
            held = b""
    return records
