"""The rights in a simulated world: whose lease may be taken."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from chaos.errand import Effect
from chaos.rights import Rights
from chaos.segment import SimSegment
from chaos.stored import Stored
from chaos.virtualserver import VirtualServer, virtual_server
from chaos.weather import Calm
from chaos.world import Process, World, made_world
from pombo.shared.sources import Source

LEASE = "pombo:{bot}:lease:0"


@pytest.fixture(scope="module")
def server() -> Iterator[VirtualServer]:
    """A server on virtual time."""
    with virtual_server() as made:
        yield made


class Robbery:
    """Two workers that beat; the owner has a lease, which the other one takes in the end."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.problems: list[str] = []
        source = Source(name="bot", incarnation="i", partitions=1, endpoint="http://segment.test")
        self._rights = Rights(world, SimSegment(), Stored(world.server, source), 1, self.problems)
        self.owner, self.other = (self._worker(name) for name in ("owner", "other"))
        self._beats = 0
        self.beat(self.owner, 0.0, 1.0, 2.0, 3.0)
        self._effect(self.owner, ["lease", 1, LEASE, "", "owner:1"], [b"owner:1"])

    def _worker(self, name: str) -> Process:
        process = self.world.process(name)
        process.identity = name
        process.start(_forever(process))
        return process

    def beat(self, worker: Process, *moments: float) -> None:
        """Beat at so many seconds each."""
        for at in moments:
            self.world.now = at
            self._beats += 1
            self._effect(worker, ["beat", 0, worker.identity, "{}", str(self._beats), "0", "", "0"], [0])

    def rob(self) -> list[str]:
        """Take the lease now; what is wrong with that."""
        self._effect(self.other, ["lease", 1, LEASE, "owner:1", "other:2"], [b"other:2"])
        return self.problems

    def _effect(self, worker: Process, call: Sequence[Any], reply: Any) -> None:
        self._rights.look(Effect(worker, "redis", call[0], ["EVALSHA", *call], reply))


async def _forever(process: Process) -> None:
    await process.clock.sleep(1e9)


@pytest.fixture
def robbery(server: VirtualServer) -> Iterator[Robbery]:
    """The two, in a world of their own."""
    with made_world(server, Calm(), "rights") as world:
        yield Robbery(world)


def test_the_living_are_not_robbed(robbery: Robbery) -> None:
    """Who beat lately keeps its lease."""
    robbery.beat(robbery.other, 4.0, 5.0)
    assert ["5.0000 lease of other robbed owner, 2.0 s after its beat"] == robbery.rob()


def test_who_was_silent_may_be_robbed(robbery: Robbery) -> None:
    """Redis was there all the time, and only the owner did not beat."""
    robbery.beat(robbery.other, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0)
    assert [] == robbery.rob()


def test_who_could_not_reach_redis_is_not_robbed(robbery: Robbery) -> None:
    """A silence for which Redis was away is nobody's: it begins anew when Redis is back."""
    robbery.beat(robbery.other, 10.0, 11.0, 12.0, 13.0)
    assert ["13.0000 lease of other robbed owner, 3.0 s after its beat"] == robbery.rob()


def test_who_was_stopped_when_others_reached_redis_again_may_be_robbed(robbery: Robbery) -> None:
    """Its silence is its own: the others were stopped too, and Redis was not away for it."""
    robbery.owner.freeze(9.9)
    robbery.beat(robbery.other, 10.0, 11.0, 12.0, 13.0)
    assert [] == robbery.rob()


def test_who_was_stopped_and_has_beaten_since_is_not_robbed(robbery: Robbery) -> None:
    """Two beats in time after it went on, and its lease is safe again."""
    robbery.owner.freeze(9.9)
    robbery.beat(robbery.other, 10.0, 11.0, 12.0)
    robbery.beat(robbery.owner, 13.0, 14.0)
    robbery.beat(robbery.other, 15.0)
    assert ["15.0000 lease of other robbed owner, 1.0 s after its beat"] == robbery.rob()
