"""Redis away, full or slow, and more requests than can be taken: what is answered, and what is kept."""

import asyncio
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from redis.asyncio import Redis

from gateway.conftest import Start
from gateway.rig import KEYS, Keyed, Running, basic, letters, problems, stored_ids, track
from pombo.shared.registry import Registry
from pombo.shared.secrets import Secrets
from producer.proxy import Proxy


@pytest.fixture
def proxy(redis_url: str) -> Iterator[Proxy]:
    """A way to the server that can be cut."""
    with Proxy(redis_url) as made:
        yield made


def assert_later(answer: httpx.Response, status: int, code: str) -> None:
    """Make sure that the client is told to come again, and when."""
    assert (status, False, code) == (answer.status_code, answer.json()["success"], answer.json()["code"])
    assert 1 <= int(answer.headers["retry-after"]) <= 60


async def ids_at_last(redis: Redis, wanted: set[str]) -> None:
    """Wait until exactly these events are queued."""
    async with asyncio.timeout(60):
        while wanted != set(await stored_ids(redis)):
            await asyncio.sleep(0.02)


async def test_redis_away_from_the_start(start: Start, bot: Keyed, proxy: Proxy) -> None:
    """A gateway starts without Redis, says 503 as long as no key can be looked up, and goes on by itself."""
    proxy.refuse()
    gateway = await start(redis_url=proxy.url)
    assert_later(await gateway.post("/v1/t", track("m1"), bot.intake_key), 503, "registry_unreadable")
    assert 503 == (await gateway.send("GET", "/readyz")).status_code
    assert 200 == (await gateway.send("GET", "/healthz")).status_code
    proxy.listen()
    assert 200 == (await gateway.post("/v1/t", track("m1"), bot.intake_key)).status_code


async def test_redis_away_without_a_spool(start: Start, bot: Keyed, proxy: Proxy, redis: Redis) -> None:
    """What cannot be stored is 503; a client that comes again loses nothing."""
    gateway = await start(redis_url=proxy.url)
    assert 200 == (await gateway.post("/v1/t", track("m1"), bot.intake_key)).status_code
    proxy.refuse()
    assert_later(await gateway.post("/v1/t", track("m2"), bot.intake_key), 503, "unavailable")
    batch = {"batch": [track("m3"), {"type": "track"}]}
    assert_later(await gateway.post("/v1/batch", batch, bot.intake_key), 503, "unavailable")
    proxy.listen()
    assert 200 == (await gateway.post("/v1/t", track("m2"), bot.intake_key)).status_code
    assert 200 == (await gateway.post("/v1/batch", batch, bot.intake_key)).status_code
    assert ["m1", "m2", "m3"] == await stored_ids(redis)
    assert 1 == len(await letters(redis))
    assert () == await problems(redis)


async def test_redis_away_with_a_spool(start: Start, bot: Keyed, proxy: Proxy, redis: Redis, tmp_path: Path) -> None:
    """With a spool events are taken all the same, and come to Redis when it is back; letters have to wait."""
    gateway = await start(redis_url=proxy.url, spool_dir=tmp_path)
    assert 200 == (await gateway.post("/v1/t", track("m1"), bot.intake_key)).status_code
    proxy.refuse()
    assert 200 == (await gateway.post("/v1/t", track("m2"), bot.intake_key)).status_code
    assert 200 == (await gateway.send("GET", "/readyz")).status_code
    batch = {"batch": [track("m3"), {"type": "track"}]}
    assert_later(await gateway.post("/v1/batch", batch, bot.intake_key), 503, "unavailable")
    metrics = (await gateway.send("GET", "/metrics")).text
    assert "pombo_spooled_events 2.0" in metrics
    assert "pombo_spool_age_seconds 0.0" not in metrics
    proxy.listen()
    await ids_at_last(redis, {"m1", "m2", "m3"})
    assert 200 == (await gateway.post("/v1/batch", batch, bot.intake_key)).status_code
    assert 1 == len(await letters(redis))
    assert () == await problems(redis)


