"""The README, the docs, the manifest and the code agree."""

import json
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from packaging.requirements import Requirement

from bot.commands import router
from bot.config import SCOPES, SETTINGS
from bot.demo import playground_app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
DOCUMENTS = README + "".join(path.read_text() for path in (ROOT / "docs").glob("*.md"))
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


def table(*rows: Iterable[str]) -> str:
    """A Markdown table; the first row is its head."""
    head, *body = [f"| {' | '.join(row)} |".replace("|  |", "| |") for row in rows]
    return "\n".join([head, "|---" * (head.count("|") - 1) + "|", *body, ""])


def settings_table() -> str:
    return table(
        ("Variable", "Default", "Meaning"),
        *(
            (
                f"`{each.variable}`",
                f"`{each.default}`" if each.default else "",
                each.meaning + " *Secret.*" * each.secret,
            )
            for each in SETTINGS.values()
        ),
    )


def scopes_table() -> str:
    return table(
        ("Scope", "Why", "Without it"),
        *((f"`{name}`", scope.purpose, scope.without) for name, scope in SCOPES.items()),
    )


@pytest.mark.parametrize("expected", [settings_table(), scopes_table()], ids=["settings", "scopes"])
def test_the_docs_contain_the_table_of_the_settings_and_of_the_scopes(expected: str) -> None:
    if expected not in DOCUMENTS:
        pytest.fail(f"Paste this over the old table:\n\n{expected}", pytrace=False)


def test_the_readme_lists_every_command_with_its_help() -> None:
    shown = {row[0].strip("`"): row[1] for row in cells(r"`/ssl .*`")}
    assert list(shown) == [f"/ssl {command.usage}" for command in router.typed()]
    for command in router.typed():
        first = re.split("[.,;:]", command.help)[0]
        assert shown[f"/ssl {command.usage}"].startswith(first)


def test_the_manifest_asks_for_exactly_the_scopes_that_are_explained() -> None:
    assert MANIFEST["oauth_config"]["scopes"]["bot"] == list(SCOPES)


def test_the_manifest_has_the_command_and_hints_at_every_subcommand() -> None:
    (command,) = MANIFEST["features"]["slash_commands"]
    assert command["command"] == "/ssl"
    hinted = [part.split()[0] for part in command["usage_hint"].split(" | ")]
    assert hinted == [each.name for each in router.typed() if each.stands_alone]


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


def test_the_readme_is_short() -> None:
    prose = [line for line in README.splitlines() if not line.startswith("|")]
    assert len(" ".join(prose).split()) <= 1200


def test_links_between_the_documents_lead_somewhere() -> None:
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    links = [
        (path, link)
        for path in documents
        for link in re.findall(r"\]\(([^):#]+)\)|src=\"([^\"]+)\"", path.read_text())
    ]
    missing = [f"{p.name}: {a or b}" for p, (a, b) in links if not (p.parent / (a or b)).exists()]
    assert links
    assert missing == []


def test_the_readme_has_one_line_for_the_demo_and_one_for_the_tests() -> None:
    lines = [line for line in README.splitlines() if line.startswith("python3 -m venv")]
    assert [line.rpartition(" -m ")[2] for line in lines] == ["bot demo", "pytest"]


def test_the_example_environment_names_every_setting_with_its_default() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    assert [line for line in lines if re.match("#[A-Z_]+=", line)] == [
        f"#{each.variable}={each.default}" for each in SETTINGS.values()
    ]


def test_the_deployment_names_only_settings_that_exist() -> None:
    known = {name for each in SETTINGS.values() for name in each.variables}
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert set(services["bot"]["environment"]) <= known
    assert services["bot"]["read_only"] is True
    unit = (ROOT / "deploy" / "sslmonitor-bot.service").read_text()
    assert "RestartPreventExitStatus=2 78" in unit
    assert set(re.findall(r"^Environment=(\w+)=", unit, re.MULTILINE)) <= known


def test_the_lock_file_has_every_dependency_with_hashes() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    locked = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", lock, re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["postgres"]
    ranges = {each.name.lower(): each.specifier for each in map(Requirement, wanted)}
    assert all("<" in str(each) for each in ranges.values())
    assert [name for name, each in ranges.items() if locked[name] not in each] == []
    # The next major series may refuse certificates that hosts have, such as negative serials.
    assert str(int(locked["cryptography"].split(".")[0]) + 1) not in ranges["cryptography"]
    assert lock.count("--hash=sha256:") > len(locked)
    assert "://" not in lock


def test_every_row_of_what_happens_when_names_a_test_that_exists() -> None:
    rows = (ROOT / "docs" / "faults.md").read_text()
    named = re.findall(r"\| `(test_\w+)` \|$", rows, re.MULTILINE)
    tests = "".join(path.read_text() for path in (ROOT / "tests").glob("test_*.py"))
    assert len(named) > 15
    assert [name for name in named if f"def {name}(" not in tests] == []


def test_every_text_names_only_files_commands_programs_and_settings_that_exist() -> None:
    paths = [*(ROOT / "bot").rglob("*.py"), *ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    text = "\n".join(path.read_text() for path in paths)
    files = set(re.findall(r"\b(?:docs|deploy)/[\w-]+\.\w+", text))
    commands = set(re.findall(r"/ssl (?!can do)([a-z]+)", text))
    programs = set(re.findall(r"python -m bot ([a-z]+)", text))
    variables = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", text))
    others = {"HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "NAME_FILE", "DIGEST_CHANEL"}
    assert len(files) > 5
    assert [name for name in files if not (ROOT / name).exists()] == []
    assert [name for name in commands if router.find(name) is None] == []
    assert programs <= {"run", "demo", "digest", "check", "embedded", "backup"}
    assert variables - others <= {name for each in SETTINGS.values() for name in each.variables}
    assert re.findall(r"in (?:its|the) README|see “.*?” in", text) == []
