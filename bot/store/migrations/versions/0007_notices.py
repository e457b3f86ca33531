"""What the channel is told between digests, and what was seen when it was last compared."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "standings",
        sa.Column("monitor_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("rank", sa.Integer, nullable=False),
        sa.Column("issuer", sa.Text, nullable=False),
    )
    op.create_table(
        "notices",
        sa.Column("key", sa.String(80), primary_key=True),
        sa.Column("channel", sa.String(40), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("claimed_at", sa.BigInteger),
        sa.Column("ts", sa.String(40)),
    )
