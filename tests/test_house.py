"""Rules of this code base that no linter checks. Each failure names the file and the line."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import bot
from tests.bench import trace
from tests.test_imports import nodes

ROOT = Path(bot.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))
MOST_LINES = 450
LONG_FUNCTION = 60
LEFTOVERS = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|#\s*type:\s*ignore\s*$|#\s*noqa\s*$")
NO_REASON = re.compile(r"# noqa: [A-Z0-9, ]+$")


def lines() -> Iterator[tuple[str, str]]:
    """Each line of the package, after its place (`bot/app.py:12`)."""
    for path in MODULES:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            yield f"{path.relative_to(ROOT.parent)}:{number}", line


def test_modules_are_short() -> None:
    sizes = {str(path): path.read_text().count("\n") for path in MODULES}
    assert {path: size for path, size in sizes.items() if size > MOST_LINES} == {}


def test_nothing_is_left_half_done() -> None:
    assert [place for place, line in lines() if LEFTOVERS.search(line)] == []


def test_every_exception_to_a_lint_rule_gives_its_reason() -> None:
    assert [place for place, line in lines() if NO_REASON.search(line)] == []


def test_functions_fit_a_screen() -> None:
    long = [
        f"{path.relative_to(ROOT.parent)}:{node.lineno} {node.name}"
        for path in MODULES
        for node in nodes(path)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= LONG_FUNCTION
    ]
    assert long == []


@pytest.mark.parametrize("mode", ["socket", "http"])
async def test_a_status_is_answered_by_few_files(mode: str) -> None:
    files = sorted(await trace.traced(mode))
    assert len(files) <= trace.MOST_FILES, files
