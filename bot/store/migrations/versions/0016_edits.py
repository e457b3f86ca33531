"""When messages of the bot were edited, counted in one place for all processes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Add a row for each edit that a minute has room for; all digests show their newest state."""
    edits = op.create_table(
        "edits",
        sa.Column("slot", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(edits, [{"slot": slot, "at": 0} for slot in range(40)])
    op.add_column("digests", sa.Column("drawn", sa.Integer, nullable=False, server_default="0"))
    op.add_column("digests", sa.Column("drawn_at", sa.BigInteger))
    op.execute("UPDATE digests SET drawn = version")
