"""Rows that an earlier version wrote."""

from __future__ import annotations

from orchestrator.journal.rows import pack_source, unpack_source
from orchestrator.model import JobId
from tests.contract.journal_kit import make_source


def test_a_source_written_before_there_were_copies_was_sent_itself():
    source = make_source()
    row = pack_source(JobId("job"), source)
    assert unpack_source(row) == source
    assert unpack_source({**row, "content": None}).content == source.absolute
