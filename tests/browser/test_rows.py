"""The rows of digests, lists and Home as they are drawn: measured on a desktop and on a phone."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from bot.api.models import MonitorSummary
from bot.blocks import Block
from bot.cards.batch import refreshed
from bot.cards.marks import outcome_line
from bot.cards.row import LINES, group_row
from bot.severity import Thresholds
from bot.sighting import Claim, Marks, Mute
from bot.target import Target
from tests.browser.page import Page
from tests.card_values import rows

pytestmark = [pytest.mark.browser, pytest.mark.slow]

DAY = timedelta(days=1)
TRULY_NOW = datetime.now(UTC).replace(second=0, microsecond=0)
#: The last time of day that is as wide as any on a 12-hour clock.
NOW = max(
    at
    for hour in (10, 22)
    for days in (0, 1)
    if (at := TRULY_NOW.replace(hour=hour, minute=58) - days * DAY) <= TRULY_NOW
)
#: Of each row: its text, how many lines that takes, and whether the button stands beside it.
MEASURE = """
const lines = (box) =>
  Math.round(box.getBoundingClientRect().height / parseFloat(getComputedStyle(box).lineHeight));
return [...document.querySelectorAll(arguments[0] + " .section:has(.accessory)")].map((row) => {
  const body = row.querySelector(".section-body").getBoundingClientRect();
  const button = row.querySelector(".accessory").getBoundingClientRect();
  return {
    text: row.innerText, lines: lines(row.querySelector(".section-body")),
    beside: button.left >= body.right && button.top < body.bottom,
    buttons: row.querySelectorAll("button").length,
    top: row.getBoundingClientRect().top, bottom: row.getBoundingClientRect().bottom,
  };
});
"""


def measured(page: Page, css: str) -> list[dict[str, Any]]:
    return list(page.run(MEASURE, css))


def every_row() -> list[Block]:
    """Rows in each state, of hosts with short and long names: new, pressed, taken, muted."""
    hosts = ("api.example.com", "intranet.demo.test:40151", "payments.eu-west.example.com")
    longer = (
        "a" * 21 + ".example.com",
        "w-" * 16 + "mm.example.com",
        f"{'wm.' * 14}example.org:65535",
    )
    shown: list[Block] = []
    outcome = outcome_line("no change", "Benjamin", NOW)
    every = [(each, names) for each in rows().items() for names in (hosts, longer)]
    for number, ((name, found), names) in enumerate(every):
        target = Target.parse(names[number // 2 % 3])
        row = msgspec.structs.replace(
            found,
            id=number + 1,
            target=target,
            not_after=found.not_after and found.not_after + (NOW - CARDS_NOW),
            not_before=found.not_before and found.not_before + (NOW - CARDS_NOW),
            scanned_at=found.scanned_at and found.scanned_at + (NOW - CARDS_NOW),
            message=MESSAGES.get(name, found.message),
        )
        taken = Marks(
            claims={row.id: Claim(row.id, "U0ANN", "Ann", NOW)},
            mutes={row.id: Mute("U0ANN", "Ann", NOW, NOW + DAY)} if number % 3 == 0 else {},
            notes={target.host: "ask Ben before you renew this certificate, he knows the vendor"},
        )
        for marks, said in ((Marks(), ""), (Marks(), outcome), (taken, ""), (taken, outcome)):
            rules = Thresholds(marks=marks)
            shown.append(group_row((row,), NOW, rules, outcome=said))
        same = msgspec.structs.replace(row, id=row.id + 100, fingerprint="ab")
        members = [msgspec.structs.replace(same, id=same.id + 100 * n) for n in range(14)]
        shown += [group_row(members, NOW, Thresholds(), outcome=said) for said in ("", outcome)]
        shown += taken_by_a_long_name(members, outcome)
    return [{**block, "block_id": f"row:{n}"} for n, block in enumerate(shown)]


def taken_by_a_long_name(members: Sequence[MonitorSummary], outcome: str) -> list[Block]:
    """Rows of one certificate: none, one or all are fixed, or they differ."""
    fine = msgspec.structs.replace(members[0], valid=True, not_after=NOW + 80 * DAY)
    claims = {each.id: Claim(each.id, "U0ANN", LONG_NAME, NOW) for each in members}
    rules, shown = Thresholds(marks=Marks(claims)), list[Block]()
    due, soon = (
        msgspec.structs.replace(fine, not_after=NOW + days * DAY, id=members[days].id)
        for days in (9, 1)
    )
    for some in (members, [fine, *members[1:]], [fine, due, soon, *members[3:]]):
        shown += [group_row(some, NOW, rules, outcome=said) for said in ("", outcome, LONG)]
    all_fine = {each.id: msgspec.structs.replace(fine, id=each.id) for each in members}
    fixed = refreshed(group_row(members, NOW, rules), all_fine, NOW, rules)
    return [*shown, *([fixed[0]] if fixed else [])]


LONG_NAME = "Maximilian Mustermann"
LONG = outcome_line("result unknown", LONG_NAME, NOW)
CARDS_NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
MESSAGES = {
    "wrong name": "Host name mismatch: the certificate is for www.example.com",
    "not trusted": "Self-signed: no certificate authority issued the certificate",
    "unreachable": "The scan timed out: the server did not respond in time",
}


def test_a_row_takes_three_lines_beside_its_one_button(page: Page) -> None:
    blocks = every_row()
    found = []
    posted = [page.running.post(blocks[start : start + 40]) for start in range(0, len(blocks), 40)]
    for ts in posted:
        message = f'#messages article[data-ts="{ts}"]'
        page.until_text(message, "Rescan")
        found += measured(page, message)
    page.look("rows")
    for ts in posted:
        page.running.remove(ts)
    assert len(found) == len(blocks)
    assert [(each["lines"], each["text"]) for each in found if each["lines"] > LINES] == []
    assert all(each["beside"] and each["buttons"] == 1 for each in found)


def test_five_rows_fit_on_two_screens_of_a_phone(page: Page) -> None:
    digest = f'#messages article[data-ts="{page.message_with("Certificates on")}"]'
    rows = measured(page, digest)[:5]
    height = float(page.run("return document.querySelector('#messages').clientHeight"))
    assert len(rows) == 5
    assert rows[-1]["bottom"] - rows[0]["top"] <= 2 * height
    assert all(row["lines"] <= LINES and row["beside"] for row in rows), rows


def test_digest_list_and_home_show_one_layout(page: Page) -> None:
    digest = f'#messages article[data-ts="{page.message_with("Certificates on")}"]'
    rows = {row["text"] for row in measured(page, digest)}
    ts = page.answer_to("/ssl list", "6 monitors", "Only visible to you")
    listed = measured(page, f'#messages article[data-ts="{ts}"]')
    page.look("list")
    assert rows <= {row["text"] for row in listed}
    page.go(at="channel=D0ANN&tab=home")
    page.until_text("#home", "Certificates", "About this bot")
    at_home = measured(page, "#home")
    assert rows <= {row["text"] for row in at_home}
    assert all(row["lines"] <= LINES and row["beside"] for row in [*listed, *at_home])
