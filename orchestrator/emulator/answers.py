"""What the emulator answers, as bytes."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator.emulator.engine import Counts
from orchestrator.emulator.queue import Batch
from orchestrator.errors import Refused
from orchestrator.model import BatchStatus, CustomObjects

JSON = "application/json;charset=UTF-8"
CSV = "text/csv;charset=UTF-8"
HTML = "text/html"

_REASONS = {
    404: "Not Found",
    413: "Request Entity Too Large",
    414: "Request-URI Too Large",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Temporarily Unavailable",
    504: "Gateway Time-out",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer, and how it goes out."""

    status: int = 200
    content_type: str = JSON
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_ms: int = 0  # of emulated time, before it goes out
    lost: bool = False  # the connection is reset instead

    def late(self, delay_ms: int) -> Reply:
        """Return the same answer, later."""
        return replace(self, delay_ms=self.delay_ms + delay_ms)


def html(status: int) -> Reply:
    """Return the page of the gateway in front of Marketo."""
    title = f"{status} {_REASONS.get(status, 'Error')}"
    page = (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n"
        "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    )
    return Reply(status=status, content_type=HTML, body=page.encode())


class Envelopes:
    """Marketo's JSON envelope, with its request ids: a running number and the time, both in hex."""

    def __init__(self, rng: random.Random) -> None:
        self._number = rng.randrange(0x100, 0x10000)

    def _request_id(self, now_ms: int) -> str:
        self._number = (self._number + 1) & 0xFFFFF
        return f"{self._number:x}#{now_ms:x}"

    def result(self, result: Sequence[Mapping[str, Any]], now_ms: int, **more: object) -> Reply:
        """Return a success."""
        return self._reply({"requestId": self._request_id(now_ms), "result": list(result), "success": True, **more})

    def error(self, error: Refused, now_ms: int, result: Sequence[Mapping[str, Any]] = ()) -> Reply:
        """Return a refusal; a few real ones come with a result all the same."""
        errors = [{"code": str(error.code), "message": str(error)}]
        answer: dict[str, Any] = {"requestId": self._request_id(now_ms), "success": False, "errors": errors}
        if result:
            answer["result"] = list(result)
        return self._reply(answer)

    @staticmethod
    def _reply(answer: Mapping[str, Any]) -> Reply:
        return Reply(body=plain_json(answer))


def plain_json(value: object) -> bytes:
    """Return a value as the bytes of compact JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def created(batch: Batch) -> dict[str, Any]:
    """Return what the answer to an upload says of its batch."""
    if isinstance(batch.target, CustomObjects):
        return {"batchId": batch.id, "status": batch.status.value, "objectApiName": batch.target.api_name}
    return {"batchId": batch.id, "importId": str(batch.id), "status": batch.status.value}


def status(batch: Batch, counts: Counts) -> dict[str, Any]:
    """Return what is said of a batch that is asked for."""
    numbers = {"numOfRowsFailed": counts.failed, "numOfRowsWithWarning": counts.warned}
    if isinstance(batch.target, CustomObjects):
        told: dict[str, Any] = {
            "batchId": batch.id,
            "operation": "import",
            "status": batch.status.value,
            "objectApiName": batch.target.api_name,
            "numOfObjectsProcessed": counts.processed,
            **numbers,
        }
        if not batch.unfinished and batch.started_ms is not None and batch.ended_ms is not None:
            told["importTime"] = f"{max(1, round((batch.ended_ms - batch.started_ms) / 1000))} second(s)"
    else:
        told = {
            "batchId": batch.id,
            "importId": str(batch.id),
            "status": batch.status.value,
            "numOfLeadsProcessed": counts.processed,
            **numbers,
        }
    if not batch.unfinished:
        told["message"] = message(batch, counts)
    return told


def message(batch: Batch, counts: Counts) -> str:
    """Return Marketo's sentence about a batch that has ended."""
    if batch.status is BatchStatus.FAILED:
        return f"Import failed, {batch.failure.message if batch.failure else 'unknown reason'}"
    imported = f"{counts.processed} records imported ({counts.processed} members)"
    warned = f", {counts.warned} warning." if counts.warned else ""
    if counts.failed:
        return f"Import completed with errors, {imported}, {counts.failed} failed{warned}"
    return f"Import succeeded, {imported}{warned}"
