"""Who has taken a monitor, what is muted, and the team's notes and runbooks."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "claims",
        sa.Column("monitor_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("user_id", sa.String(40), nullable=False),
        sa.Column("user_name", sa.String(100), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "mutes",
        sa.Column("monitor_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("mute", sa.Text, nullable=False),
    )
    op.create_table(
        "remarks",
        sa.Column("kind", sa.String(10), primary_key=True),
        sa.Column("pattern", sa.String(260), primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("set_by", sa.String(40), nullable=False),
        sa.Column("set_at", sa.BigInteger, nullable=False),
    )
