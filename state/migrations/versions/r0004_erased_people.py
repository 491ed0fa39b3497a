"""People who were erased, by keyed marks that do not name them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the table of the marks."""
    op.create_table(
        "erased",
        sa.Column("mark", sa.LargeBinary(), primary_key=True),
        sa.Column("at", sa.Double(), nullable=False),
    )
