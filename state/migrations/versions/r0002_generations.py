"""Cases that are made anew after we closed the one before, and elements that a read lacked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the generation of a case, and the table of what one complete read lacked."""
    op.add_column("case_row", sa.Column("generation", sa.Integer(), nullable=False, server_default="1"))
    op.create_table(
        "lacking",
        sa.Column("mapping", sa.String(), primary_key=True),
        sa.Column("scope", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("key", sa.String(), primary_key=True),
        sa.Column("property", sa.String(), primary_key=True),
        sa.Column("run", sa.String(), nullable=False),
        sqlite_with_rowid=False,
    )
