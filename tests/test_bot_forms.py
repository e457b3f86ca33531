"""The form behind `/ssl add`."""

import json
import logging
from pathlib import Path

import pytest

from bot.blocks import text_input
from bot.playground.objects import ANN, BEN
from bot.process import set_up_logging
from tests.world import MakeWorld, World, words

PASSWORD = "s3same/“öffne” &amp; dich–"  # a clean-up of typed words would change it


def everything_seen(world: World) -> str:
    """All that anybody sees in any channel, modal or Home."""
    slack = world.slack
    messages = [m for c in slack.channels for u in slack.users for m in slack.messages(c, u)]
    views = [v for u in slack.users for v in [*slack.modals(u), slack.home(u)] if v]
    return "\n".join([*map(words, messages), *map(words, views)])


def stored_in(directory: Path) -> bytes:
    """The bytes of the bot's database, its write-ahead log included."""
    return b"".join(file.read_bytes() for file in directory.glob("bot.sqlite3*"))


async def test_the_form_of_add_adds_hosts_and_shows_the_result(world: World) -> None:
    await world.say("/ssl add")
    form = await world.modal("Add hosts", "Hosts", "Proxy password")
    assert world.api.work == []
    assert [b["block_id"] for b in form.blocks if not b["optional"]] == ["targets"]

    held = world.api.hold("monitor/add")
    faults = await world.submit(form, targets="a.demo.test\nhttps://b.demo.test:8443, c.demo.test")
    assert faults == {}
    busy = await world.modal("Adding 1 of 3…")
    held.release()
    shown = await world.modal("Added 3 of 3 hosts.", "`b.demo.test:8443`")
    assert busy.id == shown.id == form.id
    await world.card("Ann added `a.demo.test`, `b.demo.test:8443`, `c.demo.test`.", by=BEN)
    assert len(world.api.rows) == 3


async def test_whoever_sends_a_form_of_an_older_version_is_told_what_it_lacks(world: World) -> None:
    form = await world.add_form()
    title, submit = form.content["title"], form.content["submit"]
    for callback, told in (("ssl:add_hosts", "UNKNOWN COMMAND"), ("ssl:add_now", "required")):
        block = text_input("hosts", "Hosts", hint="a.example.com")
        content = {"type": "modal", "callback_id": callback, "title": title, "submit": submit}
        old = world.slack.push_modal(ANN, content | {"private_metadata": "", "blocks": [block]})
        assert await world.submit(old, hosts="a.demo.test") == {}
        shown = await world.modal(told)
        assert (shown.id, "MEMBERS ONLY" in words(shown)) == (old.id, False)
    assert world.api.work == []


async def test_an_error_is_shown_at_its_field_and_can_be_corrected(world: World) -> None:
    form = await world.add_form()
    empty = dict.fromkeys(("proxy_host", "proxy_port", "proxy_username", "proxy_password"), "")
    for fields, field, says in (
        ({"targets": "a..demo"}, "targets", "a..demo"),
        ({"targets": "a.demo.test:99999"}, "targets", "99999"),
        ({"targets": " , "}, "targets", ""),
        ({"targets": " ".join(f"h{number}.test" for number in range(51))}, "targets", "50"),
        ({"targets": "a.demo.test", "proxy_port": "x", "proxy_host": "p.test"}, "proxy_port", "x"),
        ({"targets": "a.demo.test", "proxy_host": "p.test"}, "proxy_port", "missing"),
        ({"targets": "a.demo.test", "proxy_port": "3128"}, "proxy_host", "missing"),
        (
            {
                "targets": "a.demo.test",
                "proxy_host": "p.test",
                "proxy_port": "3128",
                "proxy_password": PASSWORD,
            },
            "proxy_username",
            "needs a user name",
        ),
    ):
        faults = await world.submit(form, **(empty | fields))
        assert list(faults) == [field], fields
        assert says in faults[field]
        assert world.slack.modal(ANN) is form
    assert world.api.work == []
    assert await world.submit(form, **(empty | {"targets": "a.demo.test"})) == {}
    await world.modal("OK", "`a.demo.test`", "added")


async def test_a_proxy_and_its_password_go_to_the_api_and_nowhere_else(
    world: World, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    set_up_logging(logging.DEBUG)
    caplog.set_level(logging.DEBUG)
    form = await world.add_form()

    await world.submit(
        form,
        targets="a.demo.test",
        proxy_host="proxy.test",
        proxy_port="3128",
        proxy_username="me",
        proxy_password=PASSWORD,
    )

    await world.modal("OK", "`a.demo.test`", "added")
    await world.settled()
    sent = world.api.asked("monitor/add")[0]
    assert sent["proxy_password"] == PASSWORD
    assert (sent["proxy_host"], sent["proxy_username"]) == ("proxy.test", "me")
    by_the_bot = [entry for entry in world.slack.traffic if entry["direction"] == "in"]
    stored = stored_in(tmp_path)
    assert len(by_the_bot) > 1
    assert b"SQLite format" in stored
    for secret in (PASSWORD, "s3same"):
        assert secret not in everything_seen(world)
        assert secret not in json.dumps(by_the_bot, ensure_ascii=False)
        assert secret not in caplog.text
        assert secret.encode() not in stored
    for library in ("sqlalchemy.engine", "aiosqlite", "slack_sdk"):  # they would log rows and words
        assert not logging.getLogger(library).isEnabledFor(logging.INFO)


async def test_a_password_that_the_api_repeats_is_not_shown(world: World) -> None:
    world.api.refuse("monitor/add", 400, f"the proxy refused {PASSWORD}")
    await world.say("/ssl add")

    await world.submit(
        await world.modal("Add hosts"),
        targets="a.demo.test",
        proxy_host="proxy.test",
        proxy_port="3128",
        proxy_username="me",
        proxy_password=PASSWORD,
    )

    await world.modal("REFUSED", "the proxy refused …")
    assert "s3same" not in everything_seen(world)


async def test_the_embedded_api_refuses_a_proxy_where_no_scan_may_go(make_world: MakeWorld) -> None:
    async with make_world(scans=True) as world:
        assert world.hosts is not None
        await world.say("/ssl add")

        await world.submit(
            await world.modal("Add hosts"),
            targets=world.hosts.targets[0],
            proxy_host="169.254.169.254",
            proxy_port="3128",
        )

        await world.modal("REFUSED", "refused by this server's rules", "error 400")


async def test_the_forms_channel_hears_only_where_the_bot_may_speak(world: World) -> None:
    await world.say("/ssl add", to="G0SECRET")

    await world.submit(await world.modal("Add hosts"), targets="a.demo.test")

    await world.modal("OK", "added")
    await world.settled()
    assert world.seen(to="G0SECRET") == []
    await world.modal("OK", "added")


@pytest.mark.slow
async def test_buttons_on_the_result_go_on_in_the_modal(world: World) -> None:
    await world.say("/ssl add")
    await world.submit(await world.modal("Add hosts"), targets="a.demo.test")
    shown = await world.modal("OK", "added", "Rescan")

    await world.press("Rescan", on=shown)

    await world.modal("OK", "asked by Ann")
    assert world.api.asked("monitor/scan") == [{"id": "101"}]


async def test_the_form_of_a_digest_takes_hosts_and_a_port_as_its_hint_says(world: World) -> None:
    await world.say("/ssl digest here")
    about = {"at": "9", "zone": "UTC", "days": "sat", "about": "*.demo.test,a.test port=443"}
    assert await world.submit(await world.modal("Daily digest"), **about) == {}
    await world.modal("only about `*.demo.test a.test port=443`")
