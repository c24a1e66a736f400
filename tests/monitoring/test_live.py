"""A real Prometheus scrapes a live installation: whatever a rule or a panel asks for, it has an answer."""

import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError

from support.installation import Installation
from support.monitoring import Expression, dashboards, expressions, hurried
from support.observed import SOURCE, Observed, observed
from support.prometheus import Prometheus
from support.promql import as_figures
from support.waiting import until

FULL = "full"
VARIABLES = {"$source": ".+", "$__rate_interval": "5s"}
BAD = [f"refused-{number}" for number in range(10)]
PATIENCE_S = 40.0

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


def asked(expr: str) -> str:
    """An expression as Grafana asks it, with comparisons that filter nothing.

    A subquery looks at whole multiples of its step, of which a short run has none: its minutes last a second.
    """
    for name, value in VARIABLES.items():
        expr = expr.replace(name, value)
    return as_figures(re.sub(r"\[\w+:\w+\]", lambda found: hurried(found[0]), expr))


def unanswered(prometheus: Prometheus, some: Iterable[Expression]) -> list[Expression]:
    """Those of some expressions that have no series now."""
    return [one for one in some if not prometheus.query(asked(one.expr))]


def trouble(world: Observed) -> None:
    """Have happen what leaves no series behind in an installation where all is well."""
    home = world.installation
    # Memory has a limit, and a source a backlog that is full with its first event.
    home.redis.config_set("maxmemory", 1 << 30)
    home.cli(
        "sources",
        "add",
        FULL,
        "--write-key",
        "-",
        "--endpoint",
        home.segment.url,
        "--backlog-bytes",
        "1",
        given="f" * 32,
    )
    home.cli("sources", "pause", FULL)
    full_key = home.intake_key(FULL)
    until(lambda: world.post("f1", key=full_key) == 429, "a full backlog")
    # An event that is none, one that Segment refuses, and one that it never answers for.
    assert 400 == world.post("i1", event=None)
    home.segment.set_plan([
        {"when": {"message_id": BAD}, "answer": {"status": 400}},
        {"when": {}, "answer": {"status": 429, "headers": {"Retry-After": "1"}}, "times": 1},
        {"when": {}, "answer": {"action": "reset_after"}, "times": 1},
        {"when": {}, "answer": {"status": 503}, "times": 6},
    ])  # fmt: skip
    until(lambda: home.segment.fired()[3] == 6, "an open breaker")
    # More than one in a thousand: an alert fires.
    assert [200] * len(BAD) == [world.post(message_id) for message_id in BAD]
    until(lambda: home.ledger(SOURCE)["dead"] == len(BAD), "the refused events' letters")
    # Redis hangs up on everyone, until it was in the midst of a worker's command.
    until(lambda: hung_up(world), "a command that failed", poll_s=0.2)


def hung_up(world: Observed) -> bool:
    """Have Redis end all connections; whether a worker noticed already."""
    with suppress(ConnectionError):
        world.installation.redis.client_kill_filter(_type="normal", skipme=True)
    return bool(world.prometheus.query("pombo_redis_errors_total"))


def test_every_expression_has_an_answer(installation: Installation, tmp_path: Path) -> None:
    """All rules and panels, with variables filled in, return series from a worker, a gateway, a bot and the fleet."""
    with observed(installation, tmp_path / "o") as world:
        trouble(world)
        missing = list(expressions())

        def answered() -> bool:
            missing[:] = unanswered(world.prometheus, missing)
            return not missing

        with suppress(AssertionError):
            until(answered, "answers to all", PATIENCE_S, poll_s=0.5)
        assert [] == missing

        (variable,) = {
            variable["query"]["query"]
            for dashboard in dashboards().values()
            for variable in dashboard["templating"]["list"]
            if variable["name"] == "source"
        }
        metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable).groups()  # type: ignore[union-attr]
        assert {SOURCE, FULL} == {one["metric"][label] for one in world.prometheus.query(metric)}
