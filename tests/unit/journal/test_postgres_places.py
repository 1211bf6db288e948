"""Where a journal on PostgreSQL is said to be: what a URL may have, and what kinds of databases can hold one."""

from __future__ import annotations

import pytest

from orchestrator.errors import JournalUnusable
from orchestrator.journal.changes import FindingAdded
from orchestrator.model import Finding
from tests import postgres
from tests.contract.journal_kit import HOST, in_loop, make_job, opened, planned


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("foo=hunter2", "an option that PostgreSQL does not know: 'foo'"),
        ("autocommit=1", "an option that PostgreSQL does not know: 'autocommit'"),
        ("connect_timeout=abc", "connect_timeout in its URL must be a number"),
        ("keepalives_idle=abc", "keepalives_idle in its URL must be a number"),
        ("sslmode=prefer&sslmode=disable", "the option sslmode twice"),
        ("port=abc", "the hosts in its URL cannot be read .*non-integer port"),
        ("host=127.0.0.1&port=1", "the hosts in its URL cannot be read .*multihost"),
        ("sslmode=bogus", "an option that cannot be.*sslmode"),
        ("service=nobody", "an option that cannot be.*nobody"),
        ("options=-cbogus%3D1", "an option that cannot be.*bogus"),
        ("options=-csearch_path%3Dnowhere", "no schema to make tables in"),
    ],
)
@in_loop
async def test_a_url_with_options_that_cannot_be(options, message):
    with pytest.raises(JournalUnusable, match=message) as caught:
        async with opened(f"{postgres.url_of('public').partition('&')[0]}&{options}"):
            pass
    assert "hunter2" not in str(caught.value)


@in_loop
async def test_several_servers_of_which_one_is_there():
    several = postgres.new_schema().replace("?host=", "?host=/nowhere&host=")
    async with opened(several) as journal:
        assert await journal.jobs() == []


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
@in_loop
async def test_a_database_of_another_encoding_holds_every_text(encoding):
    finding = Finding(kind="k", message="\u0141\xf3d\u017a \u674e \U0001f600 \ud800")
    for options in ("", "&client_encoding=latin1"):
        async with opened(postgres.new_database(encoding) + options) as journal:
            lease = await journal.take_over(HOST)
            job = make_job(name="\u0141\xf3d\u017a \u674e", paths=("/data/\xfc \udcff.csv",))
            await planned(journal, lease, job)
            await journal.write(lease, [FindingAdded(job_id=job.id, finding=finding)])
            known = await journal.job(job.id)
            assert (known.name, known.paths) == (job.name, job.paths)
            assert await journal.findings(job.id) == (finding,)
            assert await journal.flaws(job.id) == []


@in_loop
async def test_a_commit_is_on_the_servers_disk_whatever_the_database_says():
    for setting, kept in (("off", "on"), ("remote_apply", "remote_apply")):
        async with opened(postgres.new_database(settings=f"synchronous_commit = {setting}")) as journal:
            asked = await journal._read(
                lambda connection: connection.exec_driver_sql("SHOW synchronous_commit").scalar()
            )
            assert asked == kept
