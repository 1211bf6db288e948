"""Sources that cannot be sent as they stand: what Marketo holds afterwards is what was meant."""

from __future__ import annotations

import gzip
import http.server
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import leads
from tests.e2e.kit import Place, until
from tests.e2e.test_crash import SLOW, wait_for_batches
from tests.unit.source.test_containers import in_zip, zstd

PACKS = {
    "gzip": gzip.compress,
    "stdin-gzip": gzip.compress,
    "zstd": zstd.compress,
    "zip": in_zip,
    "stdin": bytes,
}
WESTERN = ("Zoë", "Müller", "François", "Peña", "Ærø", "two\nlines", "Plain")


def western(mark: str, count: int) -> list[dict[str, str]]:
    return [{**one, "firstName": WESTERN[n % len(WESTERN)]} for n, one in enumerate(leads.people(mark, count))]


def copies(place: Place) -> list[Path]:
    return list(place.state.glob("jobs/*/plans/*/spool/*")) + list(place.state.glob("scratch/*"))


def rewrite(place: Place, encoding: str) -> None:
    path = place.directory / "leads.csv"
    path.write_bytes(path.read_bytes().decode().encode(encoding))


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
def test_other_encodings(place: Place, mark: str, encoding: str) -> None:
    people = western(mark, 300) if encoding == "cp1252" else leads.people(mark, 300)
    rows = leads.write(place.directory / "leads.csv", people)
    rewrite(place, encoding)

    ended = place.run("import", "leads.csv", "--out", "report")

    summary = leads.assert_complete(ended, place.directory / "report", rows)
    leads.assert_delivered(place.marketo, mark, rows)
    (source,) = summary["sources"]
    assert (source["path"], source["encoding"]) == ("leads.csv", {"utf-16": "utf-16-le"}.get(encoding, encoding))
    assert ("which is a guess" in ended.err) == (encoding == "cp1252")
    assert copies(place) == []


@pytest.mark.parametrize("how", ["gzip", "zstd", "zip", "stdin", "stdin-gzip"])
def test_containers(place: Place, mark: str, how: str) -> None:
    given = {"gzip": "leads.csv.gz", "zstd": "leads.csv.zst", "zip": "leads.zip"}.get(how, "-")
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, 300), given=given)
    data = (place.directory / "leads.csv").read_bytes()
    (place.directory / "leads.csv").unlink()
    path = place.write("packed" if given == "-" else given, PACKS[how](data))

    ended = place.run("import", given, "--out", "report", stdin=path)

    summary = leads.assert_complete(ended, place.directory / "report", rows)
    leads.assert_delivered(place.marketo, mark, rows)
    assert summary["sources"][0]["path"] == given
    assert copies(place) == []


