"""What people really type: punctuation, formatting, habits, courtesies and slips."""

import pytest

from bot.playground.objects import ANN
from tests.world import World, labels, words

DM = "D0ANN"


@pytest.mark.slow
async def test_a_mention_may_have_anything_around_its_command(world: World) -> None:
    world.api.add("api.demo.test", days=80)
    for line in (
        "@SSLmonitor: status api.demo.test",
        "@SSLmonitor :status api.demo.test",
        "@SSLmonitor - status api.demo.test",
        "@SSLmonitor ! status api.demo.test",
        "hey @SSLmonitor status api.demo.test",
        "@SSLmonitor please, status api.demo.test",
        "@SSLmonitor `status api.demo.test`",
        "@SSLmonitor api.demo.test",
        "@SSLmonitor > status api.demo.test :pray:",
        "@SSLmonitor *status api.demo.test* 👍",
        "@SSLmonitor could you show api.demo.test, please?",
        "@SSLmonitor\n• status api.demo.test\nThank you!",
        "@SSLmonitor /ssl status of api.demo.test now",
        "@SSLmonitor /status host=api.demo.test",
        "@SSLmonitor https://api.demo.test/",
        "@SSLmonitor status `api.demo.test` ?",
        "@SSLmonitor status api.demo.test !",
        "@SSLmonitor status = api.demo.test",
        "@SSLmonitor status=api.demo.test asap",
        "@SSLmonitor a) ・status api.demo.test",
        "@SSLmonitor api.demo.test status ?",
        "@SSLmonitor <@U0BEN> status api.demo.test",
        "@SSLmonitor status api.demo.test (cc: <@U0BEN>, <@U0EVE>)",
        "@SSLmonitor status api.demo.test please and thank you",
    ):
        card = await world.ask(line, "OK", "`api.demo.test`", "Rescan")
        assert card.ephemeral_for is None


@pytest.mark.slow
async def test_a_host_may_be_formatted_and_stand_alone(world: World) -> None:
    world.api.add("api.demo.test", days=80)
    for host in (
        "`api.demo.test`", "_api.demo.test_", "(api.demo.test)", "api.demo.test?",
        "- api.demo.test", "• api.demo.test", "*api.demo.test*", "[api.demo.test]",
        "“api.demo.test”", "api.demo.test.", "«api.demo.test»", "<api.demo.test>",
        "([api.demo.test])", "__api.demo.test__", "api.demo.test:443.", "'api.demo.test',",
        "api.demo.test port 443", "api.demo.test : 443", "~api.demo.test~ 🙏", "api。demo。test",
        "「api.demo.test」", "【api.demo.test】", "●api.demo.test", "api[.]demo[.]test", "id:101",
        "api.demo.test/health?x=1", "api.demo.test:443/a", "api.demo.test on port 443",
        "api.demo.test, port 443", "api.demo.test --port=443", "api.demo.test (443)",
        "[api.demo.test](https://api.demo.test)",
    ):  # fmt: skip
        await world.ask(f"/ssl status {host}", "OK", "`api.demo.test`")

    for which in ("api.demo.test", "101", "#101", "Status “api.demo.test”"):
        await world.ask(f"/ssl {which}", "OK", "`api.demo.test`")


