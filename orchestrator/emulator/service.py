"""From a request to its answer, faults included, still without sockets.

A request is seen twice: when its head arrives (`arrive`: it counts from here on, and what is wrong with its token
or with the number of calls is settled) and when its body is there (`answer`).  In between a slow upload holds its
place among the calls in progress.  `leave` must follow in any case.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from orchestrator.emulator import answers, assets
from orchestrator.emulator.answers import Envelopes, Reply
from orchestrator.emulator.config import ClientSpec, EmulatorConfig
from orchestrator.emulator.engine import Course, Engine, Upload
from orchestrator.emulator.faults import DECIDING, HANG_MS, Fault, FaultPlan
from orchestrator.emulator.filefaults import distort
from orchestrator.emulator.multipart import Form, read_form
from orchestrator.emulator.queue import Batch, Failure
from orchestrator.emulator.refusals import refusal
from orchestrator.emulator.routes import Route
from orchestrator.errors import Refused
from orchestrator.marketo.codes import CODES
from orchestrator.marketo.wire import EMULATOR_HEADER, ResultKind
from orchestrator.model import CustomObjects, Format, Leads, ProgramMembers, Target

SLOW_MS = 30_000  # unless a fault says otherwise
START_LATE_MS = 60_000  # the same
_ID_DIGITS_MAX = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The head of one request."""

    route: Route
    names: Mapping[str, str]  # what the address says
    query: Mapping[str, str]
    authorization: str | None
    content_type: str


@dataclass(slots=True, kw_only=True)
class Pending:
    """A request that has arrived and is not answered yet."""

    request: Request
    client: ClientSpec | None = None
    refused: Refused | None = None
    faults: list[Fault] = field(default_factory=list)

    @property
    def reset_after_bytes(self) -> int | None:
        """Where in its body the connection breaks, if it does."""
        fault = self.deciding
        return fault.after_bytes if fault is not None and fault.do == "reset_in_body" else None

    @property
    def deciding(self) -> Fault | None:
        """The fault that decides the answer, if one does."""
        return next((fault for fault in self.faults if fault.do in DECIDING), None)

    def fault(self, do: str) -> Fault | None:
        """Return the fault of this kind, if one strikes."""
        return next((fault for fault in self.faults if fault.do == do), None)


