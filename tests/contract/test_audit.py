"""``journal check`` finds what contradicts itself, on both databases, and nothing in a journal that is as it should be."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import sqlite3
import subprocess
import sys

import pytest

from orchestrator.auditing import audit
from orchestrator.errors import JournalCorrupt, JournalVersionUnknown
from orchestrator.journal import legible
from orchestrator.journal.changes import ChunkChanged, ChunkParted, FindingAdded, JobChanged
from orchestrator.model import BatchId, Finding, Home, JobId, JobState, Phase
from tests import postgres
from tests.contract.journal_kit import BACKENDS, HOST, NOW_MS, ROWS, halves, in_loop, make_job, opened, planned

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
        connection.executescript(statement)
    connection.close()


@in_loop
async def test_what_is_as_it_should_be(url, tmp_path):
    await filled(url)
    async with opened(url) as journal:
        assert await audit(journal, tmp_path / "files", HERE) == (1, [])


@in_loop
async def test_a_batch_whose_results_are_being_fetched_is_as_it_should_be(url, tmp_path):
    async with opened(url) as journal:
        lease = await journal.take_over(HOST)
        chunk, *_ = await planned(journal, lease, make_job(home=HERE))
        counted = {"phase": Phase.COLLECTING, "batch_id": BatchId(7), "accepted": ROWS - 3, "failed": 2, "unknown": 1}
        await journal.write(lease, [ChunkChanged(chunk_id=chunk.id, values=counted)])
        assert await audit(journal, tmp_path / "files", HERE) == (1, [])
        await journal.write(lease, [ChunkChanged(chunk_id=chunk.id, values={"unknown": 0})])
        assert {flaw.what for flaw in (await audit(journal, tmp_path / "files", HERE))[1]} == {"counts_differ"}


@in_loop
async def test_a_second_stamp_of_a_version_is_found(url, tmp_path):
    await filled(url)
    damage(url, "INSERT INTO alembic_version VALUES ('0001')")
    async with opened(url) as journal:
        _, flaws = await audit(journal, tmp_path / "files", HERE)
    assert [(flaw.what, flaw.where) for flaw in flaws] == [("version_unclear", "alembic_version")]


@pytest.mark.parametrize("kind", DAMAGE)
@in_loop
async def test_what_contradicts_itself(url, tmp_path, kind):
    await filled(url)
    damage(url, DAMAGE[kind])
    async with opened(url) as journal:
        _, flaws = await audit(journal, tmp_path / "files", HERE)
    assert kind in {flaw.what for flaw in flaws}
    assert {flaw.where for flaw in flaws} == {"job j-1"}


def _lease(field: str) -> str:
    process = f'{{{field}"host":"h","boot":"","pid":1,"started":1,"home":null}}'
    if '"pid":"x"' in field:
        process = process.replace('"pid":1,', "")
    return f"INSERT INTO leases VALUES ('{HOST}', 1, '{process}', 1, 1)"


ILLEGIBLE = {
    "an enum's word": ("UPDATE chunks SET phase = 'rfady' WHERE first_row = 11", "job j-1, chunks", "row id 2"),
    "a status": ("UPDATE chunks SET status = 'Queuef' WHERE first_row = 11", "job j-1, chunks", "row id 2"),
    "a target": ("""UPDATE jobs SET target = '{"object":"lfads"}'""", "job j-1, jobs", "row id j-1"),
    "an option": ("""UPDATE jobs SET options = '{"on_unknown":"prpbe"}'""", "job j-1, jobs", "row id j-1"),
    "a label": ("UPDATE jobs SET labels = '7'", "job j-1, jobs", "row id j-1"),
    "JSON of an event": ("UPDATE events SET data = '{' WHERE seq = 1", "job j-1, events", "row seq 1"),
    "a name in an event": ("UPDATE events SET data = '{\"x\":1}' WHERE seq = 1", "job j-1, events", "row seq 1"),
    "an event's name": ("UPDATE events SET name = 'job.accepuee' WHERE seq = 1", "job j-1, events", "row seq 1"),
    "a source": ("UPDATE sources SET columns = '{]'", "job j-1, sources", "row job_id j-1, position 0"),
    "a field of a lease": (_lease('"orbit":1,'), "leases", f"row host {HOST}: the lease of {HOST}: "),
    "a value of a lease": (_lease('"pid":"x",'), "leases", "a value of its process is of another kind"),
}
_OF_ANOTHER_KIND = (
    ("chunks", "accepted", "'x'"),
    ("chunks", "first_row", "'x'"),
    ("chunks", "rows", "'x'"),
    ("chunks", "start_byte", "'abc'"),
    ("chunks", "batch_id", "'abc'"),
    ("chunks", "batch_id", "1.5"),
    ("chunks", "last_batch_id", "x'00'"),
    ("chunks", "parent", "'abc'"),
    ("chunks", "status", "x'00'"),
    ("sources", "rows", "'x'"),
    ("sources", "header", "'x'"),
    ("jobs", "created_ms", "'x'"),
    ("jobs", "finished_ms", "1.5"),
    ("findings", "batch_id", "'x'"),
    ("findings", "kind", "x'00'"),
    ("events", "ts_ms", "'x'"),
    ("subscriptions", "epoch", "'x'"),
    ("subscriptions", "generation", "0.5"),
)
_SUMMED = {("chunks", column) for column in ("accepted", "rows", "start_byte")}
ILLEGIBLE_ON_SQLITE = {
    "no UTF-8": (
        "UPDATE jobs SET subscription = CAST(x'ff' AS TEXT)",
        "job j-1, jobs",
        "column subscription is no UTF-8",
    ),
    "no UTF-8 in an id": ("UPDATE jobs SET id = CAST(x'ff' AS TEXT)", "jobs", "ids of 1 rows cannot be read"),
    "no UTF-8 in JSON": ("UPDATE findings SET message = CAST(x'ff' AS TEXT)", "job j-1, findings", "row id 1"),
    "no UTF-8 in a host": ("UPDATE subscriptions SET host = CAST(x'ff' AS TEXT)", "subscriptions", "row 1 by its key"),
    "a column": ("ALTER TABLE chunks RENAME COLUMN polls TO pplls", "job j-1, chunks", "no such column: chunks.polls"),
    "a table": ("ALTER TABLE waits RENAME TO vaits", "job j-1, waits", "no such table: waits"),
    "a word in a lease": (f"{_lease('')}; UPDATE leases SET since_ms = 'x'", "leases", "since_ms is no whole number"),
}


@pytest.mark.parametrize("kind", [*ILLEGIBLE, *ILLEGIBLE_ON_SQLITE])
@in_loop
async def test_a_row_that_cannot_be_read_is_named_and_hides_no_other(url, tmp_path, kind):
    if kind in ILLEGIBLE_ON_SQLITE and not url.startswith("sqlite"):
        pytest.skip("PostgreSQL itself refuses it")
    statement, where, message = {**ILLEGIBLE, **ILLEGIBLE_ON_SQLITE}[kind]
    await filled(url)
    async with opened(url) as journal:
        await journal.write_unfenced([FindingAdded(job_id=JobId("j-1"), finding=Finding(kind="k", message="m"))])
    damage(url, statement)
    async with opened(url) as journal:
        other = make_job("j-2", home=HERE, created_ms=NOW_MS + 1)
        if "table" not in kind and "column" not in kind:
            await journal.add_job(other)
            damage(url, "UPDATE jobs SET state = 'dreaming' WHERE id = 'j-2'")
        _, flaws = await audit(journal, tmp_path / "files", HERE)
        found = {flaw.where: flaw.message for flaw in flaws if flaw.what == "illegible"}
        assert message in found[where]
        if "table" not in kind and "column" not in kind:
            assert "row id j-2" in found["job j-2, jobs"]
            with pytest.raises(JournalCorrupt, match="Keep the"):
                await journal.jobs()


@in_loop
async def test_a_value_of_another_kind_is_named_and_never_counted(tmp_path):
    url = BACKENDS["sqlite"](tmp_path)
    await filled(url)
    async with opened(url) as journal:
        await journal.write_unfenced([FindingAdded(job_id=JobId("j-1"), finding=Finding(kind="k", message="m"))])
    whole = (tmp_path / "state" / "journal.db").read_bytes()
    for number, (table, column, value) in enumerate(_OF_ANOTHER_KIND):
        path = tmp_path / f"{number}.db"
        path.write_bytes(whole)
        where = " WHERE first_row = 11 AND depth = 0" if table == "chunks" else ""
        damage(f"sqlite:///{path}", f"UPDATE {table} SET {column} = {value}{where}")
        async with opened(f"sqlite:///{path}") as journal:
            _, flaws = await audit(journal, tmp_path / "files", HERE)
            assert f"{column} is no" in {flaw.where.split()[-1]: flaw.message for flaw in flaws}[table], (table, column)
            if (table, column) in _SUMMED:
                with pytest.raises(JournalCorrupt, match="is no whole number"):
                    await journal.progress(JobId("j-1"))
            if table == "subscriptions":
                with pytest.raises(JournalCorrupt, match="is no whole number"):
                    await journal.take_over(HOST)


@in_loop
async def test_a_lease_that_is_not_understood_is_told_and_can_be_passed_over():
    url = postgres.new_schema()
    await filled(url)
    async with opened(url) as holder, opened(url) as other:
        await holder.take_over(HOST)
        damage(url, """UPDATE leases SET process = '{"orbit":1,' || substr(process, 2)""")
        for ask in (other.owner, other.take_over):
            with pytest.raises(JournalCorrupt, match=f"the lease of {HOST}"):
                await ask(HOST)
        damage(url, "UPDATE alembic_version SET version_num = '9999'")
        with pytest.raises(JournalVersionUnknown, match=f"the lease of {HOST}"):
            await other.take_over(HOST)
        await other.take_over(HOST, force=True)


@in_loop
async def test_a_connection_that_is_cut_while_a_damaged_row_is_looked_for_hides_nothing(monkeypatch):
    url = postgres.new_schema()
    await filled(url)
    damage(url, "UPDATE chunks SET message = '{' WHERE id = 1")
    cuts = []

    def cut(function, *arguments):
        if len(cuts) < 2 and function.__name__ not in cuts:
            cuts.append(function.__name__)
            postgres.run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'orchestrator'"
            )
        return function(*arguments)

    for name in ("_row", "_name"):
        monkeypatch.setattr(legible, name, functools.partial(cut, getattr(legible, name)))
    async with opened(url) as journal:
        (flaw,) = await journal.flaws(JobId("j-1"))
    assert flaw.message == "row id 1: a stored value is no JSON"
    assert cuts == ["_row", "_name"]


@in_loop
async def test_files_that_are_gone_left_or_open(url, tmp_path):
    await filled(url)
    damage(url, f"UPDATE chunks SET accepted = 0, failed = {ROWS} WHERE first_row = 11")
    files = tmp_path / "files"
    (files / "jobs" / "nobody").mkdir(parents=True)
    files.chmod(0o750)
    for directory in (files / "jobs", files / "jobs" / "nobody"):
        directory.chmod(0o700)
    (files / "home").write_text("x")
    (files / "home").chmod(0o644)
    async with opened(url) as journal:
        _, flaws = await audit(journal, files, HERE)
    assert sorted((flaw.what, flaw.where) for flaw in flaws) == [
        ("open_to_others", str(files)),
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
