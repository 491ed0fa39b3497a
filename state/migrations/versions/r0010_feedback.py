"""What a coach wrote in CommCare and Moodle has as feedback: as digests, never as text."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the table of the feedback that goes back to Moodle."""
    op.create_table(
        "feedback",
        sa.Column("mapping", sa.String(), primary_key=True),
        sa.Column("scope", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("key", sa.String(), primary_key=True),
        sa.Column("property", sa.String(), primary_key=True),
        sa.Column("case_id", sa.String(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("told", sa.LargeBinary(), nullable=False),
        sa.Column("sent", sa.LargeBinary(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("first_at", sa.Double(), nullable=False),
        sa.Column("last_at", sa.Double(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sqlite_with_rowid=False,
    )
