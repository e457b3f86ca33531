"""Which certificate a claim is about, if only its renewal was due."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Add the column; it is empty for older claims, which end once the monitor is fine."""
    op.add_column("claims", sa.Column("renews", sa.BigInteger))
