"""Reads Marketo's answers: pure functions from ``(status, content type, body)`` to values or errors.

An answer is judged in one order everywhere: the HTTP status where it speaks for itself (413, a gateway's 5xx),
then the JSON envelope's codes, then the HTTP status again where there is no envelope.

Creating a batch is the one call that must not be repeated blindly, so `parse_create` never shrugs: whatever it
cannot read as a batch or as a refusal that certainly made no batch is `DeliveryUnknown`.  It takes for granted that
the whole upload was sent; a caller who knows better may call the same outcome `NotDelivered`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from orchestrator.errors import (
    AccessDenied,
    DeliveryUnknown,
    InvalidRequest,
    MalformedResponse,
    Refused,
    TokenExpired,
    Unavailable,
)
from orchestrator.marketo.codes import CODES, STATUSES, UNDOCUMENTED, Code, of_status
from orchestrator.marketo.wire import BatchReport, Created
from orchestrator.model import BatchId, BatchStatus

JSON_BYTES_MAX = 8 * 1024 * 1024  # more of a body is not read; a describe of a thousand fields is a fortieth of it
MESSAGE_CHARS_MAX = 500  # of Marketo's own words in a message; more is noise
TOKEN_CHARS_MAX = 4096  # real ones have about forty
ID_MAX = 2**31 - 1  # the contract's int32
COUNT_MAX = 10**12  # rows of one batch; more is garbage


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An access token, and how long it lives from the moment it was asked for."""

    access_token: str = field(repr=False)
    expires_in_s: int
    scope: str  # the API user that owns the credentials


class ResultBody(StrEnum):
    """What the answer to the request for a result file turns out to be."""

    FILE = "file"
    NONE = "none"
    ENVELOPE = "envelope"  # perhaps; only the whole body tells


# --- the envelope ------------------------------------------------------------------------------------


_SENT_WHOLE = "It was sent whole, so a batch may exist: it must not be sent again at once."


@dataclass(frozen=True, slots=True)
class Envelope:
    """What all of Marketo's JSON answers have in common."""

    success: bool
    result: tuple[Mapping[str, Any], ...]
    errors: tuple[tuple[str, str], ...]  # code, message
    request_id: str | None


