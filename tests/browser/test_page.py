import pytest

from tests.browser.page import SIZES, Page
from tests.playground.blocks import (
    NUMBER,
    Json,
    actions,
    bar,
    button,
    cell,
    chart,
    context,
    field,
    header,
    mrkdwn,
    option,
    pie,
    plain,
    section,
    select,
    table_of,
)

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CARD = "#messages article.ephemeral"
MODAL = "dialog.modal"
#: A port of backup.demo.test for each size, so that no test meets another test's monitor.
FORM_PORTS = dict(zip(SIZES, (1001, 1002), strict=True))
DELETE_PORTS = dict(zip(SIZES, (2001, 2002), strict=True))
OTHERS_PORTS = dict(zip(SIZES, (3001, 3002), strict=True))
HOSTS = dict(zip(SIZES, ("intranet.demo.test", "mail.demo.test"), strict=True))


def test_a_typed_command_is_completed_and_answered_to_its_asker_alone(page: Page) -> None:
    page.type("#composer", "/ssl st")
    page.until_text("#completions [role=option]", "/ssl status")
    page.look("completion")
    page.press("Tab")
    page.until_value("#composer", "/ssl status ")
    before = page.newest()
    page.insert("shop.demo.test")
    page.press("Enter")
    page.message_with("shop.demo.test", "OK", "Only visible to you", after=before)
    page.look("status")


def test_pressing_rescan_replaces_that_very_card(page: Page) -> None:
    ts = page.answer_to("/ssl status api.demo.test", "api.demo.test", "Only", "Scan & watch")
    page.record(ts)
    card = f'#messages article[data-ts="{ts}"]'
    page.click("button[data-action-id='ssl:scan:here']", card)
    page.until_text(card, "asked by Ann", "Scan & watch")
    before, *between, after = page.recorded()
    assert any("Scanning…" in text for text in between), page.recorded()
    assert "asked by" not in before
    assert "api.demo.test" in after
    page.look("rescanned")


def test_a_rescan_in_the_digest_answers_in_its_thread_and_renews_its_row(page: Page) -> None:
    host = HOSTS[page.size]
    digest = f'#messages article[data-ts="{page.message_with("Certificates on")}"]'
    rescan = f"button[aria-label^='Rescan {host}']"
    row = f"{digest} .section:has({rescan})"
    page.look("digest")
    assert "OK" not in page.until_text(row, host)
    page.running.renew(host)
    page.click(rescan, digest)
    page.until_text(row, host, "OK")
    page.until_text(f"{digest} .replies", "repl")
    page.click(".replies", digest)
    page.until_text("#thread-messages article", host, "OK", "asked by Ann")
    page.look("thread")


def test_a_form_shows_an_error_at_its_field_and_accepts_the_correction(page: Page) -> None:
    target = f"backup.demo.test:{FORM_PORTS[page.size]}"
    page.say("/ssl add")
    page.until_text(f"{MODAL} h2", "Add hosts")
    page.paste(f"{MODAL} [data-block-id=targets]", "not..a.host")
    page.click("button.submit", MODAL)
    page.until_text(f"{MODAL} .field-error[data-block-id=targets]", "not..a.host")
    page.look("form-error")
    page.paste(f"{MODAL} [data-block-id=targets]", target)
    page.click("button.submit", MODAL)
    page.until_text(MODAL, target, "added")
    page.look("form-done")
    page.click(".modal-close", MODAL)
    page.until_gone(MODAL)
    page.until_text("#messages article:not(.ephemeral)", f"Ann added {target}")


def test_home_shows_the_worst_and_a_rescan_in_its_row(page: Page) -> None:
    page.open(at="channel=D0ANN&tab=home")
    page.until_text("#home", "Certificates", "backup.demo.test")
    page.look("home")
    rescan = "button[aria-label^='Rescan printer.demo.test']"
    page.click(rescan, "#home")
    page.until_text(f"#home .section:has({rescan})", "no change · Ann")
    page.until_text("#home", "Scan & watch", "I'll take it")
    page.look("home-rescan")
    assert page.texts(MODAL) == []


