"""“Check hosts in message”, the menu behind a bare `/ssl`, and [Share here]."""

from bot.playground.faults import dropped_connection, refusal
from bot.playground.objects import ANN, BEN, BOT_USER, CERTS, GUS, SECRET
from tests.world import World, labels, words

TEXT = "api.demo.test is down, see https://shop.demo.test:8443/cart (report.pdf, v1.2.3, a@b.test)"


async def test_the_shortcut_offers_what_can_be_done_with_each_host(world: World) -> None:
    number = world.api.add("api.demo.test", days=80)
    await world.say(TEXT, by=BEN)
    await world.shortcut(world.said("is down"))
    found = await world.modal("This message names 2 hosts.", "`api.demo.test`")
    assert "`shop.demo.test:8443`" in words(found)
    assert labels(found) == ["Status", "Scan", "Add"] * 2
    assert world.api.work == []

    await world.press("Status", on=found, row="api.demo.test")
    shown = await world.modal("`api.demo.test`", "Rescan")
    assert (shown.id != found.id, len(world.slack.modals(ANN))) == (True, 2)

    await world.playground.close_view(ANN, shown.id)
    await world.press("Scan", on=found, row="api.demo.test")
    scanned = await world.modal("`api.demo.test`", "asked by Ann", "Rescan")
    assert world.api.asked("monitor/scan") == [{"id": str(number)}]

    await world.playground.close_view(ANN, scanned.id)
    await world.press("Add", on=found, row="shop.demo.test")
    await world.modal("`shop.demo.test:8443`", "added")
    await world.card("Ann added `shop.demo.test:8443`.", by=BEN)


async def test_hosts_that_no_modal_could_show_are_told_the_asker_alone(world: World) -> None:
    world.api.add("api.demo.test", days=80)
    await world.say(TEXT, by=BEN)
    for fault in (refusal("expired_trigger_id"), dropped_connection()):
        before = {each.ts for each in world.seen()}
        world.slack.faults.add("views.open", fault)
        await world.shortcut(world.said("is down, see"))
        await world.settled()
        (card,) = [each for each in world.seen() if each.ts not in before]
        assert "This message names 2 hosts." in words(card)
        assert card.ephemeral_for == ANN
    await world.press("Status", on=card, row="api.demo.test")
    await world.card("OK", "`api.demo.test`")
    world.slack.faults.add("views.open", refusal("expired_trigger_id"))
    await world.shortcut(world.said("is down, see"), by=GUS)
    await world.card("FULL MEMBERS ONLY", by=GUS)


async def test_hosts_are_found_in_blocks_and_what_has_none_says_so(world: World) -> None:
    await world.say("good morning", by=BEN)
    await world.shortcut(world.said("good morning"))
    await world.modal("no host names or URLs that can be checked")

    block = {"type": "section", "text": {"type": "mrkdwn", "text": "`db.demo.test:5432` is late"}}
    message = world.slack.post(CERTS, BOT_USER, "an alert", blocks=[block])
    await world.shortcut(message)
    await world.modal("names 1 host.", "`db.demo.test:5432`")

    await world.say(TEXT, by=BEN)
    await world.shortcut(world.said("is down"), by=GUS)
    await world.modal("FULL MEMBERS ONLY", by=GUS)
    assert world.api.work == []


async def test_the_menu_is_there_in_threads_without_the_api_and_with_three(
    world: World,
) -> None:
    card = await world.ask("@SSLmonitor", "There are no monitors yet", seen_by=BEN)
    assert card.in_thread
    card = await world.ask("/ssl", "There are no monitors yet", "Help")
    await world.press("Help", on=card)
    await world.card("/ssl status HOST")
    await world.press("Add…", on=card)
    await world.modal("Add hosts")
    world.api.refuse("monitor/list", 400, "not now")
    await world.say("/ssl")
    assert "Add…" in labels(await world.card("REFUSED", "not now"))
    world.api.refuse("monitor/list", 400, "not now")
    assert labels(await world.ask("/ssl list", "REFUSED")) == []

    for number in range(5):
        world.api.add(f"h{number}.demo.test", days=5 * number + 1.5)
    card = await world.ask("/ssl", "5 monitors", "`h0.demo.test`", "`h2.demo.test`")
    assert "h3.demo.test" not in words(card)
    assert labels(card) == ["Rescan"] * 3 + ["Add…", "List", "Due now", "Help"]
    assert card.ephemeral_for == ANN


async def test_a_private_answer_or_list_can_be_shared_where_there_is_somebody(world: World) -> None:
    world.api.add("api.demo.test", days=80)
    card = await world.ask("/ssl status api.demo.test", "`api.demo.test`", "Share here")
    await world.press("Share here", on=card)
    shared = await world.card("`api.demo.test`", "shared by Ann", by=BEN)
    assert shared.ephemeral_for is None
    assert "Share here" not in labels(shared)
    assert "<@" not in words(shared)
    await world.press("Details", on=card)
    await world.press("Share here", on=await world.card("Names"))
    await world.card("Names", "shared by Ann", by=BEN)
    await world.say("/ssl status api.demo.test", to=SECRET)
    await world.press("Share here", on=await world.card("Rescan", to=SECRET))
    await world.card("NOT SHARED", "Invite it", to=SECRET)
    world.slack.faults.add("chat.postMessage", refusal("restricted_action"))
    await world.press("Share here", on=card)
    said = await world.card("NOT SHARED", "channel or workspace settings")
    assert "nvite" not in words(said)
    assert world.seen(by=BEN, to=SECRET) == []
    await world.say("/ssl status api.demo.test", to="D0ANN")
    assert "Share here" not in labels(await world.card("Rescan", to="D0ANN"))

    world.api.add("a.demo.test", days=80)
    world.api.add("b.demo.test", port=8443, days=80)
    await world.say("/ssl list port=8443 valid=true")
    await world.press("Share here", on=await world.card("`b.demo.test:8443`"))
    shared = await world.card("1 monitor", "shared by Ann", by=BEN)
    assert "a.demo.test" not in words(shared)
