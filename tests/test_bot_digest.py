"""The daily digest, from the clock to the channel."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from bot.__main__ import main
from bot.playground.faults import cut_answer, dropped_connection, http_answer, refusal
from bot.playground.objects import BEN, CERTS, GENERAL, SECRET, PostedMessage
from tests.world import MakeWorld, World, digest_of, environment, labels, words

TITLE = "Certificates on 23 November 2026"


@pytest.fixture
def world(digest_world: World) -> World:
    """Here every world has a digest."""
    return digest_world


def nine_o_clock(world: World) -> None:
    world.later(hours=1, minutes=31)


def posted(world: World) -> list[PostedMessage]:
    return world.seen(by=BEN)


async def test_the_scheduled_digest_is_posted_once_over_restarts(make_world: MakeWorld) -> None:
    async with make_world(bots=0, DIGEST_CHANNEL=CERTS) as world:
        world.api.add("api.demo.test", days=5.5)
        world.api.add("gone.demo.test", days=-2, valid=False)
        world.api.add("fine.demo.test")
        async with world.running_bot() as bot:
            await digest_of(bot).tick()
        assert posted(world) == []
        nine_o_clock(world)

        async with world.running_bot():
            card = await world.card(TITLE, "1 broken, 1 urgent", "1 other is not due", by=BEN)
        async with world.running_bot() as bot:
            await digest_of(bot).tick()
            world.later(minutes=600)
            await digest_of(bot).tick()

        assert posted(world) == [card]
        assert labels(card) == ["Rescan", "Rescan"]
        assert words(card).index("`gone.demo.test`") < words(card).index("`api.demo.test`")
        assert "fine.demo.test" not in words(card)
        assert "late" not in words(card)


@pytest.mark.slow
async def test_fridays_digest_also_names_what_is_urgent_before_mondays(world: World) -> None:
    world.api.add("weekend.demo.test", days=4 + 8.5)
    begins = f"{world.clock() + timedelta(hours=12):%Y-%m-%d %H:%M}"
    world.api.add("brief.demo.test", days=4 + 2.5, ssl_expire_date_start=begins)
    world.api.add("later.demo.test", days=4 + 11.5)
    nine_o_clock(world)
    for day in range(5):
        await world.digest.tick()
        if day == 4:
            await world.ask("/ssl digest preview", "Certificates now", "COMING UP")
        world.later(minutes=24 * 60)
    said = [words(message) for message in posted(world)]
    assert ["COMING UP" in each for each in said] == [False] * 4 + [True]
    assert (
        "Unless renewed, the certificate of 1 monitor expires before the digest of Monday, "
        "30 November: `brief.demo.test`; the certificate of 1 monitor reaches *Act now* by then: "
        "`weekend.demo.test`."
    ) in said[-1]


@pytest.mark.parametrize(
    ("all_clear", "said"),
    [("daily", "09:00 UTC."), ("weekly", "09:00 UTC, or weekly while all is clear.")],
)
async def test_a_first_start_after_the_hour_posts_at_once(
    all_clear: str, said: str, make_world: MakeWorld
) -> None:
    async with make_world(bots=0, DIGEST_CHANNEL=CERTS, DIGEST_ALL_CLEAR=all_clear) as world:
        nine_o_clock(world)
        async with world.running_bot() as bot:
            await world.settled()
            await digest_of(bot).tick()
            [first] = posted(world)
            told = f"This is the first digest; the next ones come daily at {said}"
            assert told in words(first)
            world.later(minutes=24 * 60)

            await digest_of(bot).tick()

            assert len(posted(world)) == 2
            assert "first digest" not in words(posted(world)[1])


async def test_two_bots_at_once_post_one_digest(make_world: MakeWorld) -> None:
    async with make_world(bots=2, DIGEST_CHANNEL=CERTS) as world:
        world.api.add("api.demo.test", days=5.5)
        nine_o_clock(world)

        await asyncio.gather(*(digest_of(bot).tick() for bot in world.bots * 3))

        assert len(posted(world)) == 1


async def test_an_api_that_fails_gives_no_all_clear_and_a_late_digest(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.api.add("api.demo.test", days=5.5)
    nine_o_clock(world)
    await world.api.close()
    await world.digest.tick()
    assert posted(world) == []
    assert "Could not post the digest of" in caplog.text
    _, state = await world.get("/healthz")
    assert "could not be reached" in state["digest"]

    await world.api.start()
    world.later(minutes=20)
    await world.digest.tick()

    (card,) = posted(world)
    assert TITLE in words(card)
    assert "late" in words(card)
    assert (await world.get("/healthz"))[1]["digest"] == "ok"


@pytest.mark.slow
async def test_a_digest_that_slack_took_and_then_failed_is_posted_once(world: World) -> None:
    world.api.add("api.demo.test", days=5.5)
    nine_o_clock(world)
    for number, fault in enumerate(
        (
            dropped_connection(after=True),
            http_answer(504, "<html>Gateway Timeout</html>", after=True),
            refusal("fatal_error", after=True),
            refusal("internal_error", after=True),
            http_answer(200, '{"ok": true}', content_type="application/json", after=True),
            cut_answer(),
        ),
        1,
    ):
        world.slack.faults.add("chat.postMessage", fault)
        await world.digest.tick()
        world.slack.faults.add("conversations.history", refusal("ratelimited"), times=2)
        for _ in range(4):
            world.later(minutes=6)
            await world.digest.tick()
        assert (len(posted(world)), world.digest.last_error) == (number, ""), fault
        assert world.slack.faults.take("conversations.history") is None
        world.later(days=1)


async def test_a_lost_digest_is_found_under_250_later_messages(world: World) -> None:
    nine_o_clock(world)
    world.slack.faults.add("chat.postMessage", dropped_connection(after=True))
    await world.digest.tick()
    for number in range(250):
        world.slack.post(CERTS, BEN, f"message {number}")

    world.later(minutes=6)
    await world.digest.tick()

    assert len([m for m in posted(world) if "Certificates on" in words(m)]) == 1
    assert world.digest.last_error == ""


async def test_what_fails_once_delays_one_digest(world: World) -> None:
    nine_o_clock(world)
    world.slack.faults.add("chat.postMessage", refusal("is_archived"))
    await world.digest.tick()
    assert "is_archived" in world.digest.last_error
    world.later(minutes=6)
    await world.digest.tick()
    assert len(posted(world)) == 1

    world.later(days=1)
    world.api.refuse("monitor/list", 400, "no")
    await world.digest.tick()
    assert len(posted(world)) == 1
    world.later(minutes=1)
    await world.digest.tick()
    assert len(posted(world)) == 1
    world.later(minutes=5)
    await world.digest.tick()
    assert "All clear" not in "".join(map(words, posted(world)))
    assert len(posted(world)) == 2

    world.later(days=1)
    world.slack.clock = lambda: world.clock() - timedelta(minutes=1)
    world.slack.faults.add("chat.postMessage", dropped_connection(after=True))
    await world.digest.tick()
    assert len(posted(world)) == 3
    world.later(minutes=6)
    await world.digest.tick()
    assert len(posted(world)) == 3
    assert world.digest.last_error == ""


async def test_health_names_a_digests_channel_without_the_bot(make_world: MakeWorld) -> None:
    async with make_world(DIGEST_CHANNEL=SECRET) as world:
        nine_o_clock(world)

        await world.digest.tick()

        status, state = await world.get("/healthz")
        said = "invite the bot to the channel, unless it no longer exists"
        fault = f"{SECRET}: Slack refused: channel_not_found ({said})"
        assert (status, state["digest"]) == (200, fault)


@pytest.mark.slow
async def test_the_command_line_posts_once_and_again_where_told(
    make_world: MakeWorld,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with make_world(bots=0, DIGEST_CHANNEL=CERTS) as world:
        world.api.add("api.demo.test", days=5.5)
        told = environment(world.playground, "http", tmp_path / "bot.sqlite3")
        api = {"SSLMONITOR_API_URL": world.api.url, "SSLMONITOR_API_KEY": "k3y-for-tests"}
        for name, value in (told | api | {"DIGEST_CHANNEL": CERTS}).items():
            monkeypatch.setenv(name, value)

        codes = [await asyncio.to_thread(main, ["digest"]) for _ in range(2)]
        codes.append(await asyncio.to_thread(main, ["digest", "--again"]))

        assert codes == [0, 0, 0]
        lines = capsys.readouterr().out.splitlines()
        assert (lines[0], "Already" in lines[1], lines[2]) == ("Posted.", True, "Posted.")
        assert len(posted(world)) == 2

        world.api.add("other.test", days=5.5)
        async with world.running_bot():  # whose settings lack the channel
            await world.ask("/ssl digest here api.demo.test", "posts a digest")
        assert await asyncio.to_thread(main, ["digest", "--again"]) == 0
        said = words(posted(world)[-1])
        assert "for `api.demo.test` only" in said
        assert "other.test" not in said
        world.slack.channels[CERTS].is_archived = True
        assert await asyncio.to_thread(main, ["digest", "--again"]) == 1
        cause = (
            f"The bot can't post in {CERTS}. Slack refused: is_archived (the channel is archived)."
        )
        assert cause in capsys.readouterr().err


async def test_the_command_line_fails_where_the_api_gives_nothing(
    make_world: MakeWorld,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with make_world(bots=0, DIGEST_CHANNEL=CERTS) as world:
        told = environment(world.playground, "http", tmp_path / "bot.sqlite3")
        api = {"SSLMONITOR_API_URL": world.api.url, "SSLMONITOR_API_KEY": "another"}
        for name, value in (told | api | {"DIGEST_CHANNEL": CERTS}).items():
            monkeypatch.setenv(name, value)

        assert await asyncio.to_thread(main, ["digest"]) == 1

        assert "401" in capsys.readouterr().err
        assert posted(world) == []


def digests(world: World) -> list[str]:
    return [words(message) for message in world.seen(by=BEN) if "Certificates on" in words(message)]


@pytest.mark.slow
async def test_what_nobody_takes_is_mentioned_even_if_notices_go_elsewhere(
    make_world: MakeWorld,
) -> None:
    told = {"NOTICE_CHANNEL": GENERAL, "NOTICE_MENTION": "U0BEN"}
    async with make_world(DIGEST_CHANNEL=CERTS, **told) as world:
        world.api.add("left.demo.test", valid=False)
        world.later(hours=2)
        for _ in range(3):
            await world.bot.digests.tick()
            world.later(days=1)
        assert "<@U0BEN> Nobody has taken `left.demo.test`" in digests(world)[-1]
        await world.ask("/ssl notices off", "off", to=GENERAL)
        world.api.add("new.demo.test", valid=False)
        for _ in range(3):
            await world.bot.digests.tick()
            world.later(days=1)
        assert "`new.demo.test`" in digests(world)[-1]
        assert "<@U0BEN>" not in digests(world)[-1]


@pytest.mark.slow
async def test_what_nobody_takes_for_two_digests_is_mentioned_once(digest_world: World) -> None:
    world = digest_world
    world.api.add("left.demo.test", valid=False)
    world.api.add("taken.demo.test", valid=False)
    world.api.add("other.test", valid=False)  # not one of theirs
    await world.ask("/ssl notices here *.demo.test mention U0BEN", "set up notices", seen_by=BEN)
    await world.ask("/ssl take taken.demo.test", "Taken by Ann")
    world.later(hours=2)
    mentioned = []
    first = world.bot.digests.current()[0]
    world.slack.faults.add("chat.postMessage", refusal("not_in_channel"))
    await world.bot.digests.tick()  # one that nobody saw does not count, nor one that is repeated
    world.later(minutes=6)
    for _ in range(4):
        await world.bot.digests.tick()
        mentioned.append("<@U0BEN> Nobody has taken" in digests(world)[-1])
        world.later(minutes=1)
        await first.post_now(again=True)
        assert "Nobody has taken" not in digests(world)[-1]
        world.later(days=1)
    assert mentioned == [False, False, True, False]
    said = next(text for text in digests(world) if "Nobody has taken" in text)
    assert "Nobody has taken `left.demo.test` since the digest before last." in said
