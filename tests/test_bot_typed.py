"""What people really type: punctuation, formatting, habits, courtesies and slips."""

from __future__ import annotations

import pytest

from bot.playground.objects import ANN
from tests.world import World, labels, words

DM = "D0ANN"


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
    ):
        card = await world.ask(line, "OK", "`api.demo.test`", "Rescan")
        assert card.ephemeral_for is None


async def test_a_host_may_be_formatted_and_punctuated(world: World) -> None:
    world.api.add("api.demo.test", days=80)
    for host in (
        "`api.demo.test`", "_api.demo.test_", "(api.demo.test)", "api.demo.test?",
        "- api.demo.test", "• api.demo.test", "*api.demo.test*", "[api.demo.test]",
        "“api.demo.test”", "api.demo.test.", "«api.demo.test»", "<api.demo.test>",
        "([api.demo.test])", "__api.demo.test__", "api.demo.test:443.", "'api.demo.test',",
        "api.demo.test port 443", "api.demo.test : 443", "~api.demo.test~ 🙏", "api。demo。test",
        "「api.demo.test」", "【api.demo.test】", "●api.demo.test", "api[.]demo[.]test", "id:101",
        "api.demo.test/health?x=1", "api.demo.test:443/a", "api.demo.test on port 443",
        "api.demo.test, port 443", "api.demo.test --port=443",
    ):  # fmt: skip
        await world.ask(f"/ssl status {host}", "OK", "`api.demo.test`")


async def test_a_bare_host_or_id_means_its_status(world: World) -> None:
    world.api.add("api.demo.test", days=80)
    for which in ("api.demo.test", "101", "#101", "Status “api.demo.test”"):
        await world.ask(f"/ssl {which}", "OK", "`api.demo.test`")


async def test_a_greeting_gets_a_friendly_line(world: World) -> None:
    for text in ("hi", "thanks!", "hello"):
        card = await world.ask(text, "`/ssl help`", to=DM)
        assert "NOT UNDERSTOOD" not in words(card)
        assert "UNKNOWN" not in words(card)


async def test_the_beginning_of_a_name_is_enough_for_a_threshold(world: World) -> None:
    world.api.add("web.demo.test", days=80)
    await world.ask("/ssl warn web 14d", "Renewal of `web.demo.test` is due when 14 days are left.")
    await world.ask("/ssl warn nosuch.test 14d", "`nosuch.test`", "No monitor matches it yet.")
    await world.ask("/ssl warn", "*Thresholds*", "`web.demo.test` 14d", "`nosuch.test` 14d")


async def test_a_threshold_is_for_hosts_and_written_as_people_write_it(world: World) -> None:
    world.api.add("mail.demo.test")
    world.api.add("mail2.demo.test")
    for typed, told in (
        ("2 weeks", "14 days"), ("at P14D", "14 days"), ("two weeks before", "14 days"),
        ("20 percent", "20% of"),
    ):  # fmt: skip
        await world.ask(f"/ssl warn mail2.demo.test {typed}", f"is due when {told}")
    await world.ask("/ssl warn mail 14d", "The names of 2 hosts begin with “mail”")
    for word in ("broken", "all", "expired"):
        await world.ask(f"/ssl warn {word} 14d", "Thresholds apply to a host or a pattern")
    await world.ask("/ssl warn list", "`mail2.demo.test` 20%")


async def test_a_mute_lasts_as_long_as_it_says_however_that_is_written(world: World) -> None:
    world.api.add("old.demo.test", days=-1, valid=False)
    for typed, told in (
        ("3d", "until 26 Nov 2026 07:30 UTC."),
        ("for 2 weeks waiting for the CA", "until 7 Dec 2026 07:30 UTC: waiting for the CA."),
        ("FOR=1 day", "until 24 Nov 2026 07:30 UTC."),
        ("until it changes", "until it changes, at most until 23 Dec 2026 07:30 UTC."),
        ("3d.", "until 26 Nov 2026 07:30 UTC."),
        ("3d, moved", "until 26 Nov 2026 07:30 UTC: moved."),
        ("for: 3 days – moved", "until 26 Nov 2026 07:30 UTC: moved."),
        ("moved for 3d", "until 26 Nov 2026 07:30 UTC: moved."),
        ("a month", "until 23 Dec 2026 07:30 UTC."),
        ("for two weeks", "until 7 Dec 2026 07:30 UTC."),
        ("half an hour", "until 23 Nov 2026 08:00 UTC."),
        ("for fun", "until it changes, at most until 23 Dec 2026 07:30 UTC: for fun."),
    ):
        await world.ask(f"/ssl mute old.demo.test {typed}", f"Ann muted old.demo.test {told}")
    for typed in ("until friday", "until 2026-12-01", "for=0d", "for 60 days"):
        await world.ask(f"/ssl mute old.demo.test {typed}", "NOT UNDERSTOOD", "for=7d")
    await world.ask("/ssl mute for 3d", "NOT UNDERSTOOD", "“for” is not a host name")
    whiles = ("tonight", "for the weekend", "over the next few days", "for a while", "this week")
    for typed in ("1d12h", "1.5d", "3 Tage", "till monday", "forever", "0", *whiles):
        await world.ask(f"/ssl mute old.demo.test {typed}", "NOT UNDERSTOOD", "for=7d")


