"""Talks to one Marketo subscription: every call, and every way a call can end.

Rules of the file:

- Nothing is repeated here, for whoever wants a call again makes it again; only a refused token is replaced and the
  call replayed, because that is certain to have done nothing.  So no caller ever sees `TokenExpired`.
- A creation ends in exactly one of: `Created`; `Refused` (Marketo made no batch); `NotDelivered` (the upload never
  left whole); `DeliveryUnknown`; the error of the rows' own source (nothing delivered); or `CancelledError`, after
  which `Delivery` says how far it got.
- Every other call may be repeated, so for them a lost answer is `NotDelivered` too.
- The token travels in a header and the secret in a form; neither is ever part of an address, a message or a repr,
  even if Marketo should echo it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, assert_never

import aiohttp

from orchestrator.errors import (
    AccessDenied,
    ConcurrencyLimited,
    ConfigError,
    DeliveryUnknown,
    MalformedResponse,
    MarketoError,
    NotDelivered,
    Refused,
    TokenExpired,
    Unavailable,
)
from orchestrator.marketo import answers, codes, reads, wire
from orchestrator.marketo.auth import TokenStore
from orchestrator.marketo.options import Identity, Options
from orchestrator.marketo.quota import BUSY, Quota
from orchestrator.marketo.spool import Spool
from orchestrator.marketo.transport import Transport
from orchestrator.marketo.upload import Content, Delivery, Upload
from orchestrator.model import BatchId, CustomObjects, Format, Leads, ProgramMembers, Target

CHANNEL_PAGES_MAX = 3  # six hundred channels; nobody keeps an overview of so many
TOKENS_PER_CALL_MAX = 5  # tokens one call is tried with; the token store gives up sooner if they are worthless

T = TypeVar("T")


def _count_nothing(kind: str) -> None:
    """Take no note of a call."""


class Client:
    """One subscription's calls; use it as an async context manager.

    `on_call` is told of every request before it is sent: token, submit, status, failures, warnings, describe, records,
    usage.
    A session that is handed in should not reuse connections, keeps its own proxy and TLS, and stays open.  `sleep`
    goes by the same clock as `now_ms`.
    """

    def __init__(
        self,
        options: Options,
        *,
        now_ms: Callable[[], int],
        rng: random.Random,
        session: aiohttp.ClientSession | None = None,
        on_call: Callable[[str], None] = _count_nothing,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._options = options
        self._rest_url = wire.normalise_rest_url(options.rest_url)
        self._token_url = wire.token_url(options.rest_url, options.identity_url)
        for url in (self._rest_url, self._token_url):
            wire.require_private(url, insecure=options.insecure)
        self._now_ms = now_ms
        self._rng = rng
        self._on_call = on_call
        self._sleep = sleep
        self._transport = Transport(
            timeout_ms=options.timeout_ms,
            idle_ms=options.idle_ms,
            proxy=options.proxy,
            ca_file=options.ca_file,
            trust_env=options.trust_env,
            session=session,
        )
        self._tokens = TokenStore(self._ask_token, now_ms=now_ms, sleep=sleep)
        self._quota = Quota(
            calls_per_window=options.calls_per_window,
            window_ms=options.window_ms,
            concurrent_calls=options.concurrent_calls,
        )
        self._gate = asyncio.Lock()  # calls start in the order they were made
        self._released = asyncio.Event()
        self._emulator = False
        self._date = ""
        self._told: tuple[int, int] | None = None  # Marketo's clock, and ours at that moment

    async def __aenter__(self) -> Self:
        await self._transport.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._transport.close()

    @property
    def host(self) -> str:
        """The host that is the subscription's identity."""
        return wire.host_of(self._rest_url)

    def marketo_ms(self) -> int | None:
        """Return what Marketo's clock shows now, as far as its last answer tells; the truth may be a little later."""
        if self._told is None:
            return None
        theirs_ms, ours_ms = self._told
        return theirs_ms + self._now_ms() - ours_ms

    def _hear(self, body: bytes) -> None:
        """Learn from an answer what Marketo's clock shows."""
        told_ms = answers.told_ms(body)
        if told_ms is not None:
            self._told = told_ms, self._now_ms()

    # --- calls -------------------------------------------------------------------------------------------

    async def authenticate(self) -> Identity:
        """Get a token, and say whose it is."""
        with self._named():
            await self._tokens.lease()
        return Identity(api_user=self._tokens.scope, emulator=self._emulator, date=self._date)

    async def create(
        self,
        target: Target,
        format: Format,
        filename: str,
        content: Content,
        *,
        delivery: Delivery | None = None,
        begin: Callable[[], Awaitable[None]] | None = None,
        life_ms: int = 0,
    ) -> wire.Created:
        """Upload rows and make a batch of them.

        `delivery` is kept up to date on the way.  `begin` is awaited before each try, when nothing else is to be
        waited for.  With `life_ms` the upload does not start with a token that lives no longer than that; the wait for
        the next one is part of this call.
        """
        url = self._url(wire.create_path(target), wire.create_params(target, format))
        progress = delivery if delivery is not None else Delivery()

        async def send(token: str) -> wire.Created:
            if begin is not None:
                await begin()
            multipart = wire.Multipart(f"{self._rng.getrandbits(128):032x}", filename)
            upload = Upload(content, multipart, progress, idle_ms=self._options.idle_ms)
            answer = await self._transport.exchange(
                "the upload", "POST", url, headers=wire.bearer(token, multipart.content_type), data=upload
            )
            self._hear(answer.body)
            try:
                return answers.parse_create(answer.status, answer.content_type, wire.without(answer.body, token))
            except (Refused, DeliveryUnknown) as error:
                progress.handed_over &= isinstance(error, DeliveryUnknown)
                if upload.failure is not None:
                    raise upload.failure from None
                if isinstance(error, DeliveryUnknown) and not progress.handed_over:
                    raise NotDelivered(
                        "Marketo answered before the whole upload was sent, and said nothing usable. Nothing was "
                        "delivered.",
                        code=error.code,
                        request_id=error.request_id,
                    ) from None
                raise

        try:
            return await self._authorised("submit", send, life_ms)
        except MalformedResponse as error:  # of the identity service; an upload's own answer never is just that
            raise NotDelivered(
                f"{error} Nothing was delivered.", subscription=error.subscription, request_id=error.request_id
            ) from None

    async def status(self, target: Target, batch_id: BatchId) -> wire.BatchReport:
        """Ask how a batch is doing."""

        def parse(status: int, content_type: str, body: bytes) -> wire.BatchReport:
            return answers.parse_status(status, content_type, body, batch_id=batch_id)

        return await self._read("status", f"the status of batch {batch_id}", wire.status_path(target, batch_id), parse)

    async def fetch(self, kind: wire.ResultKind, target: Target, batch_id: BatchId, to: Path) -> bool:
        """Store a batch's failure or warning file under a name; return False, storing nothing, if there is none."""
        what = f"the {kind} of batch {batch_id}"
        url = self._url(wire.result_path(kind, target, batch_id))

        async def load(token: str) -> bool:
            async with Spool.open(to) as spool:
                answer = await self._transport.download(what, url, headers=wire.bearer(token), spool=spool)
                match answers.sniff_result_file(answer.status, answer.content_type, answer.body):
                    case answers.ResultBody.NONE:
                        return False
                    case answers.ResultBody.ENVELOPE:
                        body = wire.without(await spool.head(answers.JSON_BYTES_MAX), token)
                        answers.refuse_result_file(what, answer.status, answer.content_type, body)
                    case answers.ResultBody.FILE:
                        pass
                await spool.keep()
            return True

        return await self._authorised(kind.value, load)

    async def describe(self, target: Target) -> reads.Schema:
        """Return the columns an import into a target may have; `dedupe_fields` are those it must have."""
        own = wire.describe_path(target)
        match target:
            case Leads():
                leads = await self._read("describe", "the description of leads", own, reads.parse_describe_leads)
                return replace(leads, dedupe_fields=(target.lookup_field,))
            case CustomObjects():
                what = f"the description of {target.api_name}"
                return await self._read("describe", what, own, reads.parse_describe_custom_object)
            case ProgramMembers():
                what = "the description of program members"
                members = await self._read("describe", what, own, reads.parse_describe_members)
                return reads.member_schema(members, await self.describe(Leads()))
            case _:
                assert_never(target)

    async def custom_objects(self) -> tuple[reads.ObjectType, ...]:
        """Return the custom object types that this API user may see."""
        what = "the list of custom objects"
        return await self._read("describe", what, reads.CUSTOM_OBJECTS_PATH, reads.parse_custom_objects)

    async def static_list(self, list_id: int) -> reads.StaticList | None:
        """Return a static list, None if there is none with this id."""
        path, parse = reads.LIST_PATH.format(list_id=list_id), partial(reads.parse_static_list, list_id=list_id)
        return await self._find(f"static list {list_id}", path, parse)

    async def partitions(self) -> tuple[str, ...]:
        """Return the names of the lead partitions."""
        return await self._read("describe", "the list of partitions", reads.PARTITIONS_PATH, reads.parse_partitions)

    async def program(self, program_id: int) -> reads.Program | None:
        """Return a program, None if there is none with this id; `AccessDenied` without the right to read assets."""
        path = reads.PROGRAM_PATH.format(program_id=program_id)
        return await self._find(f"program {program_id}", path, partial(reads.parse_program, program_id=program_id))

    async def channels(self, until: str | None = None) -> tuple[reads.Channel, ...]:
        """Return the channels, page by page as far as the one of this name; of very many only the first pages.

        Raises `AccessDenied` without the right to read assets.
        """
        found: dict[str, reads.Channel] = {}
        offset = 0
        for _ in range(CHANNEL_PAGES_MAX):
            query = wire.query_string({"offset": str(offset), "maxReturn": str(reads.CHANNELS_PAGE)})
            path = f"{reads.CHANNELS_PATH}?{query}"
            page = await self._read("describe", "the list of channels", path, reads.parse_channels)
            found |= {channel.name: channel for channel in page}
            offset += len(page)  # a page may be shorter than asked for, so only an empty one is the end
            if not page or until in found:
                break
        return tuple(found.values())

    async def records(
        self, target: Target, key_field: str, keys: Sequence[str], fields: Sequence[str]
    ) -> tuple[Mapping[str, Any], ...]:
        """Return the records of a target that have one of these keys, at most one page of them."""
        path = reads.records_path(target, key_field, keys, fields)
        return await self._read("records", "the records asked for", path, reads.parse_records)

    async def usage(self) -> reads.Usage:
        """Return how many calls the subscription made today."""
        return await self._read("usage", "the usage of the API", reads.USAGE_PATH, reads.parse_usage)

    # --- how calls are made ------------------------------------------------------------------------------

    async def _read(self, kind: str, what: str, path: str, parse: Callable[[int, str, bytes], T]) -> T:
        """Make a call that changes nothing."""

        async def ask(token: str) -> T:
            answer = await self._transport.exchange(what, "GET", self._url(path), headers=wire.bearer(token))
            self._hear(answer.body)
            return parse(answer.status, answer.content_type, wire.without(answer.body, token))

        return await self._authorised(kind, ask)

    async def _find(self, what: str, path: str, parse: Callable[[int, str, bytes], T | None]) -> T | None:
        """Ask for one thing by its id; None if it is not there, which Marketo says with success or with a refusal."""
        try:
            return await self._read("describe", what, path, parse)
        except Refused as error:
            if codes.is_gone(error):
                return None
            raise

    async def _authorised(self, kind: str, work: Callable[[str], Awaitable[T]], life_ms: int = 0) -> T:
        """Do one call with a token; replace the token and do it again as long as that is what was wrong."""
        with self._named():
            lease = await self._tokens.lease(life_ms)
            tries = 0
            while True:
                tries += 1
                try:
                    result = await self._rationed(kind, lease.access_token, work)
                except TokenExpired as refused:
                    if tries == TOKENS_PER_CALL_MAX:
                        raise Unavailable(
                            f"Marketo refuses one new access token after the other: {refused}", code=refused.code
                        ) from None
                    lease = await self._tokens.renew(lease)
                else:
                    self._tokens.accept(lease)
                    return result

    async def _rationed(self, kind: str, token: str, work: Callable[[str], Awaitable[T]]) -> T:
        """Wait for a place among the calls, and do one."""
        async with self._gate:
            while (wait_ms := self._quota.admit(self._now_ms())) != 0:
                if wait_ms == BUSY:
                    self._released.clear()
                    await self._released.wait()
                else:
                    await self._sleep(wait_ms / 1000)
        try:
            self._on_call(kind)
            return await work(token)
        except ConcurrencyLimited:
            self._quota.crowd(self._now_ms())
            raise
        finally:
            self._quota.release(self._now_ms())
            self._released.set()

    async def _ask_token(self) -> answers.Token:
        """Ask the identity service once; if it refuses a secret that was replaced meanwhile, once more."""
        secret = self._secret()
        try:
            return await self._ask_token_with(secret)
        except AccessDenied:
            if (another := self._secret()) == secret:
                raise
        return await self._ask_token_with(another)

    def _secret(self) -> str:
        """Return the client secret; one that could be read before and cannot any more is access that was lost."""
        try:
            return self._options.client_secret()
        except ConfigError as error:
            if not self._tokens.given:
                raise
            raise AccessDenied(str(error)) from None

    async def _ask_token_with(self, secret: str) -> answers.Token:
        self._on_call("token")
        form = {"grant_type": "client_credentials", "client_id": self._options.client_id, "client_secret": secret}
        answer = await self._transport.exchange(
            "the request for an access token",
            "POST",
            self._token_url,
            headers={"Accept": "application/json"},
            data=form,
        )
        self._emulator = answer.headers.get(wire.EMULATOR_HEADER) == "1"
        self._date = answer.headers.get("Date", "")
        body = answer.body if answer.status == 200 else wire.without(answer.body, secret)
        return answers.parse_token(answer.status, answer.content_type, body)

    def _url(self, path: str, params: dict[str, str] | None = None) -> str:
        return f"{self._rest_url}{path}" + (f"?{wire.query_string(params)}" if params else "")

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Tell every error of a call which subscription it is about."""
        try:
            yield
        except MarketoError as error:
            error.subscription = self._options.subscription
            raise