async def test_a_spool_that_is_left(start: Start, bot: Keyed, proxy: Proxy, redis: Redis, tmp_path: Path) -> None:
    """What a gateway left in its spool is brought to Redis by the next one, also when nobody sends anything."""
    gateway = await start(redis_url=proxy.url, spool_dir=tmp_path)
    assert 200 == (await gateway.post("/v1/t", track("m1"), bot.intake_key)).status_code
    proxy.refuse()
    assert 200 == (await gateway.post("/v1/t", track("m2"), bot.intake_key)).status_code
    gateway.server.should_exit = True
    proxy.listen()
    await start(redis_url=proxy.url, spool_dir=tmp_path)
    await ids_at_last(redis, {"m1", "m2"})


async def test_a_full_backlog(gateway: Running, bot: Keyed, redis: Redis, secrets: Secrets) -> None:
    """A source at its backlog's limit is 429; others are not."""
    await Registry(redis, KEYS, secrets).set("bot", backlog_bytes=300)
    batch = {"batch": [track(f"m{number}") for number in range(300)]}
    assert_later(await gateway.post("/v1/batch", batch, bot.intake_key), 429, "backlog_full")


async def test_full_letters(gateway: Running, bot: Keyed, redis: Redis, secrets: Secrets) -> None:
    """When no dead letter fits any more, a batch that needs one is 429, and its sound items are taken."""
    await Registry(redis, KEYS, secrets).set("bot", dead_bytes=1)
    assert 200 == (await gateway.post("/v1/batch", {"batch": [{}]}, bot.intake_key)).status_code
    batch = {"batch": [track("m1"), {}]}
    assert_later(await gateway.post("/v1/batch", batch, bot.intake_key), 429, "dead_letters_full")
    assert ["m1"] == await stored_ids(redis)
    assert () == await problems(redis)


async def test_a_removed_source(gateway: Running, bot: Keyed, redis: Redis, secrets: Secrets) -> None:
    """Events of a source that was removed while its key was still known are refused, as an unknown key is."""
    assert 200 == (await gateway.post("/v1/t", track("m1"), bot.intake_key)).status_code
    await Registry(redis, KEYS, secrets).remove("bot", discard=True)
    answers = [await gateway.post("/v1/t", track("m2"), bot.intake_key)]
    while answers[-1].status_code == 200:
        answers.append(await gateway.post("/v1/t", track("m2"), bot.intake_key))
    # Whichever is noticed first: that the ledger is gone, or that the registry has no such source.
    assert answers[-1].status_code in {401, 503}
    assert [] == await stored_ids(redis)


def half_sent(key: str, length: int, body: bytes) -> bytes:
    """A request whose body does not come to its end."""
    lines = ["POST /v1/batch HTTP/1.1", "host: x", f"content-length: {length}"]
    lines += [f"{name}: {value}" for name, value in basic(key).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    "item", [track("m2"), {"type": "track", "userId": "u1"}], ids=["a sound event", "one that becomes a dead letter"]
)
async def test_a_redis_that_lost_everything(
    gateway: Running, bot: Keyed, redis: Redis, secrets: Secrets, item: dict[str, Any]
) -> None:
    """A client whose key was known when Redis was emptied is to come again: a 401 would make it drop its events."""
    assert 200 == (await gateway.post("/v1/t", track("m1"), bot.intake_key)).status_code
    await redis.flushall()
    assert_later(await gateway.post("/v1/batch", {"batch": [item]}, bot.intake_key), 503, "registry_unreadable")
    added = await Registry(redis, KEYS, secrets).add("bot", bot.write_key)
    assert 200 == (await gateway.post("/v1/batch", {"batch": [item]}, added.intake_key)).status_code


