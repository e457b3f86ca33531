"""What people really type to change something: several hosts, times, protocols, and free text."""

import pytest

from tests.world import World, labels, words


@pytest.mark.slow
async def test_a_threshold_is_written_as_people_write_it(world: World) -> None:
    world.api.add("web.demo.test", days=80)
    await world.ask("/ssl warn web 14d", "Renewal of `web.demo.test` is due when 14 days are left.")
    await world.ask("/ssl warn nosuch.test 14d", "`nosuch.test`", "No monitor matches it yet.")
    await world.ask("/ssl warn * 14d", "Thresholds apply to a host or a pattern")
    await world.ask("/ssl warn", "*Thresholds*", "`web.demo.test` 14d", "`nosuch.test` 14d")

    world.api.add("mail.demo.test")
    world.api.add("mail2.demo.test")
    for typed, told in (
        ("2 weeks", "14 days"), ("at P14D", "14 days"), ("two weeks before", "14 days"),
        ("when 14 days are left", "14 days"), ("in 14d", "14 days"), ("20 percent", "20% of"),
    ):  # fmt: skip
        await world.ask(f"/ssl warn mail2.demo.test {typed}", f"is due when {told}")
    await world.ask("/ssl warn mail 14d", "The names of 2 hosts begin with “mail”")
    for word in ("broken", "all", "expired"):
        await world.ask(f"/ssl warn {word} 14d", "Thresholds apply to a host or a pattern")
    await world.ask("/ssl warn list", "`mail2.demo.test` 20%")


@pytest.mark.slow
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


@pytest.mark.slow
async def test_a_mute_with_an_unread_length_or_a_second_host_changes_nothing(world: World) -> None:
    world.api.add("old.demo.test", days=-1, valid=False)
    for typed in (
        *("bis Montag", "für 3 Tage", "zwei Tage", "pour 3 jours", "heute", "jusqu'à lundi", "eod"),
        *("indefinitely", "all week", "monday", "for=", "for=abc", "moved, back in 7 days"),
        *("by Friday", "through friday", "Dec 24", "December 24"),
        *("moved 3d", "1 day 12 hours", "1 day and 12 hours", "(for 3d)", "end of day"),
    ):
        await world.ask(f"/ssl mute old.demo.test {typed}", "NOT UNDERSTOOD", "Say how long")
    for typed in (", new.demo.test 3d", " and new.demo.test 3d", " new.demo.test for 3d"):
        await world.ask(f"/ssl mute old.demo.test{typed}", "Try `/ssl mute old.demo.test`.")
    await world.ask("/ssl mute old.demo.test off", "`/ssl unmute old.demo.test` ends a mute.")
    await world.settled()
    assert not any("🔕" in words(each) for each in world.seen())
    for typed in ("for 3 days!", "3d, please", "for 3d now"):
        await world.ask(f"/ssl mute old.demo.test {typed}", "until 26 Nov 2026 07:30 UTC.")
    await world.ask("/ssl mute old.demo.test please", "until 23 Dec 2026 07:30 UTC.")
    for reason in ("v1.2 rollout", "e.g. moved", "see wiki.demo.test", "Umzug"):
        await world.ask(f"/ssl mute old.demo.test {reason}", f"UTC: {reason}.")


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


@pytest.mark.slow
async def test_a_note_stays_as_typed_and_says_if_no_monitor_matches(world: World) -> None:
    world.api.add("shop.demo.test")
    await world.ask("/ssl note shop ask Ben", "Note on `shop.demo.test`: ask Ben")
    await world.ask('/ssl note shop ""', "The note on `shop.demo.test` was removed.")
    await world.ask("/ssl note nosuch ask Ben", "`nosuch`", "No monitor matches it yet.")
    await world.ask("/ssl runbook *.nosuch.test https://a.test", "No monitor matches it yet.")
    shop = await world.ask("/ssl runbook shop https://a.test", "Runbook> of `shop.demo.test`")
    assert "No monitor matches" not in words(shop)
    await world.ask("/ssl status shop.demo.test", "<https://a.test|Runbook>")
    await world.ask("/ssl runbook shop", "`shop.demo.test` was removed.", "Before: https://a.test")
    world.api.add("shop.other.test")
    await world.ask("/ssl runbook shop https://a.test", "The names of 2 hosts begin with “shop”.")
    await world.ask("/ssl runbook shop.demo.test wiki.test/tls", "A link begins with https://")
    await world.ask("/ssl runbook shop.demo.test none", "had no runbook")
    for typed in (
        *("note add shop.demo.test x", "note remove shop.demo.test", "warn us 14d"),
        *("warn default 14d", "runbook add https://a.test"),
    ):
        await world.ask(f"/ssl {typed}", "NOT UNDERSTOOD", "is not a host name")
    await world.ask("@SSLmonitor note shop.demo.test x cc <@U0BEN>", "x cc @Ben")
    for typed in (", a.demo.test x", " and a.demo.test x"):
        await world.ask(f"/ssl note shop.demo.test{typed}", "Name one at a time")
    await world.ask("/ssl note shop.demo.test, ask Ben", "Note on `shop.demo.test`: ask Ben")
    await world.ask("/ssl note shop.demo.test remove", "The note on `shop.demo.test` was removed.")
    await world.ask("/ssl runbook shop.demo.test https://a.test/x.", "<https://a.test/x|Runbook>")
    for typed in ("note broken x", "runbook * https://a.test", "runbook 101 https://a.test"):
        await world.ask(f"/ssl {typed}", "NOT UNDERSTOOD", "for a host" if "run" in typed else "")

    await world.ask(
        "/ssl please note `api.demo.test` waiting (ticket #12), “ask Ben”: https://a.test/b-(c)",
        "Note on `api.demo.test`: waiting (ticket #12), “ask Ben”: https://a.test/b-(c)",
    )
    await world.ask("/ssl runbook api.demo.test https://a.test/b_(c)", "<https://a.test/b_(c)|")


