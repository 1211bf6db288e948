"""A file brought up by the migrations is a file made new, and only the former needs Alembic."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

from sqlalchemy import create_engine

from orchestrator.journal import opening
from orchestrator.journal.migrations.upgrade import head, upgrade
from orchestrator.journal.schema import REVISION

ROOT = Path(__file__).parents[3]


def tables(path: Path) -> list[tuple[str, ...]]:
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name").fetchall()
    found += connection.execute("SELECT version_num FROM alembic_version").fetchall()
    connection.close()
    return found


def test_migrated_is_created(tmp_path):
    created, migrated = tmp_path / "created.db", tmp_path / "migrated.db"
    for path, make in ((created, opening.create), (migrated, lambda connection: upgrade(migrated, connection))):
        engine = create_engine(f"sqlite:///{path}")
        with engine.begin() as connection:
            make(connection)
        engine.dispose()
    assert tables(migrated) == tables(created)
    assert len(tables(created)) > 10


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
