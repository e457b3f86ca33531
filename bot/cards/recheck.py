"""The cards of Scan & watch: one card that is edited, and one reply that mentions the asker."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from bot.api.models import MonitorSummary
from bot.blocks import (
    Block,
    Message,
    actions,
    bare,
    button,
    code,
    context,
    counted,
    date,
    plain,
    safe,
    section,
    utc,
)
from bot.cards import marks, replies
from bot.cards import monitor as monitor_cards
from bot.cards.row import with_row
from bot.errors import BotError
from bot.severity import Rank, Thresholds, state_of
from bot.sighting import Sighting
from bot.target import Target


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of one scan of a watch: the monitor's row, and the sightings before and now."""

    row: MonitorSummary
    now: Sighting
    before: Sighting | None

    @property
    def change(self) -> str:
        """What changed, as a sentence of mrkdwn; empty on the first scan."""
        return marks.sentence(self.before, self.now) if self.before else ""


def clock_time(at: datetime) -> str:
    """The time of day in the reader's zone."""
    return date(at, "{time}")


def stop_button(watch_id: int, target: Target) -> Block:
    """The button that ends a watch."""
    return button("Stop", "stop", str(watch_id), about=f"Stop watching {target.short}")


def beginning(target: Target, ends_at: datetime, who: str) -> Message:
    """The card while its first scan runs."""
    return Message(
        f"Scanning {plain(target.short, 100)}…",
        (
            section(f"⏳ *Scanning…* · {code(target.short)}"),
            context(f"👀 Watched until {clock_time(ends_at)} · {replies.asked_by(who)}"),
        ),
        public=True,
    )


def watching(
    card: Message,
    *,
    watch_id: int,
    target: Target,
    ends_at: datetime,
    next_at: datetime,
    scans: int,
    small: Sequence[str],
) -> Message:
    """A card with the state of its watch below it, and [Stop] instead of its buttons."""
    parts = [
        f"👀 Watching until {clock_time(ends_at)}",
        f"{counted(scans, 'scan')}, next {clock_time(next_at)}",
        *small,
    ]
    return replace(
        card,
        blocks=(*_said(card), context(" · ".join(parts)), actions(stop_button(watch_id, target))),
        public=True,
    )


def ended(card: Message, sentence: str, small: Sequence[str] = ()) -> Message:
    """A card whose watch is over; its usual buttons are back."""
    note = context(" · ".join([sentence, *small]))
    buttons = [block for block in card.blocks if block["type"] == "actions"]
    return replace(card, blocks=(*_said(card), note, *buttons), public=True)


def _said(card: Message) -> list[Block]:
    return [block for block in card.blocks if block["type"] != "actions"]


def found(row: MonitorSummary, now: datetime, rules: Thresholds, said: str = "") -> Message:
    """The result of a scan, with what changed in the small print."""
    return with_row(monitor_cards.monitor(row, now, rules, said=said), row, now, rules)


def failed(fault: BotError, target: Target) -> Message:
    """A scan that failed; the watch tries again."""
    return replies.failure(fault, host=target.short)


def unknown(target: Target) -> Message:
    """A card with only the host's name, if nothing else could be read."""
    return Message(f"{plain(target.short, 100)}: watch", (section(f"👀 {code(target.short)}"),))


def fixed_line(now: datetime, scans: int) -> str:
    """The small print of a watch that ended with a fix."""
    return f"✅ Fixed {clock_time(now)} after {counted(scans, 'scan')}"


def over_line(ends_at: datetime, scans: int, *, late: bool) -> str:
    """The small print of a watch whose time is over."""
    line = f"⌛ Watch ended at {clock_time(ends_at)} after {counted(scans, 'scan')}: no fix"
    return f"{line}. The bot was not running at that time" if late else line


def stopped_line(now: datetime, who: str, scans: int) -> str:
    """The small print of a watch that somebody stopped."""
    return f"⏹️ Stopped by {safe(who, 80)} {clock_time(now)} after {counted(scans, 'scan')}"


