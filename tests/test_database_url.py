"""DATABASE_URL, in the forms in which hosting providers and libpq write it."""

import ssl
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.config import Settings
from bot.config.database_url import engine_arguments
from bot.store.database import Database

Door = Callable[[], AbstractAsyncContextManager[AsyncConnection]]
NOW = datetime(2026, 11, 25, 9, tzinfo=UTC)


def test_a_plain_url_means_the_async_driver() -> None:
    for given, used in [
        ("postgres://u:p@h/d", "postgresql+asyncpg://u:p@h/d"),
        ("postgresql://u:p@h/d", "postgresql+asyncpg://u:p@h/d"),
        ("sqlite:///x.sqlite3", "sqlite+aiosqlite:///x.sqlite3"),
    ]:
        url = engine_arguments(given).url
        assert url.render_as_string(hide_password=False) == used


@pytest.mark.parametrize(
    ("query", "arguments"),
    [
        ("sslmode=require", {"ssl": "require"}),
        ("sslmode=require&channel_binding=require", {"ssl": "require"}),
        ("sslmode=disable", {"ssl": "disable"}),
        (
            "connect_timeout=10&application_name=x",
            {"timeout": 10.0, "server_settings": {"application_name": "x"}},
        ),
        ("target_session_attrs=read-write", {"target_session_attrs": "read-write"}),
        ("keepalives=1&keepalives_idle=30", {}),
    ],
)
def test_libpqs_parameters_are_translated(query: str, arguments: dict[str, object]) -> None:
    made = dict(engine_arguments(f"postgres://u:p@h/db?{query}").connect_args)
    for name in [name for name in made if "statement" in name]:
        del made[name]  # they make poolers such as PgBouncer work
    assert made == arguments


def test_the_systems_root_certificates_verify_even_if_no_mode_is_named() -> None:
    made = engine_arguments("postgres://u:p@h/db?sslrootcert=system").connect_args
    assert (made["ssl"].verify_mode, made["ssl"].check_hostname) == (ssl.CERT_REQUIRED, True)


def test_several_hosts_are_all_tried() -> None:
    for hosts, names, ports in [
        ("A:5432,B:6432/db?", ["A", "B"], [5432, 6432]),
        ("A,B:6432/db?", ["A", "B"], [5432, 6432]),
        ("[2001:db8::1]:5433,B/db?", ["2001:db8::1", "B"], [5433, 5432]),
        ("/db?host=/run/a,/run/b&", ["/run/a", "/run/b"], [5432, 5432]),
    ]:
        made = engine_arguments(f"postgresql://u@{hosts}target_session_attrs=read-write")
        assert (made.connect_args["host"], made.connect_args["port"]) == (names, ports)
        assert (made.url.username, made.url.database) == ("u", "db")


def test_a_password_with_odd_letters_survives() -> None:
    url = engine_arguments("postgresql://u:p%40ss%2Fw%3Ard@h:5433/db").url
    assert (url.password, url.host, url.port) == ("p@ss/w:rd", "h", 5433)


def test_no_part_of_a_password_becomes_a_host_or_is_repeated() -> None:
    url = engine_arguments("postgresql://u:s3@cret:x@h:5433/db?sslmode=disable").url
    assert (url.password, url.host, url.port) == ("s3@cret:x", "h", 5433)
    assert engine_arguments("postgresql:///db?host=/run/pg&application_name=a@b").url.host is None
    for password in ("s3?cret", "s3?cret=1", "s3/a?cret", "s3?sslmode=cret"):
        with pytest.raises(ValueError, match="as %XX") as error:
            engine_arguments(f"postgresql://u:{password}@h/db")
        assert "cret" not in str(error.value)


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("sslmode=sometimes", "sslmode must be one of"),
        ("options=-c%20x%3D1", "“options” is not supported"),
        ("connect_timeout=soon", "number of seconds"),
        ("sslmode=verify-full&sslrootcert=/no/such.pem", "PEM"),
        ("sslmode=require&sslrootcert=/no/such.pem", "PEM"),  # as good as verify-ca
        ("sslmode=require&sslrootcert=system", "needs sslmode=verify-full"),
    ],
)
def test_a_parameter_that_can_not_be_honored_is_named(query: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault) as error:
        engine_arguments(f"postgres://u:geheim@h/db?{query}")
    assert "geheim" not in str(error.value)


@pytest.mark.parametrize(
    "query",
    [
        "sslmode=disable",
        "sslmode=prefer&channel_binding=prefer",
        "connect_timeout=10&application_name=sslmonitor&target_session_attrs=read-write",
        "keepalives=1&pgbouncer=true",
    ],
)
async def test_postgresql_takes_what_providers_hand_out(query: str, postgresql_url: str) -> None:
    separator = "&" if "?" in postgresql_url else "?"
    database = Database(f"{postgresql_url}{separator}{query}")
    try:
        async with database.quick_write() as connection:
            assert await connection.scalar(text("SELECT 1")) == 1
    finally:
        await database.close()


def test_the_default_file_is_the_same_from_every_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = engine_arguments(Settings().database_url).url.database
    assert path == str(Path.home() / ".sslmonitor-bot.sqlite3")


@pytest.mark.parametrize(
    "url",
    ["mysql://h/d", "nonsense", "", "postgres://h:99999/d", "postgres://g,h:99999/d"],
)
def test_another_engine_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"Use a URL|must start with"):
        engine_arguments(url)
