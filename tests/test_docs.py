"""The README, the manifest and the code say the same."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from bot.commands import router
from bot.config import SCOPES, VARIABLES
from bot.demo import playground_app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
MANIFEST: dict[str, Any] = yaml.safe_load((ROOT / "manifest.yml").read_text())
SCHEMA = ROOT.parent / "shared" / "data" / "slack-app-manifest.schema.json"


def cells(first_column: str) -> list[list[str]]:
    """The README's table rows whose first cell matches."""
    rows = [
        [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in README.splitlines()
        if line.startswith("|")
    ]
    return [row for row in rows if re.fullmatch(first_column, row[0])]


def test_the_readme_lists_every_setting_with_its_default() -> None:
    shown = {row[0].strip("`"): row[1].strip("`") for row in cells(r"`[A-Z_]+`")}
    assert shown == {name: default or "" for name, (_, default) in VARIABLES.items()}


def test_the_readme_lists_every_command_with_its_help() -> None:
    shown = {row[0].strip("`"): row[1] for row in cells(r"`/ssl .*`")}
    assert list(shown) == [f"/ssl {command.usage}" for command in router.typed()]
    for command in router.typed():
        first = re.split("[.,;:]", command.help)[0]
        assert shown[f"/ssl {command.usage}"].startswith(first)


def test_the_readme_lists_every_scope_with_its_reason() -> None:
    shown = [row[0].strip("`") for row in cells(r"`[a-z_]+:[a-z.]+`|`commands`")]
    assert shown == list(SCOPES)


def test_the_manifest_asks_for_exactly_the_scopes_that_are_explained() -> None:
    assert MANIFEST["oauth_config"]["scopes"]["bot"] == list(SCOPES)


def test_the_manifest_has_the_command_and_hints_at_every_subcommand() -> None:
    (command,) = MANIFEST["features"]["slash_commands"]
    assert command["command"] == "/ssl"
    hinted = [part.split()[0] for part in command["usage_hint"].split(" | ")]
    assert hinted == [each.name for each in router.typed()]


def test_the_playground_gives_the_app_what_the_manifest_asks_for() -> None:
    app = playground_app()
    assert app.scopes == set(SCOPES)
    assert app.bot_events == set(MANIFEST["settings"]["event_subscriptions"]["bot_events"])
    assert [command.command for command in app.commands] == [
        command["command"] for command in MANIFEST["features"]["slash_commands"]
    ]


def test_slack_would_accept_the_manifest() -> None:
    if not SCHEMA.exists():
        pytest.skip("Slack's JSON schema of app manifests is not beside this checkout")
    jsonschema.validate(MANIFEST, json.loads(SCHEMA.read_text()))


def test_the_readme_has_one_line_for_the_demo_and_one_for_the_tests() -> None:
    lines = [line for line in README.splitlines() if line.startswith("python3 -m venv")]
    assert [line.rpartition(" -m ")[2] for line in lines] == ["bot demo", "pytest"]
