"""What changed on which monitor, in order; what each notice is about; when messages were edited."""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add the tables of changes and edits, and what is known of notices and digests."""
    _add_changes()
    _add_to_notices()
    _add_edits()


def _add_changes() -> None:
    op.create_table(
        "monitor_changes",
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("account_id", sa.Integer, nullable=False),
        sa.Column("monitor_id", sa.Integer, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("names_added", sa.Text),
        sa.Column("names_removed", sa.Text),
    )
    op.create_index("monitor_changes_account", "monitor_changes", ["account_id", "number"])
    op.create_index("monitor_changes_at", "monitor_changes", ["at"])
    feed = op.create_table(
        "change_feed",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("name", sa.String(16), nullable=False),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.Column("forgotten", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(feed, [{"id": 1, "name": secrets.token_hex(8), "last": 0, "forgotten": 0}])


def _add_to_notices() -> None:
    for column in (
        sa.Column("at", sa.BigInteger),
        sa.Column("kind", sa.String(10), nullable=False, server_default=""),
        sa.Column("about", sa.Text, nullable=False, server_default=""),
        sa.Column("members", sa.Text, nullable=False, server_default="[]"),
        sa.Column("thread", sa.String(80)),
        sa.Column("board", sa.Text),
        sa.Column("version", sa.Integer, nullable=False, server_default="0"),
        sa.Column("drawn", sa.Integer, nullable=False, server_default="0"),
        sa.Column("drawn_at", sa.BigInteger),
        sa.Column("fixed", sa.Boolean, nullable=False, server_default=sa.false()),
    ):
        op.add_column("notices", column)
    op.execute("UPDATE notices SET at = claimed_at")
    late = sa.Column("late", sa.Boolean, nullable=False, server_default=sa.false())
    op.add_column("standings", late)


def _add_edits() -> None:
    """A row for each edit that a minute has room for; all digests show their newest state."""
    edits = op.create_table(
        "edits",
        sa.Column("slot", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(edits, [{"slot": slot, "at": 0} for slot in range(40)])
    op.add_column("digests", sa.Column("drawn", sa.Integer, nullable=False, server_default="0"))
    op.add_column("digests", sa.Column("drawn_at", sa.BigInteger))
    op.execute("UPDATE digests SET drawn = version")
