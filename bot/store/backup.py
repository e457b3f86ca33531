"""Copies the database while it is in use."""

import sqlite3
from contextlib import closing
from pathlib import Path

from bot.config.database_url import engine_arguments
from bot.errors import BotError, ConfigError


def backup(url: str, file: Path) -> None:
    """Copy the SQLite database, as of one moment, into a new file that only its owner can read.

    SQLite copies page by page, and starts over if another connection writes meanwhile
    (sqlite.org/backup.html). Raises ConfigError for PostgreSQL, and BotError if the copy fails.
    """
    made = engine_arguments(url).url
    if made.get_backend_name() != "sqlite":
        raise ConfigError(["DATABASE_URL is PostgreSQL. Back it up with pg_dump."])
    if not made.database or not Path(made.database).is_file():
        raise BotError(f"There is no database at {made.database}.")
    if file.exists() or file.is_symlink():
        raise BotError(f"{file} exists already. Name a new file.")
    # Under another name until it is whole: a copy that breaks off must not be taken for a backup.
    part = file.with_name(f"{file.name}.part")
    part.unlink(missing_ok=True)
    part.touch(mode=0o600, exist_ok=False)
    try:
        _copy(made.database, part)
        part.rename(file)
    except sqlite3.Error as fault:
        raise BotError(f"The database could not be copied: {fault}.") from None
    finally:
        part.unlink(missing_ok=True)


def _copy(database: str, file: Path) -> None:
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(file)) as copy:
        source.backup(copy)
