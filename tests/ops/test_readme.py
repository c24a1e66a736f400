"""README, run: what it tells a newcomer to type does what it says."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent
from typing import Any, get_args
from urllib.request import urlopen

import orjson
import pytest

from pombo.ops.cli.app import command
from pombo.producer.receipts import Reason
from support.programs import Program, end_all, program, stripped_environment
from support.waiting import DEADLINE_S, until

README = Path(__file__).resolve().parents[2] / "README.md"
WRITE_KEY = "w" * 32
UP_GATEWAY = "http://127.0.0.1:8080"


def section(title: str) -> str:
    """The text of README below a heading."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", README.read_text("utf-8"), re.M | re.S)
    assert found, title
    return found[1]


def blocks(text: str, language: str = "") -> list[str]:
    """The code blocks of a language, without their fences."""
    return [body for name, body in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S) if name == language]


def commands(text: str) -> list[str]:
    """Every command of pombo in code spans and shell blocks."""
    lines = [line for block in blocks(text) for line in block.splitlines()]
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    return [
        found[0] for code in [*lines, *re.findall(r"`([^`\n]+)`", prose)] if (found := re.search(r"\bpombo .*", code))
    ]


class World:
    """`pombo up` and a simulator, and a shell beside them."""

    def __init__(self, folder: Path, home: Path, simulator: str, gateway: str) -> None:
        self.gateway = gateway
        self.folder = folder
        self.simulator = simulator
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self._env = {**stripped_environment(), "POMBO_HOME": str(home), "PATH": path, "WRITE_KEY": WRITE_KEY}

    def shell(self, line: str) -> str:
        """Run a line as a newcomer types it; what it printed."""
        return self._run(["sh", "-c", line])

    def python(self, code: str) -> str:
        """Run Python in a process of its own; what it printed."""
        return self._run([sys.executable, "-W", "error", "-c", code])

    def arrived(self) -> list[dict[str, Any]]:
        """What the simulator kept."""
        with urlopen(f"{self.simulator}/_sim/events?key={WRITE_KEY}") as answer:
            return [row for row in orjson.loads(answer.read()) if row["fate"] == "kept"]

    def _run(self, argv: list[str]) -> str:
        done = subprocess.run(
            argv, env=self._env, cwd=self.folder, capture_output=True, text=True, timeout=DEADLINE_S, check=False
        )
        assert (0, "") == (done.returncode, done.stderr), argv
        return done.stdout


def _address(simulator: Program) -> str:
    found = re.search(r"http://\S+", simulator.out if simulator.out.endswith("\n") else "")
    return found[0] if found else ""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """What README's first step starts, and Segment's stand-in."""
    home = tmp_path / "h"
    try:
        with (
            program("simulator", "--port", "0", folder=tmp_path / "simulator") as simulator,
            program("up", folder=tmp_path / "up", POMBO_HOME=str(home), POMBO_METRICS_PORT="0") as up,
        ):
            up.says("pombo is up")
            # A port of its own: that of `up` may be another test's.
            with program("gateway", "--port", "0", folder=tmp_path / "gateway", POMBO_HOME=str(home)) as gateway:
                told = until(lambda: _address(gateway), "gateway")
                yield World(tmp_path, home, until(lambda: _address(simulator), "simulator"), told)
    finally:
        end_all(str(home))


def test_use_it(world: World) -> None:
    """Each step of "Use it" works as written, with the simulator in Segment's place, and the audit balances."""
    text = section("Use it")
    start, add, post = blocks(text)
    assert "pombo up\n" == start
    threads, tasks = blocks(text, "python")
    (send,) = re.findall(r"`(pombo send [^`]+)`", text)
    (look,) = re.findall(r"^\*\*4\. Look\*\*: (.+)$", text, re.M)

    added = world.shell(add)
    assert "source support_bot added" in added
    key = added.partition("shown this once:")[2].split()[0]
    world.shell(f"pombo sources set support_bot --endpoint {world.simulator}")
    assert "Accepted" in world.python(f"{threads}print(receipt.outcome)")
    world.python(f"import asyncio\nasync def main():\n{indent(tasks, '    ')}\nasyncio.run(main())")
    (world.folder / "events.ndjson").write_text('{"type":"track","userId":"u2","event":"Message Sent"}\n')
    assert "1 event accepted" in world.shell(send)
    sent = world.shell(f"INTAKE_KEY={key}\n{post.replace('curl', 'curl -sS').replace(UP_GATEWAY, world.gateway)}")
    assert {"success": True} == orjson.loads(sent)
    until(lambda: len(world.arrived()) == 4, "four events in the simulator")
    until(lambda: orjson.loads(world.shell("pombo audit --json"))["sources"]["support_bot"]["delivered"] == 4, "acks")

    shown = {words: world.shell(words) for words in re.findall(r"`(pombo [^`]+)`", look)}
    assert {"pombo status", "pombo top", "pombo audit", "pombo dead list", "pombo doctor"} == set(shown)
    assert "support_bot" in shown["pombo status"]
    assert "support_bot" in shown["pombo top"]
    assert "balanced" in shown["pombo audit"]
    assert "No dead letters" in shown["pombo dead list"]
    assert "nothing is wrong" in shown["pombo doctor"]


def test_every_command_exists() -> None:
    """Each command in README is one, with each of its options."""
    told = commands(README.read_text("utf-8"))
    assert len(told) > 15
    for line in told:
        here: Any = command()
        for word in line.partition("#")[0].split()[1:]:
            if word.strip("'\"") in getattr(here, "commands", {}):
                here = here.commands[word]
            elif word.startswith("--"):
                assert word in {option for one in here.params for option in one.opts}, line
        assert not hasattr(here, "commands"), line


def test_every_target_exists() -> None:
    """Each `make` target in README is in the Makefile."""
    targets = set(re.findall(r"^([a-z0-9]+):", README.with_name("Makefile").read_text("utf-8"), re.M))
    assert set() == set(re.findall(r"^make (\w+)", README.read_text("utf-8"), re.M)) - targets


def test_every_link_leads_somewhere() -> None:
    """Each relative link in README names a file."""
    links = re.findall(r"\]\(([^)#:]+)\)", README.read_text("utf-8"))
    assert [] == [link for link in links if not (README.parent / link).exists()]


def test_every_rejection_is_told() -> None:
    """README's table has every reason with which a producer rejects, and no other."""
    told = set(re.findall(r'"(\w+)"\)?`', section("Use it")))
    assert set(get_args(Reason)) - {"suppressed"} == told
