"""How fast, and in how much memory, the embedded API scans: beside a bare loop, in the same run.

    python -m tests.bench.scan [--peer] [--revocation] [--renewal] [--scans 1000] [--rounds 9]

Needs nginx; with --peer also prometheus-blackbox-exporter. Each side has processes of its own and
they take turns, since a machine's speed drifts: the median of the rounds' ratios is what counts.

- ours: the sweep as it runs in production: lease, handshake, verdict, revocation lists of both
  certificates, page, facts, all stored.
- plain: the same with SCAN_REVOCATION=0, with --revocation.
- asked: ours, which also asks when the CA wants a renewal (ARI), with --renewal.
- bare: `asyncio.open_connection` with one verifying context, a GET read to its end, nothing kept.
- team: as many of our processes as there are cores, which share one database.
- peer: the exporter's http module, asked over connections that are kept; it uses all cores.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import re
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import func, insert, select, update

from bot.embedded.ca.ari import ACMEServers, Renewals, trusting
from bot.embedded.ca.documents import Documents
from bot.embedded.ca.revocation import Revocations
from bot.embedded.leases import Lease, Leases
from bot.embedded.metrics import Metrics
from bot.embedded.scan.dns import ReverseNames
from bot.embedded.scan.guard import Guard, parse_allow
from bot.embedded.scan.scanner import Scanner
from bot.embedded.scan.tls import Trust
from bot.embedded.sweep import Rescans, Sweep
from bot.store.database import Database
from bot.store.tables import monitor_facts, monitors
from bot.store.upgrade import upgrade
from tests.bench.site import NOW, Site, free_port, prepare, running

CONCURRENCY = 50
MEMORY = 60.0  # MB more than idle, at most
#: Which sides are compared by their rates, and the ratio that must be held; 0 is for information.
COMPARED = (
    ("ours", "bare", 0.8),
    ("ours", "plain", 0.95),
    ("asked", "ours", 0.95),
    ("team", "peer", 1.0),
    ("ours", "peer", 0.0),
)
# The processes that take turns: each reads a line, does a round, and prints a line of JSON.


async def bare(site: Site) -> None:
    """Handshakes and pages without anything else."""
    context = ssl.create_default_context(cafile=f"{site.folder}/ca.pem")
    slots = asyncio.Semaphore(CONCURRENCY)

    async def one(address: str) -> None:
        async with slots:
            reader, writer = await asyncio.open_connection(
                address, site.port, ssl=context, server_hostname="host.bench.test"
            )
            writer.write(b"GET / HTTP/1.1\r\nHost: host.bench.test\r\nConnection: close\r\n\r\n")
            page = await reader.read()
            assert page.startswith(b"HTTP/1.1 200"), page[:100]
            writer.close()
            await writer.wait_closed()

    async def everything() -> None:
        await asyncio.gather(*map(one, site.addresses()))

    await _take_turns(everything)


class Told(Leases):
    """Leases that tell when nothing is due any more."""

    drained: asyncio.Event

    async def lease_due(
        self, now: datetime, limit: int, *, avoid: Collection[str] = ()
    ) -> list[Lease]:
        taken = await super().lease_due(now, limit, avoid=avoid)
        if not taken:
            self.drained.set()
        return taken


async def ours(site: Site) -> None:
    """Full scans by the sweep, stored; alone or beside others on the same database."""
    url = f"sqlite:///{site.folder}/{site.database}.sqlite3"
    await upgrade(url)
    database = Database(url)
    table = {f"h{n}.bench.test": address for n, address in enumerate(site.addresses())}
    guard = Guard(parse_allow("127.0.0.0/8"), table | {"lists.bench.test": "127.0.0.1"})
    ca_file = Path(site.folder, "ca.pem") if site.trusted else None
    documents = Documents(database, guard, lambda: NOW)
    revocations = Revocations(documents) if site.revocation else None
    servers = ACMEServers(database, guard, lambda: NOW, trusting(None), [site.directory])
    renewals = Renewals({"Bench CA": site.directory}, servers) if site.renewal else None
    scanner = Scanner(
        guard,
        Trust(ca_file),
        reverse=ReverseNames(),
        revocations=revocations,
        renewals=renewals,
    )
    leases = Told(database, timedelta(hours=12), f"bench-{os.getpid()}")

    rounds = 0

    async def begin() -> None:
        """All are due; the results of the last round, if there was one, must be right."""
        rows = [
            {"host": h, "port": site.port, "created_at": NOW, "next_scan_at": NOW, "account_id": 1}
            for h in table
        ]
        async with database.write() as connection:
            if not await connection.scalar(select(func.count()).select_from(monitors)):
                await connection.execute(insert(monitors), rows)
                return
            verdict = "valid" if site.trusted else "untrusted"
            query = select(func.count()).where(
                monitors.c.verdict == verdict,
                monitors.c.http_code == 200,
                monitors.c.scanned_at == NOW,
                monitors.c.lease.is_(None),
            )
            count = await connection.scalar(query)
            nonlocal rounds
            rounds += 1
            if site.trusted and site.revocation and rounds > 1:  # at first, only one process asks
                facts = await connection.scalar(select(monitor_facts.c.facts).limit(1))
                assert facts is not None
                assert b'"revocation":"good"' in facts, facts
                assert (b'"status":"known"' in facts) == site.renewal, facts
            assert count == site.scans, f"{count} of {site.scans} have the right result"
            due = update(monitors).values(next_scan_at=NOW, scanned_at=None)
            await connection.execute(due)

    async def everything() -> None:
        leases.drained = asyncio.Event()
        rescans = Rescans(scanner, leases, Metrics(), lambda: NOW)
        sweep = Sweep(rescans, leases, lambda: NOW)
        sweep.start()
        await leases.drained.wait()
        sweep.stop()
        await rescans.close()
        await sweep.close()

    gc.collect()  # as `bot.process.forever` does
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    await _take_turns(everything, begin)
    await documents.close()
    await servers.close()
    await database.close()


async def peer(site: Site) -> None:
    """The same pages by the exporter."""
    queue = asyncio.Queue[str]()

    async def work() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.peer)
        while not queue.empty():
            url = f"/probe?module=http&target=https://{queue.get_nowait()}:{site.port}/"
            writer.write(f"GET {url} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            if length:
                body = await reader.readexactly(int(length[1]))
            else:
                body = b""
                while (chunk := await reader.readline()) != b"0\r\n":
                    body += await reader.readexactly(int(chunk, 16))
                    await reader.readline()
                await reader.readline()
            assert b"\nprobe_success 1" in body, body[-500:]
        writer.close()
        await writer.wait_closed()

    async def everything() -> None:
        for address in site.addresses():
            queue.put_nowait(address)
        await asyncio.gather(*(work() for _ in range(CONCURRENCY)))

    await _take_turns(everything)


Work = Callable[[], Awaitable[None]]


async def _take_turns(everything: Work, begin: Work | None = None) -> None:
    idle = _megabytes("VmRSS")
    _tell(idle=idle)
    while line := await asyncio.to_thread(sys.stdin.readline):
        if line == "begin\n":
            if begin is not None:
                await begin()
            _tell()
            continue
        cpu = time.process_time()
        await everything()
        _tell(cpu=time.process_time() - cpu, more=_megabytes("VmHWM") - idle)


def _tell(**figures: float) -> None:
    print(json.dumps(figures), flush=True)


def _megabytes(name: str) -> float:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


# The process that starts the others and compares them.


class Member:
    """A process of a side, told what to do line by line."""

    def __init__(self, name: str, site: Site) -> None:
        self._name = name
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.scan", "--side", name, json.dumps(asdict(site))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tell(self, word: str) -> None:
        """Say what to do next; `read` waits until it is done."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()

    def read(self) -> dict[str, float]:
        """The figures of what was done."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"The side {self._name} ended: see above.")
        told: dict[str, float] = json.loads(line)
        return told

    def close(self) -> None:
        """Let it end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        if self._process.wait() != 0:
            raise SystemExit(f"The side {self._name} failed: see above.")


