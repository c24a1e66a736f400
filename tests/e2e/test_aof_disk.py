"""The disk under Redis' append-only file is full: it takes nothing more, and loses nothing of what it took."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.disk import fill, small_disk
from support.installation import Bot, Installation, until
from support.results import record
from support.spool import drain

Say = Callable[[str], None]

KEY = "a" * 32
SOME = 100
RESUMED_S = 5.0
SLOW = {"answer": {"delay_s": 0.05}}


@pytest.fixture
def cramped(tmp_path: Path) -> Iterator[Installation]:
    """An installation whose Redis writes to a disk of 24 MB."""
    here = Installation(tmp_path)
    here.home.mkdir(mode=0o700)
    with small_disk(here.home / "data", "24m"):
        (here.home / "data").chmod(0o700)
        with here:
            yield here


def told(bot: Bot, outcomes: set[str], since: float) -> int:
    """How often a bot was told one of these since."""
    return sum(one.outcome in outcomes and one.at > since for one in bot.issued())


@pytest.mark.e2e
@pytest.mark.parametrize("policy", ["always", "everysec"])
def test_full_disk_under_the_file(cramped: Installation, say: Say, policy: str) -> None:
    """Bots spool or are refused, workers wait; with room again all flows by itself and nothing accepted is lost."""
    here = cramped
    here.segment.set_plan([SLOW])
    here.add("bot", KEY)
    workers = here.workers(2)
    spooling = here.stream("bot", "spooling", users=20, rate=100, spool=here.spool)
    refused = here.stream("bot", "refused", users=20, rate=100)
    until(lambda: here.ledger("bot")["delivered"] > SOME, "a steady flow")
    here.redis.config_set("appendfsync", policy)
    filler = here.home / "data" / "filler"
    begun = time.time()
    fill(filler)
    until(lambda: told(spooling, {"spooled"}, begun) > SOME, "spooled receipts")
    until(lambda: told(refused, {"unavailable", "unconfirmed"}, begun) > SOME, "refusals")
    filler.unlink()
    room = time.time()
    if policy == "always":
        assert any("Exiting" in line for line in (here.home / "redis.log").read_text("utf-8").splitlines())
        here.restart_server()
    until(lambda: all(told(bot, {"accepted"}, room) for bot in (spooling, refused)), "direct appends")
    resumed = time.time() - room
    delivered = here.ledger("bot")["delivered"]
    until(lambda: here.ledger("bot")["delivered"] > delivered + SOME, "deliveries")
    logs = [spooling.stop(), refused.stop()]
    drain(here)
    here.drained("bot")

    findings = here.judge("bot", logs, kills=[begun, room])
    outcomes = {name: dict(Counter(one.outcome for one in log)) for name, log in zip("sr", logs, strict=True)}
    what = "Redis ended itself" if policy == "always" else "Redis refused to write"
    seen = f"{what}, events were spooled or refused; all accepted again {resumed:.1f} s after there was room"
    say(f"{seen}; with a spool {outcomes['s']}, without {outcomes['r']}; {findings}")
    record(
        "The machine", f"disk full under the append-only file, appendfsync {policy}", seen, findings=findings,
        resumed_s=round(resumed, 1),
    )  # fmt: skip
    findings.assert_sound()
    here.audit()
    assert {"accepted", "spooled"} == outcomes["s"].keys()
    assert all(worker.lives for worker in workers)
    assert resumed <= RESUMED_S
