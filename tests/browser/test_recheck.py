"""From the digest to a fixed certificate, on a phone, with taps alone; and the screenshots."""

import pytest

from tests.browser.page import Page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.parametrize("opened", ["phone"], indirect=True),
]

HOST = "intranet.demo.test"
THREAD = "#thread-messages article"
MODAL = "dialog.modal"


def test_an_expired_host_is_watched_from_the_digest_until_it_is_fixed(page: Page) -> None:
    digest = f'#messages article[data-ts="{page.message_with("Certificates on")}"]'
    page.until_text(digest, HOST, "EXPIRED")
    page.show("#messages article", "Certificates on")
    page.picture("digest")

    page.click(f"button[aria-label^='Rescan {HOST}']", digest)
    page.until_text(digest, "no change", "Ann", "I'll take it")
    page.show("#messages article", "no change")
    page.picture("pressed")

    page.click(f"button[aria-label^='Take {HOST}']", digest)
    page.until_text(digest, "🙋", "Release")
    page.picture("taken")

    page.click(f"button[aria-label^='Scan and watch {HOST}']", digest)
    page.until_text(f"{digest} .replies", "repl")
    page.click(".replies", digest)
    page.until_text(THREAD, HOST, "EXPIRED", "Watching until", "Stop")
    page.running.renew(HOST)

    page.until_text(THREAD, HOST, "OK", "Fixed", "Changed: expiry date")
    page.until_text(THREAD, "@Ann", "Fixed", "after", "expires", HOST)
    page.click("#close-thread")
    page.until_text(digest, "fixed · Ann, ", "1 of 5 fixed. Now: 3 broken, 1 due.")
    page.show("#messages article", "Certificates on")
    page.picture("fixed")


def test_a_card_as_a_phone_shows_it(page: Page) -> None:
    page.answer_to("/ssl status api.demo.test", "DUE", "Only visible to you", "Scan & watch")
    page.picture("card")


def test_the_form_as_a_phone_shows_it(page: Page) -> None:
    page.say("/ssl add")
    page.until_text(f"{MODAL} h2", "Add hosts")
    page.picture("form")
    page.click(".modal-cancel", MODAL)


def test_home_as_a_phone_shows_it(page: Page) -> None:
    page.open(at="channel=D0ANN&tab=home")
    page.until_text("#home", "Certificates", "printer.demo.test", "About this bot")
    page.picture("home")
