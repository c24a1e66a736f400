"""Cluster: commands go where their keys are, follow them when they move, and are sent once."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from redis import exceptions
from redis.crc import key_slot

from pombo.producer import Accepted, Producer
from pombo.producer.links import AsyncLink, Link
from pombo.producer.steps import Ask, NotSentError
from pombo.shared.cluster import ClusterRedis
from pombo.shared.connection import aconnect, connect, jobs_url, refused, transient
from pombo.shared.errors import ConfigurationError
from pombo.shared.scripts import script
from pombo.shared.settings import Settings
from pombo.worker.membership import Pace
from support import servers
from support.servers import Cluster, Server, Shape
from support.world import World, body

SLOT = key_slot(b"{bot}")
"""Of source bot; registry and fleet are with the same node at first."""
ASLEEP = Pace(beat=600, fence=1200, missing=900, takeover=1800, forget=5)


@pytest.fixture(scope="module")
def lasting() -> Iterator[Cluster]:
    """A cluster for all tests in which no node dies; slots stay where a test moved them."""
    with servers.cluster(cluster_node_timeout=60_000) as made:
        yield made


@pytest.fixture
def shape(request: pytest.FixtureRequest) -> Iterator[Shape]:
    """The lasting cluster, empty, or one of the test's own if it wants a mortal one."""
    if "mortal" in request.fixturenames:
        with servers.cluster() as made:
            yield made
    else:
        made = request.getfixturevalue("lasting")
        made.flush()
        yield made


@pytest.fixture
def cluster(shape: Cluster) -> Cluster:
    return shape


@pytest.fixture
def mortal(shape: Cluster) -> Cluster:
    """A cluster whose nodes the test kills."""
    return shape


class Both:
    """A client and both links, warm: they know where the slots were."""

    def __init__(self, cluster: Cluster) -> None:
        self.client = aconnect(cluster.url)
        self.link = Link(lambda: cluster.url)
        self.alink = AsyncLink(lambda: cluster.url)

    async def each(self, *command: Any) -> list[Any]:
        """What each answers, or the error."""
        found = []
        for ask in (self._client, self._link, self._alink):
            try:
                found.append(await ask(command))
            except (exceptions.RedisError, NotSentError) as error:
                found.append(error)
        return found

    async def _client(self, command: tuple[Any, ...]) -> Any:
        client: Any = self.client
        return await client.execute_command(*command)

    async def _link(self, command: tuple[Any, ...]) -> Any:
        return await asyncio.to_thread(self.link.ask, Ask(command, 5))

    async def _alink(self, command: tuple[Any, ...]) -> Any:
        return await self.alink.ask(Ask(command, 5))

    async def close(self) -> None:
        await self.client.aclose()
        self.link.close()
        await self.alink.close()


@pytest.fixture
async def both(shape: Cluster) -> Any:
    made = Both(shape)
    assert [0, 0, 0] == await made.each("EXISTS", "{bot}:a")
    yield made
    await made.close()


async def test_a_slot_that_moved_is_found(cluster: Cluster, both: Both) -> None:
    """MOVED is followed, once, and remembered."""
    await both.each("INCR", "{bot}:a")
    target = cluster.move(SLOT)
    assert [4, 5, 6] == await both.each("INCR", "{bot}:a")
    with target.client() as seen:
        assert b"6" == seen.get("{bot}:a")
    assert isinstance(both.client, ClusterRedis)
    assert target.port == both.client.slots.owner(SLOT).port
    assert [7, 8, 9] == await both.each("INCR", "{bot}:a")


async def test_a_slot_on_its_way_is_asked_for(cluster: Cluster, both: Both) -> None:
    """ASK is followed for that command alone, by scripts and pipelines too; keys on both sides have to wait."""
    target = next(server for server in cluster.servers if server is not cluster.owner(SLOT))
    await both.each("SET", "{bot}:old", "1")
    cluster.begin_move(SLOT, target)
    assert [1, 2, 3] == await both.each("INCR", "{bot}:new")
    assert [b"1", b"1", b"1"] == await both.each("GET", "{bot}:old")
    pipe = both.client.pipeline(transaction=False)
    pipe.get("{bot}:old")
    pipe.get("{bot}:new")
    assert [b"1", b"3"] == await pipe.execute()
    add = "return redis.call('INCRBY', KEYS[1], ARGV[1])"
    assert [13, 23, 33] == await both.each("EVAL", add, 1, "{bot}:new", 10)
    errors = await both.each("MGET", "{bot}:old", "{bot}:new")
    assert {exceptions.TryAgainError} == set(map(type, errors))
    assert {(True, True)} == {(refused(error), transient(error)) for error in errors}
    assert isinstance(both.client, ClusterRedis)
    assert target.port != both.client.slots.owner(SLOT).port
    while cluster.move_keys(SLOT, target):
        pass
    cluster.end_move(SLOT, target)
    assert [[b"1", b"33"]] * 3 == await both.each("MGET", "{bot}:old", "{bot}:new")


