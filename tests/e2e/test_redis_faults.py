"""Redis without its scripts, full, without replicas, late, or gone for one worker alone, under load."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import pytest

from pombo.shared.secrets import SECRET_FILE
from support.installation import Bot, Child, Installation, until
from support.oracle import seconds
from support.proxy import Road
from support.results import record
from support.weather import by_turns

Say = Callable[[str], None]

KEY = "r" * 32
SECTION = "Redis"
LASTS_S = 10.0
RESUMED_S = 5.0
TOOK_OVER_S = 15.0
FENCE_S = 6.0
"""After so many seconds without a confirmed beat a worker begins no request."""
FLUSH_S = 0.1
LATE_S = 1.0
BUDGET_S = 20.0
"""Of the bots: more than any of it lasts."""
WARM = 300
SOME = 200
ROOM = 128 << 10
"""Bytes that a small Redis has room for."""
SLOW = {"answer": {"delay_s": 0.05}}


@contextmanager
def _flushed(here: Installation, road: Road) -> Iterator[None]:
    def flush(_: int) -> None:
        here.redis.script_flush()

    with by_turns(flush, FLUSH_S):
        yield


@contextmanager
def _without_replicas(here: Installation, road: Road) -> Iterator[None]:
    """Redis refuses writes as long as no replica is there to take them."""
    here.redis.config_set("min-replicas-to-write", 1)
    yield
    here.redis.config_set("min-replicas-to-write", 0)


@contextmanager
def _late(here: Installation, road: Road) -> Iterator[None]:
    road.delay_s = LATE_S
    yield
    road.delay_s = 0.0


@contextmanager
def _half_open(here: Installation, road: Road) -> Iterator[None]:
    road.hush()
    yield
    road.speak()


@dataclass(frozen=True)
class Fault:
    """One kind: what it does, whether it is on the road to Redis, how many events must be delivered meanwhile."""

    name: str
    begin: Callable[[Installation, Road], AbstractContextManager[None]]
    on_the_road: bool = False
    least: int = 0


FAULTS = (
    Fault("SCRIPT FLUSH every 100 ms", _flushed, least=SOME),
    Fault("min-replicas-to-write without a replica", _without_replicas),
    Fault("every answer 1 s late", _late, on_the_road=True, least=1),
    Fault("half-open sockets", _half_open, on_the_road=True),
)


def by_road(here: Installation, road: Road) -> dict[str, str]:
    """The environment of who is to take the road."""
    return {"POMBO_REDIS_URL": road.url, "POMBO_SECRET_KEY": (here.home / SECRET_FILE).read_text("utf-8").strip()}


def delivered(here: Installation, more: int) -> None:
    """Wait until so many more events are delivered."""
    goal = here.ledger("bot")["delivered"] + more
    until(lambda: here.ledger("bot")["delivered"] >= goal, "a steady flow")


def accepted_since(bot: Bot, moment: float) -> bool:
    """Whether a receipt of it has said accepted since."""
    return any(one.at > moment and one.outcome == "accepted" for one in bot.issued())


def recover(here: Installation, bots: Sequence[Bot], back: float) -> float:
    """Wait until all bots and the workers are at work again; seconds since Redis was back."""
    before = here.ledger("bot")["delivered"]
    until(lambda: here.ledger("bot")["delivered"] > before and all(accepted_since(bot, back) for bot in bots), "flow")
    return time.time() - back


@pytest.mark.e2e
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault(installation: Installation, say: Say, fault: Fault) -> None:
    """Patient bots have everything accepted, nothing is sent twice without a cause, and all is well again by itself."""
    here = installation
    here.segment.set_plan([SLOW])
    here.add("bot", KEY)
    with Road(here.server.socket) as road:
        here.set_env(**(by_road(here, road) if fault.on_the_road else {}))
        workers = here.workers(2)
        bots = [here.stream("bot", name, users=30, rate=100, budget_s=BUDGET_S) for name in ("a", "b")]
        delivered(here, WARM)
        begun, before = time.time(), here.ledger("bot")["delivered"]
        with fault.begin(here, road):
            until(lambda: time.time() > begun + LASTS_S, "the end of the fault", LASTS_S + 30)
            meanwhile = here.ledger("bot")["delivered"] - before
        back = time.time()
        recovered = recover(here, bots, back)
        delivered(here, SOME)
        logs = [bot.stop() for bot in bots]
        here.drained("bot")
        findings = here.judge("bot", logs, kills=[] if fault.least else [begun])
        here.audit()

    outcomes = dict(Counter(one.outcome for log in logs for one in log))
    seen = f"for {back - begun:.0f} s: {meanwhile:,} events delivered meanwhile, all well again after {recovered:.1f} s"
    say(f"{fault.name} {seen}; {outcomes}; {findings}")
    record(SECTION, fault.name, seen, findings=findings, recovered_s=round(recovered, 1))
    findings.assert_sound()
    assert {"accepted"} == set(outcomes)
    assert all(worker.lives for worker in workers)
    assert meanwhile >= fault.least
    assert not (fault.least and findings.explained)
    assert recovered <= RESUMED_S


@pytest.mark.e2e
def test_full_redis_drains(installation: Installation, say: Say) -> None:
    """A Redis that a backlog has filled refuses events, still delivers what it has, and so takes events again."""
    here = installation
    here.add("bot", KEY)
    (worker,) = here.workers(1)
    bot = here.stream("bot", "a", users=100, rate=400, tick_s=0.05)
    delivered(here, WARM)
    here.cli("sources", "pause", "bot")
    limit = int(here.redis.info("memory")["used_memory"]) + ROOM
    here.redis.config_set("maxmemory", limit)
    until(lambda: _told(bot, "unavailable") > SOME, "rejections")
    queued = here.ledger("bot")["queued"]
    before = here.ledger("bot")["delivered"]
    here.cli("sources", "resume", "bot")
    resumed = time.time()
    until(lambda: here.ledger("bot")["delivered"] > before, "deliveries at the limit")
    until(lambda: accepted_since(bot, resumed), "room")
    recovered = time.time() - resumed
    until(lambda: here.ledger("bot")["delivered"] >= before + queued, "all of the backlog")
    here.redis.config_set("maxmemory", 0)
    lifted = time.time()
    until(lambda: accepted_since(bot, lifted), "events after the limit is lifted")
    log = bot.stop()
    here.drained("bot")

    findings = here.judge("bot", [log])
    outcomes = dict(Counter(one.outcome for one in log))
    seen = (
        f"full with {queued:,} events: new ones refused, the backlog delivered at the limit, "
        f"room again {recovered:.1f} s after sending went on"
    )
    say(f"maxmemory reached by a backlog: {seen}; {outcomes}; {findings}")
    record(SECTION, "maxmemory reached by a backlog", seen, findings=findings, recovered_s=round(recovered, 1))
    findings.assert_sound()
    here.audit()
    assert worker.lives
    assert {"accepted", "unavailable"} == set(outcomes) - {"unconfirmed"}


def _told(bot: Bot, outcome: str) -> int:
    """How often a bot was told that."""
    return sum(one.outcome == outcome for one in bot.issued())


def requests_of(worker: Child) -> list[float]:
    """When its requests began, by the wall clock."""
    lines = (line for line in worker.lines() if line.get("event") == "delivery.attempted")
    return [seconds(line["timestamp"]) - line["duration_s"] for line in lines]


@pytest.mark.e2e
def test_worker_cut_off(installation: Installation, say: Say) -> None:
    """One that alone cannot reach Redis stops by itself; others have its partitions, and it gets a share back."""
    here = installation
    here.segment.set_plan([SLOW])
    here.add("bot", KEY)
    with Road(here.server.socket) as road:
        lonely = here._start("worker", "-m", "pombo.ops.cli", "worker", "--no-jobs", env=by_road(here, road))
        (other,) = here.workers(1)
        bots = [here.stream("bot", name, users=30, rate=100) for name in ("a", "b")]
        until(lambda: 4 == _share(here, lonely) == _share(here, other), "two workers that share")
        delivered(here, WARM)
        road.hush()
        cut = time.time()
        until(lambda: _share(here, other) == 8, "takeover", poll_s=0.005)
        took_over = time.time() - cut
        delivered(here, SOME)
        road.speak()
        back = time.time()
        until(lambda: 4 == _share(here, lonely) == _share(here, other), "two workers that share again")
        until(lambda: any(at > back for at in requests_of(lonely)), "requests of who is back")
        returned = time.time() - back
        delivered(here, SOME)
        logs = [bot.stop() for bot in bots]
        here.drained("bot")

    findings = here.judge("bot", logs, kills=[cut])
    last = max((at - cut for at in requests_of(lonely) if at < back), default=0.0)
    seen = (
        f"cut off for {back - cut:.0f} s: it began its last request {max(last, 0):.1f} s after, its partitions were "
        f"another's after {took_over:.1f} s, it was at work again {returned:.1f} s after its line was mended"
    )
    say(f"{seen}; {findings}")
    record(
        SECTION, "one worker alone cut off from it", seen, findings=findings, took_over_s=round(took_over, 1),
        returned_s=round(returned, 1),
    )  # fmt: skip
    findings.assert_sound()
    here.audit()
    assert last <= FENCE_S
    assert took_over <= TOOK_OVER_S
    assert returned <= TOOK_OVER_S


def _share(here: Installation, worker: Child) -> int:
    me = here.fleet().get(worker.pid)
    return sum(owner == me for owner in here.owners("bot").values())
