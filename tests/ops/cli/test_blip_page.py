"""docs/blip.md, run: its commands exist, its tables name what there is, and its example is what comes of it."""

import re
from importlib.metadata import version
from pathlib import Path

import pytest

from ops.cli.commands import Cli
from pombo.shared.sources import Source
from producer.blip.items import ALL, ALL_ITEMS, OPTIONS, event, is_silent

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "blip.md").read_text("utf-8")
WORDS = set(re.findall(r"`(\w+)`", PAGE))


def block(language: str) -> str:
    """The one code block of a language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.M | re.S)
    return str(found)


def commands() -> list[str]:
    """Every command of pombo on the page, without what is around it in a shell."""
    code = re.findall(r"^ *(.*pombo (?:sources|blip|dead|status) .*)$", PAGE, re.M) + re.findall(r"`([^`\n]+)`", PAGE)
    return [found[0].strip() for line in code if (found := re.search(r"\bpombo [a-z][^`|]*", line))]


def test_the_example_is_what_comes_of_it(pombo: Cli) -> None:
    """The page's item becomes the page's event, to the letter."""
    shown = block("text").replace("version  0.1.0", f"version  {version('pombo')}")
    assert shown == pombo("blip", "check", "-", "--identity", "hmac", stdin=block("json")).out


def test_every_command_is_one(pombo: Cli) -> None:
    """Each command on the page is known, with its options."""
    found = {" ".join(line.split()[1:3]): line for line in commands()}
    assert {"sources add", "sources set", "sources rotate-key", "blip check", "dead list"} <= found.keys()
    for line in commands():
        words = line.split()[1:]
        depth = 1 if words[0] == "status" else 2
        told = pombo(*words[:depth], "--help").out
        assert all(f"{option} " in told or f"{option}/" in told for option in re.findall(r"--[a-z-]+", line)), line


@pytest.mark.parametrize("item", [item for item in ALL_ITEMS if not is_silent(item, ALL)])
def test_every_property_is_on_the_page(item: dict[str, object]) -> None:
    """Whatever an event carries under its own names is explained; a ticket's details are Blip's."""
    for options in (OPTIONS, ALL):
        if is_silent(item, options):
            continue
        made = event(item, options)
        if made.get("event") != "Ticket Updated":
            told = {**made.get("properties", {}), **made.get("traits", {})}
            assert [] == [name for name in told if name not in WORDS]


def test_defaults_are_bold() -> None:
    """The table of choices has the defaults that a source has."""
    table = dict(re.findall(r"^\| `--([a-z-]+)` \| [^|]*?\*\*`?([A-Za-z ]+)`?\*\*", PAGE, re.M))
    source = Source(name="bot", incarnation="i")
    assert {
        "message-bodies": source.message_bodies, "identity": source.identity, "perspective": source.perspective,
        "tickets": "on" if source.tickets else "off", "bot": "every bot", "intake-header": source.intake_header,
    } == table  # fmt: skip
    assert () == source.bots