def test_a_monitor_is_deleted_only_after_the_dialog_was_confirmed(page: Page) -> None:
    target = f"backup.demo.test:{DELETE_PORTS[page.size]}"
    page.answer_to(f"/ssl add {target}", target, "added", "Rescan")
    ts = page.answer_to(f"/ssl delete {target}", "Delete the monitor for", target)
    card = f'#messages article[data-ts="{ts}"]'
    delete = "button[data-action-id^='ssl:delete_now']"
    page.click(delete, card)
    page.until_text("dialog.confirm", f"{target} will no longer be monitored")
    page.look("confirm")
    page.click(".confirm-no", "dialog.confirm")
    page.until_gone("dialog.confirm")
    page.click(delete, card)
    page.click(".confirm-yes", "dialog.confirm")
    page.until_text(card, f"{target} is no longer monitored")
    page.until_text("#messages article", f"Ann deleted the monitor for {target}")


def test_another_user_sees_what_is_public_and_nothing_that_is_private_to_ann(page: Page) -> None:
    page.answer_to("/ssl account", "Only visible to you", "used")
    page.act_as("U0BEN")
    page.until_text("#messages article", "Certificates on")
    target = f"backup.demo.test:{OTHERS_PORTS[page.size]}"
    page.running.say("U0ANN", f"/ssl add {target}")
    page.until_text("#messages article", f"Ann added {target}")
    assert page.texts(CARD) == []
    page.look("as-ben")
    page.act_as("U0ANN")
    page.until_text(CARD, "used")
    page.until_text(CARD, target, "added")


def test_every_supported_block_and_element_is_drawn(page: Page) -> None:
    message = f'#messages article[data-ts="{page.running.post(BLOCKS)}"]'
    page.until_text(message, "Severity", "Days left", "1–5 of 7", "Expiries")
    page.click(".sort[data-column='1']", message)
    numbers = f"{message} .data-table tbody td"
    page.until(
        """const cells = document.querySelectorAll(given[0]);
        return cells[0]?.innerText === "1" && cells[1]?.innerText === "2";""",
        "numbers in order",
        numbers,
    )
    page.run("document.querySelector(arguments[0]).scrollIntoView()", f"{message} .header")
    page.look("blocks")
    page.running.open_modal("U0ANN", FORM)
    page.until_text(MODAL, "Weekdays only", "#certificates")
    assert page.texts(".unsupported")[-1:] == ["Not supported here: carousel"]
    page.look("inputs")
    page.click(".modal-cancel", MODAL)
    page.until_gone(MODAL)


def words(text: str) -> Json:
    return {"type": "plain_text", "text": text}


DAYS = [{**NUMBER, "value": days, "text": str(days)} for days in (30, 7, 4, 21, 2, 1, 14)]
BLOCKS: list[Json] = [
    header(words("Blocks")),
    section(
        text=mrkdwn() | {"text": "*bold* _italic_ `code` <@U0ANN> <!date^1764028800^{date}|x>"},
        fields=[mrkdwn(12), plain(20)],
        accessory={"type": "overflow", "action_id": "o", "options": [option(9)]},
    ),
    context(mrkdwn(30)),
    {"type": "divider"},
    actions(
        button(action_id="b", style="primary"),
        select(options=[option(7)], placeholder=words("Severity")),
        {"type": "conversations_select", "action_id": "c"},
        {"type": "datepicker", "action_id": "d", "initial_date": "2026-11-25"},
        {"type": "timepicker", "action_id": "t", "initial_time": "09:00"},
    ),
    table_of(
        [{**cell(), "text": "Host"}, {**cell(), "text": "Days left"}],
        *([{**cell(), "text": f"host{n}.example.com"}, days] for n, days in enumerate(DAYS)),
    ),
    chart({**bar(["due", "broken"], ["week 48", "week 49"], 7)}) | {"title": "Expiries"},
    chart(pie((3, 2), (5, 1))),
    {"type": "carousel", "elements": []},
]
CHOICE = {"text": words("Weekdays only"), "value": "weekdays"}
FORM: Json = {
    "type": "modal",
    "title": words("Every input"),
    "submit": words("Save"),
    "blocks": [
        field(label=words("Text"), hint=words("One line")),
        field({"type": "plain_text_input", "action_id": "m", "multiline": True}, optional=True),
        field(select(options=[option(7)]), label=words("Select")),
        field({"type": "conversations_select", "action_id": "c"}, label=words("Channel")),
        field({"type": "checkboxes", "action_id": "b", "options": [CHOICE]}),
        field({"type": "datepicker", "action_id": "d"}, label=words("Day")),
        field({"type": "timepicker", "action_id": "t"}, label=words("Time")),
    ],
}
