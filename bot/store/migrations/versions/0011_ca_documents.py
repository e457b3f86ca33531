"""What certificate authorities publish, fetched once for all monitors and processes."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "ca_documents",
        sa.Column("url", sa.String(1000), primary_key=True),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("etag", sa.String(200), nullable=False),
        sa.Column("last_modified", sa.String(100), nullable=False),
        sa.Column("fault", sa.String(300), nullable=False),
        sa.Column("fetched_at", sa.BigInteger),
        sa.Column("tried_at", sa.BigInteger),
        sa.Column("asked_at", sa.BigInteger),
    )
