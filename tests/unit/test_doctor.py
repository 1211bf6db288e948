"""What the doctor makes of what it sees; that it sees it is shown end to end."""

from __future__ import annotations

import asyncio
from email.utils import formatdate

import pytest
from pydantic import SecretStr

from orchestrator import doctor
from orchestrator.config import Subscription
from orchestrator.doctor import FREE_BYTES_MIN, FREE_BYTES_WANTED, Check, Mark
from orchestrator.marketo.options import Identity
from tests.contract.test_client import world

NOW_S = 1_767_225_600


def identity(date: str) -> Identity:
    return Identity(api_user="u", emulator=False, date=date)


@pytest.mark.parametrize(
    ("theirs_s", "mark", "words"),
    [
        (NOW_S, Mark.OK, "agrees"),
        (NOW_S - 29, Mark.OK, "agrees"),
        (NOW_S - 90, Mark.WARN, "90 s ahead of Marketo"),
        (NOW_S + 7_200, Mark.WARN, "7,200 s behind Marketo"),
    ],
)
def test_clocks_are_compared(theirs_s, mark, words):
    check = doctor.skew(identity(formatdate(theirs_s, usegmt=True)), NOW_S)
    assert (check.mark, words in check.message) == (mark, True)


@pytest.mark.parametrize("date", ["", "yesterday", "Thu, 99 Foo 2026"])
def test_an_answer_without_a_time_is_no_fault(date):
    assert doctor.skew(identity(date), NOW_S).mark is Mark.OK


@pytest.mark.parametrize(
    ("free", "mark"),
    [
        (FREE_BYTES_MIN - 1, Mark.FAIL),
        (FREE_BYTES_MIN, Mark.WARN),
        (FREE_BYTES_WANTED - 1, Mark.WARN),
        (FREE_BYTES_WANTED, Mark.OK),
    ],
)
def test_room_on_the_disk(tmp_path, free, mark):
    assert doctor.disk(free, tmp_path).mark is mark


def test_state_directories(tmp_path):
    missing, mine, open_to_all, file = (tmp_path / name for name in ("missing", "mine", "open", "file"))
    mine.mkdir(mode=0o700)
    open_to_all.mkdir()
    open_to_all.chmod(0o750)
    file.touch()
    found = [doctor.state_directory(path) for path in (missing, mine, open_to_all, file / "below")]
    assert [check.mark for check in found] == [Mark.OK, Mark.OK, Mark.WARN, Mark.FAIL]
    assert not missing.exists()


def test_a_secret_that_others_may_read(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("s")
    chosen = Subscription(munchkin_id="123-ABC-456", client_id="c", client_secret_file=secret)
    secret.chmod(0o640)
    check = doctor.credentials(chosen)
    assert (check.mark, check.advice) == (Mark.WARN, f"run chmod 600 {secret}")
    secret.chmod(0o600)
    assert doctor.credentials(chosen).mark is Mark.OK
    assert (
        doctor.credentials(Subscription(munchkin_id="123-ABC-456", client_id="c", client_secret=SecretStr("s"))).mark
        is Mark.OK
    )


@pytest.mark.parametrize(
    ("permissions", "refused"),
    [
        (("read-write lead", "read-write custom object", "read-only assets"), {}),
        (("read-write lead",), {"custom objects": Mark.WARN, "assets": Mark.WARN}),
        (
            ("read-write custom object",),
            {
                "leads": Mark.FAIL,
                "imports": Mark.FAIL,
                "program members": Mark.WARN,
                "partitions": Mark.WARN,
                "assets": Mark.WARN,
            },
        ),
    ],
)
def test_permissions(permissions, refused):
    async def look() -> list[Check]:
        async with world(permissions=permissions) as scenery:
            return [check async for check in doctor._permissions(scenery.client)]

    found = asyncio.run(look())
    assert {check.name: check.mark for check in found if check.mark is not Mark.OK} == refused
    assert all(check.error is not None for check in found if check.mark is Mark.FAIL)
    assert all(check.advice for check in found if check.mark is not Mark.OK)
