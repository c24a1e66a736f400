"""Segment asks one source to wait while four workers send for two."""

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from support.installation import Child, Installation, until
from support.oracle import Issued, judge, seconds
from support.results import record

Say = Callable[[str], None]
Row = Mapping[str, Any]

LIMITED, QUIET = "l" * 32, "q" * 32
HOLD_S = 3.0
NOTICED_S = 0.1
"""By then every worker knows of the hold."""
CLOCK_S = 0.002
"""The simulator tells its wall clock in milliseconds."""
WARM, BASELINE = 200, 400
"""Deliveries of the quiet source before its delays count, and of those that make the baseline."""
RAMP_S, STEP_S = 2.5, 0.25
"""After the hold, as long as the ramp is looked at, and in which steps."""
RAMP_START, DOUBLING_S = 100, 0.5
"""Events a second at which the ramp begins, and how fast that doubles (`gate.lua`)."""
BURST_S = 0.1
"""Between two bursts of a bot: many small requests would measure this machine's cores."""
P99_S = 0.1


class Hold:
    """The requests of the limited source, by the seconds since a worker read the first 429."""

    def __init__(self, requests: Sequence[Row], told_at: float) -> None:
        sent = [(seconds(row["at"]) - told_at, row["events"]) for row in requests if row["key"] == LIMITED]
        self.before = [(at, events) for at, events in sent if at < HOLD_S - CLOCK_S]
        self.ramp = [(at - HOLD_S, events) for at, events in sent if at >= HOLD_S - CLOCK_S]
        """What was sent after the hold, by the seconds since its end."""

    def late(self) -> list[float]:
        """Requests that began although everybody should have known."""
        return [at for at, _ in self.before if at > NOTICED_S]

    def within(self, start: float, end: float) -> int:
        """Events of the ramp in a span of time."""
        return sum(events for at, events in self.ramp if start - CLOCK_S <= at < end - CLOCK_S)

    def steps(self) -> list[int]:
        """Events per step of the ramp."""
        return [self.within(n * STEP_S, (n + 1) * STEP_S) for n in range(int(RAMP_S / STEP_S))]

    def stampede(self) -> list[tuple[float, int]]:
        """Requests that went out although those before them had used up what the ramp allows by then."""
        found, sent = [], 0
        for at, events in self.ramp:
            grown = 2 ** ((at + NOTICED_S) / DOUBLING_S) - 1
            if sent > RAMP_START * DOUBLING_S / math.log(2) * grown + 1 and at < RAMP_S:
                found.append((at, sent))
            sent += events
        return found


@pytest.mark.e2e
def test_hold(installation: Installation, say: Say) -> None:
    """All workers stop within 100 ms of the first 429, start again slowly, and leave the other source alone."""
    installation.add("limited", LIMITED)
    installation.add("quiet", QUIET)
    workers = installation.workers(4)
    busy = installation.stream("limited", "l", users=80, rate=200, tick_s=BURST_S)
    quiet = installation.stream("quiet", "q", users=20, rate=50, tick_s=BURST_S)
    until(lambda: shares(installation) == [4, 4, 4, 4], "a settled fleet")
    until(lambda: installation.ledger("quiet")["delivered"] > WARM, "warm workers")
    warm = time.time()
    until(lambda: installation.ledger("quiet")["delivered"] > WARM + BASELINE, "a baseline")

    answer = {"status": 429, "headers": {"Retry-After": int(HOLD_S)}}
    installation.segment.set_plan([{"when": {"key": LIMITED}, "answer": answer, "times": 1}])
    told_at = until(lambda: told(workers), "the 429", poll_s=0.2)
    until(lambda: time.time() > told_at + HOLD_S + RAMP_S, "the end of the ramp")
    logs = {LIMITED: busy.stop(), QUIET: quiet.stop()}
    for source in ("limited", "quiet"):
        installation.drained(source)

    requests, arrivals = installation.segment.requests(), installation.segment.events()
    hold, findings = Hold(requests, told_at), judge(logs.values(), arrivals, requests=requests)
    baseline = p99(logs[QUIET], arrivals, warm, told_at)
    during = p99(logs[QUIET], arrivals, told_at, told_at + HOLD_S)
    say(
        f"429 with Retry-After {HOLD_S:g}, 4 workers: last request of the source "
        f"{max(hold.before)[0] * 1000:.0f} ms after the 429 was read, next {hold.ramp[0][0] * 1000:.0f} ms after the "
        f"hold's end; events per 250 ms then: {hold.steps()}; the other source's p99 {baseline * 1000:.0f} ms before, "
        f"{during * 1000:.0f} ms during the hold; {findings}"
    )
    record(
        "Segment", "429 with Retry-After, four workers",
        f"all stopped {max(hold.before)[0] * 1000:.0f} ms after it was read, and began again with a ramp; meanwhile "
        f"another source's p99 was {during * 1000:.0f} ms",
        findings=findings,
    )  # fmt: skip
    findings.assert_sound()
    installation.audit()
    assert [] == hold.late()
    assert [] == hold.stampede()
    assert hold.within(0, RAMP_S / 2) < hold.within(RAMP_S / 2, RAMP_S)
    assert during <= max(P99_S, 2 * baseline)


def told(workers: Sequence[Child]) -> float:
    """When the first worker had read the 429, by the wall clock; 0 while nobody has."""
    logs = (line for worker in workers for line in worker.lines())
    return min((seconds(line["timestamp"]) for line in logs if line.get("status") == 429), default=0.0)


def shares(installation: Installation) -> list[int]:
    """How many partitions each worker holds."""
    return list(Counter([w for s in ("limited", "quiet") for w in installation.owners(s).values()]).values())


def p99(issued: Sequence[Issued], arrivals: Sequence[Row], start: float, end: float) -> float:
    """The delay (s) from acceptance to arrival that one in a hundred exceeds, of events accepted in a span of time."""
    accepted = {one.message_id: one.at for one in issued if start <= one.at < end}
    arrived = {row["message_id"]: seconds(row["received_at"]) for row in reversed(arrivals)}
    delays = sorted(arrived[message_id] - at for message_id, at in accepted.items())
    return delays[math.ceil(len(delays) * 0.99) - 1]
