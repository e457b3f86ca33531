"""Rules of this code base that no linter checks. Each failure names the file and the line."""

import re
from pathlib import Path

import pytest

import bot
from tests.bench import trace

ROOT = Path(bot.__file__).parent
MODULES = {path: path.read_text() for path in sorted(ROOT.rglob("*.py"))}
MOST_LINES = 450
LEFTOVERS = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|# *(type: *ignore|noqa) *$", re.MULTILINE)
NO_REASON = re.compile(r"# noqa: [A-Z0-9, ]+$", re.MULTILINE)


def places(wanted: re.Pattern[str]) -> list[str]:
    """Where in the package this is found (`bot/app.py:12`)."""
    return [
        f"{path.relative_to(ROOT.parent)}:{text.count(chr(10), 0, found.start()) + 1}"
        for path, text in MODULES.items()
        for found in wanted.finditer(text)
    ]


def test_modules_are_short() -> None:
    sizes = {str(path): text.count("\n") for path, text in MODULES.items()}
    assert {path: size for path, size in sizes.items() if size > MOST_LINES} == {}


def test_nothing_is_left_half_done() -> None:
    assert places(LEFTOVERS) == []


def test_every_exception_to_a_lint_rule_gives_its_reason() -> None:
    assert places(NO_REASON) == []


@pytest.mark.parametrize("mode", ["socket", "http"])
async def test_a_status_is_answered_by_few_files(mode: str) -> None:
    files = sorted(await trace.traced(mode))
    assert len(files) <= trace.MOST_FILES, files
