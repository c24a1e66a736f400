"""Workers come and go under load."""

import time
from collections.abc import Callable

import pytest

from support.installation import Child, Installation, until
from support.results import record

Say = Callable[[str], None]

LASTS_S = 20.0
HANDED_BACK_S = 1.0


def _hand_back(installation: Installation, worker: Child) -> tuple[float, float]:
    """Ask a worker to end; seconds until it holds nothing, and until it is gone."""
    me = installation.fleet()[worker.pid]
    asked = time.monotonic()
    worker.ask_to_end()
    until(lambda: me not in installation.owners("bot").values(), "hand-back", 30, poll_s=0.005)
    handed = time.monotonic() - asked
    worker.finish(30)
    return handed, time.monotonic() - asked


@pytest.mark.e2e
def test_workers_come_and_go(installation: Installation, say: Say) -> None:
    """Each stop is graceful: nothing is sent twice, and an idle worker's partitions are free within a second."""
    installation.add("bot", "c" * 32)
    workers = installation.workers(2)
    bots = [installation.stream("bot", name, users=40, rate=100) for name in ("a", "b")]
    ends = time.monotonic() + LASTS_S
    busy = []
    while time.monotonic() < ends:
        workers += installation.workers(1)
        busy.append(_hand_back(installation, workers.pop(0)))
    logs = [bot.stop() for bot in bots]
    installation.drained("bot")
    idle = [_hand_back(installation, worker) for worker in workers]

    findings = installation.judge("bot", logs)
    handed, gone = map(max, zip(*idle, strict=True))
    say(
        f"{len(busy)} workers came and went under load: {findings}; partitions handed back after "
        f"{max(busy)[0]:.2f} s at worst, idle ones after {handed:.2f} s, idle workers gone after {gone:.2f} s"
    )
    record(
        "Our processes", "workers come and go under load",
        f"partitions handed back after {max(busy)[0]:.2f} s at worst, idle workers gone after {gone:.2f} s",
        runs=len(busy), findings=findings, handed_back_worst_s=round(max(busy)[0], 2), idle_gone_worst_s=round(gone, 2),
    )  # fmt: skip
    findings.assert_sound()
    installation.audit()
    assert {} == installation.owners("bot")
    assert HANDED_BACK_S >= handed
