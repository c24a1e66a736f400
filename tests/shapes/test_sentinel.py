"""Sentinel: who is asked, who is believed, and what happens when the primary changes."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from redis import exceptions
from redis.asyncio import Redis as AsyncRedis

from pombo.producer import Accepted, Producer
from pombo.producer.links import AsyncLink, Link
from pombo.producer.steps import Ask, NotSentError
from pombo.shared.audit import audit
from pombo.shared.connection import aconnect, connect, forsake, transient
from pombo.shared.settings import Settings
from support import servers
from support.servers import PASSWORD, Park, Sentinel, Shape
from support.waiting import until
from support.world import World

TRANSIENT = (exceptions.ConnectionError, exceptions.TimeoutError, exceptions.ReadOnlyError)


@pytest.fixture
def shape() -> Iterator[Shape]:
    """A service of this test's own, since it does not stay as it was."""
    with servers.sentinel() as made:
        yield made


@pytest.fixture
def service(shape: Sentinel) -> Sentinel:
    return shape


async def port_of(client: AsyncRedis) -> int:
    """Which server the client talks to."""
    told: Any = await client.config_get("port")
    return int(told["port"])


async def test_a_failover_is_followed(service: Sentinel) -> None:
    """After the primary died every client writes to the new one."""
    with connect(service.url) as blocking:
        client = aconnect(service.url)
        before = service.primary()
        blocking.set("a", 1)
        assert before.port == await port_of(client)
        until(service.followed, "replica in step")
        before.kill()

        async def wrote() -> bool:
            try:
                await client.set("b", 2)
                blocking.set("c", 3)
            except TRANSIENT:
                await forsake(client)
                return False
            return True

        async with asyncio.timeout(30):
            while not await wrote():
                await asyncio.sleep(0.02)
        with service.primary().client() as seen:
            assert service.primary() is not before
            assert [b"1", b"2", b"3"] == seen.mget("a", "b", "c")
        await client.aclose()


@pytest.mark.parametrize("may_listen", [True, False])
async def test_whoever_is_connected_moves_before_the_old_primary_is_demoted(
    service: Sentinel, may_listen: bool
) -> None:
    """A failover is heard of while the old primary still takes writes, by connections that are open too.

    Whom the sentinels do not let listen asks them again and again.
    """
    for sentinel in service.sentinels if not may_listen else ():
        with sentinel.client() as guard:
            guard.execute_command("ACL", "SETUSER", "default", "-subscribe")
    links = Link(lambda: service.url), AsyncLink(lambda: service.url)
    client, before = aconnect(service.url), service.primary()
    port = Ask(("CONFIG", "GET", "port"), 5)
    await asyncio.gather(*(client.config_get("port") for _ in range(5)))
    assert before.port == int(links[0].ask(port)[1]) == int((await links[1].ask(port))[1])
    until(service.followed, "replica in step")
    service.begin_failover()

    async def moved() -> bool:
        ports = [int(links[0].ask(port)[1]), int((await links[1].ask(port))[1])]
        ports += await asyncio.gather(*(port_of(client) for _ in range(5)))
        return before.port not in ports

    async with asyncio.timeout(30):
        while not await moved():
            await asyncio.sleep(0.02)
    assert "master" == before.role()
    assert before is not service.primary()
    links[0].close()
    await links[1].close()
    await client.aclose()


async def test_an_idle_connection_to_the_old_primary_is_dropped(service: Sentinel) -> None:
    """Once one connection has heard of the new primary, no other of its client speaks to the old one, alive or not."""
    client = aconnect(service.url)
    await asyncio.gather(*(client.config_get("port") for _ in range(5)))
    pool: Any = client.connection_pool
    idle = [connection for connection in pool._available_connections if connection.is_connected]
    assert 1 < len(idle)
    old = service.primary()
    until(service.followed, "replica in step")
    old.freeze()  # It stays primary in its own eyes, and its connections stay open.
    try:
        until(lambda: service.primary() is not old, "failover")
        new = service.primary()
        fresh = pool.make_connection()
        async with asyncio.timeout(30):
            while not fresh.is_connected:
                try:
                    await fresh.connect()
                except TRANSIENT:
                    await asyncio.sleep(0.02)
        assert new.port == fresh.port
        ports = await asyncio.gather(*(port_of(client) for _ in range(len(idle))))
        assert [new.port] * len(idle) == ports
        await fresh.disconnect()
    finally:
        old.thaw()
        await client.aclose()


async def test_a_server_that_is_no_primary_is_not_used(service: Sentinel) -> None:
    """Where the sentinels still name a server that has become a replica, the client waits instead of using it."""
    (*_, first), second = service.sentinels, service.primary()
    for sentinel in service.sentinels:
        sentinel.freeze() if sentinel is not first else None
    with second.client() as client:
        client.execute_command("REPLICAOF", "127.0.0.1", service.servers[1].port)
    try:
        with connect(service.url) as client, pytest.raises(exceptions.ReadOnlyError, match="no primary any more"):
            client.get("a")
        other = aconnect(service.url)
        with pytest.raises(exceptions.ReadOnlyError, match="no primary any more"):
            await other.get("a")
        await other.aclose()
    finally:
        for sentinel in service.sentinels:
            sentinel.thaw()