class Service:
    """The addresses of one subscription, over its engine and its plan of faults."""

    def __init__(self, config: EmulatorConfig) -> None:
        self.config = config
        self.engine = Engine(config)
        self.faults = FaultPlan(config.faults, self.engine.stream("faults"))
        self._envelopes = Envelopes(self.engine.stream("requests"))
        self._files_rng = self.engine.stream("files")

    # --- the three moments of a request ---

    def arrive(self, request: Request, now_ms: int) -> Pending:
        """Count a request whose head is there, and look at its token and at the limits."""
        engine, call = self.engine, request.route.call
        engine.advance(now_ms)
        engine.calls[call] += 1
        pending = Pending(request=request)
        if call == "token":
            pending.faults = self.faults.strike(call)
            return pending
        engine.limits.arrive()
        try:
            pending.client = engine.identity.check(self._token(request), now_ms)
        except Refused as error:
            pending.refused = error
            return pending
        pending.refused = engine.limits.admit(pending.client.user, now_ms)
        if pending.refused is None:
            pending.faults = self.faults.strike(call)
        return pending

    def too_large(self, request: Request, body_bytes: int, now_ms: int) -> Reply:
        """Turn away a body that is too large; that is the gateway's work, so it counts as no call."""
        self.engine.advance(now_ms)
        self._note(Pending(request=request), now_ms, answer="413", body_bytes=body_bytes)
        return answers.html(413)

    def broken(self, pending: Pending, body_bytes: int, now_ms: int) -> None:
        """Take note of an upload whose connection broke on the way."""
        self._note(pending, now_ms, answer="", body_bytes=body_bytes)

    def leave(self, pending: Pending) -> None:
        """Count a request as over."""
        if pending.request.route.call != "token":
            self.engine.limits.leave()

    def answer(self, pending: Pending, body: bytes, now_ms: int) -> Reply:
        """Do what a request asks for, as far as its faults let it, and return the answer."""
        self.engine.advance(now_ms)
        for fault in pending.faults:
            if fault.do == "occupy":
                self.engine.occupy(fault.slots, fault.duration_ms, now_ms)
        reply = self._decide(pending, body, now_ms)
        for fault in pending.faults:
            if fault.do == "slow":
                reply = reply.late(SLOW_MS if fault.ms is None else fault.ms)
        return reply

    def _token(self, request: Request) -> str | None:
        scheme, _, token = (request.authorization or "").partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            return token.strip()
        legacy = request.query.get("access_token")
        if legacy is None or self.config.legacy_access_token:
            return legacy
        return "a token that nobody handed out"  # there is one, in a place where it no longer counts

    # --- faults that decide the answer ---

    def _decide(self, pending: Pending, body: bytes, now_ms: int) -> Reply:
        fault = pending.deciding
        if fault is None:
            return self._perform(pending, body, now_ms)
        accepts = fault.accept or fault.do in ("lose_answer_after_accept", "empty_result")
        done = self._perform(pending, body, now_ms) if accepts else None
        if done is None and pending.request.route.does == "create":
            self._note(pending, now_ms, answer="", body_bytes=len(body))
        match fault.do:
            case "http":
                return answers.html(fault.status)
            case "no_json":
                return Reply(body=b"<html><body>Service is being restored</body></html>", content_type=answers.HTML)
            case "code":
                return self._refuse(pending, _faulty(fault), now_ms)
            case "expire_token":
                self.engine.identity.expire(now_ms)
                return self._refuse(pending, refusal("602"), now_ms)
            case "forget_token":
                self.engine.identity.forget()
                return self._refuse(pending, refusal("601"), now_ms)
            case "empty_result":
                return done if done is not None and _says_no(done) else self._envelopes.result([], now_ms)
            case "hang":
                return Reply(lost=True).late(HANG_MS if fault.ms is None else fault.ms)
            case _:
                return Reply(lost=True)

    # --- what requests ask for ---

    def _perform(self, pending: Pending, body: bytes, now_ms: int) -> Reply:
        does = pending.request.route.does
        try:
            if does == "token":
                return self._grant(pending, body, now_ms)
            if pending.refused is not None:
                raise pending.refused
            client = self.engine.identity.check(self._token(pending.request), now_ms)  # it may have expired meanwhile
            if does == "create":
                return self._create(pending, client, body, now_ms)
            if does == "status":
                return self._status(pending, client, now_ms)
            if does in ("failures", "warnings"):
                return self._file(pending, client, ResultKind(does), now_ms)
            result, more = assets.read(self.engine, client, does, pending.request.names, pending.request.query, now_ms)
            return self._envelopes.result(result, now_ms, **more)
        except Refused as error:
            return self._refuse(pending, error, now_ms)

    def _refuse(self, pending: Pending, error: Refused, now_ms: int) -> Reply:
        self.engine.limits.count_error(str(error.code), now_ms)
        if pending.request.route.does == "create" and pending.deciding is None:
            self._note(pending, now_ms, answer=f"{error.code} {error}")
        return self._envelopes.error(error, now_ms)

    def _grant(self, pending: Pending, body: bytes, now_ms: int) -> Reply:
        given = dict(pending.request.query)
        if pending.request.content_type.partition(";")[0].strip().lower() == "application/x-www-form-urlencoded":
            given.update(parse_qsl(body.decode("utf-8", "replace")))
        headers = {EMULATOR_HEADER: "1", "Cache-Control": "no-store", "Pragma": "no-cache"}
        client_id = given.get("client_id", "")
        if given.get("grant_type") != "client_credentials":
            told = {"error": "unsupported_grant_type", "error_description": "Unsupported grant type"}
            return Reply(status=400, body=answers.plain_json(told), headers=headers)
        grant = self.engine.identity.grant(client_id, given.get("client_secret", ""), now_ms)
        if grant is None:
            told = {"error": "invalid_client", "error_description": "Bad client credentials"}
            if not self.engine.identity.is_known(client_id):
                told = {"error": "unauthorized", "error_description": f"No client with requested id: {client_id[:100]}"}
            return Reply(status=401, body=answers.plain_json(told), headers=headers)
        # Lives are emulated, but whoever reads this number looks at a real clock.
        seconds = 0 if pending.fault("expires_in_0") else int(grant.remaining_ms / self.config.speed / 1000)
        answer = {"access_token": grant.token, "token_type": "bearer", "expires_in": seconds, "scope": grant.user}
        return Reply(body=answers.plain_json(answer), headers=headers)

    def _create(self, pending: Pending, client: ClientSpec, body: bytes, now_ms: int) -> Reply:
        request = pending.request
        by_object = request.route.target is CustomObjects
        self.engine.require(client, "read-write custom object" if by_object else "read-write lead")
        form = read_form(request.content_type, body)
        upload = self._upload(request, form, len(body))
        batch = self.engine.create(upload, client, now_ms, lambda: self._course(pending))
        self._note(pending, now_ms, answer=batch.status.value, batch=batch)
        refused = pending.fault("refused_with_batch_id")
        if refused is not None:
            return self._envelopes.error(_faulty(refused), now_ms, [answers.created(batch)])
        return self._envelopes.result([answers.created(batch)], now_ms)

    def _upload(self, request: Request, form: Form, body_bytes: int) -> Upload:
        params = {**form.fields, **request.query}
        target = _target(request, params)
        name = params.get("format", Format.CSV.value)
        if name.lower() not in list(Format):
            raise refusal("1001", name, "csv, tsv or ssv")
        if form.file is None:
            raise refusal("1002", "file")
        return Upload(
            target=target, format=Format(name.lower()), filename=form.filename, data=form.file, body_bytes=body_bytes
        )

    def _course(self, pending: Pending) -> Course:
        """Draw what becomes of a batch, now that it is certain that there is one."""
        failed = pending.fault("answer_failed")
        if failed is not None:
            return Course(failure=Failure(message=failed.message or "system error"), failed_at_once=True)
        failure, slower, later_ms = None, 1.0, 0
        for fault in self.faults.strike("batch"):
            match fault.do:
                case "fail_batch":
                    failure = Failure(message=fault.message or "system error", applied=fault.applied)
                case "slow_import":
                    slower *= fault.factor
                case _:
                    later_ms += START_LATE_MS if fault.ms is None else fault.ms
        return Course(failure=failure, slower=slower, later_ms=later_ms)

    def _note(
        self, pending: Pending, now_ms: int, *, answer: str, batch: Batch | None = None, body_bytes: int = 0
    ) -> None:
        fault = pending.deciding
        self.engine.note_create(
            {
                "at_ms": now_ms,
                "batch_id": batch.id if batch is not None else None,
                "rows": batch.rows if batch is not None else 0,
                "body_bytes": batch.body_bytes if batch is not None else body_bytes,
                "answer": answer,
                "fault": fault.do if fault is not None else None,
            }
        )

    def _find(self, pending: Pending, client: ClientSpec, now_ms: int) -> Batch:
        request = pending.request
        by_object = request.route.target is CustomObjects
        self.engine.require(client, "read-write custom object" if by_object else "read-write lead")
        batch_id = _whole_number(request.names["batch_id"])
        if request.route.target is None or batch_id is None:
            raise refusal("1001", request.names["batch_id"], "integer")
        return self.engine.batch(request.route.target, batch_id, now_ms, api_name=request.names.get("api_name"))

    def _status(self, pending: Pending, client: ClientSpec, now_ms: int) -> Reply:
        batch = self._find(pending, client, now_ms)
        told = answers.status(batch, self.engine.counts(batch, now_ms))
        word, fewer = pending.fault("unknown_status"), pending.fault("fewer_processed")
        if word is not None:
            told["status"] = word.word
        if pending.fault("no_counters") is not None:
            told = {name: value for name, value in told.items() if not name.startswith("numOf")}
        elif fewer is not None:
            name = "numOfObjectsProcessed" if "numOfObjectsProcessed" in told else "numOfLeadsProcessed"
            told[name] = max(0, told[name] - fewer.rows)
        return self._envelopes.result([told], now_ms)

    def _file(self, pending: Pending, client: ClientSpec, kind: ResultKind, now_ms: int) -> Reply:
        text = self.engine.result_file(self._find(pending, client, now_ms), kind)
        body = None if text is None else text.encode()
        for fault in pending.faults:
            body = distort(body, fault, self._files_rng)
        if body is None:
            return answers.html(404)
        return Reply(content_type=answers.CSV, body=body)


