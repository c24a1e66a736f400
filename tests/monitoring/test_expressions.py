"""Whatever rules and dashboards ask for is declared: metrics, labels, recording rules."""

from collections.abc import Mapping

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry

from pombo.gateway.metrics import Metrics as GatewayMetrics
from pombo.ops.fleetmetrics import families
from pombo.ops.references import declared, flat
from pombo.producer.metrics import PrometheusMetrics
from pombo.worker.metrics import Metrics
from support.monitoring import Expression, expressions, hurried, rules
from support.promql import as_figures, grouped, selectors

TARGETS = {"job", "instance"}
PROMETHEUS_OWN = {"up": TARGETS, "ALERTS": {*TARGETS, "alertname", "alertstate", "severity"}}
RECORDED = {"source": {"source"}, "source_class": {"source", "class"}}
"""Labels of what recording rules make, by how their names begin."""
SUFFIXES = {"histogram": {"_bucket": {"le"}, "_sum": set(), "_count": set()}}


def declarations() -> Mapping[str, set[str]]:
    """Every series that can be asked for, with its labels."""
    gateway = GatewayMetrics(CollectorRegistry())
    producer = PrometheusMetrics(prometheus_client, CollectorRegistry())
    things = [*vars(Metrics(CollectorRegistry())).values(), *families(None), *flat(vars(producer).values())]
    known: dict[str, set[str]] = {name: set(labels) for name, labels in PROMETHEUS_OWN.items()}
    for name, kind, labels, _ in declared([*things, gateway.requests]):
        ends: Mapping[str, set[str]] = SUFFIXES.get(kind, {"": set()})
        for suffix, more in ends.items():
            known[name + suffix] = {*labels, *more, *TARGETS}
    for rule in rules("recording.yml"):
        known[rule["record"]] = RECORDED[rule["record"].partition(":")[0]]
    return known


KNOWN = declarations()
ALL = list(expressions())


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.place)
def test_metrics_and_labels_are_declared(one: Expression) -> None:
    """Each metric that is named is one, and has the labels by which it is selected."""
    found = selectors(one.expr)
    assert found
    assert [] == [selector.metric for selector in found if selector.metric not in KNOWN]
    assert [] == [selector for selector in found if not selector.labels <= KNOWN[selector.metric]]


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.place)
def test_labels_of_groups_are_declared(one: Expression) -> None:
    """What is summed by, or matched on, is a label of a metric in the expression, or made in it."""
    there = set().union(*(KNOWN[selector.metric] for selector in selectors(one.expr)))
    made = {"class"} if "label_replace" in one.expr else set()
    assert set() == grouped(one.expr) - there - made


def test_every_recording_rule_is_used() -> None:
    """No figure is computed that nobody looks at."""
    asked = {selector.metric for one in ALL for selector in selectors(one.expr)}
    assert [] == [rule["record"] for rule in rules("recording.yml") if rule["record"] not in asked]


def test_what_is_declared_beside_the_contract_is_used() -> None:
    """A metric that no panel, rule or contract asks for is a cost without a use."""
    asked = " ".join(one.expr for one in ALL)
    unused = {
        name for name in KNOWN if name.removesuffix("_count").removesuffix("_sum").removesuffix("_bucket") not in asked
    }
    assert {"pombo_discarded_events_total"} == unused - set(PROMETHEUS_OWN)


def test_names_are_found_in_expressions() -> None:
    """The reader of expressions sees metrics, matchers and groups, and no functions, words, numbers or durations."""
    expr = 'max by (source) (rate(a_total{b=~"x.y",c!="d{"}[5m])) > 1e3 and on (f) source:g:rate1m offset 5m == bool 0'
    assert [("a_total", {"b", "c"}), ("source:g:rate1m", set())] == [
        (name, set(labels)) for name, labels in selectors(expr)
    ]
    assert {"source", "f"} == grouped(expr)
    assert 'up{a!="b"} == bool 0 and c > bool 1 or d >= bool 2' == as_figures(
        'up{a!="b"} == 0 and c > bool 1 or d >= 2'
    )


def test_a_minute_lasts_a_second_in_hurried_rules() -> None:
    """Windows and waits are a sixtieth, six seconds at least; thresholds and rates' names stay."""
    text = ["", "  expr: rate(a:rate5m[15m]) > 300 and b[1h:5m] and c[15s]", "  for: 10m", "  description: for 5m", ""]
    made = ["", "  expr: rate(a:rate5m[15s]) > 300 and b[60s:6s] and c[6s]", "  for: 10s", "  description: for 5m", ""]
    assert "\n".join(made) == hurried("\n".join(text))
