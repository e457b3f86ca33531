"""The command line: its help, wrong settings, and the backup."""

import gc
import shutil
import sqlite3
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import pytest

from bot import __version__
from bot.__main__ import main
from bot.process import loading
from tests.world import only

pytestmark = pytest.mark.slow

NO_SLACK = {
    "SLACK_BOT_TOKEN": "xoxb-1",
    "SLACK_SIGNING_SECRET": "s",
    "SLACK_API_URL": "http://127.0.0.1:9/api/",
}


def test_without_a_program_the_help_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0

    shown = capsys.readouterr().out
    assert all(name in shown for name in ("run", "demo", "digest", "check", "embedded"))


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])

    assert (end.value.code, capsys.readouterr().out.strip()) == (0, __version__)


def test_an_unknown_program_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["fly"])

    assert end.value.code == 2
    assert "fly" in capsys.readouterr().err


@pytest.mark.parametrize("program", ["run", "check"])
def test_all_wrong_settings_are_listed(
    program: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    only(
        monkeypatch,
        SLACK_BOT_TOKEN="not-a-token",
        DIGEST_TIME="9 o'clock",
        DIGEST_TIMEZONE="Mars/Olympus",
        DATABASE_URL="mysql://x",
        PORT="99999",
        SCAN_ALLOW="10.0.0.0/99",
        SSLMONITOR_API_URL="https://api.example/api/v1",
    )

    assert main([program]) == 2

    told = capsys.readouterr().err
    names = "SLACK_BOT_TOKEN SLACK_APP_TOKEN DIGEST_TIME DIGEST_TIMEZONE DATABASE_URL PORT"
    for name in [*names.split(), "SCAN_ALLOW", "SSLMONITOR_API_KEY"]:
        assert f"- {name}" in told
    assert "not-a-token" not in told


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////no/such/folder/bot.sqlite3",
        "postgres://u:secret@127.0.0.1:9/db",
        "postgres://u:secret@no.such.host.invalid/db",
    ],
)
def test_a_database_that_can_not_be_opened_is_reported_in_one_line(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    only(
        monkeypatch,
        **NO_SLACK,
        DATABASE_URL=url,
    )

    assert main(["run"]) == 1

    told = capsys.readouterr().err
    assert "Could not start: The database can't be used: " in told
    assert (len(told.splitlines()), "secret" in told) == (1, False)


def test_an_unreachable_slack_is_reported_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    only(
        monkeypatch,
        **NO_SLACK,
        DATABASE_URL=f"sqlite:///{tmp_path}/bot.sqlite3",
        SSLMONITOR_API_URL="http://127.0.0.1:9/api/v1",
        SSLMONITOR_API_KEY="k",
    )

    assert main(["run"]) == 1

    assert "Could not start: Slack did not answer" in capsys.readouterr().err


def test_a_backup_is_a_whole_copy_for_its_owner_made_while_others_write(
    tmp_path: Path,
    empty_database: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source, copy = tmp_path / "bot.sqlite3", tmp_path / "copy.sqlite3"
    shutil.copy(empty_database, source)
    only(monkeypatch, DATABASE_URL=f"sqlite:///{source}")
    with sqlite3.connect(source) as writer:
        writer.execute("INSERT INTO notes VALUES ('kept', 'yes')")
        writer.commit()
        writer.execute("INSERT INTO notes VALUES ('half', 'done')")  # not committed yet
        assert main(["backup", str(copy)]) == 0
        writer.rollback()
    writer.close()
    with sqlite3.connect(copy) as made:
        assert made.execute("SELECT key FROM notes").fetchall() == [("kept",)]
        assert made.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    made.close()
    assert copy.stat().st_mode & 0o777 == 0o600
    assert main(["backup", str(copy)]) == 1
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    "breaks", [sqlite3.OperationalError("database or disk is full"), SystemExit]
)
def test_a_backup_that_breaks_off_is_not_taken_for_one(
    breaks: BaseException,
    tmp_path: Path,
    empty_database: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def copy(_: str, file: Path) -> NoReturn:
        file.write_text("half")
        assert not (tmp_path / "copy.sqlite3").exists()
        raise breaks

    monkeypatch.setattr("bot.store.backup._copy", copy)
    only(monkeypatch, DATABASE_URL=f"sqlite:///{empty_database}")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with suppress(SystemExit):
        assert main(["backup", str(tmp_path / "copy.sqlite3")]) == 1
        assert "disk is full" in capsys.readouterr().err
    assert main(["backup", str(tmp_path / "link")]) == 1
    assert [each.name for each in tmp_path.iterdir()] == ["link"]


def test_a_backup_of_postgresql_names_pg_dump(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    only(monkeypatch, DATABASE_URL="postgresql://u:geheim@h/db")
    assert main(["backup", str(tmp_path / "copy")]) == 2
    told = capsys.readouterr().err
    assert "pg_dump" in told
    assert "geheim" not in told


def test_posting_a_digest_by_hand_skips_slow_imports() -> None:
    heavy = {"slack_bolt", "apscheduler", "alembic", "icalendar", "bot.playground"}
    heavy.add("sqlalchemy.dialects.postgresql")
    asked = f"import sys; from bot.app import posting; print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_garbage_collector_runs_again_once_a_program_is_loaded() -> None:
    usual = gc.get_threshold()
    with loading():
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.unfreeze()
    gc.set_threshold(*usual)