@pytest.mark.slow
async def test_lists_understand_names_states_and_what_is_combined(world: World) -> None:
    world.api.add("mail.demo.test", days=80)
    world.api.add("old.demo.test", days=-1, valid=False)
    for line, hosts in (
        ("list mail", ["mail.demo.test"]),
        ("list expired", ["old.demo.test"]),
        ("list all", ["mail.demo.test", "old.demo.test"]),
        ("list port 443", ["mail.demo.test", "old.demo.test"]),
        ("list expires < 30", ["old.demo.test"]),
        ("list expires<7d", ["old.demo.test"]),
        ("list valid = false", ["old.demo.test"]),
        ("list port=443 and expires<10", ["old.demo.test"]),
        ("list fine", ["mail.demo.test"]),
        ("list expired or broken", ["old.demo.test"]),
        *(
            (f"list {less}", ["old.demo.test"])
            for less in (
                "expires<30 days left",
                "next 30 days",
                "30d",
                "2 weeks",
                "before 9 days",
            )
        ),
        ("list mail:443", ["mail.demo.test"]),
        ("list expires<30&port=443", ["old.demo.test"]),
        ("list fine, broken", ["mail.demo.test", "old.demo.test"]),
    ):
        card = await world.ask(f"/ssl {line}", f"{len(hosts)} monitor")
        shown = [host for host in ("mail.demo.test", "old.demo.test") if host in words(card)]
        assert shown == hosts, line

    for line, host in (
        *((f"list {no}expired", "mail.demo.test") for no in ("not ", "!", "-", "except ")),
        ("list isn't valid", "old.demo.test"),
        ("list valid is false", "old.demo.test"),
        ("list expired, overdue", "old.demo.test"),
        ("list expired,unreachable", "old.demo.test"),
        ("list expired OR act now", "old.demo.test"),
        ("list not scanned yet | EXPIRED", "old.demo.test"),
        ("list not muted and not taken mail", "mail.demo.test"),
        ("status free", "old.demo.test"),
    ):
        card = await world.ask(f"/ssl {line}", "1 monitor" if "list" in line else "EXPIRED")
        shown = [each for each in ("mail.demo.test", "old.demo.test") if each in words(card)]
        assert shown == [host], line
    for line, told in (
        ("list !mail", "“mail” can't be excluded: only states can"),
        ("list not *.demo.test", "can't be excluded"),
        ("list sort by date", "Words that aren't filters are read as parts of a name"),
        ("list healthy", "Did you mean `/ssl list fine`?"),
        ("list 8443", "Did you mean `/ssl list port=8443`?"),
    ):
        await world.ask(f"/ssl {line}", told)


async def test_what_is_no_filter_is_read_as_a_part_of_a_name(world: World) -> None:
    for host, port in (("fine.demo.test", 8443), ("fine.demo.test", 443), ("a.demo.test", 8443)):
        world.api.add(host, port=port)
    await world.ask("/ssl status fine:8443", "fine.demo.test:8443", "OK")
    card = await world.ask("/ssl status fine:9443", "isn't monitored")
    assert "a.demo.test" not in words(card)

    help_ = "`/ssl help list` names the filters."
    await world.ask("/ssl list stale", "`stale` isn't a filter, and no monitored host's", help_)
    world.api.add("mail.demo.test", days=80)
    for typed in ("expired yesterday", "expired 3 days ago", "due today"):
        await world.ask(f"/ssl list {typed}", "NOT UNDERSTOOD", help_)
    await world.ask("/ssl list expired mail", "No monitors match `expired` and `host=*mail*`.")
    said = "No monitors match `expired` or `unreachable`, and `valid=true`."
    await world.ask("/ssl list expired unreachable valid=true", said)


async def test_what_means_many_monitors_asks_first_with_their_number(world: World) -> None:
    world.api.add("a.demo.test", days=-1, valid=False)
    world.api.add("b.demo.test", days=-1, valid=False)
    world.api.add("c.demo.test", days=80)
    for line, question, button in (
        ("scan broken", "Scan these 2 monitors?", "Scan 2"),
        ("scan *.demo.test", "Scan these 3 monitors?", "Scan 3"),
        ("delete *.demo.test", "Delete these 3 monitors?", "Delete 3"),
        ("delete broken", "Delete these 2 monitors?", "Delete 2"),
        ("scan due", "Scan these 2 monitors?", "Scan 2"),
        ("scan *", "Scan these 3 monitors?", "Scan 3"),
        ("delete *.demo.test:443", "Delete these 3 monitors?", "Delete 3"),
    ):
        assert button in labels(await world.ask(f"/ssl {line}", question))
    await world.settled()
    assert (world.api.asked("monitor/scan"), len(world.api.rows)) == ([], 3)


async def test_what_people_type_for_help_is_help(world: World) -> None:
    everything = ("?", "??", "-h", "--help", "/help", "commands")
    for line, told in (
        *((each, "*Look up and scan*") for each in everything),
        *((each, "/ssl watch HOST") for each in ("stop 2", "unwatch 2", "watch --help")),
        *((each, "/ssl digest here [at") for each in ("help digest here", "digest here -h")),
        ("help digest", "`/ssl help digest here`"),
        ("add ?", "/ssl add TARGET…"),
        ("rm ?", "/ssl delete HOST"),
        ("help /ssl scan", "/ssl scan HOST"),
        ("help with add", "/ssl add TARGET…"),
        ("help me", "*Look up and scan*"),
    ):
        card = await world.ask(f"/ssl {line}", told)
        assert not any(label.startswith("Run") for label in labels(card)), line

    await world.say("/ssl help list")
    card = await world.card(
        "/ssl list [FILTER…]", "part of a name", "For example `/ssl list expires&lt;30`"
    )
    assert "/ssl scan" not in words(card)


