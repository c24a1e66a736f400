"""The spool between processes that are killed, a Redis that is not there yet, and sources that nobody added yet."""

import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import chain

import orjson
import pytest

from pombo.shared.secrets import SECRET_FILE
from support.installation import Bot, Installation, until
from support.oracle import Findings, Issued, judge
from support.proxy import Road
from support.relay import stop_all
from support.results import record
from support.spool import drain, spooled, stuck
from support.traffic import write
from support.weather import slowest

Say = Callable[[str], None]

KEY = "s" * 32
KILLS = 5
RATE, TICK_S = 1_500.0, 0.001
"""So fast that a kill finds the bot in the midst of spooling."""
BETWEEN = 600
"""Spooled receipts before each kill."""
SOME = 20
BACKLOG = 30_000
"""Events in the spool that drainers are killed over."""
DELAY_S = 0.15
"""Its answers are this late for them, so that a kill can come between an append and its answer."""


def _spooled_by(bot: Bot) -> int:
    assert bot.child.lives, bot.child.log.read_text()
    return sum(one.outcome == "spooled" for one in bot.issued())


def _has_spooled(bot: Bot) -> bool:
    return _spooled_by(bot) > BETWEEN


def _tracks(name: str, count: int, users: int = 40) -> list[dict[str, object]]:
    ids = [(f"{name}-u{n % users:03}", f"{name}.{n:06}") for n in range(count)]
    return [{"type": "track", "event": "Message Sent", "userId": u, "messageId": m, "properties": {}} for u, m in ids]


def _judge(here: Installation, logs: list[list[Issued]], kills: list[float]) -> Findings:
    here.drained("bot")
    findings = here.judge("bot", logs, kills=kills)
    here.audit()
    return findings


@pytest.mark.e2e
def test_bots_killed_while_they_spool(installation: Installation, say: Say) -> None:
    """What a killed bot called spooled arrives once, by whoever has the folder next."""
    installation.add("bot", KEY)
    installation.workers(1)
    kills = [installation.kill_server()]
    steady = installation.stream("bot", "steady", users=20, rate=100, spool=installation.spool)
    logs = []
    for number in range(KILLS):
        bot = installation.stream("bot", f"k{number}", users=20, rate=RATE, tick_s=TICK_S, spool=installation.spool)
        until(partial(_has_spooled, bot), "spooled receipts")
        logs.append(bot.kill())
    logs.append(steady.kill())
    assert spooled(installation.spool) > KILLS * BETWEEN
    kills.append(installation.restart_server())
    drain(installation)

    findings = _judge(installation, logs, kills)
    unheard = sum(one.outcome == "unheard" for one in chain(*logs))
    say(f"{KILLS + 1} bots killed while they spooled: {findings} ({unheard} of them unheard)")
    record(
        "Our processes", "bots killed -9 while they spool", "all that a receipt called spooled arrived once",
        runs=KILLS + 1, findings=findings,
    )  # fmt: skip
    findings.assert_sound()
    ledger = installation.ledger("bot")
    assert (findings.kept, 0) == (ledger["accepted"], ledger["deduplicated"])
    assert {"spooled", "unheard"} == {one.outcome for one in chain(*logs)}


def _is_below(here: Installation, events: int) -> bool:
    """Whether the spool holds less by now."""
    return spooled(here.spool) < events


def _is_beyond(here: Installation, accepted: int) -> bool:
    """Whether Redis has more by now, or nothing more will come."""
    return here.ledger("bot")["accepted"] > accepted or not spooled(here.spool)


