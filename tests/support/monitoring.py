"""What deploy/monitoring/ holds, as tests look at it: rules, alerts, dashboards and their expressions."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
MONITORING = ROOT / "deploy" / "monitoring"
DASHBOARDS = MONITORING / "grafana" / "dashboards"


class Expression(NamedTuple):
    """One PromQL expression and where it stands."""

    place: str
    expr: str


def rules(name: str) -> list[dict[str, Any]]:
    """The rules of a file below rules/, in order."""
    document = yaml.safe_load((MONITORING / "rules" / name).read_text("utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    """The alerts by name."""
    return {rule["alert"]: rule for rule in rules("alerts.yml")}


def dashboards() -> dict[str, Any]:
    """The dashboards by the name of their file."""
    return {path.name: orjson.loads(path.read_bytes()) for path in sorted(DASHBOARDS.glob("*.json"))}


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """Its panels, without the headings of rows."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[Expression]:
    """Every expression of every rule and panel."""
    for rule in rules("recording.yml"):
        yield Expression(rule["record"], rule["expr"])
    for name, rule in alerts().items():
        yield Expression(name, rule["expr"])
    for name, dashboard in dashboards().items():
        for panel in panels(dashboard):
            for target in panel["targets"]:
                yield Expression(f"{name}: {panel['title']}", target["expr"])


def found_program(name: str) -> str:
    """Prometheus' program of this name; without it the test is skipped, and in CI it fails."""
    path = shutil.which(name)
    if path is None:
        what = f"there is no {name} here; install the package prometheus"
        if os.environ.get("CI"):
            pytest.fail(what)
        pytest.skip(what)
    return path


_TIMES = re.compile(r"(\n +for: |\[)([\w:]+)")
_DURATION = re.compile(r"(\d+)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
LEAST_S = 6
"""Long enough that on a busy machine some of its scrapes, one a second, are answered."""


def hurried(rules_text: str) -> str:
    """Rules in which a minute lasts a second: every `for` and every window is a sixtieth, and six seconds at least.

    Thresholds are left as they are, those in seconds too, and so is whatever pombo itself waits for.
    """

    def shorter(found: re.Match[str]) -> str:
        return f"{max(LEAST_S, int(found[1]) * _SECONDS[found[2]] // 60)}s"

    return _TIMES.sub(lambda found: found[1] + _DURATION.sub(shorter, found[2]), rules_text)
