"""A real headless Chromium on the demo's page, at the sizes of a desktop and of a phone."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from selenium import webdriver
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    NoSuchElementException,
    StaleElementReferenceException,
    TimeoutException,
)
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

from bot import demo
from bot.demo import Demo, first_digest, running_demo
from bot.playground.objects import CERTS

T = TypeVar("T")
#: Where the README's pictures are.
DOCS = Path(__file__).parent.parent / "docs"

#: Nothing may be fetched from outside, and root may not use Chromium's sandbox.
ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-lcd-text",
)
SIZES = {"wide": (1280, 800), "phone": (390, 844)}
PATIENCE = 15.0
#: What is on the move or being redrawn is looked up again.
PASSING = (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    NoSuchElementException,
    StaleElementReferenceException,
)
#: Boxes that may scroll up and down, never sideways.
SIDEWAYS = """
const boxes = ["html", "#messages", "#thread-messages", "#home", "dialog[open] .modal-body"];
return boxes.filter((css) => [...document.querySelectorAll(css)]
  .some((box) => box.scrollWidth > box.clientWidth + 1));
"""
#: Keeps every text that a message shows, however briefly.
RECORD = """
const seen = window.seenTexts = [], ts = arguments[0];
const note = () => {
  const text = document.querySelector(`#messages article[data-ts="${ts}"]`)?.innerText ?? "";
  if (text !== seen.at(-1)) seen.push(text);
};
note();
new MutationObserver(note).observe(document.getElementById("messages"),
  {childList: true, subtree: true, characterData: true});
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--screenshots", metavar="DIR", help="keep the browser tests' pictures here")
    parser.addoption(
        "--update-screenshots", action="store_true", help="renew the README's pictures in docs/"
    )


