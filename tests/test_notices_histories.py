"""Over any history, each change is told once, and a certificate's stage once a day."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from bot.api.models import MonitorSummary
from bot.blocks import Message
from bot.cards.batch import is_over, redrawn
from bot.cards.changes import SMALL, TOLD, WORSE, News, Plan, compare
from bot.cards.digest import first_read
from bot.dates import NOTICES, Subscription
from bot.playground.faults import dropped_connection, rate_limit
from bot.playground.objects import BEN, PostedMessage
from bot.sighting import LastSeen, Topic
from bot.slack.notices import LEASE
from bot.store.notices import EVENT
from bot.store.tables import notices
from tests.card_values import DAY, HOUR, NOW, RULES, row
from tests.long_runs import random_run
from tests.test_bot_notices import watcher
from tests.world import Clock, World, words

CHANNEL = Subscription(NOTICES, "C1", everything=True, mention="S0ONCALL")
STATES = ("fine", "urgent", "broken", "down", "gone")
#: For each monitor: how it is, which certificate it has, and who issued that.
Monitors = dict[int, tuple[str, int, str]]
ONE = st.tuples(st.sampled_from(STATES), st.integers(0, 3), st.sampled_from(["A CA", "B CA"]))
STEPS = st.lists(
    st.tuples(
        st.dictionaries(st.integers(1, 14), ONE, min_size=1),
        st.sampled_from([1, 20, 600, 1500]),  # minutes until then
        st.booleans(),  # whether the list is complete
    ),
    min_size=2,
    max_size=12,
)


def listed(monitors: Monitors, now: datetime) -> list[MonitorSummary]:
    """Rows in these states; those that are down share a proxy instead of a certificate, if any."""
    ends = {"fine": 80 * DAY, "urgent": HOUR, "broken": 80 * DAY}
    behind = [f"The proxy p{n}.test:3128 could not be reached" for n in range(4)]
    behind[0] = "The connection was refused"
    return [
        row(
            id=number,
            valid=state not in {"broken", "down"},
            message=behind[certificate] if state == "down" else "",
            not_after=now + ends[state] if state != "down" else None,
            fingerprint=f"{certificate:064x}" if certificate and state != "down" else "",
            issuer=issuer,
        )
        for number, (state, certificate, issuer) in monitors.items()
        if state != "gone"
    ]


def told(steps: Sequence[Any]) -> Iterator[tuple[str, list[News], list[Topic], list[Topic]]]:
    """For each comparison after the first: the day, its news, and the topics before and after."""
    before: dict[int, LastSeen] = {}
    now, monitors, topics = NOW, Monitors(), list[Topic]()
    for number, (changed, minutes, complete) in enumerate(steps):
        now += timedelta(minutes=minutes)
        monitors |= changed
        rows = listed(monitors if complete else changed, now)
        news, seen, gone = compare(before, rows, now, RULES, complete=complete)
        for each in gone:
            del before[each]
        before |= seen
        if number == 0:
            continue
        day = now.date().isoformat()
        of_day = [topic for topic in topics if topic.key.startswith(day)]
        plan = Plan(CHANNEL, of_day, day, now, RULES)
        made = plan.of(news)
        assert all(isinstance(card, Message) for _, card in made)
        assert plan.joins.keys() == {t.key for t, _ in made if t.thread and t.kind in WORSE}
        yield day, news, of_day, [topic for topic, _ in made]
        topics = [joined_by(each, [t for t, _ in made if t.key in plan.joins]) for each in topics]
        topics += [topic for topic, _ in made]


def joined_by(topic: Topic, replies: Sequence[Topic]) -> Topic:
    """The topic, which is about the monitors of these replies too, if they follow it up."""
    joined = [topic, *(reply for reply in replies if reply.thread == topic.key)]
    about = frozenset().union(*(each.about for each in joined))
    members = frozenset().union(*(each.members for each in joined))
    return replace(topic, about=about, members=members)


def test_after_unreadable_rows_only_trouble_is_news_and_at_the_first_list_nothing() -> None:
    rows = listed({1: ("fine", 0, "A CA"), 2: ("urgent", 0, "A CA"), 3: ("down", 0, "A CA")}, NOW)
    new, _, _ = compare({}, rows, NOW, RULES)
    assert [each.kind for each in first_read(new, {4: None}, NOW, RULES)] == ["worse", "broken"]
    assert first_read(new, {}, NOW, RULES) == []


@random_run(STEPS, examples=25)
def test_each_change_is_told_once_a_day_and_a_stage_in_one_message(steps: Sequence[Any]) -> None:
    """What gets no worse follows up what was told on the same day."""
    count: Counter[tuple[str, str, object]] = Counter()
    for day, news, before, made in told(steps):
        keys = [topic.key for topic in (*before, *made)]
        assert len(keys) == len(set(keys))
        assert all(len(key) <= 80 for key in keys)
        for each in news:
            kinds = {each.kind, "small"} if each.kind in SMALL else {each.kind}
            about = [t for t in (*before, *made) if t.kind in kinds and each.id in t.members]
            about = [t for t in about if t.key not in {reply.thread for reply in about}]
            assert len(about) == 1, (each.kind, about)
        first = {about for topic in before if topic.thread is None for about in topic.about}
        for topic in (each for each in made if each.thread is None and each.kind != "small"):
            what = {about for about in topic.about if not about.startswith("=")}
            if topic.kind in WORSE:
                count.update((day, topic.kind, about) for about in what)
            else:
                assert not what & first
    assert {key: number for key, number in count.items() if number > 1} == {}


@random_run(STEPS, examples=25)
def test_only_what_breaks_mentions_somebody_and_no_edit_does(steps: Sequence[Any]) -> None:
    before: dict[int, LastSeen] = {}
    now = NOW
    for changed, minutes, _ in steps:
        now += timedelta(minutes=minutes)
        news, seen, _ = compare(before, listed(changed, now), now, RULES, complete=False)
        before |= seen
        for topic, card in Plan(CHANNEL, (), "day", now, RULES).of(news):
            mentions = str(card.blocks).count("S0ONCALL")
            assert mentions == int(topic.kind == "broken" and topic.thread is None)
            shown = redrawn(card.text, card.blocks)
            assert "S0ONCALL" not in str(shown)


@given(st.lists(st.lists(st.booleans(), min_size=2, max_size=2), min_size=1, max_size=8))
def test_a_monitor_is_removed_once_two_complete_lists_lack_it(lists: list[list[bool]]) -> None:
    fine = row(id=1)
    _, before, _ = compare({}, [fine], NOW, RULES)
    missing = 0
    for has_it, complete in lists:
        news, seen, gone = compare(before, [fine] if has_it else [], NOW, RULES, complete=complete)
        before |= seen
        missing = 0 if has_it else missing + complete
        assert [each.kind for each in news] == (["removed"] if missing == 2 else [])
        if missing == 2:
            assert gone == [1]
            return


# The whole program, over random histories: two replicas, lost answers, lost rows.


def notices_in(world: World) -> list[PostedMessage]:
    return [m for m in world.seen(by=BEN) if (m.metadata or {}).get("event_type") == EVENT]


#: How many seconds Slack limits edits for.
LIMIT = 600


class History:
    """What happens at random, and what the channel has to be told because of it."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.chance = world, random.Random(seed)
        self.numbers = [world.api.add(f"h{n}.demo.test", days=80) for n in range(4)]
        self.seen: dict[int, bool] | None = None
        self.expected: set[tuple[str, int, str]] = set()
        self.both = [watcher(world, bot) for bot in world.bots]

    async def step(self) -> None:
        """Change something, and let one replica or both look."""
        world, chance = self.world, self.chance
        number = chance.choice(self.numbers)
        world.api.rows[number]["ssl_valid"] = chance.random() < 0.5
        if chance.random() < 0.3:
            fault = chance.choice([dropped_connection(after=True), dropped_connection()])
            world.slack.faults.add("chat.postMessage", fault)
        if chance.random() < 0.2:
            world.slack.faults.add("chat.update", rate_limit(LIMIT))
        lost = chance.choice(["row", "rest"]) if chance.random() < 0.2 else ""
        if lost:
            rows = [*world.api.rows.values(), world.api.rows[number] | {"id": None}]
            body = {"success": 1, "count": 5, "list": rows[: 5 if lost == "row" else 4]}
            world.api.reply("monitor/list", body, times=1)
        if chance.random() < 0.05:
            world.api.key = key = str(chance.random())
            for bot in world.bots:
                bot.api._key = key
            self.seen = None
        looking = self.both if chance.random() < 0.5 and not lost else self.both[:1]
        await asyncio.gather(*(each.tick() for each in looking))
        if lost != "rest":  # a list that lacks monitors isn't compared
            self._model()
        self._pass(timedelta(minutes=chance.choice([1, 30, 400])))

    def _pass(self, time: timedelta) -> None:
        """Let time pass; Slack's limits end with it, though the bot measures them by its loop."""
        self.world.later(seconds=time.total_seconds())
        if time.total_seconds() >= LIMIT:
            for bot in self.world.bots:
                bot.slack._boards._limited_until = 0.0

    def _model(self) -> None:
        """What the comparison that has just been made has to tell."""
        now = {n: bool(self.world.api.rows[n]["ssl_valid"]) for n in self.numbers}
        day = self.world.clock().date().isoformat()
        if self.seen is not None:
            for n in self.numbers:
                if now[n] != self.seen[n]:
                    self.expected.add((day, n, "fixed" if now[n] else "broken"))
        self.seen = now

    async def calm(self) -> None:
        """Let everything that is under way end well."""
        for method in ("chat.postMessage", "chat.update"):
            while self.world.slack.faults.take(method):
                pass
        for bot in self.world.bots:
            bot.slack._boards._owed.clear()
        for _ in range(3):
            assert isinstance(self.world.clock, Clock)
            self._pass(max(LEASE, timedelta(seconds=LIMIT)) + timedelta(seconds=1))
            await self.both[0].tick()
            await self.world.bots[0].slack._boards.catch_up()
        self._model()


