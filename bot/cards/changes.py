"""What changed between two lists of monitors, and how channels are notified."""

from __future__ import annotations

import functools
import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import msgspec

from bot.api.models import MonitorSummary
from bot.blocks import (
    MAX_BLOCK_ID,
    Block,
    Message,
    actions,
    bare,
    button,
    code,
    context,
    counted,
    date,
    mention,
    packed,
    plain,
    safe,
    section,
)
from bot.cards.marks import names_changed
from bot.cards.monitor import headline, ranges, text_row
from bot.cards.row import (
    MOST_RESCANNED,
    group_row,
    grouped,
    list_row,
    more_about_group,
    rescan_certificate,
    row_id,
)
from bot.dates import HOUR, Subscription
from bot.severity import Rank, Thresholds, is_late, mute_of, state_of
from bot.sighting import LastSeen, Topic
from bot.target import Target

#: How a notice begins, by its kind; the most urgent first.
TOLD = {
    "broken": "Newly broken",
    "worse": "Renew now",
    "late": "New certificate not live after an hour",
    "fixed": "✅ Fixed",
    "issuer": "New issuer",
    "renewed": "Renewed",
    "names": "Names changed",
    "added": "Added",
    "removed": "Removed",
}
#: The same for many monitors, after their number.
_MANY = {
    "broken": "newly broken",
    "worse": "must be renewed now",
    "late": "still don't serve their new certificates after an hour",
    "fixed": "fixed",
    "issuer": "have a new issuer",
}
#: The kinds that always get a message of their own, since edits and replies notify nobody; and the
#: last rank at which a monitor still needs attention.
WORSE = {"broken": Rank.BROKEN, "worse": Rank.ACT_NOW, "late": Rank.OK}
#: Kinds that need no action: the next digest counts them, and only channels that ask get them.
SMALL = ("renewed", "names", "added", "removed")
#: This many monitors at once, or within this time, share one message, which shows this many rows
#: and has the IDs of this many monitors.
OUTAGE, OUTAGE_TIME, OUTAGE_ROWS, KNOWN = 10, timedelta(minutes=15), 5, 500
#: Hosts that fail for the same reason belong to one outage, unless the pause is this long.
PAUSE = HOUR
#: How `News.about` begins for a proxy, and a scan's message if a proxy fails.
PROXY = "~"
_PROXY_FAILS = re.compile(r"The proxy (\S+) (could not|closed|did not answer like|answered 407)")
FOLLOWED_UP = 10  # monitors named in a reply
Names = tuple[tuple[str, ...], tuple[str, ...]]
#: How block IDs begin: a notice's title, the line about monitors without a row, `offer`, and the
#: button that rescans all broken monitors.
NOTICE, HIDDEN, OFFER, ALL_BROKEN = "notice:", "hidden:", "offer:", "all"


@dataclass(frozen=True, slots=True)
class News:
    """A change of a monitor; `kind` is one of TOLD. A removed monitor has no row.

    `names` are those that its certificate gained and lost. If it is `older`, the trouble may have
    begun before the last comparison.
    """

    kind: str
    id: int
    target: Target
    row: MonitorSummary | None
    names: Names = ((), ())
    older: bool = False

    @property
    def about(self) -> str:
        """Identifies the certificate, the failing proxy, or else the monitor."""
        if self.row and self.row.fingerprint:
            return self.row.fingerprint[:16]
        return self.cause if self.cause.startswith(PROXY) else f"#{self.id}"

    @property
    def cause(self) -> str:
        """Why the host can't be reached, as a hash of the failing proxy, or of the message."""
        if self.row is None or self.row.valid is not False or self.row.not_after:
            return ""
        found = _PROXY_FAILS.match(self.row.message)
        said = found[1] if found else self.row.message
        return (PROXY if found else "=") + hashlib.sha256(said.encode()).hexdigest()[:8]


