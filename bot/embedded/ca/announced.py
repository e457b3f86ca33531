"""The reply of monitor/expect: which monitors serve the certificate, and which wait for it."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from bot.embedded import wire
from bot.embedded.ca.expected import Announcement, Outcome, names_for, normal_name
from bot.embedded.ca.facts import Date, date
from bot.embedded.params import NOT_FOUND, refuse
from bot.embedded.wire import Success


class ExpectRow(Struct):
    """A monitor that a certificate was announced for."""

    id: int
    host: str
    port: int
    scan_date: Date | None
    state: Annotated[
        Literal["live", "waiting"],
        Meta(description="live: the last scan found it; waiting: it did not, and scans go on"),
    ]
    date: Annotated[Date | None, Meta(description="When this certificate was first announced")]
    replaced: Annotated[bool, Meta(description="Whether another one was awaited until now")]


class ExpectReply(Success, kw_only=True):
    """The reply of monitor/expect."""

    count: int
    list: tuple[ExpectRow, ...]
    unmonitored: Annotated[tuple[str, ...], Meta(description="The names that no monitor has")]


def reply(told: Announcement, outcomes: list[Outcome]) -> ExpectReply:
    """The reply to an announcement; a Refusal if there is no such monitor."""
    known = set[str]().union(*(names_for(each.row["host"]) for each in outcomes))
    others = tuple(name for name in told.names if normal_name(name) not in known)
    if not outcomes and told.id is not None:
        refuse(404, NOT_FOUND)
    if not outcomes:
        port = f" at port {told.port}" if told.port else ""
        refuse(404, f"No monitor has one of these hosts{port}: {', '.join(others)[:200]}")
    rows = tuple(map(_row, outcomes))
    return ExpectReply(count=len(rows), list=rows, unmonitored=others)


def _row(outcome: Outcome) -> ExpectRow:
    state: Literal["live", "waiting"] = "live" if outcome.live else "waiting"
    since = date(outcome.since)
    return ExpectRow(*wire.head(outcome.row), state, since, outcome.replaced)
