"""Redis loses what it had acknowledged: what is lost is no more than that, is named, and harms nothing else."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support import servers
from support.installation import Bot, Installation, until
from support.losses import acknowledge, forgotten_by_audit, named
from support.oracle import ACCEPTED, Findings, Issued
from support.results import record
from support.servers import DURABLE, PASSWORD, Sentinel, Server

Say = Callable[[str], None]

KEY = "f" * 32
RATE, USERS = 300.0, 30
STEADY = 1_000
"""Deliveries before and after."""
FORGOTTEN = 900
"""Accepted events of which Redis loses the trace."""
TCP_DB = 3
PATIENCE_MS = 3_000
"""Sentinels promote no replica that was without its primary for ten times as long."""
SLOW = {"answer": {"delay_s": 0.05}}


@dataclass(frozen=True)
class Loss:
    """What Redis lost between two moments (s of the wall clock), by its ledgers before and after."""

    begun: float
    ended: float
    before: Counter[str]
    after: Counter[str]

    def of(self, name: str) -> int:
        """By how much a counter fell."""
        return self.before[name] - self.after[name]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[tuple[Installation, Sentinel]]:
    """An installation on a primary, a replica and three sentinels."""
    with servers.sentinel(**DURABLE) as shape, Installation(tmp_path, shape) as made:
        shape.set_patience(PATIENCE_MS)
        yield made, shape


def begin(here: Installation, spool: Path | None = None) -> list[Bot]:
    """Two workers, and two bots in a steady flow; the second one may have a spool."""
    here.add("bot", KEY)
    here.segment.set_plan([SLOW])
    here.workers(2)
    bots = [
        here.stream("bot", "a", users=USERS, rate=RATE, budget_s=20),
        here.stream("bot", "b", users=USERS, rate=RATE, budget_s=1 if spool else 20, spool=spool),
    ]
    delivered(here, STEADY)
    return bots


def delivered(here: Installation, more: int) -> None:
    """Wait until so many more events were delivered."""
    goal = here.ledger("bot")["delivered"] + more
    until(lambda: here.ledger("bot")["delivered"] >= goal, "a steady flow")


def told_since(bot: Bot, moment: float, outcomes: frozenset[str] = ACCEPTED) -> bool:
    """Whether the bot was told one of these since."""
    return any(one.at > moment and one.outcome in outcomes for one in bot.issued())


def ledger_of(here: Installation, server: Server, db: int = 0) -> Counter[str]:
    """The ledger as one server has it."""
    with server.client(db) as client:
        stored: Any = client.hgetall(here.keys.of("bot").ledger)
    return Counter({name.decode(): int(value) for name, value in stored.items() if name != b"incarnation"})


def assert_no_more(findings: Findings, loss: Loss, logs: Sequence[Sequence[Issued]]) -> None:
    """Lost is only what Redis had accepted and forgot, and sent again only what it forgot to have been delivered."""
    assert not findings.faults.keys() - {"lost"}, {kind: ids[:5] for kind, ids in findings.faults.items()}
    assert len(findings.lost) <= loss.of("accepted")
    at = {one.message_id: one.at for log in logs for one in log}
    assert [] == [one for one in findings.lost if not loss.begun - 1 < at[one] <= loss.ended]
    assert findings.explained["after Redis forgot"] <= loss.of("delivered") + loss.before["in_flight"]
    assert not findings.explained.keys() - {"after Redis forgot"}, findings.explained


def tell(say: Say, fault: str, findings: Findings, *, loss: Loss, told: Sequence[str], back_s: float) -> None:
    """Say and keep the figures."""
    words = next((line for line in told if line.startswith("Redis forgot")), told[0])
    seen = (
        f"Redis forgot {loss.of('accepted'):,} accepted and {loss.of('delivered'):,} delivered events; lost "
        f"{len(findings.lost):,}, sent again {findings.explained.total():,}, out of order "
        f"{len(findings.out_of_order)}; accepted again after {back_s:.1f} s; `audit`: {words}"
    )
    say(f"{fault}: {seen}; {findings}")
    record(
        "Redis", fault, seen, findings=findings, forgotten_events=loss.of("accepted"),
        forgotten_deliveries=loss.of("delivered"), named_events=forgotten_by_audit(told), back_s=round(back_s, 1),
    )  # fmt: skip


def finish(
    say: Say, here: Installation, bots: Sequence[Bot], *, loss: Loss, fault: str, back_s: float
) -> tuple[int, int]:
    """Stop, judge, and see that the audit names the loss, until it is acknowledged; how much is lost, and named."""
    delivered(here, STEADY)
    logs = [bot.stop() for bot in bots]
    here.drained("bot")
    findings = here.judge("bot", logs, forgotten=[(loss.begun, loss.ended)])
    told = named(here)
    tell(say, fault, findings, loss=loss, told=told, back_s=back_s)
    assert_no_more(findings, loss, logs)
    assert len(findings.lost) <= forgotten_by_audit(told) <= loss.of("accepted")
    acknowledge(here, told)
    assert all(child.lives for child in here.children if child.name.startswith("worker"))
    return len(findings.lost), forgotten_by_audit(told)


@pytest.mark.e2e
@pytest.mark.timeout(300)
@pytest.mark.parametrize("paused", [False, True], ids=["delivering", "paused"])
def test_failover_to_a_replica_behind(service: tuple[Installation, Sentinel], say: Say, paused: bool) -> None:
    """A primary dies whose replica had not followed for a while; what that one lacked is lost, and nothing else.

    While the source is paused nothing of it was delivered: then lost is exactly what the audit says.
    """
    here, shape = service
    bots = begin(here)
    old, replica = shape.primary(), shape.replica()
    if paused:
        here.cli("sources", "pause", "bot")
        until(lambda: not here.in_flight("bot"), "nothing on the wire")
        until(shape.followed, "replica")
    begun = time.time()
    shape.cut_off(replica)
    after = ledger_of(here, replica)
    until(lambda: here.ledger("bot")["accepted"] - after["accepted"] > FORGOTTEN, "events that it lacks")
    old.kill()
    with servers.left_by(old) as copy:
        before = ledger_of(here, copy)
    until(lambda: shape.primary() is replica and replica.role() == "master", "failover")
    ended = time.time()
    until(lambda: all(told_since(bot, ended) for bot in bots), "events accepted by the new primary")
    back_s = time.time() - ended
    if paused:
        here.cli("sources", "resume", "bot")
    with replica.client() as client:
        client.config_set("masterauth", PASSWORD)
    # A second failover, on a machine that is too busy, would bring back what the first one gave up.
    old.restart(replica_priority=0)
    loss = Loss(begun, ended, before, after)
    assert loss.of("accepted") >= FORGOTTEN
    fault = f"failover to a replica that was behind, {'paused' if paused else 'delivering'}"
    lost, told = finish(say, here, bots, loss=loss, fault=fault, back_s=back_s)
    assert not paused or lost == told


@pytest.mark.e2e
@pytest.mark.timeout(300)
def test_power_loss(tmp_path: Path, say: Say) -> None:
    """With `appendfsync everysec` the machine loses power, and with it the log's last two seconds or so."""
    with servers.tcp(appendonly="yes", appendfsync="everysec") as shape, Installation(tmp_path, shape) as here:
        bots = begin(here)
        begun, server = time.time(), shape.victim()
        length, accepted = server.log_of_writes.stat().st_size, here.ledger("bot")["accepted"]
        until(lambda: here.ledger("bot")["accepted"] - accepted > FORGOTTEN, "events that will be forgotten")
        here.kill_server()
        server.process.wait()
        with servers.left_by(server) as copy:
            before = ledger_of(here, copy, TCP_DB)
        os.truncate(server.log_of_writes, length)
        with servers.left_by(server) as copy:
            after = ledger_of(here, copy, TCP_DB)
        ended = here.restart_server()
        until(lambda: all(told_since(bot, ended) for bot in bots), "events accepted again")
        back_s = time.time() - ended
        loss = Loss(begun, ended, before, after)
        assert loss.of("accepted") >= FORGOTTEN
        finish(say, here, bots, loss=loss, fault="power lost with appendfsync everysec", back_s=back_s)


