"""The daily digest: what it asks, and that each day gets it once."""

from datetime import date, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from bot.api.models import MonitorSummary
from bot.blocks import Message
from bot.digest import LEASE, RETRY_AFTER, Digest
from bot.errors import APIUnreachable, BotError, SlackLimited, SlackRefused, SlackUnreachable
from bot.store.database import Database
from bot.store.digests import DigestStore, StoredDigest
from bot.store.monitors import Records
from tests.card_values import NOW, row
from tests.digest_plan import CHANNEL, DAY, HOUR, MINUTE, api, at, plan


class Channel:
    """A channel in memory. `faults` are raised by the next posts, `lost` after they arrived."""

    def __init__(self) -> None:
        self.messages: list[tuple[Message, str | None, datetime]] = []
        self.faults: list[BotError | None] = []
        self.lost = False
        self.searches: list[datetime] = []
        self.deleted: list[str] = []
        self.edited: list[str] = []
        self.files: list[tuple[str, str, bytes]] = []
        self.search_fault: BotError | None = None
        self.now = NOW

    async def post(
        self, channel: str, message: Message, thread_ts: str | None = None, *, patient: bool = True
    ) -> str:
        assert (channel, patient) == (CHANNEL, False)
        fault = self.faults.pop(0) if self.faults else None
        if fault and not self.lost:
            raise fault
        self.messages.append((message, thread_ts, self.now))
        if fault:
            raise fault
        return f"{len(self.messages)}.0"

    async def find_posts(
        self, channel: str, message: Message, since: datetime, thread_ts: str | None = None
    ) -> list[str]:
        self.searches.append(since)
        if self.search_fault:
            raise self.search_fault
        return [
            f"{number}.0"
            for number, (held, thread, posted_at) in enumerate(self.messages, 1)
            if held.metadata == message.metadata and thread == thread_ts and posted_at >= since
        ]

    async def delete(self, channel: str, ts: str) -> None:
        self.deleted.append(ts)

    async def share_file(self, channel: str, thread_ts: str, name: str, content: bytes) -> None:
        self.files.append((thread_ts, name, content))

    async def has_file(self, channel: str, thread_ts: str, name: str) -> bool:
        if self.search_fault:
            raise self.search_fault
        return any(each[:2] == (thread_ts, name) for each in self.files)

    async def is_last(self, channel: str, ts: str) -> bool:
        if self.search_fault:
            raise self.search_fault
        return ts == f"{len(self.messages)}.0"

    async def update(
        self, channel: str, ts: str, message: Message, within: float | None = 0.0
    ) -> None:
        assert within is None
        fault = self.faults.pop(0) if self.faults else None
        if fault and not self.lost:
            raise fault
        number = int(float(ts)) - 1
        self.messages[number] = (message, None, self.messages[number][2])
        self.edited.append(ts)
        if fault:
            raise fault

    @property
    def parts(self) -> list[int]:
        return [(held.metadata or {})["event_payload"]["part"] for held, _, _ in self.messages]


class Bot:
    """Processes that share a database and a channel, and a clock that the test turns."""

    def __init__(self, database: Database, rows: list[MonitorSummary]) -> None:
        self.state, self.records = DigestStore(database), Records(database)
        self.channel = Channel()
        self.api, self.monitors = api(rows)
        self.now = at("2026-11-23 08:00")

    def clock(self) -> datetime:
        self.channel.now = self.now
        return self.now

    async def process(self) -> Digest:
        started = Digest(plan(), self.api, self.state, self.channel, self.records, clock=self.clock)
        await started.start()
        return started

    async def at_nine(self) -> Digest:
        """A process that has done at nine what is due then."""
        process = await self.process()
        self.now = at("2026-11-23 09:00")
        await process.tick()
        return process


@pytest_asyncio.fixture
async def bot(database: Database) -> Bot:
    return Bot(database, [row(id=1, not_after=NOW + 5 * DAY)])


@pytest.mark.slow
async def test_over_three_days_three_digests_are_posted(bot: Bot) -> None:
    process = await bot.process()
    for _ in range(3 * 24 * 4):
        await process.tick()
        bot.now += 15 * MINUTE
    days = [
        held.metadata["event_payload"]["day"]
        for held, _, _ in bot.channel.messages
        if held.metadata
    ]
    assert days == ["2026-11-23", "2026-11-24", "2026-11-25"]
    assert process.last_error == ""


async def test_before_its_start_is_known_nothing_is_posted(bot: Bot) -> None:
    bot.now = at("2026-11-23 10:00")
    unstarted = Digest(plan(), bot.api, bot.state, bot.channel, bot.records, clock=bot.clock)
    await unstarted.tick()
    assert bot.channel.messages == []


async def test_a_restart_repeats_nothing(bot: Bot) -> None:
    bot.now = at("2026-11-23 09:00")
    first = await bot.process()
    assert bot.channel.messages == []
    bot.now = at("2026-11-24 09:00")
    await first.tick()
    for _ in range(3):
        bot.now += HOUR
        await (await bot.process()).tick()
    assert bot.channel.parts == [0]


