"""Outages made for real, under a real Prometheus: each fires the alert that names it, and no page leads elsewhere.

A minute lasts a second in the rules (`support.monitoring.hurried`); thresholds, and whatever pombo itself waits for,
are as they are. Pages that alertmanager.example.yml calls consequences of another are not sent, so they mislead nobody.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml

from pombo.shared.secrets import SECRET_FILE
from support.installation import Installation
from support.monitoring import MONITORING
from support.observed import SOURCE, Observed, observed
from support.prometheus import Firing, Prometheus
from support.proxy import Road
from support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

QUIET_S = 5.0
"""For which nobody may be paged before: what is well looks well, also to rules in a hurry."""
PATIENCE_S = 90.0
"""For the alert; a scrape that fails on a busy machine begins its time anew."""
AFTER_S = 5.0
"""After the alert, for others that would follow at once."""
WRONG_KEY = "w" * 32
EVERYTHING: dict[str, Any] = {}


@dataclass
class Outage:
    """What goes wrong, what fires, and what keeps it going while one waits for that."""

    alert: str
    strike: Callable[[Observed], None]
    keep_up: Callable[[Observed, int], None] = field(default=lambda world, turn: None)
    about: str | None = SOURCE
    """The source that the alert names; None: it is of no source."""


def segment_down(world: Observed) -> None:
    """Kill Segment: nobody listens any more."""
    (simulator,) = (child for child in world.installation.children if child.name.startswith("simulator"))
    simulator.kill()


def too_many(world: Observed) -> None:
    """Have Segment answer each request with 429, for two seconds at a time."""
    answer = {"status": 429, "headers": {"Retry-After": "2"}}
    world.installation.segment.set_plan([{"when": EVERYTHING, "answer": answer}])


def wrong_key(world: Observed) -> None:
    """Give the source a key that Segment names as invalid."""
    answer = {"status": 400, "body": {"code": "invalid_write_key", "message": "Invalid write key"}}
    world.installation.segment.set_plan([{"when": {"key": WRONG_KEY}, "answer": answer}])
    world.installation.cli("sources", "rotate-key", SOURCE, "--write-key", "-", given=f"{WRONG_KEY}\n")


def poison(world: Observed) -> None:
    """Have Segment refuse certain events."""
    ids = [f"poison-{number}" for number in range(500)]
    world.installation.segment.set_plan([{"when": {"message_id": ids}, "answer": {"status": 400}}])


def send_poison(world: Observed, turn: int) -> None:
    """Send one of them."""
    assert 200 == world.post(f"poison-{turn}")


def workers_gone(world: Observed) -> None:
    """Kill the only worker with -9."""
    world.worker.kill()


def redis_full(world: Observed) -> None:
    """Leave Redis less memory than it uses."""
    used = int(world.installation.redis.info("memory")["used_memory"])
    world.installation.redis.config_set("maxmemory", used - 1)


def send_anything(world: Observed, turn: int) -> None:
    """Send an event by the gateway, which spools what Redis does not take."""
    assert 200 == world.post(f"e-{turn}")


def redis_away(world: Observed) -> None:
    """Kill Redis with -9; the gateway knows the source by then."""
    assert 200 == world.post("before")
    world.installation.kill_server()


def ledger_tampered_with(world: Observed) -> None:
    """Add five deliveries that never were to the ledger."""
    world.installation.redis.hincrby(world.installation.keys.of(SOURCE).ledger, "delivered", 5)


OUTAGES = {
    "Segment down": Outage("PomboSourceBroken", segment_down),
    "429 storm": Outage("PomboSourceHeld", too_many),
    "wrong key": Outage("PomboSourceParked", wrong_key),
    "poison events": Outage("PomboEventsDying", poison, send_poison),
    "workers gone": Outage("PomboNoWorkers", workers_gone, about=None),
    "Redis full": Outage("PomboRedisFull", redis_full, send_anything, about=None),
    "Redis away": Outage("PomboRedisAway", redis_away, send_anything, about=None),
    "ledger tampered with": Outage("PomboLedgerImbalance", ledger_tampered_with),
}


def sent(firing: list[Firing]) -> set[str]:
    """The pages among the alerts that an Alertmanager on the example would send: those that follow from no other."""
    rules = yaml.safe_load((MONITORING / "alertmanager.example.yml").read_text("utf-8"))["inhibit_rules"]
    return {
        one.name
        for one in firing
        if one.severity == "page"
        and not any(_follows(one, other, rule) for rule in rules for other in firing if other is not one)
    }


def _follows(one: Firing, other: Firing, rule: dict[str, Any]) -> bool:
    same = all(one.labels.get(label) == other.labels.get(label) for label in rule.get("equal", ()))
    return same and _matches(one, rule["target_matchers"]) and _matches(other, rule["source_matchers"])


def _matches(one: Firing, matchers: list[str]) -> bool:
    for matcher in matchers:
        label, sign, pattern = re.fullmatch(r'(\w+)(=~?)"(.+)"', matcher).groups()  # type: ignore[union-attr]
        value = one.labels.get(label, "")
        if not (re.fullmatch(pattern, value) if sign == "=~" else pattern == value):
            return False
    return True


def stays_quiet(prometheus: Prometheus) -> None:
    """Look for a while, and see nobody paged; that this machine is slow may well be told in a ticket."""
    ends = time.monotonic() + QUIET_S
    until(lambda: sent(prometheus.firing()) or time.monotonic() > ends, "a quiet while", poll_s=0.2)
    assert set() == sent(prometheus.firing())


def fires(world: Observed, outage: Outage) -> tuple[Firing, float, list[Firing]]:
    """Strike, and wait for the alert: it, after how many seconds, and what fires a moment later."""
    turns = count()
    struck = time.monotonic()
    outage.strike(world)

    def found() -> Firing | None:
        outage.keep_up(world, next(turns))
        return next((one for one in world.prometheus.firing() if one.name == outage.alert), None)

    alert = until(found, outage.alert, PATIENCE_S, poll_s=0.2)
    assert alert is not None
    seconds = time.monotonic() - struck
    ends = time.monotonic() + AFTER_S

    def over() -> bool:
        outage.keep_up(world, next(turns))
        return time.monotonic() > ends

    until(over, "a moment", poll_s=0.2)
    return alert, seconds, world.prometheus.firing()


def judged(name: str, world: Observed, outage: Outage, say: Callable[[str], None]) -> None:
    """Have one outage, and see that people are told of it and of nothing else."""
    stays_quiet(world.prometheus)
    alert, seconds, firing = fires(world, outage)
    others = sorted(f"{one.name} ({one.severity})" for one in firing if one.name != outage.alert)
    say(f"{name}: {outage.alert} after {seconds:.1f} s; beside it {', '.join(others) or 'nothing'}")
    assert {outage.alert} == sent(firing)
    assert outage.about == alert.labels.get("source")
    assert "page" == alert.severity
    assert (outage.about or "") in alert.annotations["summary"]
    assert "{{" not in "".join(alert.annotations.values())


@pytest.mark.parametrize("name", OUTAGES)
def test_outage_fires_its_alert(
    name: str, installation: Installation, tmp_path: Path, say: Callable[[str], None]
) -> None:
    """The alert that names the outage fires, and every other page is a consequence of it."""
    with observed(installation, tmp_path / "o") as world:
        judged(name, world, OUTAGES[name], say)


def test_gateway_cut_off_from_redis(installation: Installation, tmp_path: Path, say: Callable[[str], None]) -> None:
    """A gateway alone that cannot reach Redis fills its spool, and that is what is told."""
    with Road(Path(installation.server.url.removeprefix("unix://"))) as road:
        secret = (installation.home / SECRET_FILE).read_text("utf-8").strip()
        env = {"POMBO_REDIS_URL": road.url, "POMBO_SECRET_KEY": secret}
        with observed(installation, tmp_path / "o", gateway_env=env) as world:
            assert 200 == world.post("before")
            outage = Outage("PomboSpoolFilling", lambda _: road.hush(), send_anything, about=None)
            judged("spool filling", world, outage, say)