async def test_a_length_or_words_of_no_meaning_may_stand_before_the_host(world: World) -> None:
    world.api.add("old.demo.test", days=-1, valid=False)
    for typed, told in (
        ("warn me 14 days before old.demo.test", "Renewal of `old.demo.test` is due when 14 days"),
        ("mute for 3d old.demo.test moved", "old.demo.test until 26 Nov 2026 07:30 UTC: moved."),
        ("note on old.demo.test ask Ben", "Note on `old.demo.test`: ask Ben"),
        ("runbook https://a.test/x old.demo.test", "<https://a.test/x|Runbook> of `old.demo.test`"),
        ("runbook issuer: Test CA https://a.test/x", "Runbook> of `test ca` is linked."),
    ):
        await world.ask(f"/ssl {typed}", told)


async def test_a_note_or_runbook_says_if_no_monitor_matches(world: World) -> None:
    world.api.add("shop.demo.test")
    await world.ask("/ssl note shop ask Ben", "Note on `shop.demo.test`: ask Ben")
    await world.ask('/ssl note shop ""', "The note on `shop.demo.test` was removed.")
    await world.ask("/ssl note nosuch ask Ben", "`nosuch`", "No monitor matches it yet.")
    await world.ask("/ssl runbook *.nosuch.test https://a.test", "No monitor matches it yet.")
    shop = await world.ask("/ssl runbook shop https://a.test", "Runbook> of `shop.demo.test`")
    assert "No monitor matches" not in words(shop)
    await world.ask("/ssl status shop.demo.test", "<https://a.test|Runbook>")
    await world.ask("/ssl runbook shop", "The runbook of `shop.demo.test` was removed.")
    world.api.add("shop.other.test")
    await world.ask("/ssl runbook shop https://a.test", "The names of 2 hosts begin with “shop”.")
    await world.ask("/ssl runbook shop.demo.test wiki.test/tls", "A link begins with https://")
    await world.ask("/ssl runbook shop.demo.test none", "had no runbook")
    for typed in ("note broken x", "runbook * https://a.test", "runbook 101 https://a.test"):
        await world.ask(f"/ssl {typed}", "NOT UNDERSTOOD", "for a host" if "run" in typed else "")


async def test_lists_understand_names_states_and_spaces(world: World) -> None:
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
        ("list fine, broken", ["mail.demo.test", "old.demo.test"]),
    ):
        card = await world.ask(f"/ssl {line}", f"{len(hosts)} monitor")
        shown = [host for host in ("mail.demo.test", "old.demo.test") if host in words(card)]
        assert shown == hosts, line


async def test_lists_understand_what_is_excluded_combined_and_shown_on_cards(world: World) -> None:
    world.api.add("mail.demo.test", days=80)
    world.api.add("old.demo.test", days=-1, valid=False)
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


async def test_a_state_with_a_port_is_the_beginning_of_a_name(world: World) -> None:
    for host, port in (("fine.demo.test", 8443), ("fine.demo.test", 443), ("a.demo.test", 8443)):
        world.api.add(host, port=port)
    await world.ask("/ssl status fine:8443", "fine.demo.test:8443", "OK")
    card = await world.ask("/ssl status fine:9443", "isn't monitored")
    assert "a.demo.test" not in words(card)


async def test_a_word_that_is_no_filter_is_told_as_a_part_of_a_name(world: World) -> None:
    await world.ask("/ssl list stale", "`host=*stale*`", "`/ssl help list` names the filters.")