async def test_a_restart_over_the_hour_skips_nothing_and_says_that_it_is_late(bot: Bot) -> None:
    await bot.process()
    bot.now = at("2026-11-23 13:00")
    await (await bot.process()).tick()
    [(message, _, _)] = bot.channel.messages
    assert "This digest is late" in str(message.blocks)


async def test_the_parts_of_a_long_digest_go_to_its_thread(bot: Bot) -> None:
    bot.monitors.rows = half_due()
    await bot.at_nine()
    assert bot.channel.parts == list(range(len(bot.channel.messages)))
    assert bot.channel.parts == [0, 1, 2]
    threads = [thread for _, thread, _ in bot.channel.messages]
    assert threads == [None, *["1.0"] * (len(threads) - 1)]


async def test_a_thread_that_broke_off_goes_on_where_it_stopped(bot: Bot) -> None:
    bot.monitors.rows = half_due()
    bot.channel.faults = [None, None, SlackRefused("internal_error")]
    await bot.at_nine()
    assert bot.channel.parts == [0, 1]
    bot.now += RETRY_AFTER
    bot.monitors.rows = []  # what was claimed is posted, not what is so now
    await (await bot.process()).tick()
    assert bot.channel.parts == [0, 1, 2]


def half_due() -> list[MonitorSummary]:
    """More than one message holds: half of them unreachable, half of them due."""
    due = at("2026-12-05 09:00")
    return [row(id=n, valid=n % 2 > 0, not_after=due if n % 2 else None) for n in range(1, 501)]


@pytest.mark.parametrize("broken", [0, 1, 2])
async def test_a_post_that_may_have_arrived_is_looked_up(bot: Bot, broken: int) -> None:
    bot.monitors.rows = half_due()
    bot.channel.faults = [*[None] * broken, SlackUnreachable("The connection broke.")]
    bot.channel.lost = True
    process = await bot.at_nine()
    assert process.last_error == "The connection broke."
    bot.now += RETRY_AFTER
    await process.tick()
    assert bot.channel.parts == list(range(len(bot.channel.parts)))
    assert bot.channel.deleted == []
    assert {thread for _, thread, _ in bot.channel.messages} == {None, "1.0"}
    assert process.last_error == ""


async def test_a_post_that_did_not_arrive_is_posted_after_the_look_up(bot: Bot) -> None:
    bot.channel.faults = [SlackUnreachable("The connection broke.")]
    process = await bot.at_nine()
    bot.now += RETRY_AFTER
    await process.tick()
    assert bot.channel.parts == [0]
    assert bot.channel.searches[0] < at("2026-11-23 09:00")


async def test_a_failed_look_up_leaves_the_time_to_look_from(bot: Bot) -> None:
    bot.channel.faults = [SlackUnreachable("The connection broke.")]
    bot.channel.lost = True
    bot.channel.search_fault = SlackUnreachable("Slack is down.")
    process = await bot.at_nine()
    bot.now += RETRY_AFTER
    await process.tick()
    assert process.last_error == "Slack is down."
    bot.channel.search_fault = None
    bot.now += RETRY_AFTER
    await process.tick()
    assert bot.channel.parts == [0]
    assert bot.channel.searches[0] == bot.channel.searches[1] < at("2026-11-23 09:00")


async def test_a_claim_is_left_alone_until_its_lease_ends(bot: Bot) -> None:
    bot.channel.faults = [SlackUnreachable("The process ends here.")]
    first, second = await bot.process(), await bot.process()
    bot.now = at("2026-11-23 09:00")
    await first.tick()
    bot.now += LEASE - timedelta(seconds=1)
    await second.tick()
    assert bot.channel.parts == []
    bot.now += timedelta(seconds=1)
    await second.tick()
    assert bot.channel.parts == [0]


async def test_a_refusal_gives_the_day_back_and_the_next_try_asks_anew(bot: Bot) -> None:
    bot.channel.faults = [SlackRefused("not_in_channel")]
    process = await bot.at_nine()
    asked = "invite the bot to the channel"
    assert process.last_error == f"Slack refused: not_in_channel ({asked})"
    assert await bot.state.digest(date(2026, 11, 23), CHANNEL) is None
    bot.monitors.rows = []
    bot.now += RETRY_AFTER
    await process.tick()
    [(message, _, _)] = bot.channel.messages
    assert message.text.startswith("There are no monitors yet.")
    assert bot.channel.deleted == []


async def test_after_a_failure_the_next_tries_wait(bot: Bot) -> None:
    bot.monitors.fault = APIUnreachable("Nobody is there.")
    process = await bot.process()
    bot.now = at("2026-11-23 09:00")
    asked = []
    for _ in range(11):
        await process.tick()
        asked.append(len(bot.monitors.asked) > 0)
        bot.monitors.asked.clear()
        bot.now += MINUTE
    assert asked == [True, *[False] * 4, True, *[False] * 4, True]
    assert process.last_error == "Nobody is there."
    bot.monitors.fault = None
    bot.now += RETRY_AFTER
    await process.tick()
    assert bot.channel.parts == [0]
    assert process.last_error == ""


