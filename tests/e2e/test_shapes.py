"""A failover and a migration of slots, under load."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis.crc import key_slot

from support import servers
from support.installation import Bot, Installation, until
from support.oracle import ACCEPTED
from support.servers import DURABLE, Cluster, Sentinel

Say = Callable[[str], None]

RATE = 300.0
STEADY = 1_000
"""Deliveries before anything happens."""
LAG_S = 1.0
"""A replica that is followed by the second may lack what was accepted so long before the primary died."""
SLOW = {"answer": {"delay_s": 0.05}}
TAGS = (b"{bot}", b"{@registry}", b"{@fleet}")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[tuple[Installation, Sentinel]]:
    """An installation on a primary, a replica and three sentinels."""
    with servers.sentinel(**DURABLE) as shape, Installation(tmp_path, shape) as made:
        yield made, shape


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[Installation, Cluster]]:
    """An installation on a cluster of three."""
    with servers.cluster(**DURABLE) as shape, Installation(tmp_path, shape) as made:
        yield made, shape


def delivered(installation: Installation, more: int) -> None:
    """Wait until so many more events were delivered."""
    goal = installation.ledger("bot")["delivered"] + more
    until(lambda: installation.ledger("bot")["delivered"] >= goal, "a steady flow")


def accepted_since(bot: Bot, moment: float) -> bool:
    """Whether the bot has had something accepted since."""
    return any(one.at > moment and one.outcome in ACCEPTED for one in bot.issued())


@pytest.mark.e2e
def test_failover(service: tuple[Installation, Sentinel], say: Say) -> None:
    """Nothing is restarted by hand when the primary dies; what the replica lacked is lost, and harms nothing else."""
    installation, shape = service
    installation.add("bot", "f" * 32)
    installation.segment.set_plan([SLOW])
    workers = installation.workers(2)
    bots = [installation.stream("bot", name, users=30, rate=RATE, budget_s=20) for name in ("a", "b")]
    delivered(installation, STEADY)
    old = shape.primary()
    killed = time.time()
    old.kill()
    until(lambda: shape.primary() is not old and shape.primary().role() == "master", "failover")
    over = time.time()
    until(lambda: all(accepted_since(bot, over) for bot in bots), "events accepted by the new primary")
    flowing = time.time()
    old.restart()
    delivered(installation, STEADY)
    logs = [bot.stop() for bot in bots]
    installation.drained("bot")

    findings = installation.judge("bot", logs, kills=[killed])
    at = {one.message_id: one.at for log in logs for one in log}
    say(
        f"primary killed: {findings}; the sentinels took {over - killed:.1f} s, bots had events accepted "
        f"{flowing - over:.1f} s later"
    )
    assert [] == [one for one in findings.lost if not killed - LAG_S < at[one] <= killed + LAG_S]
    assert not findings.faults.keys() - {"lost"}, findings.faults
    ledger = installation.ledger("bot")
    noted = ledger["forgotten"] or ledger["fallen"] or installation.redis.exists(installation.keys.losses)
    installation.cli("audit", code=int(bool(noted)))
    assert ledger["forgotten"] >= len(findings.lost), "the audit names all that is lost"
    if noted:
        installation.cli("audit", "--acknowledge", "--yes")
    ledger = installation.audit()["sources"]["bot"]
    assert ledger["delivered"] >= findings.kept
    assert all(worker.lives for worker in workers)


@pytest.mark.e2e
def test_slots_move(cluster: tuple[Installation, Cluster], say: Say) -> None:
    """The slots of the source, of the registry and of the fleet move there and back, and nobody loses anything."""
    installation, shape = cluster
    installation.add("bot", "m" * 32)
    installation.segment.set_plan([SLOW])
    workers = installation.workers(2)
    bots = [installation.stream("bot", name, users=30, rate=RATE, budget_s=20) for name in ("a", "b")]
    delivered(installation, STEADY)
    lasted = []
    for tag in TAGS + TAGS:
        slot = key_slot(tag)
        target = next(server for server in shape.servers if server is not shape.owner(slot))
        begun = time.time()
        shape.begin_move(slot, target)
        while shape.move_keys(slot, target, 5):
            pass
        shape.end_move(slot, target)
        lasted.append(time.time() - begun)
        delivered(installation, 200)
    logs = [bot.stop() for bot in bots]
    installation.drained("bot")

    findings = installation.judge("bot", logs)
    say(f"6 slots moved, each within {max(lasted):.1f} s: {findings}")
    findings.assert_sound()
    assert {"accepted"} == {one.outcome for log in logs for one in log}
    installation.audit()
    assert all(worker.lives for worker in workers)