async def test_hosts_are_separated_by_commas_and_semicolons_too(world: World) -> None:
    for number, typed in enumerate(
        (
            "a0.demo.test,b0.demo.test;c0.demo.test",
            "a1.demo.test and b1.demo.test & c1.demo.test please",
            "\n- a2.demo.test\n- b2.demo.test\n- c2.demo.test",
            "1. a3.demo.test 2. b3.demo.test | 'c3.demo.test'",
            '["a4.demo.test", "b4.demo.test"] / c4.demo.test',
            "a5.demo.test，b5.demo.test、c5.demo.test",
        )
    ):
        await world.ask(f"/ssl add {typed}", "Added 3 of 3 hosts.")
        hosts = [f"{letter}{number}.demo.test" for letter in "abc"]
        assert [asked["host"] for asked in world.api.asked("monitor/add")[-3:]] == hosts
    await world.ask("/ssl add d.demo.test 443, 8443", "Added 2 of 2 hosts.")


async def test_no_host_of_several_is_lost_and_no_word_is_added(world: World) -> None:
    for number, typed in enumerate(
        (
            "<https://a0.demo.test/>|<https://b0.demo.test/>",
            "a1.demo.test|b1.demo.test",
            "https://a2.demo.test/x;https://b2.demo.test",
            "a3.demo.test und b3.demo.test",
            "new hosts: a4.demo.test/x, b4.demo.test to monitoring",
        )
    ):
        await world.ask(f"/ssl add {typed}", "Added 2 of 2 hosts.")
        hosts = [f"{letter}{number}.demo.test" for letter in "ab"]
        assert [asked["host"] for asked in world.api.asked("monitor/add")[-2:]] == hosts
    await world.ask("/ssl add 2001:db8::1 8443", "`[2001:db8::1]:8443`", "Rescan")
    before = len(world.api.rows)
    for typed in (
        "a.demo.test/b.demo.test",
        "a.demo.test:443/8443",
        "a.demo.test smtp:25",
        "muted",
    ):
        await world.ask(f"/ssl add {typed}", "NOT UNDERSTOOD", "is not a host name")
    assert len(world.api.rows) == before


async def test_a_name_without_a_dot_is_added_after_a_question_only(world: World) -> None:
    await world.ask("/ssl add mail.demo.test xmpp", "Add these 2 hosts?", "xmpp")
    card = await world.ask("/ssl add intranet", "Add this host?")
    assert world.api.rows == {}
    await world.press("Add 1", on=card)
    await world.card("`intranet`", "added")
    for word in ("mine", "due", "nosuch"):
        assert "Add" not in labels(await world.ask(f"/ssl take {word}", f"`{word}`"))


async def test_a_protocol_after_a_host_says_how_tls_starts(world: World) -> None:
    world.api.extras = ["/monitor/add?protocol"]
    for typed, protocol in (
        ("a.demo.test:25 smtp", "smtp"),
        ("b.demo.test smtp", "smtp"),
        ("c.demo.test:25", "smtp"),
        ("d.demo.test:25 TLS", None),
        ("https://e.demo.test:25, smtp", "smtp"),
        ("smtp://f.demo.test/x", "smtp"),
        ("g.demo.test starttls=submission", "smtp"),
        ("h.demo.test 25 via smtp", "smtp"),
        ("j.demo.test:smtp", "smtp"),
        ("k.demo.test:25 STARTTLS", "smtp"),
        ("l.demo.test starttls smtp", "smtp"),
        ("m.demo.test --protocol smtp", "smtp"),
        ("n.demo.test:25 smtp starttls", "smtp"),
        ("o.demo.test:25 smtps", None),
    ):
        how = "over STARTTLS (smtp)" if protocol else "added"
        host = (typed.partition("://")[2] or typed)[: len("a.demo.test")]
        await world.ask(f"/ssl add {typed}", f"{host}:25", how)
    assert [(s["host"], s["port"], s.get("protocol")) for s in world.api.asked("monitor/add")] == [
        *((f"{name}.demo.test", "25", "smtp") for name in "abc"),
        ("d.demo.test", "25", None),
        *((f"{name}.demo.test", "25", "smtp") for name in "efghjklmn"),
        ("o.demo.test", "25", None),
    ]
    await world.ask("/ssl add i.demo.test:2525 starttls", "Name the protocol")


