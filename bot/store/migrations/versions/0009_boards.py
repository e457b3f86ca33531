"""The first message of a digest as it stands, and how often it was changed."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the columns."""
    op.add_column("digests", sa.Column("board", sa.Text))
    op.add_column("digests", sa.Column("version", sa.Integer, nullable=False, server_default="0"))