@pytest.mark.e2e
@pytest.mark.timeout(240)
def test_drainers_killed_one_after_the_other(installation: Installation, say: Say) -> None:
    """Each next process takes the drain up where it was: nothing is appended twice, nothing is left."""
    installation.add("bot", KEY)
    kills = [installation.kill_server()]
    files = [write(installation.folder / name, _tracks(name, BACKLOG // 3)) for name in ("a", "b", "c")]
    bots = [installation.bot("bot", "play", file, spool=installation.spool, budget_s=10) for file in files]
    logs = [bot.finish() for bot in bots]
    assert {"spooled"} == {one.outcome for one in chain(*logs)}
    most = spooled(installation.spool)
    kills.append(installation.restart_server())

    drainers = 0
    with Road(installation.server.socket) as road:
        road.delay_s = DELAY_S
        key = (installation.home / SECRET_FILE).read_text("utf-8").strip()
        installation.set_env(POMBO_REDIS_URL=road.url, POMBO_SECRET_KEY=key)
        while left := spooled(installation.spool):
            accepted = installation.ledger("bot")["accepted"]
            drainer = installation.bot("bot", "wait", spool=installation.spool)
            if drainers % 2:
                until(partial(_is_below, installation, left), "progress", poll_s=0.002)
            else:  # It will never hear that its append was made.
                until(partial(_is_beyond, installation, accepted), "append", poll_s=0.002)
            drainer.child.kill()
            drainers += 1
        road.delay_s = 0.0
        installation.workers(1)
        findings = _judge(installation, logs, kills)
    say(f"{most:,} events in the spool, drained by {drainers} processes that were each killed at it: {findings}")
    record(
        "Our processes", "processes killed -9 while they drain a spool", f"{most:,} events, each appended once",
        runs=drainers, findings=findings,
    )  # fmt: skip
    findings.assert_sound()
    ledger = installation.ledger("bot")
    assert (BACKLOG, 0) == (ledger["accepted"], ledger["deduplicated"])
    assert drainers > 2


@pytest.mark.e2e
def test_redis_away_at_start(installation: Installation, say: Say) -> None:
    """Bots that never saw Redis nor their source spool within the budget, and go on to Redis when it comes."""
    installation.add("bot", KEY)
    kills = [installation.kill_server()]
    bots = [
        installation.stream("bot", name, *more, users=20, rate=150, spool=installation.spool)
        for name, *more in (("a",), ("b",), ("c", "--asyncio"))
    ]
    until(lambda: all(_spooled_by(bot) > BETWEEN for bot in bots), "spooled receipts")
    most = spooled(installation.spool)
    back = installation.restart_server()
    installation.workers(1)
    until(lambda: all(_accepted_since(bot, back) for bot in bots), "direct appends")
    direct = time.time() - back
    logs = stop_all(bots)

    findings = _judge(installation, logs, [*kills, back])
    say(
        f"Redis away at start: {findings}; {most:,} spooled, direct {direct:.1f} s after; slowest {slowest(logs):.2f} s"
    )
    record(
        "Redis", "away when bots start", f"{most:,} events spooled; direct again {direct:.1f} s after its return",
        runs=len(bots), findings=findings, recovered_s=round(direct, 1),
    )  # fmt: skip
    findings.assert_sound()
    assert {"spooled", "accepted"} == {one.outcome for one in chain(*logs)}


def _accepted_since(bot: Bot, moment: float) -> bool:
    return any(one.at > moment and one.outcome == "accepted" for one in bot.issued())


@pytest.mark.e2e
def test_bots_that_end_while_redis_is_away(installation: Installation, say: Say) -> None:
    """A bot that is closed right after Redis went leaves what it took in the spool, within its budget."""
    installation.add("bot", KEY)
    installation.workers(1)
    bots = [
        installation.stream("bot", name, *more, users=20, rate=200, spool=installation.spool)
        for name, *more in (("a",), ("b",), ("c", "--asyncio"))
    ]
    kills = [installation.kill_server()]
    until(lambda: all(len(bot.unheard()) > SOME for bot in bots), "events without an outcome", poll_s=0.002)
    began = time.monotonic()
    logs = stop_all(bots)
    lasted = time.monotonic() - began
    most = spooled(installation.spool)
    kills.append(installation.restart_server())
    drain(installation)

    findings = _judge(installation, logs, kills)
    say(
        f"bots that end while Redis is away: all ended after {lasted:.2f} s, {most} events spooled, "
        f"slowest {slowest(logs):.2f} s; {findings}"
    )
    record(
        "Redis", "away when bots end", f"all ended after {lasted:.2f} s, {most} events left in the spool, none lost",
        runs=len(bots), findings=findings,
    )  # fmt: skip
    findings.assert_sound()
    assert {"accepted", "spooled"} >= {one.outcome for one in chain(*logs)}
    assert most > len(bots) * SOME


@pytest.mark.e2e
def test_source_that_nobody_added_yet(installation: Installation, say: Say) -> None:
    """What was spooled for it waits and is named, others pass it, new events are refused; once added, all arrives."""
    installation.set_env(POMBO_SPOOL_DIR=str(installation.spool))
    installation.add("bot", KEY)
    kills = [installation.kill_server()]
    known = installation.stream("bot", "known", users=10, rate=100)
    early = installation.stream("later", "early", users=10, rate=100)
    until(lambda: min(_spooled_by(known), _spooled_by(early)) > BETWEEN / 2, "spooled receipts")
    back = installation.restart_server()
    kills.append(back)
    installation.workers(1)

    until(lambda: _accepted_since(known, back), "direct appends of the known source")
    until(lambda: any(one.outcome == "unknown_source" for one in early.issued()), "refusals")
    held = spooled(installation.spool)
    assert {"later": "unknown_source"} == stuck(installation.spool)
    checks = orjson.loads(installation.cli("doctor", "--json", code=1))["checks"]
    named = [check for check in checks if not check["ok"] and "later" in check["name"] + check["detail"]]
    assert named, checks

    installation.add("later", "l" * 32)
    until(lambda: not spooled(installation.spool), "empty spool")
    until(lambda: _accepted_since(early, back), "direct appends of the new source")
    logs = stop_all([known, early])
    for source in ("bot", "later"):
        installation.drained(source)

    arrivals, requests = installation.segment.events(), installation.segment.requests()
    findings = judge(logs, arrivals, requests=requests, kills=kills)
    say(
        f"a source that was added late: {held} events waited, {dict(Counter(one.outcome for one in logs[1]))}; "
        f"doctor: {named[0]['detail']}; {findings}"
    )
    findings.assert_sound()
    installation.audit()
    assert {"spooled", "unknown_source", "accepted"} == {one.outcome for one in logs[1]}
    assert {"spooled", "accepted"} == {one.outcome for one in logs[0]}