@pytest.mark.matrix
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
async def test_over_a_random_history_slack_is_told_each_change_once(
    seed: int, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.store.digests.MINUTE", 0)
    monkeypatch.setattr("bot.store.digests.SECOND", 0)
    async with world.running_bot():
        history = History(world, seed)
        for _ in range(40):
            await history.step()
        await history.calm()
        posts = notices_in(world)
        keys = [str((m.metadata or {})["event_payload"]["key"]) for m in posts]
        assert len(keys) == len(set(keys))
        async with world.bot.database.read() as connection:
            rows = (await connection.execute(select(notices))).all()
        members = msgspec.json.Decoder(list[int])
        told = {(r.key[:10], number, r.kind) for r in rows for number in members.decode(r.members)}
        assert told == history.expected
        assert set(keys) == {row.key for row in rows}
        assert history.seen is not None
        for post in posts:
            if post.thread_ts is None and "roken" in words(post):
                number = int(
                    next(b["block_id"] for b in post.blocks if "row:" in b["block_id"])[4:]
                )
                fine = history.seen[number]
                young = world.clock().timestamp() - float(post.ts) < DAY.total_seconds()
                if fine or young:  # what was fixed is not edited again on later days
                    assert is_over(post.blocks) is fine, words(post)


def test_every_kind_has_its_place() -> None:
    assert {*WORSE, *SMALL, "fixed", "issuer"} == set(TOLD)
    assert msgspec.json.decode(msgspec.json.encode(CHANNEL), type=Subscription) == CHANNEL