async def test_a_protocol_belongs_to_the_host_before_it(world: World) -> None:
    world.api.extras = ["/monitor/add?protocol"]
    await world.ask("/ssl add a.demo.test, b.demo.test imap, c.demo.test", "Added 3 of 3 hosts.")
    assert [(each["port"], each.get("protocol")) for each in world.api.asked("monitor/add")] == [
        ("443", None), ("143", "imap"), ("443", None)
    ]  # fmt: skip


async def test_a_preview_keeps_the_protocols(world: World) -> None:
    world.api.extras = ["/monitor/add?protocol"]
    await world.say("/ssl add a.demo.test b.demo.test c.demo.test d.demo.test:587 smtp")
    await world.press("Add 4", on=await world.card("Add these 4 hosts?", "d.demo.test:587 smtp"))
    await world.card("Added 4 of 4 hosts.")
    assert world.api.asked("monitor/add")[3]["protocol"] == "smtp"


async def test_an_api_that_knows_no_starttls_gets_no_monitor_that_would_try_tls(
    world: World,
) -> None:
    await world.ask("/ssl add mail.demo.test:25 smtp", "NOT AVAILABLE HERE", "`/ssl add HOST smtp`")
    assert world.api.rows == {}
    await world.ask("/ssl add mail.demo.test:25", "`mail.demo.test:25`", "added")
    assert "protocol" not in world.api.asked("monitor/add")[0]


async def test_the_form_takes_a_protocol_for_hosts_that_name_none(world: World) -> None:
    world.api.extras = ["/monitor/add?protocol"]
    form = await world.add_form()
    await world.submit(form, targets="a.demo.test\nb.demo.test:8443 tls", protocol="imap")
    await world.card("Ann added a.demo.test:143, b.demo.test:8443.")
    assert [(each["port"], each.get("protocol")) for each in world.api.asked("monitor/add")] == [
        ("143", "imap"), ("8443", None)
    ]  # fmt: skip


async def test_a_word_of_ours_is_never_added_as_a_monitor(world: World) -> None:
    for word in ("broken", "help", "expired", "status"):
        complaint = f"“{word}” is not a host name"
        await world.ask(f"/ssl add mail.demo.test {word}", "NOT UNDERSTOOD", complaint)
    await world.settled()
    assert world.api.rows == {}


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


async def test_other_words_for_a_command_are_known_and_none_means_the_opposite(
    world: World,
) -> None:
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


async def test_removing_means_deleting_and_asks_first(world: World) -> None:
    world.api.add("api.demo.test")
    for verb in ("rm", "remove"):
        assert "Delete" in labels(await world.ask(f"/ssl {verb} api.demo.test", "Delete the"))
    assert len(world.api.rows) == 1


async def test_a_text_after_a_host_stays_as_it_was_typed(world: World) -> None:
    await world.ask(
        "/ssl please note `api.demo.test` waiting (ticket #12), “ask Ben”: https://a.test/b-(c)",
        "Note on `api.demo.test`: waiting (ticket #12), “ask Ben”: https://a.test/b-(c)",
    )
    await world.ask("/ssl runbook api.demo.test https://a.test/b_(c)", "<https://a.test/b_(c)|")


async def test_a_check_uses_the_port_that_is_monitored(world: World) -> None:
    world.api.extras = ["/checks"]
    world.api.add("shop.demo.test", port=42807)
    await world.ask("/ssl check shop.demo.test", "`shop.demo.test:42807`")


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


@pytest.mark.parametrize("subtype", ["file_share", "thread_broadcast"])
async def test_a_message_with_a_file_or_for_the_channel_too_is_answered(
    subtype: str, world: World
) -> None:
    world.api.add("api.demo.test", days=80)
    slack = world.slack
    message = slack.post(DM, ANN, "status api.demo.test")
    payload = world.playground.payloads.message_event("message", slack.users[ANN], message)
    payload["event"]["subtype"] = subtype
    await world.playground.delivery.send("events_api", payload)
    await world.card("OK", "`api.demo.test`", to=DM)


async def test_help_for_one_command_explains_its_forms_and_shows_a_line_that_works(
    world: World,
) -> None:
    await world.say("/ssl help list")
    card = await world.card(
        "/ssl list [FILTER…]", "part of a name", "For example `/ssl list expires&lt;30`"
    )
    assert "/ssl scan" not in words(card)
