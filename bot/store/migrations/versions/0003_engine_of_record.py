"""Accounts, leases, proxies and history for the embedded API; facts in a table of their own."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_NEW_COLUMNS = (
    sa.Column("account_id", sa.Integer, nullable=False, server_default="1"),
    sa.Column("protocol", sa.String(10), nullable=False, server_default=""),
    sa.Column("proxy_host", sa.String(253)),
    sa.Column("proxy_port", sa.Integer),
    sa.Column("proxy_username", sa.Text),
    sa.Column("proxy_password", sa.Text),
    sa.Column("lease", sa.String(32)),
    sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
    sa.Column("ip", sa.String(45)),
)


def upgrade() -> None:
    """Make the tables; what was scanned so far is each monitor's first piece of history."""
    _make_accounts()
    op.create_table(
        "monitor_facts",
        sa.Column("monitor_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("facts", sa.LargeBinary, nullable=False),
    )
    op.execute(
        "INSERT INTO monitor_facts (monitor_id, facts)"
        " SELECT id, facts FROM monitors WHERE facts IS NOT NULL"
    )
    op.drop_column("monitors", "facts")
    for column in _NEW_COLUMNS:
        op.add_column("monitors", column)
    op.drop_index("monitors_host_port", "monitors")
    key = ["account_id", "host", "port"]
    op.create_index("monitors_account_host_port", "monitors", key, unique=True)
    op.drop_index("monitors_not_after", "monitors")
    op.create_index("monitors_account_not_after", "monitors", ["account_id", "not_after"])
    _make_history()


def _make_accounts() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("key_hash", sa.String(64)),
        sa.Column("most_monitors", sa.Integer),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("revoked_at", sa.BigInteger),
        sqlite_autoincrement=True,
    )
    op.create_index("accounts_key_hash", "accounts", ["key_hash"], unique=True)
    # The first id is 1: the account whose key is the environment's.
    op.execute("INSERT INTO accounts (name, created_at) VALUES ('EMBEDDED_API_KEY', 0)")


def _make_history() -> None:
    op.create_table(
        "monitor_history",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("monitor_id", sa.Integer, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("verdict", sa.String(40), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("host_match", sa.Boolean),
        sa.Column("not_before", sa.BigInteger),
        sa.Column("not_after", sa.BigInteger),
        sa.Column("issuer", sa.Text),
    )
    op.create_index("monitor_history_monitor_id", "monitor_history", ["monitor_id", "id"])
    columns = "verdict, message, host_match, not_before, not_after, issuer"
    op.execute(
        f"INSERT INTO monitor_history (monitor_id, at, {columns})"  # noqa: S608 - our own names
        f" SELECT id, scanned_at, {columns} FROM monitors WHERE scanned_at IS NOT NULL"
    )