async def test_scripts_are_loaded_where_a_slot_went(cluster: Cluster, both: Both) -> None:
    """A script that the new owner of a slot does not know is sent to it whole."""
    lease = script("lease")
    assert [b"w1:a"] == await lease.acall(both.client, ["{bot}:lease:0"], ["", "w1:a"])
    cluster.move(SLOT)
    assert [b"w1:a"] == await lease.acall(both.client, ["{bot}:lease:0"], ["w1:a", "w1:a"])


async def test_a_dead_node_is_told_and_the_others_go_on(mortal: Cluster, both: Both) -> None:
    """Without a node its slots are trouble that passes, and nothing was sent; when it is back all is well."""
    mortal.settle_for_less()
    owner = mortal.owner(SLOT)
    owner.kill()
    assert [0, 0, 0] == await both.each("EXISTS", "{chat}:a")
    first = await both.each("INCR", "{bot}:a")
    assert [True] * 3 == [
        isinstance(e, NotSentError) or (isinstance(e, exceptions.RedisError) and transient(e)) for e in first
    ]
    (_, *again) = await both.each("INCR", "{bot}:a")
    assert [True, True] == [isinstance(e, NotSentError) or refused(e) for e in again]
    owner.restart()

    async def back() -> bool:
        return all(isinstance(reply, int) for reply in await both.each("INCR", "{bot}:a"))

    async with asyncio.timeout(60):
        while not await back():
            await asyncio.sleep(0.05)


async def test_no_node_answers(mortal: Cluster) -> None:
    """Without any node a client says which it asked, and a link that nothing was sent."""
    for server in mortal.servers:
        server.kill()
    made = Both(mortal)
    client, *links = await made.each("GET", "a")
    assert isinstance(client, exceptions.ConnectionError)
    assert f"127.0.0.1:{mortal.servers[1].port}" in str(client)
    assert [NotSentError, NotSentError] == [*map(type, links)]
    await made.close()


async def test_a_server_that_is_no_cluster_is_told(park: servers.Park) -> None:
    """A cluster's URL that leads to a server of its own is told in the server's words."""
    url = park.get("tcp").url.replace("redis://", "redis+cluster://").removesuffix("/3")
    client = aconnect(url)
    with pytest.raises(exceptions.ConnectionError, match="cluster support disabled"):
        await client.get("a")
    await client.aclose()


