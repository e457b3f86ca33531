"""From a deploy hook to the channel: what was issued but isn't served, and when it is."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import aiohttp
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from bot.embedded import Accounts, EmbeddedAPI, EmbeddedSettings
from bot.playground.objects import ANN, BEN, PostedMessage
from bot.store.database import Database
from tests.test_bot_notices import begun
from tests.world import MORNING, Clock, World, labels, new_world, words

from .fleet import DAY, NOW, Fleet, Leaf, serve, web_server

pytestmark = pytest.mark.slow

KEY = "k" * 16
#: As of MORNING: the old one is overdue, the others have months.
OLD = Leaf(left=MORNING - NOW + 13 * DAY, since=NOW - MORNING + 40 * DAY)
NEW, THIRD = Leaf(left=80 * DAY), Leaf(left=70 * DAY)


@dataclass
class Server:
    """A web server that is renewed, the API that scans it, and the bot."""

    world: World
    api: EmbeddedAPI
    clock: Clock
    fleet: Fleet
    context: ssl.SSLContext
    host: str
    hook_key: str
    hosts: dict[str, str]

    async def pass_time(self, **by: float) -> None:
        """Let time pass for the API and the bot, and let both do what is due."""
        self.clock.move(**by)
        cast("Clock", self.world.clock).move(**by)
        await self.api.sweep.once()
        await self.world.bot.watches.tick()

    def load(self, leaf: Leaf) -> None:
        """Reload the server with a certificate."""
        self.context.load_cert_chain(self.fleet.file(leaf))

    async def issued(self, leaf: Leaf, **more: str) -> None:
        """Its deploy hook announces a certificate."""
        certificate = x509.load_pem_x509_certificate(self.fleet.file(leaf).read_bytes())
        told = {"host": "fleet.test", "fingerprint": certificate.fingerprint(hashes.SHA256()).hex()}
        headers = {"Authorization": f"Bearer {self.hook_key}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(f"{self.api.url}/monitor/expect", data=told | more) as answer,
        ):
            assert answer.status == 200


@asynccontextmanager
async def embedded(
    fleet: Fleet, database: Database, clock: Clock, hosts: dict[str, str]
) -> AsyncIterator[EmbeddedAPI]:
    settings = EmbeddedSettings(
        key=KEY,
        scan_allow="127.0.0.0/8",
        ca_file=fleet.ca_file,
        hosts=hosts,
    )
    api = EmbeddedAPI(settings, database, clock=clock)
    await api.start()
    yield api
    await api.close()


@pytest_asyncio.fixture
async def server(
    fleet: Fleet, database: Database, empty_database: Path, tmp_path: Path, no_waiting: None
) -> AsyncIterator[Server]:
    """A monitored server, whose certificate is overdue."""
    hosts = dict.fromkeys(("fleet.test", "a.fleet.test", "b.fleet.test"), "127.0.0.1")
    clock, context = Clock(), fleet.context(fleet.file(OLD))
    _, hook_key = await Accounts(database).add("web1", None, MORNING, only="expect")
    (directory := tmp_path / "bot").mkdir()
    async with (
        serve(web_server(), context=context) as port,
        embedded(fleet, database, clock, hosts) as api,
        new_world(
            directory, empty_database, SSLMONITOR_API_URL=api.url, SSLMONITOR_API_KEY=KEY
        ) as world,
    ):
        server = Server(world, api, clock, fleet, context, f"fleet.test:{port}", hook_key, hosts)
        await world.ask(f"/ssl add {server.host}", "OVERDUE", server.host)
        yield server


async def status(server: Server) -> PostedMessage:
    """The newest answer to `/ssl status`."""
    world = server.world
    await world.settled()
    await world.say(f"/ssl status {server.host}")
    await world.settled()
    return world.seen()[-1]


async def test_the_card_and_the_row_say_that_the_server_must_be_reloaded(server: Server) -> None:
    world, reload_it = server.world, "still serving the old one: reload it"
    await server.issued(NEW)
    card = await status(server)
    assert "Issued" in words(card)
    assert "but no scan has seen it yet" in words(card)
    assert "reload it" not in words(card)

    await server.pass_time(hours=2)
    card = await status(server)
    assert f"|2 h ago>, {reload_it}." in words(card)
    assert labels(card)[:2] == ["Rescan", "Scan & watch"]
    await world.press("Details", on=card)
    details = await world.card("Waiting for the certificate", "SHA-256")
    assert reload_it in words(details)
    row = await world.ask("/ssl list overdue", "OVERDUE", "Rescan", reload_it)

    server.load(NEW)
    await world.press("Rescan", on=row, row="fleet.test")
    await world.card("OK", "fleet.test", by=ANN)
    assert "Issued" not in words(await status(server))


async def test_a_fine_host_that_was_not_reloaded_can_be_watched_too(server: Server) -> None:
    server.load(THIRD)
    await server.world.say(f"/ssl scan {server.host}")
    await server.world.card("OK", "Changed: expiry date")
    await server.issued(NEW)
    await server.pass_time(minutes=2)
    card = await status(server)
    assert "reload it" in words(card)
    assert labels(card)[:3] == ["Rescan", "Scan & watch", "Details"]
    server.load(NEW)
    await server.pass_time(minutes=5)
    assert labels(await status(server))[:2] == ["Rescan", "Details"]


async def test_a_watch_waits_for_exactly_the_certificate_that_was_issued(server: Server) -> None:
    world = server.world
    await server.issued(NEW)
    await world.ask(f"/ssl watch {server.host}", "OVERDUE", "Watching until", "1 scan,")

    server.load(THIRD)
    await server.pass_time(minutes=1)
    said = "has a new certificate, but not the one that was announced"
    other = await world.card(f"<@{ANN}>", said)
    await world.card("OK", "Watching until", "2 scans", "reload it")

    await server.pass_time(minutes=1)
    await world.card("OK", "Watching until", "3 scans", "reload it")
    server.load(NEW)
    await server.pass_time(minutes=1)
    fixed = await world.card(f"<@{ANN}>", "Fixed", "after 4 scans")
    assert fixed.thread_ts == other.thread_ts


async def test_a_watch_that_finds_it_live_at_once_says_so(server: Server) -> None:
    server.load(THIRD)
    await server.world.say(f"/ssl scan {server.host}")
    await server.world.card("OK", "Changed: expiry date")
    await server.issued(NEW)
    server.load(NEW)
    await server.world.say(f"/ssl watch {server.host}")
    await server.world.card(f"<@{ANN}>", "Fixed", "after 1 scan")


async def test_a_reissue_of_the_same_dates_is_a_fix_once_it_is_live(server: Server) -> None:
    again = Leaf(left=OLD.left, since=OLD.since, cn="reissued")
    await server.issued(again)
    await server.world.say(f"/ssl watch {server.host}")
    await server.world.card("OVERDUE", "Watching until", "1 scan,")
    server.load(again)
    await server.pass_time(minutes=1)
    await server.world.card(f"<@{ANN}>", "Fixed", "reissued with the same dates and names")


async def test_a_host_that_is_back_with_the_old_one_is_not_fixed(server: Server) -> None:
    await server.issued(NEW)
    server.hosts["fleet.test"] = "127.0.0.2"  # where nothing listens
    await server.world.say(f"/ssl watch {server.host}")
    await server.world.card("UNREACHABLE", "Watching until", "no scan has seen it yet")
    server.hosts["fleet.test"] = "127.0.0.1"
    await server.pass_time(minutes=1)
    await server.world.card("OVERDUE", "Watching until", "reload it")
    assert not [m for m in server.world.seen() if f"<@{ANN}>" in words(m)]


async def test_a_renewal_on_another_host_is_mentioned_once_it_is_due(server: Server) -> None:
    names = ("fleet.test", "a.fleet.test")
    old, new = Leaf(names, OLD.left, OLD.since), Leaf(names, 80 * DAY)
    world, told = server.world, "lready renewed elsewhere: `a.fleet.test:"
    server.load(old)
    async with server.fleet.tls(new) as port, server.fleet.tls(NEW) as stranger:
        await world.say(f"/ssl add a.fleet.test:{stranger}")  # later, but without these names
        await world.card("WRONG NAME")
        await world.say(f"/ssl scan {server.host}")
        assert told not in words(await world.card("OVERDUE", "names added"))

        await world.ask(f"/ssl add a.fleet.test:{port}", "OK", f"a.fleet.test:{port}")
        card = await status(server)
        assert f"{told}{port}` serves one valid until" in words(card)
        assert "Deploy it here." in words(card)
        await world.say("/ssl list overdue")
        assert told in words(await world.card("OVERDUE", "Rescan", "Expires", told))
        await world.press("Details", on=card)
        await world.card(told, "Names (2)")

    server.load(new)
    await world.press("Rescan", on=card)
    await world.card("OK", "Changed: expiry date")
    assert told not in words(await status(server))


def notices_in(server: Server) -> list[PostedMessage]:
    """The notices that were posted, not what follows in their threads."""
    return [m for m in server.world.seen(by=BEN) if "an hour" in words(m) and not m.thread_ts]


@pytest.mark.parametrize("before", [OLD, THIRD], ids=["an overdue host", "a fine host"])
async def test_a_notice_comes_once_if_not_live_in_an_hour(server: Server, before: Leaf) -> None:
    server.load(before)
    await server.world.say(f"/ssl scan {server.host}")
    await server.world.card("fleet.test", "scanned", "OVERDUE" if before is OLD else "OK")
    notices = await begun(server.world)
    await server.issued(NEW)
    for _ in range(4):
        await server.pass_time(minutes=15)
        await notices.tick()
    assert notices_in(server) == []  # it is an hour old, and no more

    for _ in range(8):
        await server.pass_time(minutes=15)
        await notices.tick()
    (notice,) = notices_in(server)
    assert "*New certificate not live after an hour*" in words(notice)
    assert "still serving the old one: reload it" in words(notice)
    assert labels(notice)[:2] == ["Rescan", "Scan & watch"]

    server.load(NEW)
    await server.pass_time(minutes=60)
    await notices.tick()
    (notice,) = notices_in(server)
    assert "~*New certificate not live after an hour*~" in words(notice)
    assert "~`fleet.test" in words(notice)
    assert "✅ fixed, seen" in words(notice)


async def test_a_certificate_that_is_live_in_time_causes_no_notice(server: Server) -> None:
    notices = await begun(server.world)
    await server.issued(NEW)
    await server.pass_time(minutes=50)
    server.load(NEW)
    for _ in range(3):
        await server.pass_time(minutes=30)
        await notices.tick()
    assert notices_in(server) == []
