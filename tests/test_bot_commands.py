from bot.commands import router
from bot.playground.objects import ANN
from tests.world import MakeWorld, World, labels, words


async def test_status_shows_the_card_of_a_monitor_however_it_is_named(world: World) -> None:
    number = world.api.add("api.demo.test", days=12.5)
    await world.say("/ssl status api.demo.test")
    card = await world.card("DUE", "`api.demo.test`", "in 12 days", "Test CA", f"#{number}")
    assert card.text.startswith("api.demo.test DUE, expires in 12 days (5 Dec 2026")
    assert card.ephemeral_for == ANN
    shown = [
        "Rescan", "Scan & watch", "Details", "I'll take it", "Mute until it changes",
        "Delete this monitor", "Share here",
    ]  # fmt: skip
    assert labels(card) == shown

    assert world.api.add("api.demo.test", port=8443) == 102
    for which in (
        "api.demo.test:8443",
        "https://api.demo.test:8443/path",
        "API.demo.test. 8443",
        "102",
        "#102",
    ):
        card = await world.ask(f"/ssl status {which}", "OK", "`api.demo.test:8443`", "#102")
        assert "#101" not in words(card), which


async def test_a_pattern_lists_its_matches_worst_first_and_tells_no_match_from_no_monitors(
    world: World,
) -> None:
    await world.ask("/ssl list", "There are no monitors yet")
    await world.ask("/ssl list expires<30", "No monitors match `expires&lt;30`")
    card = await world.ask("/ssl status *.demo.test", "No monitors match `*.demo.test`")
    assert "Add" not in labels(card)

    world.api.add("a.demo.test")
    world.api.add("b.demo.test", days=-1, valid=False)
    world.api.add("other.test", days=-1, valid=False)

    card = await world.ask("/ssl status *.demo.test", "Monitors: *.demo.test", "1 broken, 1 OK")
    text = words(card)
    assert text.index("`b.demo.test`") < text.index("`a.demo.test`")
    assert "other.test" not in text


async def test_an_unknown_host_can_be_added_by_one_press(world: World) -> None:
    await world.say("/ssl status new.demo.test:8443")
    card = await world.card("NOT MONITORED", "`new.demo.test:8443`")
    assert world.api.asked("monitor/add") == []

    await world.press("Add", on=card)

    became = await world.card("OK", "`new.demo.test:8443`", "added")
    assert became.ts == card.ts
    assert world.api.asked("monitor/add") == [{"host": "new.demo.test", "port": "8443"}]
    await world.card("Ann added `new.demo.test:8443`.")


async def test_adding_hosts_says_what_became_of_each(world: World) -> None:
    world.api.add("old.demo.test")
    await world.ask("/ssl add old.demo.test", "`old.demo.test`", "already monitored")
    await world.settled()
    assert world.api.asked("monitor/add") == []
    assert all(message.ephemeral_for for message in world.seen())

    await world.say("/ssl add a.demo.test, b.demo.test:8443 old.demo.test a.demo.test")
    card = await world.card("Added 2 of 3 hosts.", "`old.demo.test` was already monitored")
    assert card.ephemeral_for == ANN
    assert len(world.api.asked("monitor/add")) == 2
    line = await world.card("Ann added `a.demo.test`, `b.demo.test:8443`.")
    assert line.ephemeral_for is None

    world.api.refuse("monitor/add", 422, "no such name")
    await world.say("/ssl add c.demo.test d.demo.test")
    card = await world.card("Added 1 of 2 hosts.", "`c.demo.test` was not added")
    assert "no such name" in words(card)


async def test_list_asks_with_the_filters(world: World) -> None:
    world.api.add("api.demo.test", port=8443, days=-2, valid=False)
    for filters, sent in (
        ("", {}),
        ("expires<30", {"ssl_expire_days": "<30"}),
        ("due", {"ssl_expire_days": "<30"}),
        ("valid=false", {"ssl_valid": "false"}),
        ("broken", {"ssl_valid": "false"}),
        ("host=*.demo.test port=8443", {"host": "*.demo.test", "port": "8443"}),
        ("*.demo.test", {"host": "*.demo.test"}),
    ):
        line = f"/ssl list {filters}"
        card = await world.ask(line, "1 monitor", "EXPIRED", "`api.demo.test:8443`")
        assert card.ephemeral_for == ANN
        assert world.api.asked("monitor/list")[-1] == sent, filters


