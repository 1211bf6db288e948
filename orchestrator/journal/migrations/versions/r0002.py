"""Where a job lies, what was asked of it while it ran, and which file each of its sources is sent from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns that may be empty; a row that is there already has none of them."""
    op.add_column("jobs", sa.Column("home", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("key", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("wish", sa.String(), nullable=True))
    op.add_column("jobs", sa.Column("wish_reason", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("wish_ms", sa.BigInteger(), nullable=True))
    op.add_column("chunks", sa.Column("resent", sa.BigInteger(), nullable=True))
    op.add_column("sources", sa.Column("content", sa.Text(), nullable=True))
