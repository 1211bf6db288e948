"""Sources that lie on a web server: fetched once, as they are, into a copy.

Queries and credentials of addresses are secrets, such as those of signed links.  They are used and never shown,
logged or written down; a message names the address without them.
"""

from __future__ import annotations

import base64
import ssl
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from orchestrator.errors import ConfigError, SourceError
from orchestrator.marketo.transport import USER_AGENT, tls, words_of
from orchestrator.marketo.wire import is_loopback
from orchestrator.offload import Offload
from orchestrator.source.spool import Copy, Workspace
from orchestrator.tables import Http

BLOCK_BYTES: Final = 1_048_576
FETCH_BYTES_MAX: Final = 1_099_511_627_776  # 1 TiB: no table of people is larger
FETCH_SECONDS_MAX: Final = 86_400.0  # a day; that bytes keep coming is watched by http.idle_seconds
REDIRECTS_MAX: Final = 5
_REDIRECTS: Final = (301, 302, 303, 307, 308)


async def fetch(address: str, *, name: str, workspace: Workspace, stem: str, http: Http, offload: Offload) -> Path:
    """Fetch a file into a copy; return where it is.  ``name`` is the address as it may be shown.

    Raises:
        SourceError: it cannot be fetched whole; nothing is left of it.
        ConfigError: the settings do not allow it.

    """
    timeout = aiohttp.ClientTimeout(
        total=FETCH_SECONDS_MAX, sock_connect=http.idle_seconds, sock_read=http.idle_seconds
    )
    ca_file = None if http.ca_file is None else str(http.ca_file)
    try:
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls(ca_file)),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=timeout,
            trust_env=http.trust_env,
            auto_decompress=False,  # what is compressed is known by its first bytes
            read_bufsize=BLOCK_BYTES,
        ) as session:
            try:
                response = await _answer(session, address, name=name, http=http)
            except (ssl.CertificateError, aiohttp.ClientConnectorCertificateError):  # which are a `ValueError`, too
                raise
            except ValueError:  # of what parses addresses and names of hosts
                raise SourceError(
                    f"{name}: that is no address, or the server redirects to one that is none. Check it, or tell the "
                    "server's owner."
                ) from None
            async with response:
                return await _save(response, name=name, workspace=workspace, stem=stem, offload=offload)
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        code, words = words_of(error)
        if code == "unknown_host":
            words = "its host is not known. Check the address, and whether this machine needs a proxy (http.proxy)."
        raise SourceError(f"{name}: it cannot be fetched: {words}") from None


async def _answer(session: aiohttp.ClientSession, address: str, *, name: str, http: Http) -> aiohttp.ClientResponse:
    """Follow redirects to the file; credentials are for the server that was named, and no other."""
    url = URL(address)
    credentials = {}
    if url.user:
        encoded = base64.b64encode(f"{url.user}:{url.password or ''}".encode()).decode()
        credentials["Authorization"] = f"Basic {encoded}"
    origin = url.with_user(None).origin()
    for _ in range(REDIRECTS_MAX + 1):
        check_scheme(str(url), name=name, insecure=http.insecure)
        response = await session.get(
            url.with_user(None),
            headers={
                "User-Agent": USER_AGENT,
                "Accept-Encoding": "identity",
                **(credentials if url.with_user(None).origin() == origin else {}),
            },
            allow_redirects=False,
            proxy=None if is_loopback(url.host or "") else http.proxy,
        )
        if response.status == 200:
            return response
        location = response.headers.get("Location", "")
        response.release()
        if response.status not in _REDIRECTS or not location:
            raise SourceError(
                f"{name}: the server answers {response.status} ({response.reason or 'no reason'}). Check the address, "
                "and whether it has expired or needs to be signed in to."
            )
        url = url.join(URL(location))
    raise SourceError(f"{name}: the server redirects more than {REDIRECTS_MAX} times. Check the address.")


def check_scheme(address: str, *, name: str, insecure: bool) -> None:
    """Refuse an address, first or redirected to, that nobody should read from; raises `ConfigError`."""
    parts = urlsplit(address)
    if parts.scheme == "https" or (parts.scheme == "http" and (insecure or is_loopback(parts.hostname or ""))):
        return
    raise ConfigError(
        f"{name}: {parts.scheme}:// is not read from, or not redirected to; use https://, or set http.insecure = true "
        "for http:// if the network between here and there is your own"
    )


async def _save(
    response: aiohttp.ClientResponse, *, name: str, workspace: Workspace, stem: str, offload: Offload
) -> Path:
    expected = response.content_length or 0
    if expected > FETCH_BYTES_MAX:
        raise _too_large(name)
    copy: Copy = await offload.run(workspace.copy, f"{stem}.fetched", of=name, bytes_expected=expected)
    try:
        async for block in response.content.iter_chunked(BLOCK_BYTES):
            await offload.run(copy.write, block)
            if copy.size_bytes > FETCH_BYTES_MAX:
                raise _too_large(name)
        await offload.run(copy.finish)
    except BaseException:
        copy.discard()
        raise
    return copy.path


def _too_large(name: str) -> SourceError:
    return SourceError(f"{name}: the server sends more than {FETCH_BYTES_MAX:,} bytes. Is it the right address?")
