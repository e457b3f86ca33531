"""A real headless Chromium on the demo's page, at the sizes of a desktop and of a phone."""

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from bot import demo
from bot.demo import Demo, first_digest, running_demo
from bot.playground.objects import BOT_USER, CERTS, Json

T = TypeVar("T")
#: Where the README's screenshots are.
DOCS = Path(__file__).parent.parent.parent / "docs"

#: Chromium may fetch nothing from outside, and can't use its sandbox as root.
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
    "--disable-features=WebUIOmniboxPopup,WebUIOmniboxAimPopup",
)
#: Chromium's own first page takes as long to load as a test.
PREFERENCES = {"session.restore_on_startup": 4, "session.startup_urls": ["about:blank"]}
SIZES = {"wide": (1280, 800), "phone": (390, 844)}
PATIENCE = 60.0
#: What a key types, and its code on Windows, by which Chromium knows it.
KEYS = {"Enter": ("\r", 13), "Tab": ("", 9)}
#: Waits in the page, because each question from outside costs a round trip.
UNTIL = """
const [seconds, ...given] = arguments;
const condition = (...given) => {%s};
return new Promise((resolve, reject) => {
  const end = performance.now() + 1000 * seconds;
  const stop = (settle, value) => { watcher.disconnect(); clearInterval(timer); settle(value); };
  const look = () => {
    try {
      const found = condition(...given);
      if (found || performance.now() > end) stop(resolve, found);
    } catch (fault) { stop(reject, fault); }
  };
  const watcher = new MutationObserver(look), timer = setInterval(look, 50);
  watcher.observe(document,
    {subtree: true, childList: true, characterData: true, attributes: true});
  look();
});
"""
#: Scrolls to the last (or first) visible element of a kind; gives its middle if nothing covers it.
#: `clicked` tells whether the next click reaches one of this kind.
SPOT = """
const [css, last] = given;
const visible = [...document.querySelectorAll(css)].filter((one) =>
  one.getClientRects().length
    && one.checkVisibility({opacityProperty: true, visibilityProperty: true}));
const box = visible.at(last ? -1 : 0);
box?.scrollIntoView({block: "center"});
const {left, top, width, height} = box?.getClientRects()[0] ?? {};
const at = {x: left + width / 2, y: top + height / 2};
if (!box?.contains(document.elementFromPoint(at.x, at.y)) || box.disabled) return null;
window.clicked = false;
document.addEventListener("click", ({target}) => { window.clicked = Boolean(target.closest(css)); },
  {capture: true, once: true});
return at;
"""
#: Shows another part of the page by its URL, as a link does; the page loads nothing.
GO = """
const wanted = `#${arguments[0]}`;
return new Promise((resolve) => {
  if (location.hash === wanted) return resolve();
  addEventListener("hashchange", () => resolve(), {once: true});
  location.hash = wanted;
});
"""
#: Finds boxes that scroll sideways; they may only scroll up and down.
SIDEWAYS = """
const boxes = ["html", "#messages", "#thread-messages", "#home", "dialog[open] .modal-body"];
return boxes.filter((css) => [...document.querySelectorAll(css)]
  .some((box) => box.scrollWidth > box.clientWidth + 1));
"""
#: Records every text that a message shows, however briefly.
RECORD = """
const texts = window.recordedTexts = [], ts = arguments[0];
const note = () => {
  const text = document.querySelector(`#messages article[data-ts="${ts}"]`)?.innerText ?? "";
  if (text !== texts.at(-1)) texts.push(text);
};
note();
new MutationObserver(note).observe(document.getElementById("messages"),
  {childList: true, subtree: true, characterData: true});
"""


