"""SIGTERM to a worker in every phase of its life: it ends well and soon, hands back what it held, and loses nothing."""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import pytest

from pombo.shared.secrets import SECRET_FILE
from support.installation import Child, Installation, until
from support.oracle import Findings
from support.proxy import Road
from support.results import record
from support.spool import drain
from support.traffic import write

Say = Callable[[str], None]
Plan = list[dict[str, Any]]

KEY = "t" * 32
SECTION = "Our processes"
GRACE_S = 25.0
IDLE_S = 1.0
OWNED_S = 3.0
"""By then another worker holds what was handed back: each beats once a second, and one beat tells the other's."""
STOPS = 10
STEP_S = 0.2
"""Between the moments of a start at which a worker is told to end."""
SLOW_S = 0.3
"""Redis' answers are this late where a stop is to meet a claim."""
WARM = 100
SOME = 50
CULPRIT = "m0618"
REFUSED = {"status": 400, "body": {"success": False, "message": "malformed event", "code": "invalid_request"}}


@dataclass(frozen=True)
class Phase:
    """What Segment does, how to know that the worker is in the midst of that, and what may go out again."""

    name: str
    plan: Plan
    state: str = "active"
    in_flight: bool = True


PHASES = (
    Phase("amid a request", [{"answer": {"delay_s": 1.0}}]),
    Phase("held", [{"answer": {"status": 429, "headers": {"Retry-After": 6}}, "times": 1}], "held", in_flight=False),
    Phase("parked", [{"answer": {"status": 401}}], "parked"),
    Phase("broken", [{"answer": {"status": 503}}], "broken"),
)


@dataclass(frozen=True)
class Stop:
    """Seconds from SIGTERM until it held nothing, until others held all of it, and until it was gone."""

    handed: float
    owned: float
    gone: float

    def __str__(self) -> str:
        return (
            f"handed back after {self.handed:.2f} s, another's after {self.owned:.2f} s, gone after {self.gone:.2f} s"
        )


def partitions_of(here: Installation, worker: str) -> set[int]:
    """What a worker holds of the source."""
    return {partition for partition, owner in here.owners("bot").items() if owner == worker}


def stop(here: Installation, victim: Child, heir: Child | None = None) -> Stop:
    """Send SIGTERM, and see how it ends; without an heir the partitions stay nobody's."""
    fleet = here.fleet()
    me, other = fleet[victim.pid], None if heir is None else fleet[heir.pid]
    held = partitions_of(here, me)
    asked = time.monotonic()
    victim.ask_to_end()
    handed = owned = gone = 0.0

    def over() -> bool:
        nonlocal handed, owned, gone
        now = time.monotonic() - asked
        owners = here.owners("bot")
        handed = handed or (now if me not in owners.values() else 0)
        owned = owned or (now if other is None or all(owners.get(p) == other for p in held) else 0)
        gone = gone or (0 if victim.lives else now)
        return bool(handed and owned and gone)

    until(over, f"end of {victim.name}", GRACE_S + 15, poll_s=0.005)
    victim.finish()
    return Stop(handed, owned, gone)


def share(here: Installation, *workers: Child) -> bool:
    """Whether these hold the same number of partitions each."""
    fleet = here.fleet()
    counts = [len(partitions_of(here, fleet.get(worker.pid, ""))) for worker in workers]
    return counts == [8 // len(workers)] * len(workers)


def flows(here: Installation, more: int = WARM) -> None:
    """Wait until so many more events are delivered."""
    goal = here.ledger("bot")["delivered"] + more
    until(lambda: here.ledger("bot")["delivered"] >= goal, "a steady flow")


def keep(say: Say, fault: str, seen: str, findings: Findings, runs: int = 1, **figures: float) -> None:
    """Say and record it."""
    say(f"SIGTERM {fault}: {seen}; {findings}")
    record(SECTION, f"SIGTERM {fault}", seen, runs=runs, findings=findings, **figures)


@pytest.mark.e2e
@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.name)
def test_stop_under_load(installation: Installation, say: Say, phase: Phase) -> None:
    """It finishes what is on the wire, sends nothing else, and another worker goes on at once."""
    here = installation
    here.add("bot", KEY)
    victim, heir = here.workers(2)
    bot = here.stream("bot", "a", users=40, rate=100)
    until(lambda: share(here, victim, heir), "two workers that share")
    flows(here)
    here.segment.set_plan(phase.plan)
    me = here.fleet()[victim.pid]
    until(lambda: here.state("bot") == phase.state, phase.state)
    if phase.in_flight:
        until(lambda: partitions_of(here, me) & here.in_flight("bot").keys(), "requests of it")
    ended = stop(here, victim, heir)
    here.segment.set_plan([])
    if phase.state == "parked":
        here.cli("sources", "resume", "bot")
    flows(here)
    log = bot.stop()
    here.drained("bot")

    findings = here.judge("bot", [log])
    keep(say, phase.name, str(ended), findings, gone_s=round(ended.gone, 2), owned_s=round(ended.owned, 2))
    findings.assert_sound()
    here.audit()
    assert not findings.explained
    assert ended.owned <= OWNED_S


