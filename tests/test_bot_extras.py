"""What needs an API beyond the documented page: one-off checks, the history, the chain."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from bot.api.extras import PORTS
from bot.embedded.scan.starttls import PROTOCOLS
from bot.playground.objects import ANN, BEN
from tests.world import MakeWorld, World, labels, words

LACKS = ("NOT AVAILABLE HERE", "isn't available with the hosted API", "embedded API")


@pytest_asyncio.fixture
async def own_world(make_world: MakeWorld) -> AsyncIterator[World]:
    """A bot that scans real hosts by its embedded API."""
    async with make_world(scans=True) as running:
        yield running


def place_of(world: World, name: str) -> str:
    """A sample host with its port."""
    assert world.hosts is not None
    return next(target for target in world.hosts.targets if target.startswith(name))


@pytest.mark.slow
async def test_a_check_stores_nothing_until_it_is_added(own_world: World) -> None:
    place = place_of(own_world, "shop")
    said = "just now>. Nothing was stored."
    card = await own_world.ask(f"/ssl check https://{place}/cart", "OK", f"`{place}`", said)
    assert "Checking…" not in "".join(map(words, own_world.seen()))  # it could not be replaced
    told = words(card)
    assert "Demo Trust Services" in told
    assert "*Names (1)*" in told
    assert "127.0.0.1" in told
    assert "*Chain (2)*\n1. shop.demo.test, issued by Demo" in told
    assert card.ephemeral_for == ANN
    assert labels(card) == ["Add", "Check again", "Share here"]
    await own_world.say("/ssl account")
    assert "*Monitors*\n0 of" in words(await own_world.card("Monitors: 0 of"))

    place = place_of(own_world, "intranet")
    card = await own_world.ask(f"/ssl check {place}", "EXPIRED", "Nothing was stored.")
    await own_world.press("Add", on=card)
    became = await own_world.card("EXPIRED", f"`{place}`", "added")
    assert became.ts == card.ts
    await own_world.card(f"Ann added `{place}`.")

    place = place_of(own_world, "shop")
    await own_world.say(f"@SSLmonitor check {place} tls")
    card = await own_world.card("OK", "Nothing was stored.", by=BEN)
    assert card.in_thread
    assert [m for m in own_world.seen(by=BEN) if "Checking" in words(m)] == []

    await own_world.say("/ssl check 127.0.0.1:9")
    card = await own_world.card("REFUSED", "`127.0.0.1:9`", "refused by this server's rules")
    assert "Check again" not in labels(card)


def test_the_bot_and_the_embedded_api_know_the_same_protocols() -> None:
    assert set(PORTS) == set(PROTOCOLS)


@pytest.mark.slow
async def test_a_check_is_understood_repeated_and_shared(world: World) -> None:
    world.api.extras = ["/checks"]
    world.api.answer("checks", 503)
    await world.say("/ssl check api.demo.test")
    card = await world.card("SSLMONITOR IS NOT ANSWERING", "`api.demo.test`")
    await world.press("Check again", on=card)
    assert (await world.card("DUE", "Nothing was stored.")).ts == card.ts

    for typed, sent in (
        ("<http://api.demo.test|api.demo.test>", {"host": "api.demo.test", "port": "443"}),
        ("API.demo.test 8443", {"host": "api.demo.test", "port": "8443"}),
        ("https://api.demo.test:8443/x?y", {"host": "api.demo.test", "port": "8443"}),
        ("api.demo.test:587", {"host": "api.demo.test", "port": "587", "protocol": "smtp"}),
        ("api.demo.test:25 TLS", {"host": "api.demo.test", "port": "25"}),
        (
            "api.demo.test:587 starttls",
            {"host": "api.demo.test", "port": "587", "protocol": "smtp"},
        ),
        ("api.demo.test imap", {"host": "api.demo.test", "port": "143", "protocol": "imap"}),
        ("[2001:db8::1]:5432", {"host": "2001:db8::1", "port": "5432", "protocol": "postgres"}),
    ):
        await world.ask(f"/ssl check {typed}", "DUE", "Nothing was stored.")
        assert world.api.asked("checks")[-1] == sent, typed

    world.api.add("db.demo.test", port=5432)
    await world.ask("/ssl check db.demo.test starttls", "over STARTTLS (postgres)")
    await world.ask("/ssl check api.demo.test:2525 starttls", "Name the protocol")

    card = await world.ask("/ssl check api.demo.test:25 tls", "DUE", "Nothing was stored.")
    await world.press("Check again", on=card)
    await world.settled()
    assert world.api.asked("checks")[-2:] == [{"host": "api.demo.test", "port": "25"}] * 2

    await world.say("/ssl check <mailto:ann@demo.test|mail.demo.test> smtp")
    card = await world.card(
        "DUE", "`mail.demo.test:25`", "over STARTTLS (smtp). Nothing was stored."
    )
    assert labels(card) == ["Add", "Check again", "Share here"]
    await world.press("Share here", on=card)
    shared = await world.card("over STARTTLS (smtp). Nothing was stored.", "shared by Ann", by=BEN)
    assert shared.ephemeral_for is None
    await world.press("Check again", on=shared, by=BEN)
    await world.settled()
    sent = {"host": "mail.demo.test", "port": "25", "protocol": "smtp"}
    assert world.api.asked("checks")[-3:] == [sent] * 3


async def test_whoever_may_not_change_things_may_check_but_not_watch(make_world: MakeWorld) -> None:
    async with make_world(SSL_ADMINS=ANN) as world:
        world.api.extras = ["/checks"]
        card = await world.ask("/ssl check new.demo.test", "DUE", "Nothing was stored.", by=BEN)

        await world.press("Add", on=card, by=BEN)

        await world.card("ADMINS ONLY", by=BEN)
        assert world.api.asked("monitor/add") == []


@pytest.mark.slow
async def test_the_history_tells_what_changed(own_world: World) -> None:
    place = place_of(own_world, "intranet")
    assert own_world.hosts is not None
    card = await own_world.ask(f"/ssl add {place}", "EXPIRED", "added")
    own_world.hosts.renew("intranet.demo.test", days=90)
    await own_world.press("Rescan", on=card)
    card = await own_world.card("OK", "in 89 days")
    await own_world.press("Details", on=card)
    details = await own_world.card("*Chain (2)*", "1. intranet.demo.test, issued by", "*Issuer*")
    assert labels(details)[:2] == ["Rescan", "History"]
    await own_world.press("History", on=details)
    history = await own_world.card(f"*History* · `{place}`", "2 entries, newest first.")
    told = words(history)
    assert told.index("*OK*") < told.index("*Was EXPIRED, new certificate*")
    assert told.index("left at the time") < told.index("*EXPIRED*") < told.index("*First scan*")
    assert history.ephemeral_for == ANN
    assert labels(history) == ["Details", "Share here"]

    place = place_of(own_world, "shop")
    await own_world.ask(f"/ssl add {place}", "OK", "added")
    one = ("*History*", f"`{place}`", "1 entry,", "First scan", "Issuer: Demo")
    await own_world.ask("/ssl hist shop", *one)
    on_time = "*Regular scans*\nOn time: 2 monitors, none due now."
    await own_world.ask("/ssl ping", "SSLmonitor answers", on_time)


async def test_the_hosted_api_lacks_extras_and_is_asked_for_them_once_an_hour(world: World) -> None:
    card = await world.ask("/ssl help check", "check HOST[:PORT] [PROTOCOL]", "embedded API only")
    assert card.ephemeral_for == ANN
    await world.ask("/ssl check", "NOT UNDERSTOOD", "/ssl check example.com")
    line = "/ssl check mail.demo.test gopher"
    await world.ask(line, "“gopher” is not a protocol", "tls, smtp, imap")
    await world.settled()
    assert world.api.asked("openapi.json") == []

    world.api.answer("openapi.json", 503, times=3)
    await world.ask("/ssl check new.demo.test", "SSLMONITOR IS NOT ANSWERING")
    world.api.heal()
    before = len(world.api.asked("openapi.json"))
    world.api.add("api.demo.test")
    for line in ("check new.demo.test", "check new.demo.test", "history api.demo.test"):
        told = (*LACKS, f"`/ssl {line.partition(' ')[0]}`")
        card = await world.ask(f"/ssl {line}", *told)
        assert (card.ephemeral_for, labels(card)) == (ANN, [])
        assert (await world.ask(f"@SSLmonitor {line}", *told, seen_by=BEN)).in_thread
    await world.settled()
    assert len(world.api.asked("openapi.json")) == before + 1
    world.later(minutes=61)
    world.api.extras = ["/monitor/history"]
    await world.ask("/ssl check new.demo.test", *LACKS)
    await world.settled()
    assert len(world.api.asked("openapi.json")) == before + 2
    assert world.api.work == []


async def test_details_do_without_extras_and_without_an_answer_about_them(world: World) -> None:
    world.api.add("api.demo.test")
    world.api.answer("openapi.json", 503, times=9)
    card = await world.ask("/ssl status api.demo.test", "OK")
    await world.press("Details", on=card)
    assert "History" not in labels(await world.card("*Subject*"))
    await world.settled()

    world.api.heal()
    world.later(minutes=61)
    card = await world.ask("/ssl status api.demo.test", "OK")
    asked = len(world.api.asked("openapi.json"))
    await world.press("Details", on=card)
    await world.settled()
    assert len(world.api.asked("openapi.json")) == asked + 1
    card = await world.card("*Subject*")
    assert labels(card)[:2] == ["Rescan", "Details"]
    assert "Chain" not in words(card)
