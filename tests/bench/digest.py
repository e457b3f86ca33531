"""A digest of 100,000 monitors, 8 % of them due: `python -m tests.bench.digest`; best of three.

- `python -m bot digest`, with the embedded API in the same process: under 3 s and 300 MB, at most
  three messages, and one file.
- the floor beside it: the same process, which reads the monitors that are due, once, and does
  nothing with them.
- the comparison for notices, once the list is there: under 0.5 s with what was seen last read from
  the database, and the event loop never held for more than 50 ms, also by the first comparison.
- the floor beside it: judging each row once, and reading the table of what was seen with sqlite3.

Exit code 1 where the best misses its mark.
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import insert

from bot.api.models import MonitorSummary
from bot.cards.changes import compare
from bot.demo import playground_app
from bot.playground import Playground
from bot.playground.objects import BEN, CERTS
from bot.severity import Thresholds, state_of
from bot.store.database import Database
from bot.store.notices import NoticeStore
from bot.store.tables import monitor_facts, monitors
from bot.store.upgrade import upgrade
from bot.target import Target
from tests.bench.store import Held
from tests.world import environment

DAY = timedelta(days=1)
MANY, DUE = 100_000, 8_000
ROUNDS = 3
MOST_SECONDS, MOST_MB, MOST_COMPARED, MOST_HELD = 3.0, 300.0, 0.5, 0.05
#: What the digest must do at least: start, open the database, and read what is due.
FLOOR = """
import asyncio, os
from bot.process import loading
with loading():
    from bot.app.engine import own_api
    from bot.app.outside import make_api, make_session
    from bot.config import read_settings
    from bot.store.upgrade import open_database

async def main():
    settings = read_settings(os.environ)
    async with open_database(settings.database_url) as database:
        async with own_api(settings, database) as complete:
            async with make_session(complete.api_url) as session:
                await make_api(complete, session).list(expires="<30")

asyncio.run(main())
"""


#: Runs a command, and writes to a file how many seconds it took, and its peak memory in kilobytes.
MEASURED = """
import resource, subprocess, sys, time
begun = time.perf_counter()
code = subprocess.run(sys.argv[2:]).returncode
seconds = time.perf_counter() - begun
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
open(sys.argv[1], "w").write(f"{seconds} {peak}")
sys.exit(code)
"""


@dataclass(frozen=True)
class Run:
    """One process: its seconds, and the most memory that it took, in megabytes."""

    seconds: float
    megabytes: float


async def fill(database: Database, now: datetime) -> None:
    """Store the monitors, each with its own certificate."""
    for start in range(0, MANY, 10_000):
        ids = range(start + 1, start + 10_001)
        async with database.write() as connection:
            await connection.execute(insert(monitors), [_row(id_, now) for id_ in ids])
            facts = [{"monitor_id": id_, "facts": b"{}"} for id_ in ids]
            await connection.execute(insert(monitor_facts), facts)


def _row(id_: int, now: datetime) -> dict[str, object]:
    days = id_ % 25 if id_ <= DUE else 40 + id_ % 50
    return {
        "id": id_,
        "host": f"host{id_}.customer{id_ % 1000}.example.com",
        "port": 443,
        "created_at": now - DAY,
        "next_scan_at": now + DAY,
        "scanned_at": now - DAY / 4,
        "verdict": "valid",
        "message": "Valid",
        "host_match": True,
        "not_before": now - 90 * DAY,
        "not_after": now + (days + 1) * DAY,
        "issuer": "A Certificate Authority Ltd",
        "http_code": 200,
        "fingerprint": f"{id_:064x}",
    }


def run(*command: str, environ: dict[str, str]) -> Run:
    """Run it, and say what it took; the process reports its own peak."""
    peak = Path(tempfile.gettempdir()) / f"peak-{os.getpid()}"
    started = ["/usr/bin/env", *(f"{name}={value}" for name, value in environ.items())]
    measured = [sys.executable, "-c", MEASURED, str(peak), sys.executable, *command]
    done = subprocess.run([*started, *measured], stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seconds, kilobytes = map(float, peak.read_text().split())
    peak.unlink()
    return Run(seconds, kilobytes / 1024)


@dataclass(frozen=True)
class Compared:
    """A comparison's seconds, its floor, and the longest that the loop was held."""

    seconds: float
    floor: float
    held: float


