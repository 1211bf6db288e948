"""Sources on a web server: all of one is fetched, or it is said why not, and no secret of an address is shown."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import subprocess
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from orchestrator import fetching
from orchestrator.errors import ConfigError, SourceError
from orchestrator.fetching import fetch
from orchestrator.offload import Offload
from orchestrator.preflight import locate
from orchestrator.source.opened import Located
from orchestrator.source.spool import Workspace
from orchestrator.tables import Http

DATA = b"email,name\n" + b"".join(b"%d@x.com,Ada\n" % number for number in range(200_000))


class Site:
    """What the server does, and what it was asked."""

    def __init__(self) -> None:
        self.asked: list[web.Request] = []
        self.astray = ""
        self.application = web.Application()
        self.application.router.add_get("/{name:.*}", self._serve)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        name = request.match_info["name"]
        if name.startswith("to/"):
            raise web.HTTPFound(name.removeprefix("to/"))
        if name == "astray":
            return web.Response(status=302, headers={"Location": self.astray})
        if name == "round":
            raise web.HTTPFound("/round")
        if name == "away":
            raise web.HTTPFound(f"http://localhost:{request.url.port}/leads.csv")
        if name == "leads.csv":
            return web.Response(body=DATA)
        if name == "packed":
            return web.Response(body=gzip.compress(DATA), headers={"Content-Encoding": "gzip"})
        if name == "cut":
            response = web.StreamResponse(headers={"Content-Length": str(len(DATA))})
            await response.prepare(request)
            await response.write(DATA[:1000])
            assert request.transport is not None
            request.transport.close()
            return response
        raise web.HTTPForbidden


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "spool")


def run(workspace: Workspace, path: str, *, site: Site | None = None, tls=None, http: Http | None = None, base=None):
    served = site or Site()

    async def go() -> bytes:
        server = TestServer(served.application, scheme="https" if tls else "http")
        await server.start_server(ssl=tls)
        try:
            url = (base or str(server.make_url("/"))).replace("PORT", str(server.port)) + path
            (located,) = locate([url])
            async with Offload() as offload:
                fetched = await fetch(
                    url, name=located.name, workspace=workspace, stem="0", http=http or Http(), offload=offload
                )
            return fetched.read_bytes()
        finally:
            await server.close()

    return asyncio.run(go())


def nothing_left(workspace: Workspace) -> bool:
    return not list(workspace.directory.glob("*"))


def test_a_file_is_fetched_whole(workspace):
    assert run(workspace, "leads.csv") == DATA
    assert (workspace.directory / "0.fetched").stat().st_mode & 0o777 == 0o600


def test_redirects_are_followed(workspace):
    assert run(workspace, "to//to//leads.csv") == DATA
    with pytest.raises(SourceError, match="redirects more than 5 times"):
        run(workspace, "round")


@pytest.mark.parametrize("where", ["http://example.com/x", "ftp://127.0.0.1/x", "file:///etc/passwd"])
def test_redirects_lead_to_safe_places_only(workspace, where):
    with pytest.raises(ConfigError, match="not read from, or not redirected to; use https://"):
        run(workspace, f"to/{where}")


@pytest.mark.parametrize(
    "where",
    [
        "https:///x.csv",
        "https:x",
        "https://user@/x",
        "https://[/x",
        "https://h:99999/x",
        f"https://{'a' * 70}.example/x",
        "https://\u2100.example/x",
        "https://a..b/x",
        "mailto:x",
    ],
)
def test_a_redirect_to_what_is_no_address_is_told(workspace, where):
    site = Site()
    site.astray = where
    with pytest.raises((SourceError, ConfigError), match=r"http://127\.0\.0\.1:\d+/astray: "):
        run(workspace, "astray", site=site)
    assert nothing_left(workspace)


@pytest.mark.parametrize("address", ["https:///x.csv", "https://[::1/x.csv", f"https://{'a' * 70}.example/x.csv"])
def test_an_address_that_is_none_is_told(workspace, address):
    async def go() -> None:
        async with Offload() as offload:
            await fetch(
                address, name="NAME", workspace=workspace, stem="0", http=Http(trust_env=False), offload=offload
            )

    with pytest.raises(SourceError, match="NAME: that is no address"):
        asyncio.run(go())


def test_credentials_are_for_the_server_that_was_named(workspace):
    site = Site()
    assert run(workspace, "away", site=site, base="http://ada:hunter2@127.0.0.1:PORT/") == DATA
    assert ["Authorization" in request.headers for request in site.asked] == [True, False]


def test_what_is_compressed_on_the_way_stays_so(workspace):
    assert gzip.decompress(run(workspace, "packed")) == DATA


def test_what_is_cut_off_is_told(workspace):
    with pytest.raises(SourceError, match=r"http://127\.0\.0\.1:\d+/cut: it cannot be fetched: the answer ended early"):
        run(workspace, "cut")
    assert nothing_left(workspace)


def test_a_refusal_is_told_without_the_secrets_of_the_address(workspace):
    with pytest.raises(
        SourceError, match=r"/signed: the server answers 403 \(Forbidden\)\. Check the address"
    ) as raised:
        run(workspace, "signed?token=hunter2#part", base="http://ada:hunter3@127.0.0.1:PORT/")
    assert "hunter" not in str(raised.value)
    with pytest.raises(SourceError, match="refuses connections") as raised:
        run(workspace, "x?token=hunter2", base="http://ada:hunter3@127.0.0.1:1/")
    assert "hunter" not in str(raised.value)


def test_plain_http_is_for_this_machine_only(workspace):
    with pytest.raises(ConfigError, match=r"http://example\.com/leads\.csv: http:// is not read from"):
        run(workspace, "leads.csv", base="http://example.com/")


def test_more_than_can_be_is_not_written(workspace, monkeypatch):
    monkeypatch.setattr(fetching, "FETCH_BYTES_MAX", len(DATA) - 1)
    with pytest.raises(SourceError, match="sends more than"):
        run(workspace, "leads.csv")
    assert nothing_left(workspace)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("authority")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    command += " -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout key.pem -out ca.pem"
    try:
        subprocess.run(command.split(), cwd=directory, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no openssl command to make a certificate with")
    return directory


def test_a_certificate_is_trusted_if_the_settings_say_so(workspace, authority):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(authority / "ca.pem", authority / "key.pem")
    http = Http(ca_file=authority / "ca.pem", trust_env=False)
    assert run(workspace, "leads.csv", tls=tls, http=http, base="https://127.0.0.1:PORT/") == DATA
    with pytest.raises(SourceError, match=r"the certificate of 127\.0\.0\.1 is not trusted.*http\.ca_file"):
        run(workspace, "leads.csv", tls=tls, base="https://127.0.0.1:PORT/")


def test_an_address_is_shown_without_its_secrets():
    (found,) = locate(["https://ada:hunter2@example.com:8443/a%20b/leads.csv.gz?sig=hunter3#x"])
    assert (found.given, found.absolute) == (
        "https://example.com:8443/a%20b/leads.csv.gz", "https://example.com:8443/a%20b/leads.csv.gz?",
    )  # fmt: skip
    assert "hunter" not in repr(found)
    assert locate(["https://example.com/leads.csv"])[0].absolute == "https://example.com/leads.csv"
    assert not Located.at("leads.csv").is_url


@pytest.mark.parametrize("text", ["https://", "https://:80/x", "https://[::1/x?token=hunter2"])
def test_an_address_that_is_none(text):
    with pytest.raises(ConfigError, match="address of a source is not one") as raised:
        locate([text])
    assert "hunter" not in str(raised.value)


def test_an_address_is_named_once():
    with pytest.raises(ConfigError, match=r"https://example\.com/x is named more than once"):
        locate(["https://example.com/x?a", "https://example.com/x?a"])
