"""The demo in a thread of its own, and a browser on its page."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from tests.browser.page import ARGUMENTS, DOCS, PREFERENCES, SIZES, DemoThread, Page


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put these tests first, so that one worker gets them: each would start a browser and demos."""
    here = Path(__file__).parent
    items.sort(key=lambda item: here not in item.path.parents)


@pytest.fixture(scope="module")
def running() -> Iterator[DemoThread]:
    """A demo that has posted its first digest."""
    running = DemoThread()
    try:
        running.start()
        yield running
    finally:
        running.close()


@pytest.fixture(scope="session")
def driver() -> Iterator[webdriver.Chrome]:
    """Chromium with the installed driver; Selenium never downloads one."""
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and chromedriver):
        pytest.skip("chromium and chromedriver are not installed (Debian: chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    options.add_experimental_option("prefs", PREFERENCES)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with TemporaryDirectory() as profile:  # Chromium hangs on one in /dev/shm
        for argument in (*ARGUMENTS, f"--user-data-dir={profile}"):
            options.add_argument(argument)
        driver = webdriver.Chrome(options=options, service=Service(executable_path=chromedriver))
        yield driver
        driver.quit()


@pytest.fixture(scope="module", params=SIZES)
def opened(
    request: pytest.FixtureRequest, driver: webdriver.Chrome, running: DemoThread
) -> Iterator[Page]:
    """The page, loaded once for the tests of a module at either size."""
    directory = request.config.getoption("--screenshots")
    screenshots = Path(directory) if directory else None
    if screenshots:
        screenshots.mkdir(parents=True, exist_ok=True)
    docs = DOCS if request.config.getoption("--update-screenshots") else None
    page = Page(driver, running, screenshots, request.param, docs)
    page.leave()
    page.fit()
    page.errors()
    page.open()
    yield page
    page.leave()  # it must not poll a demo that has ended


@pytest.fixture
def page(request: pytest.FixtureRequest, opened: Page) -> Iterator[Page]:
    """#certificates as Ann sees it, at either size; the page must not report any error."""
    if opened.failures != request.session.testsfailed:  # a failed test may leave it in any state
        opened.failures = request.session.testsfailed
        opened.open()
    opened.go()
    yield opened
    assert opened.errors() == []
