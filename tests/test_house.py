"""The house's own rules that no linter knows."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import bot

ROOT = Path(bot.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))
MOST_LINES = 450
LONG_FUNCTION = 60
LEFT_OVERS = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|#\s*type:\s*ignore\s*$|#\s*noqa\s*$")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT.parent))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_is_short_and_leaves_nothing_half_done(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= MOST_LINES, f"{name_of(path)} has {len(lines)} lines: split it"
    left = [f"{name_of(path)}:{n}" for n, line in enumerate(lines, 1) if LEFT_OVERS.search(line)]
    assert left == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_reason_stands_beside_every_exception_to_a_rule(path: Path) -> None:
    """`PLC0415` (an import in a function) is explained once for each file, above the first."""
    bare = [
        f"{name_of(path)}:{number}: say why beside the noqa"
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(r"# noqa: (?!PLC0415)[A-Z0-9, ]+$", line)
    ]
    assert bare == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_functions_fit_a_screen(path: Path) -> None:
    long = [
        f"{name_of(path)}:{node.lineno}: {node.name}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= LONG_FUNCTION
    ]
    assert long == []
