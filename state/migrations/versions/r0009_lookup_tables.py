"""Lookup tables that are kept in step: their rows by key, and writes whose outcome is not known."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the two tables."""
    op.create_table(
        "lookup_table",
        sa.Column("tag", sa.String(), primary_key=True),
        sa.Column("doubt_at", sa.Double()),
    )
    op.create_table(
        "lookup_row",
        sa.Column("tag", sa.String(), primary_key=True),
        sa.Column("key", sa.String(), primary_key=True),
        sa.Column("row_id", sa.String(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("missing_count", sa.Integer(), nullable=False),
        sqlite_with_rowid=False,
    )
