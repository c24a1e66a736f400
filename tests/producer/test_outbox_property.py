"""Whatever the weather: each receipt is settled once, truly, and order holds."""

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from redis.exceptions import ConnectionError, OutOfMemoryError

from pombo.producer.receipts import Receipt
from pombo.producer.steps import Ask, NotSentError, Sleep
from pombo.shared.scripts import script
from pombo.shared.sources import Source
from producer.rig import Append, Bench, Server, reason

FATES = ["ok", "ok", "reply lost", "never arrives", "arrives late", "refused", "not sent", "timeout"]


@dataclass
class Storm:
    """A bench whose commands meet the fates that hypothesis draws."""

    bench: Bench
    late: list[tuple[Any, ...]] = field(default_factory=list)

    def meet(self, fate: str) -> None:
        """Let the step's command meet its fate."""
        step = self.bench.step
        assert isinstance(step, Ask)
        match fate:
            case "ok":
                self.bench.serve()
            case "refused":
                self.bench.fail(OutOfMemoryError("OOM command not allowed"))
            case "not sent":
                self.bench.clock.at += step.timeout_s
                self.bench.fail(NotSentError())
            case _:
                if fate == "reply lost":
                    self.bench.server.execute(step.command)
                elif fate == "arrives late":
                    self.late.append(step.command)
                if fate == "timeout":
                    self.bench.clock.at += step.timeout_s
                self.bench.fail(ConnectionError("the line was cut"))

    def arrive(self) -> None:
        """Let one delayed command reach the server."""
        if self.late:
            self.bench.server.execute(self.late.pop(0))


@settings(max_examples=300, deadline=None)
@given(data=st.data(), blocks=st.booleans(), limit=st.sampled_from([0, 0, 400, 4000]))
def test_any_weather(data: st.DataObject, blocks: bool, limit: int) -> None:
    """No receipt stays open or is settled falsely, nothing is written twice, and each key keeps its order."""
    source = Source(name="bot", incarnation="first", partitions=3, backlog_bytes=limit)
    bench = Bench(Server(source), when_full="block" if blocks else "reject")
    storm = Storm(bench)
    receipts: list[Receipt] = []
    owner: dict[str, str] = {}
    for _ in range(data.draw(st.integers(5, 40), label="steps")):
        for _ in range(data.draw(st.integers(0, 3), label="events")):
            user = data.draw(st.sampled_from(["u1", "u2", "u3", "u4"]), label="user")
            (receipt,) = bench.put(key=user)
            receipts.append(receipt)
            owner[str(receipt.message_id)] = user
        if data.draw(st.integers(0, 9), label="late") == 0:
            storm.arrive()
        if isinstance(bench.step, Sleep):
            bench.clock.at += data.draw(st.sampled_from([0.0, 0.001, 0.3]), label="pause")
            bench.sleep()
        else:
            storm.meet(data.draw(st.sampled_from(FATES), label="fate"))
    if limit:
        bench.server.queued = 0
    bench.settle()
    while storm.late:
        storm.arrive()
    check(bench, receipts, owner)


def check(bench: Bench, receipts: list[Receipt], owner: dict[str, str]) -> None:
    outcomes = {str(receipt.message_id): reason(receipt) for receipt in receipts}
    written = bench.server.ids
    reported = [str(rejected.message_id) for rejected, _ in bench.rejected]
    assert "open" not in outcomes.values()
    assert sorted(outcomes) == sorted(bench.metrics.accepted_ids + reported)
    assert len(set(written)) == len(written)
    assert {name for name, outcome in outcomes.items() if outcome == "accepted"} <= set(written)
    assert {outcomes[name] for name in written} <= {"accepted", "unconfirmed"}
    assert (0, 0) == (bench.buffer.events, bench.buffer.bytes)
    for user in set(owner.values()):
        for stream in bench.server.streams.values():
            mine = [int(name[1:]) for name in stream if owner[name] == user]
            assert sorted(mine) == mine


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(FATES), min_size=1, max_size=12))
def test_same_bytes(fates: list[str]) -> None:
    """All attempts of one sequence carry the same bytes once one of them may have arrived."""
    bench = Bench()
    bench.put(3)
    storm = Storm(bench)
    doubtful: dict[tuple[str, int], str] = {}
    for fate in fates:
        while isinstance(bench.step, Sleep) and bench.buffer.events:
            bench.sleep()
        step = bench.step
        if not isinstance(step, Ask):
            break
        if step.command[1] == script("append").sha:
            append = Append.read(step.command)
            key = (append.keys[1], append.sequence)
            assert append.digest == doubtful.get(key, append.digest)
            if fate not in {"refused", "not sent"}:
                doubtful[key] = append.digest
        storm.meet(fate)
