"""Which certificate a claim is about, if only its renewal was due."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Add the column; older claims are about the monitor's state, whatever it was."""
    op.add_column("claims", sa.Column("renews", sa.BigInteger))
