"""What the bot remembers, on a real database."""

import asyncio
from datetime import UTC, date, datetime, timedelta

import pytest_asyncio

from bot.blocks import Message, section
from bot.store.database import Database
from bot.store.digests import DigestStore
from bot.store.notices import NoticeStore

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
DAY, CHANNEL = date(2026, 11, 23), "C0CERTS"
MESSAGES = (
    Message("first “ünïcödé”", (section("one"),), metadata={"event_type": "x", "part": 0}),
    Message("second", (section("two"), section("three")), metadata={"event_type": "x", "part": 1}),
)


@pytest_asyncio.fixture
async def state(database: Database) -> DigestStore:
    return DigestStore(database)


async def test_the_first_start_is_kept_for_good(state: DigestStore, database: Database) -> None:
    assert await state.first_start(NOW) == NOW
    assert await state.first_start(NOW + timedelta(days=9)) == NOW
    assert await DigestStore(database).first_start(NOW + timedelta(days=99)) == NOW


async def test_a_claim_keeps_all_messages_and_records_its_progress(state: DigestStore) -> None:
    assert await state.digest(DAY, CHANNEL) is None

    claimed = await state.claim(DAY, CHANNEL, NOW, MESSAGES)
    assert claimed is not None
    assert claimed == await state.digest(DAY, CHANNEL)
    assert (claimed.day, claimed.channel, claimed.claimed_at) == (DAY, CHANNEL, NOW)
    assert claimed.messages == MESSAGES
    assert (claimed.sent, claimed.ts, claimed.finished) == (0, None, False)

    later = NOW + timedelta(seconds=30)
    left = await state.posted(claimed, sent=1, ts="1.1", now=later, finished=False)
    half = await state.digest(DAY, CHANNEL)
    assert half is not None
    assert (half.sent, half.ts, half.finished, half.claimed_at) == (1, "1.1", False, later)
    assert left == half
    await state.posted(half, sent=2, ts="1.1", now=later, finished=True)
    done = await state.digest(DAY, CHANNEL)
    assert done is not None
    assert (done.sent, done.finished) == (2, True)


async def test_of_many_concurrent_claims_and_takeovers_one_wins(state: DigestStore) -> None:
    claims = await asyncio.gather(*(state.claim(DAY, CHANNEL, NOW, MESSAGES) for _ in range(8)))
    assert sum(claim is not None for claim in claims) == 1

    (left,) = (claim for claim in claims if claim)
    later = NOW + timedelta(minutes=5)
    taken = await asyncio.gather(*(state.take_over(left, later) for _ in range(8)))
    assert len([each for each in taken if each]) == 1
    now_held = await state.digest(DAY, CHANNEL)
    assert now_held is not None
    assert now_held.claimed_at == later


async def test_days_and_channels_are_claimed_apart(state: DigestStore) -> None:
    assert await state.claim(DAY, CHANNEL, NOW, MESSAGES)
    assert await state.claim(DAY + timedelta(days=1), CHANNEL, NOW, MESSAGES)
    assert await state.claim(DAY, "C0OTHER", NOW, MESSAGES)
    assert await state.claim(DAY, CHANNEL, NOW, MESSAGES) is None


async def test_a_digest_whose_owner_moved_on_is_not_taken(state: DigestStore) -> None:
    left = await state.claim(DAY, CHANNEL, NOW, MESSAGES)
    assert left is not None
    await state.posted(left, sent=1, ts="1.1", now=NOW + timedelta(minutes=4), finished=False)
    assert not await state.take_over(left, NOW + timedelta(minutes=5))


async def test_a_post_is_the_older_digest_until_the_newer_one_replaces_it(
    state: DigestStore,
) -> None:
    for day in (DAY, DAY + timedelta(days=1)):
        edits = "1.1" if day > DAY else None
        claimed = await state.claim(day, CHANNEL, NOW, MESSAGES[:1], edits=edits)
        assert claimed
        board = await state.board(CHANNEL, "1.1")
        assert (board and board.day) == (DAY if edits else None)
        await state.posted(claimed, sent=1, ts="1.1", now=NOW, finished=True)
        board = await state.board(CHANNEL, "1.1")
        assert board
        assert board.day == day


async def test_a_notice_that_was_claimed_in_the_future_is_still_posted(
    database: Database,
) -> None:
    store, lease = NoticeStore(database), timedelta(minutes=2)
    await store.tell("today paused", CHANNEL, MESSAGES[0], NOW)
    for clock in (NOW + timedelta(hours=1), NOW):
        (waiting,) = await store.unposted(clock, lease)
        assert await store.claim(waiting, clock)
        assert await store.unposted(clock, lease) == []


async def test_a_day_that_was_given_back_is_claimed_anew(state: DigestStore) -> None:
    assert await state.claim(DAY, CHANNEL, NOW, MESSAGES)
    await state.release(DAY, "C0OTHER")
    assert await state.digest(DAY, CHANNEL) is not None
    await state.release(DAY, CHANNEL)
    assert await state.digest(DAY, CHANNEL) is None
    assert await state.claim(DAY, CHANNEL, NOW, MESSAGES[:1]) is not None

    await state.release(DAY, CHANNEL)
    old = await state.claim(DAY, CHANNEL, NOW, MESSAGES)
    assert old is not None
    await state.release(DAY, CHANNEL)
    await state.claim(DAY, CHANNEL, NOW + timedelta(minutes=1), MESSAGES)
    assert await state.posted(old, sent=1, ts="1.1", now=NOW, finished=False) is None
    anew = await state.digest(DAY, CHANNEL)
    assert anew is not None
    assert (anew.sent, anew.ts) == (0, None)


async def test_stored_records_outlive_the_process(state: DigestStore, database: Database) -> None:
    await state.claim(DAY, CHANNEL, NOW, MESSAGES)
    again = Database(database.url)
    found = await DigestStore(again).digest(DAY, CHANNEL)
    await again.close()
    assert found is not None
    assert found.messages == MESSAGES