@pytest.mark.e2e
@pytest.mark.timeout(300)
def test_killed_with_everysec(tmp_path: Path, say: Say) -> None:
    """With `appendfsync everysec` a kill -9 alone loses nothing: the kernel has what the log's disk has not."""
    with servers.tcp(appendonly="yes", appendfsync="everysec") as shape, Installation(tmp_path, shape) as here:
        bots = begin(here)
        killed = here.kill_server()
        ended = here.restart_server()
        until(lambda: all(told_since(bot, ended) for bot in bots), "events accepted again")
        back_s = time.time() - ended
        delivered(here, STEADY)
        logs = [bot.stop() for bot in bots]
        here.drained("bot")
        findings = here.judge("bot", logs, kills=[killed])
        say(f"killed with appendfsync everysec: {findings}; accepted again after {back_s:.1f} s")
        record(
            "Redis", "killed -9 with appendfsync everysec", f"accepted again after {back_s:.1f} s", findings=findings,
            back_s=round(back_s, 1),
        )  # fmt: skip
        findings.assert_sound()
        here.audit()


# -- everything is gone --------------------------------------------------------------------------------------------


def flush(here: Installation) -> Counter[str]:
    """Empty it; its ledger right before."""
    with here.redis.pipeline(transaction=True) as pipe:
        pipe.hgetall(here.keys.of("bot").ledger)
        pipe.flushall()
        stored, _ = pipe.execute()
    return Counter({name.decode(): int(value) for name, value in stored.items() if name != b"incarnation"})