@pytest.mark.e2e
def test_stop_amid_a_claim(installation: Installation, say: Say) -> None:
    """A claim whose answer is on its way is not forgotten: its record is the next worker's, and its events go once."""
    here = installation
    here.add("bot", KEY)
    with Road(here.server.socket) as road:
        secret = (here.home / SECRET_FILE).read_text("utf-8").strip()
        by_road = {"POMBO_REDIS_URL": road.url, "POMBO_SECRET_KEY": secret}
        victim = here._start("worker", "-m", "pombo.ops.cli", "worker", "--no-jobs", env=by_road)
        (heir,) = here.workers(1)
        bot = here.stream("bot", "a", users=40, rate=100)
        until(lambda: share(here, victim, heir), "two workers that share")
        flows(here)
        road.delay_s = SLOW_S
        me = here.fleet()[victim.pid]
        before = set(here.in_flight("bot").values())

        def claimed() -> bool:
            records = here.in_flight("bot")
            return any(records[p] not in before for p in partitions_of(here, me) & records.keys())

        until(claimed, "a claim whose answer is under way", poll_s=0.002)
        ended = stop(here, victim, heir)
        flows(here)
        log = bot.stop()
        here.drained("bot")

    findings = here.judge("bot", [log])
    keep(say, f"amid a claim, Redis {SLOW_S:g} s slow", str(ended), findings, gone_s=round(ended.gone, 2))
    findings.assert_sound()
    here.audit()
    assert not findings.explained
    assert ended.owned <= OWNED_S + 10 * SLOW_S


@pytest.mark.e2e
def test_stop_amid_a_bisection(installation: Installation, say: Say) -> None:
    """The next worker goes on with what is left of the request, and the culprit alone dies."""
    here = installation
    here.add("bot", KEY, partitions=1)
    here.segment.set_plan([
        {"when": {"message_id": CULPRIT}, "answer": {**REFUSED, "delay_s": 0.2}}, {"answer": {"delay_s": 0.2}},
    ])  # fmt: skip
    events = [
        {"type": "track", "event": "Message Sent", "userId": f"u{n % 10}", "messageId": f"m{n:04}", "properties": {}}
        for n in range(1_000)
    ]
    log = here.bot("bot", "play", write(here.folder / "events", events), budget_s=10).finish()
    victim = here.worker()
    until(lambda: len(here.segment.requests()) > 3, "a bisection")
    (heir,) = here.workers(1)
    ended = stop(here, victim, heir)
    sent = len(here.segment.requests())
    here.drained("bot")

    findings = here.judge("bot", [log])
    keep(say, "amid a bisection", f"after {sent} requests, {ended}", findings, gone_s=round(ended.gone, 2))
    findings.assert_sound()
    here.audit()
    assert [CULPRIT] == [letter["message_id"] for letter in here.dead("bot")]
    assert not findings.explained
    assert sent < len(here.segment.requests())


@pytest.mark.e2e
@pytest.mark.timeout(240)
def test_stop_of_idle_workers(installation: Installation, say: Say) -> None:
    """Ten idle workers in a row are gone within a second each."""
    here = installation
    here.add("bot", KEY)
    workers = here.workers(2)
    bot = here.stream("bot", "a", users=40, rate=100)
    flows(here)
    log = bot.stop()
    here.drained("bot")
    stops = []
    for _ in range(STOPS):
        until(partial(share, here, *workers), "two workers that share")
        victim = workers.pop(0)
        stops.append(stop(here, victim, workers[0]))
        workers += here.workers(1)

    findings = here.judge("bot", [log])
    gone, owned = [one.gone for one in stops], [one.owned for one in stops]
    seen = (
        f"gone after {median(gone):.2f} s (worst {max(gone):.2f}), what it held was another's after "
        f"{median(owned):.2f} s (worst {max(owned):.2f})"
    )
    keep(
        say, "while idle", seen, findings, runs=STOPS, gone_median_s=round(median(gone), 2),
        gone_worst_s=round(max(gone), 2), owned_worst_s=round(max(owned), 2),
    )  # fmt: skip
    findings.assert_sound()
    here.audit()
    assert max(gone) <= IDLE_S
    assert max(owned) <= OWNED_S


