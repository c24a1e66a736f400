"""Workers and bots that may open no more files: they wait, say so once, and go on when they may again."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from support.installation import Bot, Child, Installation, until
from support.results import record
from support.spool import drain

if sys.platform == "linux":
    from resource import RLIMIT_NOFILE, prlimit
else:
    pytest.skip("needs Linux to change another process's limits", allow_module_level=True)

Say = Callable[[str], None]

KEY = "o" * 32
NONE = 3
"""Standard input, output and errors are open already: nobody gets another."""
LASTS_S = 8.0
RESUMED_S = 5.0
SOME = 200
LINES = 8
"""That a process may log about it, however long it lasts."""


def limit(children: Sequence[Child], descriptors: int | None) -> None:
    """Let processes have so many open files, those that they have aside; None: as many as they may ask for."""
    for child in children:
        _, hard = prlimit(child.pid, RLIMIT_NOFILE)
        prlimit(child.pid, RLIMIT_NOFILE, (hard if descriptors is None else descriptors, hard))


def complaints(child: Child) -> list[str]:
    """What it logged above info, or, if a bot, at all."""
    lines = child.log.read_text("utf-8", "replace").splitlines()
    return [line for line in lines if not line.startswith("{") or '"level": "info"' not in line]


def accepted_since(bot: Bot, moment: float) -> bool:
    """Whether a receipt of it has said accepted since."""
    return any(one.at > moment and one.outcome == "accepted" for one in bot.issued())


@pytest.mark.e2e
def test_out_of_descriptors(installation: Installation, say: Say) -> None:
    """Connections are lost and no other can be made: events are refused, and all is well once there are more."""
    here = installation
    here.add("bot", KEY)
    workers = here.workers(2)
    bots = [
        here.stream("bot", "spooling", users=20, rate=100, spool=here.spool),
        here.stream("bot", "asyncio", "--asyncio", users=20, rate=100, spool=here.spool),
        here.stream("bot", "plain", users=20, rate=100),
    ]
    until(lambda: here.ledger("bot")["delivered"] > SOME, "a steady flow")
    limited = [*workers, *(bot.child for bot in bots)]
    before = [len(complaints(child)) for child in limited]
    limit(limited, NONE)
    begun = time.time()
    here.redis.client_kill_filter(_type="normal", skipme=True)
    until(lambda: time.time() > begun + LASTS_S, "the end", LASTS_S + 30)
    meanwhile = [bot for bot in bots if accepted_since(bot, begun + 1)]
    limit(limited, None)
    freed = time.time()
    until(lambda: all(accepted_since(bot, freed) for bot in bots), "direct appends")
    delivered = here.ledger("bot")["delivered"]
    until(lambda: here.ledger("bot")["delivered"] > delivered, "deliveries")
    resumed = time.time() - freed
    until(lambda: here.ledger("bot")["delivered"] > delivered + SOME, "a steady flow")
    logs = [bot.stop() for bot in bots]
    drain(here)
    here.drained("bot")

    findings = here.judge("bot", logs, kills=[begun])
    outcomes = dict(Counter(one.outcome for log in logs for one in log))
    said = [complaints(child)[count:] for child, count in zip(limited, before, strict=True)]
    seen = f"none left for {freed - begun:.0f} s after all connections were cut: all well again after {resumed:.1f} s"
    say(f"{seen}; {outcomes}; lines logged {[len(lines) for lines in said]}; {findings}")
    record("The machine", "out of file descriptors", seen, findings=findings, resumed_s=round(resumed, 1))
    findings.assert_sound()
    here.audit()
    assert [] == meanwhile
    assert all(worker.lives for worker in workers)
    assert all(1 <= len(lines) <= LINES for lines in said), said
    # A worker's one line may be of the connection that was lost before.
    assert all("too many open files" in "".join(lines).lower() for lines in said[len(workers) :]), said
    assert resumed <= RESUMED_S