async def test_only_a_danger_button_with_slacks_own_dialog_deletes_a_monitor(world: World) -> None:
    number = world.api.add("old.demo.test", port=8443)
    await world.say("/ssl delete old.demo.test")
    card = await world.card("Delete the monitor for `old.demo.test:8443`")
    assert card.ephemeral_for == ANN
    assert labels(card) == ["Delete", "Keep it"]
    danger = card.blocks[1]["elements"][0]
    assert danger["style"] == "danger"
    assert "old.demo.test:8443" in danger["confirm"]["text"]["text"]
    assert number in world.api.rows
    await world.press("Delete", on=card)
    became = await world.card("is no longer monitored")
    assert became.ts == card.ts
    assert number not in world.api.rows
    line = await world.card("Ann deleted the monitor for `old.demo.test:8443`.")
    assert line.ephemeral_for is None
    await world.press("Add again", on=became)
    await world.card("OK", "`old.demo.test:8443`", "added")

    number = world.api.add("kept.demo.test")
    card = await world.ask(f"/ssl delete {number}", "Delete the monitor")
    await world.press("Keep it", on=card)
    became = await world.card("OK", "`kept.demo.test`")
    assert became.ts == card.ts
    await world.ask(f"/ssl delete_now {number}", "UNKNOWN COMMAND")
    await world.settled()
    assert number in world.api.rows


async def test_account_shows_the_quota_ping_the_api_and_digest_what_is_due(world: World) -> None:
    world.api.add("a.demo.test")
    await world.ask("/ssl account", "ops@example.com", "1,000", "999")
    card = await world.ask("/ssl ping", "answers in 1 ms", "#7", "2026-11-23 07:30 (UTC)")
    assert "scans" not in words(card)

    world.api.add("api.demo.test", days=12.5)
    card = await world.ask("/ssl digest", "Certificates now", "1 due", "1 other is not due")
    assert card.ephemeral_for == ANN
    assert labels(card) == ["Rescan", "Share here"]


async def test_help_names_every_usage_and_usage_errors_say_what_to_write(
    world: World,
) -> None:
    told = ("*Look up and scan*", "*Change*", "`/ssl help list` explains one command")
    card = await world.ask("/ssl help", "/ssl status HOST[:PORT]|ID|PATTERN", *told)
    assert all(f"/ssl {command.usage}" in words(card) for command in router.typed())
    assert card.ephemeral_for == ANN
    assert world.api.work == []

    for line, complaint, usage in (
        ("/ssl status", "needs a host, an ID or a pattern", "/ssl status example.com"),
        ("/ssl scan", "needs a host or an ID", "/ssl scan example.com"),
        ("/ssl status a.test b.test", "takes one at a time", "/ssl status"),
        ("/ssl scan a.test,b.test", "one at a time", "/ssl scan"),
        ("/ssl scan a.test and b.test", "takes one at a time", "/ssl scan"),
        ("/ssl status a.test:99999", "port", "/ssl status"),
        ("/ssl status exa mple", "", "/ssl status"),
        ("/ssl delete", "needs a host or an ID", "/ssl delete example.com"),
        ("/ssl list colour=red", "“colour” is not a filter", "Try port=443"),
        ("/ssl add a.demo.test b..demo", "is not a host name", "/ssl add example.com"),
    ):
        card = await world.ask(line, "NOT UNDERSTOOD", usage, complaint)
        assert card.ephemeral_for == ANN
        assert world.api.work == [], line

    card = await world.ask("/ssl acount", "UNKNOWN COMMAND", "Did you mean `account`?")
    await world.press("Run account", on=card)
    became = await world.card("ops@example.com")
    assert became.ts == card.ts
    assert labels(await world.ask("/ssl xyzzy", "UNKNOWN COMMAND", "/ssl help")) == []


async def test_the_bot_monitors_real_hosts_with_its_embedded_api(make_world: MakeWorld) -> None:
    async with make_world(mode="socket", scans=True) as world:
        assert world.hosts is not None
        expired = next(t for t in world.hosts.targets if t.startswith("intranet"))
        await world.say(f"/ssl add {expired}")
        card = await world.card("EXPIRED", f"`{expired}`", "Demo Trust Services", "HTTP 200")
        world.hosts.renew("intranet.demo.test", days=90)

        await world.press("Rescan", on=card)

        became = await world.card("OK", f"`{expired}`", "in 89 days")
        assert became.ts == card.ts