def compare(
    before: Mapping[int, LastSeen] | None,
    rows: Sequence[MonitorSummary],
    now: datetime,
    rules: Thresholds,
    *,
    complete: bool = True,
    renamed: Mapping[int, Names] | None = None,
) -> tuple[list[News], dict[int, LastSeen], list[int]]:
    """The news, the changed standings, and the IDs of the monitors that are gone.

    A first comparison, without `before`, has no news, nor has a muted monitor. A monitor is gone
    once two `complete` lists lack it, or a list gives its ID to another host. `renamed` has the
    names that certificates gained and lost.
    """
    told: list[News] = []
    changed: dict[int, LastSeen] = {}
    removed: dict[int, str] = {}
    first, before = before is None, before or {}
    for row in rows:
        rank = int(state_of(row, now, rules).rank)
        is_now = LastSeen(rank, row.issuer, row.not_after, str(row.target), late=is_late(row))
        was = before.get(row.id)
        if is_now == was:
            continue
        if was and was.target not in {"", is_now.target}:
            removed[row.id], was = was.target, None
        muted = None if row.id in removed else mute_of(row, now, rules)
        if muted and was and (is_now := _while_muted(was, is_now)) == was:
            continue
        changed[row.id] = is_now
        kinds = [_kind(was, is_now) if was else "added"]
        if is_now.late and not (was and was.late):
            kinds.append("late")
        if not (first or muted):
            old = was is not None and was.may_have_missed(row)
            told += [News(kind, row.id, row.target, row, older=old) for kind in kinds if kind]
    for row in rows if renamed else ():
        names = renamed.get(row.id) if renamed and row.id in before else None
        if names and row.valid and not mute_of(row, now, rules):
            told.append(News("names", row.id, row.target, row, names))
    gone = [*removed]
    if complete:
        missing = before.keys() - {row.id for row in rows}
        gone += sorted(number for number in missing if before[number].missing)
        still = missing.difference(gone)
        changed |= {n: msgspec.structs.replace(before[n], missing=True) for n in still}
        removed |= {each: before[each].target for each in gone if each in missing}
    told += [News("removed", n, Target.parse(t), None) for n, t in removed.items() if t]
    return told, changed, gone


def _while_muted(was: LastSeen, is_now: LastSeen) -> LastSeen:
    """What to store about a muted monitor, so that what got worse is news once the mute ends."""
    rank, late = max(was.rank, is_now.rank), was.late and is_now.late
    return msgspec.structs.replace(is_now, rank=rank, late=late)


def _kind(was: LastSeen, is_now: LastSeen) -> str:
    if is_now.rank == Rank.BROKEN:
        return "broken" if was.rank > Rank.BROKEN else ""
    if is_now.rank == Rank.ACT_NOW:
        return "worse" if was.rank != Rank.ACT_NOW else ""  # also if a host answers again
    if was.rank == Rank.BROKEN and is_now.rank <= Rank.DUE:
        return "fixed"  # a host that answers again; its row says that renewal is due
    # If the same certificate is no longer urgent, its CA or the team has changed the dates.
    same = was.rank == Rank.ACT_NOW and was.not_after == is_now.not_after
    if is_now.rank < Rank.ON_SCHEDULE or same:
        return ""
    return "fixed" if was.rank <= Rank.ACT_NOW else _replaced(was, is_now)


def _replaced(was: LastSeen, is_now: LastSeen) -> str:
    """The kind of news for a replaced certificate that was not urgent."""
    if was.issuer and is_now.issuer and was.issuer != is_now.issuer:
        return "issuer" if was.rank >= Rank.ON_SCHEDULE else "renewed"
    later = was.not_after and is_now.not_after and is_now.not_after > was.not_after
    return "renewed" if later else ""