class DemoThread:
    """A demo on an event loop of its own, in a thread, so that the browser may block the tests."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._stack = AsyncExitStack()
        self.demo: Demo

    def start(self) -> None:
        """Start the demo, and have its first digest posted."""
        self._thread.start()
        demo.SCAN_SECONDS = 0.5  # the silent sample host is as silent after half a second
        self.demo = self._do(self._stack.enter_async_context(running_demo(watch="1s")))
        self._do(first_digest(self.demo))

    def close(self) -> None:
        """End the demo, its loop and its thread."""
        try:
            self._do(self._stack.aclose())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def renew(self, host: str) -> None:
        """Give a sample host a fresh certificate."""

        async def swap() -> None:
            self.demo.hosts.renew(host)

        self._do(swap())

    def say(self, user: str, text: str) -> None:
        """Let somebody who is not at this page type a line into the certificates channel."""
        self._do(self.demo.playground.say(user, CERTS, text))

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)


@dataclass
class Page:
    """The demo's page as a person uses it; everything waits until it can be done or seen."""

    driver: webdriver.Chrome
    running: DemoThread
    pictures: Path
    size: str
    shown: Path | None

    def open(self, user: str = "U0ANN", place: str = "channel=C0CERTS") -> None:
        """Open a place afresh, as somebody."""
        self.driver.get("about:blank")
        self.driver.get(f"{self.running.demo.playground.url}#user={user}&{place}")
        self.wait_for_user(user)

    def wait_for_user(self, user: str) -> None:
        """Wait until the page shows what this user sees."""
        self.until(lambda: self.run("return document.body.dataset.ready") == user, f"{user}'s page")

    def act_as(self, user: str) -> None:
        """Become another user, by the page's menu."""
        Select(self.find("#user")).select_by_value(user)
        self.wait_for_user(user)

    def say(self, text: str, field: str = "#composer") -> None:
        """Type a line and send it."""
        self.type(field, text)
        self.find(field).send_keys(Keys.ENTER)

    def type(self, css: str, text: str) -> None:
        """Type into a field in the place of what it holds."""

        def done() -> bool:
            box = self.find(css)
            box.clear()
            box.send_keys(text)
            return box.get_attribute("value") == text

        self.until(done, f"{text!r} in {css}")

    def click(self, css: str, within: str = "", *, last: bool = True) -> None:
        """Click the last (or first) such thing inside the last such place."""

        def done() -> bool:
            found = self.seen(f"{within} {css}".strip())
            box = found[-1 if last else 0]
            self.run("arguments[0].scrollIntoView({block: 'center'})", box)
            box.click()
            return True

        self.until(done, f"a click on {within} {css}")

    def find(self, css: str) -> WebElement:
        """The one such element. Raises NoSuchElementException."""
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def seen(self, css: str) -> list[WebElement]:
        """All such elements that are on show. Raises NoSuchElementException if there are none."""
        found = [e for e in self.driver.find_elements(By.CSS_SELECTOR, css) if e.is_displayed()]
        if not found:
            raise NoSuchElementException(css)
        return found

    def texts(self, css: str) -> list[str]:
        """The texts of all such elements, on show or not."""
        return list(
            self.run(
                "return [...document.querySelectorAll(arguments[0])].map((e) => e.innerText)", css
            )
        )

    def until(self, condition: Callable[[], T], what: str) -> T:
        """Wait until a condition holds, and give its value."""
        waiting = WebDriverWait(self.driver, PATIENCE, 0.05, ignored_exceptions=PASSING)
        return waiting.until(lambda _: condition(), f"not seen: {what}")

    def until_text(self, css: str, *words: str) -> str:
        """Wait until one of these elements holds all these words; gives its text."""

        def found() -> str:
            return next((t for t in self.texts(css) if all(word in t for word in words)), "")

        try:
            return self.until(found, f"{words} in {css}")
        except TimeoutException as fault:
            pytest.fail(f"{fault.msg}; there is {self.texts(css)}")

    def answer_to(self, text: str, *words: str) -> str:
        """Type a line; gives the `data-ts` of a new message with all these words."""
        last = self.newest()
        self.say(text)
        return self.message_with(*words, after=last)

    def newest(self) -> float:
        """The `data-ts` of the newest message."""
        script = """
        return Math.max(0, ...[...document.querySelectorAll("#messages article")]
          .map((one) => Number(one.dataset.ts)))"""
        return float(self.run(script))

    def message_with(self, *words: str, after: float = 0) -> str:
        """The `data-ts` of the newest message with all these words, once it is there."""
        script = """
        return [...document.querySelectorAll("#messages article")].filter((one) =>
          Number(one.dataset.ts) > arguments[1] &&
          arguments[0].every((word) => one.innerText.includes(word))).at(-1)?.dataset.ts"""
        return self.until(
            lambda: str(self.run(script, words, after) or ""), f"a message with {words}"
        )

    def record(self, ts: str) -> None:
        """From now on keep every text that this message shows, for `recorded`."""
        self.run(RECORD, ts)

    def recorded(self) -> list[str]:
        """What was kept, oldest first."""
        return list(self.run("return window.seenTexts"))

    def run(self, script: str, *given: Any) -> Any:
        """Run a script in the page."""
        return self.driver.execute_script(script, *given)

    def look(self, name: str) -> None:
        """Keep a picture, and see that nothing here scrolls sideways."""
        self.driver.save_screenshot(str(self.pictures / f"{name}-{self.size}.png"))
        assert self.run(SIDEWAYS) == [], f"scrolls sideways: {name}"

    def show(self, css: str, text: str) -> None:
        """Scroll to the first such element with this text."""
        script = """
        [...document.querySelectorAll(arguments[0])].find((e) => e.innerText.includes(arguments[1]))
          .scrollIntoView({block: "start"})"""
        self.run(script, css, text)

    def picture(self, name: str) -> None:
        """Keep a picture as `look` does; with --update-screenshots it is the README's."""
        self.look(name)
        if self.shown is not None:
            self.fit(scale=1.25)
            self.driver.save_screenshot(str(self.shown / f"{name}.png"))
            self.fit()

    def errors(self) -> list[str]:
        """What the page complained of since this was last asked."""
        entries: list[dict[str, Any]] = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [str(entry["message"]) for entry in entries if entry["level"] == "SEVERE"]

    def fit(self, scale: float = 1) -> None:
        """Make the window as large as the size's screen, and a finger of the phone's mouse."""
        width, height = SIZES[self.size]
        phone = self.size == "phone"
        metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": phone}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": phone})
        touch = {"enabled": phone, "maxTouchPoints": 1}
        self.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", touch)


@pytest.fixture(scope="module")
def running() -> Iterator[DemoThread]:
    """A demo whose first digest is posted."""
    running = DemoThread()
    try:
        running.start()
        yield running
    finally:
        running.close()


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """Chromium, by the driver that is installed: none is ever looked for elsewhere."""
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and chromedriver):
        pytest.skip("chromium and chromedriver are not installed (Debian: chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (*ARGUMENTS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(executable_path=chromedriver))
    yield driver
    driver.quit()


@pytest.fixture(params=SIZES)
def page(
    request: pytest.FixtureRequest,
    driver: webdriver.Chrome,
    running: DemoThread,
    tmp_path: Path,
) -> Iterator[Page]:
    """The certificates channel as Ann sees it, at either size; at the end nothing was wrong."""
    pictures = Path(request.config.getoption("--screenshots") or tmp_path)
    pictures.mkdir(parents=True, exist_ok=True)
    shown = DOCS if request.config.getoption("--update-screenshots") else None
    page = Page(driver, running, pictures, request.param, shown)
    page.fit()
    page.errors()
    page.open()
    yield page
    assert page.errors() == []
