"""Whether a host supports X25519MLKEM768, and whether its CAA records refuse its CA."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the columns."""
    op.add_column("monitors", sa.Column("key_exchange_at", sa.BigInteger))
    op.add_column("monitors", sa.Column("post_quantum", sa.Boolean))
    op.add_column("monitors", sa.Column("caa_refuses", sa.Boolean))
