"""The guides for users, run: what they tell people to type and to paste does what they say."""

import re
from pathlib import Path
from textwrap import dedent
from typing import Any

import httpx
import orjson
import pytest

from ops.test_readme import World
from ops.test_readme import world as world  # noqa: PLC0414 -- a fixture, not an unused name
from pombo.ops.cli.app import command
from pombo.producer.adapted import Adapted
from pombo.producer.quickbot import adapt
from support.waiting import until

DOCS = Path(__file__).resolve().parents[2] / "docs"
GUIDES = ("gateway.md", "migrating.md", "quickbot.md", "troubleshooting.md")
ISSUES = (
    *("Invalid Write Key", "Permission Denied", "Source Inactive"),
    *("Events Not Appearing", "Missing Properties", "User ID Mismatch"),
    *("Duplicate Events", "Invalid Data Types", "Missing Required Fields"),
    *("Downstream Failures", "Schema Validation Errors", "Rate Limiting"),
    *("Check the Write Key", "Use the debugger", "Review logs", "Validate data", "Test the integration"),
    *("Slow Processing", "High Latency", "Memory Usage", "Connection Timeouts"),
)
"""What QuickBot's page on its Segment block lists."""
LASTING = ("pombo simulator", "pombo worker")
"""Commands that go on until they are stopped; they have tests of their own."""
FLOW = {
    "groups": [
        {
            "title": "Start",
            "blocks": [
                {
                    "id": "b1",
                    "type": "segment",
                    "options": {"action": "Track", "eventName": "Plan Chosen", "userId": "{{User ID}}"},
                }
            ],
        }
    ]
}


_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.M | re.S)


def read(guide: str) -> str:
    """A guide as it is."""
    return (DOCS / guide).read_text("utf-8")


def fences(guide: str, language: str = "") -> list[str]:
    """The code blocks of a language, also those within lists."""
    return [dedent(body) for name, body in _FENCE.findall(read(guide)) if name == language]


def spans(prose: str) -> list[str]:
    """The commands of pombo in code spans, which may go on in the next line."""
    found = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", _FENCE.sub("", prose))]
    return [span for span in found if span.startswith("pombo ")]


def told(guide: str) -> list[str]:
    """Every command that a guide tells people to type, once."""
    lines = [line for block in fences(guide) for line in block.splitlines()]
    return list(dict.fromkeys([*lines, *spans(read(guide))]))


@pytest.mark.parametrize("guide", GUIDES)
def test_every_command_exists(guide: str) -> None:
    """Each command in a guide is one, with each of its options."""
    typed = [part for line in told(guide) for part in line.split(" | ") if part.startswith("pombo ")]
    assert len(typed) >= 3
    for line in typed:
        here: Any = command()
        for word in re.sub(r"[<>].*", "", line).split()[1:]:
            if word in getattr(here, "commands", {}):
                here = here.commands[word]
            elif word.startswith("--"):
                assert word in {option for one in here.params for option in one.opts}, line
        assert not hasattr(here, "commands"), line


@pytest.mark.parametrize("guide", GUIDES)
def test_every_link_leads_somewhere(guide: str) -> None:
    """Each link names a file, and a heading in it."""
    for name, anchor in re.findall(r"\]\(([^)#:]*)#?([^)]*)\)", read(guide)):
        page = read(name or guide)
        headings = {
            re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in re.findall(r"^#+ (.+)$", page, re.M)
        }
        assert not anchor or anchor in headings, anchor


def test_requests_of_the_guide() -> None:
    """Each request that the guide shows becomes an event, or would once the editor has filled it in."""
    requests = [one for one in map(orjson.loads, fences("quickbot.md", "json")) if "block" in one]
    assert 3 == len(requests)
    filled = orjson.loads(orjson.dumps(requests).replace(b"{{User ID}}", b"u1").replace(b"{{Result ID}}", b"r1"))
    made = [adapt(one) for one in filled]
    assert ["track", "page", "alias"] == [one.event["type"] for one in made if isinstance(one, Adapted)]


def test_every_issue_is_answered() -> None:
    """Each issue and step of QuickBot's page has its paragraph, with a command in it."""
    paragraphs = re.split(r"\n\n|\n(?=\d\. )", read("troubleshooting.md"))
    for issue in ISSUES:
        (found,) = [one for one in paragraphs if re.match(rf"(\d\. )?\*\*{issue}\b", one)]
        assert spans(found), issue


def test_python_of_the_guide(world: World) -> None:
    """The guide's program sends an event that arrives."""
    world.shell('echo "$WRITE_KEY" | pombo sources add support_bot --write-key -')
    world.shell(f"pombo sources set support_bot --endpoint {world.simulator}")
    (program,) = fences("quickbot.md", "python")
    world.python(program)
    (row,) = until(world.arrived, "the event in the simulator")
    assert ("Plan Chosen", "u1") == (row["event"], row["user"])


def test_troubleshooting(world: World) -> None:
    """Each command of the page runs as it stands, and says what is asked."""
    world.shell('echo "$WRITE_KEY" | pombo sources add support_bot --write-key -')
    world.shell(f"pombo sources set support_bot --endpoint {world.simulator}")
    (world.folder / "flow.json").write_bytes(orjson.dumps(FLOW))
    (world.folder / "variables.json").write_bytes(orjson.dumps({"User ID": "u1"}))
    bad = {"type": "track", "userId": "u1", "event": "Message Sent", "messageId": "refused"}
    good = [{**bad, "messageId": f"m{number}", "userId": f"u{number}"} for number in range(3)]
    (world.folder / "events.ndjson").write_bytes(b"".join(orjson.dumps(one) + b"\n" for one in (*good, bad)))
    plan = [{"when": {"message_id": "refused"}, "answer": {"status": 400}}]
    httpx.put(f"{world.simulator}/_sim/plan", json=plan).raise_for_status()
    world.shell("pombo send events.ndjson --source support_bot")
    letters = until(lambda: orjson.loads(world.shell("pombo dead list --json")), "a dead letter")
    typed = [line for line in told("troubleshooting.md") if not line.startswith(LASTING)]
    assert len(typed) > 20
    for line in typed:
        # What follows shall still find the letter, and the simulator; and nobody is there to edit.
        if any(word in line for word in ("redrive", "region", "dead edit")):
            continue
        assert world.shell(line.replace("MESSAGE_ID", "m1").replace(" ID", f" {letters[0]['id']}")), line
    assert "delivered" in world.shell("pombo trace m1")
    redriven = world.shell(next(line for line in typed if "redrive" in line))
    assert re.search("redriving [12] dead letters? of support_bot", redriven)  # The page sends the file again.
