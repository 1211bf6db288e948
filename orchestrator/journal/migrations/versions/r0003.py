"""How large an upload a subscription takes, and how long its batches took: learned, and kept for the next run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns that may be empty, as they are in every row that is there already."""
    op.add_column("chunks", sa.Column("too_large", sa.Boolean(), nullable=True))
    op.add_column("chunks", sa.Column("took_ms", sa.BigInteger(), nullable=True))
    op.add_column("subscriptions", sa.Column("upload_bytes_max", sa.BigInteger(), nullable=True))
    op.add_column("subscriptions", sa.Column("upload_learned_ms", sa.BigInteger(), nullable=True))
