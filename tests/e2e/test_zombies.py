"""A worker stopped for longer than its lease, at the worst moments, that goes on when others have its partitions."""

import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from support.installation import Child, Installation, until
from support.oracle import Row, judge, seconds
from support.results import record
from support.zombie import Moment

Say = Callable[[str], None]

TOOK_OVER_S = 15.0
SOME = 200
"""Deliveries before the stop, and after the zombie is back."""
WORDS = {
    Moment.CLAIMED: "between its claim and its look at the lease",
    Moment.CHECKED: "between its look at the lease and its request",
    Moment.ANSWERED: "between Segment's answer and its settlement",
}


def is_stopped(child: Child) -> bool:
    """Whether a process is stopped by a signal."""
    stat = Path(f"/proc/{child.pid}/stat").read_text("utf-8")
    return stat.rpartition(")")[2].split()[0] == "T"


def attempts(child: Child, records: set[str]) -> list[int | None]:
    """The answers that a worker had for requests of these records."""
    lines = (line for line in child.lines() if line.get("event") == "delivery.attempted")
    return [line["status"] for line in lines if line["request"] in records]


def holds(installation: Installation, child: Child) -> set[int]:
    """The partitions that a worker has."""
    me = installation.fleet().get(child.pid)
    return {partition for partition, owner in installation.owners("bot").items() if owner == me}


def delivered(installation: Installation, more: int) -> None:
    """Wait until so many more events are delivered."""
    goal = installation.ledger("bot")["delivered"] + more
    until(lambda: installation.ledger("bot")["delivered"] >= goal, "a steady flow")


def late_copies(requests: Sequence[Row], woken: float) -> set[str]:
    """The ids of the first request after a moment that had been sent before it."""
    before = {one for row in requests if seconds(row["at"]) < woken for one in row["message_ids"]}
    after = (set(row["message_ids"]) & before for row in requests if seconds(row["at"]) >= woken)
    return next((ids for ids in after if ids), set())


@pytest.mark.e2e
@pytest.mark.parametrize("moment", Moment)
def test_zombie(installation: Installation, say: Say, moment: Moment) -> None:
    """What it held is delivered by another; on waking it settles nothing, and sends nothing that it can know of."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("needs /proc to see that a process is stopped")
    installation.add("bot", "z" * 32)
    halt = installation.folder / "halt"
    zombie = installation._start("zombie", "-m", "support.zombie", moment, str(halt))
    (heir,) = installation.workers(1)
    bots = [installation.stream("bot", name, users=30, rate=100) for name in ("a", "b")]
    until(lambda: len(holds(installation, zombie)) == len(holds(installation, heir)) == 4, "two workers that share")
    delivered(installation, SOME)

    halt.touch()
    until(lambda: is_stopped(zombie), "stop", poll_s=0.002)
    stopped = time.time()
    held = holds(installation, zombie)
    records = {p: r for p, r in installation.in_flight("bot").items() if p in held}
    until(lambda: len(holds(installation, heir)) == 8, "takeover")
    until(lambda: not records.items() & installation.in_flight("bot").items(), "end of what it had in flight")
    recovered = time.time() - stopped
    zombie.process.send_signal(signal.SIGCONT)
    woken = time.time()
    until(lambda: len(holds(installation, zombie)) == 4, "share of who woke up")
    delivered(installation, SOME)
    logs = [bot.stop() for bot in bots]
    installation.drained("bot")
    zombie.ask_to_end()
    zombie.finish()

    arrivals, requests = installation.segment.events(), installation.segment.requests()
    assert records
    sent = attempts(zombie, set(records.values()))
    findings = judge(logs, arrivals, requests=requests, kills=[stopped])
    # Who is stopped after its last look cannot know: that one request goes out when it wakes, and nothing else.
    known = late_copies(requests, woken) if moment is Moment.CHECKED else set()
    findings.needless[:] = sorted(set(findings.needless) - known)
    copies = findings.explained.total() + len(known)
    seen = (
        f"stopped for {woken - stopped:.0f} s with {len(records)} requests in flight: all of it delivered by another "
        f"after {recovered:.1f} s; on waking it settled nothing, its answers were {sent}; {copies} events came twice"
    )
    say(f"{WORDS[moment]}: {seen}; {findings}")
    findings.assert_sound()
    ledger = installation.audit()["sources"]["bot"]
    assert findings.accepted == ledger["delivered"]
    assert len(attempts(heir, set(records.values()))) >= len(records)
    assert (200 in sent) is (moment is not Moment.CLAIMED)
    assert recovered <= TOOK_OVER_S
    record(
        "Our processes", f"SIGSTOP {WORDS[moment]}, for longer than the lease", seen,
        findings=findings, recovered_s=round(recovered, 1), copies=copies,
    )  # fmt: skip