async def test_a_clock_that_was_ahead_for_a_while_delays_no_digest(bot: Bot) -> None:
    process = await bot.process()
    bot.monitors.fault = APIUnreachable("Nobody is there.")
    bot.now = at("2030-11-23 09:00")
    await process.tick()
    bot.monitors.fault = None
    bot.now = at("2026-11-23 09:00")
    await process.tick()
    assert (bot.channel.parts, process.last_error) == ([0], "")


async def test_a_digest_posted_by_hand_claims_the_day_unless_again(bot: Bot) -> None:
    process = await bot.process()
    assert await process.post_now()
    assert not await process.post_now()
    assert await process.post_now(again=True)
    bot.now = at("2026-11-23 09:00")
    await process.tick()
    assert bot.channel.parts == [0, 0]


async def test_posting_by_hand_reports_a_fault(bot: Bot) -> None:
    bot.channel.faults = [SlackRefused("channel_not_found")]
    process = await bot.process()
    with pytest.raises(SlackRefused):
        await process.post_now()
    assert await process.post_now()


async def test_a_process_that_was_paused_before_its_post_finds_that_another_one_took_over(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await bot.process(), await bot.process()
    bot.now = at("2026-11-23 09:00")
    claim = bot.state.claim

    async def claim_then_sleep(*arguments: Any, **named: Any) -> StoredDigest | None:
        stored = await claim(*arguments, **named)
        monkeypatch.setattr(bot.state, "claim", claim)
        bot.now += 10 * MINUTE
        await second.tick()
        return stored

    monkeypatch.setattr(bot.state, "claim", claim_then_sleep)
    await first.tick()
    bot.now += 10 * MINUTE
    await first.tick()
    assert bot.channel.parts == [0]
    assert (first.last_error, second.last_error) == ("", "")


async def test_a_claim_that_took_too_long_to_read_is_read_again_before_the_post(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, reads = await bot.process(), 0
    bot.now = at("2026-11-23 09:00")
    digest = bot.state.digest

    async def slow(day: date, channel: str) -> StoredDigest | None:
        nonlocal reads
        reads += 1
        stored = await digest(day, channel)
        bot.now += timedelta(seconds=3 if reads == 3 else 0)
        return stored

    monkeypatch.setattr(bot.state, "digest", slow)
    await process.tick()
    assert (bot.channel.parts, reads) == ([0], 4)


async def test_of_two_posts_of_one_claim_the_younger_is_deleted(bot: Bot) -> None:
    process = await bot.process()
    bot.now = at("2026-11-23 09:00")
    post = bot.channel.post

    async def post_twice(*arguments: Any, **options: Any) -> str:
        await post(*arguments, **options)
        return await post(*arguments, **options)

    bot.channel.post = post_twice  # type: ignore[method-assign]
    await process.tick()
    assert bot.channel.deleted == ["2.0"]
    stored = await bot.state.digest(date(2026, 11, 23), CHANNEL)
    assert stored is not None
    assert (stored.ts, stored.finished) == ("1.0", True)


@pytest.mark.parametrize("reason", ["not_in_channel", "missing_scope"])
async def test_without_its_history_a_digest_is_repeated_once(bot: Bot, reason: str) -> None:
    bot.channel.lost = True
    bot.channel.faults = [SlackUnreachable("The connection broke.")] * 20
    bot.channel.search_fault = SlackRefused(reason)
    process = await bot.process()
    bot.now = at("2026-11-23 09:00")
    for _ in range(20):
        await process.tick()
        bot.now += RETRY_AFTER
    assert bot.channel.parts == [0, 0]
    assert "Invite the bot to the channel" in process.last_error


async def test_a_refused_token_is_no_reason_to_invite_the_bot_or_repeat_a_digest(bot: Bot) -> None:
    bot.channel.lost = True
    bot.channel.faults = [SlackUnreachable("The connection broke.")]
    bot.channel.search_fault = SlackRefused("token_revoked")
    process = await bot.at_nine()
    for _ in range(5):
        bot.now += RETRY_AFTER
        await process.tick()
    assert process.last_error == "Slack refused: token_revoked"
    assert bot.channel.parts == [0]


async def test_a_limited_history_is_asked_again_and_nothing_is_repeated(bot: Bot) -> None:
    bot.channel.lost = True
    bot.channel.faults = [SlackUnreachable("The connection broke.")]
    bot.channel.search_fault = SlackLimited(30)
    process = await bot.process()
    bot.now = at("2026-11-23 09:00")
    for _ in range(3):
        await process.tick()
        bot.now += RETRY_AFTER
    bot.channel.search_fault = None
    await process.tick()
    assert bot.channel.parts == [0]
    assert process.last_error == ""


async def test_the_last_try_comes_before_the_local_day_ends(bot: Bot) -> None:
    bot.channel.faults = [SlackUnreachable("Slack is down.")]
    process = await bot.process()
    bot.now = at("2026-11-23 23:56")
    await process.tick()
    assert bot.channel.parts == []
    for _ in range(4):
        bot.now += MINUTE
        await process.tick()
    assert bot.channel.parts == [0]