async def test_dead_sentinels_are_passed_over(service: Sentinel) -> None:
    """One sentinel that answers is enough."""
    for sentinel in service.sentinels[:2]:
        sentinel.kill()
    with connect(service.url) as client:
        assert client.ping()
    other = aconnect(service.url)
    assert await other.ping()
    await other.aclose()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("/main/", "/nobody/"), "no sentinel knows the primary of 'nobody': .* knows no such service"),
        (
            (f"{PASSWORD}-2", "wrong"),
            "no sentinel knows the primary of 'main': .*(invalid username-password|WRONGPASS)",
        ),
        ((f":{PASSWORD}@", ":wrong@"), "invalid username-password|WRONGPASS"),
    ],
)
async def test_what_is_wrong_is_told(park: Park, change: tuple[str, str], words: str) -> None:
    """An unknown service and a wrong password are told, and may pass: somebody may be setting up the service."""
    url = park.get("sentinel").url.replace(*change)
    with connect(url) as client, pytest.raises(exceptions.ConnectionError, match=words) as raised:
        client.ping()
    assert transient(raised.value)
    other = aconnect(url)
    with pytest.raises(exceptions.ConnectionError, match=words):
        await other.ping()
    await other.aclose()


async def test_links_follow_and_tell_what_was_not_sent(service: Sentinel) -> None:
    """A producer's links say that nothing was sent while no primary is known, and find the new one."""
    links = Link(lambda: service.url), AsyncLink(lambda: service.url)
    assert await links[1].ask(Ask(("SET", "a", 1), 5)) == links[0].ask(Ask(("SET", "b", 1), 5)) == b"OK"
    service.primary().kill()
    with pytest.raises((NotSentError, exceptions.ConnectionError)):
        links[0].ask(Ask(("GET", "a"), 5))
    with pytest.raises((NotSentError, exceptions.ConnectionError)):
        await links[1].ask(Ask(("GET", "a"), 5))
    with pytest.raises(NotSentError):
        links[0].ask(Ask(("GET", "a"), 5))
    with pytest.raises(NotSentError):
        await links[1].ask(Ask(("GET", "a"), 5))

    def answer() -> bytes | None:
        try:
            reply: bytes = links[0].ask(Ask(("CONFIG", "GET", "port"), 5))[1]
        except (NotSentError, exceptions.RedisError):
            return None
        return reply

    port = until(answer, "new primary") or b""
    assert service.primary().port == int(port)
    assert port == (await links[1].ask(Ask(("CONFIG", "GET", "port"), 5)))[1]
    links[0].close()
    await links[1].close()


async def test_what_a_failover_lost_is_named(world: World, service: Sentinel) -> None:
    """A replica that was cut off becomes the primary: what it lacks of each producer is counted, and all goes on."""
    await world.add()
    worker = world.start()
    settings = Settings(redis_url=service.url)
    with Producer("bot", settings=settings, budget_s=50) as one, Producer("bot", settings=settings, budget_s=50) as two:
        await asyncio.to_thread(one.track("u1", "Said").result, 60)
        await world.drained()
        await asyncio.to_thread(until, service.followed, "replica in step")
        old = service.primary()
        await asyncio.to_thread(service.cut_off, service.replica())
        receipts = [one.track(f"u{n}", "Said") for n in range(30)] + [two.track(f"u{n}", "Said") for n in range(7)]
        for receipt in receipts:
            await asyncio.to_thread(receipt.result, 60)
        await world.drained()
        beats = worker.pool.fleet._confirmed + 3
        await world.until(lambda: worker.pool.fleet._confirmed >= beats, "beats that the replica never gets")
        old.kill()
        for producer in (one, two):
            await asyncio.to_thread(producer.track("u1", "Said", message_id="last").result, 60)

    async def noted() -> bool:
        found = await audit(world.redis, world.keys, await world.registry.snapshot())
        return bool(found.problems) and found.sources["bot"].ledger.forgotten == 37

    await world.until(noted, "the loss")
    await world.until(lambda: "last" in world.kept(), "the last event")
    found = await audit(world.redis, world.keys, await world.registry.snapshot())
    assert "Redis forgot 37 accepted events of 2 producers " in found.sources["bot"].lost[0]
    assert not found.sources["bot"].differences
    await worker.finish()


async def test_events_go_on_after_a_failover(world: World, service: Sentinel) -> None:
    """Producer and worker need no restart when the primary dies, and nothing is lost or out of order."""
    await world.add()
    world.start()
    settings = Settings(redis_url=service.url)
    with Producer("bot", settings=settings, budget_s=50) as producer:
        first = producer.track("u1", "Said", message_id="m0")
        await asyncio.to_thread(first.result, 60)
        await world.drained()
        await asyncio.to_thread(until, service.followed, "replica in step")
        service.primary().kill()
        receipts = [producer.track("u1", "Said", message_id=f"m{n}") for n in range(1, 200)]
        outcomes = [await asyncio.to_thread(receipt.result, 60) for receipt in receipts]
    assert {Accepted} == set(map(type, outcomes))
    await world.until(lambda: len(world.kept()) == 200, "all events")
    assert [f"m{n}" for n in range(200)] == world.kept()
