"""Where Alembic starts: on the connection, and inside the transaction, that state/schema.py hands over."""

from __future__ import annotations

from alembic import context

from state.schema import VERSION_TABLE
from state.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,
)
context.run_migrations()