async def compared(directory: Path) -> Compared:
    """Compare once without a stored list, and once more after a restart, which finds no change."""
    file = Path(tempfile.mkdtemp(dir=directory)) / "notices.sqlite3"
    await upgrade(f"sqlite:///{file}")
    database = Database(f"sqlite:///{file}")
    now, rules = datetime.now(UTC).replace(microsecond=0), Thresholds()
    rows, held = [_summary(id_, now) for id_ in range(1, MANY + 1)], Held()
    watching = asyncio.create_task(held.watch())
    await asyncio.sleep(0.01)
    held.longest = 0.0
    for store in (NoticeStore(database), NoticeStore(database)):
        begun = time.perf_counter()
        was = await store.standings("here")
        before = was.seen if was.known else None
        told, changed, gone = await asyncio.to_thread(compare, before, rows, now, rules)
        if changed:
            assert await store.compared(was, changed, gone, [], small=[], now=now)
        seconds = time.perf_counter() - begun
        assert not told
    watching.cancel()
    assert was.known
    await database.close()
    begun = time.perf_counter()
    for row in rows:
        state_of(row, now, rules)
    with sqlite3.connect(file) as floor:
        assert len(floor.execute("SELECT * FROM standings").fetchall()) == MANY
    return Compared(seconds, time.perf_counter() - begun, held.longest)


def _summary(id_: int, now: datetime) -> MonitorSummary:
    row = _row(id_, now)
    start, end = row["not_before"], row["not_after"]
    assert isinstance(start, datetime)
    assert isinstance(end, datetime)
    target = Target(str(row["host"]))
    return MonitorSummary(id_, target, True, "Valid", start, end, True, "A CA", 200, now)


async def main() -> int:
    """Run everything; returns the exit code."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "bot.sqlite3"
        await upgrade(f"sqlite:///{file}")
        database = Database(f"sqlite:///{file}")
        await fill(database, datetime.now(UTC))
        await database.close()
        playground = Playground(playground_app(), clock=lambda: datetime.now(UTC))
        await playground.start()
        environ = environment(playground, "socket", file) | {"DIGEST_CHANNEL": CERTS}
        rounds = []
        for _ in range(ROUNDS):
            floor = await asyncio.to_thread(run, "-c", FLOOR, environ=environ)
            digest = await asyncio.to_thread(run, "-m", "bot", "digest", "--again", environ=environ)
            rounds.append((digest, floor))
        shown = playground.workspace.messages(CERTS, BEN)
        files = sum(len(message.files) for message in shown) / ROUNDS
        posted = sum(not message.files for message in shown) / ROUNDS
        await playground.close()
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 20, 20)  # as bot.process does
        comparisons = [await compared(Path(directory)) for _ in range(ROUNDS)]
    digest, floor = min(rounds, key=lambda pair: pair[0].seconds)
    comparison = min(comparisons, key=lambda each: each.seconds)
    held = min(each.held for each in comparisons)
    sent = f"{posted:.0f} messages, {files:.0f} file"
    print(f"digest      {digest.seconds:.2f} s, {digest.megabytes:.0f} MB, {sent}")
    print(f"floor       {floor.seconds:.2f} s, {floor.megabytes:.0f} MB")
    print(f"ratio       {digest.seconds / floor.seconds:.2f}")
    print(f"comparison  {comparison.seconds:.2f} s, the loop held for {held * 1000:.0f} ms")
    print(f"floor       {comparison.floor:.2f} s")
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"this process {own:.0f} MB")
    missed = (
        digest.seconds > MOST_SECONDS
        or digest.megabytes > MOST_MB
        or posted > 3
        or files != 1
        or comparison.seconds > MOST_COMPARED
        or held > MOST_HELD
    )
    return int(missed)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
