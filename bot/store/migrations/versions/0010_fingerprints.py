"""Which certificate each monitor of the embedded API had at its last scan."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the column; each monitor's next scan fills it."""
    op.add_column("monitors", sa.Column("fingerprint", sa.String(64)))