class DemoThread:
    """A demo in a thread with its own event loop, so that the tests may block on the browser."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._stack = AsyncExitStack()
        self.demo: Demo

    def start(self) -> None:
        """Start the demo and post its first digest."""
        self._thread.start()
        demo.SCAN_SECONDS = 0.5  # half a second is enough to find a host silent
        self.demo = self._do(self._stack.enter_async_context(running_demo(watch="1s")))
        self._do(first_digest(self.demo))

    def close(self) -> None:
        """Stop the demo, its loop and its thread."""
        try:
            self._do(self._stack.aclose())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def renew(self, host: str) -> None:
        """Give a sample host a new certificate."""

        async def renew() -> None:
            self.demo.hosts.renew(host)

        self._do(renew())

    def say(self, user: str, text: str) -> None:
        """Let someone else, on no page, type a line into #certificates."""
        self._do(self.demo.playground.say(user, CERTS, text))

    def post(self, blocks: list[Json]) -> str:
        """Let the bot post blocks that none of its cards has to #certificates; returns the ts."""

        async def post() -> str:
            return self.demo.playground.workspace.post(CERTS, BOT_USER, "x", blocks=blocks).ts

        return self._do(post())

    def remove(self, ts: str) -> None:
        """Delete a message in #certificates."""

        async def remove() -> None:
            workspace = self.demo.playground.workspace
            workspace.remove(next(m for m in workspace.messages(CERTS) if m.ts == ts))

        self._do(remove())

    def open_modal(self, user: str, view: Json) -> None:
        """Let the bot open a modal that none of its commands has."""

        async def push() -> None:
            self.demo.playground.workspace.push_modal(user, view)

        self._do(push())

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)


