"""When CAs ask for a renewal, and how long what they publish counts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Add the columns; what was fetched before is fetched again."""
    op.add_column("monitors", sa.Column("renewal", sa.Text))
    op.add_column("ca_documents", sa.Column("fresh_until", sa.BigInteger))