class Plan:
    """The messages for a channel after one comparison, given the `topics` that it had that day.

    Those of the hour before count too, since an outage may go on after midnight.

    Each certificate has one message a day, followed up in its thread. Whatever gets worse is a
    message of its own, once a day. Many at once share a message, and so do the hosts behind a
    failing proxy. If more get worse later for the same reason, that is a reply, which also changes
    the message: `joins` has the change, by the reply's key.
    """

    def __init__(
        self, to: Subscription, topics: Iterable[Topic], day: str, now: datetime, rules: Thresholds
    ) -> None:
        self._to, self._day, self._now, self._rules = to, day, now, rules
        here = [each for each in topics if each.channel == to.channel]
        self._topics = [each for each in here if each.key.startswith(day)]
        self._yesterday = [each for each in here if not each.key.startswith(day)]
        self._made: list[tuple[Topic, Message]] = []
        self.joins: dict[str, functools.partial[tuple[str, list[Block]]]] = {}

    def of(self, news: Sequence[News]) -> list[tuple[Topic, Message]]:
        """The messages for the channel, with the topic of each."""
        told = [each for each in news if self._to.takes(each.target) and not self._was_told(each)]
        for kind in TOLD:
            if kind not in SMALL:
                self._tell(kind, self._new(kind, [each for each in told if each.kind == kind]))
        if self._to.everything:
            self._tell_small([each for each in told if each.kind in SMALL])
        return self._made

    def _was_told(self, news: News) -> bool:
        kinds = {news.kind, "small"} if news.kind in SMALL else {news.kind}
        return any(t.kind in kinds and news.id in t.members for t in self._topics)

    def _new(self, kind: str, told: Sequence[News]) -> list[list[News]]:
        """The news that need a message, by certificate; the rest goes to threads."""
        follows: dict[str, list[News]] = {}
        groups: dict[str, list[News]] = {}
        for each in told:
            topic = self._topic_of(each, kind if kind in WORSE else "")
            if topic is None:
                groups.setdefault(each.about, []).append(each)
            else:
                follows.setdefault(topic.key, []).append(each)
        for thread, some in follows.items():
            card = follow_up(kind, some, self._now, self._rules)
            key = self._make(f"re {kind} {min(each.id for each in some)}", kind, some, card, thread)
            if kind in WORSE:
                self.joins[key] = functools.partial(
                    joined, kind=kind, news=some, now=self._now, rules=self._rules
                )
        return list(groups.values())

    def _topic_of(self, news: News, kind: str) -> Topic | None:
        """Today's newest message about the same monitor or certificate, of this kind or any."""
        own = [
            topic
            for topic in self._topics
            if topic.thread is None and kind in {"", topic.kind}
            if (news.id in topic.members and not kind)
            or news.about in topic.about
            or (kind and " many " in topic.key and self._goes_on(kind, {news.cause}, topic.key))
        ]
        return max(own, key=lambda topic: topic.at, default=None)

    def _goes_on(self, kind: str, causes: Collection[str], key: str = "") -> bool:
        """Whether hosts failed recently for one of these reasons; with a `key`, in that outage."""
        return any(
            t.kind == kind and not t.about.isdisjoint(causes) and t.at > self._now - PAUSE
            for t in (*self._yesterday, *self._topics)
            if not key or key in {t.key, t.thread}
        )

    def _tell(self, kind: str, groups: Sequence[Sequence[News]]) -> None:
        some, since = [each for group in groups for each in group], self._now - OUTAGE_TIME
        goes_on = self._goes_on(kind, causes := {each.cause for each in some} - {""})
        before = sum(
            len(t.members)
            for t in (*self._yesterday, *self._topics)
            if t.kind == kind and t.thread is None
            if t.at > since or (goes_on and not t.about.isdisjoint(causes))
        )
        whom = self._to.mention if kind == "broken" and before < OUTAGE else ""
        outage = (len(groups) > 1 or goes_on) and len(groups) + before >= OUTAGE
        for group in [some] if outage else groups:
            rows, about = [each.row for each in group if each.row], group[0].about
            if outage or (len(group) > 1 and about.startswith(PROXY)):
                card = many(kind, rows, self._now, self._rules, whom=whom)
                about = f"many {min(row.id for row in rows)}"
            else:
                card = notice(kind, rows, self._now, self._rules, whom=whom)
            self._make(f"{about} {kind}", kind, group, card)

    def _tell_small(self, small: Sequence[News]) -> None:
        """Report changes that need no action; if there are many, only count them."""
        if len({each.about for each in small}) >= OUTAGE:
            card = small_changes(Counter(each.kind for each in small))
            self._make(f"many {min(each.id for each in small)} small", "small", small, card)
            return
        for kind in SMALL:
            for group in self._new(kind, [each for each in small if each.kind == kind]):
                first, rows = group[0], [each.row for each in group if each.row]
                card = removed(first.id, first.target)
                if rows:
                    card = notice(kind, rows, self._now, self._rules, names=first.names)
                self._make(f"{first.about} {kind}", kind, group, card)

    def _make(
        self, name: str, kind: str, news: Sequence[News], card: Message, thread: str | None = None
    ) -> str:
        about = frozenset(what for each in news for what in (each.about, each.cause) if what)
        ids, channel = frozenset(each.id for each in news), self._to.channel
        key = f"{self._day} {name} {channel}"
        if kind == "broken" and (older := sum(each.older for each in news)):
            said = f"{counted(older, 'monitor')} may have been broken for longer."
            card = replace(card, blocks=(*card.blocks, context(said)))
        topic = Topic(key, channel, kind, about, ids, thread, self._now)
        self._topics.append(topic)
        self._made.append((topic, card))
        return key


