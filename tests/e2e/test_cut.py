"""One of two workers is cut off from Redis alone, for longer than a takeover takes, and can still reach Segment."""

import time
from collections.abc import Callable

import pytest

from pombo.shared.secrets import SECRET_FILE
from support.installation import Child, Installation, until
from support.oracle import seconds
from support.proxy import Road
from support.results import record
from support.weather import last

Say = Callable[[str], None]

RATE, USERS = 200.0, 40
WARM = 500
CUT_S = 20.0
FENCE_S = 6.0
"""So long after its last confirmed beat a worker may still send."""
SEEN_S = 1.1
"""The last confirmed beat was that long before the cut at most; and a request that begun in time may be noted later."""
TAKEN_OVER_S = 15.0
BACK_S = 10.0
CALM = {"answer": {"delay_s": 0.03}}


def sent_at(worker: Child) -> list[float]:
    """When each of a worker's requests began, by the wall clock (s)."""
    attempts = [line for line in worker.lines() if line.get("event") == "delivery.attempted"]
    return [seconds(line["timestamp"]) - line["duration_s"] for line in attempts]


@pytest.mark.e2e
@pytest.mark.timeout(300)
@pytest.mark.parametrize("replies_only", [False, True], ids=["both ways", "replies only"])
def test_cut_off_from_redis(installation: Installation, say: Say, replies_only: bool) -> None:
    """It stops sending by its fence, the other takes over, and nothing is lost, doubled without cause or misplaced."""
    with Road(installation.server.socket) as road:
        _cut_off(installation, road, say, replies_only)


def _cut_off(here: Installation, road: Road, say: Say, replies_only: bool) -> None:
    here.add("bot", "c" * 32)
    here.segment.set_plan([CALM])
    (other,) = here.workers(1)
    secret = (here.home / SECRET_FILE).read_text("utf-8").strip()
    here.set_env(POMBO_REDIS_URL=road.url, POMBO_SECRET_KEY=secret)
    (victim,) = here.workers(1)
    here.set_env(POMBO_REDIS_URL=here.server.url)
    bots = [here.stream("bot", name, users=USERS, rate=RATE) for name in ("a", "b")]
    names = here.fleet()
    until(lambda: set(here.owners("bot").values()) == {names[victim.pid], names[other.pid]}, "shared partitions")
    until(lambda: here.ledger("bot")["delivered"] > WARM, "a steady flow")

    cut = time.time()
    road.hush(replies_only=replies_only)
    until(lambda: set(here.owners("bot").values()) == {names[other.pid]}, "takeover", TAKEN_OVER_S)
    taken = time.time()
    last(cut, CUT_S)
    healed = time.time()
    road.speak()
    until(lambda: list(here.owners("bot").values()).count(names[victim.pid]) == 4, "its share for who is back")
    back = time.time()
    until(lambda: any(at > back for at in sent_at(victim)), "requests of who is back")
    logs = [bot.stop() for bot in bots]
    here.drained("bot")

    findings = here.judge("bot", logs, kills=[cut])
    late = [at - cut for at in sent_at(victim) if cut < at < healed]
    stopped = max(late, default=0.0)
    told = (
        f"sent for {stopped:.1f} s more, the other had all partitions after {taken - cut:.1f} s, "
        f"its share came back {back - healed:.1f} s after the line"
    )
    kind = "replies" if replies_only else "packets"
    say(f"a worker's {kind} from Redis lost for {CUT_S:.0f} s: {told}; {findings}")
    record(
        "Our processes", f"worker cut off from Redis for {CUT_S:.0f} s, its {kind} lost", told, findings=findings,
        stopped_s=round(stopped, 2), taken_over_s=round(taken - cut, 1), back_s=round(back - healed, 1),
    )  # fmt: skip
    findings.assert_sound()
    here.audit()
    assert FENCE_S + SEEN_S >= stopped
    assert BACK_S >= back - healed
    assert other.lives
    assert victim.lives
