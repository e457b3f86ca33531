"""Monitor IDs that don't fit into 32 bits."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Widen the columns; SQLite's integers have 64 bits anyway."""
    if op.get_bind().dialect.name == "postgresql":
        for table in ("claims", "mutes", "standings"):
            op.alter_column(table, "monitor_id", type_=sa.BigInteger)