def notice(
    kind: str,
    rows: Sequence[MonitorSummary],
    now: datetime,
    rules: Thresholds,
    *,
    whom: str = "",
    names: Names = ((), ()),
) -> Message:
    """What has changed on the monitors of one certificate since the last comparison.

    `whom` is the user or group ID to mention.
    """
    said, blocks = names_changed(names[1], names[0]), [_head(TOLD[kind], kind, whom)]
    for group in grouped(rows, now, rules):  # one row per verdict
        more = more_about_group(group, now, rules) if len(blocks) == 1 else None
        blocks += [group_row(group, now, rules), *([more] if more else [])]
    also = f" and {len(rows) - 1:,} more" if len(rows) > 1 else ""
    text = f"{TOLD[kind]}: {headline(rows[0], now, rules)}{also}"
    return Message(text, (*blocks, *([context(" · ".join(said))] if said else [])))


def _head(title: str, kind: str, whom: str) -> Block:
    by = f" · {mention(whom)}" if whom else ""
    return section(f"*{title}*{by}", block_id=f"{NOTICE}{kind}")


def many(
    kind: str, rows: Sequence[MonitorSummary], now: datetime, rules: Thresholds, *, whom: str = ""
) -> Message:
    """What has changed on many monitors at once, in one message."""
    text = f"{counted(len(rows), 'monitor')} {_MANY[kind]}"
    shown = [list_row(row, now, rules) for row in rows[:OUTAGE_ROWS]]
    rest = _all_of(kind, ids := [row.id for row in rows], ids[OUTAGE_ROWS:])
    return Message(f"{text}.", (_head(text, kind, whom), *shown, *rest))


def _all_of(kind: str, ids: Sequence[int], hidden: Sequence[int]) -> list[Block]:
    """The line about the `hidden` monitors, whose IDs are in its block ID, and a button for all."""
    blocks: list[Block] = []
    if hidden:
        how = {"broken": "`/ssl list broken` shows all.", "worse": "`/ssl list urgent` shows all."}
        more = context(f"and {len(hidden):,} more. {how.get(kind, '')}".rstrip())
        name = f"{HIDDEN}{ranges(map(str, sorted(hidden)))}"
        known = kind in how and len(hidden) <= KNOWN and len(name) <= MAX_BLOCK_ID
        blocks = [more | {"block_id": name if known else HIDDEN}]
    if kind == "broken":
        value = " ".join(map(str, ids[:MOST_RESCANNED]))
        about = f"Rescan {min(len(ids), MOST_RESCANNED)} broken monitors"
        press = button("Rescan all broken", "scan_all", value, "below", about=about)
        blocks.append(actions(press) | {"block_id": ALL_BROKEN})
    return blocks


