"""The first tables: notes, digests, monitors."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "notes",
        sa.Column("key", sa.String(100), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table(
        "digests",
        sa.Column("day", sa.String(10), primary_key=True),
        sa.Column("channel", sa.String(40), primary_key=True),
        sa.Column("claimed_at", sa.BigInteger, nullable=False),
        sa.Column("messages", sa.Text, nullable=False),
        sa.Column("sent", sa.Integer, nullable=False),
        sa.Column("ts", sa.String(40)),
        sa.Column("finished_at", sa.BigInteger),
    )
    op.create_table(
        "monitors",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("host", sa.String(253), nullable=False),
        sa.Column("port", sa.Integer, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("next_scan_at", sa.BigInteger, nullable=False),
        sa.Column("scanned_at", sa.BigInteger),
        sa.Column("verdict", sa.String(40)),
        sa.Column("message", sa.Text),
        sa.Column("host_match", sa.Boolean),
        sa.Column("not_before", sa.BigInteger),
        sa.Column("not_after", sa.BigInteger),
        sa.Column("issuer", sa.Text),
        sa.Column("http_code", sa.Integer),
        sa.Column("facts", sa.LargeBinary),
        sqlite_autoincrement=True,
    )
    op.create_index("monitors_host_port", "monitors", ["host", "port"], unique=True)
    op.create_index("monitors_next_scan_at", "monitors", ["next_scan_at"])
    op.create_index("monitors_not_after", "monitors", ["not_after"])
