"""Random lives of a source: the ledger balances and each id is delivered once, whatever happens."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from pombo.worker.parts import Chunk, Part
from pombo.worker.store import SourceStore
from support.stored import Call, StoredSource, letter, whole

PARTITIONS = (0, 1)


@dataclass
class Life:
    """A source and the one worker that serves it, over and over replaced by another.

    The model is a count of what was delivered, what died and what was appended, by id.
    """

    stored: StoredSource
    workers: int = 0
    lease: str = ""
    store: SourceStore = field(init=False)
    parts: dict[int, Part] = field(default_factory=dict)
    zombies: list[tuple[SourceStore, Part]] = field(default_factory=list)
    appended: Counter[str] = field(default_factory=Counter)
    delivered: Counter[str] = field(default_factory=Counter)
    died: Counter[str] = field(default_factory=Counter)
    order: dict[int, list[tuple[str, int]]] = field(default_factory=lambda: {0: [], 1: []})

    # -- steps -----------------------------------------------------------------------------------------------

    async def append(self, partition: int, entries: Sequence[Sequence[str]]) -> None:
        """A producer enqueues record batches."""
        await self.stored.append(partition, *entries)
        self.appended.update(one for ids in entries for one in ids)

    async def claim(self, partitions: Sequence[int], count: int) -> None:
        """Claim for one request; what turns out to be in flight already is resumed."""
        free = [partition for partition in partitions if partition not in self.parts]
        parts = [await self.stored.part(self.store, partition, lease=self.lease, count=count) for partition in free]
        parts = [part for part in parts if part.entries]
        claim = await self.store.claim(parts) if parts else None
        for part, state in zip(parts, claim.states if claim else (), strict=True):
            if state == "claimed" and part.todo:
                self.parts[part.partition] = part
            elif state != "claimed":
                await self._resume(part.partition)

    async def settle(self, partitions: Sequence[int], share: float, dead: int | None) -> None:
        """Segment accepts the first events of a request, and perhaps refuses another one for good."""
        sent = [(part, part.todo[: round(len(part.todo) * share)]) for p, part in self.parts.items() if p in partitions]
        sent = [(part, indices) for part, indices in sent if indices]
        chunk = Chunk(sent) if sent else None
        rest = [(part, index) for p, part in self.parts.items() if p in partitions for index in part.todo]
        rest = [(part, index) for part, index in rest if not any(part is one and index in some for one, some in sent)]
        letters = [letter(*rest[dead % len(rest)])] if rest and dead is not None else []
        if chunk is None and not letters:
            return
        bodies = [(part.partition, index, self._id(part, index)) for part, indices in sent for index in indices]
        assert [] == await self.store.settle(chunk, letters)
        self.delivered.update(one for _, _, one in bodies)
        self.died.update(self._id(one.part, one.index) for one in letters)
        for part, indices in sent:
            for index in indices:
                entry, position = self._place(part, index)
                self.order[part.partition].append((entry, position))
        self.parts = {partition: part for partition, part in self.parts.items() if part.todo}

    async def attempt(self) -> None:
        """The same events go again."""
        if self.parts:
            attempt = await self.store.attempt(whole(*self.parts.values()))
            assert (True, []) == (attempt.go, list(attempt.lost))

    async def crash(self) -> None:
        """The worker is killed, and wakes up later as a zombie; another one takes over and resumes."""
        self.zombies += [(self.store, part) for part in self.parts.values()]
        await self.take_over()

    async def take_over(self) -> None:
        """A new worker, with nothing in memory, takes the leases and resumes what is in flight."""
        self.workers += 1
        old, self.lease = self.lease, f"w{self.workers}:t"
        self.store, self.parts = self.stored.store(), {}
        assert all(await self.store.change_leases([(partition, old, self.lease) for partition in PARTITIONS]))
        for partition in PARTITIONS:
            await self._resume(partition)

    async def zombie(self, number: int) -> None:
        """A worker that lost its leases tries to ack, to bury and to send again."""
        if not self.zombies:
            return
        store, part = self.zombies[number % len(self.zombies)]
        before = await self.stored.dump()
        todo = [*part.todo]
        if todo:
            assert [part] == (await store.attempt(whole(part))).lost
            assert [part] == await store.settle(Chunk([(part, todo)]), [letter(part, todo[0])])
        assert before == await self.stored.dump()
        part.todo = todo

    async def repeat(self, back: int) -> None:
        """A script that ran before runs once more, because its reply was late or lost."""
        calls: list[Call] = [call for call in self.stored.calls if call[0] != "attempt"]
        if not calls:
            return
        name, keys, args = calls[-1 - back % len(calls)]
        flying = await self._in_flight()
        ledger = await self.stored.ledger("accepted", "delivered", "dead")
        await self.stored.repeat((name, keys, args))
        assert ledger == await self.stored.ledger("accepted", "delivered", "dead")
        # A claim that had come to nothing may succeed now: its record is found when it is in the way.
        if name != "claim":
            assert flying == await self._in_flight()

    # -- the end ---------------------------------------------------------------------------------------------

    async def drain(self) -> None:
        """Deliver everything that is left."""
        for _ in range(200):
            await self.settle(PARTITIONS, 1.0, None)
            await self.claim(PARTITIONS, 1000)
            if (0, 0) == await self.stored.ledger("queued", "in_flight"):
                return
        raise AssertionError("the source does not drain")

    async def check(self) -> None:
        """What must hold after every step."""
        await self.stored.assert_balanced()
        assert {} == {one: count for one, count in self.delivered.items() if count > 1}
        totals = (self.appended.total(), self.delivered.total(), self.died.total())
        assert totals == await self.stored.ledger("accepted", "delivered", "dead")

    def check_end(self) -> None:
        """What must hold when everything is delivered."""
        missing = {one for one in self.appended if not self.delivered[one] and not self.died[one]}
        assert set() == missing
        for arrived in self.order.values():
            assert sorted(arrived, key=lambda place: (*map(int, place[0].split("-")), place[1])) == arrived

    # -- helpers ---------------------------------------------------------------------------------------------

    async def _resume(self, partition: int) -> None:
        found = await self.store.resume(partition, self.lease)
        if found is not None:
            self.parts[partition] = found

    async def _in_flight(self) -> list[Any]:
        return [await self.stored.redis.hgetall(self.stored.of.record(partition)) for partition in PARTITIONS]

    @staticmethod
    def _id(part: Part, index: int) -> str:
        return part.bodies[index].decode().split('"')[3]

    @staticmethod
    def _place(part: Part, index: int) -> tuple[str, int]:
        for entry in part.entries:
            if index < len(entry.bodies):
                return entry.id, index
            index -= len(entry.bodies)
        raise IndexError(index)


_ids = st.sampled_from([*"abcdefghijkl"])
_some = st.sampled_from([(0,), (1,), (0, 1), (1, 0)])
_share = st.sampled_from([0.0, 0.3, 0.5, 1.0, 1.0])
_steps = st.one_of(
    st.tuples(
        st.just("append"),
        st.sampled_from(PARTITIONS),
        st.lists(st.lists(_ids, min_size=1, max_size=4), min_size=1, max_size=3),
    ),
    st.tuples(st.just("claim"), _some, st.integers(1, 4)),
    st.tuples(st.just("settle"), _some, _share, st.none() | st.integers(0, 9)),
    st.tuples(st.just("crash")),
    st.tuples(st.just("attempt")),
    st.tuples(st.just("zombie"), st.integers(0, 9)),
    st.tuples(st.just("repeat"), st.integers(0, 9)),
)


@settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(_steps, max_size=25))
async def test_ledger_balances_and_each_id_is_delivered_once(redis: Redis, steps: list[tuple[Any, ...]]) -> None:
    """Through appends, claims, acks, deaths, crashes, zombies and repeats nothing is lost or doubled."""
    await redis.flushall()
    life = Life(await StoredSource(redis).set_up(), lease="w1:token")
    await life.take_over()
    for name, *arguments in steps:
        await getattr(life, name)(*arguments)
        await life.check()
    await life.drain()
    await life.check()
    life.check_end()