@dataclass
class Page:
    """The demo's page as a person uses it; every method waits until it can do or see its part."""

    driver: webdriver.Chrome
    running: DemoThread
    screenshots: Path | None
    size: str
    docs: Path | None
    failures: int = 0

    def open(self, user: str = "U0ANN", at: str = "channel=C0CERTS") -> None:
        """Load the page anew, as a user and at a channel or tab."""
        self.leave()
        self.driver.get(f"{self.running.demo.playground.url}#user={user}&{at}")
        self.wait_for_user(user)

    def leave(self) -> None:
        """Leave the page: otherwise it goes on polling, and a new URL changes only its fragment."""
        if self.driver.current_url != "about:blank":
            self.driver.get("about:blank")

    def go(self, user: str = "U0ANN", at: str = "channel=C0CERTS") -> None:
        """Show a channel or tab to a user in the page that is loaded."""
        self.run(GO, f"user={user}&{at}")
        self.wait_for_user(user)

    def wait_for_user(self, user: str) -> None:
        """Wait until the page shows this user's view."""
        self.until("return document.body?.dataset.ready === given[0]", f"{user}'s page", user)

    def act_as(self, user: str) -> None:
        """Switch to another user with the page's menu."""
        Select(self.driver.find_element(By.ID, "user")).select_by_value(user)
        self.wait_for_user(user)

    def say(self, text: str, field: str = "#composer") -> None:
        """Paste a line and send it."""
        self.paste(field, text)
        self.press("Enter")

    def paste(self, css: str, text: str) -> None:
        """Replace the text of a field by pasting: typing takes as long as all the rest."""
        self._select(css)
        self.insert(text)
        self.until_value(css, text)

    def insert(self, text: str) -> None:
        """Paste a text where the focus is."""
        self._command("Input.insertText", text=text)

    def type(self, css: str, text: str) -> None:
        """Replace the text of a field by typing."""
        self._select(css)
        self.press(*text)
        self.until_value(css, text)

    def press(self, *keys: str) -> None:
        """Press and release one key after another."""
        for key in keys:
            text, code = KEYS.get(key, (key, 0))
            for what in ("keyDown", "keyUp"):
                typed = text if what == "keyDown" else ""
                self._command(
                    "Input.dispatchKeyEvent",
                    type=what,
                    key=key,
                    text=typed,
                    windowsVirtualKeyCode=code,
                )

    def click(self, css: str, within: str = "", *, last: bool = True) -> None:
        """Click the last (or first) visible element of this kind; on a phone, tap on it.

        A click is lost if its element is redrawn just then: click again.
        """
        css = f"{within} {css}".strip()
        end = monotonic() + PATIENCE
        clicked = False
        while not clicked:
            assert monotonic() < end, f"did not happen: a click on {css}"
            self._click_at(self.until(SPOT, f"something to click, {css}", css, last))
            clicked = self.run(UNTIL % "return window.clicked", 1.0)

    def _click_at(self, spot: dict[str, float]) -> None:
        if self.size == "phone":
            self._command("Input.dispatchTouchEvent", type="touchStart", touchPoints=[spot])
            self._command("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
            return
        self._command("Input.dispatchMouseEvent", type="mouseMoved", **spot)
        for what in ("mousePressed", "mouseReleased"):
            clicked = {"type": what, "button": "left", "clickCount": 1}
            self._command("Input.dispatchMouseEvent", **clicked, **spot)

    def _select(self, css: str) -> None:
        """Click on a field and select its text."""
        self.click(css, last=False)
        script = """
        const box = document.activeElement;
        if (box.matches(given[0])) box.select();
        return box.matches(given[0]);"""
        self.until(script, f"the focus on {css}", css)

    def _command(self, name: str, **parameters: Any) -> None:
        self.driver.execute_cdp_cmd(name, parameters)

    def texts(self, css: str) -> list[str]:
        """The texts of all matching elements, visible or not."""
        return list(
            self.run(
                "return [...document.querySelectorAll(arguments[0])].map((e) => e.innerText)", css
            )
        )

    def until(self, condition: str, what: str, *given: Any) -> Any:
        """Wait until the script `condition` returns something true, and return that."""
        found = self.run(UNTIL % condition, PATIENCE, *given)
        assert found, f"did not happen: {what}"
        return found

    def until_text(self, css: str, *words: str) -> str:
        """Wait until one of these elements contains all these words, and return its text."""
        script = """
        return [...document.querySelectorAll(given[0])].map((e) => e.innerText)
          .find((text) => given[1].every((word) => text.includes(word)))"""
        try:
            return str(self.until(script, f"{words} in {css}", css, words))
        except AssertionError as fault:
            pytest.fail(f"{fault}; there is {self.texts(css)}")

    def until_value(self, css: str, text: str) -> None:
        """Wait until a field has exactly this text."""
        script = "return document.querySelector(given[0])?.value === given[1]"
        self.until(script, f"{text!r} in {css}", css, text)

    def until_gone(self, css: str) -> None:
        """Wait until no such element is left."""
        self.until("return !document.querySelector(given[0])", f"the end of {css}", css)

    def answer_to(self, text: str, *words: str) -> str:
        """Say a line, and return the `data-ts` of a new message with all these words."""
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
        """The `data-ts` of the newest message with all these words, once it exists."""
        script = """
        return [...document.querySelectorAll("#messages article")].filter((one) =>
          Number(one.dataset.ts) > given[1] &&
          given[0].every((word) => one.innerText.includes(word))).at(-1)?.dataset.ts"""
        return str(self.until(script, f"a message with {words}", words, after))

    def record(self, ts: str) -> None:
        """Record every text that this message shows from now on, for `recorded`."""
        self.run(RECORD, ts)

    def recorded(self) -> list[str]:
        """The recorded texts, oldest first."""
        return list(self.run("return window.recordedTexts"))

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a script in the page."""
        return self.driver.execute_script(script, *arguments)

    def look(self, name: str) -> None:
        """Keep a screenshot, if somebody wants one, and check that nothing scrolls sideways."""
        if self.screenshots:
            self.driver.save_screenshot(str(self.screenshots / f"{name}-{self.size}.png"))
        assert self.run(SIDEWAYS) == [], f"scrolls sideways: {name}"

    def show(self, css: str, text: str) -> None:
        """Scroll to the first matching element with this text."""
        script = """
        [...document.querySelectorAll(arguments[0])].find((e) => e.innerText.includes(arguments[1]))
          .scrollIntoView({block: "start"})"""
        self.run(script, css, text)

    def picture(self, name: str) -> None:
        """Keep a screenshot as `look` does; --update-screenshots puts it into the README too."""
        self.look(name)
        if self.docs is not None:
            self.fit(scale=1.25)
            self.driver.save_screenshot(str(self.docs / f"{name}.png"))
            self.fit()

    def errors(self) -> list[str]:
        """The page's error messages since the last call."""
        entries: list[dict[str, Any]] = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [str(entry["message"]) for entry in entries if entry["level"] == "SEVERE"]

    def fit(self, scale: float = 1) -> None:
        """Give the window its size; on a phone, the mouse is a finger."""
        width, height = SIZES[self.size]
        phone = self.size == "phone"
        metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": phone}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": phone})
        touch = {"enabled": phone, "maxTouchPoints": 1}
        self.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", touch)
