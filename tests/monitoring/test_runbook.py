"""docs/runbook.md, held against the alerts and the commands that there are."""

import re
import shlex
from typing import Any

import pytest

from pombo.ops.cli.app import command
from support.monitoring import ROOT, alerts, dashboards, panels

TEXT = (ROOT / "docs" / "runbook.md").read_text("utf-8")
ALERTS = alerts()
PARTS = ("Means", "People notice", "Check", "Repair", "Relax")
FLAT = re.sub(r"\s+", " ", TEXT)
COMMANDS = sorted(set(re.findall(r"`(pombo [^`]+)`", FLAT)))


def sections() -> dict[str, str]:
    """The text of each alert's section."""
    found = re.findall(r"^### (Pombo\w+)\n(.*?)(?=^##|\Z)", TEXT, re.M | re.S)
    return {name: " ".join(body.split()) for name, body in found}


SECTIONS = sections()


def test_each_alert_has_its_section() -> None:
    """Alerts and sections are the same, in the same order but for their groups."""
    assert sorted(ALERTS) == sorted(SECTIONS)
    assert len(SECTIONS) == TEXT.count("### ")


@pytest.mark.parametrize("name", ALERTS)
def test_section_answers_what_is_asked_at_night(name: str) -> None:
    """Severity first, then what it means, who notices, how to check, how to repair, and when to relax it."""
    body = SECTIONS[name]
    assert body.startswith(f"*{ALERTS[name]['labels']['severity']}.* ")
    assert list(PARTS) == re.findall(r"\*\*([^*]+)\*\*:", body)


def test_commands_are_there() -> None:
    """Each command that is named runs, with the options that it is given."""
    assert len(COMMANDS) > 20
    for words in COMMANDS:
        here: Any = command()
        for word in shlex.split(words)[1:]:
            if word in getattr(here, "commands", {}):
                here = here.commands[word]
            elif word.startswith("--"):
                assert word in {option for param in here.params for option in param.opts}, words
        assert not hasattr(here, "commands"), words


def test_links_lead_somewhere() -> None:
    """Links to other files and to sections are sound."""
    headings = {
        re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in re.findall(r"^#+ (.+)$", TEXT, re.M)
    }
    for link in re.findall(r"\]\(([^)]+)\)", TEXT):
        place, _, anchor = link.partition("#")
        assert (ROOT / "docs" / place).exists() if place else anchor in headings, link


def test_panels_that_are_named_are_there() -> None:
    """What the runbook tells people to look at in Grafana has that title."""
    titles = {panel["title"] for dashboard in dashboards().values() for panel in panels(dashboard)}
    named = {
        name
        for sentence in re.findall(r"Grafana[^.]*?(?:\"[^\"]+\"[^.]*?)+", FLAT)
        for name in re.findall(r'"([^"]+)"', sentence)
    }
    assert len(named) > 5
    assert set() == {name for name in named if not any(name in title for title in titles)}
