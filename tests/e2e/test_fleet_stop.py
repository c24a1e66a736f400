"""A crew that is told to end while Segment answers nobody."""

import time
from collections.abc import Callable

import pytest

from support.installation import Installation, until
from support.results import record

Say = Callable[[str], None]

PROCESSES = 3
STOPPED_S = 25.0
EVENTS = 300


@pytest.mark.e2e
def test_a_crew_stops_in_time(installation: Installation, say: Say) -> None:
    """SIGTERM to the supervisor ends every process within 25 s and with exit code 0, though requests hang."""
    installation.add("bot", "c" * 32)
    installation.segment.set_plan([{"answer": {"action": "hang"}}])
    crew = installation._start("crew", "-m", "pombo.ops.cli", "worker", "--processes", str(PROCESSES), "--no-jobs")
    until(lambda: len(installation.fleet()) == PROCESSES, "crew")
    bot = installation.stream("bot", "a", users=40, rate=100)
    until(lambda: len(installation.in_flight("bot")) > PROCESSES, "requests that hang")
    workers = installation.fleet()
    stopped, asked = time.time(), time.monotonic()
    crew.ask_to_end()
    crew.finish(STOPPED_S + 5)
    took = time.monotonic() - asked

    assert {} == installation.owners("bot")
    assert {} == installation.fleet()
    installation.segment.set_plan([])
    installation.workers(1)
    until(lambda: len(bot.issued()) > EVENTS, "events")
    logs = bot.stop()
    installation.drained("bot")
    findings = installation.judge("bot", [logs], kills=[stopped, stopped + took])
    say(f"{len(workers)} processes gone {took:.1f} s after SIGTERM, with requests that hang: {findings}")
    record(
        "Our processes", "SIGTERM to a crew whose requests hang", f"{len(workers)} processes gone after {took:.1f} s",
        findings=findings, gone_s=round(took, 1),
    )  # fmt: skip
    findings.assert_sound()
    installation.audit()
    assert STOPPED_S >= took
