"""Carries one HTTP exchange, and turns every fault of network, TLS, proxy and clock into this package's errors.

aiohttp repeats a GET by itself when a connection dies, which would be a call that nobody counted: a middleware
prevents that.  Connections are never used twice, because a request on a connection that the other side has just
closed is lost in a way that cannot be told from a lost answer.
"""

from __future__ import annotations

import errno
import ssl
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from orchestrator.errors import ConfigError, DeliveryUnknown, MalformedResponse, MarketoError, NotDelivered
from orchestrator.marketo import answers
from orchestrator.marketo.spool import Spool
from orchestrator.marketo.upload import Upload
from orchestrator.marketo.wire import is_loopback

USER_AGENT = "marketo-bulk-orchestrator"
RESULT_FILE_BYTES_MAX = 256 * 1024 * 1024  # an upload of 250,000 rows with a long reason on each is a quarter of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back; ``body`` is not read beyond the limit on JSON answers."""

    status: int
    content_type: str
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """Makes requests through a session of its own, or through one that is handed in.

    A session that is handed in keeps its own connector, proxy and TLS settings and is not closed here.
    """

    def __init__(
        self,
        *,
        timeout_ms: int,
        idle_ms: int,
        proxy: str | None,
        ca_file: str | None,
        trust_env: bool,
        session: aiohttp.ClientSession | None,
    ) -> None:
        self._timeout = aiohttp.ClientTimeout(total=timeout_ms / 1000, connect=idle_ms / 1000, sock_read=idle_ms / 1000)
        self._proxy = proxy
        self._ca_file = ca_file
        self._trust_env = trust_env
        self._session = session
        self._owned = session is None
        if proxy is not None:
            _check_proxy(proxy, "http.proxy")

    async def open(self) -> None:
        """Make the session, unless one was handed in."""
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=tls(self._ca_file), force_close=True, limit=0)
            self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())

    async def close(self) -> None:
        """Close the session, unless it was handed in."""
        if self._owned and self._session is not None:
            await self._session.close()
            self._session = None

    async def exchange(
        self, what: str, method: str, url: str, *, headers: Mapping[str, str], data: Any = None
    ) -> Answer:
        """Send one request and read its answer, which is small."""
        upload = data if isinstance(data, Upload) else None
        body = bytearray()
        async with self._response(what, method, url, headers, data) as response:
            try:
                async for piece in response.content.iter_any():
                    body += piece
                    if len(body) >= answers.JSON_BYTES_MAX:
                        break
            except (aiohttp.ClientError, OSError):
                # What arrived may suffice: a status that speaks for itself, or the id of a batch.
                if response.status == 200 and upload is None:
                    raise
            return Answer(
                status=response.status,
                content_type=response.headers.get("Content-Type", ""),
                headers=response.headers,
                body=bytes(body),
            )

    async def download(self, what: str, url: str, *, headers: Mapping[str, str], spool: Spool) -> Answer:
        """Send one GET and stream its answer's body into a file; the body in the answer is its first piece."""
        first = b""
        async with self._response(what, "GET", url, headers) as response:
            try:
                async for piece in response.content.iter_chunked(64 * 1024):
                    first = first or piece
                    await spool.write(piece)
                    if spool.size > RESULT_FILE_BYTES_MAX:
                        raise MalformedResponse(f"Marketo's answer to {what} is larger than any such file can be.")
            except (aiohttp.ClientError, OSError):
                if response.status == 200:
                    raise
            return Answer(
                status=response.status,
                content_type=response.headers.get("Content-Type", ""),
                headers=response.headers,
                body=first,
            )

    @asynccontextmanager
    async def _response(
        self, what: str, method: str, url: str, headers: Mapping[str, str], data: Any = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request and yield its answer; nothing of either is left when this ends."""
        if self._session is None:
            raise ConfigError("The client is not open: use it as `async with Client(...) as client`.")
        async with _faults(what, data if isinstance(data, Upload) else None):
            response = await self._session.request(
                method,
                URL(url, encoded=True),
                headers={"User-Agent": USER_AGENT, "Connection": "close", **headers},
                data=data,
                allow_redirects=False,
                raise_for_status=False,
                timeout=self._timeout,
                proxy=self._proxy_for(url),
                middlewares=(_once,),
            )
            try:
                if 300 <= response.status <= 399 and response.status != 303:
                    origin = _origin(response.headers.get("Location", ""))
                    sent_whole = isinstance(data, Upload) and data.delivery.handed_over
                    raise answers.redirected(what, response.status, origin, sent_whole=sent_whole)
                yield response
            finally:
                response.close()

    def _proxy_for(self, url: str) -> str | None:
        """Return the proxy of the settings, else of the environment, else none."""
        if not self._owned or self._proxy is not None:
            return self._proxy if self._owned else None
        parts = urlsplit(url)
        if not self._trust_env or is_loopback(parts.hostname or "") or urllib.request.proxy_bypass(parts.netloc):
            return None
        proxy = urllib.request.getproxies().get(parts.scheme)
        if proxy is None:
            return None
        proxy = proxy if "://" in proxy else f"http://{proxy}"
        _check_proxy(proxy, f"{parts.scheme.upper()}_PROXY in the environment")
        return proxy


def _check_proxy(proxy: str, source: str) -> None:
    """Refuse a proxy that cannot be used; its address is not repeated, for it may hold a password."""
    try:
        parts = urlsplit(proxy)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(f"{source} is no http:// or https:// proxy: write it as http://host:port.")


def tls(ca_file: str | None) -> ssl.SSLContext | bool:
    """Return what to trust: the system's authorities, and those of a file besides."""
    if ca_file is None:
        return True
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(cafile=ca_file)
    except OSError as error:  # SSLError is one too
        raise ConfigError(
            f"http.ca_file: {ca_file} cannot be used ({error.strerror or 'not PEM'}): give a file of PEM certificates."
        ) from None
    return context


def _origin(location: str) -> str:
    """Return where an address leads without what it says there."""
    try:
        parts = urlsplit(location)
        return f"{parts.scheme}://{parts.hostname}" if parts.scheme and parts.hostname else ""
    except ValueError:
        return ""


# --- faults ------------------------------------------------------------------------------------------


class _LostError(Exception):
    """A fault that aiohttp must not answer with a request of its own."""

    def __init__(self, fault: Exception) -> None:
        super().__init__()
        self.fault = fault


async def _once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Send a request, and send it once."""
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as fault:
        raise _LostError(fault) from None


@asynccontextmanager
async def _faults(what: str, upload: Upload | None) -> AsyncIterator[None]:
    """Turn what aiohttp and the system raise into what it means for the call."""
    fault: Exception | None = None
    try:
        try:
            yield
        finally:
            if upload is not None:
                await upload.seal()
    except _LostError as lost:
        fault = lost.fault
    except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
        fault = error
    if fault is not None:
        if upload is not None and upload.failure is not None:
            raise upload.failure
        raise _meaning(what, fault, upload) from None


def _meaning(what: str, fault: Exception, upload: Upload | None) -> MarketoError:
    """Return the error that a fault amounts to, given how far an upload got."""
    code, words = words_of(fault)
    if upload is not None and upload.delivery.handed_over:
        return DeliveryUnknown(
            f"{what.capitalize()} was sent whole and its answer is lost: {words} A batch may exist, so it must not be "
            "sent again at once.",
            code=code,
        )
    if upload is None and isinstance(fault, aiohttp.ClientResponseError) and code == "http":
        return MalformedResponse(f"Marketo's answer to {what} is not HTTP. It is tried again.", code=code)
    done = "Nothing was delivered." if upload is not None else "Nothing was changed."
    return NotDelivered(f"{what.capitalize()} failed: {words} {done}", code=code)


def words_of(fault: Exception) -> tuple[str, str]:
    """Return a short code for a fault, and a sentence for people.

    The codes are ``unknown_host``, ``refused``, ``tls``, ``proxy``, ``timeout``, ``http`` and ``connection``.
    """
    match fault:
        case aiohttp.ClientConnectorDNSError():
            return "unknown_host", (
                f"the host {fault.host} is not known. Check the munchkin id or the address in the settings, and "
                "whether this machine resolves names or needs a proxy (http.proxy)."
            )
        case aiohttp.ClientConnectorCertificateError():
            return "tls", (
                f"the certificate of {fault.host} is not trusted. If a company proxy inspects traffic, give its "
                "authority as http.ca_file."
            )
        case aiohttp.ClientSSLError():
            return "tls", f"no encrypted connection to {fault.host} came about. Is it really an https address?"
        case aiohttp.ClientProxyConnectionError():
            return "proxy", f"the proxy at {fault.host}:{fault.port} cannot be reached. Check http.proxy."
        case aiohttp.ClientHttpProxyError():
            return "proxy", f"the proxy answered HTTP {fault.status}. Check http.proxy, its user and password."
        case TimeoutError():
            return "timeout", "no byte moved for too long, or the whole took too long."
        case aiohttp.ClientConnectorError() if fault.errno == errno.ECONNREFUSED:
            return "refused", f"{fault.host}:{fault.port} refuses connections. Is the address right, and is it up?"
        case aiohttp.ClientConnectorError():
            reason = fault.strerror or type(fault.os_error).__name__
            return "connection", f"no connection to {fault.host}:{fault.port} ({reason})."
        case aiohttp.ClientResponseError():
            return "http", "what came back is not HTTP."
        case aiohttp.ClientPayloadError():
            return "connection", "the answer ended early."
        case aiohttp.ServerDisconnectedError():
            return "connection", "the connection was closed without an answer."
        case _:
            return "connection", f"the connection was lost ({type(fault).__name__})."
