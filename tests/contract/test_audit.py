"""``journal check`` finds what contradicts itself, on both databases, and nothing in a journal that is as it should be."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys

import pytest

from orchestrator.auditing import audit
from orchestrator.journal.changes import ChunkChanged, ChunkParted, JobChanged
from orchestrator.model import Home, JobState, Phase
from tests import postgres
from tests.contract.journal_kit import BACKENDS, HOST, ROWS, halves, in_loop, make_job, opened, planned

HERE = Home(id="0123456789abcdef", host="here", directory="/state")

DAMAGE = {
    "overlap": "UPDATE chunks SET first_row = 1, start_byte = 7 WHERE first_row = 11 AND depth = 0",
    "gap": "UPDATE chunks SET first_row = first_row + 1 WHERE first_row = 21",
    "rows_differ": "UPDATE sources SET rows = rows + 1",
    "parts_differ": "UPDATE chunks SET rows = rows + 1 WHERE phase = 'split'",
    "counts_differ": "UPDATE chunks SET accepted = accepted - 1 WHERE phase = 'done' AND first_row = 11",
    "no_batch": "UPDATE chunks SET phase = 'submitted', accepted = 0 WHERE first_row = 11",
    "unfinished": "UPDATE chunks SET phase = 'ready', accepted = 0 WHERE first_row = 11",
}


@pytest.fixture(params=BACKENDS)
def url(request, tmp_path):
    """The URL of a journal that does not exist yet."""
    return BACKENDS[request.param](tmp_path)


async def filled(url: str) -> None:
    """Leave a job that is complete, with a chunk in two parts."""
    async with opened(url) as journal:
        lease = await journal.take_over(HOST)
        job = make_job(home=HERE)
        first, *_ = await planned(journal, lease, job)
        await journal.write(lease, [ChunkParted(chunk_id=first.id, parts=halves(first.span))])
        leaves = [chunk for chunk in await journal.chunks(job.id) if chunk.phase is Phase.READY]
        await journal.write(
            lease,
            [
                ChunkChanged(chunk_id=each.id, values={"phase": Phase.DONE, "accepted": each.span.rows})
                for each in leaves
            ]
            + [JobChanged(job_id=job.id, values={"state": JobState.COMPLETE, "exit_code": 0})],
        )


def damage(url: str, statement: str) -> None:
    if not url.startswith("sqlite"):
        postgres.run(statement, postgres.schema_of(url))
        return
    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    with connection:
        connection.execute(statement)
    connection.close()


@in_loop
async def test_what_is_as_it_should_be(url, tmp_path):
    await filled(url)
    async with opened(url) as journal:
        assert await audit(journal, tmp_path / "files", HERE) == (1, [])


@pytest.mark.parametrize("kind", DAMAGE)
@in_loop
async def test_what_contradicts_itself(url, tmp_path, kind):
    await filled(url)
    damage(url, DAMAGE[kind])
    async with opened(url) as journal:
        _, flaws = await audit(journal, tmp_path / "files", HERE)
    assert kind in {flaw.what for flaw in flaws}
    assert {flaw.where for flaw in flaws} == {"job j-1"}


@in_loop
async def test_files_that_are_gone_left_or_open(url, tmp_path):
    await filled(url)
    damage(url, f"UPDATE chunks SET accepted = 0, failed = {ROWS} WHERE first_row = 11")
    files = tmp_path / "files"
    (files / "jobs" / "nobody").mkdir(parents=True)
    for directory in (files, files / "jobs", files / "jobs" / "nobody"):
        directory.chmod(0o700)
    (files / "home").write_text("x")
    (files / "home").chmod(0o644)
    async with opened(url) as journal:
        _, flaws = await audit(journal, files, HERE)
    assert sorted((flaw.what, flaw.where) for flaw in flaws) == [
        ("open_to_others", str(files / "home")),
        ("part_gone", "job j-1"),
        ("unknown_directory", str(files / "jobs" / "nobody")),
    ]


@pytest.mark.parametrize(("statement", "code"), [(None, 0), ("DELETE FROM sources", 1)])
def test_the_command_says_it_in_words_and_as_json(tmp_path, statement, code):
    state = tmp_path / "state"
    url = f"sqlite:///{state}/journal.db"
    asyncio.run(filled(url))
    if statement:
        damage(url, statement)  # sqlite3 itself does not look at references
    run = [sys.executable, "-m", "orchestrator", "journal", "check"]
    environment = {**os.environ, "ORCHESTRATOR_STATE__DIR": str(state)}
    words = subprocess.run(run, env=environment, capture_output=True, text=True, check=False)
    as_json = subprocess.run([*run, "--json"], env=environment, capture_output=True, text=True, check=False)
    assert (words.returncode, as_json.returncode) == (code, code)
    document = json.loads(as_json.stdout)
    assert document["jobs"] == 1
    kinds = {flaw["what"] for flaw in document["flaws"]}
    assert kinds == ({"refers_to_nothing"} if code else set())
    assert ("refers to a row of sources that is not there" in words.stdout) == bool(code)
    assert "1 job read" in words.stderr
