"""What channels are sent by themselves: digests, and notices between them."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the tables, and what `standings` must know to tell of renewals and removals."""
    op.create_table(
        "subscriptions",
        sa.Column("kind", sa.String(10), primary_key=True),
        sa.Column("channel", sa.String(40), primary_key=True),
        sa.Column("subscription", sa.Text, nullable=False),
    )
    op.create_table(
        "small_changes",
        sa.Column("key", sa.String(80), primary_key=True),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("target", sa.String(260), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_index("small_changes_at", "small_changes", ["at"])
    op.add_column("standings", sa.Column("not_after", sa.BigInteger))
    op.add_column(
        "standings", sa.Column("target", sa.String(260), nullable=False, server_default="")
    )
    op.add_column(
        "standings", sa.Column("missing", sa.Boolean, nullable=False, server_default=sa.false())
    )
