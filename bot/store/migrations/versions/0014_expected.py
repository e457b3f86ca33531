"""Certificates that were issued but are not served yet, and keys that may only announce them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Add the columns."""
    op.add_column("monitors", sa.Column("expected", sa.String(80)))
    op.add_column("monitors", sa.Column("expected_at", sa.BigInteger))
    op.add_column("monitors", sa.Column("expected_until", sa.BigInteger))
    op.add_column("accounts", sa.Column("only", sa.String(20)))
    op.add_column("accounts", sa.Column("owner_id", sa.Integer))