async def test_half_sent_bodies_make_room(bot: Keyed, start: Start) -> None:
    """Whoever holds the room with bodies that do not come to their end is cut off; others are served."""
    gateway = await start(gateway_in_flight_bytes=1 << 20)
    holders = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(4)]
    for _, writer in holders:
        writer.write(half_sent(bot.intake_key, 1_000_000, b"x" * 250_000))
        await writer.drain()
    body = orjson.dumps({"batch": [track(properties={"text": "x" * 20_000}) for _ in range(20)]})
    async with asyncio.timeout(30):
        while (await gateway.post("/v1/batch", body, bot.intake_key)).status_code != 200:
            await asyncio.sleep(0.05)
    heads = [await reader.readuntil(b"\r\n\r\n") for reader, _ in holders[:1]]
    assert [b"HTTP/1.1 408 Request Timeout"] == [head.split(b"\r\n")[0] for head in heads]
    for _, writer in holders:
        writer.close()


async def test_no_room(bot: Keyed, start: Start, proxy: Proxy) -> None:
    """Requests beyond the room are 429 at once, whatever those in hand wait for."""
    gateway = await start(redis_url=proxy.url, gateway_in_flight_bytes=1 << 20)
    assert 200 == (await gateway.post("/v1/t", track(), bot.intake_key)).status_code
    proxy.rule = lambda request: "hang"
    body = orjson.dumps({"batch": [track(properties={"text": "x" * 30_000}) for _ in range(20)]})
    first = asyncio.create_task(gateway.post("/v1/batch", body, bot.intake_key))
    while (await gateway.send("GET", "/healthz")).json()["bytes_in_hand"] < len(body):
        await asyncio.sleep(0)
    assert_later(await gateway.post("/v1/batch", body, bot.intake_key), 429, "overloaded")
    assert_later(await first, 503, "unconfirmed")


async def test_what_is_in_hand_takes_little_more_than_its_bytes(bot: Keyed, start: Start, proxy: Proxy) -> None:
    """While batches wait for Redis, memory holds events as they are stored: neither parsed, nor in large buffers."""
    gateway = await start(redis_url=proxy.url)
    assert 200 == (await gateway.post("/v1/t", track(), bot.intake_key)).status_code
    proxy.rule = lambda request: "hang"
    body = orjson.dumps({"batch": [track(properties={f"key {n}": n for n in range(30)}) for _ in range(1000)]})
    tracemalloc.start()
    try:
        requests = [asyncio.create_task(gateway.post("/v1/batch", body, bot.intake_key)) for _ in range(5)]
        while (await gateway.send("GET", "/healthz")).json()["bytes_in_hand"] < 5 * len(body):
            await asyncio.sleep(0)
        while tracemalloc.get_traced_memory()[0] > 6 * 5 * len(body):
            assert not any(request.done() for request in requests)
            await asyncio.sleep(0.01)
        assert not any(request.done() for request in requests)
    finally:
        tracemalloc.stop()
    for request in requests:
        assert_later(await request, 503, "unconfirmed")


async def test_health_sees_what_is_stuck(gateway: Running, bot: Keyed) -> None:
    """Both looks are JSON, and need no key."""
    for path in ("/healthz", "/readyz", "/healthz/", "/readyz/"):
        answer: Any = await gateway.send("GET", path)
        assert (200, True) == (answer.status_code, answer.json()["ok"])
    assert 405 == (await gateway.post("/healthz", {})).status_code


async def test_disabled(start: Start, bot: Keyed, redis: Redis) -> None:
    """Under POMBO_DISABLED=1 requests are judged and answered as ever, and nothing is written."""
    gateway = await start(disabled=True)
    answer = await gateway.post("/v1/batch", {"batch": [track("m1"), {}]}, bot.intake_key)
    assert (200, 1) == (answer.status_code, len(answer.json()["rejected"]))
    assert ([], []) == (await stored_ids(redis), await letters(redis))