def _target(request: Request, params: Mapping[str, str]) -> Target:
    """Return what an upload's rows become; refuses parameters that are missing or no numbers (1001, 1002)."""
    if request.route.target is Leads:
        list_id = params.get("listId")
        number = _whole_number(list_id) if list_id is not None else None
        if list_id is not None and number is None:
            raise refusal("1001", list_id, "integer")
        lookup = params.get("lookupField", "email")
        return Leads(lookup_field=lookup, list_id=number, partition=params.get("partitionName"))
    if request.route.target is CustomObjects:
        return CustomObjects(api_name=request.names["api_name"])
    program_id = _whole_number(request.names["program_id"])
    if program_id is None:
        raise refusal("1001", request.names["program_id"], "integer")
    member_status = params.get("programMemberStatus")
    if not member_status:
        raise refusal("1002", "programMemberStatus")
    return ProgramMembers(program_id=program_id, member_status=member_status)


def _whole_number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _ID_DIGITS_MAX else None


def _faulty(fault: Fault) -> Refused:
    """Build the refusal that a fault stands for."""
    entry = CODES[fault.code]
    wording = fault.message or entry.wording.replace("%s", "?")
    return entry.error(wording, code=fault.code)


def _says_no(reply: Reply) -> bool:
    return b'"success":false' in reply.body
