"""What each account has asked for, counted in one place for all processes."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column; nobody has asked for anything yet."""
    op.add_column("accounts", sa.Column("full_at", sa.BigInteger))
