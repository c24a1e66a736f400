"""Segment's own SDKs, as their registries have them: where they are installed, and how tests run them."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from bench.peers import find

from support.programs import stripped_environment

SUPPORT = Path(__file__).resolve().parent
WITHIN_S = 60.0


def node() -> tuple[str, dict[str, str]]:
    """The program of Node, and the environment in which it finds Segment's SDK; skips where they are missing."""
    peers = find()
    if peers.node is None:
        _missing("@segment/analytics-node")
    return str(peers.node), {**plain_environment(), "NODE_PATH": str(peers.modules)}


def python() -> tuple[str, dict[str, str]]:
    """The program of the Python that has Segment's SDK, and its environment; skips where it is missing."""
    peers = find()
    if peers.python is None:
        _missing("segment-analytics-python")
    return str(peers.python), plain_environment()


def versions() -> dict[str, str]:
    """What is installed, by package."""
    return find().versions()


def run(sdk: tuple[str, dict[str, str]], file: Path, *words: str, **env: str) -> str:
    """Run a program to its good end; what it printed."""
    program, own = sdk
    done = subprocess.run(
        [program, str(file), *words],
        env={**own, **env}, capture_output=True, text=True, timeout=WITHIN_S, check=False,
    )  # fmt: skip
    assert (0, "") == (done.returncode, done.stderr), done.stderr
    return done.stdout


def six_calls(language: str, url: str, key: str, calls: list[dict[str, Any]]) -> None:
    """Have an SDK make these calls and send them to `url`; returns when all are answered well."""
    sdk, file = (node(), "six_calls.js") if language == "node" else (python(), "six_calls.py")
    run(sdk, SUPPORT / file, json.dumps({"url": url, "key": key, "calls": calls}))


def plain_environment() -> dict[str, str]:
    """The environment of this process without any `POMBO_*`, and without proxies."""
    return {name: value for name, value in stripped_environment().items() if not name.lower().endswith("_proxy")}


def _missing(package: str) -> None:
    what = f"{package} is not installed; `make peers` installs it"
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)
