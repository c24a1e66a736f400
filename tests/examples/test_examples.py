"""The examples, run: each brings its conversation to Segment as it stands."""

import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from support import sdks
from support.installation import Gateway, Installation

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
CONVERSATION = [("identify", None), ("track", "Message Received"), ("track", "Message Sent")]


@pytest.fixture
def installation(tmp_path: Path) -> Any:
    """Server, simulator, a worker, and source `support_bot`."""
    with Installation(tmp_path) as made:
        made.add("support_bot", "s" * 32)
        made.workers(1)
        yield made


@pytest.fixture
def gateway(installation: Installation) -> Gateway:
    """The gateway to which the examples send."""
    return installation.gateway()


def told(installation: Installation, gateway: Gateway) -> dict[str, str]:
    """What `examples/README.md` has people export."""
    return {"POMBO_GATEWAY": gateway.url, "INTAKE_KEY": installation.intake_key("support_bot")}


def arrived(installation: Installation) -> list[tuple[str, str | None]]:
    """Types and names of the events that Segment kept, in order."""
    installation.drained("support_bot")
    installation.audit()
    rows = [row for row in installation.segment.events() if row["fate"] == "kept"]
    assert {"u1"} == {row["user"] for row in rows}
    return [(row["type"], row["event"]) for row in rows]


def test_node(installation: Installation, gateway: Gateway) -> None:
    """The bot on Node, with the newest SDK."""
    sdks.run(sdks.node(), EXAMPLES / "node" / "bot.js", **told(installation, gateway))
    assert CONVERSATION == arrived(installation)


def test_segment_python(installation: Installation, gateway: Gateway) -> None:
    """The bot in Python with Segment's SDK."""
    sdks.run(sdks.python(), EXAMPLES / "segment-python" / "bot.py", **told(installation, gateway))
    assert CONVERSATION == arrived(installation)


def test_producer(installation: Installation) -> None:
    """The bot in Python with pombo's producer."""
    here = {**sdks.plain_environment(), "POMBO_HOME": str(installation.home)}
    sdks.run((sys.executable, here), EXAMPLES / "producer" / "bot.py")
    assert CONVERSATION == arrived(installation)


def test_curl(installation: Installation, gateway: Gateway) -> None:
    """Each command of the page on curl."""
    env = {**os.environ, **told(installation, gateway)}
    commands = re.findall(r"^```\n(.*?)^```$", (EXAMPLES / "curl.md").read_text("utf-8"), re.M | re.S)
    for command in commands:
        done = subprocess.run(["sh", "-c", command], env=env, capture_output=True, text=True, timeout=60, check=True)
        assert {"success": True} == json.loads(done.stdout)
    assert [*CONVERSATION, ("track", "Conversation Ended")] == arrived(installation)


@dataclass
class EndpointConfig:
    """What Rasa hands to a broker's class: all that `event_broker` says beside `type`."""

    type: str
    kwargs: dict[str, Any] = field(default_factory=dict)


async def test_rasa(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker of `endpoints.yml`, made and called as Rasa does it."""
    monkeypatch.setenv("POMBO_HOME", str(installation.home))
    told = yaml.safe_load((EXAMPLES / "rasa" / "endpoints.yml").read_text("utf-8"))["event_broker"]
    config = EndpointConfig(told.pop("type"), told)
    module, _, name = config.type.rpartition(".")
    make: Callable[..., Any] = getattr(importlib.import_module(module), name).from_endpoint_config
    broker = await make(config)
    common = {"sender_id": "u1", "timestamp": 1528402837.617099}
    broker.publish({**common, "event": "session_started"})
    broker.publish({**common, "event": "user", "text": "oi", "parse_data": {"intent": {"name": "greet"}}})
    broker.publish({**common, "event": "slot", "name": "plan", "value": "gold"})
    broker.publish({**common, "event": "bot", "text": "Bom dia"})
    await broker.close()
    assert [("track", "Conversation Started"), *CONVERSATION[1:]] == arrived(installation)


def test_versions_are_those_that_are_tried() -> None:
    """What the examples ask their registries for is what these tests ran with."""
    sdks.node(), sdks.python()
    package = json.loads((EXAMPLES / "node" / "package.json").read_text("utf-8"))
    wanted = dict([(EXAMPLES / "segment-python" / "requirements.txt").read_text("utf-8").strip().split("==")])
    there = sdks.versions()
    assert package["dependencies"] | wanted == {name: there[name] for name in (*package["dependencies"], *wanted)}


def test_every_example_is_listed() -> None:
    """The list of examples names each, and nothing that is not there."""
    links = set(re.findall(r"\]\(([^)#:]+)\)", (EXAMPLES / "README.md").read_text("utf-8")))
    assert [] == [link for link in links if not (EXAMPLES / link).exists()]
    there = {path.name for path in EXAMPLES.iterdir() if path.name not in {"README.md", "node_modules"}}
    assert there == {link.partition("/")[0] for link in links if not link.startswith("..")}