@pytest.mark.e2e
def test_stop_at_the_start(installation: Installation, say: Say) -> None:
    """At whatever moment of its start it is told to end, it ends at once and holds nothing."""
    here = installation
    here.add("bot", KEY)
    bot = here.stream("bot", "a", users=40, rate=50)
    lasted = []
    codes = []
    for number in range(STOPS):
        worker = here.worker()
        begun = time.monotonic()
        until(lambda: time.monotonic() > begun + number * STEP_S, "the moment", poll_s=0.005)  # noqa: B023
        asked = time.monotonic()
        worker.ask_to_end()
        codes.append(worker.process.wait(GRACE_S))
        lasted.append(time.monotonic() - asked)
        assert codes[-1] == 0 or (codes[-1] == -signal.SIGTERM and not worker.log.read_bytes()), worker.log.read_text()
        assert {} == here.owners("bot")
        assert {} == here.fleet()
    here.workers(1)
    flows(here)
    log = bot.stop()
    here.drained("bot")

    findings = here.judge("bot", [log])
    seen = f"gone after {median(lasted):.2f} s (worst {max(lasted):.2f}), {codes.count(0)} of {STOPS} had begun to work"
    keep(say, "while it starts", seen, findings, runs=STOPS, gone_worst_s=round(max(lasted), 2))
    findings.assert_sound()
    here.audit()
    assert 0 in codes
    assert max(lasted) <= 2 * IDLE_S


@pytest.mark.e2e
def test_stop_while_redis_is_away(installation: Installation, say: Say) -> None:
    """It ends within its grace, and what it held is another's once Redis is back."""
    here = installation
    here.segment.set_plan([{"answer": {"delay_s": 0.2}}])
    here.add("bot", KEY)
    victim, heir = here.workers(2)
    bot = here.stream("bot", "a", users=40, rate=100, spool=here.spool)
    until(lambda: share(here, victim, heir), "two workers that share")
    flows(here)
    kills = [here.kill_server()]
    asked = time.monotonic()
    victim.ask_to_end()
    victim.finish(GRACE_S + 5)
    gone = time.monotonic() - asked
    back = here.restart_server()
    kills.append(back)
    me = here.fleet()[heir.pid]
    until(lambda: len(partitions_of(here, me)) == 8, "takeover")
    owned = time.time() - back
    flows(here)
    log = bot.stop()
    drain(here)
    here.drained("bot")

    findings = here.judge("bot", [log], kills=kills)
    seen = f"gone after {gone:.1f} s, what it held was another's {owned:.1f} s after Redis' return"
    keep(say, "while Redis is away", seen, findings, gone_s=round(gone, 1), owned_s=round(owned, 1))
    findings.assert_sound()
    here.audit()
    assert gone <= GRACE_S


@pytest.mark.e2e
def test_stop_of_a_drain(installation: Installation, say: Say) -> None:
    """`--drain` that is told to end says that something is left, hands it back, and the next drain delivers it."""
    here = installation
    here.add("bot", KEY)
    here.segment.set_plan([{"answer": {"delay_s": 1.0}}])
    bot = here.stream("bot", "a", users=40, rate=200)
    until(lambda: len(bot.issued()) > SOME, "events")
    drainer = here._start("drain", "-m", "pombo.ops.cli", "worker", "--no-jobs", "--drain")
    until(lambda: here.in_flight("bot"), "requests of it")
    asked = time.monotonic()
    drainer.ask_to_end()
    code = drainer.process.wait(GRACE_S)
    gone = time.monotonic() - asked
    assert {} == here.owners("bot")
    log = bot.stop()
    here.segment.set_plan([])
    here.cli("worker", "--no-jobs", "--drain")

    findings = here.judge("bot", [log])
    keep(
        say, "amid `worker --drain`", f"gone after {gone:.2f} s with exit code {code}", findings, gone_s=round(gone, 2)
    )
    findings.assert_sound()
    here.audit()
    assert 1 == code
    assert "not drained: stopped before all was delivered" in drainer.log.read_text()
    assert not findings.explained
    assert gone <= 1.0 + IDLE_S