async def test_other_words_are_known_and_none_means_the_opposite(world: World) -> None:
    for line, run in (
        ("claim api.demo.test", "Run take api.demo.test"),
        ("expired", "Run list expired"),
        ("what is the status of api.demo.test?", "Run status api.demo.test"),
        ("what's broken?", "Run list broken"),
        ("is everything ok?", "Run list ok"),
        ("untake api.demo.test", "Run release api.demo.test"),
        ("dontdelete api.demo.test", None),
        ("create new.demo.test", None),
        ("muted", "Run list muted"),
        ("expires < 30", "Run list expires < 30"),
        ("port=443", "Run list port=443"),
        ("expiry api.demo.test", "Run status api.demo.test"),
        ("how do I add a host?", None),
    ):
        found = labels(await world.ask(f"/ssl {line}", "UNKNOWN COMMAND"))
        assert found == [run] * bool(run), line

    world.api.add("api.demo.test")
    for verb in ("rm", "remove"):
        assert "Delete" in labels(await world.ask(f"/ssl {verb} api.demo.test", "Delete the"))
    assert len(world.api.rows) == 1


async def test_a_shared_domain_alone_is_no_similarity(world: World) -> None:
    world.api.add("api.fleet.test")
    world.api.add("mail.fleet.test")
    card = await world.ask("/ssl status nowhere.fleet.test", "NOT MONITORED")
    assert labels(card) == ["Add"]
    for typed in ("shop.fleet.tset", "nowhere.fleet.example"):
        assert labels(await world.ask(f"/ssl status {typed}", f"`{typed}` isn't")) == ["Add"]
    card = await world.ask("/ssl status mail.fleet.tset", "Did you mean")
    assert labels(card) == ["mail.fleet.test", "Add"]


async def test_an_example_in_a_usage_error_can_be_copied(world: World) -> None:
    world.api.add("2001:db8::1", days=80)
    world.api.extras = ["/checks"]
    await world.ask("/ssl status 999.1", "Write it like 192.0.2.1 or 2001:db8::1.")
    await world.ask("/ssl status a*:b", "Try `*.example.com`.")
    await world.ask("/ssl status 2001∶db8∶∶1", "OK", "`2001:db8::1`")
    await world.ask("/ssl check api.demo.test *x*y_z", "“∗x∗yˍz” is not a protocol")

    world.api.add("shop.demo.test", port=42807)
    await world.ask("/ssl check shop.demo.test", "`shop.demo.test:42807`")
    for typed in ("smtp a.demo.test", "a.demo.test --starttls smtp", "a.demo.test starttls smtp"):
        await world.ask(f"/ssl check {typed}", "Checked", "`a.demo.test:25`")
    await world.ask("/ssl check a.demo.test imaps", "Checked", "`a.demo.test:993`")
    await world.ask("/ssl check smtp", "“smtp” is not a host name")


async def test_a_message_with_a_file_a_broadcast_and_a_greeting_are_answered(
    world: World,
) -> None:
    world.api.add("api.demo.test", days=80)
    slack = world.slack
    for count, subtype in enumerate(("file_share", "thread_broadcast"), 1):
        message = slack.post(DM, ANN, "status api.demo.test")
        payload = world.playground.payloads.message_event("message", slack.users[ANN], message)
        payload["event"]["subtype"] = subtype
        await world.playground.delivery.send("events_api", payload)
        await world.settled()
        assert ["OK" in words(m) for m in world.seen(to=DM)] == [True] * count

    for text in ("hi", "thanks!", "hello", "hi there", "danke", "Merci!", "Guten Morgen"):
        card = await world.ask(text, "`/ssl help`", to=DM)
        assert "NOT UNDERSTOOD" not in words(card)
        assert "UNKNOWN" not in words(card)