def joined(
    text: str,
    blocks: Sequence[Block],
    ids: Collection[int],
    *,
    kind: str,
    news: Sequence[News],
    now: datetime,
    rules: Thresholds,
) -> tuple[str, list[Block]]:
    """The text and blocks of a notice that this news joins; it then covers all of these `ids`.

    Monitors of its certificate share its row, which the next refresh draws. Those of an outage get
    rows of their own, if there is room.
    """
    names = [str(block.get("block_id", "")) for block in blocks]
    rows = [name for name in names if name.startswith("row:")]
    if len(rows) == 1 and ALL_BROKEN not in names and not news[0].about.startswith(PROXY):
        text = re.sub(r"( and [\d,]+ more)?$", f" and {len(ids) - 1:,} more", text, count=1)
        return text, _shared_row(blocks, rows[0], ids)
    title, top = f"{counted(len(ids), 'monitor')} {_MANY[kind]}", ("row:", "more:")
    new = [list_row(each.row, now, rules) for each in news if each.row]
    new = new[: max(0, OUTAGE_ROWS - len(rows))]
    shown = [block for block, name in zip(blocks, names, strict=True) if name.startswith(top)]
    other = (*top, NOTICE, HIDDEN, ALL_BROKEN)
    below = [block for block, name in zip(blocks, names, strict=True) if not name.startswith(other)]
    visible = {*(int(name[4:]) for name in rows), *(each.id for each in news[: len(new)])}
    rest = _all_of(kind, sorted(ids), sorted(set(ids) - visible))
    return f"{title}.", [_head(title, kind, ""), *shown, *new, *rest, *below]


def _shared_row(blocks: Sequence[Block], row: str, ids: Collection[int]) -> list[Block]:
    """The blocks, with one row for all of these monitors, identified by the lowest ID."""
    more, number = row.replace("row:", "more:"), min(ids)
    changed: dict[str, Block] = {
        row: {"block_id": row_id(number), "accessory": rescan_certificate(ids)},
        more: {"block_id": f"more:{number}"},
    }
    return [{**block, **changed.get(str(block.get("block_id")), {})} for block in blocks]


def follow_up(kind: str, news: Sequence[News], now: datetime, rules: Thresholds) -> Message:
    """Later changes, as a reply in the thread of a notice."""
    lines = []
    for each in news[:FOLLOWED_UP]:
        claim = rules.marks.claims.get(each.id)
        line = text_row(each.row, now, rules) if each.row else code(str(each.target))
        parts = [line, *names_changed(each.names[1], each.names[0])]
        lines.append(" · ".join([*parts, f"🙋 {safe(claim.name, 60)}"] if claim else parts))
    first = TOLD[kind] if len(news) == 1 else f"{TOLD[kind]}: {counted(len(news), 'monitor')}"
    hidden = len(news) - FOLLOWED_UP
    more = [context(f"and {hidden:,} more.")] if hidden > 0 else []
    text = f"{first}: {plain(news[0].target.short, 100)}" if len(news) == 1 else first
    seen = section(f"*{first}* · seen {date(now, '{time}')}")
    return Message(text, (seen, *packed(lines, section), *more))


def removed(number: int, target: Target) -> Message:
    """A monitor that is no longer there."""
    text = f"{code(target.short)} is no longer monitored (#{number})."
    return Message(bare(text), (section(f"*{TOLD['removed']}* · {text}"),))


def small_changes(counts: Mapping[str, int]) -> Message:
    """The number of changes that need no action, if there are many."""
    text = f"{counted_kinds(counts)}."
    return Message(text, (section(f"*{text}*"),))


def counted_kinds(counts: Mapping[str, int]) -> str:
    """`3 renewed, 2 with changed names, 1 added`."""
    words = {"names": "with changed names"}
    return ", ".join(f"{counts[k]:,} {words.get(k, k)}" for k in SMALL if counts.get(k))
