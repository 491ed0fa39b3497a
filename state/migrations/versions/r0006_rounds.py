"""Runs that several machines share: the round, its shards, and which course is in which of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the tables of a round."""
    op.create_table(
        "round",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("handover", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "shard",
        sa.Column("round", sa.String(), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.LargeBinary()),
    )
    op.create_table(
        "shard_course",
        sa.Column("round", sa.String(), primary_key=True),
        sa.Column("course_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("number", sa.Integer(), nullable=False),
    )