def also(number: int) -> Block:
    """What a watch will do for the other monitors with the same certificate."""
    them = f"{counted(number, 'other monitor')} with the old one will be rescanned too"
    return context(f"Once it serves a new certificate, {them}.")


def others(number: int, fixed: int) -> str:
    """The result for the other monitors with the old certificate."""
    them, verb = counted(number, "other monitor"), "is" if fixed == 1 else "are"
    return f"{fixed} of {them} with the old certificate {verb} fixed too."


def fixed_reply(asker: str, seen: Comparison, now: datetime, scans: int, also: str = "") -> Message:
    """The reply that notifies the asker; an edit notifies nobody."""
    host, end, times = seen.row.target.short, seen.row.not_after, counted(scans, "scan")
    ends, plain_end = "", ""
    if end is not None:
        ends, plain_end = (
            f": expires {date(end, '{date_short}')}",
            f"; its certificate expires {utc(end)}",
        )
    return Message(
        f"{plain(host, 100)} is fixed after {times}{plain_end}.",
        (
            section(f"<@{asker}> ✅ *Fixed* {clock_time(now)} after {times}{ends} · {code(host)}"),
            *(context(each) for each in (seen.change, also) if each),
        ),
    )


def changed_reply(asker: str, seen: Comparison, now: datetime, rules: Thresholds) -> Message:
    """The certificate was replaced, but the new one isn't good either; the watch continues."""
    host, state = seen.row.target.short, state_of(seen.row, now, rules)
    but = f"but it is *{state.word}*"
    if seen.now.awaits and state.rank > Rank.BROKEN:
        but = "but not the one that was announced"
    return Message(
        f"{plain(host, 100)} has a new certificate, {bare(but)}.",
        (
            section(
                f"<@{asker}> {state.symbol} {code(host)} has a new certificate, "
                f"{but}. Still watching."
            ),
            context(seen.change),
        ),
    )


def over_reply(asker: str, target: Target, scans: int) -> Message:
    """The reply when the time is over without a fix."""
    host, times = target.short, counted(scans, "scan")
    return Message(
        f"No fix on {plain(host, 100)} in {times}. The watch has ended.",
        (section(f"<@{asker}> ⌛ No fix on {code(host)} in {times}. The watch has ended."),),
    )


def gone_reply(asker: str, target: Target) -> Message:
    """The reply when the monitor was deleted during the watch."""
    host = target.short
    return Message(
        f"The monitor for {plain(host, 100)} was deleted. The watch has ended.",
        (section(f"<@{asker}> The monitor for {code(host)} was deleted. The watch has ended."),),
    )


def elsewhere(target: Target, *, direct: bool) -> Message:
    """The answer in a place that can't be edited: it says where the watch's card is."""
    where = "in a direct message to you" if direct else "in the channel"
    host = target.short
    return Message(
        f"Watching {plain(host, 100)}. The card is {where}.",
        (section(f"👀 *WATCHING* · {code(host)}\nThe card is {where}. It updates automatically."),),
    )


def watch_row(watch_id: int, target: Target, ends_at: datetime, scans: int) -> Block:
    """A running watch with [Stop], for Home and for the card about too many watches."""
    text = f"👀 {code(target.short)}\nuntil {clock_time(ends_at)} · {counted(scans, 'scan')}"
    return section(text, accessory=stop_button(watch_id, target))


def already(target: Target, ends_at: datetime, row: Block) -> Message:
    """The asker is already watching this host."""
    host = target.short
    return Message(
        f"You are already watching {plain(host, 100)}, until {utc(ends_at)}.",
        (section(f"You are already watching {code(host)}. You'll be notified."), row),
    )


def too_many(most: int, rows: Sequence[Block]) -> Message:
    """No further watch fits; each can be stopped here."""
    text = f"{counted(most, 'host')} are being watched, which is the maximum."
    return Message(
        text,
        (section(f"⛔ *TOO MANY WATCHES*\n{text} Stop one, or wait until one ends."), *rows),
    )


def no_longer(watch_id: int) -> Message:
    """Somebody pressed [Stop] on a watch that has ended."""
    return replies.reply("⚪", "NOT WATCHING", f"Watch {watch_id} has already ended.")
