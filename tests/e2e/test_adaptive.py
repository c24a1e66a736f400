"""Segment slow, down and back, and Segment's own limit below ours, while three workers send."""

import time
from collections.abc import Callable
from itertools import pairwise

import pytest

from support.installation import Installation, until
from support.oracle import seconds
from support.results import record
from support.scenario import limit_segment, slow_down_and_back

Say = Callable[[str], None]

LIMIT = 1000
PHASES = (8.0, 5.0, 30.0, 22.0)
FIRST_S = 0.7
"""Between the sample that shows the breaker open and the first trial, at least."""
LOWER = 500
SEARCH_S = 20.0
"""In which the fleet has found that limit: four steps down, with a hold of a second and a way back up after each."""
LASTS_S = 75.0
"""Of using it: longer than it takes to meet it twice."""


def intervals(lasts_s: float) -> int:
    """Trials that are due in an outage: a tenth of its age apart, at least 1 s, at most 5 s."""
    due, count = 1.0, 0
    while due <= lasts_s:
        count, due = count + 1, due + min(5.0, max(1.0, due / 10))
    return count


@pytest.mark.e2e
@pytest.mark.timeout(300)
def test_slow_down_and_back(installation: Installation, say: Say) -> None:
    """While Segment is down the fleet sends a request an interval; ten seconds after it is back all flows again."""
    installation.add("bot", "a" * 32, rate=LIMIT)
    installation.workers(3)
    bots = [installation.stream("bot", name, users=40, rate=LIMIT * 0.3, tick_s=0.1) for name in ("one", "two")]
    course = slow_down_and_back(installation, "bot", limit=LIMIT, phases=PHASES)
    logs = [bot.stop() for bot in bots]
    installation.drained("bot", 120)

    # What had passed the gate before the breaker opened is on its way; the first trial is due a second after that.
    trials = course.sent(course.broken_at + FIRST_S, course.back_at)
    gaps = [later - earlier for earlier, later in pairwise(trials)]
    early = course.sent(course.down_at, course.broken_at + FIRST_S)
    goodput = course.delivered(course.back_at + 10, course.back_at + 20)
    findings = installation.judge("bot", logs)
    say(
        f"503 for {PHASES[2]:g} s, 3 workers: breaker open after {course.broken_at - course.down_at:.1f} s and "
        f"{len(early)} requests; then {len(trials)} requests "
        f"of {intervals(course.back_at - course.broken_at)} that were due, {min(gaps):.2f} to {max(gaps):.2f} s apart; "
        f"first request {min(course.sent(course.back_at, time.time())) - course.back_at:.1f} s after Segment is back, "
        f"{goodput:.0f} events/s of {LIMIT} from the tenth second on; {findings}"
    )
    record(
        "Segment", f"503 for {PHASES[2]:g} s, three workers",
        f"{len(trials)} requests meanwhile; {goodput:.0f} events/s of {LIMIT} from the tenth second after on",
        findings=findings,
    )  # fmt: skip
    findings.assert_sound()
    installation.audit()
    assert not installation.dead("bot")
    assert len(trials) <= intervals(course.back_at - course.broken_at) + 1
    assert goodput >= 0.9 * LIMIT


@pytest.mark.e2e
@pytest.mark.timeout(300)
def test_limit_below_ours(installation: Installation, say: Say) -> None:
    """Behind a Segment that takes half of our limit, most of what it takes is used, and it says 429 seldom."""
    limit_segment(installation, LOWER)
    installation.add("bot", "a" * 32, rate=LIMIT)
    installation.workers(3)
    bots = [installation.stream("bot", name, users=40, rate=LOWER / 2, tick_s=0.1) for name in ("one", "two", "three")]
    begun = time.time() + SEARCH_S
    until(lambda: time.time() > begun + LASTS_S, "the end", SEARCH_S + LASTS_S + 30, poll_s=0.5)
    requests = [row for row in installation.segment.requests() if begun <= seconds(row["at"]) < begun + LASTS_S]
    logs = [bot.stop() for bot in bots]
    limit_segment(installation, 0)
    installation.drained("bot", 180)

    goodput = sum(row["events"] for row in requests if row["status"] == 200) / LASTS_S
    refused = sum(row["status"] == 429 for row in requests)
    findings = installation.judge("bot", logs)
    say(
        f"Segment takes {LOWER} events/s, our limit is {LIMIT}: {goodput:.0f} events/s delivered for {LASTS_S:g} s, "
        f"{refused} of {len(requests)} requests answered 429; {findings}"
    )
    record(
        "Segment", "a limit of half of ours",
        f"{goodput:.0f} of {LOWER} events/s delivered, {refused} of {len(requests)} requests answered 429",
        findings=findings,
    )  # fmt: skip
    findings.assert_sound()
    installation.audit()
    assert goodput >= 0.85 * LOWER
    assert refused <= LASTS_S / 10
