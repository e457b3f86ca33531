"""What is known of certificates and hosts beyond a scan's verdict, and keys that only announce."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the columns: each monitor's next scan fills them, and CAs are asked again."""
    for column in (
        sa.Column("key_exchange_at", sa.BigInteger),
        sa.Column("post_quantum", sa.Boolean),
        sa.Column("caa_refuses", sa.Boolean),
        sa.Column("expected", sa.String(80)),
        sa.Column("expected_at", sa.BigInteger),
        sa.Column("expected_until", sa.BigInteger),
        sa.Column("renewal", sa.Text),
        sa.Column("lineage", sa.String(32)),
    ):
        op.add_column("monitors", column)
    op.create_index("monitors_account_lineage", "monitors", ["account_id", "lineage", "not_after"])
    op.add_column("ca_documents", sa.Column("fresh_until", sa.BigInteger))
    op.add_column("accounts", sa.Column("only", sa.String(20)))
    op.add_column("accounts", sa.Column("owner_id", sa.Integer))
