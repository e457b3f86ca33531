"""How the tests are collected; what they share is in `fixtures.py`, which only workers need."""

from __future__ import annotations

import gc
import os
import re
import shutil
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import pytest

gc.disable()  # imported objects stay alive; `fixtures.py` turns it on before the tests
os.environ["HYPOTHESIS_NO_PLUGINS"] = "1"  # else Hypothesis imports Trio
pytest_plugins = ["tests.no_skips"]
pytest.register_assert_rewrite("tests.fixtures", "tests.postgres")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--screenshots", metavar="DIR", help="keep the browser tests' screenshots here"
    )
    parser.addoption(
        "--update-screenshots", action="store_true", help="update the README's screenshots in docs/"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Trust one root, load the fixtures where tests run, and keep files in memory."""
    root = Path(__file__).parent / "embedded/fixtures/sha1-root.pem"  # the machine has hundreds
    os.environ["SSL_CERT_FILE"] = str(root)  # before aiohttp is imported, which loads them
    if config.option.dist == "no" or hasattr(config, "workerinput"):
        config.pluginmanager.import_plugin("tests.fixtures")
    memory = Path("/dev/shm")
    if memory.is_dir() and shutil.disk_usage(memory).free > 2**30:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(memory))


def pytest_xdist_auto_num_workers() -> int:
    """Two workers more than there are CPUs, since tests also wait."""
    return min(os.cpu_count() or 1, 8) + 2


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Don't import modules that are slow as a whole for `-m "not slow"`: Selenium, Schemathesis."""
    if config.option.markexpr != "not slow":
        return None
    if collection_path.suffix != ".py":
        return collection_path.name == "browser" or None  # its conftest needs Selenium
    marks = re.search(
        r"^pytestmark = (.+?\n)\n", collection_path.read_text(), re.DOTALL | re.MULTILINE
    )
    return True if marks and "mark.slow" in marks[1] else None


def pytest_collection(session: pytest.Session) -> None:
    """Have each worker begin to import elsewhere: in a fresh clone, they share the compiling."""
    config, here = session.config, Path(__file__).parent
    worker = getattr(config, "workerinput", None)
    if worker is None or config.args != config.getini("testpaths"):
        return
    files = [
        path
        for path in sorted(here.rglob("test_*.py"))
        if not any(pytest_ignore_collect(each, config) for each in (path, path.parent))
    ]
    begin = len(files) * int(worker["workerid"][2:]) // worker["workercount"]
    for path in files[begin:] + files[:begin]:
        with suppress(Exception):  # the collection tells of it
            import_module(".".join(path.relative_to(here.parent).with_suffix("").parts))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what is slow by nature, leave out the matrix unless it is asked for, and sort."""
    for item in items:
        is_fuzz = getattr(getattr(item, "obj", None), "is_hypothesis_test", False)
        if is_fuzz or "postgresql" in item.name:
            item.add_marker("slow")
    unasked = [] if "matrix" in config.option.markexpr else ["matrix"]
    if config.option.markexpr == "not slow":  # Hypothesis reads all code if it finds its own tests
        unasked.append("slow")
    left_out = [item for item in items if any(map(item.get_closest_marker, unasked))]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not any(map(item.get_closest_marker, unasked))]
    # Each worker begins with what is slow in its share: short tests are shared best at the end.
    share = len(items) // getattr(config, "workerinput", {}).get("workercount", 1) + 1
    places = {item: (number // share, not item.get_closest_marker("slow"))
              for number, item in enumerate(items)}  # fmt: skip
    items.sort(key=places.__getitem__)
