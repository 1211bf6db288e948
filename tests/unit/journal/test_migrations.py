"""A file brought up by the migrations is a file made new, and only the former needs Alembic."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import Connection, create_engine, inspect, select

from orchestrator.journal import reading, tables
from orchestrator.journal.migrations.upgrade import configuration, head, upgrade
from orchestrator.journal.schema import REVISION, versions
from tests.contract.journal_kit import BACKENDS, make_job

ROOT = Path(__file__).parents[3]


@pytest.fixture(params=BACKENDS)
def engines(request, tmp_path):
    """Two empty databases."""
    made = []
    for name in "ab":
        (tmp_path / name / "state").mkdir(parents=True)
        made.append(create_engine(BACKENDS[request.param](tmp_path / name)))
    yield made
    for engine in made:
        engine.dispose()


def shape(connection: Connection) -> dict[str, Any]:
    """Return everything that the database knows of its tables; the order of columns is no part of it."""
    found = inspect(connection)
    return {
        table: {
            "columns": sorted(
                (column["name"], str(column["type"]), column["nullable"], column.get("autoincrement"))
                for column in found.get_columns(table)
            ),
            "key": found.get_pk_constraint(table)["constrained_columns"],
            "references": sorted(
                (key["constrained_columns"], key["referred_table"], key["referred_columns"])
                for key in found.get_foreign_keys(table)
            ),
            "unique": sorted(key["column_names"] for key in found.get_unique_constraints(table)),
            "indexes": sorted((index["name"], index["column_names"]) for index in found.get_indexes(table)),
        }
        for table in found.get_table_names()
    }


def test_migrated_is_created(engines, tmp_path):
    shapes = []
    for engine, make in zip(engines, (tables.create, lambda opened: upgrade(tmp_path, opened)), strict=True):
        with engine.begin() as connection:
            make(connection)
            shapes.append(shape(connection))
            assert connection.execute(select(versions.c.version_num)).scalar_one() == REVISION
    assert shapes[1] == shapes[0]
    assert len(shapes[0]) > 8


def test_what_the_first_version_wrote_is_kept(engines, tmp_path):
    with engines[0].begin() as connection:
        config = configuration()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.exec_driver_sql(
            "INSERT INTO jobs VALUES ('j-1', '123-abc-456.mktorest.com', '\"default\"', NULL, FALSE, NULL, '[]', NULL,"
            ' \'{"object":"leads"}\', \'["leads.csv"]\','
            " '[\"/data/leads.csv\"]', '{}', '\"/data/out\"', '[]', 'planning', 1700000000000, NULL, NULL, NULL, '[]')"
        )
        upgrade(tmp_path, connection)
        assert reading.job(connection, "j-1") == make_job()


def test_the_stamp_is_the_newest_migration():
    assert head() == REVISION


def test_alembic_is_imported_only_to_migrate(tmp_path):
    script = """
import asyncio, sys
from orchestrator.journal.journal import Journal

async def main():
    for _ in range(2):  # new, then up to date
        async with Journal.open(sys.argv[1], now_ms=lambda: 0) as journal:
            await journal.jobs()
            await journal.take_over("host")

asyncio.run(main())
print([name for name in sys.modules if name.partition(".")[0] == "alembic"])
"""
    url = f"sqlite:///{tmp_path}/journal.db"
    run = [sys.executable, "-c", script, url]
    answer = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout == "[]\n"
