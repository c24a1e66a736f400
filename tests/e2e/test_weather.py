"""Redis away, full, read-only, slow or silent for 20 s, under load by three bots that share a spool."""

import time
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from pombo.shared.secrets import SECRET_FILE
from support.installation import Bot, Child, Installation, until
from support.oracle import judge, seconds
from support.proxy import Road
from support.relay import Relay, stop_all
from support.results import record
from support.spool import spooled
from support.weather import KINDS, Weather, last, slowest

Say = Callable[[str], None]

KEY = "w" * 32
RATE, USERS = 150.0, 20
RESUMED_S = 5.0
WARM = 300
"""Deliveries before the weather begins."""
WORDS = 40
"""Lines that a bot may log about one spell of weather."""


def start_bots(installation: Installation) -> list[Bot]:
    """Two bots of threads and one of asyncio, with one spool, that take turns."""
    return [
        installation.stream(
            "bot", name, "--turns", *more, users=USERS, rate=RATE, spool=installation.spool, options=["--metrics"]
        )
        for name, *more in (("a",), ("b",), ("c", "--asyncio"))
    ]


def told_since(bot: Bot, moment: float, outcome: str) -> bool:
    """Whether a receipt of it has said so since."""
    return any(one.at > moment and one.outcome == outcome for one in bot.issued())


def resumed_after(worker: Child, moment: float) -> float:
    """Seconds from a moment to this worker's next request."""
    sent = [seconds(line["timestamp"]) for line in worker.lines() if line.get("event") == "delivery.attempted"]
    return min((at - moment for at in sent if at > moment), default=float("inf"))


def gauges(bots: Sequence[Bot]) -> list[float]:
    """What each bot's /metrics says of the spool."""
    return [bot.metric("pombo_spooled_events") for bot in bots]


@pytest.mark.e2e
@pytest.mark.timeout(300)
@pytest.mark.parametrize("weather", KINDS, ids=lambda kind: kind.name)
def test_weather(installation: Installation, say: Say, weather: Weather) -> None:
    """Every call is answered within its budget, all arrives once and in order, and all is well again by itself."""
    with Road(installation.server.socket) as road:
        _weather(installation, road, say, weather)


def secret(installation: Installation) -> str:
    """The installation's secret key: who is told a URL must be told that too."""
    return (installation.home / SECRET_FILE).read_text("utf-8").strip()


def _weather(installation: Installation, road: Road, say: Say, weather: Weather) -> None:
    installation.add("bot", KEY)
    by_road = {"POMBO_REDIS_URL": road.url, "POMBO_SECRET_KEY": secret(installation)}
    installation.set_env(**(by_road if weather.workers_outside else {}))
    workers = installation.workers(2)
    installation.set_env(**(by_road if weather.bots_outside else {}))
    bots = start_bots(installation)
    relay = Relay(bots)
    relay.start()
    until(lambda: installation.ledger("bot")["delivered"] > WARM and relay.rounds > 10, "a steady flow")

    begun = time.time()
    with weather.begin(installation, road) as kills:
        until(lambda: all(told_since(bot, begun, "spooled") for bot in bots), "spooled receipts", 20)
        last(begun)
        most, shown = spooled(installation.spool), gauges(bots)
    back = time.time()
    until(lambda: not spooled(installation.spool), "empty spool")
    empty = time.time()
    until(lambda: all(told_since(bot, empty, "accepted") for bot in bots), "direct appends")
    direct = time.time()
    until(lambda: max(resumed_after(worker, back) for worker in workers) < time.time(), "requests of both workers")
    left = gauges(bots)
    turns = relay.stop()
    logs = [*stop_all(bots), turns]
    installation.drained("bot")

    findings = judge(
        logs,
        arrivals=installation.segment.events(),
        dead=[letter["message_id"] for letter in installation.dead("bot")],
        requests=installation.segment.requests(),
        kills=kills,
    )
    outcomes = Counter(one.outcome for log in logs for one in log)
    resumed = max(resumed_after(worker, back) for worker in workers)
    ledger = installation.ledger("bot")
    say(
        f"{weather.name} for {back - begun:.1f} s: {dict(outcomes)}, slowest answer {slowest(logs):.2f} s; {findings}; "
        f"{most:,} events in the spool, empty {empty - back:.1f} s after, direct again {direct - back:.1f} s after; "
        f"workers resumed after {resumed:.1f} s; {len(turns):,} events by turns; deduplicated {ledger['deduplicated']}"
    )
    record(
        "Redis", f"{weather.name} for {back - begun:.0f} s, bots with a spool",
        f"each call answered within {slowest(logs):.2f} s, {most:,} events spooled, spool empty {empty - back:.1f} s "
        f"and workers at work {resumed:.1f} s after",
        runs=max(len(kills), 1), findings=findings, recovered_s=round(max(resumed, direct - back), 1),
    )  # fmt: skip
    findings.assert_sound()
    installation.audit()
    assert {"accepted", "spooled"} == set(outcomes)
    assert resumed <= RESUMED_S
    assert not weather.steady or all(figure > 0 for figure in shown), shown
    assert [0, 0, 0] == left
    assert all(worker.lives for worker in workers)
    assert (findings.accepted, 0) == (ledger["accepted"], ledger["deduplicated"])
    assert all(len(words(bot)) <= WORDS for bot in bots)


def words(bot: Bot) -> list[str]:
    """What it logged."""
    return bot.child.log.read_text("utf-8", "replace").splitlines()