def restart_empty(here: Installation) -> Counter[str]:
    """Kill a server without persistence, while nobody may write, and start it again; its ledger right before."""
    here.redis.client_pause(60_000, all=False)
    ledger = here.ledger("bot")
    here.kill_server()
    here.restart_server()
    return ledger


EMPTIED: dict[str, Callable[[Installation], Counter[str]]] = {
    "flushed": flush,
    "restarted without persistence": restart_empty,
}


@pytest.mark.e2e
@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", EMPTIED)
def test_emptied(tmp_path: Path, say: Say, how: str) -> None:
    """Sources are gone; nobody is restarted, and once the source is added anew, all flows."""
    with servers.tcp() as shape, Installation(tmp_path, shape) as here:
        _emptied(here, say, how)


def _emptied(here: Installation, say: Say, how: str) -> None:
    bots = begin(here, here.spool)
    begun = time.time()
    before = EMPTIED[how](here)
    gone = time.time()
    refused = frozenset({"unknown_source"})
    until(lambda: told_since(bots[0], gone, refused), "refusals of the bot without a spool")
    until(lambda: told_since(bots[1], gone, refused | {"spooled"}), "word of the bot with one")
    here.add("bot", KEY)
    added = time.time()
    until(lambda: all(told_since(bot, added, frozenset({"accepted"})) for bot in bots), "events accepted again")
    back_s = time.time() - added
    delivered(here, STEADY)
    logs = [bot.stop() for bot in bots]
    here.drained("bot")

    loss = Loss(begun, added, before, Counter())
    findings = here.judge("bot", logs, forgotten=[(begun, added)])
    told = named(here)
    outcomes = [dict(Counter(one.outcome for one in log)) for log in logs]
    held = before["queued"] + before["in_flight"]
    seen = (
        f"Redis held {held:,} events; lost {len(findings.lost):,}, sent again {findings.explained.total():,}, out of "
        f"order {len(findings.out_of_order)}; accepted {back_s:.1f} s after the source was added anew; "
        f"`audit`: {'; '.join(told)}"
    )
    say(f"{how}: {seen}; without and with a spool: {outcomes}; {findings}")
    record(
        "Redis", f"{how} under load", seen, findings=findings, held_events=held, back_s=round(back_s, 1)
    )  # fmt: skip
    assert_no_more(findings, loss, logs)
    assert len(findings.lost) <= held
    assert any("emptied" in line for line in told), told
    assert any("lost source 'bot'" in line for line in told), told
    acknowledge(here, told)
    assert all(child.lives for child in here.children if child.name.startswith("worker"))