def _json(body: bytes) -> Any:
    """Return a body as JSON, or None for whatever is none, however hostile."""
    try:
        return json.loads(body.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None


def _envelope(body: bytes) -> Envelope | None:
    """Return a body as an envelope, or None if it is none."""
    data = _json(body)
    if not isinstance(data, dict) or not ("success" in data or "result" in data or "errors" in data):
        return None
    errors = (item for item in items_of(data.get("errors")) if isinstance(item, dict))
    return Envelope(
        success=data.get("success") is True,
        result=tuple(item for item in items_of(data.get("result")) if isinstance(item, dict)),
        errors=tuple((clean(str(item.get("code", ""))), clean(item.get("message"))) for item in errors),
        request_id=clean(data.get("requestId")) or None,
    )


def clean(value: object) -> str:
    """Make a foreign text fit for one line of a message; what is no text says nothing."""
    if not isinstance(value, str):
        return ""
    sound = value[: 4 * MESSAGE_CHARS_MAX].encode("utf-8", "replace").decode("utf-8")
    text = " ".join("".join(c if c.isprintable() else " " for c in sound).split())
    return text if len(text) <= MESSAGE_CHARS_MAX else text[: MESSAGE_CHARS_MAX - 1] + "…"


def whole_number(value: Any, most: int) -> int | None:
    """Return a count or an id, given as a number or in digits; None if it is neither or out of bounds."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= len(str(most)):
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most else None


def items_of(value: Any) -> list[Any]:
    """Return a list, empty for whatever is none."""
    return value if isinstance(value, list) else []


def names_of(value: Any) -> tuple[str, ...]:
    """Return the usable names of a list: texts that can be written down, and as they are, for headers match exactly."""
    return tuple(name for name in items_of(value) if isinstance(name, str) and name and name.isprintable())


_REQUEST_ID = re.compile(rb'"requestId"\s*:\s*"[0-9a-fA-F]{1,16}#([0-9a-fA-F]{10,12})"')


def told_ms(body: bytes) -> int | None:
    """Return when an answer was made by Marketo's clock: its request id ends in that time; None if it has none."""
    found = _REQUEST_ID.search(body[:JSON_BYTES_MAX])
    return None if found is None else int(found[1], 16)


# --- refusals ----------------------------------------------------------------------------------------


def _first_known(envelope: Envelope) -> tuple[str, str, Code | None]:
    """Return an envelope's most telling error: one that leaves open what was done, else the first."""
    judged = [(code, message, CODES.get(code)) for code, message in envelope.errors] or [("", "", None)]
    return next((one for one in judged if one[2] is None or not one[2].settled), judged[0])


def _refusal(what: str, envelope: Envelope) -> tuple[Refused, bool]:
    """Return the error of an envelope without success, and whether it certainly did nothing."""
    number, message, code = _first_known(envelope)
    code = code or UNDOCUMENTED
    words = f"{number} {message or code.wording}".strip()
    text = f"Marketo refused {what}: {words}{request_words(envelope.request_id)}. {code.advice}"
    return code.error(text, code=number or None, request_id=envelope.request_id), code.settled


def _http_refusal(what: str, status: int) -> tuple[Refused, bool] | None:
    """Return the error of a status without an envelope, or None if the status says nothing by itself."""
    code = of_status(status)
    if code is None:
        return None
    text = f"Marketo's gateway answered {what} with HTTP {status} ({code.wording}). {code.advice}"
    return code.error(text, code=str(status)), code.settled


def request_words(request_id: str | None) -> str:
    """Name the request in a message, so that Marketo's support can find it; nothing if it had no id."""
    return f" (request {request_id})" if request_id else ""


def _garbage(what: str, status: int, content_type: str, body: bytes) -> str:
    """Word that an answer is unreadable, without quoting it: it may hold rows."""
    kind = clean(content_type).split(";")[0] or "no content type"
    return f"Marketo's answer to {what} cannot be read (HTTP {status}, {kind}, {len(body)} bytes)"


def redirected(what: str, status: int, location: str, *, sent_whole: bool) -> InvalidRequest | DeliveryUnknown:
    """Return the error of a redirect; ``location`` is its scheme and host alone, ``sent_whole`` is said of an upload."""
    where = f" to {clean(location)}" if location else ""
    words = f"{what.capitalize()} was redirected{where} (HTTP {status}), and credentials are not carried elsewhere"
    if sent_whole:
        return DeliveryUnknown(f"{words}. {_SENT_WHOLE}", code=str(status))
    return InvalidRequest(f"{words}. {STATUSES['3xx'].advice}", code=str(status))


def read_envelope(what: str, status: int, content_type: str, body: bytes) -> Envelope:
    """Return the envelope of a call that may be repeated, or raise what its answer amounts to."""
    envelope = _envelope(body) if not 500 <= status <= 599 else None
    if envelope is not None and not envelope.success and envelope.errors:
        raise _refusal(what, envelope)[0]
    if status != 200 and (refusal := _http_refusal(what, status)) is not None:
        raise refusal[0]
    if status != 200 or envelope is None or not envelope.success:
        raise MalformedResponse(_garbage(what, status, content_type, body) + ". It is tried again.")
    return envelope


# --- batches -----------------------------------------------------------------------------------------


def parse_create(status: int, content_type: str, body: bytes) -> Created:
    """Read the answer to an upload that was sent whole.

    A batch id is believed wherever it stands, even beside ``success: false``.  Raises `Refused` only where Marketo
    certainly made no batch, and `DeliveryUnknown` for everything else.
    """
    what = "the upload"
    envelope = _envelope(body)
    if envelope is not None and (created := _created(envelope)) is not None:
        return created
    refusal: tuple[Refused, bool] | None = None
    if status == 413 or 500 <= status <= 599:
        refusal = _http_refusal(what, status)
    elif envelope is not None and not envelope.success and envelope.errors:
        refusal = _refusal(what, envelope)
    elif status != 200:
        refusal = _http_refusal(what, status)
    if refusal is not None and refusal[1]:
        raise refusal[0]
    if refusal is not None:
        why, code = str(refusal[0]).split(". ", maxsplit=1)[0], refusal[0].code
    elif envelope is not None and envelope.success:
        why, code = f"Marketo took the upload and named no batch{request_words(envelope.request_id)}", None
    else:
        why, code = _garbage(what, status, content_type, body), None
    raise DeliveryUnknown(
        f"{why}. {_SENT_WHOLE}",
        code=code,
        request_id=envelope.request_id if envelope else None,
    )


def _created(envelope: Envelope) -> Created | None:
    """Return the batch an envelope names, if it names one."""
    if not envelope.result:
        return None
    batch = envelope.result[0]
    batch_id = whole_number(batch.get("batchId"), ID_MAX) or whole_number(batch.get("importId"), ID_MAX)
    if not batch_id:
        return None
    return Created(batch_id=BatchId(batch_id), status=_status(batch.get("status")) or BatchStatus.QUEUED)


def _status(word: Any) -> BatchStatus | None:
    try:
        return BatchStatus(word)
    except ValueError:
        return None


def parse_status(status: int, content_type: str, body: bytes, *, batch_id: BatchId) -> BatchReport:
    """Read a batch's status; counters that are absent are 0, a word that is unknown is None."""
    what = f"the status of batch {batch_id}"
    envelope = read_envelope(what, status, content_type, body)
    if not envelope.result:
        return BatchReport(batch_id=batch_id, status=None)
    batch = envelope.result[0]
    counts = []
    for names in (("numOfLeadsProcessed", "numOfObjectsProcessed"), ("numOfRowsFailed",), ("numOfRowsWithWarning",)):
        given = next((batch[name] for name in names if batch.get(name) is not None), 0)
        if (count := whole_number(given, COUNT_MAX)) is None:
            raise MalformedResponse(f"In {what}, {names[0]} is no count{request_words(envelope.request_id)}.")
        counts.append(count)
    named = batch.get("batchId", batch.get("importId"))
    if named is not None and whole_number(named, ID_MAX) != batch_id:
        raise MalformedResponse(f"Asked for {what}, Marketo answered for another{request_words(envelope.request_id)}.")
    return BatchReport(
        batch_id=batch_id,
        status=_status(batch.get("status")),
        processed=counts[0],
        failed=counts[1],
        warned=counts[2],
        message=clean(batch.get("message")),
    )


def sniff_result_file(status: int, content_type: str, first_bytes: bytes) -> ResultBody:
    """Tell from an answer's beginning whether it is a result file; the URL ends in ``.json`` either way."""
    if status == 404:
        return ResultBody.NONE
    if status != 200:
        return ResultBody.ENVELOPE
    if not first_bytes:
        return ResultBody.NONE
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "text/csv":
        return ResultBody.FILE
    if kind == "text/html" or first_bytes.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{":
        return ResultBody.ENVELOPE
    return ResultBody.FILE


def refuse_result_file(what: str, status: int, content_type: str, body: bytes) -> None:
    """Raise what stands in place of a result file; return if it is a file after all."""
    kind = content_type.partition(";")[0].strip().lower()
    if status == 200 and kind not in ("text/html", "application/json") and _envelope(body) is None:
        return
    read_envelope(what, status, content_type, body)
    raise MalformedResponse(f"Marketo's answer to {what} is neither a file nor a refusal. It is tried again.")


# --- identity ----------------------------------------------------------------------------------------


def parse_token(status: int, content_type: str, body: bytes) -> Token:
    """Read an answer of the identity service, which has no envelope, or one when it is in trouble."""
    what = "the request for an access token"
    data = _json(body)
    answer: Mapping[str, Any] = data if isinstance(data, dict) else {}
    if status == 200 and "access_token" in answer:
        token, life = answer["access_token"], whole_number(answer.get("expires_in"), COUNT_MAX)
        usable = isinstance(token, str) and 0 < len(token) <= TOKEN_CHARS_MAX and token.isascii()
        if not usable or not token.isprintable() or " " in token or life is None:
            raise MalformedResponse("Marketo's identity service answered with a token that cannot be used.")
        return Token(access_token=token, expires_in_s=life, scope=clean(answer.get("scope")))
    if status in (400, 401) or "error" in answer:
        raise _credentials_refused(clean(answer.get("error")), clean(answer.get("error_description")))
    try:
        envelope = read_envelope(what, status, content_type, body)
    except TokenExpired as refused:  # there is no token yet to be renewed
        raise AccessDenied(str(refused), code=refused.code, request_id=refused.request_id) from None
    raise MalformedResponse(f"{_garbage(what, status, content_type, body)}{request_words(envelope.request_id)}.")


def _credentials_refused(error: str, description: str) -> Refused:
    """Word what the identity service says against the credentials, and where to look."""
    if error in ("temporarily_unavailable", "server_error"):
        return Unavailable(f"Marketo's identity service is out of order ({error}). It is tried again.", code=error)
    words = " ".join(word for word in (error, f"({description})" if description else "") if word)
    return AccessDenied(
        f"Marketo does not accept the client id and secret{': ' if words else ''}{words}. Compare both with Admin > "
        "Integration > LaunchPoint > View Details of the service, and the address with Admin > Integration > Web "
        "Services.",
        code=error or None,
    )
