"""Where a job lies, what was asked of it while it ran, what it is sent from, and who drives a subscription."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns that may be empty, as they are in every row that is there already, and a table."""
    op.add_column("jobs", sa.Column("home", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("key", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("fingerprint", sa.String(), nullable=True))
    op.add_column("jobs", sa.Column("wish", sa.String(), nullable=True))
    op.add_column("jobs", sa.Column("wish_reason", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("wish_ms", sa.BigInteger(), nullable=True))
    op.add_column("chunks", sa.Column("last_batch_id", sa.BigInteger(), nullable=True))
    op.add_column("chunks", sa.Column("marketo_ms", sa.BigInteger(), nullable=True))
    op.add_column("chunks", sa.Column("adopted", sa.Boolean(), nullable=True))
    op.add_column("jobs", sa.Column("pruned_ms", sa.BigInteger(), nullable=True))
    op.create_index("chunks_by_parent", "chunks", ["parent"], unique=False)
    op.add_column("chunks", sa.Column("resent", sa.BigInteger(), nullable=True))
    op.add_column("sources", sa.Column("content", sa.Text(), nullable=True))
    op.add_column("sources", sa.Column("superseded", sa.BigInteger(), nullable=True))
    op.add_column("sources", sa.Column("mapped", sa.Text(), nullable=True))
    op.add_column("sources", sa.Column("original", sa.Text(), nullable=True))
    op.add_column("subscriptions", sa.Column("generation", sa.BigInteger(), nullable=True))
    op.create_table(
        "leases",
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("process", sa.Text(), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.Column("renewed_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["host"], ["subscriptions.host"]),
        sa.PrimaryKeyConstraint("host"),
    )
