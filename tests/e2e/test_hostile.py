"""A hundred thousand hostile requests to a real gateway: no 500, no hang, and no more memory at the end."""

import asyncio
import os
import random
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support.hostile import Hostility, Keys
from support.hostilefire import fire
from support.installation import Child, Installation
from support.results import record

Say = Callable[[str], None]
COUNT = int(os.environ.get("POMBO_HOSTILE_REQUESTS", "100_000"))
ROUNDS = 10
FLAT = 1.15
"""What memory may be in the last tenths, of what it was in the first: it goes up and down with the largest bodies."""


def rss_mb(child: Child) -> float:
    """Memory that the process has now."""
    text = Path(f"/proc/{child.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    assert found, text
    return int(found[1]) / 1024


@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_hostile_requests(installation: Installation, say: Say) -> None:
    """Nothing is answered 500, nothing hangs, no bug is met, memory stays, and the ledger balances."""
    seed = int(os.environ.get("POMBO_HOSTILE_SEED", random.randrange(1 << 32)))
    write_key = "h" * 32
    installation.add("bot", write_key)
    installation.cli("sources", "set", "bot", "--blip")
    installation.workers(1)
    gateway = installation.gateway()
    hostility = Hostility(Keys("bot", installation.intake_key("bot"), write_key), seed)

    begun, memory, seen = time.monotonic(), [rss_mb(gateway.child)], []
    for _ in range(ROUNDS):
        seen.append(asyncio.run(fire(gateway.port, hostility, COUNT // ROUNDS)))
        memory.append(rss_mb(gateway.child))
    lasted = time.monotonic() - begun
    statuses = sum((one.statuses for one in seen), start=seen[0].statuses.__class__())
    slowest = max(one.slowest_s for one in seen)
    said = (
        f"{statuses.total():,} requests in {lasted:.0f} s (seed {seed}): "
        f"{', '.join(f'{count:,} × {status}' for status, count in sorted(statuses.items()))}; slowest {slowest:.2f} s; "
        f"memory {' '.join(f'{one:.0f}' for one in memory)} MB, a tenth after the other"
    )
    say(said)
    record("The gateway", "hostile requests", said, runs=statuses.total())
    assert [] == [wrong for one in seen for wrong in one.wrong]
    assert max(statuses) < 500
    assert gateway.child.lives
    assert [] == [line for line in gateway.child.lines() if line.get("level") == "error"]
    assert "Traceback" not in gateway.child.log.read_text("utf-8", "replace")
    assert max(memory[-3:]) <= FLAT * max(memory[1:4])
    installation.drained("bot", 120)
    installation.audit()
