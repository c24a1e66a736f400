"""Rules and configuration as Prometheus' own tools and people read them."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.monitoring import MONITORING, alerts, found_program

ALERTS = alerts()
TESTS = ("tests.yml", "tests-day.yml")
TEMPLATE = re.compile(r"\{\{ (\$labels\.\w+|\$value \| (humanize\w*|printf \"%\.0f\")) \}\}")
"""Each value is written for people: as it is, two million would be 2e+06."""


def promtool(*words: str, folder: Path = MONITORING) -> str:
    """Run promtool to its good end; what it said."""
    done = subprocess.run(
        [found_program("promtool"), *words], cwd=folder, capture_output=True, text=True, timeout=110, check=False
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


def test_promtool_accepts_the_rules() -> None:
    """Expressions parse, templates render, no rule is there twice."""
    told = promtool("check", "rules", "--lint=all", "--lint-fatal", "rules/recording.yml", "rules/alerts.yml")
    assert f"{len(ALERTS)} rules found" in told


def test_promtool_accepts_the_configuration(tmp_path: Path) -> None:
    """prometheus.yml is one, with the files that it names."""
    folder = shutil.copytree(MONITORING, tmp_path / "etc")
    config = (folder / "prometheus.yml").read_text("utf-8")
    (tmp_path / "token").write_text("token")
    (folder / "prometheus.yml").write_text(config.replace("/run/secrets/console_token", str(tmp_path / "token")))
    assert "SUCCESS" in promtool("check", "config", "prometheus.yml", folder=folder)


def test_each_alert_fires_and_stays_quiet() -> None:
    """Promtool runs the unit tests beside the rules."""
    assert len(TESTS) == promtool("test", "rules", *TESTS, folder=MONITORING / "rules").count("SUCCESS")


def test_no_alert_lacks_its_unit_test() -> None:
    """Each alert has a test of its own, in which it alone fires once, and nothing does before and after."""
    texts = [(MONITORING / "rules" / name).read_text("utf-8") for name in TESTS]
    tests = {one["name"].partition(":")[0]: one for text in texts for one in yaml.safe_load(text)["tests"]}
    assert set(ALERTS) == set(tests)
    for name, one in tests.items():
        before, firing, after = (moment["exp_samples"] for moment in one["promql_expr_test"])
        assert [] == before == after
        assert [f'alertname="{name}"'] == [
            found for row in firing for found in re.findall(r'alertname="\w+"', row["labels"])
        ]


@pytest.mark.parametrize("name", ALERTS)
def test_alert_says_what_it_is(name: str) -> None:
    """It has a severity, a line, a sentence, and its section; its source is named where there is one."""
    rule = ALERTS[name]
    told = rule["annotations"]
    assert {"severity"} == set(rule["labels"])
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert {"summary", "description", "runbook_url"} == set(told)
    assert f"docs/runbook.md#{name.lower()}" == told["runbook_url"]
    assert told["description"].endswith(".")
    assert not told["summary"].endswith(".")
    assert TEMPLATE.sub("", told["summary"] + told["description"]).count("{{") == 0
    if re.search(r"by \(source|^source:", rule["expr"]):
        assert "{{ $labels.source }}" in told["summary"]


def test_amtool_accepts_the_example() -> None:
    """alertmanager.example.yml is a configuration, as Alertmanager's own tool reads it where it is installed."""
    if shutil.which("amtool") is None:
        pytest.skip("there is no amtool here; install the package prometheus-alertmanager")
    words = ["amtool", "check-config", str(MONITORING / "alertmanager.example.yml")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (0, True) == (done.returncode, "SUCCESS" in done.stdout), done.stdout + done.stderr


def test_consequences_are_alerts() -> None:
    """alertmanager.example.yml speaks of alerts that there are, and sends both severities somewhere."""
    example: Any = yaml.safe_load((MONITORING / "alertmanager.example.yml").read_text("utf-8"))
    named = set(re.findall(r"Pombo\w+", str(example["inhibit_rules"])))
    assert named <= set(ALERTS)
    receivers = {receiver["name"] for receiver in example["receivers"]}
    routes = [example["route"], *example["route"]["routes"]]
    assert receivers == {route["receiver"] for route in routes}