async def test_lost_replies_are_not_asked_for_again() -> None:
    """A command whose reply a node never gave was sent once, by the client and by both links."""
    commands: list[bytes] = []
    port = 0

    async def node(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            commands.append(data)
            if b"INCR" in data:
                break
            for word in data.split(b"*")[1:]:
                slots = b"*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$9\r\n127.0.0.1\r\n:%d\r\n$1\r\na\r\n" % port
                writer.write(slots if b"SLOTS" in word else b"+OK\r\n")
        writer.close()

    async with await asyncio.start_server(node, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client, url = aconnect(f"redis+cluster://127.0.0.1:{port}"), f"redis+cluster://127.0.0.1:{port}"
        with pytest.raises(exceptions.ConnectionError):
            await client.incr("n")
        await client.aclose()
        for ask in (AsyncLink(lambda: url).ask, lambda ask: asyncio.to_thread(Link(lambda: url).ask, ask)):
            with pytest.raises(exceptions.ConnectionError):
                await ask(Ask(("INCR", "n"), 5))
    assert 3 == b"".join(commands).count(b"INCR")


async def test_redirections_in_a_circle_end() -> None:
    """Two nodes that name each other are given up, as trouble that passes."""
    ports: list[int] = []

    def node(own: int) -> Any:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(4096):
                for word in data.split(b"*")[1:]:
                    slots = b"*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$9\r\n127.0.0.1\r\n:%d\r\n$1\r\na\r\n" % ports[0]
                    moved = b"-MOVED 1 127.0.0.1:%d\r\n" % ports[1 - own]
                    writer.write(slots if b"SLOTS" in word else moved if b"GET" in word else b"+OK\r\n")
            writer.close()

        return serve

    async with (
        await asyncio.start_server(node(0), "127.0.0.1", 0) as first,
        await asyncio.start_server(node(1), "127.0.0.1", 0) as second,
    ):
        ports += [server.sockets[0].getsockname()[1] for server in (first, second)]
        client = aconnect(f"redis+cluster://127.0.0.1:{ports[0]}")
        with pytest.raises(exceptions.MovedError) as raised:
            await client.get("a")
        assert transient(raised.value)
        await client.aclose()


async def test_the_subscription_moves_when_its_node_dies(world: World, mortal: Cluster) -> None:
    """A worker whose subscription was at a node that died hears at another what is published."""
    mortal.settle_for_less()
    source = await world.add()
    worker = world.start()
    await world.append(source, 0, [body("m0")])
    await world.drained()
    at = await world.until(lambda: elsewhere(mortal), "a subscription away from the source's node")
    worker.pool._guard.pace = ASLEEP  # From here on nothing is looked at, only heard of.
    at.kill()
    await world.until(lambda: subscribed(mortal), "another subscription")
    await world.append(source, 0, [body("m1")])
    await world.until(lambda: world.kept() == ["m0", "m1"], "the event that was announced")


def subscribed(cluster: Cluster) -> Server | None:
    """The node that a worker subscribed at."""
    for server in cluster.servers:
        if server.lives:
            with server.client() as client:
                if client.pubsub_numsub("pombo:wake")[0][1]:
                    return server
    return None


def elsewhere(cluster: Cluster) -> Server | None:
    """The same, if it is not that of the source, the registry and the fleet; from there the subscription is moved."""
    at = subscribed(cluster)
    if at is not None and at.port == cluster.owner(SLOT).port:
        with at.client() as client:
            client.client_kill_filter(_type="pubsub")
        return None
    return at


async def test_events_flow_while_their_slot_moves(world: World, cluster: Cluster) -> None:
    """Producer and worker go on through a migration, half of it standing still, and nothing is lost or doubled."""
    await world.add()
    world.start()
    target = next(server for server in cluster.servers if server is not cluster.owner(SLOT))
    settings = Settings(redis_url=cluster.url)
    with Producer("bot", settings=settings, budget_s=25) as producer:
        receipts = [producer.track(f"u{n % 9}", "Said", message_id=f"m{n}") for n in range(300)]
        await asyncio.to_thread(producer.flush, 20)
        receipts += [producer.track(f"u{n % 9}", "Said", message_id=f"m{n}") for n in range(300, 600)]
        cluster.begin_move(SLOT, target)
        while cluster.move_keys(SLOT, target, 1):
            await asyncio.sleep(0)
        receipts += [producer.track(f"u{n % 9}", "Said", message_id=f"m{n}") for n in range(600, 900)]
        cluster.end_move(SLOT, target)
        receipts += [producer.track(f"u{n % 9}", "Said", message_id=f"m{n}") for n in range(900, 1200)]
        outcomes = [await asyncio.to_thread(receipt.result, 25) for receipt in receipts]
    assert {Accepted} == set(map(type, outcomes))
    await world.drained()
    assert sorted(f"m{n}" for n in range(1200)) == sorted(world.kept())
    for user in range(9):
        order = [int(m[1:]) for m in world.kept() if int(m[1:]) % 9 == user]
        assert sorted(order) == order
    await world.assert_balanced()


def test_jobs_say_that_they_are_off(cluster: Cluster) -> None:
    """RQ does not run on a cluster: who wants its URL is told what to set."""
    with pytest.raises(ConfigurationError, match=r"RQ.*does not run on Redis Cluster; set POMBO_JOBS_REDIS_URL"):
        jobs_url(Settings(redis_url=cluster.url))
    assert cluster.jobs_url == jobs_url(Settings(redis_url=cluster.url, jobs_redis_url=cluster.jobs_url))
    with pytest.raises(ConfigurationError, match="names a cluster"):
        connect(cluster.url)
