"""Which monitors were last seen without the certificate that was issued for them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Add the column."""
    op.add_column(
        "standings", sa.Column("late", sa.Boolean, nullable=False, server_default=sa.false())
    )