class Side:
    """One or more processes that take their turns when they are told to."""

    def __init__(self, name: str, site: Site) -> None:
        self.name = name
        self.rates: list[float] = []
        self.cpu: list[float] = []
        self.more = self.idle = 0.0
        self._scans = site.scans
        self._members: list[Member] = []
        for _ in range((os.cpu_count() or 1) if name == "team" else 1):
            member = Member(
                name if name in ("bare", "peer") else "ours",
                replace(site, database=name, revocation=name != "plain", renewal=name == "asked"),
            )
            self.idle = max(self.idle, member.read()["idle"])
            self._members.append(member)

    def turn(self, *, counts: bool = True) -> None:
        """One round; the first of a side warms it up and does not count."""
        self._begin()
        wall = time.perf_counter()
        for member in self._members:
            member.tell("go")
        told = [member.read() for member in self._members]
        took = time.perf_counter() - wall
        if counts:
            self.rates.append(self._scans / took)
            self.cpu.append(sum(each["cpu"] for each in told) / self._scans * 1000)
            self.more = max(each["more"] for each in told)

    def _begin(self) -> None:
        self._members[0].tell("begin")
        self._members[0].read()

    def close(self) -> None:
        """Check what the last round left, and end."""
        self._begin()
        for member in self._members:
            member.close()

    def __str__(self) -> str:
        rate, cpu = statistics.median(self.rates), statistics.median(self.cpu)
        spread = f"{min(self.rates):.0f} to {max(self.rates):.0f}"
        return (
            f"{self.name:5}{rate:6.0f} scans/s ({spread}), {cpu:.2f} ms CPU each, "
            f"{self.more:.1f} MB over {self.idle:.0f} MB idle"
        )