class Site(http.server.ThreadingHTTPServer):
    """A web server with one file, for those who have the link to it."""

    data = b""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/leads.csv.gz"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Site)
        found = self.path == "/leads.csv.gz?signature=hunter2"
        self.send_response(200 if found else 403)
        self.end_headers()
        self.wfile.write(self.server.data if found else b"")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[Site]:
    with Site(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_signed_link(place: Place, mark: str, site: Site) -> None:
    rows = leads.write(place.directory / "leads.csv", leads.people(mark, 300), given=site.url)
    site.data = gzip.compress((place.directory / "leads.csv").read_bytes())
    secret = f"{site.url}?signature=hunter2"

    ended = place.run("import", secret, "--out", "report", "--verbose")

    summary = leads.assert_complete(ended, place.directory / "report", rows)
    leads.assert_delivered(place.marketo, mark, rows)
    assert summary["sources"][0]["path"] == site.url
    assert "hunter2" not in ended.out + ended.err
    for command in (("check", secret, "--offline"), ("plan", secret, "--offline"), ("map", secret)):
        looked = place.run(*command)
        assert (looked.code, site.url in looked.out + looked.err) == (0, True)
        assert "hunter2" not in looked.out + looked.err
    for path in [*place.state.rglob("*"), *(place.directory / "report").rglob("*")]:
        assert not path.is_file() or b"hunter2" not in path.read_bytes(), path
    assert copies(place) == []


def test_a_link_that_has_expired(place: Place, mark: str, site: Site) -> None:
    ended = place.run("import", f"{site.url}?signature=hunter3")
    assert (ended.code, "the server answers 403" in ended.err, "hunter3" in ended.err) == (4, True, False)
    assert copies(place) == []


def test_killed_while_it_reads_a_pipe(place: Place, mark: str) -> None:
    pipe = place.directory / "pipe"
    os.mkfifo(pipe)
    writer = os.open(pipe, os.O_RDWR)  # so that opening it does not wait
    try:
        os.write(writer, f"email,firstName\nada@{mark},Ada\n".encode())
        with place.start("import", "-", "--json", stdin=pipe) as command:
            until("a copy", lambda: copies(place), command.shown)
            command.kill()
    finally:
        os.close(writer)
    ended = place.run("resume")
    assert "standard input" in ended.err
    assert "Import it again" in ended.err
    assert place.marketo.people(mark) == []
    assert copies(place) == []


def test_lines_of_old_macs(place: Place, mark: str) -> None:
    people = [{**one, "firstName": "Plain"} for one in leads.people(mark, 300)]
    rows = leads.write(place.directory / "leads.csv", people, newline="\r")
    rows = [leads.Row(row.source, row.row, row.row + 1, row.cells) for row in rows]
    summary = leads.assert_complete(
        place.run("import", "leads.csv", "--out", "report"), place.directory / "report", rows
    )
    leads.assert_delivered(place.marketo, mark, rows)
    assert any("carriage returns" in finding["message"] for finding in summary["findings"])


def test_killed_and_resumed_without_the_file(place: Place, mark: str) -> None:
    rows = leads.write(place.directory / "leads.csv", western(mark, 1000))
    rewrite(place, "cp1252")
    place.marketo.add(SLOW)
    with place.start("import", "leads.csv", "--out", "report", "--json") as command:
        wait_for_batches(command, place, 2)
        command.kill()
    (copy,) = copies(place)
    assert copy.stat().st_mode & 0o777 == 0o600
    (place.directory / "leads.csv").unlink()

    ended = place.run("resume")

    leads.assert_complete(ended, place.directory / "report", rows)
    leads.assert_delivered(place.marketo, mark, rows)
    assert copies(place) == []


def test_what_is_refused_leaves_no_copy(place: Place, mark: str) -> None:
    place.write("leads.csv", "email,no such field\nzoë@x.com,Zoë\n".encode("cp1252"))
    ended = place.run("import", "leads.csv")
    assert (ended.code, "no such field" in ended.err) == (4, True)
    ended = place.run("import", "leads.csv", "--encoding", "klingon")
    assert (ended.code, "'klingon'" in ended.err) == (2, True)
    assert copies(place) == []


def test_a_plan_leaves_no_copy_and_sweeps_what_others_left(place: Place, mark: str) -> None:
    leads.write(place.directory / "leads.csv", western(mark, 100))
    rewrite(place, "cp1252")
    left = place.state / "scratch" / "0123456789abcdef"
    left.mkdir(parents=True)
    (left / "0.utf8").write_text("of a process that was killed")
    ended = place.run("plan", "leads.csv", "--offline")
    assert (ended.code, "which is a guess" in ended.out) == (0, True)
    assert copies(place) == []


def test_check_says_what_an_import_would_read(place: Place, mark: str) -> None:
    twice = "Müller".encode().decode("latin-1")
    place.write("leads.csv", f"sep=;\r\nemail;firstName\r\na@{mark};Zoë €\r\nb@{mark};{twice}\r\n".encode())
    creates = len(place.marketo.creates())

    ended = place.run("check", "leads.csv")

    assert ended.code == 0, ended.err
    for words in ("leads.csv: 2 rows, ", "ssv, utf-8", "email, firstName", "as Marketo has them", "leads by email"):
        assert words in ended.out
    for words in ("4 beyond ASCII", "Latin", "symbols", "ë", "from line 4 on, 1 place(s) look as if"):
        assert words in ended.out
    assert "Next: orchestrator import leads.csv" in ended.err
    found = json.loads(place.run("check", "leads.csv", "--offline", "--json").out)
    assert (found["rows"], found["compared"], found["key_columns"]) == (2, False, ["email"])
    assert found["inventory"]["characters"] == 4
    plan = json.loads(place.run("plan", "leads.csv", "--offline", "--json").out)
    assert plan["inventory"] == found["inventory"]
    assert len(place.marketo.creates()) == creates
    assert copies(place) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"email,fristName\na@x.com,Ada\n", "fristName"),
        (b"firstName\nAda\n", "no column 'email'"),
        (b'email\n"a@x.com\n', "never closed"),
        (b"", "empty"),
    ],
)
def test_check_refuses_what_an_import_would(place: Place, content: bytes, words: str) -> None:
    place.write("leads.csv", content)
    ended = place.run("check", "leads.csv")
    assert (ended.code, words in ended.err, ended.out) == (4, True, "")