@pytest.mark.slow
async def test_however_hosts_are_separated_none_is_lost_and_no_word_is_added(world: World) -> None:
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
    for number, typed in enumerate(
        (
            "|a{0}.demo.test|25|\n|b{0}.demo.test|8443|",
            "host,port\na{0}.demo.test,25\nb{0}.demo.test,8443",
            '[{{"host":"a{0}.demo.test", "port":25}}, {{"host":"b{0}.demo.test", "port":8443}}]',
            "a{0}.demo.test (port 25) https://b{0}.demo.test 8443",
            "my new hosts: a{0}.demo.test (25), b{0}.demo.test ports 8443",
        )
    ):
        await world.ask(f"/ssl add {typed.format(number)}", "Added 2 of 2 hosts.")
        asked = [(each["host"][0], each["port"]) for each in world.api.asked("monitor/add")[-2:]]
        assert asked == [("a", "25"), ("b", "8443")], typed
    await world.ask("/ssl add d.demo.test 443, 8443", "Added 2 of 2 hosts.")

    for number, typed in enumerate(
        (
            "<https://a0.more.test/>|<https://b0.more.test/>",
            "a1.more.test|b1.more.test",
            "https://a2.more.test/x;https://b2.more.test",
            "a3.more.test und b3.more.test",
            "new hosts: a4.more.test/x, b4.more.test to monitoring",
        )
    ):
        await world.ask(f"/ssl add {typed}", "Added 2 of 2 hosts.")
        hosts = [f"{letter}{number}.more.test" for letter in "ab"]
        assert [asked["host"] for asked in world.api.asked("monitor/add")[-2:]] == hosts
    await world.ask("/ssl add 2001:db8::1 8443", "`[2001:db8::1]:8443`", "Rescan")
    before = len(world.api.rows)
    for typed in (
        "a.more.test/b.more.test",
        "a.more.test:443/8443",
        "a.more.test smtp:25",
        "muted",
        "a.more.test tls 1.3",
        "a.more.test at 9.30",
        "a.more.test --force",
    ):
        await world.ask(f"/ssl add {typed}", "NOT UNDERSTOOD", "is not a host name")
    for typed in ("a.more.test proxy 10.0.0.1:3128", "a.more.test --proxy 10.0.0.1:3128"):
        await world.ask(f"/ssl add {typed}", "NOT UNDERSTOOD", "A proxy can be set in the form")
    await world.ask("/ssl add a.more.test floor 5", "NOT UNDERSTOOD", "“5” is not")
    assert len(world.api.rows) == before


@pytest.mark.slow
async def test_a_protocol_after_a_host_or_in_the_form_says_how_tls_starts(world: World) -> None:
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

    await world.ask("/ssl add p.demo.test, q.demo.test imap, r.demo.test", "Added 3 of 3 hosts.")
    asked = world.api.asked("monitor/add")[-3:]
    assert [(each["port"], each.get("protocol")) for each in asked] == [
        ("443", None), ("143", "imap"), ("443", None)
    ]  # fmt: skip

    await world.say("/ssl add s.demo.test t.demo.test u.demo.test v.demo.test:587 smtp")
    await world.press("Add 4", on=await world.card("Add these 4 hosts?", "v.demo.test:587 smtp"))
    await world.card("Added 4 of 4 hosts.")
    assert world.api.asked("monitor/add")[-1]["protocol"] == "smtp"

    form = await world.add_form()
    await world.submit(form, targets="w.demo.test\nx.demo.test:8443 tls", protocol="imap")
    await world.card("Ann added w.demo.test:143, x.demo.test:8443.")
    asked = world.api.asked("monitor/add")[-2:]
    assert [(each["port"], each.get("protocol")) for each in asked] == [
        ("143", "imap"), ("8443", None)
    ]  # fmt: skip


async def test_an_api_without_starttls_gets_no_monitor_for_tls(world: World) -> None:
    await world.ask("/ssl add mail.demo.test:25 smtp", "NOT AVAILABLE HERE", "`/ssl add HOST smtp`")
    assert world.api.rows == {}
    await world.ask("/ssl add mail.demo.test:25", "`mail.demo.test:25`", "added")
    assert "protocol" not in world.api.asked("monitor/add")[0]


async def test_a_word_of_ours_is_never_added_as_a_monitor(world: World) -> None:
    for word in ("broken", "help", "expired", "status"):
        complaint = f"“{word}” is not a host name"
        await world.ask(f"/ssl add mail.demo.test {word}", "NOT UNDERSTOOD", complaint)
    await world.settled()
    assert world.api.rows == {}

    await world.ask("/ssl add mail.demo.test xmpp", "Add these 2 hosts?", "xmpp")
    card = await world.ask("/ssl add intranet", "Add this host?")
    assert world.api.rows == {}
    await world.press("Add 1", on=card)
    await world.card("`intranet`", "added")
    for word in ("mine", "due", "nosuch"):
        assert "Add" not in labels(await world.ask(f"/ssl take {word}", f"`{word}`"))
