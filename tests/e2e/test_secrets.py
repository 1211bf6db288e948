"""The client secret and the access tokens are nowhere but where Marketo wants them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import kit, leads
from tests.e2e.kit import CLIENT_SECRET, Place
from tests.e2e.relay import Exchange, relay

HELD = {"on": "batch", "nth": 1, "do": "delay_start", "ms": 36_000_000}

TOML = """
[subscriptions.emulator]
rest_url = "{url}"
client_id = "{client_id}"
client_secret_file = "secret"
"""


def holders(secrets: list[str], contents: Iterator[tuple[str, bytes]]) -> list[str]:
    """Return the names of the contents that hold one of the secrets."""
    return [name for name, content in contents if any(secret.encode() in content for secret in secrets)]


def files_below(*directories: Path) -> Iterator[tuple[str, bytes]]:
    for directory in directories:
        for path in directory.rglob("*"):
            if path.is_file() and path.name != "secret":
                yield str(path.relative_to(directory)), path.read_bytes()


def tokens_of(exchanges: list[Exchange]) -> list[str]:
    """Return every access token that was handed out."""
    answers = [one.answer.partition(b"\r\n\r\n")[2] for one in exchanges if "/identity/" in one.line]
    return list(dict.fromkeys(json.loads(answer)["access_token"] for answer in answers))


@pytest.mark.parametrize("given", ["environment", "file"])
def test_secrets_are_seen_by_marketo_alone(tmp_path: Path, marketo: kit.Emulator, mark: str, given: str) -> None:
    with relay(marketo.url) as wire:
        place = kit.place(tmp_path / "work", marketo, MARKETO_REST_URL=wire.url, ORCHESTRATOR_LOG__FORMAT="json")
        if given == "file":
            for name in ("MARKETO_REST_URL", "MARKETO_CLIENT_ID", "MARKETO_CLIENT_SECRET"):
                del place.env[name]
            place.write("orchestrator.toml", TOML.format(url=wire.url, client_id=kit.CLIENT_ID))
            place.write("secret", f"{CLIENT_SECRET}\n").chmod(0o600)
        rows = leads.write(place.directory / "leads.csv", leads.people(mark, 500))
        seen = see_through(place, wire.exchanges)
        tokens = tokens_of(wire.exchanges)

        # It is all there: several tokens, each used, and the secret sent for each.
        assert len(tokens) >= 2
        assert {token for token in tokens if any(token.encode() in one.head for one in wire.exchanges)} == set(tokens)
        assert sum(CLIENT_SECRET.encode() in one.request for one in wire.exchanges) >= 2
        # On the wire they are in no address, the secret in forms alone, tokens in the one header alone.
        for one in wire.exchanges:
            assert holders([CLIENT_SECRET], iter([(one.line, one.head)])) == []
            lines = [line for line in one.head.split(b"\r\n") if not line.startswith(b"Authorization: Bearer ")]
            body = one.request.partition(b"\r\n\r\n")[2]
            assert holders(tokens, iter([(one.line, b"\r\n".join(lines)), (one.line, body)])) == []
            assert CLIENT_SECRET.encode() not in body or one.line.startswith("POST /identity/oauth/token ")

    secrets = [CLIENT_SECRET, *tokens]
    assert holders(secrets, files_below(place.files)) == []  # what the command wrote to its outputs
    assert holders(secrets, files_below(place.directory)) == []  # journal, state, reports
    assert holders(secrets, iter(seen.items())) == []
    leads.assert_delivered(marketo, mark, rows)


def see_through(place: Place, exchanges: list[Exchange]) -> dict[str, bytes]:
    """Import with everything that may be said; return what could be seen on the way and is gone at the end."""
    marketo = place.marketo
    marketo.add(HELD, {"on": "create", "nth": 2, "do": "expire_token"})
    seen: dict[str, bytes] = {}
    with place.start("import", "leads.csv", "--out", "report", "--verbose", "--json") as command:
        command.see("chunk.submitted", 2)
        seen["command line"] = Path(f"/proc/{command.process.pid}/cmdline").read_bytes()
        if "MARKETO_CLIENT_SECRET" not in place.env:
            seen["environment"] = Path(f"/proc/{command.process.pid}/environ").read_bytes()
        command.kill()
    seen |= files_below(place.state)
    assert any(name.endswith("-wal") and content for name, content in seen.items())
    marketo.finish()

    # Marketo itself repeats a token in what it says.
    echo = f"internal error of {tokens_of(exchanges)[-1]}"
    marketo.add(
        {"on": "status", "nth": 1, "do": "code", "code": "611", "message": echo},
        {"on": "create", "nth": 1, "do": "code", "code": "606", "message": echo},
        {"on": "batch", "nth": 2, "do": "fail_batch", "message": echo},
    )
    assert place.run("resume", "--verbose").code == 3
    assert place.run("status").code == 0
    assert place.run("status", "--json").code == 0
    assert all(marketo.struck())
    return seen


def test_a_wrong_secret_is_not_repeated_either(place: Place) -> None:
    place.write("leads.csv", "email\nada@example.com\n")
    ended = place.run("import", "leads.csv", "--verbose", env={"MARKETO_CLIENT_SECRET": "abc-of-another-0123456789"})
    assert ended.code == 6
    assert "abc-of-another" not in ended.err
    assert holders(["abc-of-another"], files_below(place.state)) == []


def test_a_secret_on_the_command_line_is_refused_and_not_repeated(place: Place) -> None:
    place.write("leads.csv", "email\nada@example.com\n")
    ended = place.run("import", "leads.csv", "--set", "subscriptions.default.client_secret=abc-of-another-0123456789")
    assert ended.code == 2
    assert "abc-of-another" not in ended.err
