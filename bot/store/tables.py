"""The database's tables, and how times are stored in them.

The bot and the embedded API share one database, but no table. Times are stored as whole seconds
since 1970 (UTC), so that SQLite and PostgreSQL compare and subtract them alike.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    false,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator


class Milliseconds(FunctionElement[int]):
    """The time by the database's clock, the same for all processes, in ms since 1970."""

    type = BigInteger()
    inherit_cache = True


@compiles(Milliseconds, "sqlite")
def _on_sqlite(*_: object, **__: object) -> str:
    # From the Julian day of 1970-01-01 (sqlite.org/lang_datefunc.html).
    return "CAST((julianday('now') - 2440587.5) * 86400000 AS BIGINT)"


@compiles(Milliseconds, "postgresql")
def _on_postgresql(*_: object, **__: object) -> str:
    return "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)"


DATABASE_NOW = Milliseconds()


class Instant(TypeDecorator[datetime]):
    """An aware UTC datetime, stored as whole seconds since 1970 (rounded down)."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> int | None:
        """Convert a datetime to seconds. Raises ValueError for a naive one."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a datetime without a zone can't be stored")
        return int(value.timestamp() // 1)

    def process_result_value(self, value: Any | None, _dialect: Dialect) -> datetime | None:
        """Convert seconds to an aware UTC datetime."""
        return None if value is None else datetime.fromtimestamp(value, UTC)


metadata = MetaData()

#: Small facts by name, such as when the bot first started.
notes = Table(
    "notes",
    metadata,
    Column("key", String(100), primary_key=True),
    Column("value", Text, nullable=False),
)

#: One row for each day's digest and channel: the messages, and how many of them are posted. `board`
#: is the current content of the first one (JSON), once a row of it has changed, and `version`
#: counts the changes. Slack shows the version `drawn`, or another one if that is -1; `drawn_at` is
#: when it was last edited, in milliseconds since 1970 by the database's clock.
digests = Table(
    "digests",
    metadata,
    Column("day", String(10), primary_key=True),
    Column("channel", String(40), primary_key=True),
    Column("claimed_at", Instant, nullable=False),
    Column("messages", Text, nullable=False),
    Column("sent", Integer, nullable=False),
    Column("ts", String(40)),
    Column("finished_at", Instant),
    Column("board", Text),
    Column("version", Integer, nullable=False, server_default="0"),
    Column("drawn", Integer, nullable=False, server_default="0"),
    Column("drawn_at", BigInteger),
)

#: When messages were edited, in milliseconds since 1970 by the database's clock. There are as many
#: rows as Slack allows edits per minute.
edits = Table(
    "edits",
    metadata,
    Column("slot", Integer, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
)

#: The hashes (SHA-256) of recently accepted requests for a change, so that replays are refused.
deliveries = Table(
    "deliveries",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("at", Instant, nullable=False),
    Index("deliveries_at", "at"),
)

#: Who has taken a monitor, until it is fixed or released.
claims = Table(
    "claims",
    metadata,
    Column("monitor_id", BigInteger, primary_key=True, autoincrement=False),
    Column("user_id", String(40), nullable=False),
    Column("user_name", String(100), nullable=False),
    Column("at", Instant, nullable=False),
    Column("renews", Instant),
)

#: The mutes (JSON): who muted a monitor until when, and its state at that time.
mutes = Table(
    "mutes",
    metadata,
    Column("monitor_id", BigInteger, primary_key=True, autoincrement=False),
    Column("mute", Text, nullable=False),
)

#: One line about a host (`note`), or a link for a host, a pattern or an issuer (`runbook`).
remarks = Table(
    "remarks",
    metadata,
    Column("kind", String(10), primary_key=True),
    Column("pattern", String(260), primary_key=True),
    Column("text", Text, nullable=False),
    Column("set_by", String(40), nullable=False),
    Column("set_at", Instant, nullable=False),
)

#: The state of each monitor when the lists were last compared.
standings = Table(
    "standings",
    metadata,
    Column("monitor_id", BigInteger, primary_key=True, autoincrement=False),
    Column("rank", Integer, nullable=False),
    Column("issuer", Text, nullable=False),
    Column("not_after", Instant),
    Column("target", String(260), nullable=False, server_default=""),
    Column("missing", Boolean, nullable=False, server_default=false()),
    Column("late", Boolean, nullable=False, server_default=false()),
)

#: Changes that need no action; the next digest counts them.
small_changes = Table(
    "small_changes",
    metadata,
    Column("key", String(80), primary_key=True),
    Column("kind", String(10), nullable=False),
    Column("target", String(260), nullable=False),
    Column("at", Instant, nullable=False),
    Index("small_changes_at", "at"),
)

#: The notices; `ts` is set once Slack has one. `kind` says what happened to its `members` (JSON,
#: IDs), `about` names the certificates, and `thread` is the key of the notice that it follows up.
#: `board` and `version` are as in `digests`; `fixed` is set while none of its rows needs attention.
notices = Table(
    "notices",
    metadata,
    Column("key", String(80), primary_key=True),
    Column("channel", String(40), nullable=False),
    Column("message", Text, nullable=False),
    Column("claimed_at", Instant),
    Column("ts", String(40)),
    Column("at", Instant),
    Column("kind", String(10), nullable=False, server_default=""),
    Column("about", Text, nullable=False, server_default=""),
    Column("members", Text, nullable=False, server_default="[]"),
    Column("thread", String(80)),
    Column("board", Text),
    Column("version", Integer, nullable=False, server_default="0"),
    Column("drawn", Integer, nullable=False, server_default="0"),
    Column("drawn_at", BigInteger),
    Column("fixed", Boolean, nullable=False, server_default=false()),
)

#: What channels have subscribed to (JSON): digests and notices.
subscriptions = Table(
    "subscriptions",
    metadata,
    Column("kind", String(10), primary_key=True),
    Column("channel", String(40), primary_key=True),
    Column("subscription", Text, nullable=False),
)

#: The team's own rules for when renewal is due: for a host, or a pattern with `*`.
thresholds = Table(
    "thresholds",
    metadata,
    Column("pattern", String(260), primary_key=True),
    Column("rule", String(10), nullable=False),
    Column("set_by", String(40), nullable=False),
    Column("set_at", Instant, nullable=False),
)

#: What the bot last saw of each monitor (JSON), for comparison with the next scan.
sightings = Table(
    "sightings",
    metadata,
    Column("monitor_id", BigInteger, primary_key=True, autoincrement=False),
    Column("seen_at", Instant, nullable=False),
    Column("seen", Text, nullable=False),
)

#: Scan & watch: the card that is being edited, who asked, and what the first scan found (JSON).
watches = Table(
    "watches",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("monitor_id", BigInteger, nullable=False),
    Column("host", String(253), nullable=False),
    Column("port", Integer, nullable=False),
    Column("channel", String(40), nullable=False),
    Column("ts", String(40), nullable=False),
    Column("thread_ts", String(40)),
    Column("asker", String(40), nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("ends_at", Instant, nullable=False),
    Column("next_at", Instant, nullable=False),
    Column("scans", Integer, nullable=False),
    Column("first", Text),
    Column("state", String(10), nullable=False),
    Index("watches_state", "state"),
    sqlite_autoincrement=True,
)

#: The audit log: who asked for which change, when, and the result. Rows are never changed.
audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("user_id", String(40), nullable=False),
    Column("user_name", String(100), nullable=False),
    Column("command", String(20), nullable=False),
    Column("target", String(260), nullable=False),
    Column("result", Text, nullable=False),
    Index("audit_target", "target"),
    sqlite_autoincrement=True,
)

#: Who may use the embedded API. Account 1 has the environment's key; those of others are hashed.
#: `full_at` is when an account may again request all the on-demand scans of a minute at once, in
#: microseconds since 1970. A row with `only` is a limited key of the account `owner_id`.
accounts = Table(
    "accounts",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("name", String(100), nullable=False),
    Column("key_hash", String(64)),
    Column("most_monitors", Integer),
    Column("created_at", Instant, nullable=False),
    Column("revoked_at", Instant),
    Column("full_at", BigInteger),
    Column("only", String(20)),
    Column("owner_id", Integer),
    Index("accounts_key_hash", "key_hash", unique=True),
    sqlite_autoincrement=True,  # an ID is never used twice
)

#: The embedded API's monitors, each with the short part of its last scan. Rows are kept small,
#: since a list reads all of them. `lease` names the worker that scans it until `next_scan_at`.
#: `post_quantum` says whether the host supported X25519MLKEM768 at `key_exchange_at`. `expected` is
#: the certificate that was announced but isn't served yet, since when, and until when.
monitors = Table(
    "monitors",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("account_id", Integer, nullable=False, default=1),
    Column("host", String(253), nullable=False),
    Column("port", Integer, nullable=False),
    Column("protocol", String(10), nullable=False, default=""),
    Column("proxy_host", String(253)),
    Column("proxy_port", Integer),
    Column("proxy_username", Text),
    Column("proxy_password", Text),
    Column("created_at", Instant, nullable=False),
    Column("next_scan_at", Instant, nullable=False),
    Column("lease", String(32)),
    Column("failures", Integer, nullable=False, default=0),
    Column("scanned_at", Instant),
    Column("verdict", String(40)),
    Column("message", Text),
    Column("ip", String(45)),
    Column("host_match", Boolean),
    Column("not_before", Instant),
    Column("not_after", Instant),
    Column("issuer", Text),
    Column("http_code", Integer),
    Column("fingerprint", String(64)),
    Column("key_exchange_at", Instant),
    Column("post_quantum", Boolean),
    Column("caa_refuses", Boolean),
    Column("lineage", String(32)),
    Column("expected", String(80)),
    Column("expected_at", Instant),
    Column("expected_until", Instant),
    Column("renewal", Text),
    Index("monitors_account_host_port", "account_id", "host", "port", unique=True),
    Index("monitors_next_scan_at", "next_scan_at"),
    Index("monitors_account_not_after", "account_id", "not_after"),
    Index("monitors_account_lineage", "account_id", "lineage", "not_after"),
    sqlite_autoincrement=True,  # an ID is never used twice
)

#: Documents of certificate authorities, by URL. `fetched_at` is when `body` was fetched, `tried_at`
#: when it was last requested; `asked_at` is set while a process fetches it. `fault` says why the
#: last attempt failed.
ca_documents = Table(
    "ca_documents",
    metadata,
    Column("url", String(1000), primary_key=True),
    Column("body", LargeBinary, nullable=False),
    Column("etag", String(200), nullable=False),
    Column("last_modified", String(100), nullable=False),
    Column("fault", String(300), nullable=False),
    Column("fetched_at", Instant),
    Column("tried_at", Instant),
    Column("asked_at", Instant),
    Column("fresh_until", Instant),
)

#: The long part of each monitor's last scan, as JSON: the rest of monitor/get.
monitor_facts = Table(
    "monitor_facts",
    metadata,
    Column("monitor_id", Integer, primary_key=True, autoincrement=False),
    Column("facts", LargeBinary, nullable=False),
)

#: The changes that monitor/changes returns, in the order of `number`, for a week. The names that a
#: certificate gained and lost are JSON.
monitor_changes = Table(
    "monitor_changes",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("account_id", Integer, nullable=False),
    Column("monitor_id", Integer, nullable=False),
    Column("at", Instant, nullable=False),
    Column("kind", String(10), nullable=False),
    Column("names_added", Text),
    Column("names_removed", Text),
    Index("monitor_changes_account", "account_id", "number"),
    Index("monitor_changes_at", "at"),
)

#: One row: the number of the last change, and up to which number changes were deleted. `name`
#: distinguishes this database's numbers from another's.
change_feed = Table(
    "change_feed",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("name", String(16), nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("forgotten", BigInteger, nullable=False),
)

#: What changed on a monitor, and when it was first seen: one row per change, not per scan.
monitor_history = Table(
    "monitor_history",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("monitor_id", Integer, nullable=False),
    Column("at", Instant, nullable=False),
    Column("verdict", String(40), nullable=False),
    Column("message", Text, nullable=False),
    Column("host_match", Boolean),
    Column("not_before", Instant),
    Column("not_after", Instant),
    Column("issuer", Text),
    Index("monitor_history_monitor_id", "monitor_id", "id"),
)