def compare(site: Site, names: list[str], rounds: int) -> bool:
    """Let the sides take turns, print what came of it, and say whether the floors are held."""
    sides = {name: Side(name, site) for name in names}
    for side in sides.values():
        side.turn(counts=False)
    for _ in range(rounds):
        for side in sides.values():
            side.turn()
    for side in sides.values():
        side.close()
        print(side)
    held = sides["ours"].more < MEMORY
    for ours_, other, floor in COMPARED:
        if ours_ not in sides or other not in sides:
            continue
        pairs = zip(sides[ours_].rates, sides[other].rates, strict=True)
        ratios = sorted(mine / theirs for mine, theirs in pairs)
        ratio = statistics.median(ratios)
        held = held and ratio >= floor
        wanted = f", floor {floor}" if floor else ""
        print(f"{ours_} / {other}: {ratio:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}){wanted}")
        if other != "peer":  # CPU time depends less on what else the machine does
            pairs = zip(sides[other].cpu, sides[ours_].cpu, strict=True)
            print(f"  by CPU time: {statistics.median(a / b for a, b in pairs):.2f}")
    return held


def all_bad(site: Site, rounds: int) -> bool:
    """Every chain untrusted: as fast, and as much memory at the end as at the beginning."""
    side = Side("bad", site)
    side.turn(counts=False)
    grown = []
    for _ in range(rounds):
        side.turn()
        grown.append(side.more)
    side.close()
    print(f"every chain bad: {side}; {grown[0]:.1f} MB after one round")
    return side.more < MEMORY and grown[-1] - grown[0] < 10


def main() -> None:
    """Run all, print the figures; the exit status says whether the floors are held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", action="store_true")
    parser.add_argument("--revocation", action="store_true")
    parser.add_argument("--renewal", action="store_true")
    parser.add_argument("--scans", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--side", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        side, site = arguments.side
        asyncio.run({"ours": ours, "bare": bare, "peer": peer}[side](Site(**json.loads(site))))
        return
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder, port = Path(name), free_port()
        directory = prepare(folder, port)
        nginx = shutil.which("nginx") or "/usr/sbin/nginx"
        stack.enter_context(running([nginx, "-p", name, "-c", f"{name}/nginx.conf"], port))
        names, peer_port = ["ours", "bare"], 0
        names += ["plain"] if arguments.revocation else []
        names += ["asked"] if arguments.renewal else []
        if arguments.peer:
            peer_port = free_port()
            command = ["prometheus-blackbox-exporter", f"--config.file={name}/blackbox.yml"]
            listen = f"--web.listen-address=127.0.0.1:{peer_port}"
            stack.enter_context(running([*command, listen, "--log.level=error"], peer_port))
            names += ["team", "peer"]
        site = Site(name, port, arguments.scans, peer=peer_port, directory=directory)
        held = compare(site, names, arguments.rounds)
        bad = replace(site, trusted=False)
        held = all_bad(bad, max(3, arguments.rounds // 3)) and held
    raise SystemExit(0 if held else "A floor was missed.")


if __name__ == "__main__":
    main()
