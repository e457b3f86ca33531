"""Which monitors of the embedded API serve a certificate and its renewals."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Add the column; each monitor's next scan fills it."""
    op.add_column("monitors", sa.Column("lineage", sa.String(32)))
    op.create_index("monitors_account_lineage", "monitors", ["account_id", "lineage", "not_after"])
